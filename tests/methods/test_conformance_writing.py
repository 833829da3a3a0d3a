"""One suite over every method for tasks that write, with no exception by name."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re

import numpy as np
import pytest
import toy

import transfuse.fitted.model
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Job, TransferData
from transfuse.engine.trunk import Trunk
from transfuse.engine.write import Answers
from transfuse.errors import DataError, ModelError, RecipeError
from transfuse.fitted import FittedWriter, load
from transfuse.methods.catalogue import METHODS, WRITING, method, no_transfer, of_kind, settings
from transfuse.tasks.writing import KINDS, Writing

TASK = Writing("generate", template="{text} =", max_new_tokens=12)
TARGET, TEST = toy.examples(40, seed=1), toy.examples(30, seed=2)
every_method = pytest.mark.parametrize("name", of_kind("generate"))
QUICK = {"learning_rate": 5e-3, "epochs": 12, "train_layers": "all"}
"""What lets a model of two layers learn within seconds."""


def backbone(name):
    return None if method(name, "generate").reads == "nothing" else toy.backbone("taught")


def told(name):
    """Settings for a toy, where the method trains."""
    return {k: v for k, v in QUICK.items() if k in settings(name, "generate")}


def fitted(name, target=TARGET, extra=None, seed=0, task=TASK, **changed):
    own = backbone(name)
    engine = Engine(None if own is None else Trunk(own, "fp32", 64), 0)
    job = method(name, "generate").plan(task, own, TransferData(target, extra or {}), seed, **{**told(name), **changed})
    return engine.fit(job)


def model(name, **other):
    own = backbone(name)
    fields = {} if own is None else {k: getattr(own, k) for k in ("reference", "revision", "licence", "family")}
    fields |= {} if own is None else {"resolved": own.reference}
    return FittedWriter(TASK, fitted(name, **other), method=name, backbone=fields)


@every_method
def test_a_row_of_weight_0_plans_nothing(name):
    """With a source, where texts of the target show where it lies, and a row whose text stands nowhere else."""
    light = Examples((*TARGET.texts, "elsewhere"), (*TARGET.labels, "warm"), weights=np.array([1.0] * 40 + [0.0]))
    a, b = (
        method(name, "generate").plan(TASK, backbone(name), TransferData(rows, {"source": TEST}), 0).key()
        for rows in (dataclasses.replace(TARGET, weights=np.ones(40)), light)
    )
    assert a == b


@every_method
def test_no_rows_of_a_source_are_refused(name):
    for value in (0, -5) if "source_limit" in settings(name, "generate") else ():
        with pytest.raises(RecipeError, match=f"source_limit: {value}"):
            method(name, "generate").plan(
                TASK, backbone(name), TransferData(TARGET, {"source": TEST}), 0, source_limit=value
            )


@every_method
def test_it_answers(name):
    """What learns or looks up is right; a prompt of this decoder has the first letter; a copy is a copy.

    What changes no layer cannot teach this decoder a word that it has never written, only make it likelier.
    """
    path = fitted(name)
    found = path.answers(TEST.texts)
    family = method(name, "generate").family
    if name == "copy":
        assert list(found) == list(TEST.texts)
    elif family == "prompt":
        assert np.mean([a[:1] == b[:1] for a, b in zip(found, TEST.labels, strict=True)]) > 0.7
    elif told(name) and "train_layers" not in told(name):
        asked = fitted("prompt", shots=0)
        after, before = (one.bits(TEST.texts, TEST.labels)[:, 0].mean() for one in (path, asked))
        assert after < 0.8 * before
    else:
        assert np.mean([a == b for a, b in zip(found, TEST.labels, strict=True)]) > 0.7


@every_method
def test_save_and_load(name, tmp_path, monkeypatch):
    one = model(name)
    texts = [*TEST.texts[:4], "漢字 ü 🙂", "{text}"]
    found = one.predict(texts)
    assert len(found) == 6
    assert all(isinstance(answer, str) for answer in found)
    one.save(tmp_path / "model")
    monkeypatch.setattr(transfuse.fitted.model, "_LOADED", {})
    again = load(tmp_path / "model")
    assert isinstance(again, FittedWriter)
    assert (again.method, again.task) == (name, TASK)
    assert again.predict(texts) == found
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["path"]["kind"] == one.path.kind
    assert {p.suffix for p in (tmp_path / "model").iterdir()} <= {".json", ".safetensors", ".md"}


@every_method
def test_a_seed_decides_everything(name):
    a, b = (fitted(name, seed=7).answers(TEST.texts[:8]) for _ in range(2))
    assert list(a) == list(b)


@every_method
def test_both_precisions_answer_alike(name):
    one = model(name)
    exact, rough = (one.predict(TEST.texts, precision=precision) for precision in ("fp32", "bf16"))
    assert np.mean([a == b for a, b in zip(exact, rough, strict=True)]) > 0.5
    with pytest.raises(ModelError, match="precision 'int8'"):
        one.predict(TEST.texts, precision="int8")


@every_method
def test_one_row(name):
    assert len(fitted(name, TARGET.take([0])).answers(TEST.texts[:3])) == 3


@every_method
def test_answers_of_several_lines_and_none(name):
    rows = Examples(("one", "two", "three"), ("a\nb", "", "c"))
    assert len(fitted(name, rows).answers(["one", ""])) == 2


@every_method
def test_what_rows_count_beside_each_other_changes_those_that_weigh_them(name):
    """Each row with both answers, the right one of weight 1: of the other .05 and 1."""
    turned = tuple("cold" if label == "warm" else "warm" for label in TARGET.labels)
    rows = [Examples(TARGET.texts * 2, TARGET.labels + turned, weights=np.repeat([1.0, w], 40)) for w in (0.05, 1.0)]
    short = {"epochs": 1} if "epochs" in settings(name, "generate") else {}
    a, b = (fitted(name, target, **short) for target in rows)
    if backbone(name) is None:
        assert (list(a.answers(TEST.texts)) != list(b.answers(TEST.texts))) == method(name, "generate").weighs
    else:
        apart = np.abs(a.bits(TEST.texts, TEST.labels) - b.bits(TEST.texts, TEST.labels)).max()
        assert (apart > 1e-3) == method(name, "generate").weighs


@every_method
def test_rows_of_weight_0_are_as_if_they_were_not_there(name):
    turned = tuple("cold" if label == "warm" else "warm" for label in TARGET.labels)
    both = Examples((*TARGET.texts, *TARGET.texts), (*TARGET.labels, *turned), weights=np.repeat([1.0, 0.0], 40))
    a, b = (fitted(name, rows, epochs=3) if told(name) else fitted(name, rows) for rows in (TARGET, both))
    assert list(a.answers(TEST.texts[:8])) == list(b.answers(TEST.texts[:8]))


@every_method
def test_all_weights_0_name_the_data(name):
    with pytest.raises(DataError, match=r"rows\.csv: 40 rows, none of a weight above 0"):
        fitted(name, dataclasses.replace(TARGET, weights=np.zeros(40), origin="rows.csv"))


@every_method
def test_a_source_that_counts_nothing_is_no_source(name):
    light = dataclasses.replace(toy.examples(9, seed=0), weights=np.zeros(9))
    a, b = (fitted(name, TARGET.take(range(8)), extra).answers(TEST.texts[:8]) for extra in ({}, {"light": light}))
    assert list(a) == list(b)


@every_method
def test_a_source_changes_those_that_use_one(name):
    source = toy.examples(30, seed=9)
    other = dataclasses.replace(source, labels=tuple(f"{label} too" for label in source.labels))
    quick = {"epochs": 1, "source_epochs": 12} if told(name) else {}
    a, b = (fitted(name, TARGET.take(range(2)), s, **quick).answers(TEST.texts[:8]) for s in ({}, {"other": other}))
    assert (list(a) == list(b)) != method(name, "generate").uses_sources


@pytest.mark.parametrize("name", [name for name in of_kind("generate") if "pack" in settings(name, "generate")])
def test_packed_examples_make_the_same_model(name, monkeypatch):
    """With a source before the target; the layers read fewer rows, and what they learn is the same."""
    seen, found = [], []
    lay = Answers.laid

    def noted(self, chosen, values, mask):
        laid = lay(self, chosen, values, mask)
        seen.append((len(chosen), len(laid[1])))
        return laid

    monkeypatch.setattr(Answers, "laid", noted)
    for pack in (0, 64):
        seen.clear()
        path = fitted(name, TARGET, {"other": TEST}, epochs=2, pack=pack)
        assert any(rows < examples for examples, rows in seen) == (pack > 0)
        found.append(path.bits(TEST.texts, TEST.labels)[:, 0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-3)
    with pytest.raises(RecipeError, match="pack: -1\nExpected: 0 or more"):
        fitted(name, pack=-1)


@every_method
def test_planning_is_pure(name):
    before = TARGET.fingerprint()
    data = TransferData(TARGET, {"other": TEST})
    plans = [method(name, "generate").plan(TASK, backbone(name), data, 3) for _ in range(2)]
    assert all(isinstance(plan, Job) and 0 <= plan.shared < len(plan.stages) for plan in plans)
    assert len({dataclasses.replace(plan, shared=len(plan.stages)).shared_key() for plan in plans}) == 1
    assert TARGET.fingerprint() == before


@every_method
def test_every_setting_has_a_default_and_a_line(name):
    plan = method(name, "generate").plan
    own = list(inspect.signature(plan).parameters.values())[4:]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is not p.empty for p in own)
    block = (inspect.getdoc(plan) or "").partition("Args:")[2]
    assert [p.name for p in own if not re.search(rf"\b{p.name}\b[^:]*:", block)] == []
    assert inspect.getdoc(type(method(name, "generate")))


def test_no_transfer_of_each_kind_reads_nothing():
    for kind in KINDS:
        assert method(no_transfer(kind), kind).reads == "nothing"
        assert not method(no_transfer(kind), kind).uses_sources


def test_a_method_of_labels_is_refused_with_a_reason():
    with pytest.raises(RecipeError, match="gives labels and does not suit tasks of kind 'translate'"):
        method("probe", "translate")
    with pytest.raises(RecipeError, match="gives text and does not suit tasks of kind 'classify'"):
        method("lookup")
    assert set(METHODS) & set(WRITING) == {"prompt", "finetune", "lora", "dora", "dsir", "soup", "ties", "distill"}
