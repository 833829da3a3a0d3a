"""Teachers in a study: fitted models and prompted decoders, asked once, and measured beside their students."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import transfuse
from transfuse.errors import RecipeError
from transfuse.fitted.paths import build
from transfuse.report.html import page_of
from transfuse.study import teaching
from transfuse.study.prepare import prepare
from transfuse.study.progress import NOTES
from transfuse.study.recipe import Recipe
from transfuse.study.workshop import Workshop

METHODS = "[probe, finetune, distill]"


@pytest.fixture(scope="module")
def knowing(place, tmp_path_factory):
    """A model fitted on more rows of the same task: it knows what few labels cannot tell."""
    from study.place import recipe_text, rows, write_csv

    folder = tmp_path_factory.mktemp("knowing")
    write_csv(folder / "much.csv", ("text", "label"), rows(400, 7, "m"))
    (folder / "enc").symlink_to(place / "enc")
    target = "{data: much.csv, test: {rows: 40, seed: 0}}"
    recipe = Recipe.from_text(recipe_text("[probe]", "", target=target, backbones="[enc]"), base=folder)
    transfuse.run(recipe, out=folder / "out")
    return folder / "out" / "model"


def test_a_fitted_model_teaches_and_stands_beside_its_student(recipe, knowing, tmp_path, told):
    asked = recipe(METHODS, f"[{{name: old, model: {knowing}}}]", backbones="[enc]")
    study = transfuse.run(asked, out=tmp_path / "out", progress=told)
    found = {c["id"]: c for c in study.report["candidates"]}
    student, teacher, alone = found["distill@enc+old"], found["teacher+old"], found["finetune@enc"]
    assert {c["status"] for c in (student, teacher, alone)} == {"done"}
    assert student["family"] == teacher["family"] == "distillation"
    against = {t["kind"]: t["against"] for t in student["transfer"]}
    assert against == {
        "no transfer": "tfidf",
        "without source": "finetune@enc",
        "teacher": "teacher+old",
        "frozen probe": "probe@enc",
    } | {k: v for k, v in against.items() if k == "placebo"}
    value = {c["id"]: c["validation"]["accuracy"]["value"] for c in (student, teacher, alone)}
    assert value["teacher+old"] > value["finetune@enc"]
    assert "distill@enc" not in found, "without a teacher it is finetune, which stands there already"
    assert any(text.startswith("asking teacher old") for text, _, _ in told.updates)
    assert len(list((tmp_path / "out" / "teachers").glob("*.npy"))) == 1


def test_a_chosen_teacher_is_a_model_like_any_other(recipe, knowing, tmp_path):
    asked = recipe("[majority]", f"[{{name: old, model: {knowing}}}]", backbones="[enc]")
    study = transfuse.run(asked, out=tmp_path / "out")
    assert study.report["chosen"] == "teacher+old"
    chosen = next(c for c in study.report["candidates"] if c["id"] == "teacher+old")
    assert "placebo" not in {t["kind"] for t in chosen["transfer"]}, "it learns nothing that could be shuffled"
    texts = ["redrosefire1", "bluenavyice2"]
    want = transfuse.load(knowing).predict(texts)
    assert study.model.predict(texts) == want


def test_a_decoder_is_asked_with_examples_of_its_own_data(recipe, tmp_path):
    asked = recipe("[distill]", "[{name: big, teacher: dec, data: source.csv, shots: 2}]", backbones="[enc]")
    study = transfuse.run(asked, out=tmp_path / "out")
    found = {c["id"]: c for c in study.report["candidates"]}
    assert found["distill@enc+big"]["status"] == "done"
    assert found["teacher+big"]["backbone"] == "dec"
    assert "big" in [part["name"] for part in study.report["data"]["parts"]]


def test_an_encoder_cannot_be_asked(recipe, tmp_path):
    with pytest.raises(RecipeError, match=r"sources\[0\]\.teacher.*enc is an encoder"):
        transfuse.run(recipe("[distill]", "[{name: big, teacher: enc}]"), out=tmp_path / "out")


def test_a_teacher_of_other_labels_is_refused(place, recipe, knowing, tmp_path):
    lines = (place / "target.csv").read_text().replace("warm", "hot")
    (place / "hot.csv").write_text(lines)
    asked = recipe("[distill]", f"[{{name: old, model: {knowing}}}]", target="{data: hot.csv, test: {rows: 60}}")
    with pytest.raises(RecipeError, match="does not know the label 'hot'; it knows cold, warm"):
        transfuse.run(asked, out=tmp_path / "out")


def test_what_was_answered_is_not_asked_again(recipe, knowing, tmp_path, monkeypatch):
    """A study that is stopped after its teacher, or between two parts of its texts, goes on behind them."""
    asked = recipe("[majority]", f"[{{name: old, model: {knowing}}}]", backbones="[enc]")
    monkeypatch.setattr(teaching, "PART", 16)
    real, calls = teaching.Teacher.says, []

    def says(self, texts, arithmetic):
        calls.append(len(texts))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(self, texts, arithmetic)

    monkeypatch.setattr(teaching.Teacher, "says", says)
    with pytest.raises(KeyboardInterrupt):
        transfuse.run(asked, out=tmp_path / "out")
    assert calls == [2, 12, 16, 16, 16]
    transfuse.run(asked, out=tmp_path / "out")
    texts = len(prepare(asked).train) + len(prepare(asked).unlabelled)
    assert sum(calls[5:]) == texts - 32


def test_a_teacher_is_asked_about_what_a_third_of_the_budget_has_room_for(recipe, knowing, monkeypatch):
    asked = recipe("[majority]", f"[{{name: old, model: {knowing}}}]", backbones="[enc]", budget="{minutes: 0.05}")
    data = prepare(asked)
    teacher = teaching._fitted(asked, 0, asked.sources[0], data)

    class Slow:
        path, name, backbone = teacher.path, "old", "enc"

        def says(self, texts, arithmetic):
            import time

            time.sleep(0.02 * len(texts))
            return np.zeros((len(texts), 2), dtype=np.float32)

    decided = teaching._decided([Slow()], asked, data, 1)["old"]
    assert len(data.train) <= decided["texts"] <= 50 < decided["offered"]


def test_the_report_shows_the_teacher_beside_its_student(recipe, knowing, tmp_path, monkeypatch):
    run = importlib.import_module("transfuse.study.run")
    real = run.choose

    def student(assessed, metric, gate):
        _, barred = real(assessed, metric, gate)
        return next(a for a in assessed if a.candidate.method == "distill"), barred

    monkeypatch.setattr(run, "choose", student)
    asked = recipe("[distill]", f"[{{name: old, model: {knowing}}}]", backbones="[enc]")
    study = transfuse.run(asked, out=tmp_path / "out")
    (found,) = study.report["teachers"]
    assert found["name"] == "old"
    assert set(found["test"]) == set(study.report["test"])
    assert 0 <= found["agreement"]["low"] <= found["agreement"]["value"] <= 1
    assert found["student"]["parameters"] == found["teacher"]["parameters"] > 0
    for text in found["differ"]:
        assert text["student"] != text["teacher"]
    for lang, words in (("en", "The student beside its teacher “old”"), ("zh", "学生与它的教师“old”")):
        assert words in page_of(study.report, lang)


def test_several_prompts_speak_as_the_mean_of_their_probabilities(recipe, tmp_path):
    asked = recipe("[majority]", "[{name: big, teacher: dec, data: source.csv, shots: 2, draws: 3}]", backbones="[enc]")
    run = importlib.import_module("transfuse.study.run")
    study = run.run(asked, out=tmp_path / "out")
    texts = ["redrosefire1", "bluenavyice2"]
    if study.report["chosen"] == "teacher+big":
        assert len(study.model.path.members) == 3
    data = prepare(asked)
    workshop = Workshop(asked, data, NOTES["en"])
    path = teaching._teacher(asked, 0, asked.sources[0], data, workshop).path
    each = [np.exp(member.log_probabilities(texts)) for member in path.members]
    assert not np.allclose(each[0], each[1])
    np.testing.assert_allclose(np.exp(path.log_probabilities(texts)), np.mean(each, 0), atol=1e-9)
    again = build(path.describe(), path.tensors(), lambda: workshop.backbone("dec"))
    np.testing.assert_allclose(again.log_probabilities(texts), path.log_probabilities(texts), atol=1e-6)


def test_reasons_are_refused_where_labels_are_learnt(recipe, knowing, tmp_path):
    asked = recipe("[distill]", f"[{{name: old, model: {knowing}, rationales: true}}]", backbones="[enc]")
    with pytest.raises(RecipeError, match=r"sources\[0\]\.rationales.*a task of labels has nowhere to learn reasons"):
        transfuse.run(asked, out=tmp_path / "out")
