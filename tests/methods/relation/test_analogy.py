"""What a label's words are worth, where they lead, and that the head goes there."""

import numpy as np
import pytest
import toy

from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import method
from transfuse.methods.relation.analogy import by_analogy
from transfuse.methods.relation.names import LEAST, MOST, moved, name_worth, offsets
from transfuse.tasks.classify import Classify


def test_a_name_is_worth_much_where_it_lies_at_its_class():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(6, 16))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    labels = np.repeat(np.arange(6), 20)
    x = means[labels] + 0.1 * generator.normal(size=(120, 16))
    assert name_worth(x, labels, means) == MOST
    assert name_worth(x, labels, means[::-1]) < 1
    assert name_worth(x, labels, -means) >= LEAST


def test_classes_of_one_row_say_nothing_of_what_names_are_worth():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(40, 16))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    labels = np.repeat(np.arange(40), [10, *[1] * 39])
    x = means[labels] + 0.1 * generator.normal(size=(49, 16))
    names = means + 0.05 * generator.normal(size=means.shape)
    assert name_worth(x, labels, names) == name_worth(x[labels == 0], labels[labels == 0], names) > 1
    assert name_worth(means, np.arange(40), names) == 1.0


def test_weights_say_how_much_a_row_tells_of_a_name():
    generator = np.random.default_rng(0)
    means = np.eye(6, 16)
    labels = np.tile(np.arange(6), 20)
    x, names = means[labels] + 0.1 * generator.normal(size=(120, 16)), means + 0.1 * generator.normal(size=(6, 16))
    noisy = np.concatenate([x, generator.normal(size=x.shape)])
    light = np.repeat([1.0, 1e-9], 120)
    worth = name_worth(noisy, np.tile(labels, 2), names, light)
    assert worth == pytest.approx(name_worth(x, labels, names), rel=1e-4)
    assert worth != pytest.approx(name_worth(noisy, np.tile(labels, 2), names), rel=0.1)
    a, b = (by_analogy(noisy, np.tile(labels, 2), names, names, w)[0] for w in (light, None))
    np.testing.assert_allclose(a, by_analogy(x, labels, names, names)[0], atol=1e-4)
    assert np.abs(a - b).max() > 0.1


def test_offsets_recover_what_they_were_made_by():
    generator = np.random.default_rng(0)
    names = generator.normal(size=(30, 4))
    matrix, shift = generator.normal(size=(4, 4)), np.array([1.0, 2.0, 0.0, -1.0])
    prototypes = names + (names - names.mean(0)) @ matrix + shift
    exact = offsets(prototypes, names, penalty=1e-9)
    np.testing.assert_allclose(moved(names, names.mean(0), exact), prototypes, atol=1e-5)
    stiff = offsets(prototypes, names, penalty=1e9)
    np.testing.assert_allclose(moved(names, names.mean(0), stiff), names + shift, atol=1e-5)


@pytest.fixture
def world():
    """Forty classes whose texts lie a fixed step and a turn away from their names."""
    generator = np.random.default_rng(1)
    names = generator.normal(size=(40, 12))
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    means = names + 0.8 * names @ np.diag(np.linspace(-1, 1, 12)) + 0.5
    labels = np.repeat(np.arange(40), 10)
    return names, means[labels] + 0.1 * generator.normal(size=(400, 12)), labels


def test_what_holds_in_the_source_is_expected_of_the_target(world):
    names, x, labels = world
    seen = labels < 30
    expected, worth = by_analogy(x[seen], labels[seen], names[:30], names[30:])
    rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    truth = np.stack([rows[labels == c].mean(0) for c in range(30, 40)])
    assert ((expected - truth) ** 2).sum() < 0.3 * ((names[30:] - truth) ** 2).sum()
    assert LEAST <= worth <= MOST


def test_where_the_words_mislead_they_are_worth_little(world):
    names, x, labels = world
    x = x + 0.4 * np.random.default_rng(2).normal(size=x.shape)
    told, random = by_analogy(x, labels, names, names[:3])[1], by_analogy(x, labels, names[::-1], names[:3])[1]
    assert random < told


def test_one_class_teaches_nothing(world):
    names, x, labels = world
    few = labels < 1
    expected, worth = by_analogy(x[few], labels[few], names[:1], names[:3])
    np.testing.assert_allclose(expected, names[:3])
    assert worth == 1.0


def test_without_a_source_it_is_the_centroid_and_labels_need_no_example():
    backbone, rows = toy.backbone("encoder"), toy.examples(20, seed=0)
    engine = Engine(Trunk(backbone, "fp32", 64), 2)
    readout = {"layers": backbone.layers, "poolings": backbone.poolings[0]}
    a = engine.fit(method("analogy").plan(toy.TASK, backbone, TransferData(rows), 0))
    b = engine.fit(method("centroid").plan(toy.TASK, backbone, TransferData(rows), 0, **readout))
    np.testing.assert_allclose(engine.predict(a, rows.texts), engine.predict(b, rows.texts), atol=1e-6)
    labels = [letter * 4 for letter in toy.ALPHABET]
    task, other = Classify(tuple(labels[14:])), toy.named(labels[:14], 200, seed=0)
    engine = Engine(Trunk(backbone, "fp32", 64), len(task.labels))
    plan = method("analogy").plan(task, backbone, TransferData(Examples((), ()), {}, {"other": other}), 0)
    found = np.exp(engine.predict(engine.fit(plan), rows.texts))
    np.testing.assert_allclose(found.sum(1), 1.0)
