"""Preferences: which of two answers to one request is better, as a loss (DPO), and as rows of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import States, batches
from transfuse.engine.write import MICRO_TOKENS, Answers

if TYPE_CHECKING:
    from transfuse.engine.jobs import Schedule


def dpo(
    better: torch.Tensor,
    worse: torch.Tensor,
    reference_better: torch.Tensor,
    reference_worse: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """Direct preference optimisation: what N pairs of answers cost, when likelier answers should be the better ones.

    Formula: -log σ(β [(log π(y⁺|x) - log π_ref(y⁺|x)) - (log π(y⁻|x) - log π_ref(y⁻|x))]).

    Args:
        better, worse: log π of the N answers, each the sum over its tokens, float [N].
        reference_better, reference_worse: the same of the reference, float [N].
        beta: above 0; the larger it is, the nearer to the reference the policy stays.

    Returns:
        N losses, above 0.

    Reduces to: log 2 for each pair where policy and reference are equal. No likelihood makes it 0: training needs an
    end.
    Reference: Rafailov et al. (2023), equation 7.

    Example:
        >>> zero = torch.zeros(1)
        >>> round(float(dpo(zero, zero, zero, zero, beta=0.1)), 4)
        0.6931
    """
    advantage = (better - reference_better) - (worse - reference_worse)
    return -nn.functional.logsigmoid(beta * advantage)


@dataclasses.dataclass(frozen=True)
class Preferences:
    """Rows of N pairs as a training loop takes them: N better answers, and behind them the N worse ones.

    Args:
        answers: the 2 N rows.
        reference: log-likelihood of each answer by the reference, float64 [2 N].
        beta: see `dpo`.
    """

    answers: Answers
    reference: np.ndarray
    beta: float

    @property
    def weights(self) -> np.ndarray:
        """Of each row, float64 [2 N]."""
        return self.answers.weights

    @property
    def counted(self) -> np.ndarray:
        """One for each row: a pair counts as a whole, however long its answers are; int64 [2 N]."""
        return np.ones(len(self.answers.tokens), dtype=np.int64)

    @property
    def pairs(self) -> int:
        """N."""
        return len(self.answers.tokens) // 2

    def batches(self, schedule: Schedule, seed: int) -> Iterator[np.ndarray]:
        """Rows of each batch, epoch after epoch: the better answers of some pairs, and behind them the worse ones."""
        generator = np.random.default_rng(seed)
        for _ in range(schedule.epochs):
            order = generator.permutation(self.pairs)
            for start in range(0, len(order), schedule.batch_size):
                some = order[start : start + schedule.batch_size]
                yield np.concatenate([some, some + self.pairs])

    def parts(self, chosen: np.ndarray, most: int = MICRO_TOKENS) -> list[np.ndarray]:
        """A batch in parts of bounded size; both answers of a pair are in one."""
        some = chosen[: len(chosen) // 2]
        lengths = np.array([max(len(self.answers.tokens[i]), len(self.answers.tokens[i + self.pairs])) for i in some])
        return [np.concatenate([some[at], some[at] + self.pairs]) for at in batches(lengths, max(most // 2, 1))]

    def loss(self, backbone: Backbone, hidden: torch.Tensor, chosen: np.ndarray, low: bool) -> torch.Tensor:
        """Mean loss of the chosen pairs, each counted as its row is; see `Answers.loss`."""
        likely = self.answers.likelihoods(backbone, hidden, chosen, low)
        reference = torch.from_numpy(self.reference[chosen]).to(likely)
        half = len(chosen) // 2
        losses = dpo(likely[:half], likely[half:], reference[:half], reference[half:], self.beta)
        weights = torch.from_numpy(self.weights[chosen[:half]]).to(likely)
        return (weights * losses).sum() / weights.sum().clamp_min(1e-30)


@torch.no_grad()
def likelihoods(backbone: Backbone, segment: Segment, answers: Answers, states: States, precision: str) -> np.ndarray:
    """Log-likelihood of N answers after a segment, each the sum over its tokens, float64 [N]."""
    out = np.empty(len(answers.tokens))
    device, low = backbone.device, precision == "bf16"
    segment.to(device).eval()
    for chosen in batches(states.lengths, MICRO_TOKENS):
        values, mask = (x.to(device) for x in states.batch(chosen))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low):
            hidden = segment(values if values.dim() == 2 else values.float(), mask)
        out[chosen] = answers.likelihoods(backbone, hidden, chosen, low).double().cpu().numpy()
    return out
