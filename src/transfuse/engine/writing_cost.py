"""What writing costs on this machine: some answers are written and timed."""

from __future__ import annotations

import dataclasses

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.backbones.writing import Writer
from transfuse.data.examples import Examples
from transfuse.engine.cost import Prices, timed
from transfuse.engine.trunk import Trunk

ROWS, TOKENS = 16, 8
"""Answers that are written at once to time it, and tokens of each."""


def price_writing(prices: Prices, trunk: Trunk, known: Examples, form: Form, calls: int) -> Prices:
    """The prices with those of writing: seconds a token, many at once, and tokens of a mean answer.

    Cost: a few seconds.
    """
    sample = list(known.texts[:ROWS])
    writer = Writer(trunk.backbone, form, trunk.limit, trunk.precision)
    long, short = (timed(lambda n=n: writer.write(sample, Decoding(n)), calls) for n in (TOKENS + 1, 1))  # type: ignore[misc]
    answers = form.answers(trunk.backbone.tokenizer, list((known.labels or ())[:256]), 1 << 20)
    each = max(long - short, 1e-6) / (TOKENS * len(sample))
    mean = sum(map(len, answers)) / max(len(answers), 1)
    return dataclasses.replace(prices, writing=each, answer=mean)
