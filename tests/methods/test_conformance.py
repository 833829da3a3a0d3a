"""One suite over every method of the catalogue, with no exception by name."""

import contextlib
import dataclasses
import inspect
import json
import re

import numpy as np
import pytest
import toy

import transfuse.fitted.model
from transfuse.data.examples import Examples
from transfuse.engine.checkpoints import Checkpoints
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Job, TransferData
from transfuse.errors import DataError, RecipeError
from transfuse.fitted import load
from transfuse.methods.bounds import BOUNDS
from transfuse.methods.catalogue import METHODS, NO_TRANSFER, method, settings
from transfuse.methods.rows import source_rows, target_rows
from transfuse.tasks.classify import Classify

FAMILIES = ("baseline", "prompt", "feature", "instance", "parameter", "relation", "distillation", "merging", "meta")
SUITS = {"nothing": (None,), "any": ("encoder", "decoder"), "decoder": ("taught",)}
CANDIDATES = [(name, kind) for name in METHODS for kind in SUITS[method(name).reads]]
TARGET, TEST = toy.examples(50, seed=1, share=0.6), toy.examples(100, seed=2, share=0.6)
every_candidate = pytest.mark.parametrize(("name", "kind"), CANDIDATES)
every_method = pytest.mark.parametrize("name", METHODS)


@every_candidate
def test_it_learns(bench, name, kind):
    """Better than a guess among the classes, in accuracy and in log loss; an unfitted head or prompt is no better."""
    path = bench.path(name, kind, TARGET)
    assert bench.accuracy(path, TEST) >= 0.6
    truth = bench.task.encode(TEST.labels)
    found = path.log_probabilities(TEST.texts)[np.arange(100), truth]
    assert -found.mean() < np.log(2) - 0.015


@every_candidate
def test_plan_fit_predict_save_load(bench, name, kind, tmp_path, monkeypatch):
    model = bench.model(name, kind, TARGET)
    texts = [*TEST.texts[:10], "", "漢字 ü 🙂", "{text}"]
    found = model.predict_proba(texts)
    assert found.shape == (13, 2)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-9)
    assert model.predict(texts) == [bench.task.labels[i] for i in found.argmax(1)]
    model.save(tmp_path / "model")
    monkeypatch.setattr(transfuse.fitted.model, "_LOADED", {})  # so that the backbone comes from its folder
    again = load(tmp_path / "model")
    assert (again.method, again.labels) == (name, bench.task.labels)
    np.testing.assert_allclose(again.predict_proba(texts), found, atol=1e-6)
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["format"] == 1
    assert manifest["path"]["kind"] == model.path.kind
    assert {p.suffix for p in (tmp_path / "model").iterdir()} <= {".json", ".safetensors", ".md"}


@every_candidate
def test_a_seed_decides_everything(bench, name, kind):
    a, b = (bench.path(name, kind, TARGET, seed=7).log_probabilities(TEST.texts) for _ in range(2))
    np.testing.assert_array_equal(a, b)


@every_candidate
def test_an_interrupted_fit_goes_on_to_the_same_answers(bench, name, kind, tmp_path, monkeypatch):
    """Stopped in the middle of its stages and steps, as far as it has any, and begun again from what was kept."""
    moments, stop, run = [], [0], Engine._run

    def moment(*_):
        moments.append(1)
        if len(moments) == stop[0]:
            raise KeyboardInterrupt

    def staged(self, steps):
        moment()
        run(self, steps)

    monkeypatch.setattr(Engine, "_run", staged)

    def answers(kept=None):
        engine = bench.engine(kind)
        engine.tick, engine.kept = moment, kept
        extra = {"other": toy.examples(10, seed=9)}
        return bench.path(name, kind, TARGET.take(range(14)), extra=extra, engine=engine).log_probabilities(TEST.texts)

    whole = answers()
    stop[0] = len(moments) // 2 + 1
    del moments[:]
    kept = Checkpoints(tmp_path, every=0.0)
    with contextlib.suppress(KeyboardInterrupt):
        answers(kept)
    assert len(moments) == stop[0] or not moments
    np.testing.assert_array_equal(answers(kept), whole)


@every_candidate
def test_training_rows_without_a_class(bench, name, kind):
    """A task of three labels of which the rows have two: the third is possible, never likely."""
    bench.task = Classify(labels=("absent", *toy.TASK.labels), template=toy.TASK.template)
    found = np.exp(bench.path(name, kind, TARGET).log_probabilities(TEST.texts))
    assert found.shape == (100, 3)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-9)
    assert found[:, 0].mean() < 0.34


