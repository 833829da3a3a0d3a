"""What a study has fitted answers together: ensembles, as candidates like all others."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from study.place import recipe_text, same

from transfuse.advice.candidates import Candidate
from transfuse.fitted.model import load
from transfuse.methods.merging.ensemble import stacking_weights
from transfuse.study import run as running
from transfuse.study.assess import Judge, assess
from transfuse.study.choice import choose
from transfuse.study.ensembles import KEY, crossfit, distinct, ensembles
from transfuse.study.harm import harm_in, shown_to_hurt
from transfuse.study.recipe import Recipe
from transfuse.study.run import run
from transfuse.tasks.classify import Classify

NAME = "ensemble@enc+more"
TEXT = recipe_text("auto", backbones="[enc]")


@pytest.fixture(scope="module")
def study(place, tmp_path_factory):
    """A study of `methods: auto` whose choice falls on the ensemble with the source."""
    with pytest.MonkeyPatch.context() as patch:
        _choose_the_ensemble(patch)
        patch.setattr("transfuse.advice.candidates.MORE", ())
        return run(Recipe.from_text(TEXT, base=place), out=tmp_path_factory.mktemp("ensembles") / "out")


def _choose_the_ensemble(patch):
    usual = running.choose

    def choose(assessed, metric, gate):
        return next(a for a in assessed if a.candidate.id == NAME), usual(assessed, metric, gate)[1]

    patch.setattr(running, "choose", choose)


def test_ensembles_stand_among_the_candidates(study):
    known = {c["id"]: c for c in study.report["candidates"]}
    own = known[NAME]
    assert (own["family"], own["method"], own["sources"], own["status"]) == ("merging", "ensemble", ["more"], "done")
    members = own["members"]
    assert 2 <= len(members) <= 4
    assert sum(m["weight"] for m in members) == pytest.approx(1)
    assert {m["family"] for m in members}.isdisjoint({"baseline", "prompt"})
    assert all(m["sources"] in ([], ["more"]) for m in members)
    assert all(m["sources"] == [] for m in known["ensemble@enc"]["members"])
    assert own["seconds"]["fit"] == pytest.approx(sum(known[m["id"]]["seconds"]["fit"] for m in members), abs=0.01)
    kinds = {t["kind"]: t["against"] for t in own["transfer"]}
    assert (kinds["no transfer"], kinds["without source"]) == ("tfidf", "ensemble@enc")
    assert (study.out / "predictions" / f"{NAME}.parquet").exists()


def test_the_saved_model_is_its_members_together(study):
    model = load(study.out / "model")
    assert (model.path.kind, model.method) == ("ensemble", "ensemble")
    texts = ["redrosefire1", "navyblue7"]
    alone = [np.exp(member.log_probabilities(texts)) for member in model.path.members]
    pool = sum(w * p for w, p in zip(model.path.weights, alone, strict=True))
    assert model.path.temperature != 1
    hot = np.exp(np.log(pool) / model.path.temperature)
    assert model.predict_proba(texts) == pytest.approx(hot / hot.sum(1, keepdims=True), abs=1e-6)
    weights = [m["weight"] for m in next(c for c in study.report["candidates"] if c["id"] == NAME)["members"]]
    assert list(model.path.weights) == pytest.approx(weights)


def test_its_placebo_shuffles_the_sources_of_its_members(study):
    own = next(c for c in study.report["candidates"] if c["id"] == NAME)
    (entry,) = (t for t in own["transfer"] if t["kind"] == "placebo")
    assert entry["against"] == f"{NAME}~shuffled"
    shuffled = Candidate.from_dict(own).placebo()
    assert all(m.shuffled == bool(m.sources) for m, _ in shuffled.members)


def test_a_resume_gives_the_same_report_and_obeys_the_plan(study, place, tmp_path, monkeypatch):
    _choose_the_ensemble(monkeypatch)
    plan = json.loads((study.out / "plan.json").read_text(encoding="utf-8"))
    assert plan[KEY][NAME] == [m["id"] for m in _of(study.report)["members"]]
    (study.out / "report.json").unlink()
    again = run(Recipe.from_text(TEXT, base=place), out=study.out)
    assert same(again.report) == same(study.report)


def _of(report):
    return next(c for c in report["candidates"] if c["id"] == NAME)


def test_no_time_no_ensemble(place, tmp_path, monkeypatch):
    monkeypatch.setattr("transfuse.study.run.AFTER", 1e9)
    report = run(Recipe.from_text(TEXT, base=place), out=tmp_path / "o").report
    assert not [c for c in report["candidates"] if c["method"] == "ensemble"]


@pytest.mark.parametrize(("key", "there"), [("", False), ("true", True)])
def test_named_methods_are_put_together_where_it_is_asked_for(recipe, tmp_path, key, there):
    report = run(recipe("[probe, centroid]", "", backbones="[enc]", ensembles=key), out=tmp_path / "o").report
    assert [c["id"] for c in report["candidates"] if c["method"] == "ensemble"] == ["ensemble@enc"] * there


def test_prompts_and_baselines_make_no_ensemble(recipe, tmp_path):
    asked = recipe("[majority, {prompt: {shots: 0}}]", "", backbones="[dec]", ensembles="true")
    report = run(asked, out=tmp_path / "o").report
    assert [c["method"] for c in report["candidates"] if c["status"] == "done"] == ["tfidf", "majority", "prompt"]


def test_a_copy_is_no_second_member():
    """Three methods that are the same without a source do not outweigh the fourth."""
    (_, record, said), other = _done(PROBE, 0.8), _done(TUNED, 0.8, seed=1)
    copies = [(dataclasses.replace(PROBE, id=i), record, said + 1e-7) for i in ("centroid@b", "matching@b")]
    found = distinct([(PROBE, record, said), copies[0], other, copies[1]])
    assert [candidate.id for candidate, _, _ in found] == ["probe@b", "lora@b"]


def test_a_row_is_judged_by_weights_that_did_not_see_it():
    """A member that is right on one row alone gains nothing on that row by it."""
    labels = np.zeros(20, dtype=int)
    generator = np.random.default_rng(0)
    said = np.log(generator.dirichlet([2, 2], (2, 1, 20)))
    turned = said.copy()
    turned[0, 0, 7] = np.log([0.999, 0.001])
    weights = stacking_weights(said, labels), stacking_weights(turned, labels)
    assert weights[1][0] > weights[0][0]
    before, after = crossfit(said, labels, 0), crossfit(turned, labels, 0)
    here = np.log(np.exp(turned[:, 0, 7]).T @ _weights_of(before[0, 7], said[:, 0, 7]))
    assert after[0, 7] == pytest.approx(here, abs=1e-6)


def _weights_of(pool, members):
    """The weights by which two members' probabilities make a pool."""
    (a, b), p = np.exp(members)[:, 0], np.exp(pool[0])
    return np.array([(p - b) / (a - b), 1 - (p - b) / (a - b)])


