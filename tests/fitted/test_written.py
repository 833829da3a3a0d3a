"""What a fitted model that writes answers: all at once, in parts and piece by piece it is the same."""

import pytest
import tiny

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.fitted.model import remember
from transfuse.fitted.recalled import LookupPath
from transfuse.fitted.writer import WriterPath
from transfuse.fitted.written import FittedWriter
from transfuse.tasks.writing import Writing


def writer(**other):
    form = Form.plain("{text}:")
    path = WriterPath(remember(tiny.load("llama")), form=form, decoding=Decoding(10), limit=64, **other)
    return FittedWriter(Writing("generate", max_new_tokens=10), path, method="prompt")


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_a_stream_shows_the_demonstrations_that_its_request_has(spread):
    memory = LookupPath(["go on", "the good", "the bad"], ["yes", "so", "no"])
    fitted = writer(memory=memory, shots=2, spread=spread)
    (answer,) = fitted.predict(["go and be good"])
    assert "".join(fitted.stream("go and be good")) == answer
    assert answer != writer().predict(["go and be good"])[0], "the demonstrations matter"


def test_draws_go_on_from_part_to_part(monkeypatch):
    whole = writer().predict(["go"] * 10, temperature=1.0)
    assert len(set(whole)) > 7
    monkeypatch.setattr("transfuse.fitted.parts.AT_ONCE", 4)
    assert writer().predict(["go"] * 10, temperature=1.0) == whole
