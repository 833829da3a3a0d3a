"""What teachers say of texts: the lessons of distillation, as methods see them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.data.examples import Examples
from transfuse.fitted.head import HeadPath


@dataclasses.dataclass(frozen=True)
class Taught:
    """What one teacher, or several, say of some texts.

    Args:
        texts: N texts, each once.
        says: log-probabilities of the task's labels, float32 [N, C]; or written answers, object [N].
        path: how the teacher itself answers; None where several speak as one.
        known: all labelled rows that anyone may learn from, where the teacher can be read token by token.
        about: what decides its answers.
        folder: where what it says is kept.
        precision: that it is read in.
        reasons: why the answers of labelled texts are right, as the teacher writes it, by text.
        ask: asks the teacher about any texts; gives what ``says`` holds, or None.
    """

    texts: tuple[str, ...]
    says: np.ndarray
    path: Any = None
    known: Examples | None = None
    about: str = ""
    folder: str = ""
    precision: str = "fp32"
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ask: Callable[[Sequence[str]], np.ndarray] | None = None

    @functools.cached_property
    def _place(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(self.texts)}

    @functools.cached_property
    def vectors(self) -> np.ndarray | None:
        """What the teacher's head sees of the texts, float32 [N, E]; None of a teacher that has no head.

        Cost: a pass of the teacher over all texts, the first time.
        """
        return self.path.features(self.texts, self.precision) if isinstance(self.path, HeadPath) else None

    def seen(self, texts: Sequence[str]) -> np.ndarray | None:
        """These vectors of some texts, [M, E]; not a number where nothing is known of one."""
        if self.vectors is None:
            return None
        at = np.array([self._place.get(text, -1) for text in texts], dtype=np.int64)
        found: np.ndarray = self.vectors[at]
        found[at < 0] = np.nan
        return found

    def __contains__(self, text: object) -> bool:
        return text in self._place

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """What is said of some of the texts: float32 [M, C], not a number where nothing is said of one; or object [M].

        Written answers of which nothing is said are None.
        """
        at = np.array([self._place.get(text, -1) for text in texts], dtype=np.int64)
        if not len(self.texts):
            return np.full((len(texts), *self.says.shape[1:]), None if self.says.ndim == 1 else np.nan, self.says.dtype)
        found: np.ndarray = self.says[at]
        found[at < 0] = None if found.ndim == 1 else np.nan
        return found

    @staticmethod
    def together(teachers: Iterable[Taught]) -> Taught:
        """What several say as one, of the texts that all know: the mean of their probabilities."""
        every = list(teachers)
        if len(every) == 1:
            return every[0]
        texts = tuple(text for text in every[0].texts if all(text in other for other in every[1:]))
        says = np.stack([one.of(texts) for one in every]).astype(np.float64)
        mean = np.logaddexp.reduce(says, axis=0) - np.log(len(every))
        return Taught(texts, mean.astype(np.float32))

    def shuffled(self, seed: int) -> Taught:
        """The same lessons, each of another text: a placebo."""
        order = np.random.default_rng(seed).permutation(len(self.texts))
        return dataclasses.replace(self, says=self.says[order])
