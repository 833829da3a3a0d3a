"""pass@k: programs that are drawn for each problem."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import toy

import transfuse
from transfuse.backbones.decoding import Decoding
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.errors import RecipeError
from transfuse.evaluation import sandbox
from transfuse.methods.catalogue import method
from transfuse.study import programs
from transfuse.study.programs import drawn
from transfuse.tasks.writing import Writing


class Writes:
    """Answers "good" to every third request that it is asked."""

    def __init__(self) -> None:
        self.decoding, self.asked = Decoding(8, beams=3), []

    def with_decoding(self, decoding):
        other = copy.copy(self)
        other.decoding = decoding
        return other

    def answers(self, texts, precision):
        self.asked.append((list(texts), self.decoding))
        return np.array(["good" if i % 3 == 0 else "bad" for i in range(len(texts))], dtype=object)


def test_pass_at_k_of_what_was_drawn(monkeypatch):
    """Six draws of each problem, two of which pass: 2/6 for one, 1 - C(4, 5) / C(6, 5) = 1 for five."""
    monkeypatch.setattr(programs, "program_statistics", lambda e, a: np.stack([a == "good", np.ones(len(a))], 1))
    path = Writes()
    found = drawn(path, np.array(["x", "y"], dtype=object), ["p", "q"], 6, 7, "fp32")
    assert list(found) == ["pass_at_1", "pass_at_5"]
    np.testing.assert_allclose(found["pass_at_1"], [[1 / 3, 1], [1 / 3, 1]])
    np.testing.assert_allclose(found["pass_at_5"], [[1, 1], [1, 1]])
    ((texts, decoding),) = path.asked
    assert texts == ["p"] * 6 + ["q"] * 6
    assert (decoding.temperature, decoding.beams, decoding.seed) == (0.8, 1, 7)
    assert drawn(path, np.array([]), [], 0, 7, "fp32") == {}


@pytest.mark.skipif(not sandbox.kind(), reason="neither bubblewrap nor namespaces work here")
def test_programs_of_a_decoder_are_drawn_and_run():
    task, backbone = Writing("code", max_new_tokens=2, runs=True), toy.backbone("taught")
    rows = Examples(("red", "blue"), ("good", "bad"), checks=("pass", "pass"))
    engine = Engine(Trunk(backbone, "fp32", 64), 0)
    path = engine.fit(method("prompt", "code").plan(task, backbone, TransferData(rows), 0, shots=0))
    first, again = (drawn(path, task.encode(rows), rows.texts, 5, 3, "fp32") for _ in range(2))
    assert set(first) == {"pass_at_1", "pass_at_5"}
    np.testing.assert_array_equal(first["pass_at_1"], again["pass_at_1"])
    assert ((first["pass_at_5"] >= first["pass_at_1"])[:, 0]).all()


def test_programs_are_not_drawn_where_none_may_run(tmp_path):
    text = """
task: {kind: code, input: prompt, output: body, tests: test, samples: 5}
target: {data: code.csv, test: {rows: 6}}
methods: [lookup]
"""
    with pytest.raises(RecipeError, match=r"task\.samples.*programs that are drawn are run"):
        transfuse.Recipe.from_text(text, tmp_path)
