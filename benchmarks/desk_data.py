"""The support desk's rows, apart from each other: what its roles learn from, what judges it, what tests it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import clinc
from benchmarks.common import shared

KNOWN, SHOTS = 11, 8
"""Of each of 27 intents: known replies (297 in all), and labels of intents among them."""
HELD, PAIRED = 30, 7
"""Of each intent: replies that judge and that no role sees, and those of them that are paired with requests."""
INTENTS, REQUESTS = 1000, 80
"""Requests that test the understanding, and those that the team learns from by its own traces."""
SOURCE = 3000
"""Rows of CLINC150."""


class Row(NamedTuple):
    """A request, its intent and the reply of the data."""

    request: str
    intent: str
    reply: str


def rows() -> dict[str, list[Row]]:
    """Disjoint parts of the data: ``known``, ``held``, ``test`` and ``learn``, and ``spare``."""
    with shared("bitext_support", "support.csv").open(encoding="utf-8", newline="") as stream:
        every = [Row(r["instruction"], r["intent"], r["response"]) for r in csv.DictReader(stream)]
    parts: dict[str, list[Row]] = {"known": [], "held": [], "rest": []}
    seen: dict[str, int] = {}
    for i in np.random.default_rng(0).permutation(len(every)):
        row = every[i]
        number = seen[row.intent] = seen.get(row.intent, 0) + 1
        parts["known" if number <= KNOWN else "held" if number <= KNOWN + HELD else "rest"].append(row)
    rest = parts.pop("rest")
    parts["test"], parts["learn"] = rest[:INTENTS], rest[INTENTS : INTENTS + REQUESTS]
    return {**parts, "spare": rest[INTENTS + REQUESTS :]}


def shots(some: Sequence[Row], count: int, seed: int | None = None) -> list[Row]:
    """So many rows of each intent: the first ones, or drawn by a seed."""
    order = range(len(some)) if seed is None else np.random.default_rng(seed).permutation(len(some))
    taken: dict[str, list[Row]] = {}
    for i in order:
        of = taken.setdefault(some[i].intent, [])
        if len(of) < count:
            of.append(some[i])
    return [row for intent in sorted(taken) for row in taken[intent]]


def pairs(some: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Each request with its own reply, which is good, and with that of another intent, which is bad."""
    generator, out = np.random.default_rng(0), []
    for row in some:
        others = [other for other in some if other.intent != row.intent]
        out.append((row.request, row.reply, "good"))
        out.append((row.request, others[int(generator.integers(len(others)))].reply, "bad"))
    return out


def write(place: Path, most: int) -> None:
    """The files that the team's YAML files name, and the tests; ``most`` requests test the replies."""
    parts = rows()
    known, held, test = parts["known"], parts["held"], parts["test"]
    plain = ("request", "intent", "reply")
    _csv(place / "write.csv", plain, known)
    _csv(place / "understand.csv", plain[:2], [row[:2] for row in shots(known, SHOTS)])
    _csv(place / "judge.csv", ("request", "reply", "verdict"), pairs(known))
    _csv(place / "sorts.csv", ("answer", "intent"), [(row.reply, row.intent) for row in held])
    _csv(place / "grades.csv", ("request", "answer", "verdict"), pairs(shots(held, PAIRED)))
    _csv(place / "intents.csv", plain[:2], [row[:2] for row in test])
    _csv(place / "test.csv", plain, test[:most])
    _csv(place / "learn.csv", plain[:2], [row[:2] for row in parts["learn"]])
    source = clinc.read("train.csv")
    chosen = np.random.default_rng(0).permutation(len(source))[:SOURCE]
    _csv(place / "clinc.csv", plain[:2], [source[i][:2] for i in chosen])


def write_draw(place: Path, count: int, draw: int) -> Path:
    """So many requests of each intent, drawn among those that test nothing; the file."""
    file = place / f"draw-{draw}.csv"
    _csv(file, ("request", "intent"), [row[:2] for row in shots(rows()["known"], count, draw)])
    return file


def _csv(file: Path, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *lines])
