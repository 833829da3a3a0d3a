"""Eight demonstrations, one shared prefix, the label of each of 128 sentences."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers import data
from benchmarks.peers.clock import folder, timed

WORK = "eight-shot prompt classification of 128 sentences, smollm2-135m-instruct"
NAME, SHOTS, COUNT, BATCH = "smollm2-135m-instruct", 8, 128, 16
TEMPLATE = "Review: {text}\nSentiment:"
WORDS = ("negative", "positive")
SEED = 10
"""The draw, of the first twelve, whose demonstrations come nearest to 237 tokens."""

REFERENCE = "generate, one text at a time"
"""Whose labels the other sides' are compared with."""


def _rows() -> tuple[str, list[str], list[str]]:
    """The prefix, the texts and their labels."""
    (shown, given), (texts, labels) = data.sentiment("vader-amazon-reviews", SHOTS, COUNT, SEED)
    order = np.random.default_rng(0).permutation(SHOTS)
    prefix = "".join(f"{TEMPLATE.replace('{text}', shown[i])} {given[i]}\n\n" for i in order)
    return prefix, texts, labels


def _figures(seconds: float, found: list[str], labels: list[str]) -> dict[str, Any]:
    right = np.mean([a == b for a, b in zip(found, labels, strict=True)])
    return {"seconds": seconds, "accuracy": float(right), "labels": found}


def ours(precision: str) -> dict[str, Any]:
    """The label scorer over the cached prefix."""
    from transfuse.backbones import loading
    from transfuse.backbones import precision as arithmetic
    from transfuse.backbones.scoring import LabelScorer

    prefix, texts, labels = _rows()
    backbone = loading.load(f"catalog:{NAME}")

    def work() -> np.ndarray:
        chosen = str(arithmetic.choose(backbone, texts[:16], 256)["precision"]) if precision == "auto" else precision
        return LabelScorer(backbone, prefix, TEMPLATE, WORDS, 256, chosen).score(texts)

    seconds, scores = timed(work)
    return _figures(seconds, [WORDS[i] for i in scores.argmax(1)], labels)


def _peer(dtype: str) -> tuple[Any, Any]:
    import torch
    import transformers

    path = folder(NAME)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).eval()
    return tokenizer, model


def generate(dtype: str) -> dict[str, Any]:
    """transformers' generate, one text at a time, greedily; the label is the word that it begins with."""
    import torch

    prefix, texts, labels = _rows()
    tokenizer, model = _peer(dtype)

    @torch.inference_mode()
    def work() -> list[str]:
        found = []
        for text in texts:
            given = tokenizer(prefix + TEMPLATE.replace("{text}", text), return_tensors="pt")
            out = model.generate(**given, max_new_tokens=2, do_sample=False, pad_token_id=tokenizer.eos_token_id)
            found.append(tokenizer.decode(out[0, given["input_ids"].shape[1] :]).strip())
        return found

    seconds, answers = timed(work)
    return _figures(seconds, [next((w for w in WORDS if a.startswith(w)), a) for a in answers], labels)


def batched(dtype: str) -> dict[str, Any]:
    """transformers' forward over whole prompts, sorted by length, in batches; the label words' logits are compared."""
    import torch

    prefix, texts, labels = _rows()
    tokenizer, model = _peer(dtype)
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    first = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in WORDS]

    @torch.inference_mode()
    def work() -> np.ndarray:
        order = np.argsort([-len(text) for text in texts], kind="stable")
        out = np.empty(len(texts), dtype=np.int64)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            prompts = [prefix + TEMPLATE.replace("{text}", texts[i]) for i in chosen]
            given = tokenizer(prompts, return_tensors="pt", padding=True)
            logits = model(**given, logits_to_keep=1).logits[:, -1]
            out[chosen] = logits[:, first].float().argmax(1).numpy()
        return out

    seconds, best = timed(work)
    return _figures(seconds, [WORDS[i] for i in best], labels)


SIDES = {
    "transfuse": lambda: ours("auto"),
    "transfuse, fp32": lambda: ours("fp32"),
    "generate, one text at a time": lambda: generate("float32"),
    "generate, one text at a time, bf16": lambda: generate("bfloat16"),
    "forward in batches of 16": lambda: batched("float32"),
    "forward in batches of 16, bf16": lambda: batched("bfloat16"),
}
