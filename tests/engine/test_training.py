"""The training loop: its batches, its rates, its penalty, and what it leaves alone."""

import dataclasses
import itertools

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.pooling import pool
from transfuse.backbones.tokens import States
from transfuse.engine import training
from transfuse.engine.epochs import epochs
from transfuse.engine.jobs import Rows, Schedule
from transfuse.engine.losses import cross_entropy
from transfuse.engine.training import Average, Pupil, train
from transfuse.fitted.head import Head

PLAIN = Schedule(
    learning_rate=1e-2,
    head_learning_rate=1e-2,
    layer_decay=1.0,
    epochs=4,
    batch_size=8,
    warmup=0.1,
    weight_decay=0.0,
    anchor=0.0,
    contrastive=0.0,
    average_from=1.0,
)
WORDS = ("good fine nice", "bad poor awful")


@dataclasses.dataclass
class Bench:
    """One stage of training on the last two of a tiny BERT's three layers."""

    states: States
    rows: Rows
    head: Head

    def run(self, schedule: Schedule, seed: int = 0, **other: object) -> tuple[Segment, Head]:
        backbone = tiny.load("bert")
        segment = backbone.segment(1, 3, own=True)
        pupil = Pupil(segment, self.head, "mean", self.states, self.rows, schedule, seed)
        (head,) = train(backbone, [pupil], precision="fp32", **other)
        return segment, head

    def loss(self, segment: Segment, head: Head) -> float:
        values, mask = self.states.batch(range(len(self.rows)))
        with torch.inference_mode():
            features = pool(segment(values, mask), mask, "mean").numpy()
        logits = torch.tensor(head.logits(features))
        return float(cross_entropy(logits, torch.tensor(self.rows.labels), torch.tensor(self.rows.weights)))


@pytest.fixture
def bench() -> Bench:
    generator = np.random.default_rng(0)
    labels = np.arange(30) % 2
    shuffled = [" ".join(generator.permutation(WORDS[label].split())) for label in labels]
    texts = [text + " x" * int(generator.integers(9)) for text in shuffled]
    backbone = tiny.load("bert")
    tokens = backbone.tokens(texts, None, 64)
    states = States.of(backbone.states(tokens, 1), tokens)
    rows = Rows(tuple(texts), labels, np.ones(30), np.ones(30, dtype=bool))
    width = backbone.width
    start = (np.zeros(width), np.ones(width), np.zeros((2, width)), np.zeros(2))
    head = Head(*(x.astype(np.float32) for x in start))
    return Bench(states, rows, head)


def weights_of(segment: Segment) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in segment.layers.parameters()])


def start() -> torch.Tensor:
    return weights_of(tiny.load("bert").segment(1, 3))


def test_loss_falls_and_the_backbone_stays(bench):
    before = {name: p.clone() for name, p in tiny.load("bert").network().named_parameters()}
    untrained = bench.loss(tiny.load("bert").segment(1, 3), bench.head)
    assert untrained == pytest.approx(np.log(2), rel=1e-5)
    segment, head = bench.run(dataclasses.replace(PLAIN, epochs=20))
    assert bench.loss(segment, head) < 0.5 * untrained
    assert (weights_of(segment) != start()).float().mean() > 0.9
    for name, p in tiny.load("bert").network().named_parameters():
        assert torch.equal(p, before[name]), name
        assert not p.requires_grad


def test_dropout_is_off_unless_asked_for(bench):
    """In one step on all rows its draws are all that a seed decides, but for weights whose gradient is rounding."""
    whole = dataclasses.replace(PLAIN, batch_size=30, epochs=1)
    bench.head = dataclasses.replace(bench.head, weight=np.eye(2, bench.head.weight.shape[1], dtype=np.float32))
    plain, again, dropped, other = (
        weights_of(bench.run(dataclasses.replace(whole, dropout=dropout), seed)[0])
        for dropout, seed in ((False, 0), (False, 1), (True, 0), (True, 1))
    )
    moved = [
        float(((a - b).abs() > 1e-4).float().mean()) for a, b in ((plain, again), (plain, dropped), (dropped, other))
    ]
    assert moved[0] < 0.02, moved
    assert min(moved[1:]) > 0.05


