"""Heads and terms of the loss while they train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import Backbone
from transfuse.engine import divergences, losses, relations
from transfuse.engine.inside import Inside
from transfuse.engine.jobs import Rows
from transfuse.engine.terms import Align, CoTune, Episodes, Names, Relate, Soft, Term
from transfuse.fitted.head import Head

BESIDE = 16
"""Texts without labels that go with each batch."""
HIDDEN = 128
"""Units of the classifier that tells domains apart."""


class LiveHead(nn.Module):
    """A `Head` whose weight and bias train; its scaling stays."""

    def __init__(self, head: Head, device: torch.device) -> None:
        super().__init__()
        self.normalise = head.normalise
        self.mean, self.scale = (torch.tensor(x, device=device) for x in (head.mean, head.scale))
        self.weight, self.bias = (nn.Parameter(torch.tensor(x, device=device)) for x in (head.weight, head.bias))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of features [B, D], in float32."""
        features = functional.normalize(features, dim=1) if self.normalise else features
        return functional.linear((features - self.mean) / self.scale, self.weight, self.bias)

    def frozen(self) -> Head:
        """The head as it is now."""
        mean, scale, weight, bias = (
            x.detach().cpu().numpy().copy() for x in (self.mean, self.scale, self.weight, self.bias)
        )
        return Head(mean, scale, weight, bias, self.normalise)


@dataclasses.dataclass(frozen=True)
class Seen:
    """A batch as a term sees it.

    Args:
        features: pooled states of the batch's rows, float [B, D].
        beside: of the texts that go with it, float [M, D].
        labels: int64 [B].
        weights: float [B].
        target: bool [B], whether a row is the target's.
        rows: positions of the rows, int [B].
        others: positions of the texts beside, int [M].
        progress: share of the steps that are done.
        head: logits [B, C] of features [B, D], where there is a head.
    """

    features: torch.Tensor
    beside: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    target: torch.Tensor
    rows: np.ndarray
    others: np.ndarray
    progress: float
    head: Callable[[torch.Tensor], torch.Tensor] | None = None


