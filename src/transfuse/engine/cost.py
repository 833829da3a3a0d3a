"""What a job will cost: counted from its description, priced by a few timed batches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Prompt, Rows, Schedule, Stage, Train
from transfuse.engine.logistic import fit_head, ridge_loo
from transfuse.engine.training import train
from transfuse.engine.trunk import Trunk
from transfuse.fitted.head import Head


@dataclasses.dataclass(frozen=True)
class Prices:
    """Measured on real texts, on this machine.

    Args:
        forward: seconds a token and layer, in the study's precision.
        forward_fp32: the same in float32, in which fitted models predict.
        training: seconds a token and layer, forward, backward and the optimizer's share.
        step: seconds a training step and layer that do not depend on the tokens: the optimizer.
        scoring: seconds a token of a prompted query, whole model.
        head: seconds for a logistic head, a row and class.
        ridge: seconds for one leave-one-out ridge, a row.
        tokens: mean tokens a text.
    """

    forward: float
    forward_fp32: float
    training: float
    step: float
    scoring: float
    head: float
    ridge: float
    tokens: float


@dataclasses.dataclass
class Cost:
    """Seconds of a job: what is shared by all its fits, and what each fit repeats.

    Args:
        trunk: passes over frozen layers, by what is cached, so that candidates that share a pass pay once.
        shared: the stages that need no target label.
        each: the stages of one fit.
    """

    trunk: dict[tuple[object, ...], float]
    shared: float
    each: float


def price(trunk: Trunk, texts: Sequence[str], classes: int) -> Prices:
    """Time a few batches of real texts.

    Cost: a few seconds.
    """
    backbone = trunk.backbone
    sample = list(texts[:48])
    tokens = backbone.tokens(sample, None, trunk.limit)
    count = sum(len(row) for row in tokens)
    layers = list(range(backbone.layers + 1))
    forward = _timed(lambda: backbone.features(tokens, layers, trunk.precision)) / (count * backbone.layers)
    slow = _timed(lambda: backbone.features(tokens[:16], [backbone.layers], "fp32"))
    training, step = _training(trunk, sample, classes)
    generator = np.random.default_rng(0)
    features = generator.normal(size=(256, backbone.width)).astype(np.float32)
    labels = np.arange(256) % classes
    ones = np.ones(256)
    return Prices(
        forward=forward,
        forward_fp32=slow / (sum(len(row) for row in tokens[:16]) * backbone.layers),
        training=training,
        step=step,
        scoring=forward * backbone.layers * 1.6,
        head=_timed(lambda: fit_head(features, labels, classes, c=0.1)) / (256 * classes),
        ridge=_timed(lambda: ridge_loo(features, labels, classes, ones, ones > 0)) / 256,
        tokens=count / len(sample),
    )


def _timed(work: Callable[[], object]) -> float:
    """Seconds of the quicker of two calls, after one that warms up."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _training(trunk: Trunk, texts: list[str], classes: int) -> tuple[float, float]:
    """Seconds a token and layer, and seconds a step and layer, of training the last two layers."""
    backbone = trunk.backbone
    top, cut = backbone.layers, max(backbone.layers - 2, 0)
    states = backbone.states(backbone.tokens(texts, None, trunk.limit), cut, trunk.precision)
    head = Head.empty(backbone.width, classes)
    rows = Rows(tuple(texts), np.arange(len(texts)) % classes, np.ones(len(texts)), np.ones(len(texts), dtype=bool))

    def run(batch: int) -> float:
        segment = backbone.segment(cut, top, own=True, states=True)
        schedule = Schedule(1e-4, 1e-3, 1.0, 2, batch, 0.1, 0.0, 0.0, 0.0, 1.0)
        start = time.perf_counter()
        train(backbone, segment, head, backbone.poolings[0], states, rows, schedule, precision=trunk.precision, seed=0)
        return time.perf_counter() - start

    run(len(texts))
    large, small = run(len(texts)), run(max(len(texts) // 4, 1))
    step = max(small - large, 0.0) / (2 * 3) / (top - cut)
    tokens = 2 * int(states.lengths.sum())
    return max(large / (top - cut) - 2 * step, large / (top - cut) / 2) / tokens, step


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
    for i, stage in enumerate(job.stages):
        seconds = _stage(stage, backbone, prices, validation, out.trunk)
        if i < job.shared:
            out.shared += seconds
        else:
            out.each += seconds
    return out


def _stage(
    stage: Stage, backbone: Backbone, prices: Prices, validation: int, trunk: dict[tuple[object, ...], float]
) -> float:
    if isinstance(stage, Prompt):
        shown = sum(len(text.split()) for text, _ in stage.demonstrations) * 1.6 + 8 * len(stage.demonstrations)
        longest = max(len(word.split()) for word in stage.words)
        passes = 1 if longest == 1 else len(stage.words)
        return prices.scoring * (shown + passes * (validation + 3) * (prices.tokens + 12))
    if isinstance(stage, ChooseReadout):
        readouts = len(stage.layers or range(backbone.layers)) * len(stage.poolings or backbone.poolings)
        options = readouts * len(stage.templates)
        if options == 1:
            return 0.0
        for template in stage.templates:
            for source, rows in _by_origin(stage.rows):
                key = ("features", template, source)
                passes = rows * (prices.tokens + _extra(template)) * backbone.layers * prices.forward
                trunk[key] = max(trunk.get(key, 0.0), passes)
        return options * len(stage.rows) * prices.ridge
    if isinstance(stage, FitHead):
        fits = 1 if len(stage.grid) == 1 else 4 * len(stage.grid) + 1
        for source, rows in _by_origin(stage.rows):
            trunk.setdefault(
                ("features", "head", source), rows * prices.tokens * backbone.layers * prices.forward * 0.5
            )
        return fits * len(stage.rows) * prices.head * 2
    assert isinstance(stage, Train)
    layers = stage.layers or backbone.layers
    tokens = len(stage.rows) * (prices.tokens + 4)
    for source, rows in _by_origin(stage.rows):
        below = max(backbone.layers - layers, 1)
        trunk[("states", layers, source)] = rows * (prices.tokens + 4) * below * prices.forward
    steps = stage.schedule.epochs * -(-len(stage.rows) // stage.schedule.batch_size)
    seconds = layers * (stage.schedule.epochs * tokens * prices.training + steps * prices.step)
    return seconds + validation * prices.tokens * layers * prices.forward


def _by_origin(rows: Rows) -> list[tuple[str, int]]:
    target = int(rows.target.sum())
    return [(name, count) for name, count in (("target", target), ("source", len(rows) - target)) if count]


def _extra(template: str | None) -> int:
    """Tokens that a template adds, roughly."""
    return 0 if template is None else len(template.split()) * 2