def test_together_members_say_what_each_says_alone(study):
    """In fp32 they read a text over one trunk."""
    path = load(study.out / "model").path
    texts = [f"ruby{i}" for i in range(9)]
    alone = np.log(sum(w * np.exp(m.log_probabilities(texts)) for w, m in zip(path.weights, path.members, strict=True)))
    assert path.logits(texts) == pytest.approx(alone, abs=1e-5)


def test_an_ensemble_speaks_for_what_it_is_made_of(study):
    """Unless it is barred; what it cannot hold is chosen among as before."""
    known = {c["id"]: c for c in study.report["candidates"]}
    assert known["probe@enc"]["spoken_for"] in ("ensemble@enc", NAME)
    assert known["probe@enc+more"]["spoken_for"] == NAME
    assert known["tfidf"]["spoken_for"] == known[NAME]["spoken_for"] == ""


LABELS = np.arange(200) % 2
TASK = Classify(("a", "b"))
JUDGE = Judge(LABELS, "accuracy", 0)


def _done(candidate, share, seed=0):
    generator = np.random.default_rng(seed)
    hit = np.stack([generator.permutation(len(LABELS)) < share * len(LABELS) for _ in range(2)])
    said = np.where(np.where(hit, LABELS, 1 - LABELS)[..., None] == np.arange(2), 0.8, 0.2)
    return candidate, {"estimate": 1.0, "reason": ""}, np.log(said)


