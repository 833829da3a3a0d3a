"""Students that learn together: each from its labels and from what the others say of the same texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from transfuse.engine import divergences, losses
from transfuse.engine.live import LiveTerm, Seen
from transfuse.engine.terms import Mutual


class Circle:
    """What peers say of one batch; the last one to speak is told what all of them have to learn from each other.

    Args:
        term: how many they are, and how they learn.
    """

    def __init__(self, term: Mutual) -> None:
        self.term = term
        self._said: dict[int, torch.Tensor] = {}

    def hear(self, number: int, logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The sum of all peers' losses against each other once all have spoken, and 0 before that.

        Args:
            number: who speaks, from 0 on; once a batch, and never before all have spoken of the one before it.
            logits: float [B, C].
            weights: float [B], not all 0.
        """
        self._said[number] = logits
        if len(self._said) < self.term.peers:
            return logits.sum() * 0.0
        peers, self._said = [self._said[k] for k in sorted(self._said)], {}
        return torch.stack(divergences.mutual_losses(peers, weights, self.term.temperature)).sum()


class Peer(LiveTerm):
    """See `terms.Mutual`: the cross-entropy of a peer's own head, and what it learns from the others.

    Args:
        circle: shared by all peers, whose batches must be the same.
        number: of the peer, from 0 on.
    """

    alone = True

    def __init__(self, circle: Circle, number: int) -> None:
        super().__init__()
        self._circle, self._number = circle, number

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of rows and of texts beside them, which weigh as much as a row does in the mean."""
        assert seen.head is not None
        term, rows = self._circle.term, len(seen.features)
        both = functional.dropout(torch.cat([seen.features, seen.beside]), term.drop)
        logits = seen.head(both)
        weights = torch.cat([seen.weights, seen.weights.mean().expand(len(seen.beside))])
        own = losses.cross_entropy(logits[:rows], seen.labels, seen.weights)
        return own + term.weight * self._circle.hear(self._number, logits, weights)


def peers(term: Mutual) -> Sequence[Peer]:
    """All students of a stage."""
    circle = Circle(term)
    return [Peer(circle, number) for number in range(term.peers)]
