"""Borrowed settings: types and defaults are the owner's, and nothing else is taken."""

import inspect
import typing

import pytest
import toy

from transfuse.engine.jobs import TransferData
from transfuse.methods.catalogue import method, settings


def test_types_and_defaults_are_those_of_the_owner():
    owner = settings("finetune")
    own = inspect.signature(method("curriculum").plan).parameters
    assert own["train_layers"].default == owner["train_layers"]
    hints = [typing.get_type_hints(method(name).plan) for name in ("curriculum", "finetune")]
    assert hints[0]["train_layers"] == hints[1]["train_layers"]
    assert "finetune" not in own


@pytest.mark.parametrize(("name", "setting"), [("curriculum", "contrastive"), ("ia3", "rank"), ("ties", "sources")])
def test_what_is_not_borrowed_is_refused(name, setting):
    data = TransferData(toy.examples(10, seed=0))
    with pytest.raises(TypeError, match=setting):
        method(name).plan(toy.TASK, toy.backbone("encoder"), data, 0, **{setting: 1})
