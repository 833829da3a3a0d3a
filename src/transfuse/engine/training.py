"""The one training loop: layers over cached states, a head on top, a loss that is handed in."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from transfuse.backbones import adapters
from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.pooling import pool
from transfuse.backbones.tokens import States
from transfuse.engine.average import Average
from transfuse.engine.checkpoints import Checkpoints
from transfuse.engine.epochs import epochs, steps
from transfuse.engine.jobs import Rows, Schedule
from transfuse.engine.live import LiveHead, LiveTerm, Seen
from transfuse.engine.losses import cross_entropy, supervised_contrastive
from transfuse.engine.preferences import Preferences
from transfuse.engine.spans import Spans
from transfuse.engine.write import Answers, Held
from transfuse.fitted.head import Head

SURGICAL_BATCHES = 8
"""Batches from which the layers' relative gradient norms are taken."""

Tick = Callable[[float], None]
"""Told of the share of the stage that is done."""


@dataclasses.dataclass
class Pupil:
    """A branch that trains: layers or adapters of its own, a head, and everything that decides how.

    Args:
        segment: layers of its own; its parameters that require gradients train.
        head: where the head starts (linear probing first: Kumar et al. 2022); None where answers are learnt.
        pooling: how states become one vector; says nothing where answers are learnt.
        states: the frozen prefix's states of the N rows, or their token ids.
        rows: labels and weights of the N rows.
        schedule: see `Schedule`.
        seed: of the batches.
        term: a term of the loss beside, or in the place of, the cross-entropy; None for that alone.
        beside: states of the texts that the term reads, or None where it reads none.
        answers: what is learnt by a model that writes, or marks answers; its loss is that of these alone.
        held: rows to stop by, or None.
    """

    segment: Segment
    head: Head | None
    pooling: str
    states: States
    rows: Rows
    schedule: Schedule
    seed: int
    term: LiveTerm | None = None
    beside: States | None = None
    answers: Answers | Spans | Preferences | None = None
    held: Held | None = None


def train(
    backbone: Backbone,
    pupils: Sequence[Pupil],
    *,
    precision: str,
    tick: Tick = lambda _: None,
    kept: Checkpoints | None = None,
) -> list[Head | None]:
    """Train one or several segments in place, side by side, and a head for each.

    loss = weighted cross-entropy + contrastive · supervised contrastive term on the pooled states + what the pupil's
    term adds (or the term alone, where it says so), or that of answers' tokens, for each pupil apart; L2-SP (Li et al.
    2018) adds α (w - w_0) to each layer gradient. Pupils share nothing but the frozen weights below their adapters,
    through which one pass takes the batches of all: each gets the gradients, and ends with the weights, that training
    it alone gives (but for dropout, whose draws are one sequence, seeded by the first pupil).

    Args:
        backbone: gives the final norm and the device.
        pupils: those with adapters must have the same layers; each stops when its own epochs are over.
        precision: ``bf16`` runs the passes under autocast; weights and optimizer stay in float32.
        tick: told of the share of all steps done.
        kept: where a long training is kept while it runs, and goes on from; None for nowhere.

    Returns:
        The trained heads, None of those that write.

    Cost: epochs · N rows of each pupil forward and backward through its segment alone.
    """
    device, low = backbone.device, precision == "bf16"

    def states(one: Learner, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low):
            return _forward(one.pupil.segment, *given)

    learners = [Learner(pupil, backbone, low) for pupil in pupils]
    total = sum(learner.total for learner in learners)
    adapted = all(adapters.mixes(pupil.segment) for pupil in pupils)
    together = adapters.SideBySide([pupil.segment for pupil in pupils], low=low) if adapted else None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(pupils[0].seed)
        for one in learners:
            if one.pupil.schedule.surgical:
                one.scale_rates(lambda given, one=one: one.loss(states(one, given), given[1]))  # type: ignore[misc]
        place = None if kept is None else kept.of(learners, f"{backbone.revision} {precision}")
        done = 0 if place is None else place.resume(learners)
        while active := [learner for learner in learners if learner.advance()]:
            for one in active:
                one.optimizer.zero_grad(set_to_none=True)
            while partly := [one for one in active if one.next_part()]:
                given = [tuple(x.to(device) for x in one.batch()) for one in partly]
                if together is not None:
                    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low):
                        hidden = together([learners.index(one) for one in partly], given)
                else:
                    hidden = [states(one, pair) for one, pair in zip(partly, given, strict=True)]
                losses = [one.loss(h, m) * one.share for one, h, (_, m) in zip(partly, hidden, given, strict=True)]
                torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            for one in active:
                one.step()
                one.look(lambda given, one=one: states(one, given))  # type: ignore[misc]
            done += len(active)
            if place is not None:
                place.keep(learners, done)
            tick(done / total)
    if place is not None:
        place.end(learners, done)
    return [learner.finish() for learner in learners]


