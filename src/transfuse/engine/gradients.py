"""The gradient of every single row by the adapters that train, and how rows agree by it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import BATCH_TOKENS, Backbone
from transfuse.backbones.pooling import pool
from transfuse.backbones.tokens import States, batches
from transfuse.engine.branch import Branch
from transfuse.engine.live import LiveHead

MOST_NUMBERS = 2**24
"""Of the gradients of one batch: 64 MiB."""
BETA, EPS = 0.98, 1e-8
"""Adam's, as `training` has them."""

Gradients = Callable[[States, np.ndarray], Iterator[tuple[np.ndarray, torch.Tensor]]]
"""Batch by batch, positions of rows, and their gradients [B, P], given the states and labels of all."""


def adapter_maps(segment: Segment) -> list[nn.Linear]:
    """The thin linear maps of LoRA that train, in the order of the segment's parameters."""
    return [m for m in segment.layers.modules() if isinstance(m, nn.Linear) and m.weight.requires_grad]


def row_gradients(maps: Sequence[nn.Linear], losses: Callable[[], torch.Tensor]) -> torch.Tensor:
    """The gradient of each row's own loss by the weights of linear maps, from one pass forward and backward.

    Of a map z = W x the gradient of row b is Σ_t δ[b, t] ⊗ x[b, t], with x what goes in and δ the gradient by what
    comes out: both are there in a pass over many rows, since no row's loss depends on another row.

    Args:
        maps: without biases that train.
        losses: runs the pass and gives the loss of each row, float [B].

    Returns:
        float32 [B, P], the maps' weights one after the other; 0 for a map that was not called.

    Cost: a pass forward and backward; 2 · B · P numbers.
    Reduces to: with one row, ``torch.autograd.grad`` of its loss.
    Reference: Goodfellow 2015 (efficient per-example gradient computations), for weights that several tokens share.
    """
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    with contextlib.ExitStack() as hooks:
        for number, one in enumerate(maps):

            def keep(_: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor, number: int = number) -> None:
                seen.append((number, given[0].detach(), out))

            hooks.callback(one.register_forward_hook(keep).remove)
        each = losses()
    found = [torch.zeros(len(each), *one.weight.shape, device=each.device) for one in maps]
    deltas = torch.autograd.grad(each.sum(), [out for _, _, out in seen])
    for (number, x, _), delta in zip(seen, deltas, strict=True):
        given, back = (v.reshape(len(each), -1, v.shape[-1]).float() for v in (x, delta))
        found[number].baddbmm_(back.transpose(1, 2), given)
    return torch.cat([one.flatten(1) for one in found], 1)


def adam_direction(gradients: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Where Adam would step on each gradient alone: Γ = g / (sqrt(β₂ v + (1 - β₂) g²) + ε).

    Args:
        gradients: g, float [B, P].
        second: v, the second moment so far, float [P].

    Returns:
        float [B, P].

    Reference: Xia, Malladi, Gururangan, Arora and Chen 2024 (LESS), section 2. Departure: the first moment is left
        out (β₁ = 0). It is the same for all rows and points where the target's do, so that the rows that hardly
        have a gradient would score best.
    """
    return gradients / (torch.sqrt(BETA * second + (1 - BETA) * gradients.square()) + EPS)


def agreement(gradients: Gradients, source: tuple[States, np.ndarray], target: tuple[States, np.ndarray]) -> np.ndarray:
    """How well learning from each of the source's rows serves all of the target's, every class alike.

    a[z] = mean over classes c of mean over the target's rows z' of c of cos(Γ(z), ∇ℓ(z')), with Γ(z) as in
    `adam_direction` and its second moment v the mean of the target's squared gradients.

    A mean of cosines is the product of a unit vector with a mean of unit vectors: the target's rows are added up as
    they come, nothing is projected, and nothing is lost.

    Args:
        gradients: see `Gradients`.
        source: states and labels of N rows.
        target: of M rows.

    Returns:
        float64 [N] in -1..1; a row below 0 pulls away from the target.

    Cost: a pass forward and backward over N + M rows; a few vectors of P numbers and the gradients of a batch.
    Reference: Xia et al. 2024, equation 5 with one checkpoint and one subtask, the task itself. Departures: no random
        projection, which the paper needs to keep every row's gradient; the second moment is that of single rows at the
        end of the warm-up, rather than Adam's running mean over batches. Classes are no subtasks: a row with a wrong
        label agrees well with the class that it names, and only the others tell that it is wrong.
    """
    _, groups, counts = np.unique(target[1], return_inverse=True, return_counts=True)
    shares = torch.from_numpy(1 / (len(counts) * counts[groups])).float()
    aim, second = torch.zeros(()), torch.zeros(())
    for chosen, found in gradients(*target):
        aim = aim.to(found) + shares[chosen].to(found) @ _unit(found)
        second = second.to(found) + found.square().sum(0) / len(groups)
    out = np.empty(len(source[1]))
    for chosen, found in gradients(*source):
        out[chosen] = (_unit(adam_direction(found, second)) @ aim).cpu().numpy()
    return out


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return functional.normalize(rows, dim=1, eps=1e-30)


def of_branch(branch: Branch, backbone: Backbone, precision: str) -> Gradients:
    """The gradients of a branch's adapters under the cross-entropy of its head, which stays as it is.

    Args:
        branch: with a head and with adapters (LoRA).
        backbone: gives the final norm and the device.
        precision: ``bf16`` runs the passes under autocast.
    """
    assert branch.segment is not None
    assert branch.head is not None
    segment, device = branch.segment.eval(), backbone.device
    head = LiveHead(branch.head, device).requires_grad_(False)
    maps = adapter_maps(segment)
    most = max(MOST_NUMBERS // sum(one.weight.numel() for one in maps), 1)

    def losses(states: States, labels: np.ndarray) -> torch.Tensor:
        values, mask = (x.to(device) for x in states.batch(np.arange(len(states))))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            hidden = segment(values if values.dim() == 2 else values.float(), mask)
        features = pool(backbone.normed(hidden), mask, branch.pooling)
        return functional.cross_entropy(head(features), torch.from_numpy(labels).to(device), reduction="none")

    def gradients(states: States, labels: np.ndarray) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        for chosen in batches(states.lengths, BATCH_TOKENS, most):
            part = States(states.parts, states.where[chosen], states.borders)
            yield chosen, row_gradients(maps, lambda part=part, own=labels[chosen]: losses(part, own))  # type: ignore[misc]

    return gradients
