"""What a method describes and the engine does: rows, stages, jobs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from transfuse.data.examples import Examples
from transfuse.engine.answers import Ask, Consult, Explore, Prefer, Recall, Start, Write
from transfuse.engine.hashing import take_in
from transfuse.engine.selecting import Select
from transfuse.engine.spans import Answer, Mark
from transfuse.engine.taught import Taught
from transfuse.engine.terms import Term
from transfuse.fitted.head import Head
from transfuse.fitted.paths import Path, WrittenPath
from transfuse.tasks.writing import Writing


@dataclasses.dataclass(frozen=True)
class TransferData:
    """What a method may learn from.

    Args:
        target: labelled rows of the target task.
        sources: labelled rows of each source, by its name; their labels are the target's.
        related: labelled rows of sources that have labels of their own, by name.
        unlabelled: target texts without labels, or None.
        tasks: of sources whose task differs from the target's, where answers are written, by name.
        teachers: what models say of the target's texts, by name.
    """

    target: Examples
    sources: Mapping[str, Examples] = dataclasses.field(default_factory=dict)
    related: Mapping[str, Examples] = dataclasses.field(default_factory=dict)
    unlabelled: Examples | None = None
    tasks: Mapping[str, Writing] = dataclasses.field(default_factory=dict)
    teachers: Mapping[str, Taught] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Labelled rows as a stage takes them.

    Args:
        texts: N texts.
        labels: int64 [N], positions in the task's labels.
        weights: float64 [N], what each row counts.
        target: bool [N], True for rows of the target (rather than of a source or a label's name).
        classes: number of classes where the labels are not the task's but a related source's own.
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    weights: np.ndarray
    target: np.ndarray
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @staticmethod
    def join(*parts: Rows) -> Rows:
        """All rows of all parts, in order; they must have the same classes."""
        return Rows(
            sum((part.texts for part in parts), ()),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.target for part in parts]),
            parts[0].classes,
        )


@dataclasses.dataclass(frozen=True)
class Solve:
    """A closed form on texts alone: ``solve(rows, classes) -> Path``."""

    rows: Rows
    solve: Callable[[Rows, int], Path]


@dataclasses.dataclass(frozen=True)
class Given:
    """A path that is there already: nothing is fitted."""

    path: Path | WrittenPath


@dataclasses.dataclass(frozen=True)
class Prompt:
    """Label words scored after demonstrations.

    Args:
        demonstrations: (text, label word) pairs in the order of the prompt.
        template: how a text is shown.
        words: C label words.
        calibrate: whether the prompt's own bias is subtracted.
        near: texts of the task that show it; without any, inputs without content do.
    """

    demonstrations: tuple[tuple[str, str], ...]
    template: str
    words: tuple[str, ...]
    calibrate: bool
    near: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ChooseReadout:
    """Which layer, pooling and template to read, by leave-one-out ridge regression from one cached pass.

    Args:
        rows: the evidence; where some are target rows, their error alone counts.
        layers: the layers to try; empty for all.
        poolings: the poolings to try; empty for all that suit the backbone.
        templates: the templates to try.
    """

    rows: Rows
    layers: tuple[int, ...]
    poolings: tuple[str, ...]
    templates: tuple[str | None, ...]


@dataclasses.dataclass(frozen=True)
class FitHead:
    """A logistic head on the frozen features at the readout.

    Args:
        rows: what it is fitted on.
        grid: penalties to choose from by cross-validation on the target rows (on all rows where there are none).
        normalise: divide each feature vector by its length first (a cosine head).
        correct: move the head before it as little as these rows ask for, instead of a head of their own.
    """

    rows: Rows
    grid: tuple[float, ...]
    normalise: bool = False
    correct: bool = False


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How layers are trained; every number has a default in the method that uses it.

    Args:
        learning_rate: of the uppermost layer; each layer below has ``layer_decay`` times that of the one above.
        head_learning_rate: of the head.
        layer_decay: factor a layer.
        epochs: passes over the rows.
        batch_size: rows a step.
        warmup: share of the steps in which the rate rises from 0; afterwards it falls linearly to 0.
        weight_decay: AdamW's, on the layers alone.
        anchor: L2-SP's α: strength of the pull towards the weights that the stage began with.
        contrastive: weight of the supervised contrastive term.
        average_from: share of the steps after which weights are averaged; 1 keeps the last weights.
        dropout: whether the trained layers' own dropout is on; what is frozen never has any.
        surgical: rates in proportion to each layer's relative gradient norm before the first step.
        pace: share of the rows, the first ones, that the first steps draw from; it grows to 1 (a curriculum).
    """

    learning_rate: float
    head_learning_rate: float
    layer_decay: float
    epochs: int
    batch_size: int
    warmup: float
    weight_decay: float
    anchor: float
    contrastive: float
    average_from: float
    dropout: bool = False
    surgical: bool = False
    pace: float = 1.0


@dataclasses.dataclass(frozen=True)
class Train:
    """Gradient steps on the layers below the readout, over the cached prefix.

    Args:
        rows: what is learnt from.
        layers: number of layers below the readout that train; 0 means all of them.
        embeddings: train the embeddings too (with all layers); nothing is cached then.
        adapter: settings of low-rank adapters instead of the layers' own weights, or None.
        schedule: see `Schedule`.
        term: what is learnt from beside, or instead of, the cross-entropy of a head; see `terms`.
        blend: how far the layers and the head go from where the stage began (0) to where it ended (1).
    """

    rows: Rows
    layers: int
    embeddings: bool
    adapter: Mapping[str, Any] | None
    schedule: Schedule
    term: Term | None = None
    blend: float = 1.0