def _forward(segment: Segment, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    hidden: torch.Tensor = segment(values if values.dim() == 2 else values.float(), mask)
    return hidden


class Learner:
    """A pupil while it trains: its optimizer, its batches, its average.

    Attributes:
        parameters: all that train, in the order of the optimizer.
    """

    def __init__(self, pupil: Pupil, backbone: Backbone, low: bool) -> None:
        schedule, device = pupil.schedule, backbone.device
        self.pupil, self.backbone, self.low = pupil, backbone, low
        self.live = None if pupil.head is None else LiveHead(pupil.head, device)
        pupil.segment.to(device).train(schedule.dropout)
        adapters.train(pupil.segment)
        self.term = pupil.term
        marks = pupil.answers.to(device) if isinstance(pupil.answers, Spans) else None
        self.optimizer, self.layers = _optimizer(pupil.segment, schedule, (self.live, self.term, marks))
        self.anchors = [p.detach().clone() for p in self.layers] if schedule.anchor else []
        own_steps = self.term.steps() if self.term is not None else None
        self.total = total = own_steps or schedule.epochs * steps(len(pupil.rows), schedule.batch_size)
        self.scheduler = self._scheduler()
        self.labels = torch.tensor(pupil.rows.labels, device=device)
        self.weights = torch.tensor(pupil.rows.weights, dtype=torch.float32, device=device)
        self.target = torch.tensor(pupil.rows.target, device=device)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.average = Average(self.parameters, int(schedule.average_from * total))
        self.states = pupil.states if pupil.beside is None else joined(pupil.states, pupil.beside)
        self.generator = np.random.default_rng([pupil.seed, 1])
        self.batches = enumerate(self._batches())
        self.at, self.chosen, self.others = -1, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self.parts: list[np.ndarray] = []
        self.whole, self.share = 1.0, 1.0
        self.best: tuple[float, int, list[torch.Tensor]] = (float("inf"), 0, [])

    def _batches(self) -> Iterator[np.ndarray]:
        pupil = self.pupil
        if self.term is not None and self.term.steps() is not None:
            return self.term.batches(pupil.rows.labels, np.random.default_rng(pupil.seed))
        if isinstance(pupil.answers, Preferences):
            return pupil.answers.batches(pupil.schedule, pupil.seed)
        return epochs(pupil.states.lengths, pupil.rows.labels, pupil.schedule, pupil.seed)

    def _scheduler(self, done: int = 0) -> torch.optim.lr_scheduler.LambdaLR:
        """Of the rates after some steps."""
        schedule, total = self.pupil.schedule, self.total
        return torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _factor(step, total, schedule.warmup), done - 1
        )

    def scale_rates(self, loss: Callable[[tuple[torch.Tensor, ...]], torch.Tensor]) -> None:
        """Multiply each layer's rate by its relative gradient norm ‖g‖ / ‖w‖, as a share of the largest.

        Args:
            loss: of a batch; called on the first batches of the first epoch.
        """
        layers = [group for group in self.optimizer.param_groups if group["layer"]]
        norms = np.zeros(len(layers))
        for chosen in itertools.islice(self._batches(), SURGICAL_BATCHES):
            self.chosen = chosen
            self.optimizer.zero_grad(set_to_none=True)
            given = tuple(x.to(self.labels.device) for x in self.batch())
            loss(given).backward()  # type: ignore[no-untyped-call]
            norms += [relative_norm(group["params"]) for group in layers]
        self.optimizer.zero_grad(set_to_none=True)
        for group, norm in zip(layers, norms, strict=True):
            group["initial_lr"] *= norm / max(float(norms.max()), 1e-30)
        for group in self.optimizer.param_groups:
            group["lr"] = group.pop("initial_lr")
        self.scheduler = self._scheduler()

    def advance(self) -> bool:
        """Take the next batch; False where there is none, or where what is held back says that it is enough."""
        held = self.pupil.held
        if held is not None and self.at >= 0 and self.best[1] > held.patience:
            return False
        self.at, chosen = next(self.batches, (-1, np.empty(0, dtype=np.int64)))
        answers = self.pupil.answers
        self.parts = [chosen] if answers is None or not len(chosen) else answers.parts(chosen)
        self.whole = 1.0 if answers is None else self._counted(chosen)
        return self.at >= 0

    def kept(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Where it is, as JSON and tensors: `restore` brings another one that begins alike to the same place."""
        least, waited, best = self.best
        fields = {
            "at": self.at if self.at >= 0 else self.total - 1,
            "best": [least, waited],
            "averaged": self.average.count,
            "draws": self.generator.bit_generator.state,
        }
        tensors = {
            f"optimizer.{i}.{n}": t for i, own in self.optimizer.state_dict()["state"].items() for n, t in own.items()
        }
        for name, some in (("parameter", self.parameters), ("best", best), ("average", self.average.mean)):
            tensors |= {f"{name}.{i}": t.detach() for i, t in enumerate(some)}
        return fields, tensors

    @torch.no_grad()
    def restore(self, fields: Mapping[str, Any], named: Mapping[str, Any]) -> None:
        """Go on from what `kept` gave, as a tree: batches that were drawn are drawn again, and not learnt from."""
        device = self.labels.device
        for i, parameter in enumerate(self.parameters):
            parameter.copy_(named["parameter"][str(i)])
        state = {int(i): own for i, own in named.get("optimizer", {}).items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        best, mean = ([t.to(device) for t in named.get(name, {}).values()] for name in ("best", "average"))
        self.best = (*fields["best"], best)
        self.average.count, self.average.mean = fields["averaged"], mean
        self.generator.bit_generator.state = fields["draws"]
        while self.at < fields["at"]:
            self.at, _ = next(self.batches)
        self.scheduler = self._scheduler(self.at + 1)

    def next_part(self) -> bool:
        """Choose the next rows of the batch; False where all have had their turn."""
        if not self.parts:
            return False
        self.chosen = self.parts.pop(0)
        self.share = 1.0 if self.pupil.answers is None else self._counted(self.chosen) / max(self.whole, 1e-30)
        return True

    def _counted(self, chosen: np.ndarray) -> float:
        """Tokens of answers, each counted as its row is."""
        assert self.pupil.answers is not None
        return float((self.pupil.answers.counted[chosen] * self.pupil.answers.weights[chosen]).sum())

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The chosen rows, and behind them the texts that the term wants beside them."""
        if self.pupil.beside is None or self.term is None:
            answers, given = self.pupil.answers, self.pupil.states.batch(self.chosen)
            return answers.laid(self.chosen, *given) if isinstance(answers, Answers) else given
        own = self.pupil.rows.labels[self.chosen]
        self.others = self.term.choose(own, len(self.pupil.beside), self.generator)
        return self.states.batch(np.concatenate([self.chosen, len(self.pupil.states) + self.others]))

    def loss(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The loss of the chosen rows from their states [B, T, D]."""
        if self.pupil.answers is not None:
            return self.pupil.answers.loss(self.backbone, hidden, self.chosen, self.low)
        return self._loss(pool(self.backbone.normed(hidden), mask, self.pupil.pooling))

    def _loss(self, features: torch.Tensor) -> torch.Tensor:
        """The loss of the batch from its pooled states [B, D]."""
        labels, weights = self.labels[self.chosen], self.weights[self.chosen]
        rows, beside = features[: len(labels)], features[len(labels) :]
        loss = rows.sum() * 0.0
        if self.term is not None:
            target, progress = self.target[self.chosen], max(self.at, 0) / self.total
            loss = self.term(Seen(rows, beside, labels, weights, target, self.chosen, self.others, progress, self.live))
        if self.term is None or not self.term.alone:
            assert self.live is not None
            loss = loss + cross_entropy(self.live(rows), labels, weights)
            if self.pupil.schedule.contrastive:
                loss = loss + self.pupil.schedule.contrastive * supervised_contrastive(rows, labels, weights)
        return loss

    def step(self) -> None:
        """One step of the optimizer on the gradients that are there."""
        for parameter, anchor in zip(self.layers, self.anchors, strict=False):
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - anchor, alpha=self.pupil.schedule.anchor)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.scheduler.step()
        self.average.update(self.at)

    def look(self, states: Callable[[tuple[torch.Tensor, ...]], torch.Tensor]) -> None:
        """After each epoch, the loss of what is held back; the layers with the lowest one are kept."""
        held = self.pupil.held
        if held is None or (self.at + 1) % steps(len(self.pupil.rows), self.pupil.schedule.batch_size):
            return
        total = 0.0
        self.pupil.segment.eval()
        with torch.no_grad():
            for chosen in held.batches():
                given = tuple(x.to(self.labels.device) for x in held.states.batch(chosen))
                total += float(held.answers.loss(self.backbone, states(given), chosen, self.low)) * float(
                    (held.answers.counted[chosen] * held.answers.weights[chosen]).sum()
                )
        self.pupil.segment.train(self.pupil.schedule.dropout)
        adapters.train(self.pupil.segment)
        least, waited, _ = self.best
        if total < least:
            self.best = (total, 0, [p.detach().clone() for p in self.parameters])
        else:
            self.best = (least, waited + 1, self.best[2])

    @torch.no_grad()
    def finish(self) -> Head | None:
        """The head, after the averages, or the best layers by what is held back, have been put in."""
        self.average.apply()
        for parameter, best in zip(self.parameters, self.best[2], strict=False):
            parameter.copy_(best)
        self.pupil.segment.eval()
        if self.term is not None:
            self.term.finish()
        return None if self.live is None else self.live.frozen()


def relative_norm(parameters: Sequence[nn.Parameter]) -> float:
    """‖g‖ / ‖w‖ over some parameters (Lee et al. 2023, auto-RGN)."""
    gradient = sum(float(p.grad.square().sum()) for p in parameters if p.grad is not None)
    weight = sum(float(p.detach().square().sum()) for p in parameters)
    return float(np.sqrt(gradient / max(weight, 1e-30)))


def joined(first: States, second: States) -> States:
    """The texts of both, one after the other; nothing is copied."""
    moved = second.where + np.array([len(first.parts), 0])
    borders = [*first.borders, *second.borders]
    return States([*first.parts, *second.parts], np.concatenate([first.where, moved]), borders)


def _optimizer(
    segment: Segment, schedule: Schedule, heads: Sequence[nn.Module | None]
) -> tuple[torch.optim.Optimizer, list[nn.Parameter]]:
    """AdamW with a learning rate a layer, falling downwards, the embeddings' lowest; heads have their own."""
    groups: list[dict[str, object]] = []
    seen: set[int] = set()
    rate = schedule.learning_rate
    everything: list[nn.Parameter] = []
    for module in [*reversed(segment.layers), segment.model]:
        own = [p for p in module.parameters() if p.requires_grad and id(p) not in seen]
        seen.update(id(p) for p in own)
        everything += own
        if own:
            groups.append({"params": own, "lr": rate, "weight_decay": schedule.weight_decay, "layer": True})
        rate *= schedule.layer_decay
    above = [p for module in heads if module is not None for p in module.parameters()]
    if above:
        groups.append({"params": above, "lr": schedule.head_learning_rate, "weight_decay": 0.0, "layer": False})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True), everything


def _factor(step: int, total: int, warmup: float) -> float:
    """Linear warm-up to 1, then linear decay to 0."""
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    return max((total - step) / max(total - rising, 1.0), 0.02)
