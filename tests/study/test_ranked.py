"""The order in which backbones are trained, after their probes have run."""

from pathlib import Path

import numpy as np
import pytest

from transfuse.advice.candidates import expand
from transfuse.study.decide import _afterwards
from transfuse.study.prepare import prepare
from transfuse.study.ranked import by_evidence, leader
from transfuse.study.recipe import Recipe
from transfuse.study.workshop import validation_rows

RECIPE = Path(__file__).parents[2] / "examples" / "requests.yaml"


class Kept:
    """A ledger that knows some predictions."""

    def __init__(self, data):
        self.data, self.known = data, {}

    def add(self, name, right):
        rows, task = validation_rows(self.data), self.data.task
        labels = task.encode([self.data.train.labels[i] for i in rows])
        log_p = np.full((self.data.splits.repeats, len(rows), len(task.labels)), -3.0)
        for at, label in enumerate(labels):
            log_p[:, at, label if at < right * len(rows) else (label + 1) % len(task.labels)] = -0.1
        flat = log_p.reshape(-1, log_p.shape[-1])
        self.known[name] = {f"log_p {label}": flat[:, i] for i, label in enumerate(task.labels)}

    def read(self, name):
        return {"seconds": {"fit": 8.0}} if name in self.known else None

    def has_predictions(self, name):
        return name in self.known

    def read_predictions(self, name):
        return self.known[name]


@pytest.fixture(scope="module")
def data():
    return prepare(Recipe.from_file(RECIPE))


def candidates():
    return expand(
        [("probe", {}), ("finetune", {}), ("lora", {}), ("centroid", {})],
        ["small", "large"],
        ["more"],
        is_decoder=lambda b: False,
        parameters=lambda b: {"small": 1, "large": 2}[b],
    )


def order(found):
    return [c.id for c in found if c.family == "parameter"]


LARGE_FIRST = [f"{m}@{b}{s}" for m in ("finetune", "lora") for b in ("large", "small") for s in ("+more", "")]


@pytest.mark.parametrize(("small", "large"), [(0.6, 0.6), (0.6, 0.62), (0.4, 0.9)])
def test_the_larger_comes_first_unless_the_smaller_is_shown_to_be_better(data, small, large):
    ledger = Kept(data)
    assert order(by_evidence(candidates(), data, ledger, 0)) == LARGE_FIRST
    ledger.add("probe@small", small)
    assert order(by_evidence(candidates(), data, ledger, 0)) == LARGE_FIRST
    ledger.add("probe@large", large)
    assert order(by_evidence(candidates(), data, ledger, 0)) == LARGE_FIRST


def test_a_better_probe_comes_first_and_nothing_else_moves(data):
    ledger, before = Kept(data), candidates()
    ledger.add("probe@small", 0.9)
    ledger.add("probe@large", 0.4)
    after = by_evidence(before, data, ledger, 0)
    assert order(after) == [
        f"{m}@{b}{s}" for m in ("finetune", "lora") for b in ("small", "large") for s in ("+more", "")
    ]
    assert [(c.family, c.method) for c in after] == [(c.family, c.method) for c in before]
    assert by_evidence(after, data, ledger, 0) == after


def test_the_source_with_the_best_probe_comes_first_and_none_keeps_its_place(data):
    found = expand([("probe", {}), ("finetune", {}), ("centroid", {})], ["b"], ["x", "y"], lambda b: False, lambda b: 1)
    ledger = Kept(data)
    assert by_evidence(found, data, ledger, 0) == found
    for name, right in (("probe@b", 0.5), ("probe@b+x", 0.5), ("probe@b+y", 0.6), ("probe@b+x+y", 0.55)):
        ledger.add(name, right)
    after = [c.id for c in by_evidence(found, data, ledger, 0)]
    expected = {
        "finetune": ["finetune@b+y", "finetune@b+x+y", "finetune@b+x", "finetune@b"],
        "centroid": ["centroid@b", "centroid@b+y", "centroid@b+x+y", "centroid@b+x"],
    }
    for name, ids in expected.items():
        assert [i for i in after if i.startswith(name)] == ids


def test_the_leader_is_the_best_of_those_that_have_run(data):
    ledger, known = Kept(data), candidates()
    assert leader(known, data, ledger, 0) is None
    for name, right in (("centroid@small", 0.5), ("probe@small", 0.5), ("probe@large", 0.4)):
        ledger.add(name, right)
    assert leader(known, data, ledger, 0).id == "probe@small", "of equal ones the first"
    ledger.add("lora@large+more", 0.6)
    assert leader(known, data, ledger, 0).id == "lora@large+more"


def test_time_is_kept_for_a_placebo_only_where_the_best_so_far_uses_a_source(data):
    ledger, known, each = Kept(data), candidates(), 8.0 / len(data.splits.fits)
    assert _afterwards(known, data, ledger, 0) == 0
    ledger.add("probe@small", 0.5)
    ledger.add("probe@small+more", 0.4)
    assert _afterwards(known, data, ledger, 0) == pytest.approx(2 * each)
    ledger.add("probe@large+more", 0.6)
    assert _afterwards(known, data, ledger, 0) == pytest.approx(3 * each + 2 * 8.0)