@dataclasses.dataclass(frozen=True)
class Repeat:
    """Reptile (Nichol, Achiam and Schulman 2018): learn many small tasks one after another, each from where they meet.

    φ ← φ + ε (U_k(φ) - φ), with U_k a few epochs of training on a task, and ε falling to 0.

    Args:
        train: the rows that tasks are drawn from, the layers, and how each task is learnt; its term says which tasks.
        step: ε of the first task.
    """

    train: Train
    step: float


@dataclasses.dataclass(frozen=True)
class Aside:
    """Puts the trained layers aside, to be merged later, and goes back to the pretrained ones."""


@dataclasses.dataclass(frozen=True)
class Merge:
    """Makes one of the layers that were put aside and those of the branch, without training.

    Args:
        rule: ``average``, ``task_arithmetic``, ``ties``, ``dare``, ``greedy`` or ``mixture`` (see `merging`).
        scales: the scale, or the first shares, to choose among by the leave-one-out error of the rows.
        rows: labelled rows to choose by.
        keep: share of values that ``ties`` keeps and ``dare`` does not drop.
        trial: stages of another branch in the place of this one, which the choice is made with; none for this one.
        held: bool [N], the rows that the trial does not learn, whose error alone counts; None for all.
    """

    rule: str
    scales: tuple[float, ...]
    rows: Rows
    keep: float
    trial: tuple[Stage, ...] = ()
    held: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Side:
    """Rows as a closed form sees them.

    Args:
        x: features at the readout, float32 [N, D].
        labels: int64 [N].
        weights: float64 [N].
        texts: the N texts.
    """

    x: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that a closed form on cached features sees.

    Args:
        target: labelled rows of the target.
        source: labelled rows of the sources, none where there is no source.
        near: features of target texts, labelled or not, float32 [U, D]: where the target lies.
        near_texts: the U texts.
        names: features of the labels' words, float32 [C, D]; [0, D] where they say nothing.
        source_names: the same of the source's classes where it has others than the target.
        classes: C.
        seed: of whatever is random.
    """

    target: Side
    source: Side
    near: np.ndarray
    near_texts: tuple[str, ...]
    names: np.ndarray
    source_names: np.ndarray
    classes: int
    seed: int

    @property
    def unlabelled(self) -> np.ndarray:
        """The features of the unlabelled texts among ``near``."""
        return self.near[len(self.target) :]


Closed = Callable[[Evidence], "tuple[Head, np.ndarray | None]"]
"""Gives the head, and the weights [N] of the source's rows where the method has an opinion of them."""


@dataclasses.dataclass(frozen=True)
class SolveHead:
    """A head by a closed form on the features at the readout.

    Args:
        target: labelled rows of the target.
        source: labelled rows of the sources, or None.
        near: unlabelled target texts, beside the target's own rows.
        names: words of the target's labels, or None.
        source_names: words of the source's own labels, or None where they are the target's.
        solve: the closed form.
    """

    target: Rows
    source: Rows | None
    near: tuple[str, ...]
    names: tuple[str, ...] | None
    source_names: tuple[str, ...] | None
    solve: Closed


Metric = Callable[[np.ndarray, np.ndarray], "tuple[np.ndarray, np.ndarray]"]
"""Learns from features [N, D] and labels [N] what to compare texts by: a mean [D] and a map [D, K]."""


@dataclasses.dataclass(frozen=True)
class Retrieve:
    """Prompts whose demonstrations are each text's nearest rows at the readout.

    Args:
        rows: to choose from.
        learnt: rows of other classes that the metric is learnt on; None for ``rows`` themselves.
        metric: see `Metric`.
        shots: demonstrations a text.
        template: how a text is shown.
        words: C label words.
    """

    rows: Rows
    learnt: Rows | None
    metric: Metric
    shots: int
    template: str
    words: tuple[str, ...]


Stage = (
    Solve
    | Given
    | Prompt
    | Retrieve
    | ChooseReadout
    | FitHead
    | SolveHead
    | Train
    | Repeat
    | Select
    | Aside
    | Merge
    | Recall
    | Ask
    | Consult
    | Write
    | Explore
    | Mark
    | Answer
    | Start
    | Prefer
)


@dataclasses.dataclass(frozen=True)
class Job:
    """What a method asks of the engine for one set of labelled rows.

    Args:
        stages: run in order, each on what the one before it left.
        shared: how many of the first stages need no target label: run once, used by all folds.
        seed: of everything random.
    """

    stages: tuple[Stage, ...]
    shared: int
    seed: int

    def key(self) -> str:
        """Equal for jobs whose stages are all equal."""
        return dataclasses.replace(self, shared=len(self.stages)).shared_key()

    def shared_key(self) -> str:
        """Equal for jobs whose shared stages are equal."""
        digest = hashlib.sha256(f"{self.seed}".encode())
        for stage in self.stages[: self.shared]:
            take_in(digest, stage)
        return digest.hexdigest()
