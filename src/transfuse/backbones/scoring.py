"""The likelihood of label words after a prompt, with the part that all prompts share encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.huggingface import BATCH_TOKENS, Backbone
from transfuse.backbones.tokens import TEXT, batches, fill, pad
from transfuse.errors import BackboneError

MOST_ROWS = 32
"""Texts a batch: each row holds a copy of the shared prefix's keys and values."""


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
        self.backbone, self.template, self.limit, self.precision = backbone, template, limit, precision
        self._network = backbone.network(precision)
        self.labels = [self._continuation(word) for word in words]
        tokenizer = backbone.tokenizer
        self.prefix: list[int] = tokenizer(prefix, add_special_tokens=True)["input_ids"]
        eos = tokenizer.eos_token_id
        if self.prefix and self.prefix[-1] == eos and eos != tokenizer.bos_token_id:
            self.prefix.pop()  # tokenizers that close every text would end the prompt before its question
        self.room = backbone.max_tokens - len(self.prefix) - max(len(label) for label in self.labels)
        if self.room < 16:
            raise BackboneError(
                f"{backbone.reference}: demonstrations of {len(self.prefix)} tokens leave no room for a text",
                expected=f"at most {backbone.max_tokens} tokens in all",
                remedy="Use fewer shots in `prompt`, or shorter texts.",
            )
        self._cache = self._encode_prefix()

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

    @torch.inference_mode()
    def _encode_prefix(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of the prefix, one pair [1, heads, P, d] a layer; empty without a prefix."""
        if not self.prefix:
            return []
        ids = torch.tensor([self.prefix], device=self.backbone.device)
        cache = self._network.base_model(input_ids=ids, use_cache=True).past_key_values
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _cache_for(self, rows: int) -> Any:
        """The prefix's cache repeated for a batch, as transformers wants it; it grows, so each batch gets its own."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self._network.config)
        for i, (keys, values) in enumerate(self._cache):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), i)
        return cache

    @torch.inference_mode()
    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Log-likelihoods of the labels, float64 [N, C]; not normalised over the labels.

        Cost: one pass over the queries for the labels' first tokens, and one more for each label of several tokens.
        """
        queries = [self._query(text) for text in texts]
        out = self._continue(queries, [[]] * len(queries), [[label[0] for label in self.labels]] * len(queries))
        for c, label in enumerate(self.labels):
            for position in range(1, len(label)):
                given, target = [label[:position]] * len(queries), [[label[position]]] * len(queries)
                out[:, c] += self._continue(queries, given, target)[:, 0]
        return out

    def _query(self, text: str) -> list[int]:
        limit = min(self.limit, self.room)
        return self.backbone.tokens([text], self.template, limit)[0] if TEXT in self.template else []

    def _continue(
        self, queries: list[list[int]], given: list[list[int]], wanted: list[list[int]]
    ) -> np.ndarray:
        """Log-probabilities of the ``wanted`` tokens right after query and ``given`` tokens, float64 [N, wanted]."""
        rows = [[*query, *more] for query, more in zip(queries, given, strict=True)]
        lengths = np.array([len(row) for row in rows])
        out = np.empty((len(rows), len(wanted[0])), dtype=np.float64)
        budget = BATCH_TOKENS // 2
        for chosen in batches(lengths, budget, MOST_ROWS):
            ids, mask = (x.to(self.backbone.device) for x in pad([rows[i] for i in chosen], 0))
            seen = torch.ones((len(chosen), len(self.prefix)), dtype=mask.dtype, device=mask.device)
            hidden = self._network.base_model(
                input_ids=ids,
                attention_mask=torch.cat([seen, mask], 1),
                past_key_values=self._cache_for(len(chosen)),
                use_cache=True,
            ).last_hidden_state
            last = hidden[torch.arange(len(chosen)), torch.tensor(lengths[chosen] - 1)]
            scores = torch.log_softmax(self._network.lm_head(last).float(), -1)
            tokens = torch.tensor([wanted[i] for i in chosen], device=scores.device)
            out[chosen] = scores.gather(1, tokens).double().cpu().numpy()
        return out
