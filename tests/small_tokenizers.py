"""Tokenizers of four kinds, trained in a moment on a few sentences in English and Chinese with an emoji."""

from __future__ import annotations

import functools
import json

import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "The good dog goes to the good shop.",
    "the bad dog and the cat go home",
    "今天天气很好，我们去公园。",
    "我们今天去商店 😀😀",
    "naïve café — déjà vu",
]
KINDS = ("bytes", "sentencepiece", "unigram", "wordpiece")
_MARKS = ["<unk>", "<s>", "</s>"]


@functools.cache
def small(kind: str, size: int = 60) -> transformers.PreTrainedTokenizerFast:
    """A fast tokenizer, ``<s> text </s>``.

    Args:
        kind: "bytes" (GPT-2), "sentencepiece" (BPE with ``▁`` and single bytes), "unigram" (``▁``), "wordpiece" (BERT).
        size: tokens beyond the alphabet and the special ones.
    """
    made = {"bytes": _bytes, "sentencepiece": _sentencepiece, "unigram": _unigram, "wordpiece": _wordpiece}[kind](size)
    marks = [(mark, made.token_to_id(mark)) for mark in _MARKS[1:]]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def _bytes(size: int) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=259 + size, special_tokens=_MARKS, initial_alphabet=alphabet, show_progress=False
        ),
    )
    return made


def _sentencepiece(size: int) -> Tokenizer:
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    alphabet = list("▁abcdehginopst.今天我们去公😀")  # what else there is becomes single bytes
    trainer = trainers.BpeTrainer(
        vocab_size=259 + len(alphabet) + size,
        special_tokens=_MARKS + fallback,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    rules = json.loads(made.to_str())  # single bytes are no added tokens in a tokenizer as one finds it
    rules["added_tokens"] = [token for token in rules["added_tokens"] if token["content"] in _MARKS]
    return Tokenizer.from_str(json.dumps(rules))


def _unigram(size: int) -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=60 + size, special_tokens=_MARKS, unk_token="<unk>", show_progress=False),
    )
    return made


def _wordpiece(size: int) -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=100 + size, special_tokens=_MARKS, show_progress=False)
    made.train_from_iterator(TEXTS, trainer)
    return made
