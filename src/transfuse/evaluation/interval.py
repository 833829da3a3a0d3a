"""A figure with its interval."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure and the interval that the data leave open; ``low <= value <= high``.

    Args:
        value: the figure on all examples.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """``{"value": ..., "low": ..., "high": ...}``, as report.json has it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, figures: dict[str, float]) -> Interval:
        """The inverse of :meth:`to_dict`."""
        return cls(float(figures["value"]), float(figures["low"]), float(figures["high"]))
