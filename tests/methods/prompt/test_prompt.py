"""Prompting: which demonstrations, which words, and what calibration takes away."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
import toy

from transfuse.data.examples import Examples
from transfuse.engine.jobs import TransferData
from transfuse.errors import BackboneError, RecipeError
from transfuse.fitted.paths import log_softmax
from transfuse.fitted.prompted import CONTENT_FREE
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify

ROWS, TEST = toy.examples(40, seed=1, share=0.75), toy.examples(60, seed=2)


def planned(task=toy.TASK, rows=ROWS, seed=0, **settings):
    return method("prompt").plan(task, toy.backbone("taught"), TransferData(rows), seed, **settings).stages[0]


@pytest.mark.parametrize("shots", [0, 1, 2, 7, 8])
def test_demonstrations_are_spread_over_the_classes(shots):
    shown = planned(shots=shots).demonstrations
    assert len(shown) == shots
    counts = Counter(word for _, word in shown)
    assert max(counts.values(), default=0) - min(counts["warm"], counts["cold"]) <= 1
    assert len({text for text, _ in shown}) == shots
    assert all(ROWS.labels[ROWS.texts.index(text)] == word for text, word in shown)


def test_demonstrations_are_drawn_by_the_seed():
    assert planned(seed=3) == planned(seed=3)
    draws = {planned(seed=seed).demonstrations for seed in range(5)}
    assert len(draws) == 5
    assert len({tuple(word for _, word in draw) for draw in draws}) > 1  # the order of the classes varies too


def test_a_small_class_gives_what_it_has():
    rows = Examples(("a", "b", "c", "d"), ("warm", "warm", "warm", "cold"))
    assert Counter(word for _, word in planned(rows=rows, shots=8).demonstrations) == {"warm": 3, "cold": 1}


def test_rows_of_weight_0_are_not_shown():
    weighted = dataclasses.replace(ROWS, weights=np.where(np.arange(40) < 30, 0.0, 1.0))
    assert {text for text, _ in planned(rows=weighted).demonstrations} <= set(ROWS.texts[30:])


def test_the_prompt_is_demonstrations_then_the_question(bench):
    rows = Examples(("a {text}", "b"), ("warm", "cold"))
    path = bench.path("prompt", "taught", rows, shots=2, words={"cold": "very cold"})
    assert sorted(path.prefix.split("\n\n")) == ["", "a {text} = warm", "b = very cold"]
    assert path.words == ("warm", "very cold")
    assert path.template == "{text} ="


def likelihood(prompt: str, word: str) -> float:
    """log p(word | prompt) by one pass of the plain model, all its tokens summed."""
    backbone = toy.backbone("taught")
    before = backbone.tokenizer(prompt)["input_ids"]
    after = backbone.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = backbone.network()(input_ids=torch.tensor([before + after])).logits[0]
    shares = torch.log_softmax(logits.double(), -1)
    return float(sum(shares[len(before) - 1 + i, token] for i, token in enumerate(after)))


@pytest.mark.parametrize("shots", [0, 2])
def test_words_of_several_tokens_are_scored_whole(bench, shots):
    path = bench.path("prompt", "taught", ROWS, shots=shots, calibrate=False, words={"cold": "not warm at all"})
    found = path.log_probabilities(TEST.texts[:4])
    by_hand = np.array([[likelihood(f"{path.prefix}{text} =", word) for word in path.words] for text in TEST.texts[:4]])
    np.testing.assert_allclose(found, log_softmax(by_hand), atol=1e-4)


def test_calibration_takes_away_the_bias_of_the_prompt(bench):
    """Zhao et al. 2021: an input without content gets equal probabilities, by the mean over three of them."""
    plain, calibrated = (bench.path("prompt", "taught", ROWS, shots=2, calibrate=c) for c in (False, True))
    assert not plain.bias.any()
    free = np.exp(plain.log_probabilities(CONTENT_FREE)).mean(0)
    np.testing.assert_allclose(calibrated.bias, np.log(free), atol=1e-6)
    corrected = np.exp(plain.log_probabilities(TEST.texts)) / free
    corrected /= corrected.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(calibrated.log_probabilities(TEST.texts)), corrected, atol=1e-6)


def test_the_taught_decoder_is_asked_and_a_random_one_guesses(bench):
    assert bench.accuracy(bench.path("prompt", "taught", ROWS, shots=2), TEST) > 0.85
    assert bench.accuracy(bench.path("prompt", "decoder", ROWS, shots=2), TEST) < 0.8
    swapped = bench.path("prompt", "taught", ROWS, shots=0, calibrate=False, words={"warm": "cold", "cold": "warm"})
    assert bench.accuracy(swapped, TEST) < 0.15  # it is the words that are scored


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": -1}, "prompt.shots: -1"),
        ({"template": "no place"}, "{text} once, where the text goes"),
        ({"words": {"warn": "hot"}}, "prompt.words: 'warn' is no label. Did you mean 'warm'?"),
        ({"words": {"warm": "cold"}}, "the labels 'warm' and 'cold' share the word 'cold'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(RecipeError) as error:
        planned(**settings)
    assert message in str(error.value)


def test_an_encoder_cannot_be_asked(bench):
    with pytest.raises(BackboneError, match="an encoder cannot be prompted"):
        bench.path("prompt", "encoder", ROWS)


def test_too_many_shots_say_what_to_do(bench):
    long = dataclasses.replace(ROWS, texts=tuple(text + " red" * 60 for text in ROWS.texts))
    with pytest.raises(BackboneError, match="Use fewer shots"):
        bench.path("prompt", "taught", long)


def test_labels_of_one_letter_and_of_other_scripts(bench):
    bench.task = Classify(labels=("坏", "好"), template="{text} =")
    path = bench.path("prompt", "taught", Examples(("x", "y"), ("坏", "好")))
    found = np.exp(path.log_probabilities(["z"]))
    assert found.sum() == pytest.approx(1.0)
