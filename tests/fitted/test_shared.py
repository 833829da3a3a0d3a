"""One trunk: what is frozen for all is computed once, and every role says what it says alone."""

from __future__ import annotations

import numpy as np
import pytest
from teams.models import chooses

from transfuse.fitted import load
from transfuse.fitted.shared import SharedTrunk

TEXTS = ["the good, the bad", "x", "a longer text about the good and the bad of it", "wörld 好的"]
INTENTS, VERDICTS = ("refund", "delivery", "other"), ("good", "bad")


@pytest.fixture(scope="module")
def models():
    """A probe below the top, one at the top, layers of their own from two cuts, and three adapters."""
    return [
        chooses(INTENTS, 1, layer=2),
        chooses(VERDICTS, 2),
        chooses(INTENTS, 3, cut=2),
        chooses(VERDICTS, 4, cut=1),
        chooses(INTENTS, 5, cut=1, rank=2),
        chooses(VERDICTS, 6, cut=1, rank=3),
        chooses(VERDICTS, 7, cut=2, rank=2),
    ]


@pytest.fixture
def counted(models):
    """Rows that went through each layer of the backbone itself."""
    layers = models[0].path.backbone.base().layers
    counts = np.zeros(len(layers), dtype=int)
    hooks = [
        layer.register_forward_hook(lambda _m, given, _o, i=i: counts.__setitem__(i, counts[i] + len(given[0])))
        for i, layer in enumerate(layers)
    ]
    yield counts
    for hook in hooks:
        hook.remove()


def trunk_of(models) -> SharedTrunk:
    trunk = SharedTrunk(models[0].path.backbone)
    for model in models:
        trunk.add(model.path)
    return trunk


def test_every_role_says_what_it_says_alone(models):
    asked = [(model, text) for text in TEXTS for model in models]
    found = trunk_of(models).log_probabilities([m.path for m, _ in asked], [t for _, t in asked])
    for (model, text), row in zip(asked, found, strict=True):
        np.testing.assert_allclose(row, model.path.log_probabilities([text])[0], atol=1e-5)


def test_the_shared_prefix_is_computed_once(models, counted):
    asked = [(model, text) for text in TEXTS for model in models]
    trunk_of(models).log_probabilities([m.path for m, _ in asked], [t for _, t in asked])
    shared = counted.copy()
    counted[:] = 0
    for model in models:
        model.path.log_probabilities(TEXTS)
    assert shared.tolist() == [len(TEXTS)] * 3, "each layer of the backbone once a text"
    assert counted[0] == len(models) * len(TEXTS)


def test_a_request_is_encoded_once_whoever_asks_later(models, counted):
    trunk = trunk_of(models)
    for model in models:
        trunk.log_probabilities([model.path], TEXTS[:1])
    assert (counted[0], trunk.encoded) == (1, 1)
    trunk.forget()
    trunk.log_probabilities([models[0].path], TEXTS[:1])
    assert trunk.encoded == 2


def test_adapters_run_side_by_side(models, monkeypatch):
    """Two adapters of the same layers are one batch, and the third one, of other layers, is not."""
    trunk = trunk_of(models)
    lora = models[4:]
    sizes = []
    whole = trunk._side_by_side
    monkeypatch.setattr(
        trunk, "_side_by_side", lambda alike, paths, s: sizes.append(len(paths)) or whole(alike, paths, s)
    )
    trunk.log_probabilities([m.path for m in lora], TEXTS[:3])
    assert sizes == [2]


def test_memory_is_one_backbone_and_the_branches(models, tmp_path):
    """Loaded from disk, adapters bring their own numbers alone; everything else is the backbone's."""
    models[4].save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), models[4].predict_proba(TEXTS), atol=1e-6)
    own = {p.data_ptr() for p in loaded.path.backbone.network().parameters()}
    new = [p for p in loaded.path.trained.layers.parameters() if p.data_ptr() not in own]
    assert sum(p.numel() for p in new) == sum(p.numel() for p in loaded.path.trained.parameters() if p.requires_grad)
