"""Domain translation, English to Chinese, and low-resource translation, English to Galician, with gemma3-270m."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import Arm, answered, figures
from benchmarks.common import keep, shared
from transfuse.data import Columns, Examples, read
from transfuse.evaluation import compare, metric_intervals
from transfuse.tasks.writing import Writing

GEMMA = "catalog:gemma3-270m"
DOMAIN = """
task: {kind: translate, languages: [English, Chinese]}
target: {data: "catalog:django-ui-zh_Hans", test: {rows: 150, seed: 0}}
backbones: ["catalog:gemma3-270m"]
methods: [copy]
validation: {folds: 2}
"""
ARMS = {
    "copy": Arm("copy", {}),
    "zero-shot": Arm("prompt", {"shots": 0}),
    "few-shot": Arm("prompt", {"shots": 8}),
    "adapted": Arm("lora", {}),
}
ZH = ("chrf", "bleu_zh", "placeholders", "numbers", "repetition")
OTHERS = 100
"""Rows of the tests of another product, and of plain sentences."""

SCARCE = """
task: {{kind: translate, languages: [English, Galician]}}
target: {{data: "catalog:django-ui-gl", shots: {shots}, seed: {draw}, test: {{rows: 200, seed: 0}}}}
sources:
  - {{name: portuguese, data: "catalog:django-ui-pt", task: {{languages: [English, Portuguese]}}}}
  - {{name: spanish, data: "catalog:django-ui-es", task: {{languages: [English, Spanish]}}}}
backbones: ["catalog:gemma3-270m"]
methods: [copy]
validation: {{folds: 2}}
"""
PAIRS, DRAWS = (50, 100, 200, 500), 2


def run() -> None:
    """Both, into one result."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        domain, scarce = _domain(place), []
        for shots in PAIRS:  # each is kept, so that a run that is stopped leaves what it has
            keep("translate", "python -m benchmarks translate", started, domain=domain, scarce=scarce, draws=DRAWS)
            scarce.append(_scarce(place, shots))
    keep("translate", "python -m benchmarks translate", started, domain=domain, scarce=scarce, draws=DRAWS)


def _domain(place: Path) -> dict[str, Any]:
    """Adapted on one product's interface: what that does there, to another product's, and to plain sentences."""
    columns = Columns(written=True)
    django = read("catalog:django-ui-zh_Hans", columns=columns, base=place)
    jupyter = read("catalog:jupyterlab-ui-zh_CN", columns=columns, base=place)
    known = {text.casefold() for text in django.texts}
    new = [i for i, text in enumerate(jupyter.texts) if text.casefold() not in known]
    chosen = np.random.default_rng(0).permutation(new)[:OTHERS]
    tests = {"another product": jupyter.take(np.sort(chosen)), "plain sentences": _questions()}
    found, seconds, asked = answered(DOMAIN, place, ARMS, tests, GEMMA)
    task = Writing("translate", languages=("English", "Chinese"))
    against = {"adapted": "few-shot", "few-shot": "zero-shot"}
    told = {
        test: figures(task, rows, {arm: found[arm][test] for arm in ARMS}, ZH, against) for test, rows in asked.items()
    }
    return {"tests": told, "seconds": seconds, "trained_rows": len(django) - len(asked["test"])}


def _questions() -> Examples:
    """Questions of XQuAD in English with their professional translations into Chinese."""
    sides = [json.loads(shared("xquad", f"{lang}.json").read_text(encoding="utf-8")) for lang in ("en", "zh")]
    texts = [
        {qa["id"]: qa["question"] for article in side["data"] for p in article["paragraphs"] for qa in p["qas"]}
        for side in sides
    ]
    ids = sorted(set(texts[0]) & set(texts[1]))
    chosen = np.random.default_rng(0).permutation(len(ids))[:OTHERS]
    return Examples(
        tuple(texts[0][ids[i]] for i in chosen), tuple(texts[1][ids[i]] for i in chosen), origin="xquad en-zh"
    )


def _scarce(place: Path, shots: int) -> dict[str, Any]:
    """With and without two sister languages, over some draws of the pairs."""
    arms = {"few-shot": Arm("prompt", {"shots": 8}), "alone": Arm("lora", {}), "with sources": Arm("lora", {}, True)}
    draws = []
    for draw in range(DRAWS):
        found, seconds, asked = answered(SCARCE.format(shots=shots, draw=draw), place, arms, {}, GEMMA)
        draws.append((found, seconds, asked["test"]))
    task = Writing("translate", languages=("English", "Galician"))
    expected = task.encode(draws[0][2])
    over = {arm: np.stack([found[arm]["test"] for found, _, _ in draws]) for arm in arms}
    return {
        "shots": shots,
        "rows": len(expected),
        "arms": {
            arm: {k: v.to_dict() for k, v in metric_intervals(expected, answers, seed=0, names=["chrf"]).items()}
            for arm, answers in over.items()
        },
        "source": compare(expected, over["with sources"], over["alone"], metric="chrf", seed=0).to_dict(),
        "seconds": {arm: float(np.mean([seconds[arm] for _, seconds, _ in draws])) for arm in arms},
    }
