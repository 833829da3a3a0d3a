"""What is asked: one file a kind, with its prompt, its answers and the metrics that judge them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import KINDS, Writing

Task = Classify | Writing


def from_dict(fields: Mapping[str, Any]) -> Task:
    """The task that ``to_dict`` of any kind wrote."""
    return Writing.from_dict(fields) if fields.get("kind") in KINDS else Classify.from_dict(fields)
