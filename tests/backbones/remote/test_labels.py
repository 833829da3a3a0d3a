"""Probabilities of words out of the tokens of an answer, by hand and through both services."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from remote_place import question
from remote_stand_in import RemoteStandIn

from transfuse.backbones.remote.conversation import Conversation
from transfuse.backbones.remote.labels import FLOOR, label_of, shares, word_probabilities
from transfuse.backbones.remote.requests import Token
from transfuse.backbones.remote.scoring import RemoteScorer
from transfuse.data.turns import conversation

WORDS = ("good", "goal", "bad", "very bad")
CHANCES = {"good": 0.5, "goal": 0.3, "bad": 0.15, "very bad": 0.05}
TALK = Conversation("Answer with one.", "Text: {text}\nLabel:", (("fine", "good"),), 64)


def token(chosen: str, **top: float) -> Token:
    told = top or {chosen: 1.0}
    return Token(chosen, math.log(told[chosen]), tuple((t, math.log(p)) for t, p in told.items()))


def test_the_first_token_that_tells_words_apart():
    found = word_probabilities([token("bad", good=0.2, bad=0.7, go=0.1)], WORDS[:3])
    assert found == pytest.approx([0.2 + 0.05, 0.05, 0.7])


def test_words_that_begin_alike_are_told_apart_by_the_next_token():
    tokens = [token("go", go=0.8, bad=0.2), token("od", od=0.75, al=0.25)]
    assert word_probabilities(tokens, WORDS[:3]) == pytest.approx([0.6, 0.2, 0.2])


def test_words_in_the_object_that_was_asked_for():
    tokens = [token('{"'), token("answer"), token('":'), token(' "go', **{' "go': 0.9, ' "b': 0.1}), token('od"}')]
    assert word_probabilities(tokens, ("good", "bad")) == pytest.approx([0.9, 0.1])


def test_a_word_that_begins_another_is_told_by_the_quote():
    tokens = [token('{"answer":"'), token("good"), token('"}', **{'"}': 0.6, " enough": 0.4})]
    assert word_probabilities(tokens, ("good", "good enough")) == pytest.approx([0.6, 0.4])
    assert word_probabilities([token("good")], ("good", "good enough"))[0] > 0.99


def test_what_leads_to_no_word_counts_for_none():
    found = word_probabilities([token("bad", bad=0.4, maybe=0.5, good=0.1)], ("good", "bad"))
    assert found == pytest.approx([0.2, 0.8])
    assert word_probabilities([token("maybe")], ("good", "bad")) is None
    assert word_probabilities([], ()) is None


def test_no_word_is_impossible():
    found = word_probabilities([token("bad")], ("good", "bad"))
    assert found[0] == pytest.approx(FLOOR)
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('{"answer": "bad"}', 2),
        ("  Bad.\n", 2),
        ("**very bad**", 3),
        ("bad or good", None),
        ('{"answer": "go', None),
        ("", None),
        ("3", None),
    ],
)
def test_label_of(text, label):
    assert label_of(text, WORDS) == label


def test_shares():
    assert shares([0, 0, 1, None, 0], 2) == pytest.approx([3.5 / 5, 1.5 / 5])
    assert shares([None], 4) == pytest.approx([0.25] * 4)


@pytest.mark.parametrize(("reference", "structure"), [("openai:m", True), ("openai:m", False), ("google:m", True)])
def test_log_probabilities_give_the_words_chances_back(opened, reference, structure):
    with RemoteStandIn(chances=lambda text: CHANCES, structure=structure) as service:
        scorer = RemoteScorer(opened(service, reference), TALK, WORDS)
        found = np.exp(scorer.score(["a", "b", "a"]))
        assert len(service.bills) == 2
    assert found == pytest.approx(np.tile(list(CHANCES.values()), (3, 1)), abs=1e-5)
    assert scorer.tokens.tolist()[0] == 3


@pytest.mark.parametrize("reference", ["openai:m", "google:m"])
@pytest.mark.parametrize("logprobs", ["ignored", "refused"])
def test_without_log_probabilities_answers_are_drawn(opened, reference, logprobs):
    with RemoteStandIn(chances=lambda text: CHANCES, logprobs=logprobs, seed=1) as service:
        scorer = RemoteScorer(opened(service, reference, samples=40), TALK, WORDS)
        found = np.exp(scorer.score(["a"]))
        assert found[0] == pytest.approx(list(CHANCES.values()), abs=0.2)
        assert np.isclose(found.sum(), 1)
        assert len(service.bills) == 1 + 40
        again = np.exp(RemoteScorer(scorer.model, TALK, WORDS).score(["a"]))
        assert len(service.bills) == 1 + 40, "all is known"
    assert np.array_equal(found, again)


@pytest.mark.parametrize(("fault", "counted"), [("refusal", "refused"), ("length", "unreadable")])
def test_an_answer_that_says_nothing_is_counted_and_even(opened, fault, counted):
    with RemoteStandIn([None, fault], chances=lambda text: CHANCES) as service:
        scorer = RemoteScorer(opened(service, concurrency=1), TALK, WORDS)
        found = np.exp(scorer.score(["a", "b", "c"]))
    assert found[1] == pytest.approx([0.25] * 4)
    assert found[2] == pytest.approx(list(CHANCES.values()), abs=1e-5)
    assert {"refused": scorer.refused, "unreadable": scorer.unreadable}[counted] == 1


def test_a_first_answer_that_is_refused_does_not_decide(opened):
    with RemoteStandIn(["filter", "refusal"], chances=lambda text: CHANCES) as service:
        scorer = RemoteScorer(opened(service), TALK, WORDS)
        found = np.exp(scorer.score(["a", "b", "c"]))
        assert len(service.bills) == 3
    assert found[2] == pytest.approx(list(CHANCES.values()), abs=1e-5)
    assert scorer.refused == 2


def test_a_conversation_keeps_its_turns():
    talk = Conversation("Be kind.", "Q: {text}", (), 64)
    text = conversation([("user", "a"), ("assistant", "b"), ("user", "c")])
    assert [tuple(message) for message in talk.messages(text)] == [
        ("system", "Be kind."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "Q: c"),
    ]


def test_a_conversation_shows_examples_as_turns():
    shown = TALK.messages("x" * 999)
    assert [m.role for m in shown] == ["system", "user", "assistant", "user"]
    assert shown[1].text == "Text: fine\nLabel:"
    assert shown[3].text == f"Text: {'x' * 256}\nLabel:"
    assert TALK.messages("y", [])[1:] == (("user", "Text: y\nLabel:"),)
    assert Conversation.from_dict(json.loads(json.dumps(TALK.to_dict()))) == TALK
    assert question("a").messages[0].role == "system"
