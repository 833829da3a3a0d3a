"""Replies to a support desk's customers with smollm2-135m-instruct: from 500 known ones, and from questions with 50.

How the 500 are learnt is chosen on a fifth of them, which the others are fitted without; the test is read after that.
"""

from __future__ import annotations

import csv
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import transfuse
from benchmarks.arms import Arm, answered, figures
from benchmarks.common import keep, shared
from transfuse.study.prepare import prepare
from transfuse.tasks.writing import Writing

SMOLLM = "catalog:smollm2-135m-instruct"
TEST = 100
MANY = """
task: {{kind: generate, input: instruction, output: response, max_new_tokens: 224}}
target: {{data: {support}, shots: {shots}, seed: 0, test: {{rows: {test}, seed: 0}}}}
backbones: ["catalog:smollm2-135m-instruct"]
methods: [lookup]
validation: {{folds: 2}}
"""
FEW = MANY + "sources: [{{name: questions, data: {questions}, task: {{input: null, output: null}}}}]\n"
CHOICE = """
task: {{kind: generate, input: instruction, output: response, max_new_tokens: 224}}
target: {{data: {train}, test: {held}}}
backbones: ["catalog:smollm2-135m-instruct"]
methods: [lookup]
validation: {{folds: 2}}
"""
WAYS = {
    "lora, two passes": Arm("lora", {}),
    "lora, six passes": Arm("lora", {"epochs": 6}),
    "fine-tuned, three passes": Arm("finetune", {"epochs": 3}),
}
"""Ways to learn the replies; the best by chrF++ on the held fifth is the one that is tested."""
HELD = 0.2
SOURCE_LIMIT = 400
METRICS = ("chrf", "rouge_l", "placeholders", "numbers", "repetition")


def run() -> None:
    """Both, into one result; the first is kept as soon as it is there."""
    started = time.perf_counter()
    many = many_replies()
    keep("replies", "python -m benchmarks replies", started, many=many, few=None)
    few = _measured(
        FEW,
        50,
        {
            "alone": Arm("lora", {}),
            "after questions": Arm("lora", {"source_limit": SOURCE_LIMIT}, True),
        },
        {"after questions": "alone"},
    )
    keep("replies", "python -m benchmarks replies", started, many=many, few={**few, "source_rows": SOURCE_LIMIT})


def many_replies() -> dict[str, Any]:
    """The part with 500 replies: the way that a fifth of them chooses, beside what adapts nothing, and the default."""
    tried, chosen = _chosen()
    told = _measured(
        MANY,
        500,
        {
            "the nearest known reply": Arm("lookup", {}),
            "zero-shot": Arm("prompt", {"shots": 0}),
            "few-shot": Arm("prompt", {"shots": 8}),
            "lora, two passes": WAYS["lora, two passes"],
            "adapted": WAYS[chosen],
        },
        {"adapted": "few-shot", "few-shot": "zero-shot", "lora, two passes": "few-shot"},
    )
    return {**told, "tried": tried, "chosen": chosen}


def _chosen() -> tuple[dict[str, float], str]:
    """chrF++ of each way on the held fifth of the labelled replies, and the best."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        recipe = MANY.format(shots=500, test=TEST, support=shared("bitext_support", "support.csv"))
        rows = prepare(transfuse.Recipe.from_text(recipe, place, "benchmark")).train
        order = np.random.default_rng(0).permutation(len(rows))
        held = int(HELD * len(rows))
        for name, some in (("held", order[:held]), ("train", order[held:])):
            part = rows.take(np.sort(some))
            with (place / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows(
                    [("instruction", "response"), *zip(part.texts, part.labels or (), strict=True)]
                )
        found, _, asked = answered(CHOICE.format(train="train.csv", held="held.csv"), place, WAYS, {}, SMOLLM)
    answers = {arm: found[arm]["test"] for arm in WAYS}
    told = figures(Writing("generate"), asked["test"], answers, METRICS, {})
    tried = {arm: f["chrf"]["value"] for arm, f in told["arms"].items()}
    return tried, max(tried, key=lambda arm: tried[arm])


def _measured(text: str, shots: int, arms: dict[str, Arm], against: dict[str, str]) -> dict[str, Any]:
    """Figures of each way, and how near its replies are in meaning."""
    paths = {"support": shared("bitext_support", "support.csv"), "questions": shared("xquad", "en.json")}
    with tempfile.TemporaryDirectory() as folder:
        filled = text.format(shots=shots, test=TEST, **paths)
        found, seconds, asked = answered(filled, Path(folder), arms, {}, SMOLLM)
    task, rows = Writing("generate"), asked["test"]
    answers = {arm: found[arm]["test"] for arm in arms}
    told = figures(task, rows, answers, METRICS, against)
    near = {arm: float(_similarity(rows.labels or (), list(given)).mean()) for arm, given in answers.items()}
    samples = [
        {"request": rows.texts[i], "reply": (rows.labels or ())[i], **{arm: str(a[i]) for arm, a in answers.items()}}
        for i in range(2)
    ]
    return {**told, "shots": shots, "seconds": seconds, "similarity": near, "samples": samples}


def _similarity(references: tuple[str, ...], answers: list[str]) -> np.ndarray:
    """Cosine of each answer's vector and its reference's, by minilm-l6, [N]."""
    embedder = transfuse.Embedder("catalog:minilm-l6")
    one, other = embedder.encode(list(references)), embedder.encode([a or " " for a in answers])
    return np.asarray((one * other).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)))
