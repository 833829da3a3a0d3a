"""The precision is chosen by speed among those that agree."""

import pytest

from transfuse.errors import ModelError
from transfuse.fitted.trial import Trial, fastest, offered, trials

TEXTS = ["the good", "the bad", "x"]
PLAIN = Trial("fp32", 1.0, 1.0)


def test_the_fastest_that_agrees_is_taken():
    found = [PLAIN, Trial("bf16", 1.5, 1.0), Trial("int8", 2.5, 0.99)]
    assert fastest(found).precision == "int8"
    assert fastest([PLAIN, Trial("bf16", 1.5, 1.0), Trial("int8", 2.5, 0.9)]).precision == "bf16"
    assert fastest([PLAIN, Trial("bf16", 1.01, 1.0), Trial("int8", 0.8, 1.0)]).precision == "fp32"


@pytest.mark.parametrize("name", ["tfidf", "encoder probe", "few-shot prompt"])
def test_fp32_is_always_tried(model, name):
    fitted = model(name)
    assert offered(fitted.path)[0] == "fp32"
    (first, *_) = trials(fitted.path, TEXTS)
    assert (first.precision, first.speedup, first.agreement) == ("fp32", 1.0, 1.0)
    assert fitted.fastest(TEXTS).precision in ("fp32", "bf16", "int8")


def test_a_precision_that_a_model_does_not_have_is_refused(model):
    with pytest.raises(ModelError, match="precision 'fp16'\nExpected: fp32 or bf16 or int8"):
        model("encoder probe").predict(TEXTS, precision="fp16")
    with pytest.raises(ModelError, match="precision 'int8'\nExpected: fp32 or bf16 for"):
        model("few-shot prompt").predict(TEXTS, precision="int8")
