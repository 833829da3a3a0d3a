"""A decoder that writes: batched decoding with a cache, stop strings, and an end to answers that go in circles."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from transfuse.backbones import adapters
from transfuse.backbones.anatomy import Segment, assembled
from transfuse.backbones.constraints import Constraint
from transfuse.backbones.form import Form
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.scoring import opening, rows_of
from transfuse.backbones.tokens import batches
from transfuse.errors import BackboneError

BATCH_TOKENS, MOST_ROWS = 8192, 32
"""Padded tokens of requests, and requests, that are answered together."""
LEAST_ROOM = 16
"""Tokens that must be left for a request."""
LONGEST_PERIOD, REPEATS, LEAST_LOOP = 32, 4, 24
"""An answer loops when its end is one piece of at most so many tokens, so often, in at least so many tokens."""


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How an answer is searched for.

    Args:
        max_new_tokens: longest answer.
        beams: width of the beam; 1 is greedy.
        temperature: of sampling; 0 takes the likeliest token.
        top_p: sample among the likeliest tokens that hold this share (Holtzman et al. 2020).
        stop: an answer ends before any of these.
        seed: of sampling.
        strip: whether white space around an answer is dropped; the indentation of a program must stay.
        constraint: the form that an answer must have; see `constraints.grammar_of`.
    """

    max_new_tokens: int
    beams: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    strip: bool = True
    constraint: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {**dataclasses.asdict(self), "stop": list(self.stop)}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Decoding:
        """The inverse of `to_dict`."""
        return Decoding(**{**fields, "stop": tuple(fields["stop"])})


@dataclasses.dataclass
class Written:
    """What decoding gave.

    Args:
        texts: N answers.
        looped: bool [N], answers that were stopped because they went round in circles.
        tokens: int [N], tokens written.
    """

    texts: list[str]
    looped: np.ndarray
    tokens: np.ndarray


