"""Fixtures of all tests of remote models: a cache of their own, no prices of the user's, models that ask a stand-in."""

from __future__ import annotations

import pytest
from remote_stand_in import RemoteStandIn

from transfuse.backbones.remote.model import Settings, open_model
from transfuse.backbones.remote.purse import Purse
from transfuse.backbones.remote.requests import Message, Request
from transfuse.backbones.remote.retries import Patience

PRICES = """
[[price]]
service = "127.0.0.1"
models = ["m", "m-*"]
input = 0.15
output = 0.60
"""
QUICK = Patience(first=0.005, longest=0.02)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Nothing of the user's is read or written."""
    monkeypatch.setenv("TRANSFUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRANSFUSE_PRICES", str(tmp_path / "prices.toml"))
    (tmp_path / "prices.toml").write_text(PRICES)
    return tmp_path


@pytest.fixture
def opened(own, monkeypatch):
    """``opened(service, reference, money=..., tokens=..., SETTING=...)``: a model that asks the stand-in."""
    models = []

    def call(
        service: RemoteStandIn,
        reference: str = "openai:m",
        *,
        money=None,
        tokens=None,
        purse="p",
        patience=QUICK,
        **more,
    ):
        service.use(monkeypatch)
        settings = Settings(patience=patience, **{"timeout_seconds": 5.0, **more})
        model = open_model(reference, Purse.of(purse, money, tokens), settings)
        models.append(model)
        return model

    yield call
    for model in models:
        model.close()
        model.answers.close()


def question(text: str, **more) -> Request:
    return Request((Message("system", "Be brief."), Message("user", text)), **{"max_tokens": 20, **more})


def questions(count: int, **more) -> list[Request]:
    return [question(f"question {i}", **more) for i in range(count)]
