"""What all benchmarks share: where data are, what the machine is, how a result is kept."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SHARED = ROOT.parent / "shared" / "data"


def keep(name: str, command: str, started: float, **figures: Any) -> None:
    """Write a result with what is needed to judge it: machine, versions, command, date, duration."""
    from transfuse.study.decide import machine

    RESULTS.mkdir(parents=True, exist_ok=True)
    record = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine({}),
        "seconds": round(time.perf_counter() - started, 1),
        **figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class Parts:
    """Parts of a benchmark that are measured once each, under runs/benchmarks/NAME: remove it to measure anew.

    Args:
        name: of the benchmark.

    Attributes:
        place: the folder.
        seconds: that the parts have taken which were asked for, in whichever run.
        commits: at which they were measured.
    """

    def __init__(self, name: str) -> None:
        self.place = ROOT / "runs" / "benchmarks" / name
        self.place.mkdir(parents=True, exist_ok=True)
        self.seconds = 0.0
        self.commits: set[str] = set()

    def part(self, name: str, work: Callable[..., Any], *given: Any) -> Any:
        """What a piece of work gave for what it is given, as JSON; it is done now if it was not yet."""
        file = self.place / f"{name}.json"
        if not file.exists():
            print(f"{time.strftime('%H:%M:%S')} {name} ...", flush=True)
            began = time.perf_counter()
            found = work(*given)
            told = {"commit": commit(), "seconds": round(time.perf_counter() - began, 1), "found": found}
            scratch = file.with_suffix(".partial")
            scratch.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            scratch.replace(file)
        told = json.loads(file.read_text(encoding="utf-8"))
        print(f"{time.strftime('%H:%M:%S')} {name}: {told['seconds']:.0f} s", flush=True)
        self.seconds += told["seconds"]
        self.commits.add(told["commit"])
        return told["found"]

    @property
    def made(self) -> dict[str, Any]:
        """What `keep` should say of their making, in the place of what it knows of this run alone."""
        return {"seconds": round(self.seconds, 1), "commit": ", ".join(sorted(self.commits))}


def commit() -> str:
    """The commit that was measured, marked where what runs had changes."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "src", "examples", "benchmarks", ":!benchmarks/results")
    return head + ("-dirty" if changed else "") if head else platform.node()


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, standard deviation, least and most of some draws."""
    array = np.array(values, dtype=float)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return {
        "mean": float(array.mean()),
        "sd": deviation,
        "low": float(array.min()),
        "high": float(array.max()),
        "values": [round(float(v), 4) for v in array],
    }


def figure(f: Mapping[str, float]) -> str:
    """A figure with its interval."""
    return f"{f['value']:.3f} ({f['low']:.3f}–{f['high']:.3f})"


def spread_of(s: Mapping[str, Any], digits: int = 3) -> str:
    """What `spread` gave, in words."""
    return f"{s['mean']:.{digits}f} ± {s['sd']:.{digits}f} ({s['low']:.{digits}f} to {s['high']:.{digits}f})"


def shared(*parts: str) -> Path:
    """A file of ../shared/data.

    Raises:
        SystemExit: the folder is not there.
    """
    path = SHARED.joinpath(*parts)
    if not path.exists():
        raise SystemExit(f"{path.relative_to(ROOT.parent)} is missing: this benchmark needs it beside the repository")
    return path


def made(record: Mapping[str, Any]) -> str:
    """Command, date, commit, duration, machine and versions of a result, and what else must be known of its making."""
    m = record["machine"]
    return (
        f"`{record['command']}`, {record['date']}, commit {record['commit']}, {record['seconds']:.0f} s: "
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['device']}; Python {m['python']}, "
        f"torch {m['torch']}, transformers {m['transformers']}, transfuse {m['transfuse']}."
        f"{' ' + record['note'] if record.get('note') else ''}"
    )
