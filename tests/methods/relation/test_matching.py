"""Matching with label words: what is learnt on some labels holds for others."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.losses import matching
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import method
from transfuse.methods.relation.named import named_rows, word
from transfuse.tasks.classify import Classify


def test_the_loss_by_hand():
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    names = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    found = matching(features, names, torch.tensor([0, 1]), torch.ones(2), temperature=1.0)
    assert found.item() == pytest.approx(float(np.log(1 + np.exp(-1))))
    wrong = matching(features, names, torch.tensor([1, 0]), torch.ones(2), temperature=1.0)
    assert wrong.item() == pytest.approx(float(np.log(1 + np.exp(1))))


def test_labels_without_an_example_are_named():
    labels = [a * 4 for a in toy.ALPHABET]
    known, unknown = labels[:14], tuple(labels[14:])
    task = Classify(unknown)
    backbone = toy.backbone("encoder")
    engine = Engine(Trunk(backbone, "fp32", 64), len(unknown))
    test = toy.named(list(unknown), 60, seed=1)
    nothing = Examples((), ())
    found = []
    for related in ({}, {"other": toy.named(known, 420, seed=0)}):
        settings = {"epochs": 6, "train_layers": 2, "learning_rate": 5e-3, "pooling": "mean", "blend": 1.0}
        plan = method("matching").plan(task, backbone, TransferData(nothing, {}, related), 0, **settings)
        path = engine.fit(plan)
        found.append((engine.predict(path, test.texts).argmax(1) == task.encode(test.labels)).mean())
    assert found[1] > found[0] + 0.15
    assert found[1] > 0.5


def test_without_a_source_it_is_the_centroid():
    backbone, rows = toy.backbone("encoder"), toy.examples(20, seed=0)
    engine = Engine(Trunk(backbone, "fp32", 64), 2)
    settings = {"layer": backbone.layers, "pooling": backbone.poolings[0]}
    plain = {"layers": backbone.layers, "poolings": backbone.poolings[0]}
    a = engine.fit(method("matching").plan(toy.TASK, backbone, TransferData(rows), 0, **settings))
    b = engine.fit(method("centroid").plan(toy.TASK, backbone, TransferData(rows), 0, **plain))
    np.testing.assert_allclose(engine.predict(a, rows.texts), engine.predict(b, rows.texts), atol=1e-6)


def test_labels_of_equal_words_are_one_class():
    task = Classify(("a_b", "c"))
    first = Examples(("x", "y"), ("a_b", "c"))
    second = Examples(("z", "u"), ("a-b", "d"), weights=np.array([2.0, 0.0]))
    rows, words = named_rows(task, TransferData(first, {"s": first}, {"r": second}), 10)
    assert words == ("a b", "c")
    assert rows.labels.tolist() == [0, 1, 0]
    assert rows.weights.tolist() == [1, 1, 2]
    assert rows.classes == 2
    assert word(dataclasses.replace(task, words={"c": "see"}), "c") == "see"
    assert named_rows(task, TransferData(first), 10) is None
