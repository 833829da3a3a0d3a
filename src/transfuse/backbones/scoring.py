"""The likelihood of label words after a prompt, with the part that all prompts share encoded once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.head_loss import logits_of
from transfuse.backbones.huggingface import BATCH_TOKENS, Backbone
from transfuse.backbones.tokens import TEXT, batches, fill, opening, pad, tokenize
from transfuse.errors import BackboneError

MOST_ROWS = 32
"""Texts a batch: each row holds a copy of the shared prefix's keys and values."""

LEAST_ROOM = 16
"""Tokens that must be left for a text."""


class LabelScorer:
    """Scores labels as continuations of prompts that begin alike.

    log p(label | prefix, query) is the sum over the label's tokens of the log-probability of each given all before it.

    Args:
        backbone: a decoder.
        prefix: what all prompts begin with (demonstrations); may be empty.
        template: how a query is shown, with ``{text}``; the label follows it after a space.
        words: the C label words.
        limit: most tokens of a query.
        precision: of the passes.

    Attributes:
        opening: the token ids that the tokenizer puts before every text.
        prefix: the token ids that are encoded once: the opening, the prefix and the template up to its text, without
            the white space at its end, which tokenizers join to what follows.
        labels: the token ids of each label word.
        room: most tokens after the prefix, by ``limit`` and by the backbone's context.

    Raises:
        BackboneError: the backbone is no decoder, or prefix, query and label do not fit into its context.
    """

    def __init__(
        self, backbone: Backbone, prefix: str, template: str, words: Sequence[str], limit: int, precision: str
    ) -> None:
        if not backbone.decoder:
            raise BackboneError(
                f"{backbone.reference}: an encoder cannot be prompted",
                expected="a decoder, which gives the likelihood of words",
                remedy="Use `prompt` with a decoder, or `probe` and `finetune` with this backbone.",
            )
        self.backbone, self.template = backbone, template
        self._network = backbone.network(precision)
        self.labels = [self._continuation(word) for word in words]
        tokenizer = backbone.tokenizer
        if backbone.crosses:
            raise BackboneError(
                f"{backbone.reference}: an encoder-decoder is not asked for labels",
                expected="a decoder",
                remedy="Use a method that reads features, such as `probe` or `finetune`, or a task that writes.",
            )
        self._before = prefix
        shared = (prefix + template.partition(TEXT)[0]).rstrip()
        self.opening = opening(tokenizer)
        self.prefix = self.opening + list(tokenizer(shared, add_special_tokens=False)["input_ids"])
        room = backbone.max_tokens - len(self.prefix) - max(len(label) for label in self.labels)
        if room < LEAST_ROOM:
            raise BackboneError(
                f"{backbone.reference}: demonstrations of {len(self.prefix)} tokens leave no room for a text",
                expected=f"at most {backbone.max_tokens} tokens in all",
                remedy="Use fewer shots in `prompt`, or shorter texts.",
            )
        self.room = min(limit, room)
        self._cache = self._encode_prefix() if self.prefix else None
        self._trie: dict[tuple[int, ...], list[tuple[int, int]]] = {(): []}
        for number, label in enumerate(self.labels):
            for end, token in enumerate(label):
                self._trie.setdefault(tuple(label[:end]), []).append((number, token))

    def _continuation(self, word: str) -> list[int]:
        """The label's tokens as they follow a query; sentencepiece would add a stray space to the word alone."""
        tokenizer = self.backbone.tokenizer
        before = fill(self.template, "x")
        alone, both = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (before, f"{before} {word}"))
        if both[: len(alone)] == alone and len(both) > len(alone):
            tail: list[int] = both[len(alone) :]
            return tail
        tokens: list[int] = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        return tokens

    def _empty_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self._network.config)

    @torch.inference_mode()
    def _encode_prefix(self) -> Any:
        """The family's own cache, which knows its sliding windows, with one row of keys and values."""
        ids = torch.tensor([self.prefix], device=self.backbone.device)
        cache = self._empty_cache()
        self._network.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        return cache

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of the whole prompt of each text; a text that is too long loses its end."""
        limit = len(self.prefix) - len(self.opening) + self.room
        tokenizer = self.backbone.tokenizer
        rows = tokenize(tokenizer, texts, self.template, limit, special=False, before=self._before)
        return [self.opening + row for row in rows]

    @torch.inference_mode()
    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Log-likelihoods of the labels, float64 [N, C]; not normalised over the labels.

        Labels form a trie: what several of them begin with is read once. Labels of one token each need nothing but the
        pass over the queries. A prompt that does not begin with the prefix's tokens, since its tokenizer joined them to
        the text's, is read whole.

        Cost: one pass over the queries, and for each inner node of the trie its own few tokens a query.
        """
        rows = self.prompts(texts)
        out = np.zeros((len(rows), len(self.labels)), dtype=np.float64)
        count = len(self.prefix)
        regular = np.array([len(row) > count and row[:count] == self.prefix for row in rows], dtype=bool)
        for members, cache, start in ((regular, self._cache, count), (~regular, None, 0)):
            places = np.flatnonzero(members)
            out[places] = self._scores([rows[i][start:] for i in places], cache)
        return out

    def score_after(self, shots: Sequence[Sequence[str]], texts: Sequence[str]) -> np.ndarray:
        """`score` of texts that each have demonstrations of their own before them, float64 [N, C].

        The first demonstrations fall out where a prompt would not fit into the backbone's context.

        Cost: one pass over the whole prompts.
        """
        room = self.backbone.max_tokens - len(self.opening) - max(len(label) for label in self.labels)
        return self._scores([self._prompt(list(s), t, room) for s, t in zip(shots, texts, strict=True)], None)

    def _prompt(self, shots: list[str], text: str, room: int) -> list[int]:
        tokenizer = self.backbone.tokenizer
        own = len(self.prefix) - len(self.opening) + self.room  # the template's beginning and the text
        alone = len(tokenize(tokenizer, [text], self.template, own, special=False)[0])
        while shots and len(tokenizer("".join(shots), add_special_tokens=False)["input_ids"]) + alone > room:
            shots = shots[1:]
        before = "".join(shots)
        taken = len(tokenizer(before, add_special_tokens=False)["input_ids"]) if before else 0
        row = tokenize(tokenizer, [text], self.template, min(taken + own, room), special=False, before=before)[0]
        return self.opening + row

    def _scores(self, queries: list[list[int]], prefix: Any) -> np.ndarray:
        """Scores [N, C] of queries that follow a prefix's cache, or nothing."""
        lengths = np.array([len(query) for query in queries], dtype=np.int64)
        out = np.zeros((len(queries), len(self.labels)), dtype=np.float64)
        deeper = {given: wanted for given, wanted in self._trie.items() if given}
        for chosen in batches(lengths, BATCH_TOKENS, MOST_ROWS, equal=bool(deeper)):
            cache = self._empty_cache() if deeper and prefix is None else None
            if prefix is not None:  # seen by each row of the batch; a pass grows it, so each batch gets its own
                cache = rows_of(prefix, [0] * len(chosen))
            log_p = self._after([queries[i] for i in chosen], cache)
            for label, token in self._trie[()]:
                out[chosen, label] += log_p[:, token]
            nodes = [(row, given) for given in deeper for row in range(len(chosen))]
            for start in range(0, len(nodes), MOST_ROWS):
                part = nodes[start : start + MOST_ROWS]
                log_p = self._after([given for _, given in part], rows_of(cache, [row for row, _ in part]))
                for at, (row, given) in enumerate(part):
                    for label, token in deeper[given]:
                        out[chosen[row], label] += log_p[at, token]
        return out

    def _after(self, rows: Sequence[Sequence[int]], cache: Any) -> np.ndarray:
        """Log-probabilities of every token right after each row of ids, float64 [B, V]; the cache grows by the rows.

        Rows of unequal length are padded at their end, where no token sees the padding; their cache is of no use then.
        """
        ids, mask = (x.to(self.backbone.device) for x in pad(rows, 0))
        past: dict[str, Any] = {"use_cache": False}
        if cache is not None:
            seen = torch.ones((len(rows), cache.get_seq_length()), dtype=mask.dtype, device=mask.device)
            past = {"past_key_values": cache, "use_cache": True}
            mask = torch.cat([seen, mask], 1)
        hidden = self._network.base_model(input_ids=ids, attention_mask=mask, **past).last_hidden_state
        last = hidden[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]
        log_p: np.ndarray = torch.log_softmax(logits_of(self._network, last), -1).double().cpu().numpy()
        return log_p


def rows_of(cache: Any, rows: Sequence[int]) -> Any:
    """A cache whose batch is the chosen rows of another's; both may grow on their own."""
    chosen: Any = copy.copy(cache)
    chosen.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in chosen.layers:
        one = layer.keys.shape[0] == 1
        index = torch.tensor(rows, device=layer.keys.device)
        for name in ("keys", "values"):
            held = getattr(layer, name)
            setattr(layer, name, held.expand(len(rows), -1, -1, -1) if one else held[index])
    return chosen