class LiveTerm(nn.Module):
    """A term of the loss, with parameters of its own where it has some; ``forward(seen)`` is its value for a batch.

    Attributes:
        beside: how many texts go with each batch.
        alone: whether it stands in the place of the cross-entropy of a head.
    """

    beside: int = BESIDE
    alone = False

    def steps(self) -> int | None:
        """Number of steps, where the term draws its own batches."""
        return None

    def batches(self, labels: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Positions of the rows of each step, where the term draws its own batches; none here."""
        return iter(())

    def watch(self, segment: Segment, texts: Sequence[str], lengths: np.ndarray) -> None:
        """Told of the layers that train and of the rows, before the first step; nothing is done with them here."""

    def finish(self) -> None:
        """Told that training has ended."""

    def choose(self, labels: np.ndarray, every: int, generator: np.random.Generator) -> np.ndarray:
        """Which of the texts go with a batch of these labels, int [M]."""
        return generator.choice(every, min(self.beside, every), replace=False)


class NamesLive(LiveTerm):
    """See `terms.Names`; beside a batch go the names of its classes, and some others."""

    alone = True

    def choose(self, labels: np.ndarray, every: int, generator: np.random.Generator) -> np.ndarray:
        """The names of the batch, and as many others as go beside one."""
        own = np.unique(labels)
        others = np.setdiff1d(np.arange(every), own)
        return np.sort(np.concatenate([own, generator.choice(others, min(self.beside, len(others)), replace=False)]))

    def forward(self, seen: Seen) -> torch.Tensor:
        """Cross-entropy of the rows against the names that are there."""
        names = torch.from_numpy(seen.others).to(seen.labels.device)
        return losses.matching(seen.features, seen.beside, torch.searchsorted(names, seen.labels), seen.weights)


class AlignLive(LiveTerm):
    """See `terms.Align`."""

    def __init__(self, term: Align, width: int, device: torch.device, seed: int) -> None:
        super().__init__()
        self.weight, self.how = term.weight, term.how
        self.judge: nn.Module = nn.Identity()
        if self.how == "adversary":
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self.judge = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)).to(device)

    def forward(self, seen: Seen) -> torch.Tensor:
        """Between the batch's source rows and the target texts; 0 where one side has fewer than two."""
        source = seen.features[~seen.target]
        if min(len(source), len(seen.beside)) < 2:
            return seen.features.sum() * 0.0
        if self.how == "mmd":
            return self.weight * losses.mmd(source, seen.beside)
        strength = self.weight * losses.adversary_strength(seen.progress)
        both = torch.cat([losses.reverse(functional.normalize(x, dim=1), strength) for x in (source, seen.beside)])
        return losses.domain_loss(self.judge(both)[:, 0], len(source))


class RelateLive(LiveTerm):
    """See `terms.Relate`."""

    def __init__(self, term: Relate, rows: np.ndarray, others: np.ndarray, device: torch.device) -> None:
        super().__init__()
        self.term = term
        self.of_rows, self.of_others = (torch.from_numpy(x).float().to(device) for x in (rows, others))

    def forward(self, seen: Seen) -> torch.Tensor:
        """Between what the student and the teacher make of the whole batch."""
        student = torch.cat([seen.features, seen.beside])
        teacher = torch.cat([self.of_rows[seen.rows], self.of_others[seen.others]])
        if len(student) < 3:
            return student.sum() * 0.0
        term = self.term
        loss = student.sum() * 0.0
        if term.distances:
            loss = loss + term.distances * relations.distance_loss(student, teacher)
        if term.angles:
            loss = loss + term.angles * relations.angle_loss(student, teacher)
        if term.similarities:
            loss = loss + term.similarities * relations.similarity_loss(student, teacher)
        return loss


class CoTuneLive(LiveTerm):
    """See `terms.CoTune`."""

    beside = 0

    def __init__(self, weight: float, source: LiveHead, relation: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.source, self.relation = weight, source, relation

    def forward(self, seen: Seen) -> torch.Tensor:
        """Cross-entropy of the source's head against what its classes say of each row's label."""
        return self.weight * relations.co_tuning_loss(
            self.source(seen.features), seen.labels, self.relation, seen.weights
        )


class EpisodesLive(LiveTerm):
    """See `terms.Episodes`."""

    beside, alone = 0, True

    def __init__(self, term: Episodes) -> None:
        super().__init__()
        self.term = term

    def steps(self) -> int:
        """One a task."""
        return self.term.steps

    def batches(self, labels: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Classes with two rows at least; a class with fewer rows than asked for shows some of them twice."""
        term = self.term
        own = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        own = [rows for rows in own if len(rows) > 1]
        for _ in range(term.steps):
            chosen = generator.choice(len(own), min(term.ways, len(own)), replace=False)
            yield np.concatenate([_split(own[k], term.shots, term.queries, generator) for k in chosen])

    def forward(self, seen: Seen) -> torch.Tensor:
        """The loss of the queries after learning from the examples."""
        term = self.term
        by_class = seen.features.view(-1, term.shots + term.queries, seen.features.shape[1])
        shown, asked = by_class[:, : term.shots], by_class[:, term.shots :]
        return losses.prototypical(shown, asked) if not term.inner else losses.anil(shown, asked, term.inner)


class SoftLive(LiveTerm):
    """See `terms.Soft`."""

    beside, alone = 0, True

    def __init__(self, term: Soft, width: int, device: torch.device, seed: int) -> None:
        super().__init__()
        self.term = term
        self.inside: Inside | None = None
        self.width, self.seed = width, seed
        self.vectors = None if term.vectors is None else torch.from_numpy(term.vectors).float().to(device)
        self.map: nn.Module = nn.Identity()
        self.states_map: nn.Module = nn.Identity()
        if self.vectors is not None and term.hidden and self.vectors.shape[1] != width:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self.map = nn.Linear(width, self.vectors.shape[1], bias=False).to(device)
        taught = ~np.isnan(term.says[:, 0])
        self.says = torch.from_numpy(np.nan_to_num(term.says)).to(device)
        own = np.where(term.labelled, np.where(taught, 1 - term.alpha, 1.0), 0.0)
        theirs = np.where(taught, np.where(term.labelled, term.alpha, 1.0), 0.0)
        self.own, self.theirs = (torch.from_numpy(x).float().to(device) for x in (own, theirs))

    def forward(self, seen: Seen) -> torch.Tensor:
        """Σ w_i ((1-α) CE_i + α T² D_i) / Σ w_i; a row that lacks one of the two has the other alone."""
        assert seen.head is not None
        logits, term = seen.head(seen.features), self.term
        at = torch.from_numpy(seen.rows).to(logits.device)
        hard = functional.cross_entropy(logits, seen.labels, reduction="none")
        student, teacher = (divergences.log_shares(z, term.temperature) for z in (logits, self.says[at]))
        soft = term.temperature**2 * divergences.divergence(student, teacher, term.beta)
        loss = divergences.weighted_mean(self.own[at] * hard + self.theirs[at] * soft, seen.weights)
        if self.inside is not None:
            loss = loss + self.inside.loss(seen.rows)
        return loss if self.vectors is None else loss + self._seen(seen.features, self.vectors[at])

    def watch(self, segment: Segment, texts: Sequence[str], lengths: np.ndarray) -> None:
        """Begin to look inside the layers, where that is asked for."""
        if self.term.inner is not None:
            self.inside = Inside(self.term.inner, segment, self.width, texts, lengths, self.seed)
            self.states_map = self.inside.map  # trains with the student

    def finish(self) -> None:
        """Look no longer."""
        if self.inside is not None:
            self.inside.close()

    def _seen(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """How far what the student's head sees is from what the teacher's sees; rows that are not known aside."""
        known = ~torch.isnan(teacher[:, 0])
        student, teacher, term = student[known], teacher[known], self.term
        loss = student.sum() * 0.0
        if term.hidden and len(student):
            mapped, aim = functional.normalize(self.map(student), dim=1), functional.normalize(teacher, dim=1)
            loss = loss + term.hidden * (mapped - aim).square().sum(1).mean()
        if len(student) > 2:
            if term.distances:
                loss = loss + term.distances * relations.distance_loss(student, teacher)
            if term.angles:
                loss = loss + term.angles * relations.angle_loss(student, teacher)
        return loss


def _split(rows: np.ndarray, shots: int, queries: int, generator: np.random.Generator) -> np.ndarray:
    """Examples and queries of one class, never a row on both sides."""
    order = generator.permutation(rows)
    shown = order[: min(shots, len(order) - 1)]
    asked = order[len(shown) :]
    return np.concatenate([np.resize(shown, shots), np.resize(asked, queries)])


@dataclasses.dataclass(frozen=True)
class Before:
    """What the branch said before a stage, where a term asks for it.

    Args:
        rows: pooled states of the rows, float32 [N, D].
        texts: of the texts beside, float32 [M, D].
        head: the head, of classes of its own.
    """

    rows: np.ndarray | None
    texts: np.ndarray | None
    head: Head | None


def live(term: Term, before: Before, rows: Rows, classes: int, backbone: Backbone, seed: int) -> LiveTerm:
    """A described term, ready to train with."""
    if isinstance(term, Names):
        return NamesLive()
    if isinstance(term, Align):
        return AlignLive(term, backbone.width, backbone.device, seed)
    if isinstance(term, Episodes):
        return EpisodesLive(term)
    if isinstance(term, Soft):
        return SoftLive(term, backbone.width, backbone.device, seed)
    assert before.rows is not None
    if isinstance(term, Relate):
        assert before.texts is not None
        return RelateLive(term, before.rows, before.texts, backbone.device)
    assert isinstance(term, CoTune)
    assert before.head is not None
    says = torch.softmax(torch.from_numpy(before.head.logits(before.rows)).float(), 1)
    relation = relations.category_relation(says, torch.from_numpy(rows.labels), classes, torch.from_numpy(rows.weights))
    source = LiveHead(before.head, backbone.device)
    return CoTuneLive(term.weight, source, relation.to(backbone.device))
