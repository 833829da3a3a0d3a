"""kill -9 at five random moments, then the same command: the report of an undisturbed run of the same plan."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, keep

MEASURED = ("seconds", "created", "spent_seconds", "peak_memory_mib", "command", "predict_per_1000", "fit")
"""Keys whose values are times, memory or the folder's name."""


def run() -> None:
    """Run the main job undisturbed, then with its plan and five kills, and compare the reports."""
    started = time.perf_counter()
    folder = ROOT / "runs" / "benchmarks"
    whole, killed = folder / "kill-undisturbed", folder / "kill-killed"
    for out in (whole, killed):
        shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    subprocess.run(_command(whole), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    length = time.perf_counter() - began
    killed.mkdir(parents=True)
    shutil.copy(whole / "plan.json", killed / "plan.json")
    moments = []
    generator = random.Random(0)
    for number in range(5):
        moments.append(_kill(killed, number, length * generator.uniform(0.08, 0.3)))
        print(moments[-1], flush=True)
    subprocess.run(_command(killed), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    first, second = (_stripped(json.loads((out / "report.json").read_text("utf-8"))) for out in (whole, killed))
    different = [key for key in first if first[key] != second.get(key)]
    keep(
        "kill",
        "python -m benchmarks kill",
        started,
        moments=moments,
        equal=not different,
        different=different,
        undisturbed_seconds=round(length, 1),
    )
    print("equal" if not different else f"different: {different}")


def _command(out: Path) -> list[str]:
    return [sys.executable, "-m", "transfuse", "run", "examples/reviews.yaml", "--out", str(out.relative_to(ROOT))]


def _kill(out: Path, number: int, after: float) -> str:
    """Start the study and kill it: twice inside training, once while results are written, else after some seconds."""
    process = subprocess.Popen(_command(out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    moment = f"after {after:.0f} s"
    if number in (1, 3):
        for line in process.stderr:
            if "finetune@" in line and "done" not in line:
                moment = f"inside training: {line.split('·')[1].strip() if '·' in line else line.strip()}"
                break
        time.sleep(after / 10)
    elif number == 4:
        moment = "while results are written" if _writing(out, process) else "ended before a result was written"
    else:
        time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    return moment


def _writing(out: Path, process: subprocess.Popen[str]) -> bool:
    """Wait until a scratch file of the ledger or of the predictions stands on the disk."""
    while process.poll() is None:
        for name in ("ledger", "predictions"):
            if any(entry.name.startswith(".") for entry in os.scandir(out / name)):
                return True
    return False


def _stripped(value: Any) -> Any:
    """The report without what is measured by a clock."""
    if isinstance(value, dict):
        return {k: _stripped(v) for k, v in value.items() if k not in MEASURED}
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value
