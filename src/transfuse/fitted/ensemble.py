"""The path of several prompts, or of several models, that speak as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.huggingface import Backbone
from transfuse.fitted.head import HeadPath
from transfuse.fitted.paths import Loader, Path, build, log_softmax
from transfuse.fitted.shared import SharedTrunk

AT_ONCE = 512
"""Texts whose states are in memory at once."""


class EnsemblePath:
    """Predicts by the mean of the probabilities that several paths over one backbone give.

    Choose it where each alone depends on chance, such as on the examples in a prompt. Costs all of them, but what is
    frozen for all is computed once where they are heads.

    Args:
        members: paths to the same labels, over the same backbone.
        temperature: what the logarithm of the mean is divided by.
        weights: of each member, above 0, with the sum 1; by default all alike.
    """

    kind = "ensemble"

    def __init__(
        self, members: Sequence[Path], temperature: float = 1.0, weights: Sequence[float] | None = None
    ) -> None:
        self.members, self.temperature = tuple(members), temperature
        self.weights = tuple(weights) if weights else (1 / len(self.members),) * len(self.members)

    @property
    def trainable_parameters(self) -> int:
        """Those of all members."""
        return sum(member.trainable_parameters for member in self.members)

    @property
    def backbone(self) -> Backbone | None:
        """What the members read."""
        return getattr(self.members[0], "backbone", None)

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """log of the mean of the members' probabilities, [N, C]."""
        if precision == "fp32" and all(SharedTrunk.suits(member) for member in self.members):
            found = [self._together(texts[start : start + AT_ONCE]) for start in range(0, len(texts), AT_ONCE)]
            return pooled([np.concatenate(one) for one in zip(*found, strict=True)], self.weights)
        return pooled([member.log_probabilities(texts, precision) for member in self.members], self.weights)

    def _together(self, texts: Sequence[str]) -> list[np.ndarray]:
        """What each member says [N, C], the layers that are frozen for all read once."""
        heads = [member for member in self.members if isinstance(member, HeadPath)]
        trunk = SharedTrunk(heads[0].backbone)
        for head in heads:
            trunk.add(head)
        said = trunk.log_probabilities([head for head in heads for _ in texts], [*texts] * len(heads))
        return [np.stack(said[i * len(texts) : (i + 1) * len(texts)]) for i in range(len(heads))]

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities [N, C] of N texts."""
        return log_softmax(self.logits(texts, precision) / self.temperature)

    def describe(self) -> dict[str, Any]:
        """All members."""
        return {
            "kind": self.kind,
            "members": [member.describe() for member in self.members],
            "temperature": self.temperature,
            "weights": list(self.weights),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """The members', each under its number."""
        return {f"{i}.{name}": t for i, member in enumerate(self.members) for name, t in member.tensors().items()}

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> EnsemblePath:
        """From `describe` and `tensors`."""
        members = []
        for i, one in enumerate(fields["members"]):
            own = {n.partition(".")[2]: t for n, t in tensors.items() if n.partition(".")[0] == str(i)}
            members.append(build(one, own, loader))
        return EnsemblePath(members, fields["temperature"], fields.get("weights"))  # type: ignore[arg-type]


def pooled(members: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """log Σ_k w_k p_k, the linear pool of K members' log-probabilities [..., C] by weights [K] with the sum 1."""
    heavy = np.log(np.asarray(weights, dtype=np.float64))
    mean: np.ndarray = np.logaddexp.reduce([w + m for w, m in zip(heavy, members, strict=True)], axis=0)
    return mean
