"""What a teacher says over a large vocabulary, in few numbers: its likeliest tokens with the tail, or drawn tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from transfuse.engine.divergences import divergence, log_shares, weighted_mean
from transfuse.errors import BackboneError, UsageError

TEMPERATURES = (1.0, 2.0, 4.0)
"""At which the tail is kept unless others are asked for."""
NOTHING = -1e30
"""The logit of a token that is left out; finite, so that leaving out all is no NaN."""


@dataclasses.dataclass(frozen=True)
class TopK:
    """The k likeliest tokens of M distributions, and how much all other tokens weigh together at each temperature.

    From the logits z of the kept tokens and rest(T) = log Σ_{others} exp(z / T), softmax([z / T, rest(T)]) is exactly
    what the teacher gives each kept token and the tail at T. One tail's mass from T = 1 would not do: flattening
    spreads it over the vocabulary, and at T = 2 a student equal to its teacher would be sent away from it.

    The logits stay in float32: what equals its teacher then costs exactly 0. In float16 a student equal to its teacher
    has 5e-6 nat to learn (smollm2-135m-instruct, T = 1), and half the bytes.

    Args:
        ids: int64 [M, k].
        logits: float32 [M, k], as the model gives them.
        rest: float32 [M, len(temperatures)].
        temperatures: at which ``rest`` is kept.
        vocabulary: V, the tokens that the teacher chose from, the first of the student's.
    """

    ids: torch.Tensor
    logits: torch.Tensor
    rest: torch.Tensor
    temperatures: tuple[float, ...]
    vocabulary: int

    @staticmethod
    def of(logits: torch.Tensor, k: int = 64, temperatures: Sequence[float] = TEMPERATURES) -> TopK:
        """The k likeliest of logits [M, V]; all of them where V is at most k.

        Cost: one pass over [M, V] for each temperature, and two copies of them.
        """
        wide = _wide(logits.detach())
        top = wide.topk(min(k, wide.shape[1]), dim=1)
        highest, below = below_highest(wide.scatter(1, top.indices, NOTHING))
        room = torch.empty_like(below)
        rest = [tail(highest, torch.div(below, t, out=room), t)[1] for t in temperatures]
        return TopK(top.indices, top.values, torch.cat(rest, 1), tuple(map(float, temperatures)), wide.shape[1])

    def buckets(self, temperature: float) -> torch.Tensor:
        """Logits [M, k + 1] of the kept tokens and of the tail, whose softmax is the teacher's at a temperature.

        Raises:
            UsageError: the tail was not kept at this temperature.
        """
        if temperature not in self.temperatures:
            kept = ", ".join(f"{one:g}" for one in self.temperatures)
            raise UsageError(
                f"temperature {temperature:g}: the teacher's tail is not known there",
                expected=f"one of {kept}, at which the teacher's outputs were kept",
                remedy="Choose one of these, or keep the teacher's outputs anew with this temperature.",
            )
        rest = self.rest[:, self.temperatures.index(temperature), None]
        return torch.cat([self.logits / temperature, rest], 1)

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, chosen: slice | torch.Tensor, device: torch.device | None = None) -> TopK:
        """Some of the M, and where they shall be."""
        ids, logits, rest = (one[chosen].to(device) for one in (self.ids, self.logits, self.rest))
        return dataclasses.replace(self, ids=ids, logits=logits, rest=rest)

    def seen_by(self, columns: int) -> None:
        """Refuse a student whose head has fewer columns than the teacher's vocabulary.

        Raises:
            BackboneError: it has.
        """
        if columns < self.vocabulary:
            raise BackboneError(
                f"the student foretells {columns:,} tokens and its teacher chose from {self.vocabulary:,}",
                expected="the teacher's outputs over tokens that both have",
                remedy="Compare the tokens that both have: `match: bytes` of `distill`.",
            )


def buckets(logits: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits [M, k + 1] of the named tokens and of all others together, from logits [M, V] and ids [M, k]."""
    wide = _wide(logits)
    named = wide.gather(1, ids) / temperature
    highest, below = below_highest(wide.scatter(1, ids, NOTHING))
    return torch.cat([named, tail(highest, below / temperature, temperature)[1]], 1)


