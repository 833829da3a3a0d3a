"""Fine-tuning and LoRA: they learn what no probe can, and reduce to the probe where nothing moves."""

import dataclasses

import numpy as np
import pytest
import toy

from transfuse.engine.jobs import ChooseReadout, FitHead, Train, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.catalogue import method

TARGET, SOURCE, TEST = toy.examples(24, seed=1), toy.examples(40, seed=2), toy.examples(40, seed=3).texts
STRONG = {
    "finetune": {"learning_rate": 5e-3, "contrastive": 0.0, "layer_decay": 1.0, "cosine": False, "batch_size": 16},
    "lora": {"learning_rate": 1e-2, "batch_size": 16},
    "dora": {"learning_rate": 1e-2, "batch_size": 16},
}
both = pytest.mark.parametrize("name", list(STRONG))
kinds = pytest.mark.parametrize("kind", ["encoder", "decoder"])


def planned(name, kind="encoder", extra=None, **settings):
    return method(name).plan(toy.TASK, toy.backbone(kind), TransferData(TARGET, extra or {}), 0, **settings)


@both
@kinds
def test_it_learns_what_no_probe_can(bench, name, kind):
    """Whether the first and the last letter are equal: no byte tells, the layers must learn to compare."""
    train, test = toy.same_ends(300, seed=1), toy.same_ends(200, seed=2)
    settings = {"label_words": False, "epochs": 15, "train_layers": "all", **STRONG[name]}
    tuned = bench.accuracy(bench.path(name, kind, train, **settings), test)
    frozen = bench.accuracy(bench.path("probe", kind, train, label_words=False), test)
    assert tuned > 0.95
    assert frozen < 0.9


@both
@kinds
def test_without_epochs_it_is_the_probe_that_it_starts_from(bench, name, kind):
    """Zero transfer: nothing is trained, so the head's start is the answer."""
    a = bench.path(name, kind, TARGET, epochs=0, c=0.1, **({"cosine": False} if name == "finetune" else {}))
    readout = {"layers": [a.layer], "poolings": [a.pooling], "c": 0.1}
    probe = bench.path("probe", kind, TARGET, **readout)
    np.testing.assert_allclose(a.log_probabilities(TEST), probe.log_probabilities(TEST), atol=1e-5)
    trained = bench.path(name, kind, TARGET, epochs=2)
    assert not np.allclose(trained.log_probabilities(TEST), probe.log_probabilities(TEST), atol=1e-2)


@both
@kinds
def test_with_rates_of_next_to_nothing_it_is_the_probe(bench, name, kind):
    settings = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "c": 0.1, "epochs": 2}
    a = bench.path(name, kind, TARGET, **settings, **({"cosine": False} if name == "finetune" else {}))
    probe = bench.path("probe", kind, TARGET, layers=[a.layer], poolings=[a.pooling], c=0.1)
    np.testing.assert_allclose(a.log_probabilities(TEST), probe.log_probabilities(TEST), atol=1e-4)
    if name != "finetune":
        assert a.trainable_parameters > probe.trainable_parameters


@both
def test_without_a_source_both_orders_are_the_same(bench, name):
    a, b = (bench.path(name, "encoder", TARGET, sources=s).log_probabilities(TEST) for s in ("first", "together"))
    np.testing.assert_array_equal(a, b)


@both
def test_source_first_needs_no_target_label_before_its_last_stage(name):
    """What is shared holds source rows alone, so folds of the target cannot leak through it."""
    job = planned(name, extra={"other": SOURCE})
    assert 0 < job.shared < len(job.stages)
    for stage in job.stages[: job.shared]:
        assert not set(stage.rows.texts) & set(TARGET.texts)
        assert not stage.rows.target.any()
    assert isinstance(job.stages[-1], Train | FitHead)
    assert set(TARGET.texts) <= set(job.stages[-1].rows.texts)


@both
def test_source_together_weighs_the_target(name):
    job = planned(name, extra={"other": SOURCE}, sources="together", target_share=0.5)
    assert job.shared == 0
    rows = job.stages[-1].rows
    assert rows.weights[rows.target].sum() == pytest.approx(0.5 * rows.weights[~rows.target].sum())


@both
def test_a_source_of_the_same_task_helps(bench, name):
    few, test = toy.same_ends(16, seed=1), toy.same_ends(200, seed=2)
    source = {"more": toy.same_ends(300, seed=5)}
    settings = {"label_words": False, "train_layers": "all", **STRONG[name]}
    alone = bench.accuracy(bench.path(name, "encoder", few, **settings), test)
    helped = bench.accuracy(bench.path(name, "encoder", few, extra=source, source_epochs=15, **settings), test)
    assert helped > max(alone + 0.1, 0.9)


@both
def test_it_starts_from_a_fitted_head(name):
    first, second, *_ = planned(name).stages
    assert isinstance(first, ChooseReadout)
    assert isinstance(second, FitHead)


@both
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_layers": 4}, "from 1 to 3"),
        ({"train_layers": 0}, "from 1 to 3"),
        ({"train_layers": "most"}, "train_layers: 'most'"),
    ],
)
def test_layers_that_are_not_there_are_refused(name, settings, message):
    with pytest.raises(RecipeError) as error:
        planned(name, **settings)
    assert message in str(error.value)


def test_lora_keeps_far_fewer_numbers(bench):
    tuned = bench.path("finetune", "encoder", TARGET, epochs=1, train_layers="all")
    light = bench.path("lora", "encoder", TARGET, epochs=1, train_layers="all", rank=1)
    assert light.trainable_parameters < 0.3 * tuned.trainable_parameters


def test_lora_without_rank_is_refused():
    with pytest.raises(RecipeError, match=r"lora\.rank: 0"):
        planned("lora", rank=0)


def test_l2_sp_keeps_finetuning_near_its_start(bench):
    settings = {"contrastive": 0.0, "learning_rate": 5e-3, "average_from": 1.0, "epochs": 8}

    def moved(l2_sp: float) -> float:
        path = bench.path("finetune", "encoder", TARGET, l2_sp=l2_sp, **settings)
        start = toy.backbone("encoder").segment(path.cut, path.layer)
        pairs = zip(path.trained.layers.parameters(), start.layers.parameters(), strict=True)
        return float(sum(((a.detach() - b) ** 2).sum() for a, b in pairs) ** 0.5)

    assert moved(1e3) < 0.3 * moved(0.0)


def test_a_head_on_features_of_unit_length(bench):
    path = bench.path("finetune", "encoder", TARGET, cosine=True, epochs=0)
    assert path.head.normalise
    assert len(set(path.head.scale.tolist())) == 1
    assert not bench.path("finetune", "encoder", TARGET, cosine=False, epochs=0).head.normalise


def test_weights_of_the_target_matter(bench):
    """The heavier half is what is learnt where the halves contradict each other."""
    turned = tuple("cold" if label == "warm" else "warm" for label in TARGET.labels)
    both_ways = dataclasses.replace(
        TARGET,
        texts=TARGET.texts * 2,
        labels=TARGET.labels + turned,
        weights=np.repeat([1.0, 0.05], 24),
        rows=None,
    )
    for name, settings in STRONG.items():
        path = bench.path(name, "encoder", both_ways, label_words=False, epochs=20, train_layers="all", **settings)
        assert bench.accuracy(path, TARGET) > 0.8
