"""bf16 only where the processor has it, it is faster and it agrees."""

import numpy as np
import pytest
import tiny

from transfuse.backbones import precision
from transfuse.backbones.huggingface import Backbone

TEXTS = ["the good, the bad", "x", "a longer text", "good"]


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a pass of each precision seems to take."""
    seconds = {"fp32": 2.0, "bf16": 1.0}
    state = {"now": 0.0}
    features = Backbone.features

    def timed(self, tokens, layers, kind="fp32"):
        state["now"] += seconds[kind]
        return features(self, tokens, layers, kind)

    monkeypatch.setattr(precision, "processor_has_bf16", lambda: True)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: state["now"])
    monkeypatch.setattr(Backbone, "features", timed)
    monkeypatch.setattr(precision, "AGREEMENT", 0.9)  # a tiny random model is rougher than a trained one
    return seconds


def test_bf16_where_it_is_faster_and_agrees(clock):
    found = precision.choose(tiny.load("llama"), TEXTS, 64)
    assert found["precision"] == "bf16"
    assert found["speedup"] == 2.0
    assert 0.9 <= found["cosine"] < 1.0


def test_fp32_where_bf16_is_no_faster(clock):
    clock["bf16"] = 2.0
    assert precision.choose(tiny.load("llama"), TEXTS, 64)["precision"] == "fp32"


def test_fp32_where_bf16_does_not_agree(clock, monkeypatch):
    timed = Backbone.features

    def wrong(self, tokens, layers, kind="fp32"):
        found = timed(self, tokens, layers, kind)
        return found if kind == "fp32" else np.random.default_rng(0).normal(size=found.shape).astype(np.float32)

    monkeypatch.setattr(Backbone, "features", wrong)
    found = precision.choose(tiny.load("llama"), TEXTS, 64)
    assert found["precision"] == "fp32"
    assert found["speedup"] == 2.0
    assert found["cosine"] < 0.9


def test_fp32_without_a_trial_where_the_processor_has_no_bf16(monkeypatch):
    monkeypatch.setattr(precision, "processor_has_bf16", lambda: False)
    monkeypatch.setattr(Backbone, "features", lambda *_: pytest.fail("a pass was made"))
    assert precision.choose(tiny.load("llama"), TEXTS, 64) == {"precision": "fp32", "speedup": 0.0, "cosine": 0.0}
