"""Answers that are marked in their passages: windows, loss, best spans, no answer, a long passage, the fitted model."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

import transfuse.fitted.model
from transfuse.backbones.passages import windows
from transfuse.data.examples import Examples
from transfuse.data.shapes import about
from transfuse.engine.answers import Pairs
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.spans import Spans, held_in
from transfuse.engine.trunk import Trunk
from transfuse.errors import BackboneError, DataError, RecipeError
from transfuse.fitted import FittedWriter, load
from transfuse.fitted.spans import _best
from transfuse.methods.catalogue import method
from transfuse.tasks.writing import Writing

TASK = Writing("answer", max_tokens=48)
WORDS, ANSWERS = ("the", "bad", "good", "is", "in"), ("dog", "sun")
QUICK = {"learning_rate": 3e-3, "head_learning_rate": 1e-2, "epochs": 30}


def questions(count, seed, none=0.0):
    """Which of two animals a passage has, if any."""
    generator = np.random.default_rng(seed)
    texts, answers = [], []
    for _ in range(count):
        words = [WORDS[i] for i in generator.integers(0, len(WORDS), 5)]
        answer = "" if generator.random() < none else ANSWERS[int(generator.integers(2))]
        if answer:
            words.insert(int(generator.integers(0, 5)), answer)
        texts.append(about("go?", " ".join(words)))
        answers.append(answer)
    return Examples(tuple(texts), tuple(answers), origin="questions.json")


def fitted(rows, extra=None, seed=0, task=TASK, **changed):
    own = toy.backbone("encoder")
    job = method("span", "answer").plan(task, own, TransferData(rows, extra or {}), seed, **{**QUICK, **changed})
    return Engine(Trunk(own, "fp32", 64), 0).fit(job)


def right(path, rows):
    return np.mean([a == b for a, b in zip(path.answers(rows.texts), rows.labels, strict=True)])


@pytest.fixture(scope="module")
def path():
    return fitted(questions(64, 1, none=0.3))


def test_it_learns_to_mark_and_to_find_nothing(path):
    test = questions(60, 2, none=0.3)
    assert right(path, test) > 0.6
    given = path.answers(test.texts)
    assert all(answer in text for answer, text in zip(given, test.texts, strict=True))
    assert (given == "").any()


def test_where_every_question_has_an_answer_one_is_always_given():
    path = fitted(questions(24, 1), epochs=2)
    assert all(path.answers(questions(20, 2, none=1.0).texts))


def test_a_source_is_learnt_first():
    few = questions(2, 5)
    alone, after = (fitted(few, extra, source_epochs=30, epochs=1) for extra in ({}, {"s": questions(64, 1)}))
    test = questions(60, 2)
    assert right(after, test) > right(alone, test) + 0.2


def test_the_loss_is_that_of_plain_cross_entropy():
    own = toy.backbone("encoder")
    rows = questions(6, 3, none=0.5)
    found = windows(own.tokenizer, ["go?"] * 6, [text.partition("Passage: ")[2] for text in rows.texts], 48, 8)
    pairs = Pairs(rows.texts, rows.labels, np.arange(1.0, 7.0), np.ones(6, dtype=bool))
    spans = Spans(found, pairs, own.width)
    torch.nn.init.normal_(spans.head.weight, generator=torch.Generator().manual_seed(0))
    width = max(map(len, found.tokens))
    hidden = torch.randn(6, width, own.width, generator=torch.Generator().manual_seed(1))
    losses = []
    for i in range(6):
        first, count = int(found.first[i]), len(found.places[i])
        kept = [0, *range(first, first + count)]
        scores = torch.log_softmax(spans.head(own.normed(hidden[i : i + 1]))[0, kept], dim=0)
        losses.append(-sum(scores[kept.index(int(spans.right[i, side])), side] for side in (0, 1)) / 2)
    weights = torch.arange(1.0, 7.0)
    expected = (torch.stack(losses) * weights).sum() / weights.sum()
    torch.testing.assert_close(spans.loss(own, hidden, np.arange(6), low=False), expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_span_is_that_of_a_search(seed):
    scores = np.random.default_rng(seed).normal(size=(9, 2))
    places = np.array([(10 * i, 10 * i + 5) for i in range(6)])
    wanted = max(
        (scores[2 + i, 0] + scores[2 + j, 1], places[i, 0], places[j, 1])
        for i in range(6)
        for j in range(i, min(i + 3, 6))
    )
    assert _best(scores, 2, places, 3) == pytest.approx(wanted)


def test_a_long_passage_is_read_in_windows_that_overlap(path):
    tokenizer = path.backbone.tokenizer
    passage = " ".join(["bad"] * 60 + ["go", "sun"] + ["bad"] * 60)
    found = windows(tokenizer, ["go?"], [passage], 48, 8)
    assert len(found) > 2
    assert max(map(len, found.tokens)) <= 48
    at = passage.index("sun")
    held = [w for w in range(len(found)) if found.find(w, at, at + 3) is not None]
    assert held
    for w in held:
        first, last = found.find(w, at, at + 3)
        start, stop = found.places[w][first - found.first[w], 0], found.places[w][last - found.first[w], 1]
        assert passage[start:stop] == "sun"
    assert path.answers([about("go?", passage)])[0] in passage


def test_a_question_without_room_for_its_passage_is_refused():
    with pytest.raises(BackboneError, match="for a passage"):
        windows(toy.backbone("encoder").tokenizer, ["go " * 40], ["the dog"], 20, 4)


def test_it_is_saved_and_loaded_and_answers_the_same(path, tmp_path, monkeypatch):
    own = toy.backbone("encoder")
    fields = {k: getattr(own, k) for k in ("reference", "revision", "licence", "family")} | {"resolved": own.reference}
    model = FittedWriter(TASK, path, method="span", backbone=fields)
    texts = [*questions(8, 4, none=0.5).texts, about("", ""), about("漢字?", "漢字 ü 🙂"), "no passage at all"]
    found = model.predict(texts)
    model.save(tmp_path / "model")
    monkeypatch.setattr(transfuse.fitted.model, "_LOADED", {})
    again = load(tmp_path / "model")
    assert again.predict(texts) == found
    assert found[-1] == ""
    assert again.path.trainable_parameters == path.trainable_parameters > 0


def test_a_seed_decides_everything():
    rows, test = questions(16, 1), questions(20, 2).texts
    a, b = (fitted(rows, seed=3, epochs=2).answers(test) for _ in range(2))
    assert list(a) == list(b)


def test_what_it_cannot_learn_from_is_refused_with_a_remedy():
    bare = Examples(("who?", "what?"), ("he", "it"), origin="bare.csv")
    with pytest.raises(DataError, match=r"bare\.csv: no passages"):
        fitted(bare)
    elsewhere = dataclasses.replace(questions(4, 1), labels=("xyz",) * 4)
    with pytest.raises(DataError, match="none of 4 answers stands in its passage"):
        fitted(elsewhere)
    with pytest.raises(RecipeError, match="is for tasks of kind answer and does not suit kind 'translate'"):
        method("span", "translate")
    with pytest.raises(RecipeError, match="overlap"):
        fitted(questions(4, 1), overlap=-1)


def test_which_answers_stand_in_their_passages():
    texts = [about("q", "The Dog is good"), about("q", "the dog"), about("q", "x"), "no passage"]
    assert held_in(texts, ["dog is", "cat", "", "passage"]).tolist() == [True, False, False, False]


def test_a_source_without_passages_is_no_source():
    rows = questions(8, 1)
    other = Examples(("who?", "what?"), ("he", "it"))
    a, b = (fitted(rows, extra, epochs=2).answers(rows.texts) for extra in ({}, {"other": other}))
    assert list(a) == list(b)


def test_windows_do_not_depend_on_the_other_questions():
    tokenizer = toy.backbone("encoder").tokenizer
    passage = " ".join(["bad"] * 90)
    alone, together = (
        windows(tokenizer, asked, [passage] * len(asked), 48, 32) for asked in (["go?"], ["go?", "the " * 60])
    )
    assert list(alone.tokens) == list(together.tokens)[: len(alone)]
    assert len(windows(tokenizer, [], [], 48, 8)) == 0
