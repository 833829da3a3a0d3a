"""Data, recipes and a listener for tests of whole studies; conftest.py makes the folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.study.progress import Silent

WORDS = {"warm": ("red", "rose", "ruby", "fire"), "cold": ("blue", "navy", "teal", "ice")}
METHODS = "[probe, {finetune: {train_layers: 1, epochs: 2}}]"


def rows(count: int, seed: int, mark: str = "") -> list[tuple[str, str]]:
    """Texts of one long word each: TF-IDF, which never sees a word twice, is at chance, and bytes tell the label."""
    generator = np.random.default_rng(seed)
    labels = [("warm", "cold")[i % 2] for i in range(count)]
    return [("".join(generator.choice(WORDS[label], 4)) + f"{mark}{i}", label) for i, label in enumerate(labels)]


def write_csv(path: Path, header: Iterable[str], lines: Iterable[Iterable[Any]]) -> Path:
    """A CSV file as a spreadsheet writes it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return path


def write_data(folder: Path) -> Path:
    """target.csv, source.csv and other.csv."""
    for name, count, seed in (("target", 150, 1), ("source", 120, 2), ("other", 60, 3)):
        write_csv(folder / f"{name}.csv", ("text", "label"), rows(count, seed, name[0]))
    return folder


def recipe_text(methods: str = METHODS, sources: str = "[{name: more, data: source.csv}]", **changes: str) -> str:
    """A recipe over the files of `write_data`; ``changes`` add or replace keys of the top level."""
    keys = {
        "name": "toy",
        "task": "{kind: classify, input: text, label: label}",
        "target": "{data: target.csv, test: {rows: 60, seed: 0}, shots: 12}",
        "sources": sources,
        "backbones": "[enc, dec]",
        "methods": methods,
        "budget": "{minutes: 20}",
        "validation": "{folds: 3, repeats: 2}",
        **changes,
    }
    return "".join(f"{key}: {value}\n" for key, value in keys.items() if value)


def same(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what differs between two runs of one plan: times, memory, the folder."""
    kept: dict[str, Any] = json.loads(json.dumps(report))
    for key in ("created", "seconds", "command"):
        del kept[key]
    del kept["budget"]["spent_seconds"]
    for candidate in kept["candidates"]:
        del candidate["seconds"], candidate["peak_memory_mib"]
    return kept


class Told(Silent):
    """Keeps what a study tells."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.notes: list[str] = []
        self.updates: list[tuple[str, float | None, float | None]] = []
        self.lines: dict[str, str] = {}
        self.planned: list[str] = []

    def start(self, total_seconds, names):
        self.planned = list(names)

    def candidate(self, id, index, count):
        self.began.append(id)

    def update(self, text, fraction=None, seconds_left=None):
        self.updates.append((text, fraction, seconds_left))

    def done(self, id, line):
        self.lines[id] = line

    def note(self, text):
        self.notes.append(text)
