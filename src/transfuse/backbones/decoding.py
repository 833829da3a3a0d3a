"""Decoding of a batch: greedy, sampled or by beam. Rows that are done leave it; answers in circles are ended."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from transfuse.backbones.constraints import Constraint
from transfuse.backbones.scoring import rows_of

LONGEST_PERIOD, REPEATS, LEAST_LOOP = 32, 4, 24
"""An answer loops when its end is one piece of at most so many tokens, so often, in at least so many tokens."""
LEAVING = 0.25
"""Share of the rows of a batch that must be done before the rest goes on without them: the cache is copied then."""


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How an answer is searched for.

    Args:
        max_new_tokens: longest answer.
        beams: width of the beam; 1 is greedy.
        temperature: of sampling; 0 takes the likeliest token.
        top_p: sample among the likeliest tokens that hold this share (Holtzman et al. 2020).
        stop: an answer ends before any of these.
        seed: of sampling; each row of a call draws by it and by its position, whatever else is asked.
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
        read: int [N], tokens of the prompts, what they share included.
        prompts: token ids of each prompt.
        ids: token ids of each answer as they were written, before stop strings cut it, without the token that ends it.
    """

    texts: list[str]
    looped: np.ndarray
    tokens: np.ndarray
    read: np.ndarray
    prompts: list[list[int]]
    ids: list[list[int]]


PLAIN = {
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "length_penalty": 1.0,
    "repetition_penalty": 1.0,
    "early_stopping": False,
}
"""What an encoder-decoder's makers may have set for a task of theirs (summaries of 56 words), undone."""


class Speech(NamedTuple):
    """What ends an answer, and what fills a row.

    Args:
        tokenizer: of the model.
        ends: ids of the tokens that end an answer.
        filler: id of the padding.
        begins: settings of generation by which the decoder of an encoder-decoder begins; None for a mere decoder.
    """

    tokenizer: Any
    ends: Sequence[int]
    filler: int
    begins: Mapping[str, Any] | None = None

    @property
    def over(self) -> list[int]:
        """Tokens behind which no answer goes on: those that end one, and the padding of rows that are done."""
        return [*self.ends, self.filler]

    def first(self, ids: torch.Tensor) -> int:
        """Where answers to the prompts [B, T] begin in what is generated."""
        if self.begins is None:
            return ids.shape[1]
        return 1 if self.begins.get("forced_bos_token_id") is None else 2


@torch.inference_mode()
def decode(
    network: Any,
    speech: Speech,
    ids: torch.Tensor,
    mask: torch.Tensor,
    decoding: Decoding,
    cache: Any = None,
    *,
    positions: Sequence[int],
    hear: Callable[[list[int]], None] | None = None,
) -> list[list[int]]:
    """The tokens that follow B prompts, without the token that ends each.

    Args:
        network: a decoder of transformers.
        speech: its tokenizer and special tokens.
        ids, mask: [B, T], padded on the left or behind what ``cache`` holds, on the right for an encoder.
        decoding: how answers are searched for.
        cache: keys and values of the prompts' beginnings, or None.
        positions: of the B prompts among all that are asked, by which they draw.
        hear: is given the tokens of the first answer so far, at each step; beams have none before the end.

    Cost: a step of the rows that are not done for each token of the longest answer.
    """
    from transformers import DynamicCache

    width, rows = speech.first(ids), np.arange(len(ids))
    alone = decoding.beams == 1 and speech.begins is None
    watch = Watch(width, speech, decoding.stop, leaving=alone, hear=hear if decoding.beams == 1 else None)
    if cache is None and alone:
        cache = DynamicCache(config=network.config)
    form = decoding.constraint
    processors: list[Any] = [Constraint(speech.tokenizer, form, width, speech.ends)] if form else []
    draws = Draws(decoding, positions)
    if decoding.temperature > 0 and decoding.beams == 1:
        processors.append(draws)
    written: list[list[int]] = [[] for _ in rows]
    done_before = 0
    with torch.random.fork_rng():
        torch.manual_seed(draws.of_batch)
        while len(rows):
            found = network.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=configuration(decoding, speech, decoding.max_new_tokens - done_before),
                stopping_criteria=[watch],
                logits_processor=processors,
                past_key_values=cache,
            )
            full = not alone or found.shape[1] - width >= decoding.max_new_tokens
            done = np.ones(len(rows), dtype=bool) if full else watch.done(found)
            for row in np.flatnonzero(done):
                written[rows[row]] = until(found[row, width:].tolist(), speech.over)
            left = np.flatnonzero(~done)
            mask = torch.nn.functional.pad(mask[left], (0, found.shape[1] - mask.shape[1]), value=1)
            ids, rows, done_before = found[left], rows[left], found.shape[1] - width
            draws.keep(left)
            cache = rows_of(cache, left.tolist()) if len(rows) else None
    return written


