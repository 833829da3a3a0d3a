"""Questions about passages (XQuAD): marked by a small encoder, written by a decoder; English, Chinese, and across."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.arms import Arm, answered, figures
from benchmarks.common import keep, shared
from transfuse.data.shapes import apart
from transfuse.tasks.writing import Writing

TRAIN = 800
"""Questions that are learnt from; those about other paragraphs, 390, are the test."""
FEW, ENGLISH = 200, 400
"""Chinese questions that are learnt from, and English ones before them: with 800 of both nobody would ask for these."""
MOST = {"en": 390, "zh": 200}
"""Questions of a test."""
TASK = "task: {{kind: answer, max_tokens: {limit}, max_new_tokens: 48}}\n"
RECIPE = TASK + (
    "target: {{data: {target}, test: {test}{shots}}}\nbackbones: ['{backbone}']\nmethods: [lookup]\n"
    "validation: {{folds: 2}}\n"
)
SOURCE = "sources: [{{name: source, data: {source}}}]\n"
METRICS = ("f1", "exact_match")
MINILM, SMOLLM, GEMMA = "catalog:minilm-l6", "catalog:smollm2-135m-instruct", "catalog:gemma3-270m"
ONE = {"epochs": 1}
WAYS: Mapping[str, tuple[str, str, Mapping[str, Arm], Mapping[str, str]]] = {
    "English, minilm-l6": (
        MINILM,
        "en",
        {"the nearest known answer": Arm("lookup", {}), "marked": Arm("span", {})},
        {"marked": "the nearest known answer"},
    ),
    "English, smollm2-135m-instruct": (
        SMOLLM,
        "en",
        {
            "zero-shot": Arm("prompt", {"shots": 0}),
            "few-shot": Arm("prompt", {"shots": 4}),
            "adapted": Arm("lora", ONE),
        },
        {"few-shot": "zero-shot", "adapted": "few-shot"},
    ),
    "Chinese, gemma3-270m": (
        GEMMA,
        "zh",
        {
            "few-shot": Arm("prompt", {"shots": 4}),
            "English alone": Arm("lora", {"epochs": 0, "source_limit": ENGLISH}, True),
            "adapted": Arm("lora", {"epochs": 2}),
            "adapted after English": Arm("lora", {"epochs": 2, "source_limit": ENGLISH}, True),
        },
        {"English alone": "few-shot", "adapted": "few-shot", "adapted after English": "adapted"},
    ),
}
"""Backbone, language of the questions, ways, and what each is measured against."""


def run() -> None:
    """Each is kept as soon as it is there, so that a run that is stopped leaves what it has."""
    started = time.perf_counter()
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for lang in ("en", "zh"):
            _split(lang, place)
        for name, (backbone, lang, arms, against) in WAYS.items():
            fields = {"target": f"{lang}-train.json", "test": f"{lang}-test.json", "backbone": backbone, "limit": 384}
            few = f", shots: {FEW}" if lang == "zh" else ""
            text = RECIPE.format(**fields, shots=few) + (SOURCE.format(source="en-train.json") if few else "")
            found, seconds, asked = answered(text, place, arms, {}, backbone)
            answers = {arm: found[arm]["test"] for arm in arms}
            passages = tuple(apart(request)[1] for request in asked["test"].texts)
            rows = dataclasses.replace(asked["test"], groups=passages)
            told[name] = {
                **figures(Writing("answer"), rows, answers, METRICS, against),
                "seconds": seconds,
            }
            keep(
                "questions",
                "python -m benchmarks questions",
                started,
                ways=told,
                trained_rows=TRAIN,
                few=FEW,
                english=ENGLISH,
            )


def _split(lang: str, place: Path) -> None:
    """Two files whose paragraphs are disjoint, the same in both languages."""
    whole = json.loads(shared("xquad", f"{lang}.json").read_text(encoding="utf-8"))
    parts: dict[str, list[Any]] = {"train": [], "test": []}
    count = 0
    for article in whole["data"]:
        for paragraph in article["paragraphs"]:
            if count >= TRAIN + MOST[lang]:
                continue
            side = "train" if count < TRAIN else "test"
            count += len(paragraph["qas"])
            parts[side].append({"title": article["title"], "paragraphs": [paragraph]})
    for side, articles in parts.items():
        path = place / f"{lang}-{side}.json"
        path.write_text(json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False), encoding="utf-8")
