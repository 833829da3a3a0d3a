"""report.json: everything that the study found, and what is needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transfuse.backbones.remote import is_remote
from transfuse.engine.ledger import Ledger
from transfuse.study.assess import Assessed
from transfuse.study.decide import machine, now
from transfuse.study.finish import Ending
from transfuse.study.prepare import StudyData
from transfuse.study.recipe import Recipe
from transfuse.study.workshop import Workshop, validation_rows

REPORT = "report.json"
SCHEMA = 1


def report_of(
    recipe: Recipe,
    data: StudyData,
    workshop: Workshop,
    ledger: Ledger,
    decided: Mapping[str, Any],
    assessed: Sequence[Assessed],
    chosen: Assessed,
    barred: Sequence[Mapping[str, str]],
    ending: Ending,
    lang: str,
) -> dict[str, Any]:
    """The report as DESIGN's schema 1 has it, with keys added."""
    used = {a.candidate.backbone for a in assessed if a.candidate.backbone}
    return {
        "schema": SCHEMA,
        "name": recipe.name,
        "task": data.task.to_dict(),
        "metric": data.task.metric,
        "seed": recipe.seed,
        "lang": lang,
        "created": now(),
        "command": f"transfuse run {recipe.origin} --out {ledger.folder}",
        "machine": machine(workshop.precisions),
        "recipe": recipe.text,
        "data": {"parts": list(data.parts), "findings": [f.to_dict() for f in data.findings]},
        "validation": {
            "kind": data.splits.kind,
            "folds": data.splits.folds,
            "repeats": data.splits.repeats,
            "n": len(validation_rows(data)),
        },
        "budget": {"minutes": recipe.budget.minutes, "spent_seconds": round(ledger.seconds, 1)},
        "plan": {k: decided[k] for k in ("threads", "precision", "resolved", "data")},
        "candidates": [a.record for a in assessed],
        "chosen": chosen.candidate.id,
        "gate": recipe.gate,
        "barred": list(barred),
        "test": ending.test,
        "no_transfer": ending.no_transfer,
        "test_comparison": ending.comparison,
        "test_rows": len(data.test),
        "test_precision": workshop.precision(chosen.candidate.backbone),
        **ending.details,
        "assets": [_asset(reference, workshop) for reference in sorted(used)],
        "source_rows": ending.source_rows,
        "teachers": ending.teachers,
        **workshop.remotes.report(),
        "seconds": round(ledger.seconds, 1),
    }


def _asset(reference: str, workshop: Workshop) -> dict[str, Any]:
    if is_remote(reference):
        return workshop.remotes.asset(reference)
    backbone = workshop.backbone(reference)
    assert backbone is not None
    return {
        "reference": workshop.resolved.get(reference, reference),
        "hash": backbone.revision,
        "licence": backbone.licence,
        "parameters": backbone.parameters,
    }