def configuration(decoding: Decoding, speech: Speech, most: int) -> Any:
    """Transformers' settings for at most some more tokens; it samples beams, and `Draws` all else."""
    from transformers import GenerationConfig

    sampled = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
    made: Any = GenerationConfig
    return made(
        max_new_tokens=most,
        num_beams=decoding.beams,
        eos_token_id=list(speech.ends),
        pad_token_id=speech.filler,
        **({} if speech.begins is None else {**PLAIN, **speech.begins}),
        **(sampled if decoding.temperature > 0 and decoding.beams > 1 else {"do_sample": False}),
    )


def until(written: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Tokens before the first that ends an answer."""
    return list(itertools.takewhile(lambda token: token not in ends, written))


def cut(text: str, decoding: Decoding) -> str:
    """An answer up to the first stop string."""
    ends = [at for s in decoding.stop if (at := text.find(s)) >= 0]
    text = text[: min(ends)] if ends else text
    return text.strip() if decoding.strip else text.rstrip()


def settled(text: str, decoding: Decoding) -> str:
    """The part of an unfinished answer that stays, whatever follows: no character and no stop string is half there."""
    text = text.rstrip("\ufffd")
    begun = (n for stop in decoding.stop for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n]))
    return min(cut(text, decoding), cut(text[: len(text) - max(begun, default=0)], decoding), key=len)


class Draws:
    """Samples one token a row by numbers of its own; a logits processor of transformers, the last one.

    A row draws the same in any batch: a token is where a uniform number lies in the cumulated probabilities.

    Args:
        decoding: its temperature, top_p and seed.
        positions: of the rows among all that are asked.

    Attributes:
        of_batch: a seed for what the rows of a batch draw together.
    """

    def __init__(self, decoding: Decoding, positions: Sequence[int]) -> None:
        self._decoding = decoding
        sources = [np.random.SeedSequence([decoding.seed % (1 << 64), int(position)]) for position in positions]
        self.of_batch = int(sources[0].generate_state(1)[0])
        self._generators = [np.random.default_rng(source) for source in sources]

    def keep(self, rows: Sequence[int] | np.ndarray) -> None:
        """Go on with some of the rows."""
        self._generators = [self._generators[row] for row in rows]

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [B, V] of which one a row is possible."""
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        scores = TemperatureLogitsWarper(self._decoding.temperature)(ids, scores)
        if self._decoding.top_p < 1:
            scores = TopPLogitsWarper(self._decoding.top_p)(ids, scores)
        shares = torch.softmax(scores.double(), -1).cumsum(-1)
        drawn = torch.tensor([1 - one.random() for one in self._generators], dtype=torch.float64, device=scores.device)
        chosen = torch.searchsorted(shares, drawn[:, None] * shares[:, -1:])
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


class Watch:
    """Ends the rows of a batch that loop or have written a stop string; a stopping criterion of transformers.

    Args:
        start: where answers begin.
        speech: the tokenizer and what ends an answer.
        stop: strings that end an answer.
        leaving: whether all stop for a moment where so many are done that the rest should go on without them.
        hear: is given the tokens of the first row's answer so far.
    """

    def __init__(
        self,
        start: int,
        speech: Speech,
        stop: Sequence[str],
        leaving: bool = False,
        hear: Callable[[list[int]], None] | None = None,
    ) -> None:
        self._start, self._speech, self._stop, self._leaving, self._hear = start, speech, stop, leaving, hear
        self._tail = max((len(s) for s in stop), default=0) + 8

    def __call__(self, ids: torch.Tensor, scores: Any, **other: Any) -> torch.Tensor:
        """Whether each row is to stop, bool [B]."""
        if self._hear is not None:
            self._hear(until(ids[0, self._start :].tolist(), self._speech.over))
        done = self.done(ids)
        if self._leaving and done.mean() >= LEAVING:
            done[:] = True
        return torch.from_numpy(done).to(ids.device)

    def done(self, ids: torch.Tensor) -> np.ndarray:
        """Whether each row has its answer, bool [B]."""
        over = set(self._speech.over)  # what stands behind an answer that has been ended is no part of it
        whole = ids[:, self._start :].tolist()
        written = [until(row, self._speech.over) for row in whole]
        done = [not over.isdisjoint(row) or loops(part) for row, part in zip(whole, written, strict=True)]
        if self._stop:
            tails = self._speech.tokenizer.batch_decode([row[-self._tail :] for row in written])
            done = [d or any(s in tail for s in self._stop) for d, tail in zip(done, tails, strict=True)]
        return np.array(done)


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
