"""The engine: stages over one trunk, shared by folds, and predictions that are the fitted path's own."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch
import toy

from transfuse.backbones.anatomy import Segment
from transfuse.engine import branch as branch_module
from transfuse.engine import fit as fit_module
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Rows, Schedule, Train, TransferData
from transfuse.engine.training import train
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import method
from transfuse.methods.rows import source_rows, target_rows

TARGET, SOURCE, TEST = toy.examples(24, seed=1), toy.examples(40, seed=2), toy.examples(20, seed=3).texts
SCHEDULE = Schedule(
    learning_rate=1e-2,
    head_learning_rate=1e-2,
    layer_decay=1.0,
    epochs=2,
    batch_size=8,
    warmup=0.1,
    weight_decay=0.0,
    anchor=0.0,
    contrastive=0.0,
    average_from=1.0,
)


def engine(kind: str = "encoder") -> Engine:
    return Engine(Trunk(toy.backbone(kind), "fp32", 96), 2)


def registered() -> Engine:
    """With all texts made known first, as a study does: the company of a text in its chunk never changes then."""
    one = engine()
    assert one.trunk is not None
    one.trunk.register([*SOURCE.texts, *TARGET.texts, *TEST])
    return one


def rows(examples: object = TARGET) -> Rows:
    return target_rows(toy.TASK, examples)


def on_source(seed: int = 0, adapter: dict[str, float] | None = None, fold: slice = slice(None)) -> Job:
    """Readout, head and training on the source, all shared; then training on a fold of the target."""
    source = source_rows(toy.TASK, {"other": SOURCE}, 1000)
    assert source is not None
    kept = range(len(TARGET))[fold]
    return Job(
        (
            ChooseReadout(source, (3,), ("mean",), (None,)),
            FitHead(source, (0.1,)),
            Train(source, 2, False, adapter, SCHEDULE),
            Train(rows(TARGET.take(kept)), 2, False, adapter, SCHEDULE),
        ),
        3,
        seed,
    )


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """Rows of every training stage that ran."""
    seen: list[int] = []
    train = fit_module.train

    def counted(backbone, pupils, **kwargs):
        seen.extend(len(pupil.rows) for pupil in pupils)
        return train(backbone, pupils, **kwargs)

    monkeypatch.setattr(fit_module, "train", counted)
    return seen


@pytest.mark.parametrize("adapter", [None, {"rank": 2, "alpha": 4, "dropout": 0.0}])
def test_the_source_stage_runs_once_for_all_folds(trained, adapter):
    shared = registered()
    folds = [slice(0, 16), slice(8, 24), slice(None, None, 2)]
    together = [shared.predict(shared.fit(on_source(adapter=adapter, fold=fold)), TEST) for fold in folds]
    assert trained == [40, 16, 16, 12]
    for fold, found in zip(folds, together, strict=True):
        alone = registered()
        path = alone.fit(on_source(adapter=adapter, fold=fold))
        np.testing.assert_array_equal(found, alone.predict(path, TEST))


def test_another_seed_or_source_is_not_shared(trained):
    one = engine()
    for job in (on_source(0), on_source(1), on_source(0)):
        one.fit(job)
    assert trained == [40, 24, 40, 24, 24]  # both source stages are kept


@pytest.mark.parametrize("adapter", [None, {"rank": 2, "alpha": 4, "dropout": 0.0}])
def test_a_branch_does_not_leak_into_the_next(adapter):
    one = engine()
    first = one.fit(on_source(adapter=adapter))
    before = one.predict(first, TEST)
    copies = {name: p.detach().clone() for name, p in first.trained.named_parameters()}
    second = one.fit(on_source(adapter=adapter, fold=slice(0, 8)))
    assert not np.allclose(one.predict(second, TEST), before, atol=1e-3)
    np.testing.assert_array_equal(one.predict(first, TEST), before)
    for name, p in first.trained.named_parameters():
        assert torch.equal(p, copies[name]), name


def test_copies_share_what_is_frozen():
    segment = tiny.load("bert").segment(1, 3, own=True)
    frozen = next(segment.layers[0].parameters()).requires_grad_(False)
    twin = branch_module.grown(segment)
    assert next(twin.layers[0].parameters()) is frozen
    assert next(twin.layers[1].parameters()) is not next(segment.layers[1].parameters())
    assert torch.equal(next(twin.layers[1].parameters()), next(segment.layers[1].parameters()))


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_the_backbone_stays(kind):
    network = toy.backbone(kind).network()
    before = {name: p.clone() for name, p in network.named_parameters()}
    for name in ("finetune", "lora"):
        engine(kind).fit(method(name).plan(toy.TASK, toy.backbone(kind), TransferData(TARGET), 0))
    for name, p in network.named_parameters():
        assert torch.equal(p, before[name]), name
        assert not p.requires_grad


PATHS = [
    ("encoder", "probe", {"layers": [2], "poolings": ["first"]}),
    ("encoder", "probe", {"template": "task"}),
    ("decoder", "probe", {}),
    ("encoder", "finetune", {"epochs": 2}),
    ("encoder", "finetune", {"epochs": 2, "train_layers": 1, "layer": 2, "template": "task"}),
    ("encoder", "finetune", {"epochs": 2, "train_embeddings": True, "train_layers": "all"}),
    ("decoder", "finetune", {"epochs": 2, "train_layers": 2}),
    ("decoder", "finetune", {"epochs": 2, "train_embeddings": True, "train_layers": "all"}),
    ("encoder", "lora", {"epochs": 2, "rank": 2}),
    ("decoder", "lora", {"epochs": 2, "train_layers": 2}),
    ("taught", "prompt", {"shots": 3}),
]


@pytest.mark.parametrize(("kind", "name", "settings"), PATHS)
def test_predictions_from_the_trunk_are_those_of_the_whole_path(kind, name, settings):
    """Precision fp32: what validation measures is what the shipped model answers."""
    one = engine(kind)
    path = one.fit(method(name).plan(toy.TASK, toy.backbone(kind), TransferData(TARGET), 0, **settings))
    texts = [*TEST, "", "ü 漢字 🙂", "red " * 60]
    through = one.predict(path, texts)
    assert through.shape == (len(texts), 2)
    assert np.ptp(through[:, 0]) > 0.01  # the path reads the text
    np.testing.assert_allclose(through, path.log_probabilities(texts), atol=1e-5)


def test_several_jobs_together_give_what_each_gives_alone(monkeypatch):
    """Adapters of the same layers share a pass; other adapters, trained layers and closed forms run on their own."""
    given = [
        ("lora", {"train_layers": 2, "epochs": 2, "rank": 2}),
        ("lora", {"train_layers": 2, "epochs": 4, "learning_rate": 1e-2, "c": 0.5}),
        ("probe", {}),
        ("lora", {"train_layers": 1, "epochs": 2}),
        ("finetune", {"train_layers": 2, "epochs": 2}),
        ("tfidf", {}),
    ]
    together, alone = registered(), registered()
    jobs = [
        method(name).plan(toy.TASK, toy.backbone("encoder"), TransferData(TARGET.take(range(i, 24))), i, **settings)
        for i, (name, settings) in enumerate(given)
    ]
    for module in toy.backbone("encoder").base().modules():
        if isinstance(module, torch.nn.Dropout):  # its draws are one sequence for all
            monkeypatch.setattr(module, "p", 0.0)
    trained = []
    monkeypatch.setattr(
        fit_module, "train", lambda b, pupils, **k: trained.append(len(pupils)) or train(b, pupils, **k)
    )
    paths = together.fit_all(jobs)
    assert sorted(trained) == [1, 1, 2]
    for path, job in zip(paths, jobs, strict=True):
        np.testing.assert_allclose(together.predict(path, TEST), alone.predict(alone.fit(job), TEST), atol=2e-3)
    assert together.fit_all([]) == []


@pytest.mark.parametrize("name", ["finetune", "lora"])
def test_a_seed_decides_everything(name):
    found = []
    for seed in (0, 0, 1):
        one = engine()
        path = one.fit(method(name).plan(toy.TASK, toy.backbone("encoder"), TransferData(TARGET), seed))
        found.append(one.predict(path, TEST))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])  # batches in another order


def test_cross_validation_costs_one_pass(monkeypatch):
    """Two repeats of four folds of the probe, over all layers and poolings: each text goes through the model once."""
    seen: list[int] = []
    forward = Segment.forward

    def counted(self, inputs, mask):
        seen.append(len(inputs))
        return forward(self, inputs, mask)

    monkeypatch.setattr(Segment, "forward", counted)
    one = engine()
    one.trunk.register(TARGET.texts)
    for seed in (0, 1):
        for k in range(4):
            train = TransferData(TARGET.take([i for i in range(24) if i % 4 != k]))
            path = one.fit(method("probe").plan(toy.TASK, toy.backbone("encoder"), train, seed, label_words=False))
            one.predict(path, TARGET.take(range(k, 24, 4)).texts)
    assert sum(seen) == 24


def planted(one: Engine, texts: tuple[str, ...]) -> np.ndarray:
    """The trunk's own features [N, layers, poolings, D] of some texts, all of them noise now."""
    one.trunk.features(texts, None)
    (known,) = one.trunk._kept.values()
    known[:] = np.random.default_rng(0).normal(size=known.shape)
    return known