PROBE = Candidate("probe@b", "feature", "probe", "b", (), {})
TUNED = Candidate("lora@b", "parameter", "lora", "b", (), {})
OTHER = Candidate("probe@c", "feature", "probe", "c", (), {})
WITH = Candidate("probe@b+s", "feature", "probe", "b", ("s",), {})
BOTH = Candidate("ensemble@b", "merging", "ensemble", "b", (), {}, members=((PROBE, 0.5), (TUNED, 0.5)))


def test_a_member_with_a_luckier_mean_is_not_chosen():
    done = [_done(PROBE, 0.8), _done(TUNED, 0.9, seed=1), _done(BOTH, 0.89, seed=2), _done(OTHER, 0.7)]
    assessed = assess(done, Judge(LABELS, "accuracy", 0), TASK)
    chosen, barred = choose(assessed, "accuracy", "default")
    assert (chosen.candidate.id, barred) == ("ensemble@b", [])
    assert [one.record["spoken_for"] for one in assessed] == ["ensemble@b", "ensemble@b", "", ""]
    (entry,) = (t for t in assessed[2].record["transfer"] if t["kind"] == "best alone")
    assert entry["against"] == "lora@b"


def test_a_member_that_is_shown_to_be_better_bars_its_ensemble():
    done = [_done(PROBE, 0.6), _done(TUNED, 0.95, seed=1), _done(BOTH, 0.7, seed=2)]
    chosen, barred = choose(assess(done, Judge(LABELS, "accuracy", 0), TASK), "accuracy", "default")
    assert chosen.candidate.id == "lora@b"
    assert barred == [{"id": "ensemble@b", "reason": "hurts: best alone (lora@b)"}]


def _with(source):
    """The ensemble with a source."""
    own = dataclasses.replace(WITH, id=f"probe@b+{source}", sources=(source,))
    return dataclasses.replace(BOTH, id=f"ensemble@b+{source}", sources=(source,), members=((PROBE, 0.5), (own, 0.5)))


def _chosen(*done):
    assessed = assess(done, Judge(LABELS, "accuracy", 0), TASK)
    return assessed, *choose(assessed, "accuracy", "default")


def test_an_ensemble_does_not_speak_for_what_has_other_sources():
    """A better candidate without a source is not shut out by an ensemble that uses one."""
    assessed, chosen, _ = _chosen(_done(PROBE, 0.7), _done(TUNED, 0.8, seed=1), _done(_with("s"), 0.78, seed=2))
    assert chosen.candidate.id == "lora@b"
    assert [one.record["spoken_for"] for one in assessed] == ["", "", ""]


@pytest.mark.parametrize(("share", "chosen"), [(0.79, "probe@b"), (0.85, "ensemble@b+s")])
def test_where_one_candidate_has_no_source_an_ensemble_is_compared_with_it(share, chosen):
    """One makes no ensemble, and what a source does is asked all the same."""
    assessed, found, _ = _chosen(_done(PROBE, 0.8), _done(_with("s"), share, seed=1))
    (entry,) = (t for t in assessed[1].record["transfer"] if t["kind"] == "without source")
    assert entry["against"] == "probe@b"
    assert (found.candidate.id, assessed[1].record["yields_to"]) == (chosen, "" if share > 0.8 else "probe@b")


def test_of_many_sources_that_gain_by_luck_none_is_used():
    """A gain of three rows in a hundred: of one source it may stand, of three it is what luck gives."""
    plain = [_done(PROBE, 0.78, seed=9), _done(BOTH, 0.8)]
    gained = [_done(_with(source), 0.83, seed=i) for i, source in enumerate("stu", start=1)]
    _, chosen, _ = _chosen(*plain, gained[0])
    assert chosen.candidate.id == "ensemble@b+s"
    assessed, chosen, barred = _chosen(*plain, *gained)
    assert (chosen.candidate.id, barred) == ("ensemble@b", [])
    assert [one.record["yields_to"] for one in assessed] == ["", "", *["ensemble@b"] * 3]


