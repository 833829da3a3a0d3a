"""Nearest neighbours: by hand, against scikit-learn, and refused where only linear heads are known."""

import numpy as np
import pytest
import toy
from sklearn.neighbors import KNeighborsClassifier

from transfuse.errors import ModelError
from transfuse.fitted.head import FAR, by_class, unit
from transfuse.methods.feature.knn import knn_head


def test_votes_by_hand():
    rows = np.log([[1.0, 2.0, 4.0], [3.0, 1.0, 1.0]])
    owner = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    np.testing.assert_allclose(by_class(rows, owner), np.log([[5, 2], [4, 1]]))
    np.testing.assert_allclose(by_class(rows, owner, 2), np.log([[4, 2], [4, 1]]))
    np.testing.assert_allclose(by_class(rows[:1], owner, 1), np.log([[4, 4 * FAR]]))


def test_one_neighbour_is_scikit_learns():
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(60, 8)), generator.integers(0, 3, 60)
    head = knn_head(x, labels, np.ones(60), 3)
    head.nearest = 1
    new = generator.normal(size=(40, 8))
    mean = unit(x).mean(0)
    peer = KNeighborsClassifier(1, metric="cosine").fit(unit(x) - mean, labels)
    assert (head.logits(new).argmax(1) == peer.predict(unit(new) - mean)).all()


def test_scattered_classes_need_neighbours():
    """Each class in two opposite places: no line and no mean tells them apart."""
    generator = np.random.default_rng(0)
    places = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    which = generator.integers(0, 4, 200)
    x, labels = places[which] + 0.2 * generator.normal(size=(200, 2)), which // 2
    head = knn_head(x[:120], labels[:120], np.ones(120), 2)
    assert (head.logits(x[120:]).argmax(1) == labels[120:]).mean() > 0.95


def test_names_alone_are_neighbours():
    names = np.array([[1.0, 0.0], [0.0, 1.0]])
    head = knn_head(np.empty((0, 2)), np.empty(0, dtype=np.int64), np.empty(0), 2, names)
    assert head.logits(np.array([[2.0, 1.0], [0.1, 3.0]])).argmax(1).tolist() == [0, 1]


def test_a_bundle_of_it_is_refused(bench, tmp_path):
    model = bench.model("knn", "encoder", toy.examples(20, seed=0))
    with pytest.raises(ModelError, match="nearest neighbours has no linear head"):
        model.bundle(tmp_path / "bundle")
