"""The part of a recipe that says how remote models are asked, and what they may cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from transfuse.data.fields import Count, Section, wrong

Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Tokens = Annotated[int, Field(strict=True, ge=0)]


class RemoteBudget(Section):
    """What all calls of a study may cost together; never exceeded."""

    money: Positive | None = Field(None, description="US dollars, a number over 0")
    tokens: Count | None = Field(None, description="tokens read and written, a whole number of at least 1")

    @model_validator(mode="after")
    def _one_limit(self) -> RemoteBudget:
        if self.money is None and self.tokens is None:
            raise wrong("empty. Expected: money: DOLLARS, tokens: NUMBER, or both.")
        return self


class Remote(Section):
    """How remote models are asked."""

    budget: RemoteBudget | None = Field(None, description="the budget of all calls: {money: 1.00, tokens: 200000}")
    concurrency: Count = Field(4, description="calls under way at a time, a whole number of at least 1")
    requests_per_minute: Count | None = Field(None, description="calls a minute, a whole number of at least 1")
    tokens_per_minute: Count | None = Field(None, description="tokens a minute, a whole number of at least 1")
    timeout_seconds: Positive = Field(60.0, description="seconds without an answer, a number over 0")
    samples: Count = Field(5, description="answers drawn to a text, a whole number of at least 1")
    thinking_tokens: Tokens = Field(0, description="tokens that a model may think before it answers, from 0")
