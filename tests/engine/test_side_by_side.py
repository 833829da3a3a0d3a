"""Branches that train and answer side by side: what each would be alone."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones import adapters
from transfuse.backbones.pooling import pool
from transfuse.backbones.tokens import States
from transfuse.engine.jobs import Rows, Schedule
from transfuse.engine.training import Pupil, train
from transfuse.fitted.head import Head

PLAIN = Schedule(
    learning_rate=1e-2,
    head_learning_rate=1e-2,
    layer_decay=0.9,
    epochs=3,
    batch_size=8,
    warmup=0.1,
    weight_decay=0.01,
    anchor=0.0,
    contrastive=0.0,
    average_from=1.0,
)
SETTINGS = {"rank": 2, "alpha": 4, "dropout": 0.0}
SCHEDULES = (
    PLAIN,
    dataclasses.replace(PLAIN, learning_rate=3e-2, epochs=5, batch_size=6, anchor=0.1),
    dataclasses.replace(PLAIN, contrastive=0.5, average_from=0.5, warmup=0.0),
)
FAMILIES = pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "gemma3_text"])


def pupils(family: str, *, adapted: bool) -> list[Pupil]:
    """Three tasks with 2, 3 and 4 classes, rows, lengths, rates and seeds of their own."""
    backbone, out = tiny.load(family), []
    for number, schedule in enumerate(SCHEDULES):
        generator = np.random.default_rng(number)
        count, classes = 20 + 5 * number, 2 + number
        labels = np.arange(count) % classes
        texts = [f"{'abcd'[label] * 3} {'x ' * int(generator.integers(9))}" for label in labels]
        tokens = backbone.tokens(texts, None, 64)
        segment = backbone.segment(1, 3, own=True, shared=adapted, states=True)
        if adapted:
            adapters.add(segment, SETTINGS, seed=number)
        for module in segment.modules():
            if isinstance(module, torch.nn.Dropout):  # GPT-2 has some by default; its draws are one sequence
                module.p = 0.0
        states = States.of(backbone.states(tokens, 1), tokens)
        rows = Rows(tuple(texts), labels, generator.uniform(0.5, 2, count), np.ones(count, dtype=bool))
        out.append(Pupil(segment, Head.empty(backbone.width, classes), "last", states, rows, schedule, number))
    return out


def trained(pupil: Pupil) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in pupil.segment.named_parameters() if p.requires_grad}


@FAMILIES
@pytest.mark.parametrize("adapted", [True, False], ids=["adapters", "layers"])
def test_training_side_by_side_is_training_one_at_a_time(family, adapted):
    backbone = tiny.load(family)
    together, alone = pupils(family, adapted=adapted), pupils(family, adapted=adapted)
    heads = train(backbone, together, precision="fp32")
    for one, other, head in zip(together, alone, heads, strict=True):
        before = {name: p.clone() for name, p in trained(other).items()}
        (own,) = train(backbone, [other], precision="fp32")
        np.testing.assert_allclose(head.weight, own.weight, atol=2e-4)
        moved = 0.0
        for name, parameter in trained(one).items():
            torch.testing.assert_close(parameter, trained(other)[name], rtol=0, atol=2e-4)
            moved = max(moved, float((parameter - before[name]).abs().max()))
        assert moved > 1e-2, "nothing was learnt"


@FAMILIES
def test_gradients_of_a_mixed_batch_are_those_of_each_alone(family):
    """Batches of unequal size and length, and no optimizer between."""
    found = pupils(family, adapted=True)
    for pupil in found:
        for name, parameter in pupil.segment.named_parameters():
            if "lora_B" in name:
                parameter.data += 0.1
    batches = [pupil.states.batch(range(3 + i)) for i, pupil in enumerate(found)]

    def gradients(hidden: torch.Tensor, pupil: Pupil, mask: torch.Tensor) -> list[torch.Tensor]:
        loss = pool(hidden, mask, "last").square().mean()
        parameters = [p for p in pupil.segment.parameters() if p.requires_grad]
        return list(torch.autograd.grad(loss, parameters, retain_graph=True))

    mixed = adapters.SideBySide([pupil.segment for pupil in found])([0, 1, 2], batches)
    for pupil, one, (values, mask) in zip(found, mixed, batches, strict=True):
        alone = pupil.segment(values, mask)
        torch.testing.assert_close(one * mask[..., None], alone * mask[..., None], rtol=1e-4, atol=1e-5)
        for a, b in zip(gradients(one, pupil, mask), gradients(alone, pupil, mask), strict=True):
            assert a.abs().max() > 0
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()) + 1e-7)


@FAMILIES
def test_any_of_them_answer_in_one_mixed_batch(family):
    found = pupils(family, adapted=True)
    train(tiny.load(family), found, precision="fp32")
    mixed = adapters.SideBySide([pupil.segment for pupil in found])
    order = [2, 0, 2]
    batches = [tuple(found[k].states.batch([i, i + 4])) for i, k in enumerate(order)]
    with torch.inference_mode():
        answers = mixed(order, batches)
        for k, answer, (values, mask) in zip(order, answers, batches, strict=True):
            torch.testing.assert_close(answer * mask[..., None], found[k].segment(values, mask) * mask[..., None])


def test_adapters_share_the_frozen_weights_and_leave_them_alone():
    backbone = tiny.load("llama")
    before = {name: p.clone() for name, p in backbone.network().named_parameters()}
    found = pupils("llama", adapted=True)
    train(backbone, found, precision="fp32")
    own = {id(p) for p in backbone.network().parameters()}
    for pupil in found:
        frozen = [p for p in pupil.segment.layers.parameters() if not p.requires_grad]
        assert frozen
        assert all(id(p) in own for p in frozen)
    for name, parameter in backbone.network().named_parameters():
        assert torch.equal(parameter, before[name])
        assert not parameter.requires_grad
