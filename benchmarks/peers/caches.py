"""A study of ten candidates with five folds, with what is kept and without."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT
from benchmarks.peers.clock import memory_mib, timed

WORK = "a study: 10 candidates, 5 folds, smollm2-135m-instruct, 64 labels and 512 movie reviews as the source"
RECIPE = """
task: {kind: classify, input: text, label: rating, bins: {negative: "< -0.5", positive: "> 0.5"}}
target: {data: "catalog:vader-amazon-reviews", shots: 32, test: {rows: 500}}
sources:
  - {name: movies, data: "catalog:vader-movie-reviews"}
backbones: ["catalog:smollm2-135m-instruct"]
methods:
  - majority
  - tfidf
  - probe: {source_limit: 512}
  - prompt: {shots: 8}
  - prompt: {shots: 0}
  - finetune: {source_limit: 512}
  - lora: {source_limit: 512}
budget: {minutes: 120}
validation: {folds: 5, repeats: 1}
"""


def study(*, keep: bool) -> dict[str, Any]:
    """The study, and the figures of its candidates."""
    import transfuse

    recipe = transfuse.Recipe.from_text(RECIPE, ROOT, "caches")
    with tempfile.TemporaryDirectory() as scratch:
        seconds, made = timed(lambda: transfuse.run(recipe, out=Path(scratch) / "out", keep=keep))
        report = made.report
    done = [c for c in report["candidates"] if c["status"] == "done"]
    figures = {c["id"]: c["validation"]["accuracy"] for c in done}
    fits = {c["id"]: c["seconds"] for c in done}
    accuracy = report["test"]["accuracy"]["value"]
    return {
        "seconds": seconds,
        "accuracy": accuracy,
        "candidates": len(done),
        "figures": figures,
        "fits": fits,
        "memory_mib": memory_mib(),
    }


SIDES = {"with caches": lambda: study(keep=True), "without (--no-cache)": lambda: study(keep=False)}
