"""Unlabelled texts in the place of rows that classes lack."""

import numpy as np
import pytest
import toy

from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import method
from transfuse.methods.feature.centroid import centroid_head
from transfuse.methods.feature.filling import filled


def test_filling_by_hand():
    """Two classes of one name each, one of which lacks two rows; the third is absent."""
    prototypes, counts = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), np.array([1.0, 1.0, 0.0])
    text = np.array([[0.6, 0.8]])
    found, total = filled(prototypes, counts, np.array([2.0, 0.0, 2.0]), text)
    assert total[1:].tolist() == [1, 0]
    np.testing.assert_array_equal(found[1:], prototypes[1:])
    share = (total[0] - 1) / (2 * 2 / 1)
    moved = np.array([1 + 4 * share * 0.6, 4 * share * 0.8])
    np.testing.assert_allclose(found[0], moved / total[0])
    cosine = (text @ np.stack([moved / np.linalg.norm(moved), [0, 1]]).T)[0]
    odds = 1 / (1 + np.exp(50 * (cosine[1] - cosine[0])))
    assert share == pytest.approx(odds, abs=1e-3), "the tenth round changes nothing any more"


def test_filling_is_nothing_without_texts_or_where_no_class_lacks_rows():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(4, 8))
    for lacks, texts in ((np.ones(4), means[:0]), (np.zeros(4), means)):
        found, total = filled(means, np.ones(4), lacks, texts)
        np.testing.assert_array_equal(found, means)
        np.testing.assert_array_equal(total, np.ones(4))
    x, labels = means[np.arange(40) % 4] + generator.normal(size=(40, 8)), np.arange(40) % 4
    np.testing.assert_array_equal(
        centroid_head(x, labels, 4, unlabelled=x[::-1]).logits(means), centroid_head(x, labels, 4).logits(means)
    )


@pytest.mark.parametrize("rare", [1.0, 0.1])
def test_unlabelled_texts_find_classes_whose_words_are_some_way_off(rare):
    """Also where half of the classes are rare."""
    generator = np.random.default_rng(0)
    means = generator.normal(size=(10, 32))
    names, labels = means + 1.3 * generator.normal(size=means.shape), np.arange(600) % 10
    x = means[labels] + 0.7 * generator.normal(size=(600, 32))
    seen = generator.random(600) < np.where(labels < 5, 1.0, rare)
    none = np.empty((0, 32)), np.empty(0, np.int64)
    words, both = (centroid_head(*none, 10, names, unlabelled=u) for u in (None, x[seen]))
    right = [(head.logits(x).argmax(1) == labels).mean() for head in (words, both)]
    assert right[1] > right[0] + 0.03


@pytest.mark.parametrize("name", ["centroid", "analogy", "matching", "prototypical"])
def test_unlabelled_texts_are_read_only_where_a_class_has_few_rows(name):
    backbone, engine = toy.backbone("encoder"), None
    rows, others = toy.examples(8, seed=0), toy.examples(40, seed=1)
    one = rows.take([rows.labels.index(label) for label in sorted(set(rows.labels))])
    for target, read in ((rows, ()), (one, others.texts)):
        plan = method(name).plan(toy.TASK, backbone, TransferData(target, unlabelled=others), 0)
        assert plan.stages[-1].near == read
        engine = engine or Engine(Trunk(backbone, "fp32", 64), 2)
        found = engine.predict(engine.fit(plan), rows.texts)
        without = engine.fit(method(name).plan(toy.TASK, backbone, TransferData(target), 0))
        assert (found == engine.predict(without, rows.texts)).all() == (not read)
