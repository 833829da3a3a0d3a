"""Comparison and choice."""

from __future__ import annotations

import numpy as np
import pytest

from transfuse.advice.candidates import Candidate
from transfuse.errors import StudyError
from transfuse.study.assess import Judge, assess
from transfuse.study.choice import choose
from transfuse.tasks.classify import Classify

LABELS = np.arange(200) % 2
TASK = Classify(("a", "b"))
BASELINE = Candidate("tfidf", "baseline", "tfidf", "", (), {})
PROBE = Candidate("probe@b", "feature", "probe", "b", (), {})
SOURCE = Candidate("probe@b+s", "feature", "probe", "b", ("s",), {})
TUNED = Candidate("finetune@b", "parameter", "finetune", "b", (), {})


def right(share: float, seed: int = 0, repeats: int = 2) -> np.ndarray:
    """Log-probabilities [R, N, 2] of which a share is right."""
    generator = np.random.default_rng(seed)
    hit = np.stack([generator.permutation(len(LABELS)) < share * len(LABELS) for _ in range(repeats)])
    says = np.where(hit, LABELS, 1 - LABELS)
    return np.log(np.where(says[..., None] == np.arange(2), 0.8, 0.2))


def done(candidate, share, fit=1.0, seed=0):
    record = {"status": "done", "reason": "", "estimate": fit, "seconds": {"fit": 1.0, "predict_per_1000": 1.0}}
    return candidate, record, right(share, seed)


def judged(*candidates):
    return assess(candidates, Judge(LABELS, "accuracy", 0), TASK)


def test_figures_and_comparisons():
    assessed = judged(done(BASELINE, 0.6), done(PROBE, 0.9), done(SOURCE, 0.905), done(TUNED, 0.75))
    records = {one.candidate.id: one.record for one in assessed}
    for record in records.values():
        figure = record["validation"]["accuracy"]
        assert figure["low"] < figure["value"] < figure["high"]
    assert records["probe@b"]["validation"]["accuracy"]["value"] == pytest.approx(0.9)
    assert records["tfidf"]["transfer"] == []

    def verdicts(name):
        return {t["kind"]: (t["against"], t["verdict"]) for t in records[name]["transfer"]}

    assert verdicts("probe@b") == {"no transfer": ("tfidf", "helps")}
    assert verdicts("probe@b+s") == {"no transfer": ("tfidf", "helps"), "without source": ("probe@b", "no evidence")}
    assert verdicts("finetune@b") == {"no transfer": ("tfidf", "helps"), "frozen probe": ("probe@b", "hurts")}
    (one,) = records["probe@b"]["transfer"]
    assert one["split"] == "validation"
    assert one["n"] == len(LABELS)
    assert one["difference"]["low"] < one["difference"]["value"] < one["difference"]["high"]
    assert one["difference"]["value"] == pytest.approx(0.3)


def test_what_was_not_fitted_has_no_figures_and_is_no_counterpart():
    skipped = (PROBE, {"status": "skipped", "reason": "too long", "seconds": None}, None)
    assessed = judged(done(BASELINE, 0.6), skipped, done(TUNED, 0.9))
    assert assessed[1].record["validation"] == {}
    assert [t["kind"] for t in assessed[2].record["transfer"]] == ["no transfer"]


def test_the_best_mean_is_chosen():
    chosen, barred = choose(judged(done(BASELINE, 0.6), done(PROBE, 0.8), done(TUNED, 0.85)), "accuracy", "default")
    assert (chosen.candidate.id, barred) == ("finetune@b", [])


def test_no_evidence_bars_nobody():
    assessed = judged(done(BASELINE, 0.8), done(PROBE, 0.81, seed=1))
    assert assessed[1].record["transfer"][0]["verdict"] == "no evidence"
    assert choose(assessed, "accuracy", "default")[0].candidate.id == "probe@b"


