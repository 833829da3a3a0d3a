"""N roles that choose labels on one trunk beside N models of their own: answering, training and memory.

What has been measured is kept under runs/benchmarks/team_cost and not measured again: remove it to measure anew.
"""

from __future__ import annotations

import csv
import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import transfuse
from benchmarks import clinc
from benchmarks.common import ROOT, Parts, keep
from benchmarks.memory import RESIDENT, Memory
from transfuse.backbones import loading
from transfuse.backbones.huggingface import Backbone
from transfuse.fitted.head import HeadPath
from transfuse.fitted.model import remember
from transfuse.fitted.paths import build
from transfuse.fitted.shared import SharedTrunk
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.training import ROLES as FOLDER
from transfuse.teams.training import train

MINILM = "catalog:minilm-l6"
ROLES, DIFFERENT = (1, 2, 4, 8, 16), 4
ROWS, TEXTS, REPEATS, TRAININGS = 400, 600, 3, 2
KINDS: dict[str, dict[str, Any]] = {
    "heads": {"probe": {"layers": [6], "poolings": ["mean"]}},
    "own upper 2 of 6 layers": {"finetune": {"train_layers": 2, "label_words": False}},
    "LoRA on the upper 2 of 6 layers": {"lora": {"train_layers": 2}},
}
NAMES = [f"role_{number}" for number in range(DIFFERENT)]


def run() -> None:
    """Each kind for each number of roles; the answers are the same on both sides."""
    started = time.perf_counter()
    parts = Parts("team_cost")
    rows = clinc.read("train.csv")
    _write_rows(rows, parts.place / "rows.csv")
    told, training = {}, {}
    for kind, method in KINDS.items():
        training[kind] = parts.part(f"training, {kind}", _trainings, method, parts.place)
        folders = [parts.place / _slug(method) / FOLDER / name for name in NAMES]
        told[kind] = parts.part(f"answering, {kind}", _answering, folders)
        for one in told[kind]:
            one["process"] = parts.part(f"memory, {kind}, {one['roles']}", _measured, folders, one["roles"])
        print(kind, [(t["roles"], round(t["apart"] / t["together"], 2)) for t in told[kind]], flush=True)
        given = {"texts": TEXTS, "rows": ROWS, "trained_roles": DIFFERENT, **parts.made}
        keep("team_cost", "python -m benchmarks team_cost", started, kinds=told, training=training, **given)


def _slug(method: dict[str, Any]) -> str:
    return next(iter(method))


def _write_rows(rows: Sequence[clinc.Row], file: Path) -> None:
    """Requests that every role reads, with a column for each: the intents in groups, in another way for each role."""
    chosen = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:ROWS]]
    intents = sorted({row[1] for row in rows})
    with file.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["request", *(f"label_{number}" for number in range(DIFFERENT))])
        for text, intent, _ in chosen:
            place = intents.index(intent)
            out.writerow([text, *(f"group {place % (5 + number)}" for number in range(DIFFERENT))])


def _recipe(method: dict[str, Any], place: Path, numbers: Sequence[int]) -> TeamRecipe:
    """A team of some of the roles, as a file says it."""
    roles = {
        NAMES[number]: {
            "input": ["request"],
            "output": {f"label_{number}": "labels"},
            "train": {"data": "rows.csv", "method": method},
        }
        for number in numbers
    }
    plain = {"backbone": MINILM, "roles": roles, "protocol": {"pipeline": list(roles)}}
    return TeamRecipe.from_text(json.dumps(plain), place)


def _trainings(method: dict[str, Any], place: Path) -> dict[str, Any]:
    """Seconds of `transfuse team train` for four roles in one team, and for four teams of one role; the quickest."""
    loads = min(_load() for _ in range(3))
    seconds: dict[str, list[float]] = {"together": [], "apart": []}
    for _ in range(TRAININGS):
        for name, teams in (("together", [range(DIFFERENT)]), ("apart", [[n] for n in range(DIFFERENT)])):
            out = place / (_slug(method) if name == "together" else "apart")
            shutil.rmtree(out, ignore_errors=True)
            began = time.perf_counter()
            for numbers in teams:
                train(_recipe(method, place, list(numbers)), out)
            seconds[name].append(time.perf_counter() - began - loads * len(teams))
    return {"load": loads, **{name: min(times) for name, times in seconds.items()}}


def _load() -> float:
    began = time.perf_counter()
    loading.load(MINILM)
    return time.perf_counter() - began


def _roles(folders: Sequence[Path], backbone: Backbone, count: int) -> list[HeadPath]:
    """So many of the trained roles, each with layers of its own."""
    models = [transfuse.load(folder) for folder in folders[:count]]
    paths = [getattr(models[i % len(models)], "path") for i in range(count)]  # noqa: B009 - a cascade has none
    return [build(path.describe(), path.tensors(), remember(backbone)) for path in paths]  # type: ignore[misc]


def _texts() -> list[str]:
    return [text for text, _, _ in clinc.read("test.csv")[:TEXTS]]


def _answering(folders: Sequence[Path]) -> list[dict[str, Any]]:
    backbone = loading.load(MINILM)
    return [_one(backbone, _roles(folders, backbone, count), _texts()) for count in ROLES]


def _one(backbone: Backbone, paths: list[HeadPath], texts: list[str]) -> dict[str, Any]:
    together = _together(backbone, paths, texts)

    def apart() -> np.ndarray:
        return np.concatenate([row for path in paths for row in path.log_probabilities(texts)])

    seconds: dict[str, list[float]] = {"together": [], "apart": []}
    found: dict[str, np.ndarray] = {}
    for turn in range(REPEATS + 1):  # the first warms up
        for name, work in (("together", together), ("apart", apart)):
            start = time.perf_counter()
            found[name] = work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    own = sum(path.trainable_parameters for path in paths)
    return {
        "roles": len(paths),
        **{name: min(times) for name, times in seconds.items()},
        "difference": float(np.abs(found["together"] - found["apart"]).max()),
        "memory": (backbone.parameters + own) / backbone.parameters,
    }


def _together(backbone: Backbone, paths: list[HeadPath], texts: list[str]) -> Any:
    """All roles answer all texts over one trunk, which remembers nothing of the last time."""
    shared = SharedTrunk(backbone)
    for path in paths:
        shared.add(path)
    every = [(path, text) for path in paths for text in texts]

    def work() -> np.ndarray:
        shared.forget()
        return np.concatenate(shared.log_probabilities([p for p, _ in every], [t for _, t in every]))

    return work


def _measured(folders: Sequence[Path], count: int) -> dict[str, float]:
    """The most memory of a process of its own in which so many roles answer."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.team_cost", str(count), *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def memory(folders: Sequence[Path], count: int) -> dict[str, float]:
    """MiB of this process before its model is loaded, and at most while roles over one trunk answer."""
    texts = _texts()
    loading.load(MINILM)  # and dropped: what is imported for it is nobody's
    gc.collect()
    with Memory(RESIDENT) as seen:
        backbone = loading.load(MINILM)
        _together(backbone, _roles(folders, backbone, count), texts)()
    return {"before_mib": seen.first, "most_mib": seen.most}


if __name__ == "__main__":
    print(json.dumps(memory([Path(folder) for folder in sys.argv[2:]], int(sys.argv[1]))))
