"""bf16 or fp32: decided by the processor and by a quick trial, never by hope."""

from __future__ import annotations

import time

import numpy as np
import torch

from transfuse.backbones.huggingface import Backbone

AGREEMENT = 0.998
"""Least mean cosine between bf16 and fp32 mean-pooled states, centred over the batch."""

TRIALS = 2
"""Timed passes in each precision; the quicker one counts."""

TIMED_LAYERS = 3
"""Layers of a timed pass: those above take as long."""

COMPARED = 8
"""Texts whose states are compared, through all layers."""


def processor_has_bf16() -> bool:
    """Whether matrix products in bf16 run in hardware on the device that torch would use."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capabilities and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def choose(backbone: Backbone, texts: list[str], limit: int) -> dict[str, float | str]:
    """Try one batch in both precisions.

    Args:
        backbone: the model.
        texts: some tens of real texts.
        limit: most tokens a text.

    Returns:
        ``precision`` (``bf16`` where it is faster and agrees, else ``fp32``), ``speedup`` (seconds in fp32 over seconds
        in bf16) and ``cosine`` (mean agreement); the latter two are 0 where the processor has no bf16.

    Cost: six passes over the texts through three layers, two over eight of them through all.
    """
    if not processor_has_bf16():
        return {"precision": "fp32", "speedup": 0.0, "cosine": 0.0}
    tokens = backbone.tokens(texts, None, limit)
    lower = [min(TIMED_LAYERS, backbone.layers)]
    seconds: dict[str, float] = {"fp32": float("inf"), "bf16": float("inf")}
    for trial in range(TRIALS + 1):  # alternating, the first only warms up: a busy machine slows both alike
        for precision in seconds:
            start = time.perf_counter()
            backbone.features(tokens, lower, precision)
            if trial:
                seconds[precision] = min(seconds[precision], time.perf_counter() - start)
    middle = [max(backbone.layers // 2, 1), backbone.layers]
    exact, rough = (backbone.features(tokens[:COMPARED], middle, precision)[:, :, 0] for precision in seconds)
    cosine = _cosine(exact, rough)
    speedup = seconds["fp32"] / seconds["bf16"]
    precision = "bf16" if speedup > 1.05 and cosine >= AGREEMENT else "fp32"
    return {"precision": precision, "speedup": round(speedup, 2), "cosine": round(cosine, 5)}


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (x - a.mean(0) for x in (a, b))
    products = (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-12)
    return float(products.mean())