def test_what_hurts_is_barred_even_if_its_mean_is_best():
    assessed = judged(done(BASELINE, 0.6), done(PROBE, 0.7), done(SOURCE, 0.9))
    assessed[2].record["transfer"][1]["verdict"] = "hurts"
    chosen, barred = choose(assessed, "accuracy", "default")
    assert chosen.candidate.id == "probe@b"
    assert barred == [{"id": "probe@b+s", "reason": "hurts: without source (probe@b)"}]


def test_all_transfer_hurts_and_the_baseline_is_chosen():
    chosen, barred = choose(judged(done(BASELINE, 0.9), done(PROBE, 0.6), done(TUNED, 0.5)), "accuracy", "default")
    assert chosen.candidate.id == "tfidf"
    assert [b["id"] for b in barred] == ["probe@b", "finetune@b"]


def test_the_strict_gate_asks_for_a_gain_over_both_counterparts():
    assessed = judged(done(BASELINE, 0.6), done(PROBE, 0.85), done(SOURCE, 0.86, seed=1))
    assert choose(assessed, "accuracy", "default")[0].candidate.id == "probe@b+s"
    chosen, barred = choose(assessed, "accuracy", "strict")
    assert chosen.candidate.id == "probe@b"
    assert barred == [{"id": "probe@b+s", "reason": "gate strict: not shown to help: without source (probe@b)"}]
    weak = judged(done(BASELINE, 0.8), done(PROBE, 0.81, seed=1))
    assert choose(weak, "accuracy", "strict")[0].candidate.id == "tfidf"


def test_a_tie_goes_to_the_cheaper():
    assessed = judged(done(BASELINE, 0.6), done(PROBE, 0.8, fit=5.0), done(TUNED, 0.8, fit=3.0))
    assert choose(assessed, "accuracy", "default")[0].candidate.id == "finetune@b"
    assessed = judged(done(BASELINE, 0.6), done(PROBE, 0.8, fit=2.0), done(TUNED, 0.8, fit=3.0))
    assert choose(assessed, "accuracy", "default")[0].candidate.id == "probe@b"


def test_a_lower_metric_is_better_where_it_is_an_error():
    surer = np.log(np.exp(right(0.8)) ** 2)
    surer -= np.log(np.exp(surer).sum(-1, keepdims=True))
    record = {"status": "done", "reason": "", "estimate": 1.0, "seconds": {"fit": 1.0}}
    assessed = assess([done(BASELINE, 0.8), (PROBE, record, surer)], Judge(LABELS, "log_loss", 0), TASK)
    losses = [one.record["validation"]["log_loss"]["value"] for one in assessed]
    assert choose(assessed, "log_loss", "default")[0].candidate.id == ("probe@b" if losses[1] < losses[0] else "tfidf")
    assert losses[0] != losses[1]


def test_nothing_fitted_lists_the_reasons():
    failed = {"status": "failed", "reason": "not enough memory", "seconds": None}
    with pytest.raises(StudyError, match="tfidf: not enough memory"):
        choose(judged((BASELINE, failed, None)), "accuracy", "default")


