"""The one training loop: layers over cached states, a head on top, a loss that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.pooling import pool
from transfuse.backbones.tokens import States
from transfuse.engine.jobs import Rows, Schedule
from transfuse.engine.losses import cross_entropy, supervised_contrastive
from transfuse.fitted.head import Head

Tick = Callable[[float], None]
"""Told of the share of the stage that is done."""


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


def train(
    backbone: Backbone,
    segment: Segment,
    head: Head,
    pooling: str,
    states: States,
    rows: Rows,
    schedule: Schedule,
    *,
    precision: str,
    seed: int,
    tick: Tick = lambda _: None,
) -> Head:
    """Train a segment in place, and a head, on cached states.

    loss = weighted cross-entropy + contrastive · supervised contrastive term on the pooled states;
    L2-SP (Li et al. 2018) adds α (w - w_0) to each layer gradient.

    Args:
        backbone: gives the final norm and the device.
        segment: layers of its own; its parameters that require gradients train.
        head: where the head starts (linear probing first: Kumar et al. 2022).
        pooling: how states become one vector.
        states: the frozen prefix's states of the N rows, or their token ids.
        rows: labels and weights of the N rows.
        schedule: see `Schedule`.
        precision: ``bf16`` runs the passes under autocast; weights and optimizer stay in float32.
        seed: of the batches and of dropout.
        tick: told of the share of the steps done.

    Returns:
        The trained head.

    Cost: epochs · N rows forward and backward through the segment alone.
    """
    device = backbone.device
    live = LiveHead(head, device)
    segment.to(device).train()
    optimizer, layers = _optimizer(segment, live, schedule)
    anchors = [p.detach().clone() for p in layers] if schedule.anchor else []
    total = schedule.epochs * _steps(len(rows), schedule.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, total, schedule.warmup))
    labels = torch.tensor(rows.labels, device=device)
    weights = torch.tensor(rows.weights, dtype=torch.float32, device=device)
    average = Average(layers + list(live.parameters()), int(schedule.average_from * total))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for step, chosen in enumerate(epochs(states.lengths, rows.labels, schedule, seed)):
            values, mask = (x.to(device) for x in states.batch(chosen))
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                hidden = segment(values if values.dim() == 2 else values.float(), mask)
            features = pool(backbone.normed(hidden), mask, pooling)
            loss = cross_entropy(live(features), labels[chosen], weights[chosen])
            if schedule.contrastive:
                term = supervised_contrastive(features, labels[chosen], weights[chosen])
                loss = loss + schedule.contrastive * term
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            for parameter, anchor in zip(layers, anchors, strict=False):
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach() - anchor, alpha=schedule.anchor)
            torch.nn.utils.clip_grad_norm_(layers + list(live.parameters()), 1.0)
            optimizer.step()
            scheduler.step()
            average.update(step)
            tick((step + 1) / total)
    average.apply()
    segment.eval()
    return live.frozen()


def _optimizer(
    segment: Segment, live: LiveHead, schedule: Schedule
) -> tuple[torch.optim.Optimizer, list[nn.Parameter]]:
    """AdamW with a learning rate a layer, falling downwards; the embeddings are the lowest."""
    groups: list[dict[str, object]] = []
    seen: set[int] = set()
    rate = schedule.learning_rate
    everything: list[nn.Parameter] = []
    for module in [*reversed(segment.layers), segment.model]:
        own = [p for p in module.parameters() if p.requires_grad and id(p) not in seen]
        seen.update(id(p) for p in own)
        everything += own
        if own:
            groups.append({"params": own, "lr": rate, "weight_decay": schedule.weight_decay})
        rate *= schedule.layer_decay
    groups.append({"params": list(live.parameters()), "lr": schedule.head_learning_rate, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True), everything


def _steps(rows: int, batch_size: int) -> int:
    return max(-(-rows // batch_size), 1)


def _factor(step: int, total: int, warmup: float) -> float:
    """Linear warm-up to 1, then linear decay to 0."""
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    return max((total - step) / max(total - rising, 1.0), 0.02)


def epochs(lengths: np.ndarray, labels: np.ndarray, schedule: Schedule, seed: int) -> Iterator[np.ndarray]:
    """Batches of positions, epoch after epoch.

    With a contrastive term rows are shuffled in pairs of one class, so that most batches hold positives; without one,
    rows of similar length share a batch (shuffled within windows of eight batches), so that little is padding.
    """
    generator = np.random.default_rng(seed)
    size = schedule.batch_size
    for _ in range(schedule.epochs):
        if schedule.contrastive:
            order = _paired(labels, generator)
            found = [order[i : i + size] for i in range(0, len(order), size)]
        else:
            order = generator.permutation(len(lengths))
            found = []
            for start in range(0, len(order), 8 * size):
                window = order[start : start + 8 * size]
                window = window[np.argsort(lengths[window], kind="stable")]
                found += [window[i : i + size] for i in range(0, len(window), size)]
            generator.shuffle(found)
        yield from found


def _paired(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    groups = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        groups += [rows[i : i + 2] for i in range(0, len(rows), 2)]
    return np.concatenate([groups[i] for i in generator.permutation(len(groups))])


class Average:
    """The running mean of parameters over the last steps (Izmailov et al. 2018, stochastic weight averaging).

    Args:
        parameters: what is averaged.
        first: the step from which on the mean is taken; a step that never comes leaves the last weights.
    """

    def __init__(self, parameters: list[nn.Parameter], first: int) -> None:
        self._parameters, self._first, self._count = parameters, first, 0
        self._mean: list[torch.Tensor] = []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after a step into the mean."""
        if step < self._first:
            return
        self._count += 1
        if self._count == 1:
            self._mean = [p.detach().clone() for p in self._parameters]
        else:
            torch._foreach_lerp_(self._mean, [p.detach() for p in self._parameters], 1.0 / self._count)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the mean into the parameters."""
        for parameter, mean in zip(self._parameters, self._mean, strict=False):
            parameter.copy_(mean)
