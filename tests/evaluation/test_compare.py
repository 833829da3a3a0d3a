"""The paired comparison: its verdict, its sign, McNemar against scipy, and what it cannot see."""

import json

import numpy as np
import pytest
import scipy.stats

from transfuse.errors import DataError
from transfuse.evaluation import METRICS, compare, mcnemar


def outcome(labels, right, sure=0.9):
    """Probabilities [N, 2] that are right where told."""
    predicted = np.where(right, labels, 1 - labels)
    return np.eye(2)[predicted] * (2 * sure - 1) + (1 - sure)


@pytest.fixture
def pair():
    """Labels [400], a right on 340 and b on 300 of them; exactly one is right on 60 (50 a, 10 b)."""
    labels = np.arange(400) % 2
    right_a, right_b = np.arange(400) < 340, np.arange(400) < 290
    right_b[340:350] = True
    return labels, outcome(labels, right_a), outcome(labels, right_b)


def test_better_worse_and_undecided(pair):
    labels, a, b = pair
    helps = compare(labels, a, b, seed=0)
    assert helps.difference.value == pytest.approx(0.1)
    assert helps.difference.low > 0
    assert (helps.verdict, helps.n) == ("helps", 400)
    hurts = compare(labels, b, a, seed=0)
    assert (hurts.verdict, hurts.difference.value) == ("hurts", pytest.approx(-0.1))
    few = compare(labels[330:352], a[330:352], b[330:352], seed=0)
    assert few.verdict == "no evidence"
    assert few.difference.low < 0 < few.difference.high


def test_interval_is_that_of_paired_differences(pair):
    labels, a, b = pair
    comparison = compare(labels, a, b, seed=0, rounds=4000)
    half = 1.96 * np.sqrt((60 / 400 - 0.1**2) / 400)
    assert comparison.difference.low == pytest.approx(0.1 - half, abs=0.005)
    assert comparison.difference.high == pytest.approx(0.1 + half, abs=0.005)


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_model_against_itself(metric, pair):
    labels, a, _ = pair
    same = compare(labels, a, a, metric=metric, seed=0)
    assert (same.difference.value, same.difference.low, same.difference.high) == (0, 0, 0)
    assert (same.verdict, same.mcnemar) == ("no evidence", 1.0)


@pytest.mark.parametrize("metric", ["log_loss", "ece"])
def test_less_is_better_turns_the_sign(metric):
    labels = np.arange(300) % 2
    right = np.arange(300) % 10 > 0
    honest, boastful = outcome(labels, right, sure=0.9), outcome(labels, right, sure=0.999)
    comparison = compare(labels, honest, boastful, metric=metric, seed=0)
    assert comparison.verdict == "helps"
    function = METRICS[metric][0]
    assert comparison.difference.value == pytest.approx(function(labels, boastful) - function(labels, honest))


def test_seed_decides(pair):
    labels, a, b = pair
    assert compare(labels, a, b, seed=1) == compare(labels, a, b, seed=1)
    assert compare(labels, a, b, seed=1).difference != compare(labels, a, b, seed=2).difference


def test_several_repeats_share_the_examples_and_have_no_mcnemar(pair):
    labels, a, b = pair
    repeats = compare(labels, np.stack([a, b]), np.stack([b, b]), seed=0)
    assert repeats.mcnemar is None
    assert repeats.difference.value == pytest.approx(0.05)
    assert repeats.difference.low == pytest.approx(compare(labels, a, b, seed=0).difference.low / 2)


def test_groups_are_drawn_whole(pair):
    labels, a, b = pair
    groups = np.arange(400) // 50
    alone, together = compare(labels, a, b, seed=0), compare(labels, a, b, seed=0, groups=groups)
    assert together.difference.value == alone.difference.value
    assert together.difference.high - together.difference.low > 2 * (alone.difference.high - alone.difference.low)
    assert (together.verdict, together.mcnemar) == ("no evidence", None)


def test_detectable_difference_of_the_algorithms_document():
    # d = 0.1 of 500 examples: differences under 2.8 points are invisible (ALGORITHMS.md, section 3).
    labels = np.arange(500) % 2
    right_a, right_b = np.ones(500, dtype=bool), np.ones(500, dtype=bool)
    right_a[:25], right_b[25:50] = False, False
    comparison = compare(labels, outcome(labels, right_a), outcome(labels, right_b), seed=0)
    assert comparison.detectable == pytest.approx(0.0277, abs=1e-4)
    assert comparison.verdict == "no evidence"


def test_equal_models_do_not_pretend_to_see_everything(pair):
    labels, a, _ = pair
    assert compare(labels, a, a, seed=0).detectable == pytest.approx(1.96 / 400, rel=1e-3)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (3, 9), (9, 3), (6, 6), (40, 71), (2000, 2100)])
