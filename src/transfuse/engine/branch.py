"""What the stages of a job grow: a readout, a head, trained layers, and layers put aside to be merged."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from transfuse.backbones import adapters
from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import Backbone
from transfuse.engine import merging
from transfuse.engine.jobs import Merge, Rows
from transfuse.fitted.head import Head
from transfuse.fitted.paths import Path, WrittenPath

Score = Callable[[], float]
"""How good the branch's layers are as they stand, higher is better."""


@dataclasses.dataclass
class Branch:
    """What the stages of a job have grown so far.

    Args:
        layer, pooling, template: the readout.
        head: the head on top.
        weighed: the source's rows and what each counted, float64 [N], where a method has an opinion of that.
        cut: the freezing point, where layers were trained.
        segment: the trained layers, or None.
        adapter: the adapter's settings, or None.
        aside: trained layers that wait to be merged.
        path: the path of a prediction where it is not a head's.
        marks: the head that marks answers in passages, or None.
    """

    layer: int = -1
    pooling: str = "mean"
    template: str | None = None
    head: Head | None = None
    weighed: tuple[Rows, np.ndarray] | None = None
    cut: int = -1
    segment: Segment | None = None
    adapter: dict[str, object] | None = None
    aside: tuple[Segment, ...] = ()
    path: Path | WrittenPath | None = None
    marks: nn.Linear | None = None

    def copy(self) -> Branch:
        """A branch whose layers can be trained on without changing this one's."""
        segment = None if self.segment is None else grown(self.segment)
        return dataclasses.replace(self, segment=segment, marks=copy.deepcopy(self.marks))


def begin(branch: Branch, path: Any) -> None:
    """Start from the trained layers of a fitted model's path; the model itself stays as it is."""
    segment = grown(path.trained)
    branch.segment, branch.cut, branch.layer = segment, path.cut, path.cut + len(segment.layers)
    branch.adapter = None if path.adapter is None else dict(path.adapter)


def grow(
    branch: Branch,
    backbone: Backbone,
    layers: int,
    adapter: Mapping[str, Any] | None,
    seed: int,
    *,
    states: bool,
) -> Segment:
    """The branch's own layers, or adapters, below its readout; made where it has none yet.

    Args:
        branch: whose ``segment``, ``cut`` and ``adapter`` are set.
        backbone: what they are cut from.
        layers: so many below the readout; 0 means all.
        adapter: settings of adapters, or None.
        seed: of the adapters.
        states: whether the embeddings are frozen even where all layers train.
    """
    if branch.segment is None:
        branch.cut = max(branch.layer - layers, 0) if layers else 0
        states = states or branch.cut > 0
        branch.segment = backbone.segment(branch.cut, branch.layer, own=True, shared=bool(adapter), states=states)
        if adapter:
            branch.adapter = dict(adapter)
            adapters.add(branch.segment, adapter, seed=seed)
    return branch.segment


def grown(segment: Segment) -> Segment:
    """A copy of a segment with layers of its own; what is frozen stays shared."""
    shared = {id(p): p for p in segment.parameters() if not p.requires_grad}
    return copy.deepcopy(segment, memo=dict(shared))


def weights(segment: Segment) -> list[torch.Tensor]:
    """Copies of the parameters that train."""
    return [p.detach().clone() for p in segment.parameters() if p.requires_grad]


@torch.no_grad()
def go_back(segment: Segment, before: Sequence[torch.Tensor], share: float) -> None:
    """Put the layers between where a stage ended (``share`` 0) and where it began (1), in place."""
    trained = (p for p in segment.parameters() if p.requires_grad)
    for parameter, old in zip(trained, before, strict=True):
        parameter.lerp_(old, share)


def blended(start: Head, head: Head, blend: float) -> Head:
    """A head between where a stage began (0) and where it ended (1) (WiSE-FT, Wortsman et al. 2022)."""
    mixed = {name: (1 - blend) * getattr(start, name) + blend * getattr(head, name) for name in ("weight", "bias")}
    return dataclasses.replace(head, **mixed)


def put_aside(branch: Branch) -> None:
    """Keep the branch's trained layers to be merged, and let it begin anew."""
    assert branch.segment is not None
    branch.aside = (*branch.aside, branch.segment)
    branch.segment = branch.head = None


