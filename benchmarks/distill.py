"""Distillation: a prompted decoder into a sentence encoder, and an encoder or a decoder into some of its layers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import transfuse
from benchmarks import clinc, distill_replies
from benchmarks.common import keep
from transfuse.data import draw_shots
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.ledger import Ledger
from transfuse.engine.taught import Taught
from transfuse.evaluation import Interval, compare, metric_intervals
from transfuse.fitted import FittedModel
from transfuse.methods.catalogue import method
from transfuse.study.prepare import prepare
from transfuse.study.progress import NOTES
from transfuse.study.recipe import Recipe
from transfuse.study.teaching import teach
from transfuse.study.workshop import Workshop
from transfuse.tasks.classify import Classify

MINILM, SMOLLM = "catalog:minilm-l6", "catalog:smollm2-135m-instruct"
REVIEWS = """
task: {{kind: classify, input: text, label: rating, bins: {{negative: "< -0.5", positive: "> 0.5"}},
       template: "Review: {{text}}\\nSentiment:"}}
target: {{data: "catalog:vader-amazon-reviews", test: {{rows: 1500, seed: 0}}, shots: 32, seed: {draw}}}
sources: [{{name: asked, teacher: "{smollm}", data: "catalog:vader-movie-reviews", shots: 4, draws: 4}}]
backbones: ["{minilm}"]
methods: [distill]
budget: {{minutes: 60}}
"""
STUDENT: Mapping[str, Any] = {"taught_epochs": 10}
"""Passes over what the teacher says, chosen on sentences that the test does not have (docs/log.md)."""
DRAWS = 3
TIMED = 400
LAYERS, SHOTS = (3, 2), 50
NOBODY = Examples((), ())


def run() -> None:
    """The parts, each kept as soon as it is there."""
    started = time.perf_counter()
    told: dict[str, Any] = {}
    for name, part in PARTS.items():
        told[name] = part()
        keep("distill", "python -m benchmarks distill", started, **told)


def _speed(path: Any, texts: Sequence[str], precision: str) -> float:
    """Texts a second of the whole path, the quicker of two passes."""
    path.log_probabilities(texts[:32], precision)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        path.log_probabilities(texts, precision)
        seconds.append(time.perf_counter() - start)
    return len(texts) / min(seconds)


def _reviews() -> dict[str, Any]:
    """Without a label, and with 32 a class, over some draws of these."""
    answers: dict[str, list[np.ndarray]] = {}
    speeds: dict[str, float] = {}
    teacher = None  # the same texts in every draw, other labels: it is asked once
    for draw in range(DRAWS):
        recipe = Recipe.from_text(REVIEWS.format(draw=draw, smollm=SMOLLM, minilm=MINILM), Path.cwd(), "benchmark")
        data = prepare(recipe)
        workshop = Workshop(recipe, data, NOTES["en"])
        test = data.test.open()
        if teacher is None:
            with tempfile.TemporaryDirectory() as folder:
                (teacher,) = teach(recipe, data, workshop, Ledger(Path(folder)), lambda *_: None).values()
            assert teacher.ask is not None
            its_own = teacher.ask(test.texts)
        engine, backbone = workshop.engine(MINILM), workshop.backbone(MINILM)
        texts, precision = len(teacher.texts), workshop.precision(MINILM)
        lessons = {"teachers": {"asked": teacher}, "unlabelled": data.unlabelled}
        arms = {
            "student without a label": TransferData(NOBODY, **lessons),
            "student with 64 labels": TransferData(data.train, **lessons),
            "labels alone": TransferData(data.train),
        }
        found = {"teacher": its_own}
        for name, given in arms.items():
            path = engine.fit(method("distill").plan(data.task, backbone, given, draw, **STUDENT))
            found[name] = path.log_probabilities(test.texts, precision)
            if draw == 0 and name == "student without a label":
                speeds = {
                    "teacher": _speed(teacher.path, test.texts[:TIMED], teacher.precision),
                    "one prompt": _speed(teacher.path.members[0], test.texts[:TIMED], teacher.precision),
                    "student": _speed(path, test.texts[:TIMED], precision),
                }
        for name, one in found.items():
            answers.setdefault(name, []).append(np.asarray(one))
            print(draw, name, float((np.asarray(one).argmax(1) == data.task.encode(test.labels)).mean()), flush=True)
    labels = data.task.encode(test.labels)
    return {
        **_figures(labels, answers, {
            "student without a label": ("teacher",),
            "student with 64 labels": ("teacher", "labels alone", "student without a label"),
        }),
        "texts_a_second": speeds,
        "taught": texts,
        "passes": STUDENT["taught_epochs"],
        "draws": DRAWS,
    }  # fmt: skip


def _figures(
    labels: np.ndarray, answers: Mapping[str, list[np.ndarray]], against: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    over = {name: np.exp(np.stack(found)) for name, found in answers.items()}

    def accuracy(found: np.ndarray) -> Interval:
        return metric_intervals(labels, found, seed=0, names=["accuracy"])["accuracy"]

    return {
        "arms": {name: accuracy(found).to_dict() for name, found in over.items()},
        "compared": [
            {
                "arm": arm,
                "against": other,
                **compare(labels, over[arm], over[other], metric="accuracy", seed=0).to_dict(),
            }
            for arm, others in against.items()
            for other in others
        ],
        "rows": len(labels),
    }


def _compared(labels: np.ndarray, over: Mapping[str, np.ndarray], arm: str, other: str) -> dict[str, Any]:
    found = compare(labels, over[arm], over[other], metric="accuracy", seed=0)
    return {"arm": arm, "against": other, **found.to_dict()}


def _intents() -> dict[str, Any]:
    """CLINC150, 50 rows an intent: a fine-tuned encoder of six layers into three and two of its layers."""
    train, val, test = (clinc.examples(clinc.read(f"{part}.csv")) for part in ("train", "validation", "test"))
    train = train.take(draw_shots(train.labels or (), SHOTS, 0))
    task = Classify(tuple(sorted(set(train.labels or ()))))
    rows = clinc.read("train.csv")
    answers: dict[str, list[np.ndarray]] = {}
    speeds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        trunk = clinc.trunk(MINILM, rows)
        engine = Engine(trunk, len(task.labels))
        path = engine.fit(method("finetune").plan(task, trunk.backbone, TransferData(train), 0, train_layers="all"))
        backbone = trunk.backbone
        fields = {k: getattr(backbone, k) for k in ("reference", "revision", "licence", "family")}
        model = FittedModel(task, path, method="finetune", backbone={**fields, "resolved": MINILM})
        model.save(Path(place) / "teacher")
        says = path.log_probabilities(train.texts, trunk.precision).astype(np.float32)
        answers["teacher"] = [path.log_probabilities(test.texts, trunk.precision)]
        speeds["teacher"] = _speed(path, test.texts[:TIMED], trunk.precision)
        print("teacher", _right(task, answers["teacher"][0], test), flush=True)
        taught = Taught(train.texts, says, path)
        for layers in LAYERS:
            folder = Path(place) / f"student-{layers}"
            transfuse.shrink(Path(place) / "teacher", folder, layers=layers)
            small = clinc.trunk(str(folder), rows)
            one = Engine(small, len(task.labels))
            for name, teachers in ((f"{layers} layers, taught", {"t": taught}), (f"{layers} layers, labels alone", {})):
                plan = method("distill").plan(
                    task, small.backbone, TransferData(train, teachers=teachers), 0, train_layers="all", **SETTINGS
                )
                found = one.fit(plan)
                answers[name] = [found.log_probabilities(test.texts, small.precision)]
                print(
                    name,
                    _right(task, found.log_probabilities(val.texts, small.precision), val),
                    "validation",
                    flush=True,
                )
                print(name, _right(task, answers[name][0], test), flush=True)
            speeds[f"{layers} layers"] = _speed(found, test.texts[:TIMED], small.precision)
    labels = task.encode(test.labels)
    told = _figures(
        labels,
        answers,
        {f"{layers} layers, taught": (f"{layers} layers, labels alone", "teacher") for layers in LAYERS},
    )
    top = told["arms"]["teacher"]["value"]
    kept = {name: told["arms"][f"{name} layers, taught"]["value"] / top for name in map(str, LAYERS)}
    return {**told, "kept": kept, "texts_a_second": speeds}


SETTINGS: Mapping[str, Any] = {"epochs": 6, "alpha": 0.7}


def _right(task: Classify, found: np.ndarray, examples: Examples) -> float:
    return float((found.argmax(1) == task.encode(examples.labels or ())).mean())


PARTS = {"reviews": _reviews, "intents": _intents, "replies": distill_replies.run, "storage": distill_replies.storage}
"""What is measured, by name."""