def test_the_seed_decides_where_rates_are_measured_under_dropout(bench):
    """The gradients that rates are taken from are drawn under dropout too, whatever was drawn before in the process."""
    bench.head = dataclasses.replace(bench.head, weight=np.eye(2, bench.head.weight.shape[1], dtype=np.float32))
    schedule = dataclasses.replace(PLAIN, surgical=True, dropout=True, epochs=1)
    found = []
    for before in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(before)
            found.append(weights_of(bench.run(schedule, seed=5)[0]))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_surgical_rates_follow_the_relative_gradients(bench, monkeypatch):
    """A layer without a gradient does not move; equal norms leave the rates as they are."""
    bench.head = dataclasses.replace(bench.head, weight=np.eye(2, bench.head.weight.shape[1], dtype=np.float32))
    plain, _ = bench.run(PLAIN)
    schedule = dataclasses.replace(PLAIN, surgical=True)
    monkeypatch.setattr(training, "relative_norm", lambda parameters: 2.0)
    assert torch.equal(weights_of(bench.run(schedule)[0]), weights_of(plain))
    norms = itertools.cycle([1.0, 0.0])
    monkeypatch.setattr(training, "relative_norm", lambda parameters: next(norms))
    upper, lower = reversed(bench.run(schedule)[0].layers)
    first = tiny.load("bert").segment(1, 3).layers
    assert torch.equal(*(next(x.parameters()).detach() for x in (lower, first[0])))
    assert not torch.equal(*(next(x.parameters()).detach() for x in (upper, first[1])))


def test_the_layers_learn_not_the_head_alone(bench):
    """With a head that cannot move, the loss falls all the same."""
    fixed = dataclasses.replace(
        bench.head, weight=np.random.default_rng(0).normal(size=bench.head.weight.shape).astype(np.float32)
    )
    bench.head = fixed
    segment, head = bench.run(dataclasses.replace(PLAIN, head_learning_rate=0.0, epochs=20))
    np.testing.assert_array_equal(head.weight, fixed.weight)
    assert bench.loss(segment, head) < 0.5 * bench.loss(tiny.load("bert").segment(1, 3), fixed)


def test_a_seed_decides_everything(bench):
    schedule = dataclasses.replace(PLAIN, contrastive=0.5, average_from=0.3)
    torch.manual_seed(1)
    a = weights_of(bench.run(schedule, seed=3)[0])
    torch.manual_seed(2)  # what ran before does not matter
    np.random.default_rng(0).random()
    b = weights_of(bench.run(schedule, seed=3)[0])
    c = weights_of(bench.run(schedule, seed=4)[0])
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_training_leaves_the_global_generator_alone(bench):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    bench.run(PLAIN)
    assert torch.equal(torch.rand(3), expected)


def test_no_epochs_leave_layers_and_head_where_they_are(bench):
    bench.head = dataclasses.replace(bench.head, bias=np.array([0.5, -0.5], dtype=np.float32))
    segment, head = bench.run(dataclasses.replace(PLAIN, epochs=0, average_from=0.0, anchor=0.1))
    assert torch.equal(weights_of(segment), start())
    for field in ("mean", "scale", "weight", "bias"):
        np.testing.assert_array_equal(getattr(head, field), getattr(bench.head, field))


def test_rows_of_little_weight_teach_little(bench):
    """Rows with turned labels and next to no weight do not change what is learnt."""
    turned = bench.rows.labels.copy()
    turned[:10] = 1 - turned[:10]
    weights = np.where(np.arange(30) < 10, 1e-4, 1.0)
    truth = bench.rows
    bench.rows = dataclasses.replace(truth, labels=turned, weights=weights)
    light = bench.run(dataclasses.replace(PLAIN, epochs=20))
    bench.rows = dataclasses.replace(truth, labels=turned)
    heavy = bench.run(dataclasses.replace(PLAIN, epochs=20))
    bench.rows = truth
    assert bench.loss(*light) < 0.7 * bench.loss(*heavy)


def test_progress_rises_to_one(bench):
    told: list[float] = []
    bench.run(PLAIN, tick=told.append)
    assert told == sorted(told)
    assert len(told) == 4 * 4
    assert told[-1] == 1.0


# L2-SP (Li et al. 2018)


