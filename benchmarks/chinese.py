"""Chinese shopping reviews from a recipe, end to end, figures as they are."""

from __future__ import annotations

import shutil
import time

import transfuse
from benchmarks.common import ROOT, keep


def run() -> None:
    """Run examples/snownlp.yaml."""
    started = time.perf_counter()
    out = ROOT / "runs" / "benchmarks" / "snownlp"
    shutil.rmtree(out, ignore_errors=True)
    report = transfuse.run(ROOT / "examples" / "snownlp.yaml", out=out, lang="zh").report
    keep(
        "chinese",
        "python -m benchmarks chinese",
        started,
        chosen=report["chosen"],
        test=report["test"],
        no_transfer=report["no_transfer"],
        test_rows=report["test_rows"],
        study_seconds=report["seconds"],
    )
    print(report["chosen"], report["test"]["accuracy"], report["no_transfer"]["accuracy"], report["seconds"])
