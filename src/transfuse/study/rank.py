"""What promises most before anything is trained: backbones, layers, poolings and sources of a recipe."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.advice import rank as advice
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.remote import is_remote
from transfuse.engine.jobs import Rows
from transfuse.engine.threads import one_blas_thread
from transfuse.engine.trunk import Trunk
from transfuse.errors import RecipeError
from transfuse.methods.rows import evidence, source_rows, target_rows
from transfuse.study.prepare import StudyData, prepare
from transfuse.study.progress import NOTES, Progress, Silent
from transfuse.study.recipe import Recipe
from transfuse.study.workshop import Workshop
from transfuse.tasks.classify import Classify

MOST_ROWS, SOURCE_ROWS = 1024, 512
TIMED = 48
"""Texts by which the speed of a backbone is taken."""
SHOWN = 5
"""Readouts of a backbone that are kept, the best first."""


def rank(recipe: Recipe | str | Path, *, lang: str = "en", progress: Progress | None = None) -> dict[str, Any]:
    """Score every backbone, layer, pooling and source of a recipe from one cached pass each; nothing is trained.

    Neither test nor validation is read. Which score decides depends on the rows of the rarest class among those that
    are read: see `advice.rank.decisive`.

    Args:
        recipe: a `Recipe` or the path of one.
        lang: of what is said meanwhile.
        progress: told what happens.

    Returns:
        ``decisive``, ``rows`` (how many are read) and ``backbones``, the most promising first: each with what it is
        (``reference``, ``parameters``, ``memory_mib``, ``texts_per_second``, ``licence``), its best ``readouts`` and
        its ``sources``.

    Raises:
        RecipeError: no backbone to rank.
        RecipeError, DataError, AssetError, BackboneError: what the recipe names is wrong.

    Cost: one pass over at most 1,024 target rows and 512 rows of each source, a backbone; seconds of algebra.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.from_file(recipe)
    references = [reference for reference in recipe.backbones if not is_remote(reference)]
    if not references:
        raise RecipeError(
            f"{recipe.origin}: no backbones on this machine",
            expected="one at least",
            remedy="Name them under `backbones`.",
        )
    progress, say = progress or Silent(), NOTES.get(lang, NOTES["en"])
    data = prepare(recipe)
    if not isinstance(data.task, Classify):
        raise RecipeError(
            f"{recipe.at('task', 'kind')}: '{data.task.kind}' cannot be ranked without training",
            expected="a task whose answer is a label",
            remedy="Run the study: a prompt without examples costs a pass for each text.",
        )
    workshop = Workshop(
        recipe, data, say, lambda name, done, total: progress.update(say["download"].format(name=name), 0)
    )
    rows = _learnt(data.task, data)
    found = []
    for number, reference in enumerate(references):
        progress.update(reference, number / len(references))
        found.append(_backbone(reference, rows, data.task, data, workshop))
    key = advice.decisive(rows.labels)
    found.sort(key=lambda entry: -entry["readouts"][0]["scores"][key])
    return {"recipe": recipe.name, "decisive": key, "rows": len(rows), "backbones": found}


def _learnt(task: Classify, data: StudyData) -> Rows:
    """The target's rows that methods learn from, most of them where they are many; those that validate are not read."""
    splits = data.splits
    examples = data.train.take(splits.fits[0][1]) if splits.kind == "split" else data.train
    return evidence(target_rows(task, examples), MOST_ROWS)


def _backbone(reference: str, rows: Rows, task: Classify, data: StudyData, workshop: Workshop) -> dict[str, Any]:
    trunk = workshop.trunk(reference)
    backbone = trunk.backbone
    template = task.shown() if backbone.decoder else None
    features = trunk.features(rows.texts, template)
    with one_blas_thread():
        ranked = advice.readouts(features, rows.labels, backbone.poolings)
        ranked = advice.calibrated(ranked, features, rows.labels, backbone.poolings, seed=workshop.recipe.seed)
        best = ranked[0]
        at = features[:, best.layer, backbone.poolings.index(best.pooling)]
        sources = [_source(name, best, (at, rows.labels), template, task, data, trunk) for name in data.sources]
    return {
        "reference": reference,
        "parameters": backbone.parameters,
        "memory_mib": round(backbone.parameters * 4 / 2**20),
        "texts_per_second": round(_speed(backbone, list(rows.texts[:TIMED]), template, trunk), 1),
        "licence": backbone.licence,
        "layers": backbone.layers,
        "readouts": [dataclasses.asdict(readout) for readout in ranked[:SHOWN]],
        "sources": sorted(sources, key=lambda s: -(s["transfer"] if s["transfer"] == s["transfer"] else s["leep"])),
    }


def _speed(backbone: Backbone, texts: list[str], template: str | None, trunk: Trunk) -> float:
    tokens = backbone.tokens(texts, template, trunk.limit)
    backbone.features(tokens[:4], [backbone.layers], trunk.precision)
    start = time.perf_counter()
    backbone.features(tokens, [backbone.layers], trunk.precision)
    return len(texts) / (time.perf_counter() - start)


def _source(
    name: str,
    best: advice.Readout,
    target: tuple[np.ndarray, np.ndarray],
    template: str | None,
    task: Classify,
    data: StudyData,
    trunk: Trunk,
) -> dict[str, Any]:
    examples = data.sources[name]
    same = name not in data.related
    rows = source_rows(task if same else Classify(tuple(examples.classes())), {name: examples}, SOURCE_ROWS)
    assert rows is not None
    pooling = trunk.backbone.poolings.index(best.pooling)
    x = trunk.features(rows.texts, template, [best.layer])[:, 0, pooling]
    return dataclasses.asdict(advice.source_score(name, (x, rows.labels), target, same_labels=same))
