"""Examples: the texts that everything else passes around, with where each came from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from transfuse.errors import DataError


@dataclasses.dataclass(frozen=True)
class Examples:
    """Texts with, where known, labels, weights and groups; immutable, row by row in the user's order.

    Args:
        texts: N texts.
        labels: N class names, or None where there are none. A label is always a string.
        weights: float64 [N], or None for all ones.
        groups: N group keys (a reviewer, a document) that must not be split apart, or None.
        rows: int64 [N], the row of each example in ``origin``, counted from 1 as a spreadsheet's data rows are
            (the header does not count); None means 1..N.
        origin: the reference as the user wrote it, for messages.
        dropped: how many rows of ``origin`` were left out on reading because they fall in no bin.
        further: where labels are answers in words, for each text what else would be right, or None.
        checks: where labels are programs, what is run behind each to test it, or None.

    Raises:
        DataError: two fields differ in length.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    weights: np.ndarray | None = None
    groups: tuple[str, ...] | None = None
    rows: np.ndarray | None = None
    origin: str = "memory"
    dropped: int = 0
    further: tuple[tuple[str, ...], ...] | None = None
    checks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))
        for name in ("labels", "groups"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        rows = np.arange(1, len(self.texts) + 1) if self.rows is None else np.asarray(self.rows, dtype=np.int64)
        object.__setattr__(self, "rows", rows)
        for name in ("labels", "weights", "groups", "rows", "further", "checks"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.texts):
                raise DataError(
                    f"{self.origin}: {len(self.texts)} texts but {len(value)} {name}",
                    expected=f"one of the {name} for each text",
                )

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | np.ndarray) -> Examples:
        """The examples at ``indices`` (positions, not rows), in that order."""
        chosen = [int(i) for i in indices]
        return dataclasses.replace(
            self,
            texts=tuple(self.texts[i] for i in chosen),
            labels=None if self.labels is None else tuple(self.labels[i] for i in chosen),
            weights=None if self.weights is None else self.weights[chosen],
            groups=None if self.groups is None else tuple(self.groups[i] for i in chosen),
            rows=None if self.rows is None else self.rows[chosen],
            further=None if self.further is None else tuple(self.further[i] for i in chosen),
            checks=None if self.checks is None else tuple(self.checks[i] for i in chosen),
        )

    def unlabelled(self) -> Examples:
        """The same texts without their labels."""
        return dataclasses.replace(self, labels=None, weights=None, further=None, checks=None)

    def classes(self) -> tuple[str, ...]:
        """The distinct labels in sorted order; empty where there are no labels."""
        return tuple(sorted(set(self.labels or ())))

    def fingerprint(self) -> str:
        """SHA-256 of texts, labels, weights and groups: equal content, equal string."""
        digest = hashlib.sha256()
        for field in (self.texts, self.labels or (), self.groups or ()):
            digest.update(f"{len(field)}:".encode())
            for item in field:
                encoded = item.encode("utf-8", "surrogatepass")
                digest.update(f"{len(encoded)}:".encode() + encoded)
        for more in (*(self.further or ()), *(self.checks or ())):
            digest.update(repr(more).encode("utf-8", "surrogatepass"))
        if self.weights is not None:
            digest.update(np.ascontiguousarray(self.weights, dtype=np.float64).tobytes())
        return digest.hexdigest()