def test_the_readout_is_the_one_with_the_least_leave_one_out_error():
    """Planted: layer 3 knows the labels best, in one pooling, and its neighbours a little."""
    one = engine("decoder")
    known = planted(one, TARGET.texts)
    labels = rows().labels
    for layer, strength in ((2, 0.5), (3, 5.0), (4, 0.5)):
        known[:, layer, 1] += strength * labels[:, None]
    path = one.fit(Job((ChooseReadout(rows(), (), (), (None,)), FitHead(rows(), (1.0,))), 0, 0))
    assert (path.layer, path.pooling) == (3, one.trunk.backbone.poolings[1])
    assert path.template is None


def test_the_target_alone_chooses_the_readout():
    """Source rows that say layer 1 are outvoted by target rows that say layer 2."""
    one = engine()
    many = Rows.join(rows(), dataclasses.replace(rows(SOURCE), target=np.zeros(40, dtype=bool)))
    known = planted(one, many.texts)
    known[:24, 2, 0] += 4 * many.labels[:24, None]
    known[24:, 1, 0] += 4 * many.labels[24:, None]
    choose = ChooseReadout(many, (1, 2), (one.trunk.backbone.poolings[0],), (None,))
    path = one.fit(Job((choose, FitHead(many, (1.0,))), 0, 0))
    assert path.layer == 2


