"""Co-Tuning and relational distillation: what they are without a source, what they take over."""

import numpy as np
import pytest
import toy

from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Train, TransferData
from transfuse.engine.terms import CoTune, Relate
from transfuse.engine.trunk import Trunk
from transfuse.errors import RecipeError
from transfuse.methods.catalogue import method

TARGET, SOURCE = toy.examples(12, seed=0), toy.examples(60, seed=1)
RELATED = Examples(SOURCE.texts, tuple({"warm": "hot", "cold": "icy"}[label] for label in SOURCE.labels))


def fitted(name, data, **settings):
    engine = Engine(Trunk(toy.backbone("encoder"), "fp32", 64), 2)
    job = method(name).plan(toy.TASK, toy.backbone("encoder"), data, 0, **settings)
    return engine.predict(engine.fit(job), SOURCE.texts), job


@pytest.mark.parametrize("name", ["cotuning", "rkd"])
def test_without_a_source_it_is_fine_tuning(name):
    layer = toy.backbone("encoder").layers
    a, _ = fitted(name, TransferData(TARGET))
    b, _ = fitted("finetune", TransferData(TARGET), layer=layer)
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_cotuning_learns_from_labels_of_its_own():
    found, job = fitted("cotuning", TransferData(TARGET, {}, {"other": RELATED}), source_epochs=3)
    assert [stage.term for stage in job.stages if isinstance(stage, Train)][-1] == CoTune(1.0, 0.1)
    assert job.shared == 3
    plain, _ = fitted("cotuning", TransferData(TARGET))
    truth = toy.TASK.encode(SOURCE.labels)
    assert -found[np.arange(60), truth].mean() < -plain[np.arange(60), truth].mean()


def test_the_student_begins_with_the_pretrained_layers():
    """With rates of 0 the source's stage leaves no trace: the layers are the pretrained ones."""
    none = {"learning_rate": 0.0}
    with_source, job = fitted("rkd", TransferData(TARGET, {"s": SOURCE}), **none)
    assert isinstance(job.stages[-1].term, Relate)
    again, _ = fitted("rkd", TransferData(TARGET, {"s": SOURCE}), source_epochs=3, **none)
    np.testing.assert_allclose(with_source, again, atol=1e-5)


def test_weights_below_0_are_refused():
    with pytest.raises(RecipeError, match="one is below 0"):
        fitted("rkd", TransferData(TARGET), angles=-1)