def test_an_ensemble_does_not_gain_by_a_source_that_makes_its_candidates_worse():
    """Its other members are without the source, and may be what it gains by."""
    done = [_done(BOTH, 0.8), _done(_with("s"), 0.84, seed=1), _done(PROBE, 0.75, seed=2)]
    assert _chosen(*done)[1].candidate.id == "ensemble@b+s"
    assert _chosen(*done, _done(WITH, 0.72, seed=3))[1].candidate.id == "ensemble@b"
    assert _chosen(*done, _done(WITH, 0.77, seed=3))[1].candidate.id == "ensemble@b+s"


def test_a_source_is_judged_by_the_log_loss():
    """As many are right without it, by luck; what is said of those that are not tells more."""
    surer = _done(_with("s"), 0.8)
    surer = (*surer[:2], np.log(np.where(np.exp(surer[2]) > 0.5, 0.7, 0.3)))
    candidate, record, said = _done(BOTH, 0.805, seed=1)
    doubtful = np.log(np.where(np.exp(said) > 0.5, 0.97, 0.03))
    assessed, chosen, _ = _chosen(_done(PROBE, 0.75, seed=2), (candidate, record, doubtful), surer)
    assert chosen.candidate.id == "ensemble@b+s"
    assert [one.record["yields_to"] for one in assessed] == ["", "ensemble@b+s", ""]


@pytest.mark.parametrize(("share", "chosen"), [(0.81, "ensemble@b"), (0.86, "ensemble@b+s")])
def test_one_answer_that_is_too_sure_does_not_hide_what_a_source_gains(share, chosen):
    """The log loss alone says little then; the share that is right says it, where there is a gain."""
    candidate, record, said = _done(_with("s"), share, seed=1)
    row = np.flatnonzero(said[0].argmax(1) != LABELS)[0]
    said[0, row] = np.log([1e-7, 1.0])[:: 1 if LABELS[row] == 0 else -1]
    assessed, found, _ = _chosen(_done(PROBE, 0.75, seed=2), _done(BOTH, 0.8), (candidate, record, said))
    (told,) = (t for t in assessed[2].record["transfer"] if t["kind"] == "without source")
    assert told["log_loss"]["difference"] > 0 or share == 0.81
    assert told["log_loss"]["p"] > 0.2
    assert found.candidate.id == chosen


def test_a_baseline_with_a_lucky_mean_yields_to_what_knows_more():
    plain = Candidate("tfidf", "baseline", "tfidf", "", (), {})
    candidate, record, said = _done(plain, 0.8)
    doubtful = np.log(np.where(np.exp(said) > 0.5, 0.52, 0.48))
    done = [_done(PROBE, 0.7, seed=2), _done(TUNED, 0.7, seed=3), _done(BOTH, 0.78, seed=1)]
    assessed, chosen, _ = _chosen((candidate, record, doubtful), *done)
    assert (chosen.candidate.id, assessed[0].record["yields_to"]) == ("ensemble@b", "ensemble@b")
    assert _chosen((candidate, record, said), *done)[1].candidate.id == "tfidf"


def test_all_yield_to_the_one_that_is_chosen():
    """Where two sources are worth it, the second yields to the first, and nothing yields to the second."""
    plain = _done(Candidate("tfidf", "baseline", "tfidf", "", (), {}), 0.6)
    done = [_done(PROBE, 0.75, seed=2), _done(BOTH, 0.78), _done(_with("s"), 0.85, seed=1), _done(_with("t"), 0.9)]
    assessed, chosen, _ = _chosen(plain, *done)
    assert chosen.candidate.id == "ensemble@b+t"
    assert {one.record["yields_to"] for one in assessed} == {"", "ensemble@b+t"}
    assert assessed[0].record["yields_to"] == "ensemble@b+t"


