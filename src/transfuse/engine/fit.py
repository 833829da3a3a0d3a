"""The engine: runs a job's stages over one trunk and returns the path of a prediction."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.backbones.remote.model import RemoteModel
from transfuse.backbones.tokens import States
from transfuse.engine.answers import Ask, Consult, Explore, Prefer, Recall, Start, Write
from transfuse.engine.branch import Branch, begin, blended, go_back, grow, merge, put_aside, weights
from transfuse.engine.checkpoints import Checkpoints
from transfuse.engine.gradients import agreement, of_branch
from transfuse.engine.jobs import (
    Aside,
    ChooseReadout,
    Evidence,
    FitHead,
    Given,
    Job,
    Merge,
    Prompt,
    Repeat,
    Retrieve,
    Rows,
    Side,
    Solve,
    SolveHead,
    Stage,
    Train,
)
from transfuse.engine.learners import asked, consulted, marked, marking, preferring, writing, written
from transfuse.engine.live import Before, LiveTerm, live
from transfuse.engine.logistic import choose_c, correct_head, fit_head, inner_folds, ridge_loo
from transfuse.engine.meta import reptile
from transfuse.engine.peers import Peer, peers
from transfuse.engine.readout import choose
from transfuse.engine.selecting import Select
from transfuse.engine.spans import Answer, Mark
from transfuse.engine.terms import CoTune, Episodes, Mutual, Relate
from transfuse.engine.threads import one_blas_thread
from transfuse.engine.training import Pupil, Tick, train
from transfuse.engine.trunk import Trunk
from transfuse.fitted.head import Head, HeadPath, unit
from transfuse.fitted.model import remember
from transfuse.fitted.paths import Path, WrittenPath
from transfuse.fitted.prompted import CONTENT_FREE, PromptPath
from transfuse.fitted.retrieved import DEMONSTRATION_END, RetrievedPath


class Engine:
    """Runs jobs on one trunk; what needs no target label is kept and shared by the jobs that ask for the same.

    Args:
        trunk: the frozen backbone with its memory; None for methods without a backbone.
        classes: number of classes.
        tick: told of the share of a training stage that is done.
        share: whether what needs no target label is kept; without it every job runs all its stages.
        remote: the remote model that jobs ask, or None.
        kept: where long trainings are kept while they run, and go on from after a kill; None for nowhere.

    Attributes:
        weighed: the source's rows and what each counted in the last job, where its method has an opinion of that.
    """

    def __init__(
        self,
        trunk: Trunk | None,
        classes: int,
        tick: Tick = lambda _: None,
        *,
        share: bool = True,
        remote: RemoteModel | None = None,
        kept: Checkpoints | None = None,
    ) -> None:
        self.trunk, self.classes, self.tick, self.share, self.remote = trunk, classes, tick, share, remote
        self.kept = kept
        self._shared: dict[str, Branch] = {}
        self.weighed: tuple[Rows, np.ndarray] | None = None

    def fit(self, job: Job) -> Any:
        """Run the stages of a job in order.

        Returns:
            The path of a prediction (`Path`, or `WrittenPath` of a task that writes), ready to predict from the trunk
            (`predict`) or from texts.
        """
        return self.fit_all([job])[0]

    def fit_all(self, jobs: Sequence[Job]) -> list[Any]:
        """Run several jobs, stage by stage: adapters of the same layers train side by side in one pass (see `train`).

        Each gets what it would get alone, but for rounding. Memory is that of one batch of all of them.

        Returns:
            The path of each job.
        """
        self.weighed = None
        paths: list[Path | WrittenPath | None] = [self._closed(job.stages[0]) for job in jobs]
        open_jobs = [(i, job, self._begun(job)) for i, job in enumerate(jobs) if paths[i] is None]
        each = [[(stage, branch, job.seed) for stage in job.stages[job.shared :]] for _, job, branch in open_jobs]
        if self.kept is not None:
            self.kept = self.kept.within(" ".join(job.key() for job in jobs))
        for steps in itertools.zip_longest(*each):
            self._run([step for step in steps if step is not None])
        for i, _, branch in open_jobs:
            paths[i], self.weighed = self._path(branch), branch.weighed
        return [path for path in paths if path is not None]

    def _closed(self, stage: Stage) -> Path | WrittenPath | None:
        """The path of a job that is one closed form or one prompt."""
        if isinstance(stage, Given):
            return stage.path
        if isinstance(stage, Solve):
            return stage.solve(stage.rows, stage.rows.classes or self.classes)
        if isinstance(stage, Recall):
            return stage.solve(stage.pairs)
        if isinstance(stage, Consult):
            return consulted(stage, self.remote)
        return self._prompt(stage) if isinstance(stage, Prompt) else None

    def _begun(self, job: Job) -> Branch:
        """A branch after the stages that need no target label, which are run once."""
        if not job.shared:
            return Branch()
        key = job.shared_key()
        if key not in self._shared or not self.share:
            branch = Branch()
            if self.kept is not None:
                self.kept = self.kept.within(key, lasting=True)
            for stage in job.stages[: job.shared]:
                self._run([(stage, branch, job.seed)])
            self._shared[key] = branch
        return self._shared[key].copy()

    def _run(self, steps: Sequence[tuple[Stage, Branch, int]]) -> None:
        """One stage of each of several jobs, on its branch and with its seed."""
        groups: dict[object, list[tuple[Branch, Pupil, float]]] = {}
        for number, (stage, branch, seed) in enumerate(steps):
            if isinstance(stage, ChooseReadout):
                choose(stage, branch, self._trunk, self.classes)
            elif isinstance(stage, FitHead):
                branch.head = self._head(stage, branch, seed)
            elif isinstance(stage, SolveHead):
                found = self._evidence(stage, branch, seed)
                with one_blas_thread():
                    branch.head, counted = stage.solve(found)
                if counted is not None and stage.source is not None:
                    branch.weighed = stage.source, counted
            elif isinstance(stage, Repeat):
                self._repeat(stage, branch, seed)
            elif isinstance(stage, Select):
                self._select(stage, branch, seed)
            elif isinstance(stage, Explore):
                for turn in range(stage.rounds):
                    self._run([(written(stage, branch, self._trunk, seed + turn), branch, seed + turn)])
            elif isinstance(stage, Retrieve):
                branch.path = self._retrieve(stage, branch)
            elif isinstance(stage, Ask):
                branch.path = asked(stage, branch, self._trunk)
            elif isinstance(stage, Answer):
                branch.path = marked(stage, branch, self._trunk)
            elif isinstance(stage, Aside):
                put_aside(branch)
            elif isinstance(stage, Start):
                begin(branch, stage.path)
            elif isinstance(stage, Merge):
                self._merge(stage, branch, seed)
            elif isinstance(stage, Train | Write | Mark | Prefer):  # adapters of the same layers share a pass
                for own, pupil in self._learning(stage, branch, seed):
                    group = (own.cut, own.layer, pupil.segment.takes_states) if own.adapter else number
                    groups.setdefault(group, []).append((own, pupil, stage.blend))
        for pupils in groups.values():
            trunk = self._trunk
            before = [None if blend == 1 else weights(pupil.segment) for _, pupil, blend in pupils]
            learning = [pupil for _, pupil, _ in pupils]
            heads = train(trunk.backbone, learning, precision=trunk.precision, tick=self.tick, kept=self.kept)
            for (branch, pupil, blend), start, head in zip(pupils, before, heads, strict=True):
                branch.head = head
                if start is not None:
                    go_back(pupil.segment, start, 1 - blend)
                    branch.head = None if head is None or pupil.head is None else blended(pupil.head, head, blend)

    def predict(self, path: Any, texts: Sequence[str]) -> np.ndarray:
        """Log-probabilities [N, C], from the trunk's memory where the path reads it; or answers, object [N]."""
        if not isinstance(path, HeadPath):
            if self.remote is not None:
                path.tick = self.tick
            if hasattr(path, "answers"):
                answers: np.ndarray = path.answers(texts, self.trunk.precision if self.trunk else "fp32")
                return answers
            log_probabilities: np.ndarray = path.log_probabilities(
                texts, self.trunk.precision if self.trunk else "fp32"
            )
            return log_probabilities
        trunk = self._trunk
        if path.trained is None:
            return path.from_features(self._pooled(texts, path.layer, path.pooling, path.template))
        ids = not path.trained.takes_states
        return path.from_states(trunk.states(texts, path.template, path.cut, ids=ids), trunk.precision)

    @property
    def _trunk(self) -> Trunk:
        assert self.trunk is not None
        return self.trunk

    def _pooled(self, texts: Sequence[str], layer: int, pooling: str, template: str | None) -> np.ndarray:
        at = self._trunk.backbone.poolings.index(pooling)
        return self._trunk.features(texts, template, [layer])[:, 0, at]

    def _head(self, stage: FitHead, branch: Branch, seed: int) -> Head:
        """A logistic head on the features at the readout, through the trained layers where there are some."""
        rows = stage.rows
        classes = rows.classes or self.classes
        features = self._read(rows.texts, branch)
        if stage.normalise:
            features = unit(features).astype(np.float32)
        with one_blas_thread():
            c = stage.grid[0]
            if stage.correct and branch.head is not None:
                return correct_head(branch.head, features, rows.labels, c=c, weights=rows.weights)
            if len(stage.grid) > 1:
                folds = inner_folds(rows.labels, rows.target, seed)
                c = choose_c(features, rows.labels, classes, folds, stage.grid, weights=rows.weights)
            head = fit_head(features, rows.labels, classes, c=c, weights=rows.weights, scalar_scale=stage.normalise)
        return dataclasses.replace(head, normalise=stage.normalise)

    def _evidence(self, stage: SolveHead, branch: Branch, seed: int) -> Evidence:
        """The features that a closed form asks for, at the readout; only texts that are not cached yet are read."""
        width = self._trunk.backbone.width

        def read(texts: Sequence[str]) -> np.ndarray:
            if not texts:
                return np.empty((0, width), dtype=np.float32)
            return self._read(texts, branch)

        def side(rows: Rows | None) -> Side:
            if rows is None:
                return Side(read(()), np.empty(0, dtype=np.int64), np.empty(0), ())
            return Side(read(rows.texts), rows.labels, rows.weights, rows.texts)

        target = side(stage.target)
        return Evidence(
            target=target,
            source=side(stage.source),
            near=np.concatenate([target.x, read(stage.near)]),
            near_texts=target.texts + stage.near,
            names=read(stage.names or ()),
            source_names=read(stage.source_names or ()),
            classes=stage.target.classes or self.classes,
            seed=seed,
        )

    def _read(self, texts: Sequence[str], branch: Branch) -> np.ndarray:
        """Features [N, D] of texts at the readout, through the trained layers where there are some."""
        if branch.segment is None:
            return self._pooled(texts, branch.layer, branch.pooling, branch.template)
        states = self._states(texts, branch)
        return self._trunk.backbone.pooled(branch.segment, states, branch.pooling, self._trunk.precision)

    def _states(self, texts: Sequence[str], branch: Branch) -> States:
        assert branch.segment is not None
        ids = not branch.segment.takes_states
        return self._trunk.states(texts, branch.template, branch.cut, ids=ids)

    def _learning(self, stage: Train | Write | Mark | Prefer, branch: Branch, seed: int) -> list[tuple[Branch, Pupil]]:
        """What is to be trained, and where: on the branch, and on copies of it that are students beside it."""
        if isinstance(stage, Train):
            if not isinstance(stage.term, Mutual):
                return [(branch, self._pupil(stage, branch, seed))]
            every = peers(stage.term)
            students = [branch, *(branch.copy() for _ in every[1:])]
            return [(s, self._pupil(stage, s, seed, peer)) for s, peer in zip(students, every, strict=True)]
        of_answers: Any = {Write: writing, Mark: marking, Prefer: preferring}[type(stage)]
        return [(branch, of_answers(stage, branch, self._trunk, seed))]

    def _pupil(self, stage: Train, branch: Branch, seed: int, peer: Peer | None = None) -> Pupil:
        """What is to be trained: layers of the branch's own, which are made where it has none yet."""
        backbone, rows = self._trunk.backbone, stage.rows
        classes = rows.classes or self.classes
        before = self._before(stage, branch, seed)
        states = not (stage.embeddings and not stage.layers)
        grow(branch, backbone, stage.layers, stage.adapter, seed, states=states)
        head = branch.head or Head.empty(backbone.width, classes)
        given = self._states(rows.texts, branch)
        texts = stage.term.texts if stage.term is not None else ()
        beside = self._states(texts, branch) if texts else None
        term: LiveTerm | None = peer
        if stage.term is not None and peer is None:
            term = live(stage.term, before, rows, classes, backbone, seed)
        assert branch.segment is not None
        if term is not None:
            term.watch(branch.segment, rows.texts, given.lengths)
        return Pupil(branch.segment, head, branch.pooling, given, rows, stage.schedule, seed, term, beside)

    def _before(self, stage: Train, branch: Branch, seed: int) -> Before:
        """What a term takes over from the branch as it is before the stage, which may begin anew then."""
        term, rows = stage.term, stage.rows
        if isinstance(term, Relate):
            found = Before(self._read(rows.texts, branch), self._read(term.texts, branch), None)
            branch.segment = None
            branch.head = self._head(FitHead(rows, (term.c,)), branch, seed)
            return found
        if isinstance(term, CoTune):
            found = Before(self._read(rows.texts, branch), None, branch.head)
            branch.head = self._head(FitHead(rows, (term.c,)), branch, seed)
            return found
        return Before(None, None, None)

    def _repeat(self, stage: Repeat, branch: Branch, seed: int) -> None:
        pupil = self._pupil(dataclasses.replace(stage.train, term=None), branch, seed)
        assert isinstance(stage.train.term, Episodes)
        reptile(self._trunk.backbone, pupil, stage.train.term, stage.step, self._trunk.precision, self.tick)

    def _select(self, stage: Select, branch: Branch, seed: int) -> None:
        """Weigh the source's rows at a branch that is warmed up for it, and run what follows on those that are left."""
        warm = Branch()
        for one in stage.warm:
            self._run([(one, warm, seed)])
        sides = [(self._states(rows.texts, warm), rows.labels) for rows in (stage.source, stage.target)]
        weights = stage.weigh(agreement(of_branch(warm, self._trunk.backbone, self._trunk.precision), *sides))
        branch.weighed = stage.source, weights * stage.source.weights
        for one in stage.then(weights):
            self._run([(one, branch, seed)])

    def _merge(self, stage: Merge, branch: Branch, seed: int) -> None:
        """Merge by what a trial chooses, a branch that has not learnt the rows it is judged by, where there is one."""
        trial = dataclasses.replace(branch, segment=None, head=None) if stage.trial else None
        for one in stage.trial:
            self._run([(one, trial or branch, seed)])
        score = functools.partial(self._score, stage, trial or branch)
        merge(branch, stage, self._trunk.backbone, seed, score, trial)

    def _score(self, stage: Merge, branch: Branch) -> float:
        """How good the layers are: less the leave-one-out error of the rows, or of those that are held back."""
        rows = stage.rows
        features, judged = self._read(rows.texts, branch), stage.held
        judged = np.ones(len(rows), dtype=bool) if judged is None else judged
        with one_blas_thread():
            return -ridge_loo(features, rows.labels, self.classes, rows.weights, judged)

    def _path(self, branch: Branch) -> Path | WrittenPath:
        if branch.path is not None:
            return branch.path
        trunk = self._trunk
        return HeadPath(
            remember(trunk.backbone),
            layer=branch.layer,
            pooling=branch.pooling,
            template=branch.template,
            limit=trunk.limit,
            head=branch.head or Head.empty(trunk.backbone.width, self.classes),
            cut=branch.cut if branch.segment is not None else None,
            trained=branch.segment,
            adapter=branch.adapter,
        )

    def _retrieve(self, stage: Retrieve, branch: Branch) -> RetrievedPath:
        rows, learnt, trunk = stage.rows, stage.learnt or stage.rows, self._trunk
        with one_blas_thread():
            mean, metric = stage.metric(self._read(learnt.texts, branch), learnt.labels)
            keys = unit((self._read(rows.texts, branch) - mean) @ metric)
        return RetrievedPath(
            remember(trunk.backbone),
            layer=branch.layer,
            pooling=branch.pooling,
            template=stage.template,
            words=stage.words,
            limit=trunk.limit,
            shots=stage.shots,
            texts=rows.texts,
            labels=rows.labels,
            keys=keys,
            mean=mean,
            metric=metric,
        )

    def _prompt(self, stage: Prompt) -> PromptPath:
        trunk = self._trunk
        shots = [stage.template.replace("{text}", text) + f" {word}" for text, word in stage.demonstrations]
        return PromptPath(
            remember(trunk.backbone),
            prefix="".join(shot + DEMONSTRATION_END for shot in shots),
            template=stage.template,
            words=stage.words,
            limit=trunk.limit,
            bias=None if stage.calibrate else np.zeros(len(stage.words)),
            precision=trunk.precision,
            free=stage.near or CONTENT_FREE,
        )
