"""What fits into the budget runs; what does not says what it would take."""

from __future__ import annotations

import pytest

from transfuse.advice.candidates import expand
from transfuse.advice.planner import SHARE, plan
from transfuse.engine.cost import Cost


def decide(candidates, each, budget, *, fits=1, finals=None, trunk=None, shared=None):
    costs = {
        c.id: Cost(dict((trunk or {}).get(c.id, {})), (shared or {}).get(c.id, 0.0), each.get(c.id, 1.0))
        for c in candidates
    }
    last = {c.id: (finals or {}).get(c.id, 0.0) for c in candidates}
    return {p.candidate.id: p for p in plan(candidates, costs, fits, last, budget)}


@pytest.fixture
def candidates():
    return expand([("probe", {}), ("finetune", {}), ("majority", {})], ["enc"], ["a"], lambda _: False, lambda _: 1)


def test_everything_runs_where_there_is_room(candidates):
    planned = decide(candidates, {}, 100)
    assert [p.reason for p in planned.values()] == [""] * 6
    assert list(planned) == [c.id for c in candidates], "the order stays"


def test_what_does_not_fit_is_skipped_with_its_time(candidates):
    planned = decide(candidates, {"finetune@enc": 500.0}, 100)
    assert planned["finetune@enc"].seconds == 500
    assert planned["finetune@enc"].reason.startswith("would take about 501 s with and without its source; ")
    assert "of the budget were left" in planned["finetune@enc"].reason
    assert planned["probe@enc+a"].reason == ""
    assert planned["majority"].reason == ""


def test_a_skipped_counterpart_takes_the_candidate_with_the_source_along(candidates):
    planned = decide(candidates, {"finetune@enc": 500.0}, 100)
    assert planned["finetune@enc+a"].reason, "it could not be compared"


def test_a_candidate_with_a_source_brings_its_counterpart(candidates):
    """The candidate comes first here, and both fit together or neither runs."""
    assert decide(candidates, {"finetune@enc+a": 40.0, "finetune@enc": 40.0}, 100)["finetune@enc"].reason == ""
    planned = decide(candidates, {"finetune@enc+a": 60.0, "finetune@enc": 60.0}, 100)
    for name in ("finetune@enc+a", "finetune@enc"):  # each alone would fit
        assert planned[name].reason.startswith("would take about 120 s with and without its source; ")
        assert planned[name].seconds == 60


def test_baselines_run_whatever_the_budget(candidates):
    planned = decide(candidates, {}, -50)
    assert {name for name, p in planned.items() if not p.reason} == {"tfidf", "majority"}
    assert all("0 s of the budget" in p.reason for p in planned.values() if p.reason)


def test_every_fit_counts(candidates):
    assert decide(candidates, {"probe@enc": 10.0}, 100, fits=5)["probe@enc"].seconds == 50
    assert decide(candidates, {"probe@enc": 10.0}, 50, fits=5)["probe@enc"].reason


def test_a_shared_stage_is_paid_once(candidates):
    assert decide(candidates, {"probe@enc": 1.0}, 100, fits=5, shared={"probe@enc": 30.0})["probe@enc"].seconds == 35


def test_a_cached_pass_is_paid_once(candidates):
    key = {("features", None, "target"): 20.0}
    planned = decide(candidates, {}, 100, trunk={"probe@enc": key, "finetune@enc": key})
    assert planned["probe@enc"].seconds == 21
    assert planned["finetune@enc"].seconds == 1
    refused = decide(candidates, {"probe@enc": 500.0}, 100, trunk={"probe@enc": key, "finetune@enc": key})
    assert refused["finetune@enc"].seconds == 21, "what was refused has cached nothing"


def test_room_for_the_final_fit_is_kept(candidates):
    assert decide(candidates, {"probe@enc": 60.0}, 100, finals={"probe@enc": 40.0})["probe@enc"].reason
    assert not decide(candidates, {"probe@enc": 60.0}, 120, finals={"probe@enc": 40.0})["probe@enc"].reason


@pytest.mark.parametrize("budget", [10, 30, 60, 200])
def test_the_plan_stays_inside_its_share(candidates, budget):
    each = {"probe@enc": 7.0, "probe@enc+a": 11.0, "finetune@enc": 23.0, "finetune@enc+a": 31.0}
    planned = decide(candidates, each, budget)
    assert sum(p.seconds for p in planned.values() if not p.reason and "@" in p.candidate.id) <= SHARE * budget
