"""Cascades of real parts, and students distilled of what their teachers have answered; labels and writing."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import toy
from study.place import Told

import transfuse
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.errors import DataError, ModelError, OutputError, UsageError
from transfuse.evaluation import metric_intervals
from transfuse.fitted import FittedModel, FittedWriter
from transfuse.fitted import cascade as asking
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import Writing

TASK = Classify(("warm", "cold"), template="{text} =", max_tokens=64)
WRITES = Writing("generate", template="{text} =", max_new_tokens=6, input="text", label="reply")
COLUMNS = {"columns": {"input": "text", "label": "label"}}
VALIDATION = toy.examples(120, seed=21)
MORE = toy.examples(160, seed=22)


def tfidf(rows):
    job = method("tfidf").plan(TASK, None, TransferData(rows), 0)
    return FittedModel(TASK, Engine(None, 2).fit(job), method="tfidf", made=COLUMNS)


def table(path, header, *columns):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *zip(*columns, strict=True)])
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """small and big, two fitted models; labelled.csv, more.csv; dec, a decoder that knows the task."""
    folder = tmp_path_factory.mktemp("cascade")
    few = Examples(("red rose", "blue navy", "rose red", "navy blue"), ("warm", "cold", "warm", "cold"))
    tfidf(few).save(folder / "small" / "model")
    tfidf(toy.examples(200, seed=20)).save(folder / "big")
    table(folder / "labelled.csv", ("text", "label"), VALIDATION.texts, VALIDATION.labels)
    table(folder / "more.csv", ("text",), MORE.texts)
    for name, kind in (("dec", "taught"), ("enc", "encoder")):
        (folder / name).symlink_to(toy.backbone(kind).folder)
    return folder


def make(place, out, **goal):
    return transfuse.cascade(place / "small", place / "big", str(place / "labelled.csv"), out, **goal)


def lines(folder):
    return [json.loads(line) for line in (folder / "kept.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_share_is_kept_and_the_figures_are_those_of_the_models(place, tmp_path):
    told = Told()
    made = make(place, tmp_path / "out", share=0.3, progress=told)
    figures = made.figures
    assert figures["chosen"]["share"] <= 0.3
    for name, folder in (("student", place / "small" / "model"), ("teacher", place / "big")):
        labels = TASK.encode(VALIDATION.labels)
        want = metric_intervals(labels, transfuse.load(folder).predict_proba(VALIDATION.texts), seed=0)["accuracy"]
        assert figures["figures"][name] == pytest.approx(want.to_dict())
    assert figures["curve"][0]["threshold"] == "-inf"
    assert figures["curve"][-1]["threshold"] == "inf"
    assert any(text.startswith("asking teacher") for text, _, _ in told.updates)
    fresh = toy.examples(60, seed=30)
    again = transfuse.load(tmp_path / "out")
    right = np.mean([a == b for a, b in zip(again.predict(fresh.texts), fresh.labels, strict=True)])
    alone = np.mean([a == b for a, b in zip(again.student.predict(fresh.texts), fresh.labels, strict=True)])
    assert right > alone
    assert again.answered["teacher"] == again.answered["asked"] > 0


def test_a_quality_is_reached_and_more_than_can_be_is_refused(place, tmp_path):
    made = make(place, tmp_path / "out", quality=0.9)
    assert made.figures["chosen"]["quality"]["low"] >= 0.9
    with pytest.raises(DataError, match=r"quality 1 is not shown[\s\S]*at most 0\.\d+: the lower bound"):
        make(place, tmp_path / "other", quality=1.0)
    assert len(lines(tmp_path / "other")) == 120, "what the teacher has answered is kept for the next try"


def test_without_a_goal_it_is_not_shown_to_be_worse_than_the_teacher(place, tmp_path):
    figures = make(place, tmp_path / "out").figures
    assert figures["goal"]["kind"] == "teacher"
    assert figures["chosen"]["against"]["high"] >= 0


def test_prices_are_the_users_or_seconds(place, tmp_path):
    made = make(place, tmp_path / "a", cost=0.5, price_student=0.1, price_teacher=1.0)
    assert made.figures["prices"] == {"unit": "price", "student": 0.1, "teacher": 1.0}
    assert made.figures["chosen"]["cost"] <= 0.5
    assert make(place, tmp_path / "b", share=0.1, price_teacher=2.0).figures["prices"]["student"] == 0.0
    timed = make(place, tmp_path / "c").figures["prices"]
    assert timed["unit"] == "seconds"
    assert min(timed["student"], timed["teacher"]) > 0


def test_a_stopped_call_goes_on_and_asks_nothing_twice(place, tmp_path, monkeypatch):
    real, calls = asking.says, []

    def says(path, texts, *more):
        calls.append(len(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(path, texts, *more)

    monkeypatch.setattr(asking, "says", says)
    with pytest.raises(KeyboardInterrupt):
        make(place, tmp_path / "out", share=0.3)
    assert not (tmp_path / "out" / "cascade.json").exists()
    make(place, tmp_path / "out", share=0.3)
    assert calls == [64, 56, 56]
    first = make(place, tmp_path / "out", share=0.3).figures
    assert calls == [64, 56, 56], "another goal asks nothing again"
    assert first == make(place, tmp_path / "out", share=0.3).figures | {
        "prices": first["prices"],
        "curve": first["curve"],
    } | {key: first[key] for key in ("chosen", "figures")}


def test_the_same_prices_give_the_same_figures(place, tmp_path):
    one, two = (make(place, tmp_path / name, cost=0.4, price_teacher=1.0).figures for name in "ab")
    assert one == two


def test_a_decoder_is_prompted_with_the_students_task(place, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-mine")
    small = transfuse.load(place / "small" / "model")
    rows = Examples(
        (*VALIDATION.texts[:3], *toy.examples(20, seed=4).texts),
        (*VALIDATION.labels[:3], *toy.examples(20, seed=4).labels),
    )
    made = transfuse.cascade(small, str(place / "dec"), VALIDATION, tmp_path / "out", share=0.5, examples=rows, shots=4)
    assert made.figures["figures"]["teacher"]["value"] > made.figures["figures"]["student"]["value"]
    prefix = made.teacher.model.path.prefix
    assert prefix.count(" =") == 4
    assert not any(text in prefix for text in VALIDATION.texts), "no demonstration is judged"
    assert (tmp_path / "out" / "teacher" / "manifest.json").exists()
    again = transfuse.load(tmp_path / "out")
    assert again.predict(MORE.texts[:8]) == made.predict(MORE.texts[:8])
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or b"sk-secret-of-mine" not in file.read_bytes()


def test_a_decoder_without_examples_is_asked_plainly(place, tmp_path):
    made = transfuse.cascade(place / "small", str(place / "dec"), VALIDATION, tmp_path / "out", share=0.5)
    assert made.teacher.model.path.prefix == ""


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"share": 0.1, "quality": 0.9}, UsageError, "--quality and --share together\nExpected: one of"),
        ({"price_student": 1.0}, UsageError, "a price of the student alone[\\s\\S]*Add --price-teacher"),
        ({"share": 1.5}, DataError, "share 1.5"),
        (
            {"examples": VALIDATION},
            UsageError,
            "--examples with .*big, which is no prompt[\\s\\S]*Leave out --examples",
        ),
        ({"teacher": "enc"}, ModelError, "is an encoder, and cannot be asked[\\s\\S]*transfuse run"),
        ({"student": "nowhere"}, ModelError, "nowhere: no fitted model here"),
        ({"label": "rating"}, DataError, "rating"),
    ],
)
def test_what_cannot_be_used_is_refused(place, tmp_path, change, error, words):
    given = {"student": "small", "teacher": "big", **change}
    names = [place / given.pop("student"), place / given.pop("teacher")]
    with pytest.raises(error, match=words):
        transfuse.cascade(*names, str(place / "labelled.csv"), tmp_path / "out", **given)


def test_a_folder_of_something_else_is_refused_before_anything_is_asked(place, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something that is no cascade"):
        make(place, tmp_path)


def test_a_teacher_of_another_kind_is_refused(place, tmp_path, writer):
    with pytest.raises(
        ModelError, match=r"answers tasks of kind generate\nExpected: a teacher for tasks of kind classify"
    ):
        transfuse.cascade(place / "small", writer, VALIDATION, tmp_path / "out")


def test_a_student_is_distilled_of_what_was_kept_and_of_more(place, tmp_path):
    made = make(place, tmp_path / "both", share=0.3)
    made.predict(MORE.texts[:60])
    asked = len(lines(tmp_path / "both"))
    told = Told()
    student = transfuse.distill(
        tmp_path / "both", str(place / "enc"), str(place / "more.csv"), out=tmp_path / "next", progress=told
    )
    about = student.made["distilled"]
    new = set(MORE.texts) - set(VALIDATION.texts)
    assert about["texts"] + about["held_out"] == len(new)
    assert len(lines(tmp_path / "both")) == len(new) + 120 > asked, "validation and all new texts, each once"
    assert about["agreement"]["accuracy"]["value"] > 0.7
    again = transfuse.load(tmp_path / "next" / "model")
    fresh = toy.examples(100, seed=31)
    right = np.mean([a == b for a, b in zip(again.predict(fresh.texts), fresh.labels, strict=True)])
    assert right > 0.7
    assert "Agreement with the teacher on 16 texts" in again.card
    assert any(text == "final fit" for text, _, _ in told.updates)
    cascade = transfuse.cascade(tmp_path / "next", place / "big", str(place / "labelled.csv"), tmp_path / "third")
    assert cascade.labels == ("warm", "cold")


def test_texts_that_chose_the_threshold_are_not_learnt(place, tmp_path):
    make(place, tmp_path / "both", share=0.3)
    with pytest.raises(
        DataError, match=r"2 texts to learn from the teacher: 0 that it has answered before, 122 that are new"
    ):
        transfuse.distill(
            tmp_path / "both", str(place / "enc"), [*VALIDATION.texts, "red a", "ice b"], out=tmp_path / "n"
        )


def test_a_fitted_teacher_teaches_without_a_cascade_and_is_asked_once(place, tmp_path, monkeypatch):
    labelled = toy.examples(16, seed=40)
    settings = {"epochs": 1, "train_layers": 1}
    first = transfuse.distill(place / "big", str(place / "enc"), MORE.texts, labelled, tmp_path / "n", **settings)
    assert len(lines(tmp_path / "n")) == len({*MORE.texts, *labelled.texts})
    monkeypatch.setattr(asking, "says", None)
    again = transfuse.distill(place / "big", str(place / "enc"), MORE.texts, labelled, tmp_path / "n", **settings)
    np.testing.assert_array_equal(first.predict_proba(MORE.texts), again.predict_proba(MORE.texts))
    assert first.made["distilled"]["labelled"] == 16
    assert first.manifest["task"]["input"] == "text"


def test_labels_beside_a_teacher_are_learnt_too(place):
    alone, both = (
        transfuse.distill(place / "big", str(place / "enc"), MORE.texts, rows, epochs=1, alpha=0.0)
        for rows in (None, toy.examples(40, seed=41))
    )
    assert not np.allclose(alone.predict_proba(MORE.texts), both.predict_proba(MORE.texts))


def test_a_place_of_something_else_is_not_written(place, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds something that transfuse did not write[\s\S]*kept\.jsonl or model"):
        transfuse.distill(place / "big", str(place / "enc"), MORE.texts, out=tmp_path)


@pytest.fixture(scope="module")
def writer():
    """A decoder that was fitted on a few answers."""
    return written("finetune", toy.examples(6, seed=3), learning_rate=2e-3, epochs=1, train_layers=1)


@pytest.fixture(scope="module")
def author():
    """The same, on many."""
    return written("finetune", toy.examples(60, seed=1), learning_rate=5e-3, epochs=8, train_layers="all")


def written(name, rows, **settings):
    backbone = toy.backbone("taught")
    job = method(name, "generate").plan(WRITES, backbone, TransferData(rows), 0, **settings)
    about = {"reference": "dec", "resolved": str(backbone.folder), "revision": backbone.revision}
    path = Engine(Trunk(backbone, "fp32", 64), 0).fit(job)
    columns = {"columns": {"input": "text", "label": "reply"}}
    return FittedWriter(WRITES, path, method=name, backbone=about, made=columns)


def test_writing_has_cascades_and_students(writer, author, place, tmp_path):
    data = table(tmp_path / "replies.csv", ("text", "reply"), VALIDATION.texts[:60], VALIDATION.labels[:60])
    author.save(tmp_path / "author")
    made = transfuse.cascade(writer, tmp_path / "author", str(data), tmp_path / "both", share=0.5)
    figures = made.figures["figures"]
    assert made.figures["metric"] == "chrf"
    assert figures["teacher"]["value"] > figures["quality"]["value"] > figures["student"]["value"]
    assert made.threshold < 0, "the mean log-likelihood of a token"
    student = transfuse.distill(
        tmp_path / "both",
        str(place / "dec"),
        MORE.texts,
        out=tmp_path / "next",
        learning_rate=5e-3,
        epochs=6,
        train_layers="all",
    )
    agreement = student.made["distilled"]["agreement"]
    assert agreement["exact_match"]["value"] > 0.7
    assert set(agreement) == {"exact_match", "chrf"}
    assert transfuse.load(tmp_path / "next" / "model").predict(MORE.texts[:4]) == student.predict(MORE.texts[:4])


def test_a_writer_of_few_labels_learns_what_its_teacher_wrote_first(author, place, tmp_path):
    rows = toy.examples(8, seed=50)
    student = transfuse.distill(
        author,
        str(place / "dec"),
        MORE.texts[:60],
        rows,
        tmp_path / "n",
        learning_rate=5e-3,
        epochs=4,
        train_layers="all",
    )
    assert student.made["distilled"]["labelled"] == 8
    assert student.made["distilled"]["agreement"]["exact_match"]["value"] > 0.6


def test_a_decoder_writes_without_an_example(writer, place, tmp_path):
    data = Examples(VALIDATION.texts[:30], VALIDATION.labels[:30])
    made = transfuse.cascade(writer, str(place / "dec"), data, tmp_path / "out", share=0.5)
    assert made.teacher.model.path.decoding.max_new_tokens == 6
