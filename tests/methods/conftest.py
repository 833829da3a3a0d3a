"""One way to fit a method as a study does, and the backbones that suit it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import toy

from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.fitted import FittedModel
from transfuse.fitted.paths import Path
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify


@dataclasses.dataclass
class Bench:
    """Fits methods on toy data."""

    task: Classify = toy.TASK
    limit: int = 96

    def engine(self, kind: str | None) -> Engine:
        backbone = self.backbone(kind)
        return Engine(None if backbone is None else Trunk(backbone, "fp32", self.limit), len(self.task.labels))

    @staticmethod
    def backbone(kind: str | None) -> Backbone | None:
        return None if kind is None else toy.backbone(kind)

    def path(
        self,
        name: str,
        kind: str | None,
        target: Examples,
        *,
        extra: dict[str, Examples] | None = None,
        seed: int = 0,
        engine: Engine | None = None,
        **settings: Any,
    ) -> Path:
        data = TransferData(target, extra or {})
        return (engine or self.engine(kind)).fit(
            method(name).plan(self.task, self.backbone(kind), data, seed, **settings)
        )

    def model(self, name: str, kind: str | None, target: Examples, **other: Any) -> FittedModel:
        backbone = self.backbone(kind)
        fields = {} if backbone is None else {
            "reference": backbone.reference,
            "resolved": backbone.reference,
            "revision": backbone.revision,
            "licence": backbone.licence,
            "family": backbone.family,
        }  # fmt: skip
        return FittedModel(self.task, self.path(name, kind, target, **other), method=name, backbone=fields)

    def accuracy(self, path: Path, test: Examples) -> float:
        found = path.log_probabilities(test.texts).argmax(1)
        return float((found == self.task.encode(test.labels or ())).mean())


@pytest.fixture
def bench() -> Bench:
    return Bench()
