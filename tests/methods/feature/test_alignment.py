"""Alignment while layers train: what it is without its term, and that the term does its work."""

import numpy as np
import pytest
import toy

from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.losses import mmd
from transfuse.engine.trunk import Trunk
from transfuse.errors import RecipeError
from transfuse.methods.catalogue import method

both = pytest.mark.parametrize("name", ["mmd", "dann"])
SOURCE = toy.examples(48, seed=1)
SHIFTED = Examples(tuple(f"{text} zzzz" for text in toy.examples(48, seed=2).texts), toy.examples(48, seed=2).labels)


def fitted(name, data, **settings):
    engine = Engine(Trunk(toy.backbone("encoder"), "fp32", 64), 2)
    return engine.fit(method(name).plan(toy.TASK, toy.backbone("encoder"), data, 0, **settings)), engine


@both
def test_without_weight_it_is_fine_tuning_on_both(name):
    data = TransferData(toy.examples(12, seed=0), {"s": SOURCE})
    a, engine = fitted(name, data, weight=0.0, epochs=2)
    b, _ = fitted("finetune", data, sources="together", epochs=2)
    np.testing.assert_allclose(engine.predict(a, SOURCE.texts), engine.predict(b, SOURCE.texts), atol=1e-6)


@both
def test_a_weight_below_0_is_refused(name):
    with pytest.raises(RecipeError, match="weight: -1"):
        fitted(name, TransferData(SOURCE), weight=-1)


def test_the_discrepancy_falls():
    """Between source and shifted target, at the readout, against training without the term."""
    import torch

    data = TransferData(SHIFTED.take(range(8)), {"s": SOURCE}, unlabelled=Examples(SHIFTED.texts, None))
    found = []
    for weight in (0.0, 10.0):
        path, engine = fitted("mmd", data, weight=weight, epochs=8, learning_rate=2e-3)
        states = [engine.trunk.states(texts, None, path.cut) for texts in (SOURCE.texts, SHIFTED.texts)]
        features = [torch.from_numpy(engine.trunk.backbone.pooled(path.trained, one, path.pooling)) for one in states]
        found.append(mmd(*features).item())
    assert found[1] < 0.5 * found[0]
