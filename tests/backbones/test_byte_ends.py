"""Where tokens end: in bytes, whatever kind of tokenizer, for letters of one to four bytes."""

import numpy as np
import pytest
from small_tokenizers import KINDS, TEXTS, small

from transfuse.backbones import byte_ends as module
from transfuse.backbones.byte_ends import INSIDE, byte_ends, token_bytes
from transfuse.errors import BackboneError

SEEN = [*TEXTS, "The dog 🙃 goes", "我们去公园 😀🙃", "two  spaces ", "x", ""]
"""The last ones hold what no tokenizer was trained on."""


def names(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def ends(kind, text, **given):
    tokenizer = small(kind)
    return byte_ends(tokenizer, text, tokenizer(text, **given)["input_ids"])


def test_ends_of_bytes_by_hand():
    assert names(small("bytes"), "The good 🙃") == ["<s>", "The", "Ġgood", "Ġ", "ðŁ", "Ļ", "ĥ", "</s>"]
    assert ends("bytes", "The good 🙃").tolist() == [0, 3, 8, 9, 11, 12, 13, 14]


def test_ends_of_sentencepiece_by_hand():
    """The space that is put before the text stands for none of its bytes; an unknown character is single bytes."""
    assert names(small("sentencepiece"), "The 🙃") == ["<s>", "▁", "<0x54>", "he", "▁"] + [
        f"<0x{byte:02X}>" for byte in "🙃".encode()
    ] + ["</s>"]
    assert ends("sentencepiece", "The 🙃").tolist() == [0, INSIDE, 1, 3, 4, 5, 6, 7, 8, 9]


def test_ends_of_wordpiece_by_hand():
    """Lower case, no accents, spaces gone, and a word that is not known."""
    assert names(small("wordpiece"), "The naïve 🙃 dog") == ["<s>", "the", "naive", "<unk>", "dog", "</s>"]
    assert ends("wordpiece", "The naïve 🙃 dog").tolist() == [0, 3, 10, 15, 19, 20]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", SEEN)
def test_ends_grow_and_the_last_is_the_texts(kind, text):
    found = ends(kind, text)
    known = found[found != INSIDE]
    assert (np.diff(known) >= 0).all()
    assert known[-1] == len(text.encode()) + 1
    assert found[0] == 0
    behind = len(text.rstrip().encode()) if kind == "wordpiece" else len(text.encode())
    assert behind == 0 or behind in known


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
@pytest.mark.parametrize("text", SEEN)
def test_offsets_agree_with_bytes_where_they_say_anything(kind, text, monkeypatch):
    exact = ends(kind, text)
    monkeypatch.setattr(module, "_walked", lambda *_: None)
    if not text:
        return
    counted = ends(kind, text)
    known = counted != INSIDE
    assert (counted[known] == exact[known]).all()
    inside = exact[(~known) & (exact > 0)]
    edges = np.cumsum([len(letter.encode()) for letter in text])
    assert not set(inside.tolist()) & set(edges.tolist())  # what is not known is inside a character


def test_a_token_of_no_characters_has_no_end_and_spoils_no_other():
    assert module._by_offsets([(0, 2), (0, 0), (2, 3), (3, 4), (3, 4)], "ab今é").tolist() == [2, INSIDE, 5, INSIDE, 7]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_was_cut_off_and_one_without_special_tokens(kind):
    whole = ends(kind, TEXTS[0])
    tokenizer = small(kind)
    ids = tokenizer(TEXTS[0])["input_ids"]
    assert byte_ends(tokenizer, TEXTS[0], ids[:5]).tolist() == whole[:5].tolist()
    assert byte_ends(tokenizer, TEXTS[0], ids[1:-1]).tolist() == whole[1:-1].tolist()


@pytest.mark.parametrize("kind", ["bytes", "wordpiece"])
def test_a_text_that_holds_the_name_of_a_special_token(kind):
    """``<s> the </s> dog </s>``, of which the first and the last stand around the text."""
    text = "The</s> dog" if kind == "wordpiece" else "the</s> dog"
    assert ends(kind, text)[[0, 1, 2, -2, -1]].tolist() == [0, 3, 7, 11, 12]
    assert ends(kind, f"</s>{text}")[[0, 1, 2, 3, -2, -1]].tolist() == [0, 4, 7, 11, 15, 16]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_another_text_are_refused(kind):
    tokenizer = small(kind)
    with pytest.raises(BackboneError, match="not those of the text 'the bad dog") as error:
        byte_ends(tokenizer, TEXTS[1], tokenizer(TEXTS[0])["input_ids"])
    assert "without what stood before it" in error.value.remedy


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
def test_bytes_of_a_vocabulary(kind):
    tokenizer = small(kind)
    found = token_bytes(tokenizer)
    assert len(found) == len(tokenizer)
    assert [found[token] for token in tokenizer.all_special_ids] == [None] * 3
    single = {name for name in found if name and len(name) == 1}
    assert single == {bytes([byte]) for byte in range(256)}
    space = "Ġgood" if kind == "bytes" else "▁good"
    assert found[tokenizer.convert_tokens_to_ids(space)] == b" good"
