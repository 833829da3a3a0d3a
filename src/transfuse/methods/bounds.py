"""What numbers a setting takes, wherever it stands: one table for all methods, and for recipes before data are read."""

from __future__ import annotations

import math
from typing import NamedTuple

from transfuse.errors import RecipeError


class Bounds(NamedTuple):
    """Least and largest value, whether the least itself will do, and both in words."""

    least: float
    most: float
    closed: bool
    words: str


BOUNDS = {
    "target_share": Bounds(0, math.inf, False, "above 0; 1 lets the target's rows count as much as the source's"),
    "source_limit": Bounds(1, math.inf, True, "1 or more; without the source the method is one of its own"),
    "blend": Bounds(0, 1, True, "from 0, where a stage began, to 1, where it ended"),
    "weight": Bounds(0, math.inf, True, "0 or more; 1 is a good start"),
}


def wanted(name: str, value: object) -> str:
    """What a setting takes, in words; empty where the value is that, or is no number, or the setting has no bounds."""
    if name not in BOUNDS or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    found = BOUNDS[name]
    above = value >= found.least if found.closed else value > found.least
    return "" if above and value <= found.most and math.isfinite(value) else found.words


def refuse(**settings: float) -> None:
    """Refuse values outside the bounds of their settings.

    Args:
        settings: numbers by the name of the setting.

    Raises:
        RecipeError: which one, and what it takes.
    """
    for name, value in settings.items():
        if expected := wanted(name, value):
            raise RecipeError(f"{name}: {value}", expected=expected, remedy="Correct the setting of the method.")