@every_candidate
def test_one_class_alone(bench, name, kind):
    """Rows of one class only: an answer, not an error, as it happens in a fold."""
    warm = TARGET.take([i for i, label in enumerate(TARGET.labels) if label == "warm"][:6])
    found = bench.path(name, kind, warm).log_probabilities(TEST.texts)
    assert np.isfinite(found).all()


@every_candidate
def test_one_row_a_class(bench, name, kind):
    one_each = TARGET.take([TARGET.labels.index(label) for label in toy.TASK.labels])
    found = bench.path(name, kind, one_each).log_probabilities(TEST.texts)
    assert np.isfinite(found).all()


@every_candidate
def test_an_empty_text_and_labels_in_other_scripts(bench, name, kind):
    words = {"gut ü": toy.WORDS["warm"], "坏": toy.WORDS["cold"], "مرحبا": ("", "bee", "elk", "fox")}
    bench.task = Classify(labels=tuple(words), template="{text} =")
    rows = toy.examples(36, seed=5, share=1 / 3, words=words)
    rows = dataclasses.replace(rows, texts=("", *rows.texts[1:]))
    path = bench.path(name, kind, rows)
    found = np.exp(path.log_probabilities(["", *rows.texts]))
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-9)
    assert found.shape == (37, 3)


@every_candidate
def test_rows_of_weight_0_are_as_if_they_were_not_there(bench, name, kind):
    turned = tuple("cold" if label == "warm" else "warm" for label in TARGET.labels)
    both = Examples((*TARGET.texts, *TARGET.texts), (*TARGET.labels, *turned), weights=np.repeat([1.0, 0.0], 50))
    a, b = (bench.path(name, kind, rows).log_probabilities(TEST.texts) for rows in (TARGET, both))
    np.testing.assert_allclose(a, b, atol=1e-4)


@every_candidate
def test_what_rows_count_beside_each_other_changes_those_that_weigh_them(bench, name, kind):
    """Each row with both labels, the right one of weight 1: of the other .05 and 1."""
    turned = tuple("cold" if label == "warm" else "warm" for label in TARGET.labels)
    rows = [Examples(TARGET.texts * 2, TARGET.labels + turned, weights=np.repeat([1.0, w], 50)) for w in (0.05, 1.0)]
    a, b = (bench.path(name, kind, target).log_probabilities(TEST.texts) for target in rows)
    assert (np.abs(a - b).max() > 1e-3) == method(name).weighs


@every_candidate
@pytest.mark.parametrize("unlabelled", [None, TEST])
def test_a_row_of_weight_0_plans_nothing(bench, name, kind, unlabelled):
    """With a source, where texts of the target show where it lies, and a row whose text stands nowhere else."""
    light = Examples((*TARGET.texts, "elsewhere"), (*TARGET.labels, "warm"), weights=np.array([1.0] * 50 + [0.0]))
    sources = {"source": toy.examples(30, seed=9)}
    a, b = (
        method(name).plan(bench.task, bench.backbone(kind), TransferData(rows, sources, unlabelled=unlabelled), 0).key()
        for rows in (dataclasses.replace(TARGET, weights=np.ones(50)), light)
    )
    assert a == b


@every_candidate
def test_all_weights_0_are_refused_or_do_not_matter(bench, name, kind):
    none = dataclasses.replace(TARGET, weights=np.zeros(50), origin="rows.csv")
    found = np.zeros(1)
    with contextlib.suppress(DataError):
        found = bench.path(name, kind, none).log_probabilities(TEST.texts)
    assert np.isfinite(found).all()


def test_all_weights_0_name_the_data():
    none = dataclasses.replace(TARGET, weights=np.zeros(50), origin="rows.csv")
    with pytest.raises(DataError, match=r"rows\.csv: 50 rows, none of a weight above 0"):
        target_rows(toy.TASK, none)


@every_candidate
def test_a_source_that_counts_nothing_is_no_source(bench, name, kind):
    light = dataclasses.replace(toy.examples(9, seed=0), weights=np.zeros(9))
    nothing = {"light": light, "empty": toy.examples(0, seed=0)}
    a, b = (bench.path(name, kind, TARGET, extra=extra).log_probabilities(TEST.texts) for extra in ({}, nothing))
    np.testing.assert_array_equal(a, b)


@every_candidate
def test_a_source_changes_those_that_use_one(bench, name, kind):
    source = toy.examples(30, seed=9)
    turned = dataclasses.replace(source, labels=tuple("cold" if x == "warm" else "warm" for x in source.labels))
    few = TARGET.take(range(8))
    a, b = (bench.path(name, kind, few, extra=s).log_probabilities(TEST.texts) for s in ({}, {"turned": turned}))
    assert np.array_equal(a, b) != method(name).uses_sources


