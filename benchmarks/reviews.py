"""The main job over five draws of its 64 labels: each a whole study, its test read once."""

from __future__ import annotations

import time

import transfuse
from benchmarks.common import ROOT, keep, spread

DRAWS = 5


def run(draws: int = DRAWS) -> None:
    """Run examples/reviews.yaml with five seeds of the draw; keep every study's choice and figures.

    A study that has ended is not run again: remove runs/benchmarks to measure anew.
    """
    started = time.perf_counter()
    text = (ROOT / "examples" / "reviews.yaml").read_text(encoding="utf-8")
    studies = []
    for draw in range(draws):
        drawn = text.replace("  shots: 32 ", f"  seed: {draw}\n  shots: 32 ", 1)
        assert drawn != text
        recipe = transfuse.Recipe.from_text(drawn, ROOT / "examples", f"reviews.yaml, draw {draw}")
        out = ROOT / "runs" / "benchmarks" / f"reviews-{draw}"
        study = transfuse.run(recipe, out=out)
        report = study.report
        chosen = next(c for c in report["candidates"] if c["id"] == report["chosen"])
        studies.append(
            {
                "draw": draw,
                "chosen": report["chosen"],
                "validation": chosen["validation"]["accuracy"],
                "test": report["test"]["accuracy"],
                "test_rows": report["test_rows"],
                "macro_f1": report["test"]["macro_f1"],
                "no_transfer": report["no_transfer"]["accuracy"],
                "seconds": report["seconds"],
                "skipped": [c["id"] for c in report["candidates"] if c["status"] == "skipped"],
                "source": [
                    {"id": c["id"], **{k: t[k] for k in ("difference", "verdict")}}
                    for c in report["candidates"]
                    for t in c["transfer"]
                    if t["kind"] == "without source"
                ],
            }
        )
        print(draw, report["chosen"], report["test"]["accuracy"], report["seconds"], flush=True)
    keep(
        "reviews",
        "python -m benchmarks reviews",
        started,
        studies=studies,
        accuracy=spread([s["test"]["value"] for s in studies]),
        no_transfer=spread([s["no_transfer"]["value"] for s in studies]),
        study_seconds=spread([s["seconds"] for s in studies]),
    )
