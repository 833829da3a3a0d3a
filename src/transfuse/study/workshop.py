"""The tools of a running study: backbones, trunks and engines, made when they are first needed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.advice.candidates import Candidate
from transfuse.backbones import loading, precision
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.remote import Request, is_remote
from transfuse.data.examples import Examples
from transfuse.engine.checkpoints import Checkpoints
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Job, Rows, TransferData
from transfuse.engine.store import activations
from transfuse.engine.taught import Taught
from transfuse.engine.trunk import Trunk
from transfuse.engine.watch import MemoryWatch
from transfuse.errors import RecipeError
from transfuse.fitted.ensemble import EnsemblePath, pooled
from transfuse.fitted.remote import RemoteLabelsPath, RemoteWriterPath
from transfuse.fitted.writer import WriterPath
from transfuse.methods.catalogue import method
from transfuse.study.prepare import StudyData
from transfuse.study.recipe import Recipe
from transfuse.study.remotes import Remotes

Report = Callable[[str, float], None]
"""Told what a candidate does now and the share of it that is done."""
TIMED = 12
"""Texts by which the speed of a prediction from scratch is taken."""


@dataclasses.dataclass
class Outcome:
    """What fitting a candidate gave.

    Args:
        answers: to the validation rows: log-probabilities float64 [R, N, C], or texts, object [R, N].
        fit: seconds of all fits.
        predict_per_1000: seconds to predict 1,000 texts that were never seen, in float32.
        peak_memory: MiB.
        trainable_parameters: of the last fit.
        tokens: what an answer costs where one is written: tokens ``read`` of its prompt, and ``written``.
    """

    answers: np.ndarray
    fit: float
    predict_per_1000: float
    peak_memory: float
    trainable_parameters: int
    tokens: dict[str, float] | None = None


class Workshop:
    """Loads backbones and fits candidates.

    Args:
        recipe: gives references, seed and the override for unsafe weights.
        data: of the study.
        say: the words for what it does.
        pull: told of downloads.
        keep: whether activations and stages without a target label are kept for what needs them again.
        trainings: where long trainings are kept while they run, so that a kill loses minutes; None for nowhere.

    Attributes:
        weighed: of each candidate, or member of an ensemble, in the last final fit whose method weighs the source's
            rows, by its id: the rows and what each counted.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: StudyData,
        say: Mapping[str, str],
        pull: loading.Pull | None = None,
        *,
        keep: bool = True,
        trainings: Path | None = None,
    ) -> None:
        self.recipe, self.data, self._say, self._pull, self._keep = recipe, data, say, pull, keep
        self._trainings = None if trainings is None else Checkpoints(trainings)
        self._store = activations()
        self.remotes = Remotes(recipe)
        self.precisions: dict[str, dict[str, Any]] = {}
        self.resolved: dict[str, str] = {}
        self._backbones: dict[str, Backbone] = {}
        self._engines: dict[str, Engine] = {"": Engine(None, len(data.task.labels))}
        self.taught: dict[str, Taught] = {}
        self.weighed: dict[str, tuple[Rows, np.ndarray]] = {}
        self.report: Report = lambda text, share: None

    def backbone(self, reference: str) -> Backbone | None:
        """The backbone of a reference; None for the empty one, and for a remote model's (see `remotes`)."""
        if not reference or is_remote(reference):
            return None
        if reference not in self._backbones:
            resolved = self.resolved.get(reference) or loading.resolved(reference)
            self.resolved[reference] = resolved
            self._backbones[reference] = loading.load(
                resolved, base=self.recipe.base, unsafe=self.recipe.allow_unsafe_weights, progress=self._pull
            )
        return self._backbones[reference]

    def precision(self, reference: str) -> str:
        """The arithmetic that was chosen for a backbone; without one there is only fp32."""
        here = reference and not is_remote(reference)
        return str(self.precisions[reference]["precision"]) if here else "fp32"

    def trunk(self, reference: str) -> Trunk:
        """The trunk of a backbone; it knows the study's texts in one fixed order."""
        trunk = self.engine(reference).trunk
        assert trunk is not None
        return trunk

    def engine(self, reference: str) -> Engine:
        """The engine over a backbone's trunk, or over a remote model."""
        if is_remote(reference) and reference not in self._engines:
            self._engines[reference] = Engine(None, len(self.data.task.labels), remote=self.remotes.of(reference))
        if reference not in self._engines:
            backbone = self.backbone(reference)
            assert backbone is not None
            if reference not in self.precisions:
                sample = list(self.data.train.texts[:16])
                self.precisions[reference] = precision.choose(backbone, sample, self.data.task.max_tokens)
            trunk = Trunk(
                backbone, self.precision(reference), self.data.task.max_tokens, store=self._store, keep=self._keep
            )
            for texts in (self.data.train.texts, *(source.texts for source in self.data.sources.values())):
                trunk.register(texts)
            classes = len(self.data.task.labels)
            self._engines[reference] = Engine(trunk, classes, share=self._keep, kept=self._trainings)
        return self._engines[reference]

    def computed_anew(self, reference: str) -> list[tuple[int, int]]:
        """Tokens and bytes of what did not fit into the memory of states, since this was asked last."""
        trunk = self._engines[reference].trunk if reference in self._engines else None
        found = [] if trunk is None else list(dict.fromkeys(trunk.anew))
        if trunk is not None:
            trunk.anew.clear()
        return found

    def not_packed(self, reference: str) -> bool:
        """Whether examples should have shared rows of a backbone and could not, since this was asked last."""
        trunk = self._engines[reference].trunk if reference in self._engines else None
        found = trunk is not None and trunk.unpacked
        if trunk is not None:
            trunk.unpacked = False
        return found

    def job(self, candidate: Candidate, positions: np.ndarray) -> Job:
        """The job of a candidate on some of the target's rows.

        Raises:
            RecipeError: a setting that the method does not have or take.
        """
        sources = {name: self.data.sources[name] for name in candidate.sources if name not in self.taught}
        taught = {name: self.taught[name] for name in candidate.sources if name in self.taught}
        if candidate.shuffled:
            sources = {name: shuffled(examples, self.recipe.seed) for name, examples in sources.items()}
            taught = {name: lessons.shuffled(self.recipe.seed) for name, lessons in taught.items()}
        data = TransferData(
            self.data.train.take(positions),
            {name: examples for name, examples in sources.items() if name not in self.data.related},
            {name: examples for name, examples in sources.items() if name in self.data.related},
            self.data.unlabelled,
            {name: self.data.source_tasks[name] for name in sources if name in self.data.source_tasks},
            taught,
        )
        backbone = self.backbone(candidate.backbone) or self.remotes.of(candidate.backbone)
        try:
            described = method(candidate.method, candidate.kind)
            return described.plan(self.data.task, backbone, data, self.recipe.seed, **candidate.settings)
        except TypeError as error:
            raise RecipeError(
                f"method '{candidate.method}': a setting has the wrong type: {error}",
                expected=f"settings as docs/methods.md lists them, not {dict(candidate.settings)}",
                remedy="Correct the setting in the recipe.",
            ) from error

    def fit(self, candidate: Candidate, positions: np.ndarray) -> Any:
        """The path of a candidate that is fitted on some of the target's rows; of an ensemble, all its members'."""
        if candidate.members:
            paths = [self.fit(member, positions) for member, _ in candidate.members]
            return EnsemblePath(paths, weights=[weight for _, weight in candidate.members])
        engine = self.engine(candidate.backbone)
        path = engine.fit(self.job(candidate, positions))
        if engine.weighed is not None:
            self.weighed[candidate.id] = engine.weighed
        return path

    def said(self, candidate: Candidate, path: Any, texts: Sequence[str]) -> np.ndarray:
        """What a path says of the study's texts, from what is kept of them; a teacher has said it already."""
        if candidate.method == "teacher":
            return self.taught[candidate.sources[0]].of(texts)
        if candidate.members:
            parts = zip(candidate.members, path.members, strict=True)
            return pooled([self.said(member, own, texts) for (member, _), own in parts], path.weights)
        return self.engine(candidate.backbone).predict(path, texts)

    def requests(self, candidate: Candidate) -> tuple[list[Request], int]:
        """What the validation of a remote model's candidate asks, at worst, and of how many texts."""
        requests, texts = [], 0
        for _, trained, left_out in self.data.splits.fits:
            path = self.engine(candidate.backbone).fit(self.job(candidate, trained))
            requests += path.requests([self.data.train.texts[i] for i in left_out])
            texts += len(left_out)
        return requests, texts

    def validate(self, candidate: Candidate) -> Outcome:
        """Fit a candidate on each training part and predict what each leaves out."""
        splits, train = self.data.splits, self.data.train
        rows = validation_rows(self.data)
        place = {int(row): i for i, row in enumerate(rows)}
        out = self.data.task.empty(splits.repeats, len(rows))
        engine = self.engine(candidate.backbone)
        seconds, path = 0.0, None
        with MemoryWatch() as watch:
            for number, (repeat, trained, left_out) in enumerate(splits.fits):
                base, count = number / len(splits.fits), len(splits.fits)
                text = f"{self._say[splits.kind]} {number + 1}/{count}"
                engine.tick = lambda share, b=base, c=count, t=text: self.report(t, b + share / c)  # type: ignore[misc]
                self.report(text, base)
                start = time.perf_counter()
                path = self.fit(candidate, trained)
                seconds += time.perf_counter() - start
                found = self.said(candidate, path, [train.texts[i] for i in left_out])
                out[repeat, [place[int(i)] for i in left_out]] = found
            assert path is not None
            speed = 1000 * self._speed(candidate, path, [train.texts[i] for i in rows[:TIMED]])
        return Outcome(out, seconds, speed, watch.peak, path.trainable_parameters, _tokens(path))

    def _speed(self, candidate: Candidate, path: Any, sample: Sequence[str]) -> float:
        """Seconds of predicting a text; a remote model is not asked, and paid, for that."""
        if is_remote(candidate.backbone):
            return self.remotes.seconds_each(candidate.backbone) * len(path.requests(sample)) / len(sample)
        start = time.perf_counter()
        self.answers(path, sample)
        return (time.perf_counter() - start) / len(sample)

    @staticmethod
    def answers(path: Any, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities [N, C] or texts, object [N], by the whole path, as its user will get them."""
        found: np.ndarray = (
            path.answers(texts, precision) if hasattr(path, "answers") else path.log_probabilities(texts, precision)
        )
        return found

    def final(self, candidate: Candidate) -> Any:
        """Fit a candidate on all rows that it may learn from: all labelled ones, or the training part of a split."""
        splits = self.data.splits
        whole = splits.fits[0][1] if splits.kind == "split" else np.arange(len(self.data.train))
        engine = self.engine(candidate.backbone)
        engine.tick = lambda share: self.report(self._say["final fit"], share)
        self.weighed = {}
        return self.fit(candidate, whole)


def shuffled(examples: Examples, seed: int) -> Examples:
    """The same texts with the same labels, each at another text: what a source is worth whose labels say nothing."""
    order = np.random.default_rng(seed).permutation(len(examples))
    labels = examples.labels or ()
    return dataclasses.replace(examples, labels=tuple(labels[i] for i in order))


def validation_rows(data: StudyData) -> np.ndarray:
    """Positions of the validated rows in the target's training rows, in the order of all predictions."""
    return np.unique(np.concatenate([left_out for _, _, left_out in data.splits.fits]))


def _tokens(path: Any) -> dict[str, float] | None:
    """Tokens that a path has read and written for an answer, in the mean; None where it writes nothing."""
    if not isinstance(path, WriterPath | RemoteLabelsPath | RemoteWriterPath) or not path.tokens[0]:
        return None
    return {
        name: round(float(count / path.tokens[0]), 1)
        for name, count in zip(("read", "written"), path.tokens[1:], strict=True)
    }
