"""The path of several prompts, or of several models, that speak as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.huggingface import Backbone
from transfuse.fitted.paths import Loader, Path, build, log_softmax


class EnsemblePath:
    """Predicts by the mean of the probabilities that several paths over one backbone give.

    Choose it where each alone depends on chance, such as on the examples in a prompt. Costs all of them.

    Args:
        members: paths to the same labels, over the same backbone.
        temperature: what the logarithm of the mean is divided by.
    """

    kind = "ensemble"
    trainable_parameters = 0

    def __init__(self, members: Sequence[Path], temperature: float = 1.0) -> None:
        self.members, self.temperature = tuple(members), temperature

    @property
    def backbone(self) -> Backbone | None:
        """What the members read."""
        return getattr(self.members[0], "backbone", None)

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """log of the mean of the members' probabilities, [N, C]."""
        every = np.stack([member.log_probabilities(texts, precision) for member in self.members])
        mean: np.ndarray = np.logaddexp.reduce(every, axis=0) - np.log(len(every))
        return mean

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities [N, C] of N texts."""
        return log_softmax(self.logits(texts, precision) / self.temperature)

    def describe(self) -> dict[str, Any]:
        """All members."""
        return {
            "kind": self.kind,
            "members": [member.describe() for member in self.members],
            "temperature": self.temperature,
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
        return EnsemblePath(members, fields["temperature"])  # type: ignore[arg-type]
