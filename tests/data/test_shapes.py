"""Requests and answers in the shapes that people keep them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from transfuse.data import Columns, read
from transfuse.data.shapes import about, apart
from transfuse.errors import DataError


def written(tmp_path: Path, name: str, content: object, **columns: Any):
    lines = content if isinstance(content, str) else "\n".join(json.dumps(row) for row in content)  # type: ignore[attr-defined]
    (tmp_path / name).write_text(lines, encoding="utf-8")
    return read(name, columns=Columns(written=True, **columns), base=tmp_path)


def test_two_columns_by_their_usual_names_or_by_name(tmp_path):
    rows = [{"question": "why", "answer": "so", "id": 1}, {"question": "when", "answer": "now", "id": 2}]
    found = written(tmp_path, "a.jsonl", rows)
    assert (found.texts, found.labels) == (("why", "when"), ("so", "now"))
    named = written(tmp_path, "b.jsonl", rows, input="answer", label="question")
    assert (named.texts, named.labels) == (("so", "now"), ("why", "when"))


def test_chat_messages_of_one_turn_and_of_several(tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
        {
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
                {"role": "assistant", "content": "d"},
            ]
        },
    ]
    found = written(tmp_path, "chat.jsonl", rows)
    assert found.texts == ("hi", "be kind\n\n\x1eUser: a\n\x1eAssistant: b\n\x1eUser: c")
    assert found.labels == ("hello", "d")


def test_sharegpt(tmp_path):
    rows = [{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}]
    assert written(tmp_path, "s.jsonl", rows).labels == ("hello",)


def test_alpaca(tmp_path):
    rows = [
        {"instruction": "Add", "input": "1 and 2", "output": "3"},
        {"instruction": "Greet", "input": "", "output": "hello"},
    ]
    assert written(tmp_path, "alpaca.json", json.dumps(rows)).texts == ("Add\n\n1 and 2", "Greet")


SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {
                    "context": "Ada was born in London.",
                    "qas": [
                        {"id": "1", "question": "Where?", "answers": [{"text": "London"}, {"text": "in London"}]},
                        {"id": "2", "question": "When?", "is_impossible": True, "answers": []},
                    ],
                }
            ],
        }
    ],
}


def test_squad(tmp_path):
    found = written(tmp_path, "squad.json", json.dumps(SQUAD, indent=1))
    assert found.texts[0] == "Question: Where?\nPassage: Ada was born in London."
    assert found.labels == ("London", "")
    assert found.further == (("in London",), ())
    assert found.take([0]).further == (("in London",),)


def test_answers_with_their_places_are_read_by_their_texts(tmp_path):
    answers = [{"text": text, "answer_start": 5} for text in ("x", "y", "x")]
    rows = [{"question": "q", "context": "c", "answers": a} for a in (answers, {"text": ["x", "y"]}, [])]
    found = written(tmp_path, "rows.jsonl", rows)
    assert (found.labels, found.further) == (("x", "x", ""), (("y",), ("y",), ()))
    for wrong in ([{"answer": "x"}], [["x"]], [{"text": ["x"]}], {"texts": "x"}, [None]):
        rows[1]["answers"] = wrong
        with pytest.raises(DataError, match=r"rows.jsonl, column 'answers', row 2: [\s\S]*Expected: an answer: a text"):
            written(tmp_path, "rows.jsonl", rows)


def test_a_question_and_its_passage_come_apart_again():
    assert apart(about("Where? ", " Here.\nThere.")) == ("Where?", "Here.\nThere.")


def test_a_column_of_passages(tmp_path):
    found = written(
        tmp_path, "q.jsonl", [{"q": "Who?", "p": "Ada.", "a": ["Ada", "A."]}], input="q", label="a", context="p"
    )
    assert found.texts == (about("Who?", "Ada."),)
    assert (found.labels, found.further) == (("Ada",), (("A.",),))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"messages": [{"role": "user", "content": "hi"}]}], "column 'messages', row 1: user"),
        ([{"messages": "hi"}], "column 'messages', row 1: str 'hi'"),
        ([{"messages": [{"role": "robot", "content": "x"}]}], "row 1, message 1: {'role': 'robot'"),
        ([{"question": "a", "answer": "b"}, {"question": "c", "answer": None}], "column 'answer', row 2: None"),
        ([{"question": "a", "answer": "b"}, {"question": "", "answer": "c"}], "column 'question', row 2: no text"),
        ([{"a": "x", "b": "y"}], "which column holds the requests?"),
        ([{"question": "x", "b": "y"}], "which column holds the answers?"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(tmp_path, rows, message):
    with pytest.raises(DataError) as error:
        written(tmp_path, "rows.jsonl", rows)
    assert "rows.jsonl" in str(error.value)
    assert message in str(error.value)


def test_a_squad_question_without_answers_is_named(tmp_path):
    broken = json.loads(json.dumps(SQUAD))
    del broken["data"][0]["paragraphs"][0]["qas"][0]["answers"]
    with pytest.raises(DataError, match=r"squad.json, column 'answers', row 1: None\nExpected: an answer"):
        written(tmp_path, "squad.json", json.dumps(broken))
    asked = written(tmp_path, "squad.json", json.dumps(broken), answered=False)
    assert (len(asked), asked.labels, asked.further) == (2, None, None)
    del broken["data"][0]["paragraphs"][0]["qas"][1]["question"]
    with pytest.raises(DataError, match="article 1, paragraph 1, question 2: no 'question'"):
        written(tmp_path, "squad.json", json.dumps(broken))


def test_a_po_file_and_one_that_is_none(tmp_path):
    found = written(tmp_path, "gl.po", 'msgid "Open"\nmsgstr "Abrir"\n')
    assert (found.texts, found.labels) == (("Open",), ("Abrir",))
    with pytest.raises(DataError, match=r"bad\.po: not a gettext catalogue"):
        written(tmp_path, "bad.po", "this is no catalogue\n")
