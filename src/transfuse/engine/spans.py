"""Training on answers that stand in their passages: where each begins and ends, in windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.passages import Windows
from transfuse.data.shapes import apart
from transfuse.engine.answers import Pairs
from transfuse.fitted.spans import Marking

if TYPE_CHECKING:
    from transfuse.engine.jobs import Schedule


@dataclasses.dataclass(frozen=True)
class Mark:
    """Gradient steps on the upper layers and on a head that marks answers in passages, over the cached prefix.

    Args:
        pairs: questions with passages (see `shapes.about`) and answers; an answer that is empty, or does not stand in
            its passage, is none.
        marking: how answers are looked for.
        layers: number of uppermost layers that train; 0 means all, but for the embeddings.
        schedule: see `Schedule`.
        blend: how far the layers go from where the stage began (0) to where it ended (1).
    """

    pairs: Pairs
    marking: Marking
    layers: int
    schedule: Schedule
    blend: float = 1.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """Ends a job: the branch's encoder marks answers."""

    marking: Marking


class Spans(nn.Module):
    """What a segment learns by marking answers: the head, and the right tokens of each window.

    Args:
        windows: M windows.
        pairs: the N pairs that they belong to.
        head: the head to go on with, or D, the width of a new one.
    """

    def __init__(self, windows: Windows, pairs: Pairs, head: nn.Linear | int) -> None:
        super().__init__()
        self.windows = windows
        self.head = nn.Linear(head, 2) if isinstance(head, int) else head
        if isinstance(head, int):
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        known = [_characters(text, answer) for text, answer in zip(pairs.texts, pairs.answers, strict=True)]
        found = [
            None if (place := known[owner]) is None else windows.find(window, *place)
            for window, owner in enumerate(windows.owner)
        ]
        self.right = np.array([(0, 0) if one is None else one for one in found], dtype=np.int64).reshape(-1, 2)
        shares = np.bincount(windows.owner, minlength=len(pairs))  # a passage in several windows counts once
        self.weights = pairs.weights[windows.owner] / np.maximum(shares[windows.owner], 1)

    @property
    def counted(self) -> np.ndarray:
        """Each window is one example, int64 [M]."""
        return np.ones(len(self.windows), dtype=np.int64)

    def parts(self, chosen: np.ndarray) -> list[np.ndarray]:
        """A batch is computed at once."""
        return [chosen]

    def loss(self, backbone: Backbone, hidden: torch.Tensor, chosen: np.ndarray, low: bool) -> torch.Tensor:
        """Mean cross-entropy of the first and the last token of the answers, each window counted as its pair is.

        Args:
            backbone: gives the final norm.
            hidden: states [B, T, D] after the last layer.
            chosen: the B windows.
            low: says nothing; the head is computed in float32.
        """
        scores = self.head(backbone.normed(hidden))
        allowed = torch.zeros(scores.shape[:2], dtype=torch.bool)
        for row, window in enumerate(chosen):
            first = int(self.windows.first[window])
            allowed[row, 0] = True  # stands for no answer
            allowed[row, first : first + len(self.windows.places[window])] = True
        scores = scores.masked_fill(~allowed[:, :, None].to(scores.device), float("-inf"))
        right = torch.from_numpy(self.right[chosen]).to(scores.device)
        each = nn.functional.cross_entropy(scores, right, reduction="none")  # [B, T, 2]: the classes are the tokens
        weights = torch.from_numpy(self.weights[chosen]).float().to(scores.device)
        return (each.mean(1) * weights).sum() / weights.sum().clamp_min(1e-30)


def _characters(text: str, answer: str) -> tuple[int, int] | None:
    """Where the answer stands in the passage, its first place; None where it does not."""
    passage, wanted = apart(text)[1], answer.strip()
    at = passage.find(wanted) if wanted else -1
    if at < 0 and wanted:
        at = passage.lower().find(wanted.lower())
    return None if at < 0 else (at, at + len(wanted))


def held_in(texts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Which answers stand in their passages, bool [N]."""
    return np.array([_characters(text, answer) is not None for text, answer in zip(texts, answers, strict=True)])
