"""transfuse predict: texts, files and pipes in; tables, files and pipes out."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import pytest

import transfuse.fitted
from transfuse.data.shapes import about
from transfuse.evaluation import as_answers
from transfuse.fitted import FittedWriter
from transfuse.tasks.writing import Writing


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_texts_to_a_pipe_are_csv(command, model):
    outcome = command("predict", "m", "good, really", "bad")
    assert outcome.code == 0
    assert rows_of(outcome.out) == [
        {
            "text": "good, really",
            "predicted_label": "positive",
            "probability_negative": "0.1",
            "probability_positive": "0.9",
        },
        {"text": "bad", "predicted_label": "negative", "probability_negative": "0.75", "probability_positive": "0.25"},
    ]


def test_texts_to_a_pipe_as_jsonl(command, model):
    outcome = command("predict", "m", "好 good", "--format", "jsonl")
    assert json.loads(outcome.out)["predicted_label"] == "positive"
    assert "好" in outcome.out


def test_a_terminal_gets_a_table(command, model, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    outcome = command("predict", "m", "good " * 40)
    header, row = re.sub(r"\x1b\[[\d;]*m", "", outcome.out).splitlines()
    assert header.split() == ["label", "probability", "text"]
    assert row.split()[:3] == ["positive", "0.900", "good"]
    assert row.rstrip().endswith("…")
    assert len(row) <= 80


def test_standard_input_one_text_a_line(command, model):
    outcome = command("predict", "m", stdin="good\n坏\r\n".encode())
    assert [row["predicted_label"] for row in rows_of(outcome.out)] == ["positive", "negative"]
    assert [row["text"] for row in rows_of(outcome.out)] == ["good", "坏"]


def test_standard_input_that_is_not_text(command, model):
    outcome = command("predict", "m", stdin=b"good\n\xff\xfe\n")
    assert outcome.code == 4
    assert outcome.err.startswith("standard input, line 2: not UTF-8 text")


def test_nothing_to_predict(command, model):
    assert "no texts" in command("predict", "m", stdin=b"").err


def test_a_file_keeps_order_and_columns(command, model, tmp_path):
    (tmp_path / "in.csv").write_text("id,text,rating\n3,bad,-1\n1,good,1\n2,so so,0\n")
    outcome = command("predict", "m", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    assert (outcome.code, outcome.out) == (0, "")
    written = rows_of((tmp_path / "out.csv").read_text())
    assert list(written[0]) == [
        "id",
        "text",
        "rating",
        "predicted_label",
        "probability_negative",
        "probability_positive",
    ]
    assert [(row["id"], row["rating"], row["predicted_label"]) for row in written] == [
        ("3", "-1", "negative"),
        ("1", "1", "positive"),
        ("2", "0", "negative"),
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".tsv", ".parquet"])
def test_the_output_goes_by_its_ending(command, model, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    assert command("predict", "m", "good", "--output", target).code == 0
    assert target.stat().st_size > 0


def test_an_output_of_unknown_kind(command, model, tmp_path):
    assert command("predict", "m", "good", "--output", tmp_path / "out.xls").code == 8


def test_the_column_of_texts_may_be_named(command, model, tmp_path):
    (tmp_path / "in.csv").write_text("title,body\ngood,bad\nbad,good\n")
    outcome = command("predict", "m", "--input", tmp_path / "in.csv", "--column", "title")
    assert [row["predicted_label"] for row in rows_of(outcome.out)] == ["positive", "negative"]
    wrong = command("predict", "m", "--input", tmp_path / "in.csv", "--column", "tittle")
    assert (wrong.code, "Did you mean 'title'?" in wrong.err) == (4, True)


def test_a_single_column_of_another_name_is_taken(command, model, tmp_path):
    (tmp_path / "in.csv").write_text("remark\ngood\n")
    assert rows_of(command("predict", "m", "--input", tmp_path / "in.csv").out)[0]["predicted_label"] == "positive"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("good", "--input", "x.csv"), "TEXT and --input together"),
        (("good", "--column", "x"), "--column without --input"),
        (("good", "--format", "xml"), "Expected: csv or jsonl"),
        (("good", "--money", "1"), "a model that asks no service"),
    ],
)
def test_what_does_not_go_together(command, model, arguments, words):
    outcome = command("predict", "m", *arguments)
    assert outcome.code == 2
    assert words in outcome.err


def test_the_folder_of_a_run_stands_for_its_model(command, model, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{}")
    command("predict", tmp_path, "good")
    command("predict", tmp_path / "model", "good")
    command("predict", tmp_path / "none", "good")
    assert model.asked == [tmp_path / "model", tmp_path / "model", Path(tmp_path / "none")]


def test_a_folder_without_a_model(command, tmp_path):
    assert command("predict", tmp_path, "good").code == 7


def test_a_long_file_is_read_predicted_and_written_in_parts(command, model, tmp_path, monkeypatch):
    from transfuse.cli import predict

    monkeypatch.setattr(predict, "PART", 2)
    asked = []
    usual = model.predict_proba
    model.predict_proba = lambda texts, **given: asked.append(len(texts)) or usual(texts)
    (tmp_path / "in.csv").write_text("text\n" + "good\nbad\n" * 2 + "good\n")
    assert command("predict", "m", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv").code == 0
    assert asked == [2, 2, 1]
    written = rows_of((tmp_path / "out.csv").read_text())
    assert [row["predicted_label"] for row in written] == ["positive", "negative"] * 2 + ["positive"]
    piped = rows_of(command("predict", "m", stdin=b"good\nbad\ngood\n").out)
    assert [row["text"] for row in piped] == ["good", "bad", "good"]


def test_a_file_that_breaks_half_way_leaves_no_output(command, model, tmp_path, monkeypatch):
    from transfuse.cli import predict

    monkeypatch.setattr(predict, "PART", 2)
    (tmp_path / "in.csv").write_text("text,n\na,1\nb,2\nc\n")
    outcome = command("predict", "m", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    assert outcome.code == 4
    assert "line 4: 1 fields, but the header has 2" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_fast_takes_what_a_trial_shows_and_says_so(command, model, monkeypatch):
    from transfuse.cli import predict

    monkeypatch.setattr(predict, "WORTH", 1)
    assert "int8" not in command("predict", "m", "good").err
    assert model.precision == "fp32"
    outcome = command("predict", "m", "good", "--fast")
    assert outcome.err == "int8: 2.5 times as fast as fp32, the same label for 100.0% of 1 texts\n"
    assert model.precision == "int8"


def test_fast_tries_nothing_where_that_would_take_longer_than_the_answers(command, model):
    outcome = command("predict", "m", "good", "--fast")
    assert outcome.err == "fp32: for 1 texts a trial would take longer than the answers; it is made from 2000 on\n"
    assert model.precision == "fp32"


class Echo:
    """Answers with what it is asked."""

    def describe(self):
        return {}

    def answers(self, texts, precision):
        return as_answers(texts)


@pytest.fixture
def writer(monkeypatch, tmp_path):
    """``writer(kind, input=..., label=..., context=...)``: every folder holds a model that says what it was asked."""
    monkeypatch.chdir(tmp_path)

    def make(kind, **columns):
        made = {"columns": {"input": None, "label": None, "context": None, **columns}}
        model = FittedWriter(Writing(kind), Echo(), method="lookup", made=made)
        monkeypatch.setattr(transfuse.fitted, "load", lambda folder: model)

    return make


def asked_of(command, path):
    outcome = command("predict", "m", "--input", path, "--format", "jsonl")
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_questions_are_asked_with_their_passages(command, writer, tmp_path, monkeypatch):
    from transfuse.cli import predict

    monkeypatch.setattr(predict, "PART", 1)
    writer("answer", input="question", label="answer", context="passage")
    (tmp_path / "q.csv").write_text("passage,id,question\nAda was here.,1,Who?\nIn Rome.,2,Where?\n")
    rows = asked_of(command, "q.csv")
    assert [list(row) for row in rows] == [["passage", "id", "question", "predicted_answer"]] * 2
    assert [row["predicted_answer"] for row in rows] == [about("Who?", "Ada was here."), about("Where?", "In Rome.")]
    (tmp_path / "bare.csv").write_text("question,passages\nWho?,Ada.\n")
    outcome = command("predict", "m", "--input", "bare.csv")
    assert outcome.code == 4
    said = "bare.csv: no column 'passage' of the passages that questions are about. Did you mean 'passages'?"
    assert said in outcome.err
    assert "give their column the name 'passage'" in outcome.err


def test_files_of_known_shapes_are_read_with_and_without_answers(command, writer, tmp_path):
    item = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    for name, qas in (("squad", item), ("blind", {"id": "1", "question": "Who?"})):
        squad = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "Ada.", "qas": [qas]}]}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(squad))
    for columns in ({}, {"input": "question", "label": "answer", "context": "passage"}):
        writer("answer", **columns)
        for name, answers in (("squad", ["Ada"]), ("blind", None)):
            (row,) = asked_of(command, f"{name}.json")
            assert (row["predicted_answer"], row["answers"]) == (about("Who?", "Ada."), answers)
    writer("generate")
    user, reply = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
    chats = [[user], [user, reply], [user, reply, user]]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    rows = asked_of(command, "chat.jsonl")
    assert [row["messages"] for row in rows] == chats
    assert [row["predicted_answer"] for row in rows] == ["hi", "hi", "\x1eUser: hi\n\x1eAssistant: hello\n\x1eUser: hi"]
    (tmp_path / "wrong.jsonl").write_text(json.dumps({"messages": [reply]}))
    told = command("predict", "m", "--input", "wrong.jsonl").err
    assert "wrong.jsonl, column 'messages', row 1: assistant" in told
    assert "end with one of a user or the assistant's reply to it" in told
    (tmp_path / "alpaca.csv").write_text("instruction,input\nAdd,1 and 2\n")
    assert asked_of(command, "alpaca.csv")[0]["predicted_answer"] == "Add\n\n1 and 2"
    (tmp_path / "remark.csv").write_text("remark\ngood\n")
    assert asked_of(command, "remark.csv")[0]["predicted_answer"] == "good"
    assert rows_of(command("predict", "m", "hello").out)[0]["predicted_answer"] == "hello"
