"""Templates, truncation, batches, states without padding."""

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones.huggingface import BATCH_TOKENS
from transfuse.backbones.tokens import States, batches, fill, pad, shortened, tokenize
from transfuse.engine.trunk import CHUNK

LONG = {"words": "the good and the bad " * 30, "three bytes a character": "好的东西" * 30}
TEMPLATE = "Review: {text}\nSentiment:"


def test_only_the_placeholder_of_a_template_is_filled():
    assert fill("{a} {text}!", "100 % {text} {b}") == "{a} 100 % {text} {b}!"
    assert fill(None, "x {text}") == "x {text}"


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_a_text_that_fits_is_what_the_tokenizer_gives(family):
    tokenizer = tiny.tokenizer(family)
    assert tokenize(tokenizer, ["the good"], TEMPLATE, 64) == [tokenizer("Review: the good\nSentiment:")["input_ids"]]
    plain = tokenizer("the good", add_special_tokens=False)["input_ids"]
    assert tokenize(tokenizer, ["the good"], None, 64, special=False) == [plain]


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
@pytest.mark.parametrize("limit", [40, 33, 26])
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_truncation_cuts_the_text_and_spares_the_template(family, special, limit, text):
    tokenizer = tiny.tokenizer(family)
    (row,) = tokenize(tokenizer, [text], TEMPLATE, limit, special=special)
    assert limit - 3 <= len(row) <= limit
    shown = tokenizer.decode(row, skip_special_tokens=True)
    assert shown.startswith(f"Review: {text[0]}")
    assert shown.endswith("\nSentiment:")
    assert text.startswith(shown.removeprefix("Review: ").removesuffix("\nSentiment:"))
    if special and family == "bert":
        assert row[-1] == tokenizer.eos_token_id


def test_a_template_longer_than_the_limit_is_cut_at_the_limit():
    (row,) = tokenize(tiny.tokenizer("gpt2"), ["abc"], "word " * 40 + "{text}", 16)
    assert len(row) == 16


def test_an_empty_text_has_a_token_at_least():
    assert tokenize(tiny.tokenizer("gpt2"), [""], None, 8) == [[0]]
    assert tokenize(tiny.tokenizer("llama"), [""], None, 8) == [[0]]


@pytest.mark.parametrize(("budget", "most"), [(64, 256), (1, 256), (10_000, 3)])
def test_batches_cover_all_rows_once_within_the_budget(budget, most):
    lengths = np.random.default_rng(0).integers(1, 40, size=57)
    found = list(batches(lengths, budget, most))
    assert sorted(np.concatenate(found).tolist()) == list(range(57))
    for rows in found:
        assert len(rows) <= most
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= budget
    tops = [lengths[rows].max() for rows in found]
    assert tops == sorted(tops, reverse=True)
    assert list(batches(np.array([], dtype=int), 64)) == []


def test_little_of_a_batch_is_padding_even_among_few_texts():
    """Lengths as reviews have them, in the chunks in which a trunk encodes."""
    lengths = np.random.default_rng(0).gamma(3.0, 9.0, size=8 * CHUNK).astype(int) + 3
    tokens = padded = 0
    for start in range(0, len(lengths), CHUNK):
        chunk = lengths[start : start + CHUNK]
        tokens += chunk.sum()
        padded += sum(len(rows) * chunk[rows].max() for rows in batches(chunk, BATCH_TOKENS))
    assert 1 - tokens / padded < 0.05


def test_equal_batches_have_no_padding():
    lengths = np.random.default_rng(0).integers(1, 9, size=57)
    found = list(batches(lengths, 64, 8, equal=True))
    assert sorted(np.concatenate(found).tolist()) == list(range(57))
    assert all(len(set(lengths[rows].tolist())) == 1 for rows in found)


def test_padding_is_on_the_right():
    ids, mask = pad([[5, 6], [7]], 9)
    assert ids.tolist() == [[5, 6], [7, 9]]
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_states_give_back_the_rows_that_were_put_in():
    first = States.of_ids([[1, 2, 3], [4]])
    assert first.lengths.tolist() == [3, 1]
    values, mask = first.batch([1, 0])
    assert values.tolist() == [[4, 0, 0], [1, 2, 3]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_padded_states_keep_their_width():
    states = States.of(torch.arange(6.0).reshape(3, 2), [[5, 6], [7]])
    values, mask = states.batch([0, 1])
    assert values.tolist() == [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [0.0, 0.0]]]
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_a_tokenizer_in_python_shortens_too():
    class Slow:
        is_fast = False

        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": text.split()}

    assert shortened(Slow(), "one two three four", 2).split() == ["one", "two"]
    assert shortened(Slow(), "one", 2) == "one"
    assert shortened(Slow(), "", 2) == ""
