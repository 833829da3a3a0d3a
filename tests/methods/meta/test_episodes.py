"""Episodes: what a task is made of, and that learning to learn helps on classes never seen."""

import numpy as np
import pytest
import toy

from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Rows, TransferData
from transfuse.engine.live import EpisodesLive
from transfuse.engine.terms import Episodes
from transfuse.engine.trunk import Trunk
from transfuse.errors import RecipeError
from transfuse.methods.catalogue import METHODS, method
from transfuse.methods.meta.episodes import several
from transfuse.tasks.classify import Classify

META = [name for name in METHODS if method(name).family == "meta" and method(name).reads == "any"]


def test_examples_and_queries_of_a_task_are_never_the_same_row():
    labels = np.array([0] * 2 + [1] * 5 + [2] * 9 + [3])
    term = EpisodesLive(Episodes(ways=5, shots=3, queries=2, steps=20))
    tasks = list(term.batches(labels, np.random.default_rng(0)))
    assert len(tasks) == term.steps() == 20
    for rows in tasks:
        by_class = rows.reshape(-1, 5)
        assert len(by_class) == 3  # the class of one row is left out
        for own in by_class:
            assert len(set(labels[own])) == 1
            assert not set(own[:3]) & set(own[3:])


def test_classes_of_one_row_are_left_out():
    def rows(labels):
        count = len(labels)
        return Rows(tuple("abcdefg"[:count]), np.array(labels), np.ones(count), np.zeros(count, dtype=bool), 9)

    found = several(rows([4, 0, 4, 2, 2]))
    assert found.labels.tolist() == [1, 1, 0, 0]
    assert found.texts == ("a", "c", "d", "e")
    assert found.classes == 2
    assert several(rows([0, 1, 1])) is None


@pytest.mark.parametrize("name", META)
def test_it_learns_from_classes_that_the_target_does_not_have(name):
    """Accuracy on unseen classes with two examples each, against the same method without the sources."""
    labels = [a * 4 for a in toy.ALPHABET]
    known, unknown = labels[:14], tuple(labels[14:])
    task, backbone = Classify(unknown), toy.backbone("encoder")
    engine = Engine(Trunk(backbone, "fp32", 64), len(unknown))
    target, test = toy.named(list(unknown), 12, seed=2), toy.named(list(unknown), 90, seed=1)
    found = []
    for related in ({}, {"other": toy.named(known, 280, seed=0)}):
        settings = {"train_layers": 2, "learning_rate": 3e-3, "tasks": 200, "pooling": "mean"}
        plan = method(name).plan(task, backbone, TransferData(target, {}, related), 0, **settings)
        path = engine.fit(plan)
        found.append((engine.predict(path, test.texts).argmax(1) == task.encode(test.labels)).mean())
    assert found[1] > found[0] + 0.05


@pytest.mark.parametrize("name", META)
def test_what_cannot_be_a_task_is_refused(name):
    with pytest.raises(RecipeError, match="ways: 1, shots: 3"):
        method(name).plan(toy.TASK, toy.backbone("encoder"), TransferData(Examples(("a",), ("warm",))), 0, ways=1)