def test_what_makes_candidates_worse_is_no_try_that_a_good_source_pays_for():
    done = [_done(PROBE, 0.75, seed=2), _done(BOTH, 0.8), _done(_with("s"), 0.84, seed=1)]
    worse = [_done(_with(source), 0.79, seed=i) for i, source in enumerate("tuvw", start=5)]
    singles = [_done(dataclasses.replace(WITH, id=f"probe@b+{t}", sources=(t,)), 0.72, seed=ord(t)) for t in "tuvw"]
    assert _chosen(*done, *worse)[1].candidate.id == "ensemble@b"
    assert _chosen(*done, *worse, *singles)[1].candidate.id == "ensemble@b+s"


def test_a_source_that_is_shown_to_help_is_used_among_many():
    gained = [_done(_with(source), 0.81, seed=i) for i, source in enumerate("tu", start=1)]
    _, chosen, _ = _chosen(_done(PROBE, 0.74, seed=9), _done(BOTH, 0.75), *gained, _done(_with("s"), 0.95, seed=3))
    assert chosen.candidate.id == "ensemble@b+s"


def test_a_source_that_is_shown_to_hurt_bars_what_hides_its_harm():
    """It hurts the probe, and `lora` with it has the best mean of all."""
    tuned = dataclasses.replace(TUNED, id="lora@b+s", sources=("s",))
    assessed, chosen, barred = _chosen(
        _done(PROBE, 0.8), _done(WITH, 0.5, seed=1), _done(TUNED, 0.8, seed=2), _done(tuned, 0.82, seed=3)
    )
    assert chosen.candidate.id in ("probe@b", "lora@b")
    assert [(b["id"], b.get("harm")) for b in barred] == [
        ("probe@b+s", None),
        ("lora@b+s", {"sources": ("s",), "hurts": 1, "count": 2}),
    ]
    two = dataclasses.replace(tuned, id="lora@b+s+t", sources=("s", "t"))
    assessed = assess([_done(PROBE, 0.8), _done(WITH, 0.5), _done(TUNED, 0.8), _done(two, 0.81)], JUDGE, TASK)
    harmful = shown_to_hurt(one.record for one in assessed)
    assert harm_in(("s", "t"), harmful) == harmful[0]
    assert harm_in(("t",), harmful) is None


def test_one_verdict_against_a_source_that_gains_in_the_mean_bars_nothing():
    tuned = dataclasses.replace(TUNED, id="lora@b+s", sources=("s",))
    done = [_done(PROBE, 0.8), _done(WITH, 0.7, seed=1), _done(TUNED, 0.7, seed=2)]
    assessed = assess([*done, _done(tuned, 0.9, seed=3)], JUDGE, TASK)
    assert [t["verdict"] for one in assessed for t in one.record["transfer"] if t["kind"] == "without source"] == [
        "hurts",
        "helps",
    ]
    assert shown_to_hurt(one.record for one in assessed) == []


def test_no_ensemble_pools_what_uses_a_source_that_is_shown_to_hurt(monkeypatch):
    """The probe with `s` is shown to be worse; `lora` with it is not, and would be in the pool."""
    tuned = dataclasses.replace(TUNED, id="lora@b+s", sources=("s",))
    useful = dataclasses.replace(TUNED, id="lora@b+t", sources=("t",))
    done = [_done(PROBE, 0.8), _done(WITH, 0.5, seed=1), _done(TUNED, 0.8, seed=2)]
    for _, record, _ in done + (more := [_done(tuned, 0.8, seed=3), _done(useful, 0.8, seed=4)]):
        record |= {"seconds": {"fit": 1.0, "predict_per_1000": 1.0}, "peak_memory_mib": 1, "trainable_parameters": 1}
    ledger = SimpleNamespace(plan={}, keep_plan=lambda plan: None)
    data = SimpleNamespace(task=TASK, splits=SimpleNamespace(fits=[0]), test=[])
    monkeypatch.setattr("transfuse.study.ensembles.keep", lambda *_: None)
    found = ensembles(assess([*done, *more], JUDGE, TASK), LABELS, data, ledger, 1e9, 0)
    assert {c.id for c, _, _ in found} == {"ensemble@b", "ensemble@b+t"}
