"""Which of several words an answer is, and how probable each was: pure functions of what came back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from transfuse.backbones.remote.of_openai import answer_of
from transfuse.backbones.remote.requests import Token

FLOOR = 1e-6
"""The least probability of a word: services show the likeliest tokens alone."""
QUOTED = re.compile(r'^\s*\{\s*"answer"\s*:\s*"')
AROUND = " \t\n\r\"'`*.,;:!"


def label_of(text: str, words: Sequence[str]) -> int | None:
    """The position of the word that an answer is, whatever its case and what stands around it; None for no word."""
    said = answer_of(text).strip(AROUND).casefold()
    found = [i for i, word in enumerate(words) if word.strip(AROUND).casefold() == said]
    return found[0] if len(found) == 1 else None


def word_probabilities(tokens: Sequence[Token], words: Sequence[str]) -> np.ndarray | None:
    """How probable each word was, of an answer with the likeliest tokens at each place.

    The answer is followed token by token. At each place where several words can still follow, the tokens that lead to
    one of them give it their probability times that of what was written before; those that lead to several share it
    evenly, unless they were written themselves: then the next place decides.

    Args:
        tokens: of the answer, ``{"answer": "WORD"}`` or the word alone.
        words: C words.

    Returns:
        float64 [C], normalised, none below `FLOOR`; None where no token leads to a word.
    """
    text = "".join(token.text for token in tokens)
    quoted = QUOTED.match(text)
    start = quoted.end() if quoted else len(text) - len(text.lstrip())
    targets = [(json.dumps(w, ensure_ascii=False)[1:] if quoted else w).casefold() for w in words]
    found, left, mass, written, place = np.zeros(len(words)), list(range(len(words))), 1.0, "", 0
    for token in tokens:
        begun, place = place, place + len(token.text)
        if place <= start or len(left) < 2:
            continue
        lead = text[begun:start]  # what the token holds of what stands before the word
        goes_on: tuple[list[int], float] = ([], 0.0)
        for piece, logprob in {**dict(token.top), token.text: token.logprob}.items():
            if not piece.startswith(lead):
                continue
            fitting = _fitting(targets, left, written + piece[len(lead) :].casefold())
            share = mass * float(np.exp(logprob))
            if piece == token.text:
                goes_on = fitting, share
            elif fitting:
                found[fitting] += share / len(fitting)
        (left, mass), written = goes_on, written + token.text[len(lead) :].casefold()
    exact = [i for i in left if targets[i] == written.strip()]
    if left:
        found[exact or left] += mass / len(exact or left)
    if not found.sum() > 0:
        return None
    floored = np.maximum(found / found.sum(), FLOOR)
    normal: np.ndarray = floored / floored.sum()
    return normal


def _fitting(targets: Sequence[str], left: Sequence[int], said: str) -> list[int]:
    """The words that what was said can still become, or, where there is none, the longest that it goes beyond."""
    if not said:
        return list(left)
    begun = [i for i in left if targets[i].startswith(said)]
    beyond = [i for i in left if said.startswith(targets[i])]
    return begun or sorted(beyond, key=lambda i: -len(targets[i]))[:1]


def shares(drawn: Sequence[int | None], classes: int) -> np.ndarray:
    """How often each word was answered, one answer more shared by all: float64 [C].

    p = (n_c + 1/C) / (n + 1); even where nothing was answered.
    """
    counts = np.bincount([i for i in drawn if i is not None], minlength=classes).astype(float)
    smooth: np.ndarray = (counts + 1 / classes) / (counts.sum() + 1)
    return smooth