class Writer:
    """Writes answers in batches, with a cache of keys and values; what all prompts begin with is read once.

    Args:
        backbone: a decoder.
        form: how requests are shown.
        limit: most tokens of a request.
        precision: of the passes.
        trained: layers that take the place of the backbone's own from ``cut`` on, or None.
        cut: see ``trained``.

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
    ) -> None:
        refuse_encoder(backbone)
        self.backbone, self.form, self.limit = backbone, form, limit
        self.tokenizer = backbone.tokenizer
        layers = [] if trained is None else [_alone(layer, precision) for layer in trained.layers]
        self.network = assembled(backbone.network(precision), backbone.anatomy, cut, layers)
        self._prefix = form.prefix_ids(self.tokenizer)
        self._cache: Any = None

    def write(
        self, texts: Sequence[str], decoding: Decoding, shots: Sequence[Sequence[tuple[str, str]]] | None = None
    ) -> Written:
        """Answers to N requests.

        Args:
            texts: the requests.
            decoding: how answers are searched for.
            shots: demonstrations of each request's own, in the place of the form's; the first fall out where a prompt
                would not fit into the context.

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
        rows = self._rows(texts, room, shots)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        out = Written([""] * len(rows), np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=np.int64))
        for chosen in batches(lengths, BATCH_TOKENS, MOST_ROWS):
            self._batch([rows[i] for i in chosen], chosen, decoding, out)
        return out

    def _rows(
        self, texts: Sequence[str], room: int, shots: Sequence[Sequence[tuple[str, str]]] | None
    ) -> list[list[int]]:
        if shots is None:
            return self.form.requests(self.tokenizer, texts, min(self.limit, room))
        out = []
        for text, own in zip(texts, shots, strict=True):
            row = self.form.after(self.tokenizer, own).requests(self.tokenizer, [text], self.limit)[0]
            while len(row) > room + len(self._prefix) and own:
                own = own[1:]
                row = self.form.after(self.tokenizer, own).requests(self.tokenizer, [text], self.limit)[0]
            out.append(row)
        return out

    def stream(self, text: str, decoding: Decoding) -> Iterator[str]:
        """The answer to one request, piece by piece as it is written; stop strings end it."""
        from transformers import TextIteratorStreamer

        make: Any = TextIteratorStreamer
        pieces = make(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        (row,) = self._rows([text], self.backbone.max_tokens - decoding.max_new_tokens - len(self._prefix), None)
        ids, mask = self._padded([row], 0)
        watch = _Watch(ids.shape[1], self.tokenizer, decoding.stop)
        form = decoding.constraint
        asked = {
            "input_ids": ids,
            "attention_mask": mask,
            "generation_config": self._configuration(dataclasses.replace(decoding, beams=1)),
            "stopping_criteria": [watch],
            "logits_processor": [Constraint(self.tokenizer, form, ids.shape[1], self.ends)] if form else [],
            "streamer": pieces,
        }

        def work() -> None:
            try:
                self.network.generate(**asked)
            finally:
                pieces.end()  # whoever waits for a piece must not wait for ever where writing fails

        thread = threading.Thread(target=work)
        thread.start()
        told = ""
        for piece in pieces:
            whole = told + piece
            ends = [at for s in decoding.stop if (at := whole.find(s)) >= 0]
            new = whole[len(told) : min(ends)] if ends else piece
            if new:
                yield new
            told = whole
            if ends:
                break
        thread.join()

    @torch.inference_mode()
    def _batch(self, rows: list[list[int]], chosen: np.ndarray, decoding: Decoding, out: Written) -> None:
        count = len(self._prefix)
        shared = self._shares(rows, decoding)
        ids, mask = self._padded(rows, count if shared else 0)
        watch = _Watch(ids.shape[1], self.tokenizer, decoding.stop)
        form = decoding.constraint
        processors = [Constraint(self.tokenizer, form, ids.shape[1], self.ends)] if form else []
        given: dict[str, Any] = {"past_key_values": rows_of(self._prefix_cache(), [0] * len(rows))} if shared else {}
        with torch.random.fork_rng():
            torch.manual_seed(decoding.seed)
            found = self.network.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=self._configuration(decoding),
                stopping_criteria=[watch],
                logits_processor=processors,
                **given,
            )
        ends = set(self.ends)
        for row, place in enumerate(chosen):
            written = found[row, ids.shape[1] :].tolist()
            length = next((i for i, token in enumerate(written) if token in ends), len(written))
            written = written[:length]
            out.looped[place] = loops(written)
            out.tokens[place] = length
            out.texts[place] = _cut(self.tokenizer.decode(written, skip_special_tokens=True), decoding)

    def _shares(self, rows: Sequence[Sequence[int]], decoding: Decoding) -> bool:
        """Whether a batch may begin with the cache of the prefix.

        A sliding window counts places, so that padding behind the prefix could push it out of sight.
        """
        count, longest = len(self._prefix), max(len(row) for row in rows) + decoding.max_new_tokens
        window = getattr(self.network.config, "sliding_window", None) or longest
        even = len({len(row) for row in rows}) == 1 or longest <= window
        begins = all(len(row) > count and list(row[:count]) == self._prefix for row in rows)
        return count > 0 and decoding.beams == 1 and even and begins

    def _padded(self, rows: Sequence[Sequence[int]], shared: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask [B, T], the padding between the shared beginning and the rest, where no answer follows it."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self._filler, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            rest = len(row) - shared
            ids[i, :shared] = torch.tensor(row[:shared], dtype=torch.long)
            ids[i, width - rest :] = torch.tensor(row[shared:], dtype=torch.long)
            mask[i, :shared] = mask[i, width - rest :] = 1
        return ids.to(self.backbone.device), mask.to(self.backbone.device)

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
            ids = torch.tensor([self._prefix], device=self.backbone.device)
            self.network.base_model(input_ids=ids, past_key_values=self._cache, use_cache=True)
        return self._cache

    def _configuration(self, decoding: Decoding) -> Any:
        from transformers import GenerationConfig

        sampled = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
        made: Any = GenerationConfig
        return made(
            max_new_tokens=decoding.max_new_tokens,
            num_beams=decoding.beams,
            eos_token_id=self.ends,
            pad_token_id=self._filler,
            **(sampled if decoding.temperature > 0 else {"do_sample": False}),
        )


def _cut(text: str, decoding: Decoding) -> str:
    """An answer up to the first stop string."""
    ends = [at for s in decoding.stop if (at := text.find(s)) >= 0]
    text = text[: min(ends)] if ends else text
    return text.strip() if decoding.strip else text.rstrip()


@torch.no_grad()
def _alone(layer: nn.Module, precision: str) -> nn.Module:
    """A copy of a trained layer, its adapters merged, in the precision of the network that it goes into."""
    copied = adapters.merged(copy.deepcopy(layer))
    if precision == "bf16":
        for parameter in copied.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    return copied


class _Watch:
    """Ends the rows of a batch that loop or have written a stop string; a stopping criterion of transformers."""

    def __init__(self, start: int, tokenizer: Any, stop: Sequence[str]) -> None:
        self._start, self._tokenizer, self._stop = start, tokenizer, stop
        self._tail = max((len(s) for s in stop), default=0) + 8

    def __call__(self, ids: torch.Tensor, scores: Any, **other: Any) -> torch.Tensor:
        """Whether each row is done, bool [B]."""
        written = ids[:, self._start :].tolist()
        done = [loops(row) for row in written]
        if self._stop:
            tails = self._tokenizer.batch_decode([row[-self._tail :] for row in written])
            done = [d or any(s in tail for s in self._stop) for d, tail in zip(done, tails, strict=True)]
        return torch.tensor(done, device=ids.device)


def loops(tokens: Sequence[int]) -> bool:
    """Whether the end of an answer is one piece again and again."""
    if len(tokens) < LEAST_LOOP:
        return False
    for period in range(1, LONGEST_PERIOD + 1):
        length = max(REPEATS * period, LEAST_LOOP)
        if length > len(tokens):
            return False
        tail = tokens[-length:]
        if tail[period:] == tail[:-period]:
            return True
    return False


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
