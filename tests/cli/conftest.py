"""A model that is no model, and a way to run commands as the shell would."""

from __future__ import annotations

import dataclasses
import io
import sys

import numpy as np
import pytest

import transfuse.fitted
from transfuse.cli import main
from transfuse.fitted.trial import Trial


class FakeModel:
    """Says positive where a text holds "good"."""

    labels = ("negative", "positive")
    path = None

    def __init__(self) -> None:
        self.manifest = {"task": {"input": "text", "label": "rating", "bins": {"negative": "< 0", "positive": "> 0"}}}

    def fastest(self, texts):
        return Trial("int8", 2.5, 1.0)

    def predict_proba(self, texts, *, precision="fp32"):
        self.precision = precision
        positive = np.array([0.9 if "good" in text else 0.25 for text in texts])
        return np.stack([1 - positive, positive], axis=1)


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def model(monkeypatch):
    """Every folder holds the fake model; `model.asked` lists the folders that were loaded."""
    fake = FakeModel()
    fake.asked = []
    monkeypatch.setattr(transfuse.fitted, "load", lambda folder: fake.asked.append(folder) or fake)
    return fake


@pytest.fixture
def command(capsys, monkeypatch):
    """``command("predict", "m", stdin=b"...")`` -> Outcome, in an empty English environment."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "TRANSFUSE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call
