"""How a role takes over the layers of another model: its training begins with them, or both are merged behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from transfuse.engine.answers import Start
from transfuse.engine.jobs import Aside, ChooseReadout, FitHead, Merge
from transfuse.errors import RecipeError
from transfuse.methods.merging.merge import HEAD_C
from transfuse.methods.merging.pairs import NO_ROWS

RULE = Merge("average", (1.0,), NO_ROWS, 1.0)
"""θ_0 + (τ_own + τ_other) / 2: no scale to choose, no held rows, and what is merged with itself stays what it is."""


@dataclasses.dataclass(frozen=True)
class Blend:
    """The layers of a fitted model are merged with those that a role has learnt by itself.

    Args:
        path: of a model with trained layers or adapters (a `HeadPath` or a `WriterPath`).
    """

    path: Any


@dataclasses.dataclass(frozen=True)
class Place:
    """The role that takes layers over.

    Args:
        method: the name of its method.
        layers: of its backbone.
        writes: whether it writes, or chooses labels.
        where: its line in the team's file.
    """

    method: str
    layers: int
    writes: bool
    where: str


def copied(path: Any, stages: Sequence[Any], place: Place) -> list[Any]:
    """The stages of a job behind the layers of another model; the readout stays where these end.

    Raises:
        RecipeError: layers that the method cannot go on with.
    """
    _refuse_other_kinds(path, stages, place, "go on with", "Choose that method for both, or `how: distill`.")
    return [Start(path), *_read_at(_top(path), stages)]


def merged(path: Any, stages: Sequence[Any], place: Place) -> list[Any]:
    """The stages of a job, and behind them the mean of what they and another model have changed in the same layers.

    The job learns from the pretrained layers, as without a source. Where there is a head it is fitted again on what
    the merged layers say.

    Raises:
        RecipeError: layers that are not those which the method trains, or adapters that cannot be added up.
    """
    instead = "`how: copy` or `how: distill`"
    _refuse_other_kinds(path, stages, place, "be merged with", f"Choose that method for both, or write {instead}.")
    _refuse_other_layers(path, stages, place, instead)
    last = max(i for i, stage in enumerate(stages) if hasattr(stage, "adapter"))
    heads = [stage for stage in stages if isinstance(stage, FitHead)][-1:]
    again = [dataclasses.replace(head, grid=(HEAD_C,), correct=False) for head in heads]
    learnt = _read_at(_top(path), stages)
    return [Start(path), Aside(), *learnt[: last + 1], RULE, *again, *learnt[last + 1 :]]


def _top(path: Any) -> int:
    return int(path.cut + len(path.trained.layers))


def _read_at(top: int, stages: Sequence[Any]) -> list[Any]:
    """The stages with the readout at a layer."""
    return [
        dataclasses.replace(s, layers=(top,), poolings=s.poolings[:1], templates=s.templates[:1])
        if isinstance(s, ChooseReadout)
        else s
        for s in stages
    ]


def _refuse_other_kinds(path: Any, stages: Sequence[Any], place: Place, what: str, remedy: str) -> None:
    """Adapters follow adapters and layers follow layers; a role that writes needs the uppermost ones."""
    top = _top(path)
    trains = [stage for stage in stages if hasattr(stage, "adapter")]
    fits = bool(trains) and all(bool(stage.adapter) == (path.adapter is not None) for stage in trains)
    if not fits or (place.writes and top != place.layers):
        raise RecipeError(
            f"{place.where}: '{place.method}' cannot {what} layers {path.cut} to {top}"
            f"{' with adapters' if path.adapter else ''} of another model",
            expected=f"{'lora' if path.adapter else 'finetune'}, and for a role that writes the uppermost layers",
            remedy=remedy,
        )


def _refuse_other_layers(path: Any, stages: Sequence[Any], place: Place, instead: str) -> None:
    """What is added up must change the same weights by sums: layers, or LoRA's products."""
    top = _top(path)
    for stage in (stage for stage in stages if hasattr(stage, "adapter")):
        kinds = [dict(adapter or {}).get("kind", "lora") for adapter in (path.adapter, stage.adapter)]
        if path.adapter is not None and kinds != ["lora", "lora"]:
            raise RecipeError(
                f"{place.where}: adapters of the kinds {kinds[0]} and {kinds[1]} cannot be merged",
                expected="lora for both, whose changes of the weights can be added up",
                remedy=f"Choose lora for both, or write {instead}.",
            )
        cut, whole = max(top - stage.layers, 0) if stage.layers else 0, bool(getattr(stage, "embeddings", False))
        if (cut, whole) == (path.cut, False) and path.trained.takes_states:
            continue
        sides = ((cut, whole), (path.cut, not path.trained.takes_states))
        own, other = (f"layers {a} to {top}{' and the embeddings' if more else ''}" for a, more in sides)
        fitting = f"Set train_layers: {top - path.cut} of '{place.method}', or write"
        raise RecipeError(
            f"{place.where}: '{place.method}' trains {own}, and the other model has {other}",
            expected="the same layers of both, without embeddings, for them to be merged",
            remedy=f"{fitting if path.trained.takes_states else 'Write'} {instead}.",
        )
