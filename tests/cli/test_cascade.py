"""transfuse cascade and distill at 80 columns, and predict and evaluate of a cascade's folder."""

from __future__ import annotations

import csv
import json

import pytest
import toy

from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.fitted import FittedModel, FittedWriter
from transfuse.fitted.recalled import LookupPath
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import Writing

TASK = Classify(("warm", "cold"), template="{text} =", max_tokens=64)
VALIDATION, MORE = toy.examples(120, seed=21), toy.examples(60, seed=22)


def fitted(rows, folder):
    job = method("tfidf").plan(TASK, None, TransferData(rows), 0)
    made = {"columns": {"input": "text", "label": "label"}}
    FittedModel(TASK, Engine(None, 2).fit(job), method="tfidf", made=made).save(folder)


def table(path, header, *columns):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *zip(*columns, strict=True)])


@pytest.fixture
def place(tmp_path, monkeypatch):
    few = Examples(("red rose", "blue navy", "rose red", "navy blue"), ("warm", "cold", "warm", "cold"))
    fitted(few, tmp_path / "small" / "model")
    fitted(toy.examples(200, seed=20), tmp_path / "big")
    table(tmp_path / "labelled.csv", ("text", "label"), VALIDATION.texts, VALIDATION.labels)
    table(tmp_path / "more.csv", ("text",), MORE.texts)
    (tmp_path / "enc").symlink_to(toy.backbone("encoder").folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def narrow(out):
    return max((len(line) for line in out.splitlines()), default=0) <= 80


def test_three_rows_and_a_page(command, place):
    outcome = command("cascade", "small", "big", "labelled.csv", "--share", "0.3", "--out", "both")
    assert outcome.code == 0, outcome.err
    head, student, both, teacher = outcome.out.splitlines()[:4]
    assert head.split() == ["Answered", "by", "accuracy", "Asked", "10,000", "answers"]
    assert student.startswith("the student alone")
    assert both.startswith("the cascade")
    assert teacher.startswith("the teacher alone")
    assert "Goal: the best while the teacher is asked of at most 30%." in outcome.out
    assert "to" in both
    assert narrow(outcome.out)
    assert "<svg" in (place / "both" / "cascade.html").read_text(encoding="utf-8")
    assert sorted(p.name for p in (place / "both").iterdir()) == [
        "cascade.html",
        "cascade.json",
        "kept.jsonl",
        "student",
    ]


def test_in_chinese_with_prices(command, place):
    outcome = command(
        *("cascade", "small", "big", "labelled.csv", "--cost", "0.0005", "--price-teacher", "0.001"),
        *("--out", "both", "--lang", "zh"),
    )
    assert outcome.code == 0, outcome.err
    assert "只用学生" in outcome.out
    assert "一万次回答的费用" in outcome.out
    assert 'lang="zh-CN"' in (place / "both" / "cascade.html").read_text(encoding="utf-8")


def test_what_cannot_be_reached_says_what_can(command, place):
    outcome = command("cascade", "small", "big", "labelled.csv", "--quality", "1", "--out", "both")
    assert outcome.code == 4
    assert outcome.err.splitlines()[-3].startswith("quality 1 is not shown for any threshold")
    assert "the lower bound where the teacher is asked of" in outcome.err
    again = command("cascade", "small", "big", "labelled.csv", "--quality", "0.8", "--out", "both")
    assert again.code == 0, again.err


def test_two_goals_are_refused(command, place):
    outcome = command("cascade", "small", "big", "labelled.csv", "--quality", "1", "--share", "1", "--out", "both")
    assert outcome.code == 2
    assert "--quality and --share together" in outcome.err


def test_predict_says_who_answered(command, place):
    command("cascade", "small", "big", "labelled.csv", "--share", "0.3", "--out", "both")
    outcome = command("predict", "both", "red rose", "ice teal")
    rows = list(csv.DictReader(outcome.out.splitlines()))
    assert [row["predicted_label"] for row in rows] == ["warm", "cold"]
    assert [row["answered_by"] for row in rows] == ["student", "teacher"]
    refused = command("predict", "both", "red", "--fast")
    assert (refused.code, "--fast with a cascade" in refused.err) == (2, True)


def test_evaluate_counts_what_the_teacher_answered(command, place):
    command("cascade", "small", "big", "labelled.csv", "--share", "0.3", "--out", "both")
    table(place / "test.csv", ("text", "label"), MORE.texts, MORE.labels)
    outcome = command("evaluate", "both", "test.csv")
    assert "accuracy" in outcome.out
    assert "The teacher answered " in outcome.out
    told = json.loads(command("evaluate", "both", "test.csv", "--json").out)
    assert told["answered"]["asked"] == 0, "it has been asked before"
    assert told["answered"]["student"] + told["answered"]["teacher"] == 60
    refused = command("distill", "both", "--student", "enc", "--out", "next")
    assert "0 texts to learn from the teacher" in refused.err, "what a model is judged by is not learnt"


def test_distil_again(command, place):
    command("cascade", "small", "big", "labelled.csv", "--share", "0.3", "--out", "both")
    outcome = command(
        *("distill", "both", "--student", "enc", "--texts", "more.csv", "--out", "next"),
        *("--epochs", "1", "--train-layers", "1"),
    )
    assert outcome.code == 0, outcome.err
    assert "accuracy of student and teacher on 10 texts" in " ".join(outcome.out.split())
    assert narrow(outcome.out)
    assert command("predict", "next", "red rose").code == 0


def test_too_few_texts_say_how_many(command, place):
    command("cascade", "small", "big", "labelled.csv", "--share", "0.3", "--out", "both")
    outcome = command("distill", "both", "--student", "enc", "--out", "next")
    assert outcome.code == 4
    assert "0 texts to learn from the teacher" in outcome.err
    assert "Give more with --texts" in outcome.err


def test_writing_at_the_command_line(command, place):
    backbone = toy.backbone("taught")
    task = Writing("generate", template="{text} =", max_new_tokens=4, input="text", label="reply")
    rows = TransferData(toy.examples(8, seed=3))
    path = Engine(Trunk(backbone, "fp32", 64), 0).fit(
        method("prompt", "generate").plan(task, backbone, rows, 0, shots=2)
    )
    about = {"reference": "dec", "resolved": str(backbone.folder), "revision": backbone.revision}
    made = {"columns": {"input": "text", "label": "reply"}}
    FittedWriter(task, path, method="prompt", backbone=about, made=made).save(place / "writer")
    known = LookupPath(VALIDATION.texts, VALIDATION.labels)
    FittedWriter(task, known, method="lookup", made=made).save(place / "known")
    table(place / "replies.csv", ("text", "reply"), VALIDATION.texts[:40], VALIDATION.labels[:40])
    outcome = command("cascade", "writer", "known", "replies.csv", "--share", "0.5", "--out", "both")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0].split()[2] == "chrF++"
    assert "is below -" in outcome.out, "the mean log-likelihood of a token"
    assert narrow(outcome.out)
    told = list(csv.DictReader(command("predict", "both", *MORE.texts[:12]).out.splitlines()))
    assert {row["answered_by"] for row in told} <= {"student", "teacher"}
    assert all(row["predicted_answer"] for row in told)
    measured = json.loads(command("evaluate", "both", "replies.csv", "--json").out)
    assert measured["answered"]["asked"] == 0
    assert measured["metrics"]["chrf"]["value"] > 0
    alone = json.loads(command("evaluate", "known", "replies.csv", "--json").out)
    assert alone["metrics"]["chrf"]["value"] == pytest.approx(100)


def test_a_terminal_shows_who_answered(command, place, monkeypatch, capsys):
    command("cascade", "small", "big", "labelled.csv", "--share", "0.3", "--out", "both")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    outcome = command("predict", "both", "red rose", "ice teal")
    assert outcome.out.splitlines()[0].split() == ["label", "probability", "text", "by"]
    assert [line.split()[-1] for line in outcome.out.splitlines()[1:]] == ["student", "teacher"]