@torch.no_grad()
def merge(
    branch: Branch, stage: Merge, backbone: Backbone, seed: int, score: Score, trial: Branch | None = None
) -> None:
    """Make one of the layers put aside and of those that the branch has, in place.

    Args:
        branch: with two trained segments or more of the same layers. Adapters (LoRA) that are averaged stay adapters;
            by the other rules they become layers, each with its adapter's change in it.
        stage: the rule, and what to choose among.
        backbone: gives the layers as they were pretrained.
        seed: of what is dropped.
        score: of the layers that the trial, or the branch, has when it is called; called once a choice.
        trial: a branch with the same layers aside, which the choice is made with in the place of the branch itself.
    """
    if branch.adapter and stage.rule == "average":
        _adapted(branch, backbone)
        return
    models, own = _layers(branch)
    judged, tried = (models, own) if trial is None else _layers(trial)
    whole = dict(backbone.segment(branch.cut, branch.layer).layers.named_parameters())
    origin = {name: whole[name].detach() for name in own}

    def put(tensors: merging.Tensors) -> float:
        _put(tried, tensors)
        return score()

    _put(own, _chosen(origin, judged, stage, seed, put)(models))


def _layers(branch: Branch) -> tuple[list[merging.Tensors], dict[str, nn.Parameter]]:
    """The tensors of all layers that the branch has and had put aside, and the parameters that the merged go into."""
    segments = [*branch.aside, *([branch.segment] if branch.segment is not None else [])]
    segments = [_without_adapters(segment) for segment in segments] if branch.adapter else segments
    branch.aside, branch.segment, branch.adapter = (), grown(segments[-1]), None
    models = [{name: p.detach() for name, p in segment.layers.named_parameters()} for segment in segments]
    return [*models], dict(branch.segment.layers.named_parameters())


def _without_adapters(segment: Segment) -> Segment:
    """A copy whose layers have their adapters' changes in their weights."""
    own = {id(p) for p in segment.layers.parameters()}
    found = copy.deepcopy(segment, {id(p): p for p in segment.parameters() if id(p) not in own})
    for layer in found.layers:
        adapters.merged(layer)
    found.layers.requires_grad_()
    return found


def _put(parameters: Mapping[str, nn.Parameter], tensors: merging.Tensors) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(tensors[name])


def _adapted(branch: Branch, backbone: Backbone) -> None:
    """The mean of what adapters change, as one adapter with the ranks of all."""
    segments = [*branch.aside, *([branch.segment] if branch.segment is not None else [])]
    branch.aside = ()
    weights = [adapters.scaling(segment) / len(segments) for segment in segments]
    found = merging.side_by_side([adapters.tensors(segment) for segment in segments], weights)
    rank = next(len(tensor) for name, tensor in found.items() if "lora_A" in name)
    branch.adapter = {**(branch.adapter or {}), "rank": rank, "alpha": rank}
    branch.segment = backbone.segment(branch.cut, branch.layer, own=True, shared=True, states=True)
    adapters.add(branch.segment, branch.adapter, seed=0)
    with torch.no_grad():
        for name, parameter in branch.segment.model.named_parameters():
            if name in found:
                parameter.copy_(found[name])


def _chosen(
    origin: merging.Tensors,
    models: Sequence[merging.Tensors],
    stage: Merge,
    seed: int,
    score: Callable[[dict[str, torch.Tensor]], float],
) -> Callable[[Sequence[merging.Tensors]], merging.Tensors]:
    """The rule with whatever it chooses chosen by these models, to be used on them or on others of the same order."""
    if stage.rule == "greedy":
        taken = merging.greedy_soup(models, score)[1]
        return lambda found: merging.average([found[i] for i in taken])
    if stage.rule == "mixture":
        weights = merging.mixture(origin, models, score, shares=stage.scales)[1]
        return lambda found: merging.mixed(origin, found, weights)
    rules: dict[str, Callable[[Sequence[merging.Tensors], float], merging.Tensors]] = {
        "average": lambda found, scale: merging.task_arithmetic(origin, found, scale / len(found)),
        "task_arithmetic": lambda found, scale: merging.task_arithmetic(origin, found, scale),
        "ties": lambda found, scale: merging.ties(origin, found, keep=stage.keep, scale=scale),
        "dare": lambda found, scale: merging.dare(origin, found, drop=1 - stage.keep, scale=scale, seed=seed),
    }
    rule, best = rules[stage.rule], stage.scales[0]
    if len(stage.scales) > 1:
        best = stage.scales[int(np.argmax([score(dict(rule(models, scale))) for scale in stage.scales]))]
    return lambda found: rule(found, best)
