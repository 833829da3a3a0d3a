"""Students that teach each other."""

import dataclasses

import numpy as np
import pytest
import torch
import toy
from torch.nn import functional

from transfuse.engine.divergences import mutual_losses
from transfuse.engine.jobs import Train, TransferData
from transfuse.engine.live import Seen
from transfuse.engine.peers import peers
from transfuse.engine.terms import Mutual
from transfuse.errors import RecipeError
from transfuse.methods.catalogue import method

FEW, TEST = toy.examples(12, seed=5), toy.examples(100, seed=4)
TEXTS = toy.examples(200, seed=3).unlabelled()


def planned(bench, name="mutual", target=FEW, unlabelled=TEXTS, kind="encoder", **settings):
    data = TransferData(target, unlabelled=unlabelled)
    return method(name).plan(toy.TASK, bench.backbone(kind), data, 0, **settings)


def said(bench, *jobs, kind="encoder"):
    return [path.log_probabilities(TEST.texts) for path in bench.engine(kind).fit_all(jobs)]


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_students_that_learn_nothing_from_each_other_are_fine_tuned(bench, kind):
    plain, alone = (
        said(bench, planned(bench, name, kind=kind, train_layers=1, **settings), kind=kind)[0]
        for name, settings in (("finetune", {}), ("mutual", {"weight": 0.0, "drop": 0.0}))
    )
    np.testing.assert_allclose(plain, alone, atol=1e-4)


def test_students_that_begin_alike_and_drop_nothing_stay_alike(bench):
    """Their divergence is 0, and so is its gradient: the same again as fine-tuning, whatever the weight."""
    plain, alone = (
        said(bench, planned(bench, name, **settings))[0]
        for name, settings in (("finetune", {}), ("mutual", {"weight": 5.0, "drop": 0.0}))
    )
    np.testing.assert_allclose(plain, alone, atol=1e-3)


def test_what_they_say_of_texts_without_labels_changes_them(bench):
    none, some = (said(bench, planned(bench, unlabelled=texts, epochs=4))[0] for texts in (None, TEXTS))
    assert np.abs(none - some).max() > 1e-3


def test_the_last_to_speak_tells_what_all_learn():
    """Each student's gradient is that of its own labels and of its own divergence, by autograd on all at once."""
    generator = torch.Generator().manual_seed(0)
    labels, weights = torch.tensor([0, 1, 1]), torch.tensor([1.0, 2.0, 1.0])
    features = torch.randn(3, 4, generator=generator)
    beside = torch.randn(2, 4, generator=generator)
    heads = [torch.randn(2, 4, generator=generator, requires_grad=True) for _ in range(3)]
    term = Mutual(peers=3, temperature=2.0, weight=0.5, drop=0.0)
    own = []
    for student, head in zip(peers(term), heads, strict=True):
        batch = Seen(
            features, beside, labels, weights, torch.ones(3, dtype=torch.bool), np.arange(3), np.arange(2), 0.0,
            lambda x, head=head: x @ head.T,
        )  # fmt: skip
        own.append(student(batch))
    found = torch.autograd.grad(torch.stack(own).sum(), heads)
    logits = [torch.cat([features, beside]) @ head.T for head in heads]
    every = torch.cat([weights, weights.mean().expand(2)])
    against = mutual_losses(logits, every, 2.0)
    for k, head in enumerate(heads):
        hard = (functional.cross_entropy(logits[k][:3], labels, reduction="none") * weights).sum() / weights.sum()
        (expected,) = torch.autograd.grad(hard + 0.5 * against[k], head, retain_graph=True)
        torch.testing.assert_close(found[k], expected)


def test_one_batch_after_another():
    first, second = peers(Mutual(2, 1.0, 1.0, 0.0))
    circle, ones = first._circle, torch.ones(1)
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert circle.hear(0, a, ones) == 0
    assert circle.hear(1, b, ones) > 0
    assert circle.hear(1, b, ones) == 0
    assert circle.hear(0, b, ones) == 0  # the same said by both
    assert second._circle is circle


def test_beside_adapters_of_another_job_each_ends_as_it_would_alone(bench):
    """Students in one pass with a third branch: the groups of a training do not mix who learns from whom."""
    jobs = [planned(bench, "lora", train_layers=1, epochs=2), planned(bench, train_layers=1, epochs=2, drop=0.0)]
    apart = [said(bench, job)[0] for job in jobs]
    for one, other in zip(said(bench, *jobs), apart, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_all_trainings_of_a_job_have_students(bench):
    data = TransferData(FEW, {"other": toy.examples(40, seed=8)})
    job = method("mutual").plan(toy.TASK, bench.backbone("encoder"), data, 0, peers=3)
    stages = [stage for stage in job.stages if isinstance(stage, Train)]
    assert len(stages) == 2
    assert {stage.term.peers for stage in stages} == {3}
    alone = dataclasses.replace(stages[0], term=None)
    assert alone.schedule == stages[0].schedule


@pytest.mark.parametrize(("setting", "value"), [("peers", 1), ("temperature", 0), ("weight", -1.0), ("drop", 1.0)])
def test_settings_that_mean_nothing(bench, setting, value):
    with pytest.raises(RecipeError, match=f"mutual.{setting}: {value}"):
        planned(bench, **{setting: value})
