"""Fitted models as speakers: one that chooses a label, from a trunk where it can, and any other that answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.fitted import FittedModel, FittedWriter
from transfuse.fitted.head import HeadPath
from transfuse.fitted.shared import SharedTrunk
from transfuse.teams.contract import Contract
from transfuse.teams.role import Asked, Lane, Reply, Speaker
from transfuse.teams.safety import shown

TOGETHER = 64
"""Most calls of a pass; a backbone splits it into batches of its own."""


class Trunks:
    """The lanes of roles that choose labels: one for each backbone."""

    def __init__(self) -> None:
        self._lanes: dict[str, _TrunkLane] = {}

    def lane(self, path: HeadPath) -> Lane:
        """The lane of a path's backbone, that knows the path from now on."""
        revision = path.backbone.revision
        if revision not in self._lanes:
            self._lanes[revision] = _TrunkLane(SharedTrunk(path.backbone))
        self._lanes[revision].trunk.add(path)
        return self._lanes[revision]


@dataclasses.dataclass(eq=False)
class _TrunkLane:
    """Roles that branch from one trunk."""

    trunk: SharedTrunk
    together = TOGETHER
    spare = 1

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        speakers = [speaker for speaker, _ in calls if isinstance(speaker, Chooses)]
        assert len(speakers) == len(calls)
        texts = [one.text(asked) for one, (_, asked) in zip(speakers, calls, strict=True)]
        paths = [one.model.path for one in speakers if isinstance(one.model.path, HeadPath)]
        found = self.trunk.log_probabilities(paths, texts)
        lengths = [self._read(path, text) for path, text in zip(paths, texts, strict=True)]
        return [one.reply(row, read) for one, row, read in zip(speakers, found, lengths, strict=True)]

    def _read(self, path: HeadPath, text: str) -> int:
        return len(self.trunk.backbone.tokens([text], path.template, path.limit)[0])

    def forget(self) -> None:
        self.trunk.forget()


@dataclasses.dataclass(eq=False)
class Chooses:
    """A fitted model that chooses a label.

    Args:
        model: the fitted model.
        field: the name of the label in the role's contract.
        trunks: of the team; None lets the model read by itself.
    """

    model: FittedModel
    field: str
    trunks: Trunks | None = None
    together = TOGETHER
    spare = 1

    def __post_init__(self) -> None:
        path = self.model.path
        shared = self.trunks is not None and SharedTrunk.suits(path)
        self._lane: Lane = self.trunks.lane(path) if shared and self.trunks else self  # type: ignore[arg-type]

    @property
    def lane(self) -> Lane:
        """The trunk, where the model branches from one."""
        return self._lane

    def text(self, asked: Asked) -> str:
        """What the model reads."""
        backbone = getattr(self.model.path, "backbone", None)
        return shown(asked.given, None if backbone is None else backbone.tokenizer)

    def reply(self, log_probabilities: np.ndarray, read: int = 0) -> Reply:
        """The likeliest label, with the log-probabilities [C] of all."""
        labels = self.model.labels
        scores = {label: float(value) for label, value in zip(labels, log_probabilities, strict=True)}
        return Reply({self.field: labels[int(log_probabilities.argmax())]}, scores, read=read)

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        """As a lane of its own: what the model says of each text."""
        found = self.model.path.log_probabilities([self.text(asked) for _, asked in calls])
        return [self.reply(row) for row in found]

    def forget(self) -> None:
        """Nothing is remembered."""

    def describe(self) -> dict[str, Any]:
        """The model's manifest, whose files have hashes."""
        return {"fitted": identity_of(self.model)}


@dataclasses.dataclass(eq=False)
class Recalls:
    """Any other fitted model whose answers are text: a lookup, a span of a passage.

    Args:
        model: the fitted model.
        contract: of the role.
    """

    model: FittedWriter
    contract: Contract
    together = TOGETHER
    spare = 1

    @property
    def lane(self) -> Lane:
        """Itself."""
        return self

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        """What the model says."""
        said = self.model.predict([shown(asked.given) for _, asked in calls])
        return [Reply(self.contract.of_column(str(text))) for text in said]

    def forget(self) -> None:
        """Nothing is remembered."""

    def describe(self) -> dict[str, Any]:
        """The model's manifest."""
        return {"fitted": identity_of(self.model)}


def identity_of(model: FittedModel | FittedWriter) -> dict[str, Any]:
    """What decides a fitted model's answers: its task, path and backbone's content, and its own numbers."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(model.path.tensors().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).tobytes())
    revision = model.backbone.get("revision", "")
    return {"path": model.path.describe(), "backbone": revision, "numbers": digest.hexdigest()}
