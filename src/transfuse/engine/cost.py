"""What a job will cost: counted from its description, priced by a few timed batches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from transfuse.backbones.huggingface import BATCH_TOKENS, Backbone
from transfuse.backbones.tokens import States, batches
from transfuse.engine.answers import Ask, Write
from transfuse.engine.epochs import epochs
from transfuse.engine.jobs import (
    ChooseReadout,
    FitHead,
    Job,
    Merge,
    Prompt,
    Repeat,
    Retrieve,
    Rows,
    Schedule,
    SolveHead,
    Stage,
    Train,
)
from transfuse.engine.live import BESIDE
from transfuse.engine.logistic import fit_head, ridge_loo
from transfuse.engine.selecting import Select
from transfuse.engine.spans import Answer, Mark
from transfuse.engine.terms import Align, Episodes, Mutual, Names, Relate
from transfuse.engine.threads import one_blas_thread
from transfuse.engine.training import Pupil, train
from transfuse.engine.trunk import MOST, Trunk
from transfuse.fitted.head import Head
from transfuse.fitted.prompted import CONTENT_FREE

SCORING = 1.6
"""What scoring label words costs a token, as a multiple of a pass."""
TIMED_ROWS, TIMED_BATCH, TIMED_LAYERS = 256, 16, 6
CLOSED_FITS = 8
"""A closed form's work, as a multiple of a logistic head's: boosting fits ten of them, others solve systems."""
MOST_CALLS = 4
"""Other work on the machine, or on its neighbours, makes single timings up to half too long."""
WRITING, LONGEST = 1.3, 2.0
"""What a head over all words adds to training; the longest answer of a batch, as a multiple of the mean one."""
USUAL_DEPTH = 0.75
"""Where the best layer of a decoder is usually found, as a share of its layers."""


@dataclasses.dataclass(frozen=True)
class Prices:
    """Measured on real texts, on this machine.

    Args:
        forward: seconds a token and layer, in the study's precision; padding counts here, for in a few texts there is
            more of it than in many.
        training: seconds a padded token and layer, forward, backward and optimizer.
        scoring: seconds a token of a prompted query, whole model.
        head: seconds for a logistic head, a row and class.
        ridge: seconds for one leave-one-out ridge on `TIMED_ROWS` rows.
        tokens: mean tokens a text, its template included.
        writing: seconds a token that is written, many answers at once; 0 where nothing is.
        answer: mean tokens of an answer.
    """

    forward: float
    training: float
    scoring: float
    head: float
    ridge: float
    tokens: float
    writing: float = 0.0
    answer: float = 0.0


@dataclasses.dataclass
class Cost:
    """Seconds of a job: what is shared by all its fits, and what each fit repeats.

    Args:
        trunk: passes over frozen layers, by what is cached, so that candidates that share a pass pay once.
        shared: the stages that need no target label.
        each: the stages of one fit.
        depth: the layers that a text passes when it is predicted.
        answer: seconds of writing one answer, beside that.
    """

    trunk: dict[tuple[object, ...], float]
    shared: float
    each: float
    depth: int = 0
    answer: float = 0.0


def price(trunk: Trunk, texts: Sequence[str], classes: int, template: str | None, calls: int = MOST_CALLS) -> Prices:
    """Time a few batches of real texts, shown in a template; ``calls`` is how often at most.

    Cost: a few seconds.
    """
    backbone = trunk.backbone
    sample = list(texts[:48])
    tokens = backbone.tokens(sample, template, trunk.limit)
    layers = list(range(min(TIMED_LAYERS, backbone.layers) + 1))
    lengths = np.array([len(row) for row in tokens])
    padded = sum(len(chosen) * int(lengths[chosen].max()) for chosen in batches(lengths, BATCH_TOKENS))
    forward = timed(lambda: backbone.features(tokens, layers, trunk.precision), calls) / (padded * layers[-1])
    training = _training(trunk, sample, classes, template, calls)
    generator = np.random.default_rng(0)
    features = generator.normal(size=(TIMED_ROWS, backbone.width)).astype(np.float32)
    labels = np.arange(TIMED_ROWS) % classes
    ones = np.ones(TIMED_ROWS)
    with one_blas_thread():
        head = timed(lambda: fit_head(features, labels, classes, c=0.1), calls)
        ridge = timed(lambda: ridge_loo(features, labels, classes, ones, ones > 0), calls)
    return Prices(
        forward=forward,
        training=training,
        scoring=forward * backbone.layers * SCORING,
        head=head / (TIMED_ROWS * classes),
        ridge=ridge,
        tokens=float(lengths.mean()),
    )


def timed(work: Callable[[], object], calls: int) -> float:
    """Seconds of the quickest call, after one that warms up: once two agree within a tenth, or after so many."""
    work()
    times: list[float] = []
    while len(times) < min(2, calls) or (len(times) < calls and times[1] > 1.1 * times[0]):
        start = time.perf_counter()
        work()
        times = sorted([*times, time.perf_counter() - start])
    return times[0]


def _training(trunk: Trunk, texts: list[str], classes: int, template: str | None, calls: int) -> float:
    """Seconds a token and layer of training the last two layers in batches of `TIMED_BATCH` rows."""
    backbone = trunk.backbone
    top, cut = backbone.layers, max(backbone.layers - 2, 0)
    tokens = backbone.tokens(texts, template, trunk.limit)
    states = States.of(backbone.states(tokens, cut, trunk.precision), tokens)
    head = Head.empty(backbone.width, classes)
    rows = Rows(tuple(texts), np.arange(len(texts)) % classes, np.ones(len(texts)), np.ones(len(texts), dtype=bool))
    schedule = Schedule(1e-4, 1e-3, 1.0, 1, TIMED_BATCH, 0.1, 0.0, 0.0, 0.0, 1.0)

    def run() -> None:
        segment = backbone.segment(cut, top, own=True, states=True)
        pupil = Pupil(segment, head, backbone.poolings[0], states, rows, schedule, seed=0)
        train(backbone, [pupil], precision=trunk.precision)

    padded = sum(map(len, tokens)) * _padding(states.lengths, rows.labels, schedule)
    return timed(run, calls) / (padded * (top - cut))


def cost(job: Job, backbone: Backbone | None, prices: Prices | None, validation: int) -> Cost:
    """Price a job from its description.

    Args:
        job: planned on all target rows.
        backbone: what it reads; None for methods on texts alone, whose cost is small.
        prices: of that backbone.
        validation: texts that each fit predicts.
    """
    out = Cost({}, 0.0, 0.2)
    if backbone is None or prices is None:
        return out
    pricer = _Pricer(backbone, prices, validation, out.trunk)
    for i, stage in enumerate(job.stages):
        seconds = pricer.seconds(stage)
        if i < job.shared:
            out.shared += seconds
        else:
            out.each += seconds
    out.depth = pricer.depth or backbone.layers
    out.answer = pricer.answer
    return out


@dataclasses.dataclass
class _Pricer:
    """Seconds of one stage after another.

    ``trained`` is how many layers have been trained so far, ``depth`` the layer that is probably read, ``read`` of how
    many rows of each origin all layers were read.
    """

    backbone: Backbone
    prices: Prices
    validation: int
    trunk: dict[tuple[object, ...], float]
    trained: int = 0
    depth: int = 0
    answer: float = 0.0
    read: dict[str, int] = dataclasses.field(default_factory=dict)

    def seconds(self, stage: Stage) -> float:
        """Seconds of a stage; passes over frozen layers go to ``trunk`` instead, since others may share them."""
        if isinstance(stage, Prompt):
            return self._prompt(stage)
        if isinstance(stage, Write):
            return self._write(stage)
        if isinstance(stage, Mark):
            return self._mark(stage)
        if isinstance(stage, Ask):
            return self._ask(stage)
        if isinstance(stage, Answer):
            self.depth = self.backbone.layers
            return self._pass(self.validation, self.depth)
        if isinstance(stage, Retrieve):
            self._further({"target": len(stage.rows), "source": len(stage.learnt or ())})
            tokens = self.prices.tokens * (stage.shots + 1) + sum(len(word.split()) - 1 for word in stage.words)
            self.depth = round(SCORING * self.backbone.layers * (stage.shots + 1))
            return self.prices.scoring * self.validation * tokens
        if isinstance(stage, ChooseReadout):
            return self._choose(stage)
        if isinstance(stage, FitHead):
            return self._head(stage)
        if isinstance(stage, SolveHead):
            return self._closed(stage)
        if isinstance(stage, Merge):
            return self._merge(stage)
        if isinstance(stage, Repeat):
            return self._train(stage.train)
        if isinstance(stage, Select):
            return self._select(stage)
        return self._train(stage) if isinstance(stage, Train) else 0.2

    def _pass(self, rows: int, layers: int) -> float:
        return rows * self.prices.tokens * layers * self.prices.forward

    def _merge(self, stage: Merge) -> float:
        """The branch that is on trial, and a pass of the rows a choice."""
        trial = sum(self.seconds(one) for one in stage.trial)
        return trial + len(stage.scales) * self._pass(len(stage.rows), self.trained or self.backbone.layers)

    def _prompt(self, stage: Prompt) -> float:
        shown = sum(len(text.split()) * 1.6 + 8 for text, _ in stage.demonstrations)
        further = sum(len(word.split()) - 1 for word in stage.words)
        queries = (self.validation + len(stage.near or CONTENT_FREE)) * (self.prices.tokens + further)
        return self.prices.scoring * (shown + queries)

    def _write(self, stage: Write) -> float:
        """Passes through the trained layers and the head; the states below are computed once."""
        layers = stage.layers or self.backbone.layers
        pairs = sum(len(pairs) for pairs, _ in stage.parts)
        tokens = self.prices.tokens + self.prices.answer
        below = self.backbone.layers - layers
        frozen = pairs * tokens * below * self.prices.forward
        learnt = stage.schedule.epochs * pairs * tokens * layers * self.prices.training * WRITING
        return learnt + self._frozen(("written", layers, pairs), frozen, pairs * tokens, stage.schedule.epochs)

    def _mark(self, stage: Mark) -> float:
        """Passes through the trained layers; the states below are computed once."""
        layers, pairs = stage.layers or self.backbone.layers, len(stage.pairs)
        below = self.backbone.layers - layers
        learnt = stage.schedule.epochs * pairs * self.prices.tokens * layers * self.prices.training
        tokens = pairs * self.prices.tokens
        return learnt + self._frozen(("marked", layers, pairs), self._pass(pairs, below), tokens, stage.schedule.epochs)

    def _frozen(self, key: tuple[object, ...], seconds: float, tokens: float, epochs: int) -> float:
        """Seconds of frozen layers that a fit pays itself: none where states are kept, else all epochs."""
        if tokens * self.backbone.width * 4 > MOST:
            return seconds * epochs
        self.trunk[key] = seconds
        return 0.0

    def _ask(self, stage: Ask) -> float:
        """A pass over the prompts, and a step for each token up to the longest answer of a batch."""
        self.depth = self.backbone.layers
        self.answer = min(LONGEST * self.prices.answer, stage.decoding.max_new_tokens) * self.prices.writing
        self.answer *= stage.decoding.beams
        return self._pass(self.validation, self.depth) + self.validation * self.answer

    def _choose(self, stage: ChooseReadout) -> float:
        layers = len(stage.layers or range(self.backbone.layers))
        self.depth = max(stage.layers) if stage.layers else round(USUAL_DEPTH * self.backbone.layers)
        options = layers * len(stage.poolings or self.backbone.poolings) * len(stage.templates)
        if options == 1:
            return 0.0
        for template in stage.templates:
            for source, rows in _by_origin(stage.rows):
                key = ("features", template, source)
                self.trunk[key] = max(self.trunk.get(key, 0.0), self._pass(rows, self.backbone.layers))
                self.read[source] = max(self.read.get(source, 0), rows)
        return options * self.prices.ridge * _decomposition(len(stage.rows), self.backbone.width)

    def _head(self, stage: FitHead) -> float:
        fits = 1 if len(stage.grid) == 1 else 4 * len(stage.grid) + 1
        seconds = fits * len(stage.rows) * self.prices.head * 2
        if self.trained:
            return seconds + self._pass(len(stage.rows), self.trained)
        self._further(dict(_by_origin(stage.rows)))
        return seconds

    def _closed(self, stage: SolveHead) -> float:
        rows = {"target": len(stage.target) + len(stage.near), "source": len(stage.source or ())}
        total = sum(rows.values())
        seconds = CLOSED_FITS * total * self.prices.head * 2
        if self.trained:
            return seconds + self._pass(total, self.trained)
        self._further(rows)
        return seconds

    def _further(self, rows: Mapping[str, int]) -> None:
        """The rows that are read at the chosen layer alone, beyond those that all layers were read of."""
        for source, count in rows.items():
            further = max(count - self.read.get(source, 0), 0)
            self.trunk[("further", source)] = self._pass(further, self.depth or self.backbone.layers)

    def _train(self, stage: Train) -> float:
        layers = self.trained = stage.layers or self.backbone.layers
        for source, rows in _by_origin(stage.rows):
            below = max(self.depth - layers, 1)
            self.trunk[("states", layers, source)] = self._pass(rows, below)
        return layers * self._trained_tokens(stage) * self.prices.training + self._pass(self.validation, layers)

    def _select(self, stage: Select) -> float:
        """The warm-up, a gradient of each row, and what follows on as many rows as will be left."""
        seconds = sum(self.seconds(one) for one in stage.warm)
        rows, layers = len(stage.source) + len(stage.target), self.trained
        seconds += layers * rows * self.prices.tokens * self.prices.training
        self.trained = 0
        left = stage.weigh(np.zeros(len(stage.source)))
        seconds += sum(self.seconds(one) for one in stage.then(left))
        below = max(self.depth - layers, 1)
        self.trunk[("states", layers, "source")] = self._pass(len(stage.source), below)  # of all, not of what is left
        return seconds

    def _trained_tokens(self, stage: Train) -> float:
        """Tokens that go forward and backward, padding included."""
        term, schedule = stage.term, stage.schedule
        lengths = np.array([max(len(text), 1) for text in stage.rows.texts])
        padding = _padding(lengths, stage.rows.labels, schedule)
        if isinstance(term, Episodes):
            rows = term.steps * term.ways * (term.shots + term.queries) * schedule.epochs
        else:
            rows = schedule.epochs * len(stage.rows)
        if isinstance(term, Align | Relate | Mutual):
            rows += -(-rows // schedule.batch_size) * min(BESIDE, len(term.texts))
        elif isinstance(term, Names):
            rows += -(-rows // schedule.batch_size) * min(BESIDE + schedule.batch_size, len(term.texts)) // 2  # words
        students = term.peers if isinstance(term, Mutual) else 1
        return students * rows * self.prices.tokens * padding


def _padding(lengths: np.ndarray, labels: np.ndarray, schedule: Schedule) -> float:
    """Padded over real length in the batches of one epoch: 1.1 to 1.3 in thousands of rows, up to 3 in some tens."""
    one = dataclasses.replace(schedule, epochs=1)
    padded = sum(len(chosen) * int(lengths[chosen].max()) for chosen in epochs(lengths, labels, one, seed=0))
    return float(padded / lengths.sum())


def _decomposition(rows: int, width: int) -> float:
    """Work of one ridge decomposition, as a multiple of the one that was timed."""
    return rows * min(rows, width) ** 2 / (TIMED_ROWS * min(TIMED_ROWS, width) ** 2)


def _by_origin(rows: Rows) -> list[tuple[str, int]]:
    target = int(rows.target.sum())
    return [(name, count) for name, count in (("target", target), ("source", len(rows) - target)) if count]