def test_what_holds_in_one_split_alone_is_no_evidence():
    """All of the gain lies in one of four splits: the examples say that it helps, the splits that it may be luck."""
    count = len(LABELS)
    parts = [(0, np.arange(k * count // 4, (k + 1) * count // 4)) for k in range(4)]
    base = np.log(np.full((1, count, 2), 0.5) + 0.2 * (np.eye(2)[1 - LABELS] - 0.5))
    better = base.copy()
    first = parts[0][1]
    better[0, first] = np.log(0.5 + 0.4 * (np.eye(2)[LABELS[first]] - 0.5))
    record = {"status": "done", "reason": "", "estimate": 1.0, "seconds": {"fit": 1.0}}
    given = [(BASELINE, dict(record), base), (PROBE, dict(record), better)]
    (plain,) = assess(given, Judge(LABELS, "accuracy", 0), TASK)[1].record["transfer"]
    (split,) = assess(given, Judge(LABELS, "accuracy", 0, parts, 1 / 3), TASK)[1].record["transfer"]
    assert plain["difference"] == split["difference"]
    assert plain["verdict"] == "helps"
    assert plain["p"] < 0.01
    assert split["verdict"] == "no evidence"
    assert split["p"] > 0.05


def test_several_sources_are_adjusted_for_each_other():
    """One of three sources at p = 0.03 is no evidence; alone it was."""
    from transfuse.evaluation import Interval
    from transfuse.evaluation.compare import Comparison

    found = Comparison(Interval(0.05, 0.01, 0.09), "helps", 100, None, 0.04, p=0.03)
    assert found.beside(0.03).verdict == "helps"
    assert found.beside(0.09).verdict == "no evidence"
    hurts = Comparison(Interval(-0.05, -0.09, -0.01), "hurts", 100, None, 0.04, p=0.03)
    assert hurts.beside(0.09).verdict == "hurts"


def test_of_one_split_sources_are_adjusted_for_each_other_too():
    """Twelve more rights than wrongs of 28: alone that helps, among eight sources it may be luck."""
    gain = right(0.6, repeats=1)
    hit = gain.argmax(axis=2)[0] == LABELS
    turned = np.concatenate([np.flatnonzero(~hit)[:20], np.flatnonzero(hit)[:8]])
    better = gain.copy()
    better[0, turned] = gain[0, turned, ::-1]
    record = {"status": "done", "reason": "", "estimate": 1.0, "seconds": {"fit": 1.0}}
    judge = Judge(LABELS, "accuracy", 0, [(0, np.arange(len(LABELS)))], 0.25)

    def verdict(count):
        with_source = [Candidate(f"probe@b+{i}", "feature", "probe", "b", (str(i),), {}) for i in range(count)]
        given = [(PROBE, dict(record), gain), (with_source[0], dict(record), better)]
        given += [(c, dict(record), gain) for c in with_source[1:]]
        (entry,) = assess(given, judge, TASK)[1].record["transfer"]
        return entry

    alone, among = verdict(1), verdict(8)
    assert (alone["verdict"], among["verdict"]) == ("helps", "no evidence")
    assert among["p"] == pytest.approx(8 * alone["p"])
    assert among["detectable"] > alone["detectable"]


def test_splits_that_all_differ_alike_do_not_prove_more_than_their_rows_can():
    """Two splits of four rows, one more right in each: no difference between them, and no proof."""
    labels = np.arange(8) % 2
    says = np.eye(2)[labels] * 0.8 + 0.1
    worse = says.copy()
    worse[[0, 4]] = says[[0, 4], ::-1]
    parts = [(0, np.arange(4)), (0, np.arange(4, 8))]
    found = Judge(labels, "accuracy", 0, parts, 1.0).compare(says[None], worse[None])
    assert found.p > 0.05


def test_what_cannot_name_a_label_without_an_example_is_barred_while_others_can():
    judge = Judge(LABELS, "accuracy", 0, without_example=[2])
    task, impossible = Classify(("a", "b", "new")), np.full((2, len(LABELS), 1), -30.0)

    def say(candidate, share, third):
        _, record, said = done(candidate, share)
        return candidate, record, np.concatenate([said, third], axis=-1)

    silent, able = say(PROBE, 0.9, impossible), say(TUNED, 0.9, impossible + 25)
    assessed = assess([silent, able], judge, task)
    assert [one.record["cannot_name"] for one in assessed] == [["new"], []]
    chosen, barred = choose(assessed, "accuracy", "default")
    assert chosen.candidate == TUNED
    assert barred == [{"id": PROBE.id, "reason": "cannot name new", "cannot_name": ["new"]}]
    chosen, barred = choose(assess([silent], judge, task), "accuracy", "default")
    assert (chosen.candidate, barred) == (PROBE, [])
    seen_in_training = Judge(LABELS, "accuracy", 0)
    assert all(one.record["cannot_name"] == [] for one in assess([silent], seen_in_training, task))
