"""LESS by the gradients of layers: whom it keeps, what is left of it when all are kept, and what it refuses."""

import dataclasses

import numpy as np
import pytest
import toy

from transfuse.data.examples import Examples
from transfuse.engine.jobs import TransferData
from transfuse.errors import RecipeError
from transfuse.methods.catalogue import method
from transfuse.methods.instance.gradient import Less
from transfuse.methods.parameter.lora import Lora
from transfuse.methods.rows import source_rows, without


def half_wrong(count, seed):
    """Rows of which the first half has the wrong label."""
    rows = toy.examples(count, seed)
    turned = {"warm": "cold", "cold": "warm"}
    labels = tuple(turned[x] if i < count // 2 else x for i, x in enumerate(rows.labels))
    return dataclasses.replace(rows, labels=labels)


def test_it_keeps_the_good_half(bench):
    target, source, test = toy.examples(16, seed=1), half_wrong(60, seed=50), toy.examples(100, seed=99)
    engine = bench.engine("decoder")
    chosen = bench.path("less", "decoder", target, extra={"s": source}, engine=engine, part="layers")
    rows, weights = engine.weighed
    assert rows.texts == source.texts
    assert weights.mean() == pytest.approx(1)
    assert (weights > 0).sum() == 30
    assert (weights[30:] > 0).sum() >= 25
    every = bench.path("lora", "decoder", target, extra={"s": source}, engine=engine)
    assert bench.accuracy(chosen, test) > bench.accuracy(every, test)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_all_rows_kept_is_training_on_the_source_then_on_the_target(bench, kind):
    target, extra = toy.examples(16, seed=1), {"a": toy.examples(9, seed=2), "b": toy.examples(12, seed=3)}
    paths = [
        bench.path("less", kind, target, extra=extra, part="layers", keep=1.0),
        bench.path("lora", kind, target, extra=extra, source_limit=1024),
    ]
    texts = toy.examples(20, seed=4).texts
    a, b = (path.log_probabilities(texts) for path in paths)
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_seed_decides_who_is_kept(bench):
    target, source = toy.examples(12, seed=1), half_wrong(24, seed=2)
    found = []
    for seed in (0, 0, 1):
        engine = bench.engine("decoder")
        path = bench.path("less", "decoder", target, extra={"s": source}, engine=engine, seed=seed, part="layers")
        found.append((engine.weighed[1], path.log_probabilities(target.texts)))
    for one, again, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, again)
        assert one.shape == other.shape
    assert not np.array_equal(found[0][1], found[2][1])


def test_weights_of_the_user_count_too(bench):
    source = dataclasses.replace(toy.examples(8, seed=2), weights=np.array([0.0, 2, 1, 1, 1, 1, 1, 1]))
    engine = bench.engine("decoder")
    bench.path("less", "decoder", toy.examples(8, seed=1), extra={"s": source}, engine=engine, part="layers", keep=1.0)
    rows, weights = engine.weighed
    assert rows.texts == source.texts[1:]
    assert weights.tolist() == [2, 1, 1, 1, 1, 1, 1]


def test_without_a_source_it_is_lora(bench):
    data, backbone = TransferData(toy.examples(20, seed=0)), bench.backbone("encoder")
    plans = (
        Less().plan(toy.TASK, backbone, data, 0, part="layers", rank=4),
        Lora().plan(toy.TASK, backbone, data, 0, rank=4),
    )
    first, second = (dataclasses.replace(plan, shared=len(plan.stages)).shared_key() for plan in plans)
    assert first == second


def test_the_plan_is_pure_and_the_head_is_the_default(bench):
    data = TransferData(toy.examples(20, seed=0), {"s": toy.examples(9, seed=1)})

    def key(**settings):
        plan = Less().plan(toy.TASK, bench.backbone("decoder"), data, 3, **settings)
        return dataclasses.replace(plan, shared=len(plan.stages)).shared_key()

    assert key(part="layers") == key(part="layers") != key(part="layers", rank=4)
    assert key() == key(part="head") != key(keep=0.25)


def test_rows_that_are_left():
    a = Examples(("a", "b", "c", "d"), ("warm",) * 4, weights=np.array([1.0, 0.0, 1.0, 1.0]))
    b = Examples(("e", "f"), ("cold",) * 2)
    sources = {"a": a, "b": b}
    rows = source_rows(toy.TASK, sources, 3)
    assert rows.texts == ("a", "c", "e", "f")
    left = without(sources, 3, np.array([0.0, 2.0, 0.0, 0.0]))
    assert [(name, rows.texts) for name, rows in left.items()] == [("a", ("c",)), ("b", ())]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"part": "tail"}, r"less\.part: 'tail'[\s\S]*head or layers"),
        ({"keep": 0.0}, r"less\.keep: 0\.0[\s\S]*above 0, at most 1"),
        ({"rank": 4, "epochs": 2}, r"less: rank, epochs with part: head[\s\S]*Set part: layers"),
    ],
)
def test_what_is_refused(bench, settings, said):
    with pytest.raises(RecipeError, match=said):
        method("less").plan(toy.TASK, bench.backbone("encoder"), TransferData(toy.examples(8, seed=0)), 0, **settings)
