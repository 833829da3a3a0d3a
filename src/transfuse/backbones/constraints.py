"""Answers that must have a form: one of several texts, a regular expression, or JSON by a schema; by llguidance.

Of the maintained libraries (llguidance, outlines-core, xgrammar) llguidance is the one that takes all three forms and
any fast tokenizer, needs no table of the whole vocabulary beforehand, and brings nothing else along.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.errors import UsageError

COMPACT = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}
"""JSON without white space that a model could write for ever."""

MOST_STATES = 4096
"""States of the parser that are kept, so that each step reads one token."""


def grammar_of(form: Mapping[str, Any]) -> str:
    """A form as llguidance's grammar; one white space may stand before the answer.

    Args:
        form: one of ``choices`` (texts), ``pattern`` (a regular expression) and ``schema`` (JSON Schema).

    Raises:
        UsageError: no form, or one that cannot be read.
    """
    import llguidance

    (kind, value), *more = form.items() or [("", None)]
    if more or kind not in ("choices", "pattern", "schema") or not value:
        raise UsageError(
            f"constraint: {dict(form)!r:.60}",
            expected="one of choices: [texts], pattern: a regular expression, schema: a JSON schema",
        )
    if kind == "schema":
        lark = f"start: WHITE? answer\nWHITE: /[ \\n]/\nanswer: %json {json.dumps({**value, **COMPACT})}\n"
        grammar = llguidance.LLMatcher.grammar_from_lark(lark)
    else:
        pattern = "|".join(map(re.escape, value)) if kind == "choices" else value
        grammar = llguidance.LLMatcher.grammar_from_regex(f"[ \\n]?({pattern})")
    problem = llguidance.LLMatcher.validate_grammar(grammar, None)
    if problem:
        raise UsageError(f"constraint {kind}: {' '.join(problem.split())[:200]}", expected="a form that can be read")
    return str(grammar)


class Constraint:
    """Sets the logits of all tokens that the form does not allow next to -inf; a logits processor of transformers.

    Args:
        tokenizer: a fast tokenizer of transformers.
        form: see `grammar_of`.
        start: where answers begin.
        ends: the tokens that end an answer, of which the first stands for all.
    """

    def __init__(self, tokenizer: Any, form: Mapping[str, Any], start: int, ends: Sequence[int]) -> None:
        import llguidance

        self._start, self._ends = start, list(ends)
        first = llguidance.LLMatcher(_vocabulary(tokenizer), grammar_of(form))
        self._states: dict[tuple[int, ...], Any] = {(): first}

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [B, V] of what may come next after ids [B, T]."""
        if ids.shape[1] < self._start:  # a first token that the model's makers force
            return scores
        allowed = np.stack([self._allowed(tuple(row), scores.shape[1]) for row in ids[:, self._start :].tolist()])
        masked: torch.Tensor = scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
        return masked

    def _allowed(self, written: tuple[int, ...], size: int) -> np.ndarray:
        out = np.zeros(size, dtype=bool)
        state = self._state(written)
        if state is None or state.is_stopped():
            out[self._ends] = True
            return out
        bits = np.unpackbits(np.frombuffer(state.compute_bitmask(), dtype=np.uint8), bitorder="little")
        out[: min(size, len(bits))] = bits[:size]
        if state.is_accepting():
            out[self._ends] = True
        return out

    def _state(self, written: tuple[int, ...]) -> Any:
        """The parser after some tokens; None where an end stands among them."""
        if written not in self._states:
            before = self._state(written[:-1]) if written[-1] not in self._ends else None
            state = None
            if before is not None:
                state = before.deep_copy()
                state.consume_token(written[-1])
            if len(self._states) > MOST_STATES:
                self._states = {(): self._states[()]}
            self._states[written] = state
        return self._states[written]


@functools.cache
def _vocabulary(tokenizer: Any) -> Any:
    """The tokenizer as llguidance reads it; takes about a second."""
    from llguidance.hf import from_tokenizer

    return from_tokenizer(tokenizer)
