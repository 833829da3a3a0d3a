"""Which bytes of a text each token stands for: what tokenizers that share nothing else have in common."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.errors import BackboneError

INSIDE = -1
"""The end of a token that ends inside a character, where its bytes are not known."""
FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_ends(tokenizer: Any, text: str, ids: Sequence[int]) -> np.ndarray:
    """Where in the text's UTF-8 each token ends.

    Decoded strings do not do: they hold what BOS is called, lose the space that SentencePiece puts first, and show half
    a character as �. So the tokens' own bytes are laid along the text's. A tokenizer whose tokens are not the text's
    bytes (lower case, NFKC) is asked for its offsets instead; they count characters, and a token that shares its last
    character with the next one ends `INSIDE`, as does a ``▁`` before the text.

    Args:
        tokenizer: a fast tokenizer of transformers.
        text: what was tokenized, without a prompt before it.
        ids: its tokens, with special ones around them or not, cut off or not.

    Returns:
        int64 [len(ids)]: bytes up to each token's end; 0 for special tokens before the text, and one more than the
        text has for those behind it, so that the ends of two texts meet; or `INSIDE`.

    Raises:
        BackboneError: the tokens are not the text's, or the tokenizer has no offsets.
    """
    marks, pieces = _marks(tokenizer), token_bytes(tokenizer, ids)
    if all(piece is not None or token in marks for piece, token in zip(pieces, ids, strict=True)):
        names = [name.encode() for name in tokenizer.convert_ids_to_tokens(list(ids))]
        walked = _walked(pieces, names, text.encode())
        if walked is not None:
            return walked
    if not tokenizer.is_fast:
        raise BackboneError(
            "a tokenizer written in Python, which knows no offsets, whose tokens are not the text's bytes",
            expected="a tokenizer.json beside the model",
            remedy="Convert the tokenizer, or learn from a teacher with the student's own tokens.",
        )
    given = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    lead, stop = _stretch(list(ids), list(given["input_ids"]), marks, text)
    middle = _by_offsets(given["offset_mapping"][: stop - lead], text)
    behind = np.full(len(ids) - stop, len(text.encode()) + 1, dtype=np.int64)
    found: np.ndarray = np.concatenate([np.zeros(lead, np.int64), middle, behind])
    return found


def _stretch(ids: list[int], own: list[int], marks: set[int], text: str) -> tuple[int, int]:
    """Where in a row the text's own tokens begin and end; of a row that was cut off, those that are left of them."""
    lead = next((at for at, token in enumerate(ids) if token not in marks), len(ids))
    whole = [at for at in range(lead + 1) if ids[at : at + len(own)] == own]  # special tokens may be the text's own
    if whole:
        return whole[-1], whole[-1] + len(own)
    stop = len(ids) - next((at for at, token in enumerate(reversed(ids)) if token not in marks), 0)
    if own[: stop - lead] != ids[lead:stop]:
        raise BackboneError(
            f"tokens that are not those of the text '{text[:40]}'",
            expected="the text's own tokens, between special ones at most",
            remedy="Give the text of these tokens alone, without what stood before it.",
        )
    return lead, stop


def _marks(tokenizer: Any) -> set[int]:
    """The special tokens that stand for no bytes: all but an unknown word's, where that is one of its own."""
    others = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id]
    unknown = tokenizer.unk_token_id
    return set(tokenizer.all_special_ids) - (set() if unknown in others else {unknown})


def _walked(pieces: Sequence[bytes | None], names: Sequence[bytes], data: bytes) -> np.ndarray | None:
    """The ends of pieces that are the text's bytes one after another; None where they are not.

    A special token stands for no bytes, unless the text holds its name.
    """
    ends, at = [], 0
    for place, piece in enumerate(pieces):
        if piece is None and at < len(data) and data.startswith(names[place], at):
            piece = names[place]
        if piece is None:
            behind = at == len(data) and (at > 0 or place == len(pieces) - 1)
            ends.append(at + 1 if behind else at)
            continue
        if at == 0 and not data.startswith(piece):
            piece = piece.removeprefix(b" ")  # the space that SentencePiece puts before a text
        if data[at : at + len(piece)] != piece:
            return None
        at += len(piece)
        ends.append(at or INSIDE)
    return np.array(ends, dtype=np.int64)


def _by_offsets(offsets: Sequence[tuple[int, int]], text: str) -> np.ndarray:
    """Ends in bytes of tokens whose offsets count characters."""
    bytes_before = np.cumsum([0, *(len(character.encode()) for character in text)], dtype=np.int64)
    ends = np.full(len(offsets), INSIDE, dtype=np.int64)
    next_start = len(text)
    for at in range(len(offsets) - 1, -1, -1):
        start, end = offsets[at]
        if start < end:
            if end <= next_start:
                ends[at] = bytes_before[end]
            next_start = min(start, next_start)
    return ends


def token_bytes(tokenizer: Any, ids: Sequence[int] | None = None) -> list[bytes | None]:
    """The bytes that tokens stand for, a space before a word included; None for special tokens and unused ids.

    Args:
        tokenizer: of transformers; byte-level, SentencePiece (``▁``, ``<0x0A>``), WordPiece (``##``), or plain.
        ids: tokens; None for the whole vocabulary, each at its id.
    """
    kind = _kind(tokenizer)
    chosen = range(max(tokenizer.get_vocab().values()) + 1) if ids is None else ids
    special, added = set(tokenizer.all_special_ids), tokenizer.added_tokens_decoder
    names = tokenizer.convert_ids_to_tokens(list(chosen))
    found: list[bytes | None] = []
    for token, name in zip(chosen, names, strict=True):
        if name is None or token in special:
            found.append(None)
        elif token in added:
            found.append(None if added[token].special else added[token].content.encode())
        else:
            found.append(_bytes(name, kind))
    return found


def _kind(tokenizer: Any) -> str:
    """By what the tokenizer does to give text back; found once, since all of its rules are read for it."""
    if tokenizer not in _KINDS:
        _KINDS[tokenizer] = _read_kind(tokenizer)
    return _KINDS[tokenizer]


_KINDS: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def _read_kind(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return "metaspace"
    rules = json.loads(backend.to_str())
    parts = json.dumps([rules["decoder"], rules["pre_tokenizer"], rules["normalizer"]], ensure_ascii=False)
    if '"ByteLevel"' in parts:
        return "bytes"
    if rules["model"]["type"] == "WordPiece":
        return "wordpiece"
    return "metaspace" if "▁" in parts else "plain"


def _bytes(name: str, kind: str) -> bytes | None:
    if kind == "bytes":
        return bytes(_LETTERS[letter] for letter in name) if all(letter in _LETTERS for letter in name) else None
    if kind == "wordpiece":
        return name[2:].encode() if name.startswith("##") else b" " + name.encode()
    if kind == "metaspace":
        single = FALLBACK.fullmatch(name)
        return bytes([int(single[1], 16)]) if single else name.replace("▁", " ").encode()
    return name.encode()


def _letters() -> dict[str, int]:
    """The letter by which a byte-level tokenizer writes each byte (Radford et al. 2019): itself if it can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + at): byte for at, byte in enumerate(hidden)}


_LETTERS = _letters()
