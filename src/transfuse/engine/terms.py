"""What training learns from beside, or instead of, the cross-entropy of a head: terms of the loss, described."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transfuse.engine.inner import Way


@dataclasses.dataclass(frozen=True)
class Names:
    """Rows are matched with the words of their classes; there is no head (see `losses.matching`).

    Args:
        texts: the words of the rows' classes, in their order.
    """

    texts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Align:
    """Source rows and target texts are moved towards each other.

    Args:
        texts: target texts, labelled or not, of which some go with each batch.
        how: ``mmd`` (maximum mean discrepancy) or ``adversary`` (a domain classifier that is to fail).
        weight: of the term.
    """

    texts: tuple[str, ...]
    how: str
    weight: float


@dataclasses.dataclass(frozen=True)
class Relate:
    """The layers begin anew, as they were pretrained, and take over how the branch before them relates the texts.

    Args:
        texts: target texts, labelled or not, of which some go with each batch.
        distances, angles, similarities: weights of the three losses (see `losses`).
        c: inverse strength of the penalty of the head that training starts from.
    """

    texts: tuple[str, ...]
    distances: float
    angles: float
    similarities: float
    c: float


@dataclasses.dataclass(frozen=True)
class CoTune:
    """The head of the source's classes keeps learning beside a new one: what each target class looks like to it.

    Args:
        weight: of its loss.
        c: inverse strength of the penalty of the new head that training starts from.
    """

    weight: float
    c: float
    texts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Each step is a small task of its own: some classes, a few examples of each to learn from, others to be judged by.

    Args:
        ways: classes a step, fewer where there are fewer.
        shots: examples to learn from.
        queries: rows of each class to be judged by.
        steps: number of tasks.
        inner: gradient steps of a head on the examples (ANIL); 0 judges by the nearest class mean (prototypes).
    """

    ways: int
    shots: int
    queries: int
    steps: int
    inner: int = 0
    texts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Inner:
    """What is learnt of the layers of a teacher (see `inside`); weights of 0 leave a part out.

    Args:
        teacher: the path of a fitted model with a head, of the student's tokens.
        relations: weight of the loss between how tokens relate in the last layer of both.
        attention: of that between the distributions of attention in paired layers.
        states: of that between the tokens' states after paired layers.
        layer_map: how layers are paired, see `inner.layer_map`.
    """

    teacher: Any
    relations: float
    attention: float
    states: float
    layer_map: Way


@dataclasses.dataclass(frozen=True)
class Soft:
    """What a teacher says of each row is learnt beside the row's label (Hinton, Vinyals and Dean 2015).

    Args:
        says: the teacher's log-probabilities, float32 [N, C]; not a number where it says nothing of a row.
        labelled: bool [N], whether a row has a label of its own.
        alpha: share of the teacher in the loss of a row that has both.
        temperature: that both sides' logits are divided by.
        beta: which divergence, see `divergences.divergence`.
        vectors: what the teacher's head sees of each row, float32 [N, E], or None.
        hidden: weight of the loss between these and what the student's head sees, through a learnt map where the
            widths differ (Romero et al. 2015; Jiao et al. 2020, equation 8).
        distances, angles: weights of the losses between how the rows of a batch lie to each other in both (Park et al.
            2019).
        inner: what is learnt of the teacher's layers, or None.
    """

    says: np.ndarray
    labelled: np.ndarray
    alpha: float
    temperature: float
    beta: float
    vectors: np.ndarray | None = None
    hidden: float = 0.0
    distances: float = 0.0
    angles: float = 0.0
    inner: Inner | None = None
    texts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Mutual:
    """Several students learn from the labels and from each other; one goes on (Zhang, Xiang, Hospedales and Lu 2018).

    Args:
        peers: how many students, 2 or more.
        temperature: that what they say to each other is divided by.
        weight: of what they learn from each other, beside the cross-entropy of each.
        drop: share of what its head sees that each drops, by draws of its own: students that begin alike stay alike
            without it.
        texts: target texts, labelled or not, of which some go with each batch.
    """

    peers: int
    temperature: float
    weight: float
    drop: float
    texts: tuple[str, ...] = ()


Term = Names | Align | Relate | CoTune | Episodes | Soft | Mutual
