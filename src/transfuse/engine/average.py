"""The running mean of what trains."""

from __future__ import annotations

import torch
from torch import nn


class Average:
    """The running mean of parameters over the last steps (Izmailov et al. 2018, stochastic weight averaging).

    Args:
        parameters: what is averaged.
        first: the step from which on the mean is taken; a step that never comes leaves the last weights.

    Attributes:
        count: steps that are in the mean.
        mean: of each parameter, once there is one.
    """

    def __init__(self, parameters: list[nn.Parameter], first: int) -> None:
        self._parameters, self._first = parameters, first
        self.count, self.mean = 0, list[torch.Tensor]()

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after a step into the mean."""
        if step < self._first:
            return
        self.count += 1
        if self.count == 1:
            self.mean = [p.detach().clone() for p in self._parameters]
        else:
            torch._foreach_lerp_(self.mean, [p.detach() for p in self._parameters], 1.0 / self.count)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the mean into the parameters."""
        for parameter, mean in zip(self._parameters, self.mean, strict=False):
            parameter.copy_(mean)
