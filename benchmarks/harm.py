"""Negative transfer: three sources that harm, beside one that helps, in ten draws of the labels."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import transfuse
from benchmarks.common import keep, shared, spread
from transfuse import data

DRAWS = 10
BINS = {"negative": "< -0.5", "positive": "> 0.5"}
RECIPE = """
task: {{kind: classify, input: text, label: rating, bins: {{negative: "< -0.5", positive: "> 0.5"}}}}
target: {{data: "catalog:vader-amazon-reviews", shots: 32, seed: {draw}, test: {{rows: 1000, seed: 0}}}}
sources: [{sources}]
backbones: ["catalog:minilm-l6"]
methods: [probe, feda, ulsif, tradaboost]
budget: {{minutes: 20}}
"""
ENSEMBLE_DRAWS = 5
ENSEMBLES = RECIPE.replace("[probe, feda, ulsif, tradaboost]", "[probe, centroid, feda, domain_ratio]\nensembles: true")
"""The methods of `methods: auto` that take seconds: what they fit answers together, as there."""
MOVIES = '{name: movies, data: "catalog:vader-movie-reviews"}'
HARMFUL = ("flipped", "random", "unrelated")


def run() -> None:
    """A study with the movies alone and one with the harmful sources beside them, on each draw; some with ensembles."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, rows in _sources():
            with (place / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([("text", "rating"), *rows])
        studies = _studies(RECIPE, DRAWS, place, "single")
        together = _studies(ENSEMBLES, ENSEMBLE_DRAWS, place, "together")
    keep(
        "harm",
        "python -m benchmarks harm",
        started,
        **_summary(studies),
        ensembles=_summary(together),
    )


def _studies(text: str, draws: int, place: Path, mark: str) -> list[dict[str, Any]]:
    studies = []
    for draw in range(draws):
        found = {}
        for arm, extra in (("movies", ()), ("all", HARMFUL)):
            named = ", ".join([MOVIES, *(f"{{name: {n}, data: {n}.csv}}" for n in extra)])
            recipe = transfuse.Recipe.from_text(text.format(draw=draw, sources=named), place, "harm")
            found[arm] = _told(transfuse.run(recipe, out=place / f"{mark}-{arm}-{draw}").report)
        studies.append({"draw": draw, **found})
        print(studies[-1], flush=True)
    return studies


def _summary(studies: list[dict[str, Any]]) -> dict[str, Any]:
    """How often the movies were used where they are alone, how often a harmful source was, and what that cost."""
    return {
        "studies": studies,
        "used": sum(s["movies"]["sources"] == ["movies"] for s in studies),
        "harmed": sum(bool(set(s["all"]["sources"]) & set(HARMFUL)) for s in studies),
        "difference": spread([s["all"]["test"]["value"] - s["movies"]["test"]["value"] for s in studies]),
    }


def _told(report: dict[str, Any]) -> dict[str, Any]:
    chosen = next(c for c in report["candidates"] if c["id"] == report["chosen"])
    verdicts = {
        "+".join(c["sources"]): next((t["verdict"] for t in c["transfer"] if t["kind"] == "without source"), "")
        for c in report["candidates"]
        if c["sources"]
    }
    return {
        "chosen": report["chosen"],
        "sources": chosen["sources"],
        "test": report["test"]["accuracy"],
        "verdicts": verdicts,
        "seconds": report["seconds"],
    }


def _sources() -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Movie reviews with their labels turned round, with random labels; intents, of which half are called positive."""
    columns = data.Columns("text", "rating", bins=BINS)
    movies = data.read("catalog:vader-movie-reviews", columns=columns, base=Path())
    signs = [1.0 if label == "positive" else -1.0 for label in movies.labels or ()]
    yield "flipped", [(text, -sign) for text, sign in zip(movies.texts, signs, strict=True)]
    drawn = np.random.default_rng(0).choice([-1.0, 1.0], len(signs))
    yield "random", [(text, float(sign)) for text, sign in zip(movies.texts, drawn, strict=True)]
    with shared("clinc150", "train.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    half = set(sorted({row["intent"] for row in rows})[::2])
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:4000]]
    yield "unrelated", [(row["text"], 1.0 if row["intent"] in half else -1.0) for row in rows]