@every_candidate
def test_no_unlabelled_text_is_needed(bench, name, kind):
    data = TransferData(TARGET)
    assert data.unlabelled is None
    job = method(name).plan(bench.task, bench.backbone(kind), data, 0)
    assert isinstance(job, Job)
    assert 0 <= job.shared < len(job.stages)
    assert job.seed == 0


@every_candidate
def test_planning_is_pure(bench, name, kind):
    """The same plan twice; the data are as they were."""
    before = TARGET.fingerprint()
    data = TransferData(TARGET, {"other": TEST})
    plans = [method(name).plan(bench.task, bench.backbone(kind), data, 3) for _ in range(2)]
    assert len({plan.key() for plan in plans}) == 1
    assert TARGET.fingerprint() == before


@every_method
def test_it_says_what_it_is(name):
    found = method(name)
    assert found.family in FAMILIES
    assert found.reads in SUITS
    assert found.counterpart is None or found.counterpart in METHODS
    assert inspect.getdoc(type(found))
    assert METHODS[name].startswith(f"transfuse.methods.{found.family}.")


@every_method
def test_without_a_source_it_is_what_it_says(bench, name):
    """Such a candidate stands once in a study: the same stages, whatever they are called."""
    alone = method(name).alone
    if alone is not None:
        kind = SUITS[method(name).reads][0]
        one, other = (
            method(n).plan(bench.task, bench.backbone(kind), TransferData(TARGET, {}), 0) for n in (name, alone)
        )
        assert (one.shared, one.shared_key()) == (other.shared, other.shared_key())
        every = [job.key() for job in (one, other)]
        assert every[0] == every[1]


def test_no_transfer_reads_nothing_and_uses_no_source():
    assert method(NO_TRANSFER).reads == "nothing"
    assert not method(NO_TRANSFER).uses_sources


@every_method
def test_every_setting_has_a_default_and_a_line(name):
    parameters = list(inspect.signature(method(name).plan).parameters.values())
    assert [p.name for p in parameters[:4]] == ["task", "backbone", "data", "seed"]
    own = parameters[4:]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is not p.empty for p in own)
    assert settings(name) == {p.name: p.default for p in own}
    documented = inspect.getdoc(method(name).plan) or ""
    if own:
        block = documented.partition("Args:")[2]
        missing = [p.name for p in own if not re.search(rf"\b{p.name}\b[^:]*:", block)]
        assert missing == [], f"{name}: settings without a line in the docstring of plan"


@every_candidate
def test_an_unknown_setting_is_refused(bench, name, kind):
    with pytest.raises(TypeError, match="learning_rat"):
        method(name).plan(bench.task, bench.backbone(kind), TransferData(TARGET), 0, learning_rat=1.0)


OUTSIDE = {"target_share": (0, -1, float("nan")), "source_limit": (0, -5), "blend": (3, -1), "weight": (-1,)}


@every_candidate
@pytest.mark.parametrize("sources", [{}, {"other": TEST}])
def test_a_number_out_of_bounds_is_refused(bench, name, kind, sources):
    for setting in settings(name).keys() & OUTSIDE.keys():
        for value in OUTSIDE[setting]:
            with pytest.raises(RecipeError) as error:
                method(name).plan(
                    bench.task, bench.backbone(kind), TransferData(TARGET, sources), 0, **{setting: value}
                )
            assert error.value.found.endswith(f"{setting}: {value}")
            assert error.value.expected in BOUNDS[setting].words


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(RecipeError) as error:
        method("finetun")
    assert "method 'finetun' does not exist. Did you mean 'finetune'?" in str(error.value)
    assert "majority" in str(error.value)


def test_rows_weigh_target_and_source():
    weighted = dataclasses.replace(TARGET.take(range(4)), weights=np.array([1.0, 0.0, 2.0, 1.0]))
    rows = target_rows(toy.TASK, weighted, total=8.0)
    assert rows.texts == (TARGET.texts[0], TARGET.texts[2], TARGET.texts[3])
    assert rows.weights.tolist() == [2.0, 4.0, 2.0]
    assert rows.target.all()
    source = source_rows(toy.TASK, {"a": TEST, "b": TARGET}, 5)
    assert source.texts == TEST.texts[:5] + TARGET.texts[:5]
    assert not source.target.any()
    assert source_rows(toy.TASK, {}, 5) is None
