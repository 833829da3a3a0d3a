"""CLINC150 by its domains, and a trunk to read it with."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence

import numpy as np

from benchmarks.common import shared
from transfuse.backbones import loading
from transfuse.backbones import precision as arithmetic
from transfuse.data.examples import Examples
from transfuse.engine.trunk import Trunk

Row = tuple[str, str, str]
"""Text, intent and domain."""


def read(name: str) -> list[Row]:
    """The rows of a file of CLINC150."""
    with shared("clinc150", name).open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["intent"], row["domain"]) for row in csv.DictReader(stream)]


def examples(rows: Sequence[Row]) -> Examples:
    """Rows with their intents as labels."""
    return Examples(tuple(text for text, _, _ in rows), tuple(intent for _, intent, _ in rows))


def others(rows: Sequence[Row], held: Collection[str]) -> Examples:
    """The rows of all domains but some, shuffled."""
    left = [row for row in rows if row[2] not in held]
    return examples([left[i] for i in np.random.default_rng(0).permutation(len(left))])


def trunk(reference: str, rows: Sequence[Row]) -> Trunk:
    """A backbone in the arithmetic that suits the machine."""
    backbone = loading.load(reference)
    return Trunk(backbone, str(arithmetic.choose(backbone, [text for text, _, _ in rows[:16]], 256)["precision"]), 256)