def test_progress_is_told():
    told: list[float] = []
    Engine(Trunk(toy.backbone("encoder"), "fp32", 96), 2, tick=told.append).fit(on_source())
    assert told.count(1.0) == 2


def test_cut_layers_are_not_part_of_what_trains():
    path = engine().fit(on_source())
    assert (path.cut, path.layer) == (1, 3)
    assert len(path.trained.layers) == 2


def test_a_stage_may_go_part_of_the_way():
    """WiSE-FT: 0 is where the stage began, 1 where it ended, a half is between."""
    weights = {}
    for blend in (0.0, 0.5, 1.0):
        stages = (
            ChooseReadout(rows(), (3,), ("mean",), (None,)),
            FitHead(rows(), (0.1,)),
            Train(rows(), 2, False, None, SCHEDULE, blend=blend),
        )
        path = engine().fit(Job(stages, 0, 0))
        own = torch.cat([p.detach().flatten() for p in path.trained.parameters() if p.requires_grad])
        weights[blend] = (own, path.head.weight)
    begun = torch.cat([p.detach().flatten() for p in tiny.load("bert").segment(1, 3).layers.parameters()])
    torch.testing.assert_close(weights[0.0][0], begun)
    assert (weights[1.0][0] - begun).abs().max() > 1e-3
    for at in (0, 1):
        middle = (torch.as_tensor(weights[0.0][at]) + torch.as_tensor(weights[1.0][at])) / 2
        torch.testing.assert_close(torch.as_tensor(weights[0.5][at]), middle, rtol=1e-4, atol=1e-5)