def test_l2_sp_is_the_gradient_of_its_penalty(bench, monkeypatch):
    """Three steps of plain gradient descent equal those on loss + α/2 ‖w - w₀‖² by autograd; the head is not pulled."""
    alpha, rate = 0.7, 0.05
    schedule = dataclasses.replace(PLAIN, anchor=alpha, epochs=1, batch_size=10, warmup=0.0)

    def descent(segment, _schedule, heads):
        layers = [p for p in segment.parameters() if p.requires_grad]
        return torch.optim.SGD([*layers, *heads[0].parameters()], lr=rate), layers

    monkeypatch.setattr(training, "_optimizer", descent)
    monkeypatch.setattr(training, "_factor", lambda *_: 1.0)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)
    segment, head = bench.run(schedule)

    mine = tiny.load("bert").segment(1, 3, own=True)
    live = training.LiveHead(bench.head, torch.device("cpu"))
    layers = [p for p in mine.parameters() if p.requires_grad]
    origin = [p.detach().clone() for p in layers]
    labels, weights = torch.tensor(bench.rows.labels), torch.tensor(bench.rows.weights, dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for chosen in epochs(bench.states.lengths, bench.rows.labels, schedule, 0):
            values, mask = bench.states.batch(chosen)
            loss = cross_entropy(live(pool(mine(values, mask), mask, "mean")), labels[chosen], weights[chosen])
            loss = loss + alpha / 2 * sum(((p - o) ** 2).sum() for p, o in zip(layers, origin, strict=True))
            gradients = torch.autograd.grad(loss, [*layers, *live.parameters()])
            with torch.no_grad():
                for p, gradient in zip([*layers, *live.parameters()], gradients, strict=True):
                    p -= rate * gradient
    assert torch.allclose(weights_of(segment), weights_of(mine), atol=1e-6)
    np.testing.assert_allclose(head.weight, live.frozen().weight, atol=1e-6)


def test_a_huge_anchor_keeps_the_weights(bench):
    schedule = dataclasses.replace(PLAIN, epochs=20)
    free, held = (
        float((weights_of(bench.run(dataclasses.replace(schedule, anchor=a))[0]) - start()).norm()) for a in (0.0, 1e4)
    )
    assert held < 0.1 * free


# The contrastive term


def test_the_contrastive_term_gathers_classes(bench):
    """With the head fixed at nothing, only the contrastive term can move the layers."""
    schedule = dataclasses.replace(PLAIN, head_learning_rate=0.0, epochs=12, dropout=True)
    assert torch.equal(weights_of(bench.run(schedule)[0]), start())
    segment, _ = bench.run(dataclasses.replace(schedule, contrastive=1.0))

    def closeness(of: Segment) -> float:
        values, mask = bench.states.batch(range(30))
        with torch.inference_mode():
            z = torch.nn.functional.normalize(pool(of(values, mask), mask, "mean"), dim=1)
        same = torch.tensor(bench.rows.labels)[:, None] == torch.tensor(bench.rows.labels)[None, :]
        return float((z @ z.T)[same].mean() - (z @ z.T)[~same].mean())

    assert closeness(segment) > closeness(tiny.load("bert").segment(1, 3)) + 0.2


# Rates


def test_each_layer_learns_less_than_the_one_above():
    backbone = tiny.load("bert")
    rates = {"learning_rate": 1e-3, "head_learning_rate": 7e-3, "layer_decay": 0.5}
    schedule = dataclasses.replace(PLAIN, **rates, weight_decay=0.1)
    head = training.LiveHead(Head(*(np.zeros(s, dtype=np.float32) for s in (16, 16, (2, 16), 2))), torch.device("cpu"))
    for embeddings in (False, True):
        segment = backbone.segment(0, 3, own=True, states=not embeddings)
        optimizer, layers = training._optimizer(segment, schedule, (head, None))
        rates = [group["lr"] for group in optimizer.param_groups]
        decays = [group["weight_decay"] for group in optimizer.param_groups]
        assert rates == pytest.approx([1e-3, 5e-4, 2.5e-4, *([1.25e-4] if embeddings else []), 7e-3])
        assert decays == [*[0.1] * (len(rates) - 1), 0.0]
        assert sum(p.numel() for p in layers) == sum(p.numel() for p in segment.parameters() if p.requires_grad)
        top = {id(p) for p in optimizer.param_groups[0]["params"]}
        assert top == {id(p) for p in segment.layers[2].parameters()}


def test_the_rate_rises_then_falls():
    factors = [training._factor(step, 100, 0.2) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 21)
    assert factors[:20] == sorted(factors[:20])
    assert factors[20] == pytest.approx(1.0)
    assert max(factors) <= 1.0
    assert factors[20:] == sorted(factors[20:], reverse=True)
    assert factors[60] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.05
    assert training._factor(0, 10, 0.0) == 1.0
    assert [training._factor(s, 0, w) for s in (0, 1) for w in (0.0, 0.5)] == pytest.approx([0.02] * 4)


# Batches


@pytest.mark.parametrize("contrastive", [0.0, 1.0])
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 200])
def test_batches_cover_every_row_once_an_epoch(rows, contrastive):
    generator = np.random.default_rng(0)
    lengths, labels = generator.integers(1, 60, rows), generator.integers(0, 3, rows)
    schedule = dataclasses.replace(PLAIN, epochs=3, contrastive=contrastive)
    found = list(epochs(lengths, labels, schedule, seed=0))
    per_epoch = -(-rows // 8)
    assert len(found) == 3 * per_epoch
    assert max(len(batch) for batch in found) <= 8
    orders = [np.concatenate(found[i * per_epoch : (i + 1) * per_epoch]) for i in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(rows))
    if rows == 200:
        assert not np.array_equal(orders[0], orders[1])
        again = list(epochs(lengths, labels, schedule, seed=0))
        assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
        other = list(epochs(lengths, labels, schedule, seed=1))
        assert not np.array_equal(np.concatenate(other), np.concatenate(found))


@pytest.mark.parametrize("contrastive", [0.0, 1.0])
def test_batches_hold_rows_of_similar_length(contrastive):
    lengths = np.random.default_rng(0).integers(1, 100, 512)
    schedule = dataclasses.replace(PLAIN, epochs=1, contrastive=contrastive)
    found = list(epochs(lengths, np.zeros(512), schedule, seed=0))
    padded = sum(lengths[batch].max() * len(batch) for batch in found)
    shuffled = np.random.default_rng(1).permutation(512).reshape(-1, 8)
    assert padded < (0.85 if contrastive else 0.75) * sum(lengths[batch].max() * 8 for batch in shuffled)


def test_contrastive_batches_hold_pairs_even_of_many_classes():
    labels = np.arange(200) % 100
    found = list(epochs(np.ones(200), labels, dataclasses.replace(PLAIN, epochs=1, contrastive=1.0), seed=0))
    paired = sum((labels[batch][:, None] == labels[batch][None, :]).sum() - len(batch) for batch in found)
    assert paired == 200


# Averaging (Izmailov et al. 2018)


def test_average_is_the_mean_of_the_steps_from_the_first_on():
    parameter = torch.nn.Parameter(torch.zeros(2))
    average = Average([parameter], first=2)
    for step, value in enumerate([100.0, 50.0, 1.0, 2.0, 6.0]):
        parameter.data = torch.full((2,), value)
        average.update(step)
    average.apply()
    assert parameter.tolist() == pytest.approx([3.0, 3.0])


def test_average_of_no_steps_leaves_the_last_weights():
    parameter = torch.nn.Parameter(torch.tensor([4.0]))
    average = Average([parameter], first=9)
    average.update(0)
    average.apply()
    assert parameter.item() == 4.0


def test_training_averages_layers_and_head(bench):
    last, averaged = (bench.run(dataclasses.replace(PLAIN, average_from=share)) for share in (1.0, 0.0))
    assert not torch.equal(weights_of(last[0]), weights_of(averaged[0]))
    assert not np.array_equal(last[1].weight, averaged[1].weight)
    near, far = ((weights_of(s) - start()).norm() for s in (averaged[0], last[0]))
    assert near < far


# The head


def test_the_live_head_is_the_head():
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=s).astype(np.float32) for s in (16, 16, (3, 16), 3)]
    arrays[1] = np.abs(arrays[1]) + 0.1
    features = generator.normal(size=(5, 16)).astype(np.float32) * 3
    for normalise in (False, True):
        head = Head(*arrays, normalise)
        live = training.LiveHead(head, torch.device("cpu"))
        found = live(torch.tensor(features)).detach().numpy()
        np.testing.assert_allclose(found, head.logits(features), rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(live.frozen().weight, head.weight)
        assert live.frozen().normalise == normalise
