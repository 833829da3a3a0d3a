"""Contracts: types, schema, what breaks one and how that is said."""

from __future__ import annotations

import json

import pytest

from transfuse.errors import TeamError
from transfuse.teams import Contract
from transfuse.teams.contract import closed

FULL = Contract.of({"intent": ["refund", "other"], "reply": "text", "count": "number", "tags": "list"})
GOOD = {"intent": "refund", "reply": "Done.", "count": 2.5, "tags": ["a"]}


def test_a_content_that_keeps_it():
    assert FULL.check(GOOD) == GOOD
    assert FULL.read(json.dumps(GOOD)) == GOOD
    assert FULL.model(**GOOD).model_dump() == GOOD


def test_the_schema_is_json_schema():
    schema = FULL.schema
    assert schema["required"] == ["intent", "reply", "count", "tags"]
    assert schema["properties"]["intent"]["enum"] == ["refund", "other"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"intent": "refnd"}, "field 'intent': found 'refnd'. Expected: one of refund, other."),
        ({"reply": "  \n"}, "field 'reply': found '  \\n'. Expected: a text that is not empty."),
        ({"reply": 3}, "field 'reply': found 3. Expected: a text that is not empty."),
        ({"count": "many"}, "field 'count': found 'many'. Expected: a number."),
        ({"count": float("nan")}, "field 'count': found nan. Expected: a number."),
        ({"tags": "a, b"}, "field 'tags': found 'a, b'. Expected: a list of texts."),
        ({"replly": "x"}, "field 'replly': unknown. Did you mean 'reply'? Expected: the fields intent, reply, count"),
    ],
)
def test_what_breaks_it_is_named(change, said):
    with pytest.raises(TeamError) as error:
        FULL.check({**GOOD, **change}, "role 'write'")
    assert str(error.value).startswith(f"role 'write', {said}")


def test_all_that_breaks_it_is_told_at_once():
    with pytest.raises(TeamError) as error:
        FULL.check({"intent": "x", "reply": "y"})
    assert str(error.value).splitlines()[1:] == [
        "answer, field 'count': missing. Expected: a number.",
        "answer, field 'tags': missing. Expected: a list of texts.",
    ]


def test_rubbish_is_no_content():
    for rubbish in (None, 7, [], object()):
        with pytest.raises(TeamError, match="the fields intent, reply, count, tags"):
            FULL.check(rubbish)
    with pytest.raises(TeamError, match="no JSON"):
        FULL.read("Sure! Here is the answer")


def test_a_lone_field_is_said_as_it_is():
    reply, verdict = Contract.of({"reply": "text"}), Contract.of({"verdict": ["good", "bad"]})
    assert reply.read(" Hello. ") == {"reply": "Hello."}
    assert (reply.form(9), verdict.form(9)) == (None, {"choices": ["good", "bad"]})
    assert verdict.check("bad") == {"verdict": "bad"}
    assert list(FULL.form(64)["schema"]["properties"]) == ["intent", "count", "reply", "tags"], "texts last"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"request": "text"}, "write, field 'request': what the user says"),
        ({"model_dump": "text"}, "write, field 'model_dump': no name that a field can have"),
        ({"a b": "text"}, "write, field 'a b': no name that a field can have"),
        ({"reply": "txt"}, "write, field 'reply': found 'txt'. Did you mean 'text'?"),
        ({"reply": []}, "write, field 'reply': []"),
        ({"reply": ["a", "a"]}, "write, field 'reply': ['a', 'a']"),
        ({"intent": "labels"}, "write, field 'intent': labels, but the role has no fitted model that knows any"),
    ],
)
def test_what_no_contract_can_hold(fields, said):
    with pytest.raises(TeamError) as error:
        Contract.of(fields, where="write")
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("kind", "text", "content"),
    [
        ("number", " 007 ", {"x": 7.0}),
        ("number", "twelve", "twelve"),
        ("number", '{"x": 12}', '{"x": 12}'),
        ("list", "red, dark blue", {"x": ["red", "dark blue"]}),
        ("text", "red, 12", "red, 12"),
        (["12", "13"], "12", "12"),
    ],
)
def test_what_a_column_holds(kind, text, content):
    assert Contract.of({"x": kind}).of_column(text) == content
    assert Contract.of({"x": kind, "y": "text"}).of_column(text) == text, "of several fields it is JSON"


def test_json_that_was_cut_off_is_ended():
    whole = json.dumps({"intent": "refund", "tags": ["a", 'b "c" \\'], "reply": "x"})
    assert closed(whole) == whole
    for end in range(1, len(whole)):
        try:
            json.loads(closed(whole[:end]))
        except ValueError:
            assert whole[:end].rstrip()[-1] in '":0123456789,abcdefghijklmnopqrstuvwxyz', whole[:end]
    assert json.loads(closed('{"reply": "We will send i')) == {"reply": "We will send i"}
    assert Contract.of({"reply": "text", "tags": "list"}).read('{"reply": "x", "tags": ["a", "b') == {
        "reply": "x",
        "tags": ["a", "b"],
    }
