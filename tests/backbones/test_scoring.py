"""Label words scored over a shared prefix, against the whole prompt without any cache."""

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones.scoring import LabelScorer
from transfuse.errors import BackboneError

TEXTS = ["the good, the bad", "x", "a somewhat longer text about the good", ""]
TEMPLATE = "Review: {text}\nSentiment:"
SHOTS = "Review: the good\nSentiment: good\n\nReview: bad\nSentiment: the bad\n\n"
DECODERS = pytest.mark.parametrize("family", tiny.DECODERS)


def uncached(backbone, prefix, words, template=TEMPLATE):
    """Sum of log p of each label's tokens, from one forward of the whole prompt for each text and label."""
    tokenizer, network = backbone.tokenizer, backbone.network()
    opening = [tokenizer.bos_token_id] if backbone.family in tiny.OPENS else []
    parts = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    out = np.empty((len(TEXTS), len(words)))
    for i, text in enumerate(TEXTS):
        for c, word in enumerate(words):
            prompt = opening + parts(prefix + template.replace("{text}", text))
            label = parts(f" {word}")
            with torch.no_grad():
                logits = network(input_ids=torch.tensor([prompt + label])).logits[0].double()
            log_p = torch.log_softmax(logits, -1)
            out[i, c] = sum(float(log_p[len(prompt) + j - 1, token]) for j, token in enumerate(label))
    return out


@DECODERS
@pytest.mark.parametrize("prefix", ["", SHOTS], ids=["bare", "shots"])
def test_scores_equal_the_whole_forward(family, prefix):
    backbone = tiny.load(family)
    words = ["good", "the bad", "b", "the bad good", "good the"]
    scorer = LabelScorer(backbone, prefix, TEMPLATE, words, 64, "fp32")
    assert sorted({len(label) for label in scorer.labels}) != [1], "no label of several tokens"
    found = scorer.score(TEXTS)
    assert found.shape == (4, 5)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, uncached(backbone, prefix, words), rtol=0, atol=5e-5)
    np.testing.assert_array_equal(scorer.score(TEXTS), found)  # the prefix's cache has not grown


@DECODERS
@pytest.mark.parametrize("template", ["{text}", "g{text}", "The {text}:\n"])
def test_texts_that_join_the_prefixs_last_token_are_read_whole(family, template):
    backbone = tiny.load(family)
    words = ["good", "the bad"]
    scorer = LabelScorer(backbone, SHOTS, template, words, 64, "fp32")
    np.testing.assert_allclose(
        scorer.score(TEXTS), uncached(backbone, SHOTS, words, template), rtol=0, atol=5e-5, err_msg=template
    )


def test_what_labels_share_is_read_once(monkeypatch):
    scorer = LabelScorer(tiny.load("llama"), SHOTS, TEMPLATE, ["the bad", "the bad good", "the b"], 64, "fp32")
    rows, real = [], scorer._after

    def counted(given, cache):
        rows.extend(map(tuple, given))
        return real(given, cache)

    monkeypatch.setattr(scorer, "_after", counted)
    scorer.score(["x"])
    assert len(rows) == len(set(rows)) == len(scorer._trie)
    assert len(rows) < sum(len(label) for label in scorer.labels)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text"])
def test_neither_the_tokenizers_side_nor_the_company_matters(family, monkeypatch):
    backbone = tiny.load(family)
    together = LabelScorer(backbone, SHOTS, TEMPLATE, ["good", "bad"], 64, "fp32").score(TEXTS)
    monkeypatch.setattr(backbone.tokenizer, "padding_side", "left")
    scorer = LabelScorer(backbone, SHOTS, TEMPLATE, ["good", "bad"], 64, "fp32")
    alone = np.concatenate([scorer.score([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, rtol=0, atol=5e-5)


def test_a_label_is_tokenized_as_it_follows_the_query():
    scorer = LabelScorer(tiny.load("llama"), "", TEMPLATE, ["good"], 64, "fp32")
    assert tiny.load("llama").tokenizer.convert_ids_to_tokens(scorer.labels[0]) == ["Ġgo", "od"]


def test_a_prompt_opens_with_one_mark_and_never_closes():
    opened = LabelScorer(tiny.load("llama"), SHOTS, TEMPLATE, ["good"], 64, "fp32")
    assert opened.prefix.count(tiny.load("llama").tokenizer.bos_token_id) == 1
    assert opened.prompts(["x"])[0].count(opened.prefix[0]) == 1
    assert LabelScorer(tiny.load("gpt2"), "", TEMPLATE, ["good"], 64, "fp32").opening == []


def test_long_queries_are_cut_to_the_room_that_the_demonstrations_leave():
    backbone = tiny.load("llama")
    scorer = LabelScorer(backbone, SHOTS, TEMPLATE, ["good"], 1000, "fp32")
    assert scorer.room == backbone.max_tokens - len(scorer.prefix) - 2
    (prompt,) = scorer.prompts(["word " * 200])
    assert prompt[: len(scorer.prefix)] == scorer.prefix
    query = prompt[len(scorer.prefix) :]
    assert len(query) <= scorer.room
    assert backbone.tokenizer.decode(query).endswith("Sentiment:")
    assert np.isfinite(scorer.score(["word " * 200])).all()


def test_demonstrations_that_fill_the_context_are_refused():
    with pytest.raises(BackboneError) as caught:
        LabelScorer(tiny.load("llama"), SHOTS * 4, TEMPLATE, ["good"], 64, "fp32")
    assert "leave no room for a text" in str(caught.value)
    assert f"Expected: at most {tiny.POSITIONS} tokens in all" in str(caught.value)
    assert "Use fewer shots" in str(caught.value)


def test_an_encoder_cannot_be_prompted():
    with pytest.raises(BackboneError, match="an encoder cannot be prompted"):
        LabelScorer(tiny.load("bert"), "", TEMPLATE, ["good"], 64, "fp32")


def test_bf16_scores_are_near():
    exact, rough = (
        LabelScorer(tiny.load("llama"), SHOTS, TEMPLATE, ["good", "bad"], 64, precision).score(TEXTS)
        for precision in ("fp32", "bf16")
    )
    assert 0 < np.abs(exact - rough).max() < 1.0
