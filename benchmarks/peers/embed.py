"""Sentence embeddings of 3,000 short texts, and what a probe on such embeddings reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.peers import data
from benchmarks.peers.clock import folder, timed

WORK = "sentence embeddings of 3,000 short texts, minilm-l6"
COUNT, SHOTS = 3000, 10


def _figures(encode: Callable[[Sequence[str]], np.ndarray]) -> dict[str, Any]:
    """Seconds, and off the clock: agreement with sentence-transformers in fp32, accuracy of a probe."""
    from sklearn.linear_model import LogisticRegression

    texts = data.short_texts(COUNT)
    encode(texts[:64])  # warms up, and builds what is built once
    seconds, vectors = timed(lambda: encode(texts))
    plain = _plain("float32")(texts[:500])
    products = (vectors[:500] * plain).sum(1)
    cosine = products / np.linalg.norm(vectors[:500], axis=1) / np.linalg.norm(plain, axis=1)
    (train, labels), (test, truth) = data.intents(SHOTS)
    probe = LogisticRegression(C=10.0, max_iter=500).fit(_unit(encode(train)), labels)
    accuracy = float((probe.predict(_unit(encode(test))) == np.array(truth)).mean())
    return {"seconds": seconds, "cosine": float(cosine.mean()), "accuracy": accuracy}


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _plain(dtype: str) -> Callable[[Sequence[str]], np.ndarray]:
    import sentence_transformers
    import torch

    model = sentence_transformers.SentenceTransformer(
        str(folder("minilm-l6")), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)}
    )
    return lambda texts: np.asarray(model.encode(list(texts), convert_to_tensor=True).float())


def ours(arithmetic: str) -> dict[str, Any]:
    """`transfuse.Embedder`."""
    from transfuse import Embedder

    return _figures(Embedder("catalog:minilm-l6", arithmetic=arithmetic).encode)


SIDES = {
    "transfuse, fp32": lambda: ours("fp32"),
    "transfuse, bf16": lambda: ours("bf16"),
    "transfuse, int8": lambda: ours("int8"),
    "sentence-transformers": lambda: _figures(_plain("float32")),
    "sentence-transformers, bf16": lambda: _figures(_plain("bfloat16")),
}
