"""Readouts of cached features: which comes first, and how far it is above what shuffled labels give."""

import numpy as np
import pytest

from transfuse.advice import rank
from transfuse.advice.rank import calibrated, decisive, probed, readouts, source_score

POOLINGS = ("mean", "last")


def noise(seed, rows=32, layers=12, width=16, classes=2):
    """Features [N, L, P, D] that say nothing, and balanced labels."""
    features = np.random.default_rng(seed).normal(size=(rows, 1 + layers, 2, width)).astype(np.float32)
    return features, np.arange(rows) % classes


def test_the_best_of_many_noisy_readouts_is_not_above_chance():
    """Picked by its labels among 24, it lies two deviations above what the labels shuffled give at itself."""
    found = []
    for seed in range(6):
        features, labels = noise(seed, classes=8)
        ranked = readouts(features, labels, POOLINGS, names=("knn",))
        found.append(calibrated(ranked, features, labels, POOLINGS, seed=seed)[0].z["knn"])
    assert abs(np.mean(found)) < 0.8


def test_probes_are_compared_with_the_best_probe_of_each_shuffle(monkeypatch):
    monkeypatch.setattr(rank, "PERMUTATIONS", 4)
    features, labels = noise(0, rows=12, layers=3)
    ranked = readouts(features, labels, POOLINGS, names=("probe",))
    places = [(r.layer, POOLINGS.index(r.pooling)) for r in ranked]
    chance = [max(probed(features[:, i, k], y) for i, k in places) for y in rank.shuffles(labels, len(ranked), 0)]
    found = calibrated(ranked, features, labels, POOLINGS)
    assert decisive(labels) == "probe"
    assert found[0].z["probe"] == pytest.approx((ranked[0].scores["probe"] - np.mean(chance)) / np.std(chance))


def test_every_readout_and_every_score_is_calibrated_where_there_is_something_to_find(monkeypatch):
    monkeypatch.setattr(rank, "PERMUTATIONS", 5)
    features, labels = noise(0, rows=20, layers=2)
    features[:, 2] += 3 * labels[:, None, None]
    ranked = readouts(features, labels, POOLINGS)
    found = calibrated(ranked, features, labels, POOLINGS)
    assert found[0].layer == 2
    assert [(r.layer, r.pooling) for r in found] == [(r.layer, r.pooling) for r in ranked]
    assert set(found[0].z) == set(found[0].scores) == set(rank.SCORES)
    assert found[0].z["probe"] > 2
    assert found[0].z["n_leep"] > 1
    assert set(found[-1].z) == set(found[-1].scores) == set(rank.QUICK)
    assert found[-1].z["probe"] < found[0].z["probe"]


def test_below_five_rows_a_class_the_neighbours_are_calibrated():
    features, labels = noise(1, rows=8, layers=2)
    features[:, 1] += 4 * labels[:, None, None]
    found = calibrated(readouts(features, labels, POOLINGS), features, labels, POOLINGS)
    assert decisive(labels) == "knn"
    assert found[0].z["knn"] > 0
    assert np.isnan(found[0].z["n_leep"])


def test_many_rows_and_classes_are_shuffled_less_often():
    assert len(rank.shuffles(np.arange(64) % 2, 60, 0)) == rank.PERMUTATIONS
    assert len(rank.shuffles(np.arange(1024) % 77, 60, 0)) == rank.FEWEST


def test_a_class_of_one_row_is_missed_and_rows_of_their_own_classes_say_nothing():
    x, labels = np.eye(12)[:, :6] * 9, np.array([0] * 6 + [1] * 5 + [2])
    assert 0 <= probed(x, labels) <= 11 / 12
    assert np.isnan(probed(x[:3], np.arange(3)))


def test_a_source_is_calibrated():
    generator = np.random.default_rng(0)
    labels, y = np.arange(40) % 2, np.arange(30) % 2
    source = (generator.normal(size=(40, 8)) + 2 * labels[:, None], labels)
    target = (generator.normal(size=(30, 8)) + 2 * y[:, None], y)
    found = source_score("near", source, target, same_labels=True)
    assert found.z["transfer"] > 3
    assert found.z["leep"] > 3
    other = source_score("other", source, target, same_labels=False)
    assert np.isnan(other.z["transfer"])
    assert other.z["leep"] == pytest.approx(found.z["leep"])
    nothing = source_score("nothing", (generator.normal(size=(40, 8)), labels), target, same_labels=True)
    assert nothing.z["leep"] < found.z["leep"]
