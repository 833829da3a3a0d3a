"""The stages of tasks that write: pairs of requests and answers, and what is done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.backbones.remote.conversation import Conversation
from transfuse.fitted.paths import WrittenPath

if TYPE_CHECKING:
    from transfuse.engine.jobs import Schedule


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Requests with their answers.

    Args:
        texts: N requests.
        answers: N answers.
        weights: float64 [N], what each pair counts.
        target: bool [N], True for rows of the target rather than of a source.
    """

    texts: tuple[str, ...]
    answers: tuple[str, ...]
    weights: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: np.ndarray) -> Pairs:
        """Some pairs, in that order."""
        texts, answers = (tuple(side[i] for i in indices) for side in (self.texts, self.answers))
        return Pairs(texts, answers, self.weights[indices], self.target[indices])

    @staticmethod
    def join(*parts: Pairs) -> Pairs:
        """All pairs of all parts, in order."""
        return Pairs(
            sum((part.texts for part in parts), ()),
            sum((part.answers for part in parts), ()),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.target for part in parts]),
        )


@dataclasses.dataclass(frozen=True)
class Recall:
    """Answers without a model: ``solve(pairs) -> path``."""

    pairs: Pairs
    solve: Callable[[Pairs], WrittenPath]


@dataclasses.dataclass(frozen=True)
class Ask:
    """A decoder is asked, with the layers that the branch has trained where it has some.

    Args:
        form: how requests are shown.
        decoding: how answers are searched for.
        memory: pairs of which the most similar ones are shown before each request, or None.
        shots: so many of these.
        spread: how much they should differ, see `LookupPath.nearest`.
    """

    form: Form
    decoding: Decoding
    memory: Pairs | None = None
    shots: int = 0
    spread: float = 0.0


@dataclasses.dataclass(frozen=True)
class Lessons:
    """A teacher that is read token by token at known answers.

    Args:
        path: how it answers (a `WriterPath`).
        about: what decides its answers.
        pairs: all that anyone may learn from.
        folder: where what it says is kept.
        precision: that it is read in.
        alpha: its share in the loss of each token.
        temperature: that both sides' logits are divided by.
        beta: which divergence, see `divergences.divergence`.
        k: likeliest tokens that are kept, with the sum of the others.
        match: how its tokens meet the student's: ``same`` where they are the student's, or ``bytes`` or ``sorted``; see
            `across`.
    """

    path: Any
    about: str
    pairs: Pairs
    folder: str
    precision: str
    alpha: float
    temperature: float
    beta: float
    k: int
    match: str = "same"


@dataclasses.dataclass(frozen=True)
class Consult:
    """A remote model is asked.

    Args:
        conversation: how requests are shown.
        words: C label words of which the answer is one; empty where it writes.
        decoding: how answers are drawn where it writes, or None.
        memory, shots, spread: see `Ask`.
    """

    conversation: Conversation
    words: tuple[str, ...] = ()
    decoding: Decoding | None = None
    memory: Pairs | None = None
    shots: int = 0
    spread: float = 0.0


@dataclasses.dataclass(frozen=True)
class Write:
    """Gradient steps on the upper layers, over the cached prefix, by the loss of the answers alone.

    Args:
        parts: what is learnt from: pairs, each with how their requests are shown.
        limit: most tokens of an answer.
        layers: number of uppermost layers that train; 0 means all.
        adapter: settings of adapters instead of the layers' own weights, or None.
        schedule: see `Schedule`; what belongs to a head says nothing here.
        blend: how far the layers go from where the stage began (0) to where it ended (1).
        held: rows that are not learnt from, whose loss says when to stop, or None.
        patience: epochs without a lower loss of these that are borne.
        lessons: a teacher that is learnt from beside the answers, or None.
        pack: most tokens of a row in which several examples stand, each by itself; 0 gives each its own.
    """

    parts: tuple[tuple[Pairs, Form], ...]
    limit: int
    layers: int
    adapter: Mapping[str, Any] | None
    schedule: Schedule
    blend: float = 1.0
    held: tuple[Pairs, Form] | None = None
    patience: int = 0
    lessons: Lessons | None = None
    pack: int = 0


@dataclasses.dataclass(frozen=True)
class Explore:
    """The student writes, and its teacher says of each token what it would have foretold (on-policy distillation).

    Args:
        requests: that it writes answers to.
        decoding: how it draws them.
        write: how it learns in each round; its parts are what was written.
        rounds: each writes anew.
    """

    requests: tuple[str, ...]
    decoding: Decoding
    write: Write
    rounds: int


@dataclasses.dataclass(frozen=True)
class Start:
    """The layers of a fitted model are where the next stages begin.

    Args:
        path: of a model with trained layers or adapters (a `HeadPath` or a `WriterPath`).
    """

    path: Any


@dataclasses.dataclass(frozen=True)
class Prefer:
    """Gradient steps on adapters by pairs of answers, of which one is better (DPO); see `preferences`.

    Args:
        parts: better and worse answers to the same requests, with how these are shown.
        limit: most tokens of an answer.
        layers, adapter, schedule: as in `Write`.
        beta: how strongly the reference, which is the model without its adapter, holds.
        blend: as in `Write`.
    """

    parts: tuple[tuple[Pairs, Pairs, Form], ...]
    limit: int
    layers: int
    adapter: Mapping[str, Any]
    schedule: Schedule
    beta: float = 0.1
    blend: float = 1.0
