"""The path of a prompt: contextual calibration by hand."""

import numpy as np
import tiny

from transfuse.backbones.scoring import LabelScorer
from transfuse.fitted.model import remember
from transfuse.fitted.paths import log_softmax
from transfuse.fitted.prompted import PromptPath

TEMPLATE = "Review: {text}\nSentiment:"
WORDS = ("good", "the bad")


def path(bias, **other):
    backbone = remember(tiny.load("llama"))
    return PromptPath(backbone, prefix="", template=TEMPLATE, words=WORDS, limit=48, bias=bias, **other)


def scores(texts):
    return LabelScorer(tiny.load("llama"), "", TEMPLATE, WORDS, 48, "fp32").score(texts)


def test_without_calibration_the_scores_decide():
    found = path(np.zeros(2)).log_probabilities(["the good", "x"])
    np.testing.assert_allclose(found, log_softmax(scores(["the good", "x"])), atol=1e-9)


def test_calibration_divides_by_the_mean_of_content_free_inputs():
    free = np.exp(log_softmax(scores(["N/A", "", "[MASK]"])))
    calibrated = path(None)
    np.testing.assert_allclose(calibrated.bias, np.log(free.mean(0)), atol=1e-6)
    raw = np.exp(log_softmax(scores(["the good"]))) / free.mean(0)
    np.testing.assert_allclose(np.exp(calibrated.log_probabilities(["the good"])), raw / raw.sum(), atol=1e-6)


def test_a_temperature_flattens():
    sharp, flat = (path(np.zeros(2), temperature=t).log_probabilities(["the good"]) for t in (1.0, 100.0))
    assert np.ptp(flat) < np.ptp(sharp) / 50
