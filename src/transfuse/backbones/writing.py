"""A decoder that writes: batched decoding with a cache, stop strings, and an end to answers that go in circles."""

from __future__ import annotations

import concurrent.futures
import copy
import functools
import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from transfuse.backbones import adapters
from transfuse.backbones.anatomy import Segment, assembled
from transfuse.backbones.crossing import EncoderDecoder
from transfuse.backbones.decoding import Decoding, Speech, Written, cut, decode, loops, settled
from transfuse.backbones.form import Form
from transfuse.backbones.head_loss import logits_of
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.scoring import rows_of
from transfuse.backbones.tokens import batches, opening, pad
from transfuse.errors import BackboneError

BATCH_TOKENS, MOST_ROWS = 8192, 32
"""Padded tokens of requests, and requests, that are answered together."""
LEAST_ROOM = 16
"""Tokens that must be left for a request."""


class Writer:
    """Writes answers in batches, with a cache of keys and values; what all prompts begin with is read once.

    Args:
        backbone: a decoder.
        form: how requests are shown.
        limit: most tokens of a request.
        precision: of the passes.
        trained: layers that take the place of the backbone's own from ``cut`` on, or None.
        cut: see ``trained``.
        lean: leave adapters beside the weights that they adapt, which stay the backbone's, rather than add them into
            copies: many writers in the memory of one, each a third slower.

    Raises:
        BackboneError: the backbone is no decoder, or the demonstrations leave no room.
    """

    def __init__(
        self,
        backbone: Backbone,
        form: Form,
        limit: int,
        precision: str = "fp32",
        trained: Segment | None = None,
        cut: int = 0,
        lean: bool = False,
    ) -> None:
        refuse_encoder(backbone)
        self.backbone, self.form, self.limit = backbone, form, limit
        self.tokenizer = backbone.tokenizer
        self._soft = None if trained is None else trained.soft
        layers = [] if trained is None or self._soft is not None else list(trained.layers)
        layers = layers if lean and precision == "fp32" else [_alone(layer, precision) for layer in layers]
        self.network = assembled(backbone.network(precision), backbone.stack, backbone.anatomy, cut, layers)
        self._prefix = form.prefix_ids(self.tokenizer)
        if self._soft is not None:  # stands in the cache, before all that a request is made of
            self._prefix = [self._filler] * len(self._soft)
        self._cache: Any = None

    def write(
        self,
        texts: Sequence[str],
        decoding: Decoding,
        shots: Sequence[Sequence[tuple[str, str]]] | None = None,
        *,
        first: int = 0,
        hear: Callable[[list[int]], None] | None = None,
    ) -> Written:
        """Answers to N requests.

        Args:
            texts: the requests.
            decoding: how answers are searched for.
            shots: demonstrations of each request's own, in the place of the form's; the first fall out where a prompt
                would not fit into the context.
            first: the position of the first request, where these go on with earlier ones: rows draw by their positions.
            hear: is given the tokens of the answer so far, at each step, where there is one request.

        Cost: one pass over the prompts, then one step for each token of the longest answer of a batch.
        """
        room = self.backbone.max_tokens - decoding.max_new_tokens - len(self._prefix)
        if room < LEAST_ROOM:
            raise BackboneError(
                f"{self.backbone.reference}: demonstrations of {len(self._prefix)} tokens and answers of "
                f"{decoding.max_new_tokens} leave no room for a request",
                expected=f"at most {self.backbone.max_tokens} tokens in all",
                remedy="Use fewer shots, shorter texts, or a smaller max_new_tokens.",
            )
        if self._soft is not None and decoding.beams > 1:
            raise BackboneError("a soft prompt with several beams", expected="beams: 1", remedy="Leave `beams` out.")
        rows = self._rows(texts, room, shots)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        count = len(rows)
        none, zeros = np.zeros(count, dtype=bool), np.zeros(count, dtype=np.int64)
        out = Written([""] * count, none, zeros, lengths, rows, [[] for _ in rows])
        for chosen in batches(lengths, BATCH_TOKENS, MOST_ROWS, equal=self._soft is not None):
            self._batch(chosen, decoding, out, first, hear)
        return out

    def bits(
        self, texts: Sequence[str], answers: Sequence[str], shots: Sequence[Sequence[tuple[str, str]]] | None = None
    ) -> np.ndarray:
        """How well known answers are foretold: float64 [N, 2], the bits of each with its end, and its UTF-8 bytes.

        The mean of the first over that of the second is bits per byte, which no tokenizer flatters.

        Args:
            texts, answers: N of each.
            shots: as in `write`.

        Cost: one pass over requests and answers.
        """
        found = self._likelihoods(texts, answers, shots)
        return np.stack([-found[:, 0] / np.log(2), found[:, 2]], axis=1)

    def sureness(
        self, texts: Sequence[str], answers: Sequence[str], shots: Sequence[Sequence[tuple[str, str]]] | None = None
    ) -> np.ndarray:
        """How sure the decoder is of answers: the mean log-likelihood of a token with the end, float64 [N], at most 0.

        The mean, since the sum would doubt every long answer (Malinin and Gales 2021). Arguments and cost as of `bits`.
        """
        found = self._likelihoods(texts, answers, shots)
        return np.asarray(found[:, 0] / np.maximum(found[:, 1], 1))

    @torch.inference_mode()
    def _likelihoods(
        self, texts: Sequence[str], answers: Sequence[str], shots: Sequence[Sequence[tuple[str, str]]] | None
    ) -> np.ndarray:
        """Of each answer the log-likelihood in nats with its end, the tokens of both, and its bytes, float64 [N, 3]."""
        context = self.backbone.max_tokens
        most = max(context if self.backbone.crosses else context - len(self._prefix) - LEAST_ROOM, 1)
        tails = self.backbone.replies(self.form, answers, most)
        taken = 0 if self.backbone.crosses else max(map(len, tails), default=0)
        heads = self._rows(texts, max(context - len(self._prefix) - taken, 1), shots)
        counts = zip(tails, answers, strict=True)
        out = np.array([(0.0, len(tail), len(answer.encode())) for tail, answer in counts]).reshape(-1, 3)
        for i, tail in enumerate(tails):
            if len(tail) == most:  # the rest of the answer is not scored
                out[i, 2] = len(self.tokenizer.decode(tail, skip_special_tokens=True).encode())
        lengths = np.array([len(a) + len(b) for a, b in zip(heads, tails, strict=True)], dtype=np.int64)
        for chosen in batches(lengths, BATCH_TOKENS // 4, MOST_ROWS):
            found = self.foretold([heads[i] for i in chosen], [tails[i] for i in chosen])
            for i, logits in zip(chosen, found, strict=True):
                shares = torch.log_softmax(logits, -1)
                targets = torch.tensor(tails[i], device=shares.device)
                out[i, 0] = float(shares.gather(1, targets[:, None]).double().sum())
        return out

    @torch.inference_mode()
    def likelihoods(self, prompts: Sequence[list[int]], ids: Sequence[list[int]]) -> list[np.ndarray]:
        """Log-probability of each token of N answers, float64 [tokens], given the prompt and the tokens before it.

        Args:
            prompts, ids: token ids of the prompts and of the answers, as `write` gives them.

        Cost: one pass over prompts and answers.
        """
        out = [np.empty(0)] * len(ids)
        lengths = np.array([len(a) + len(b) for a, b in zip(prompts, ids, strict=True)], dtype=np.int64)
        said = np.array([i for i, row in enumerate(ids) if row], dtype=np.int64)
        for some in batches(lengths[said], BATCH_TOKENS // 4, MOST_ROWS):
            chosen = said[some]
            found = self.foretold([prompts[i] for i in chosen], [ids[i] for i in chosen])
            for i, logits in zip(chosen, found, strict=True):
                targets = torch.tensor(ids[i], device=logits.device)[:, None]
                out[i] = torch.log_softmax(logits, -1).gather(1, targets)[:, 0].double().cpu().numpy()
        return out

    @torch.inference_mode()
    def choices(self, prompts: Sequence[list[int]], ends: Sequence[list[int]]) -> list[list[np.ndarray]]:
        """Of each of N prompts and C answers the log-probability of each token, [N][C] of float64 [tokens].

        Args:
            prompts: token ids.
            ends: token ids of the answers, none empty.

        Cost: one pass over each prompt, behind what all prompts begin with, and one over the C answers.
        Reduces to: `likelihoods` of every pair, as an encoder-decoder and a soft prompt have it.
        """
        if self.backbone.crosses or self._soft is not None:
            flat = self.likelihoods(
                [prompt for prompt in prompts for _ in ends], [end for _ in prompts for end in ends]
            )
            return [flat[i * len(ends) : (i + 1) * len(ends)] for i in range(len(prompts))]
        return [self._chosen(prompt, ends) for prompt in prompts]

    def _chosen(self, prompt: list[int], ends: Sequence[list[int]]) -> list[np.ndarray]:
        """`choices` of one prompt."""
        from transformers import DynamicCache

        count, seen, device = len(self._prefix), len(prompt) - 1, self.backbone.device
        shared = 0 < count <= seen and prompt[:count] == self._prefix
        cache = rows_of(self._prefix_cache(), [0]) if shared else DynamicCache(config=self.network.config)
        body, base = prompt[count if shared else 0 : -1], self.network.base_model
        if body:
            base(input_ids=torch.tensor([body], device=device), past_key_values=cache, use_cache=True)
        out: list[np.ndarray] = []
        for start in range(0, len(ends), MOST_ROWS):
            some = ends[start : start + MOST_ROWS]
            ids, mask = (x.to(device) for x in pad([[prompt[-1], *end[:-1]] for end in some], self._filler))
            past: dict[str, Any] = {"use_cache": False}
            if seen:
                past = {"past_key_values": rows_of(cache, [0] * len(some))}
                mask = torch.cat([mask.new_ones(len(some), seen), mask], 1)
            hidden = base(input_ids=ids, attention_mask=mask, **past).last_hidden_state
            for row, end in enumerate(some):
                shares = torch.log_softmax(logits_of(self.network, hidden[row, : len(end)]).float(), -1)
                targets = torch.tensor(end, device=device)[:, None]
                out.append(shares.gather(1, targets)[:, 0].double().cpu().numpy())
        return out

    @torch.no_grad()
    def foretold(self, heads: Sequence[list[int]], tails: Sequence[list[int]]) -> Iterator[torch.Tensor]:
        """For each request and answer the logits [tokens, V] of the answer's tokens, each from those before it.

        Args:
            heads: token ids of the requests.
            tails: of the answers, not empty.
        """
        device = self.backbone.device
        if isinstance(self.backbone, EncoderDecoder):
            ids, mask = (x.to(device) for x in pad(heads, self._filler))
            given, _ = pad([[self.backbone.start, *tail[:-1]] for tail in tails], self._filler)
            logits = self.network(input_ids=ids, attention_mask=mask, decoder_input_ids=given.to(device)).logits
            yield from (logits[row, : len(tail)].float() for row, tail in enumerate(tails))
            return
        count = 0 if self._soft is None else len(self._soft)
        both = [[*head[count:], *tail] for head, tail in zip(heads, tails, strict=True)]
        ids, mask = (x.to(device) for x in pad(both, self._filler))
        past: dict[str, Any] = {"use_cache": False}
        if count:
            past = {"past_key_values": rows_of(self._prefix_cache(), [0] * len(ids))}
            mask = torch.cat([mask.new_ones(len(ids), count), mask], 1)
        hidden = self.network.base_model(input_ids=ids, attention_mask=mask, **past).last_hidden_state
        for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            first = len(head) - count - 1
            yield logits_of(self.network, hidden[row, first : first + len(tail)])

    def _rows(
        self, texts: Sequence[str], room: int, shots: Sequence[Sequence[tuple[str, str]]] | None
    ) -> list[list[int]]:
        if shots is None:
            before = [] if self._soft is None else self._prefix
            return [[*before, *row] for row in self.backbone.requests(self.form, texts, min(self.limit, room))]
        out = []
        for text, own in zip(texts, shots, strict=True):
            row = self.backbone.requests(self.form.after(self.tokenizer, own), [text], self.limit)[0]
            while len(row) > room + len(self._prefix) and own:
                own = own[1:]
                row = self.backbone.requests(self.form.after(self.tokenizer, own), [text], self.limit)[0]
            out.append(row)
        return out

    def stream(
        self, text: str, decoding: Decoding, shots: Sequence[Sequence[tuple[str, str]]] | None = None
    ) -> Iterator[str]:
        """What `write` answers to one request, piece by piece as it is written; an answer by beams is one piece.

        A piece is told when nothing that follows can change it: the beginning of a stop string waits, and white space.
        """
        steps: queue.SimpleQueue[list[int] | None] = queue.SimpleQueue()
        pool = concurrent.futures.ThreadPoolExecutor(1)
        work = pool.submit(self.write, [text], decoding, shots, hear=steps.put)
        work.add_done_callback(lambda _: steps.put(None))
        pool.shutdown(wait=False)
        told = ""
        while (ids := steps.get()) is not None:
            sure = settled(self.tokenizer.decode(ids, skip_special_tokens=True), decoding)
            if sure.startswith(told) and sure != told:
                yield sure[len(told) :]
                told = sure
        (whole,) = work.result().texts
        if whole != told:
            yield whole[len(told) :]

    def _batch(
        self, chosen: np.ndarray, decoding: Decoding, out: Written, first: int, hear: Callable[[list[int]], None] | None
    ) -> None:
        rows = [out.prompts[i] for i in chosen]
        count = len(self._prefix)
        shared = self._shares(rows, decoding)
        ids, mask = self._padded(rows, count if shared else 0)
        cache = rows_of(self._prefix_cache(), [0] * len(rows)) if shared else None
        positions = [first + int(i) for i in chosen]
        found = decode(self.network, self.speech, ids, mask, decoding, cache, positions=positions, hear=hear)
        for place, written in zip(chosen, found, strict=True):
            out.looped[place] = loops(written)
            out.tokens[place] = len(written)
            out.ids[place] = list(written)
            out.texts[place] = cut(self.tokenizer.decode(written, skip_special_tokens=True), decoding)

    def _shares(self, rows: Sequence[Sequence[int]], decoding: Decoding) -> bool:
        """Whether a batch may begin with the cache of the prefix.

        A sliding window counts places, so that padding behind the prefix could push it out of sight.
        """
        count, longest = len(self._prefix), max(len(row) for row in rows) + decoding.max_new_tokens
        window = getattr(self.network.config, "sliding_window", None) or longest
        even = len({len(row) for row in rows}) == 1 or longest <= window
        begins = all(len(row) > count and list(row[:count]) == self._prefix for row in rows)
        return count > 0 and decoding.beams == 1 and even and begins and not self.backbone.crosses

    def _padded(self, rows: Sequence[Sequence[int]], shared: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask [B, T], the padding between the shared beginning and the rest, where no answer follows it.

        An encoder, behind which nothing follows, has it at the end.
        """
        if self.backbone.crosses:
            ids, mask = pad(rows, self._filler)
            return ids.to(self.backbone.device), mask.to(self.backbone.device)
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self._filler, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            rest = len(row) - shared
            ids[i, :shared] = torch.tensor(row[:shared], dtype=torch.long)
            ids[i, width - rest :] = torch.tensor(row[shared:], dtype=torch.long)
            mask[i, :shared] = mask[i, width - rest :] = 1
        return ids.to(self.backbone.device), mask.to(self.backbone.device)

    @functools.cached_property
    def speech(self) -> Speech:
        """What ends an answer, and what fills a row."""
        begins = self.backbone.beginning if isinstance(self.backbone, EncoderDecoder) else None
        return Speech(self.tokenizer, self.ends, self._filler, begins)

    @property
    def _filler(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id or 0) if pad is None else int(pad)

    @property
    def opening(self) -> list[int]:
        """The token ids before each prompt."""
        return opening(self.tokenizer) if self.form.special else []

    @property
    def ends(self) -> list[int]:
        """The tokens that end an answer: the tokenizer's, and what the model's makers named."""
        named = getattr(self.backbone.network().generation_config, "eos_token_id", None)
        several = named if isinstance(named, list) else [named]
        return sorted({int(t) for t in [self.tokenizer.eos_token_id, *several] if t is not None})

    @torch.inference_mode()
    def _prefix_cache(self) -> Any:
        if self._cache is None:
            from transformers import DynamicCache

            self._cache = DynamicCache(config=self.network.config)
            given: dict[str, torch.Tensor] = {"input_ids": torch.tensor([self._prefix], device=self.backbone.device)}
            if self._soft is not None:
                given = {"inputs_embeds": self._soft.detach()[None].to(self.network.dtype)}
            self.network.base_model(**given, past_key_values=self._cache, use_cache=True)
        return self._cache


@torch.no_grad()
def _alone(layer: nn.Module, precision: str) -> nn.Module:
    """A copy of a trained layer, its adapters merged, in the precision of the network that it goes into."""
    copied = adapters.merged(copy.deepcopy(layer))
    if precision == "bf16":
        for parameter in copied.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    return copied


def refuse_encoder(backbone: Backbone) -> None:
    """Only a decoder writes.

    Raises:
        BackboneError: an encoder.
    """
    if not backbone.decoder:
        raise BackboneError(
            f"{backbone.reference}: an encoder cannot write",
            expected="a decoder, which gives the likelihood of words",
            remedy="Name a decoder among the backbones.",
        )
