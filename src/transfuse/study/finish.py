"""The end of a study: the chosen candidate is fitted on all labels, saved, loaded again, and read against the test."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transfuse.advice.candidates import Candidate
from transfuse.backbones.remote import is_remote
from transfuse.data.examples import Examples
from transfuse.engine.ledger import Ledger
from transfuse.errors import TransfuseError
from transfuse.evaluation import (
    Interval,
    compare,
    confident_mistakes,
    confusion,
    difference_by_label,
    metric_intervals,
    ratio_interval,
    reliability,
    temperature,
)
from transfuse.fitted import FittedModel, FittedWriter
from transfuse.fitted.model import load
from transfuse.fitted.writer import WriterPath
from transfuse.methods.catalogue import no_transfer
from transfuse.methods.instance.ratio import effective_size
from transfuse.study import wrote
from transfuse.study.assess import Assessed
from transfuse.study.beside import beside
from transfuse.study.card import card
from transfuse.study.prepare import StudyData
from transfuse.study.programs import drawn
from transfuse.study.progress import Progress
from transfuse.study.recipe import Recipe
from transfuse.study.splitting import writes
from transfuse.study.workshop import Workshop, validation_rows
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import Writing

MODEL = "model"
SOURCE_ROWS = "source_rows.csv"
MEANING_TOKENS = 256
"""Tokens of an answer that are read to see how near its meaning is."""
SHOWN = 5
"""Source rows at each end of the list that the report shows."""


@dataclasses.dataclass
class Ending:
    """What the test says, read once.

    Args:
        test, no_transfer: figures with intervals.
        comparison: the chosen candidate against no transfer on the test.
        details: what else the report says of the chosen candidate on the test: of labels `_of_labels`, of written
            answers `wrote.details`.
        source_rows: what the source's rows counted, where its method weighs them; else None.
        teachers: each teacher beside its student, where the chosen candidate is one.
    """

    test: dict[str, Any]
    no_transfer: dict[str, Any]
    comparison: dict[str, Any]
    details: dict[str, Any]
    source_rows: dict[str, Any] | None = None
    teachers: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def finish(
    chosen: Assessed,
    assessed: list[Assessed],
    data: StudyData,
    workshop: Workshop,
    ledger: Ledger,
    progress: Progress,
) -> Ending:
    """Save the model, then read the test with what was saved, as its user will."""
    progress.candidate(chosen.candidate.id, 1, 1)
    workshop.report = lambda text, share: progress.update(text, share)
    task = data.task
    baseline = next(a for a in assessed if a.candidate.method == no_transfer(task.kind) and not a.candidate.settings)
    kind: Any = FittedModel if isinstance(task, Classify) else FittedWriter
    model = kind(task, workshop.final(chosen.candidate), **_about(chosen.candidate, workshop, data))
    weighed = _source_rows(chosen.candidate, data, workshop, ledger)
    if isinstance(task, Classify):
        model.path.temperature = _temperature(chosen, data)
    test = data.test.open()
    expected = task.encode(test)
    folder = ledger.folder / MODEL
    model.save(folder)
    progress.update("test", 0.0)
    path = load(folder).path
    workshop.remotes.adopt(path)
    found = workshop.answers(path, test.texts, workshop.precision(chosen.candidate.backbone))
    against = workshop.answers(workshop.final(baseline.candidate), test.texts)
    _keep(chosen.candidate.id, data, test, found, ledger)
    if baseline is not chosen:
        _keep(baseline.candidate.id, data, test, against, ledger)
    own, other = task.judged(found), task.judged(against)
    seed = workshop.recipe.seed
    details = (
        _of_labels(expected, own, other, test, task, model.path.temperature)
        if isinstance(task, Classify)
        else wrote.details(expected, own, other, test, task.metrics, seed)
    )
    if isinstance(path, WriterPath):
        details["loops"] = path.looped
    figures, plain = (
        metric_intervals(expected, a, seed=seed, names=task.metrics, groups=test.groups) for a in (own, other)
    )
    if isinstance(task, Writing):
        further, further_plain = _by_models(path, expected, own, other, test, workshop, chosen.candidate.backbone)
        figures, plain = {**figures, **further}, {**plain, **further_plain}
    ending = Ending(
        {k: v.to_dict() for k, v in figures.items()},
        {k: v.to_dict() for k, v in plain.items()},
        compare(expected, own, other, metric=task.metric, seed=seed, groups=test.groups).to_dict(),
        details,
        weighed,
        _beside_teachers(chosen.candidate, path, found, test, workshop),
    )
    model.card = card(workshop.recipe, data, model, chosen.record, ending.test, ending.no_transfer)
    model.made["test"] = ending.test
    model.save(folder)
    return ending


def _beside_teachers(
    candidate: Candidate, path: Any, answers: np.ndarray, test: Examples, workshop: Workshop
) -> list[dict[str, Any]]:
    """Each teacher of a student beside it; a teacher itself has none."""
    names = [name for name in candidate.sources if name in workshop.taught and candidate.method != "teacher"]
    out = []
    for name in names:
        try:
            out.append(beside(name, path, answers, test, workshop, workshop.precision(candidate.backbone)))
        except TransfuseError as error:  # such as a budget that does not reach: the student is there all the same
            out.append({"name": name, "reason": error.found})
    return out


def _by_models(
    path: Any,
    expected: np.ndarray,
    answers: np.ndarray,
    others: np.ndarray,
    test: Examples,
    workshop: Workshop,
    backbone: str,
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """What only models can tell of written answers: nearness in meaning, and bits a byte of the references."""
    seed, encoder = workshop.recipe.seed, workshop.recipe.task.similarity
    own, other = {}, {}
    if encoder:
        readout = workshop.backbone(encoder)
        assert readout is not None

        def vectors(texts: list[str]) -> np.ndarray:
            tokens = readout.tokens(texts, None, MEANING_TOKENS)
            return readout.features(tokens, [readout.layers])[:, 0, 0]

        own["similarity"], other["similarity"] = (
            ratio_interval(wrote.nearness(expected, a, vectors), seed=seed, groups=test.groups)
            for a in (answers, others)
        )
    if isinstance(path, WriterPath):
        arithmetic = workshop.precision(backbone)
        bits = path.bits(test.texts, test.labels or (), arithmetic)
        own["bits_per_byte"] = ratio_interval(bits, seed=seed, groups=test.groups)
        passed = drawn(path, expected, test.texts, workshop.recipe.task.samples or 0, seed, arithmetic)
        own |= {name: ratio_interval(each, seed=seed, groups=test.groups) for name, each in passed.items()}
    return own, other


def _of_labels(
    labels: np.ndarray, probabilities: np.ndarray, others: np.ndarray, test: Examples, task: Classify, heat: float
) -> dict[str, Any]:
    """Each class alone (``by_label``, the largest gain first), the confusion, the most confident mistakes, calibration.

    Args:
        labels: int64 [N].
        probabilities, others: of the chosen candidate and of no transfer, [N, C].
        test: the examples.
        task: names the labels.
        heat: the temperature that logits are divided by.
    """
    return {
        "by_label": [
            {
                "label": task.labels[d.label],
                "n": d.n,
                "chosen": d.a,
                "no_transfer": d.b,
                "difference": d.a - d.b,
                "p": d.p,
                "verdict": d.verdict,
            }
            for d in difference_by_label(labels, probabilities, others, groups=test.groups)
        ],
        "temperature": heat,
        "confusion": {"labels": list(task.labels), "matrix": confusion(labels, probabilities).astype(int).tolist()},
        "mistakes": [
            {
                "text": test.texts[m.index],
                "label": task.labels[m.label],
                "predicted": task.labels[m.predicted],
                "probability": m.probability,
                "row": int(np.asarray(test.rows)[m.index]),
            }
            for m in confident_mistakes(labels, probabilities, 12)
        ],
        "calibration": [b.to_dict() for b in reliability(labels, probabilities)],
    }


def _source_rows(candidate: Candidate, data: StudyData, workshop: Workshop, ledger: Ledger) -> dict[str, Any] | None:
    """What each row of the source counted in the last fit, into source_rows.csv; both ends for the report.

    Of an ensemble, what they counted in the member with the largest weight that weighs rows; ``member`` names it.
    """
    members = sorted(candidate.members, key=lambda member: -member[1]) or [(candidate, 1.0)]
    of = next((member.id for member, _ in members if member.id in workshop.weighed), None)
    if of is None:
        return None
    rows, weights = workshop.weighed[of]
    order = np.argsort(-weights, kind="stable")
    told = [
        {"weight": float(f"{weights[i]:.4g}"), "label": data.task.labels[rows.labels[i]], "text": rows.texts[i]}
        for i in order
    ]
    ledger.write_rows(ledger.folder / SOURCE_ROWS, told)
    return {
        "rows": len(told),
        "unused": int((weights == 0).sum()),
        "effective": float(f"{effective_size(weights):.4g}"),
        "member": of if candidate.members else None,
        "first": told[:SHOWN],
        "last": told[::-1][:SHOWN],
    }


def _about(candidate: Candidate, workshop: Workshop, data: StudyData) -> dict[str, Any]:
    backbone = workshop.backbone(candidate.backbone)
    recipe = workshop.recipe
    made = {
        "study": recipe.name,
        "candidate": candidate.to_dict(),
        "seed": recipe.seed,
        "data": [dict(part) for part in data.parts],
        "columns": _columns(recipe),
    }
    if is_remote(candidate.backbone):
        about = workshop.remotes.about(candidate.backbone)
        return {"method": candidate.method, "backbone": about, "made": made}
    if backbone is None:
        return {"method": candidate.method, "made": made}
    resolved = workshop.resolved[candidate.backbone]
    if ":" not in resolved:  # a folder: relative paths are relative to the recipe, the model may move
        resolved = str((recipe.base / resolved).resolve())
    fields = {
        "reference": candidate.backbone,
        "resolved": resolved,
        "revision": backbone.revision,
        "licence": backbone.licence,
        "family": backbone.family,
        "layers": backbone.layers,
        "unsafe": recipe.allow_unsafe_weights,
    }
    return {"method": candidate.method, "backbone": fields, "made": made}


def _columns(recipe: Recipe) -> dict[str, Any]:
    """What the user calls the columns, by which ``transfuse predict`` and ``evaluate`` find them."""
    task = recipe.task
    if writes(task):
        named = {"input": task.input, "label": task.output, "context": task.context}
        return {**named, "tests": task.tests, "entry": task.entry, "group": recipe.target.group_column}
    return {"input": task.input, "label": task.label, "bins": task.bins, "group": recipe.target.group_column}


def _temperature(chosen: Assessed, data: StudyData) -> float:
    """One number that makes the chosen candidate's validation probabilities as likely as can be.

    One mistake on a row of median margin is added to the N rows, as Laplace adds one to a count: where every validated
    row is right, the most likely confidence would be 1, and a few dozen rows are no ground for that.
    """
    assert chosen.probabilities is not None
    labels = data.task.encode(data.train.take(validation_rows(data)))
    scores = np.log(np.maximum(chosen.probabilities, 1e-30))  # [R, N, C]
    flat, repeats = scores.reshape(-1, scores.shape[-1]), len(scores)
    ranked = np.sort(flat, axis=1)
    typical = np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")[len(flat) // 2]
    runner_up = np.argsort(flat[typical], kind="stable")[-2]
    flat = np.concatenate([flat, np.repeat(flat[[typical]], repeats, axis=0)])
    return round(temperature(flat, np.concatenate([np.tile(labels, repeats), np.full(repeats, runner_up)])), 4)


def _keep(name: str, data: StudyData, test: Examples, answers: np.ndarray, ledger: Ledger) -> None:
    columns: dict[str, Any] = {"split": ["test"] * len(test), "row": test.rows, "label": list(test.labels or ())}
    ledger.write_predictions(f"test.{name}", columns | data.task.columns(answers))