def below_highest(known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest of each row of logits [M, V], [M, 1], as a constant, and how far all are below it, in their place."""
    highest = known.detach().amax(1, keepdim=True)
    return highest, known.sub_(highest)


def tail(highest: torch.Tensor, below: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """How much a tail weighs. Both sides of a comparison come through here, so that equals have the very same digits.

    Args:
        highest: [M, 1], of `below_highest`; about `NOTHING` where every token is named.
        below: [M, V], of `below_highest`, over T; overwritten with exp((z - highest) / T).
        temperature: T.

    Returns:
        Σ exp((z - highest) / T) and log Σ exp(z / T), both [M, 1].

    Cost: one exponential each, in place: less than half of torch's own logsumexp, which takes room anew.
    """
    total = below.exp_().sum(1, keepdim=True)
    return total, highest / temperature + total.log()


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def topk_loss(
    student: torch.Tensor, teacher: TopK, weights: torch.Tensor, temperature: float = 2.0, beta: float = 0.0
) -> torch.Tensor:
    """Weighted mean over rows of T²·D between teacher and student over the kept tokens and one tail, both exact at T.

    Forward: Σ_{kept} p log(p/q) + m_p log(m_p/m_q), with m = 1 - Σ_{kept}, taken from sums over the tail itself, so
    that neither a tail near 0 nor one near 1 loses its digits.

    Never above `divergences.soft_loss` of all logits, since merging outcomes loses what tells them apart (data
    processing): what the student says within the tail is free. A high T makes most of everything tail: of k = 64 and
    smollm2-135m-instruct it is .15 at T = 1, .77 at 2 and .97 at 4, where little is left to learn.

    Args:
        student: float [M, V], of at least the teacher's columns; those beyond are not looked at.
        teacher: M distributions.
        weights: float [M], not all 0.
        temperature: T, one of the teacher's.
        beta: which D, see `divergences.divergence`.

    Raises:
        UsageError, BackboneError: as of `TopK`.

    Cost: two passes over [M, V].
    Reduces to: exactly 0 for a student equal to its teacher at every T; `soft_loss` where k = V.
    Reference: Hinton, Vinyals and Dean 2015, section 2.1, over the coarser outcomes.
    """
    teacher.seen_by(student.shape[1])
    ours = log_shares(buckets(student[:, : teacher.vocabulary], teacher.ids, temperature))
    each = divergence(ours, log_shares(teacher.buckets(temperature)), beta)
    return temperature**2 * weighted_mean(each, weights)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Tokens drawn from M distributions, with how often each came.

    Args:
        ids: int64 [M, U], each token of a row once.
        counts: float32 [M, U], 0 where a row has fewer.
        temperature: at which they were drawn, and have to be learnt.
    """

    ids: torch.Tensor
    counts: torch.Tensor
    temperature: float


def draw(logits: torch.Tensor, draws: int, generator: torch.Generator, temperature: float = 1.0) -> Drawn:
    """Draw from softmax(z / T) with replacement.

    Args:
        logits: float [M, V].
        draws: S for each row.
        generator: of the drawing.
        temperature: T.
    """
    drawn = torch.multinomial(log_shares(logits.detach(), temperature).exp(), draws, True, generator=generator)
    drawn = drawn.sort(1).values
    new = torch.ones_like(drawn, dtype=torch.bool)
    new[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    place = new.cumsum(1) - 1
    most = int(place.max()) + 1
    ids = drawn.new_zeros(len(drawn), most).scatter_(1, place, drawn)
    counts = torch.zeros(ids.shape, device=ids.device).scatter_add_(1, place, torch.ones(drawn.shape).to(ids.device))
    return Drawn(ids, counts, temperature)


def drawn_cross_entropy(student: torch.Tensor, teacher: Drawn, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean over rows of -T² Σ_u (c_u / S) log q_T(u): the soft cross-entropy, estimated without bias.

    In the mean over draws it and its gradient are those of `divergences.soft_cross_entropy`, the tail included, which
    kept tokens alone, made to sum to 1, are not. Each draw's gradient is noise around that, also for a student equal to
    its teacher.

    Args:
        student: float [M, V].
        teacher: tokens of M distributions.
        weights: float [M], not all 0.

    Reference: Anshumann et al. 2025 (Sparse Logit Sampling), section 4, with p itself to draw from.
    """
    shares = log_shares(student, teacher.temperature).gather(1, teacher.ids)
    part = teacher.counts / teacher.counts.sum(1, keepdim=True)
    return -(teacher.temperature**2) * weighted_mean((part * shares).sum(1), weights)