def test_mcnemar_against_the_binomial_distribution(x, y):
    right_a = np.r_[np.ones(x), np.zeros(y), np.ones(5), np.zeros(4)].astype(bool)
    right_b = np.r_[np.zeros(x), np.ones(y), np.ones(5), np.zeros(4)].astype(bool)
    mass = scipy.stats.binom.pmf(min(x, y), x + y, 0.5)
    if x + y == 0:
        expected = 1.0
    elif x == y:
        expected = 1 - mass / 2
    else:
        expected = scipy.stats.binomtest(min(x, y), x + y).pvalue - mass
    assert mcnemar(right_a, right_b) == pytest.approx(expected, rel=1e-9)


def test_false_alarms_are_rare():
    generator, alarms = np.random.default_rng(5), 0
    for trial in range(200):
        labels = generator.integers(0, 2, 200)
        shared, apart = generator.random(200) < 0.85, generator.random((2, 200)) < 0.85
        keep = generator.random((2, 200)) < 0.85
        a, b = (outcome(labels, np.where(keep[i], shared, apart[i])) for i in range(2))
        alarms += compare(labels, a, b, seed=trial, rounds=300).verdict != "no evidence"
    assert alarms / 200 <= 0.1


def test_the_p_of_one_split_is_half_of_mcnemar_or_the_share_of_resamples(pair):
    labels, a, b = pair
    right_a, right_b = np.arange(400) < 340, np.arange(400) < 290
    right_b[340:350] = True
    exact = mcnemar(right_a, right_b)
    better, worse = compare(labels, a, b, seed=0), compare(labels, b, a, seed=0)
    assert (better.p, worse.p) == (pytest.approx(exact / 2), pytest.approx(1 - exact / 2))
    grouped = compare(labels, a, b, seed=0, groups=np.arange(400) // 50)
    assert 0.02 < grouped.p < 0.5
    assert compare(labels, a, a, seed=0, metric="log_loss").p == 1.0


def test_a_difference_above_what_is_detectable_is_nearly_always_said_to_help():
    """Twelve rows in each of five splits, twice: the splits ask for more than the examples alone."""
    generator, above, missed = np.random.default_rng(2), 0, 0
    labels = np.arange(60) % 2
    for trial in range(60):
        tables = [np.stack([outcome(labels, generator.random(60) < share) for _ in range(2)]) for share in (0.85, 0.65)]
        parts = [(r, part) for r in range(2) for part in np.array_split(generator.permutation(60), 5)]
        right = [table.argmax(axis=2) == labels for table in tables]
        differences = [float(right[0][r, p].mean() - right[1][r, p].mean()) for r, p in parts]
        found = compare(labels, *tables, seed=trial, rounds=300).over_splits(differences, 0.25, 0.5 / 12)
        above += found.difference.value > found.detectable
        missed += found.difference.value > found.detectable and found.verdict != "helps"
    assert above > 10
    assert missed <= 0.05 * above


def test_the_strictest_of_several_comparisons_sees_less(pair):
    labels, a, b = pair
    alone = compare(labels, a, b, seed=0).over_splits([0.1, 0.12, 0.05, 0.13], 0.25)
    error = np.std([0.1, 0.12, 0.05, 0.13], ddof=1) * np.sqrt(1 / 4 + 0.25)
    assert alone.among(6).detectable == pytest.approx(scipy.stats.t.isf(0.05 / 6, 3) * error)
    assert alone.among(6).detectable > alone.detectable
    assert compare(labels, a, b, seed=0).among(1) == compare(labels, a, b, seed=0)


def test_what_is_worse_in_the_splits_has_a_large_p(pair):
    labels, a, b = pair
    worse = compare(labels, b, a, seed=0).over_splits([-0.1, -0.12, -0.05, -0.13], 0.25)
    assert worse.p > 0.95
    assert worse.verdict == "hurts"


def test_to_dict_is_json(pair):
    labels, a, b = pair
    entry = json.loads(json.dumps(compare(labels, a, b, seed=0).to_dict()))
    assert set(entry) == {"difference", "verdict", "n", "mcnemar", "detectable", "p", "paired_p"}
    assert set(entry["difference"]) == {"value", "low", "high"}


def test_refuses_different_shapes(pair):
    labels, a, b = pair
    with pytest.raises(DataError, match=r"shapes \(1, 400, 2\) and \(2, 400, 2\)"):
        compare(labels, a, np.stack([b, b]), seed=0)
    with pytest.raises(DataError, match="Outcomes of"):
        mcnemar([True], [True, False])
