"""From examples to pairs of requests and answers, and what methods that write decide alike: form, stops, lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import TEXT
from transfuse.backbones.writing import refuse_encoder
from transfuse.data.examples import Examples
from transfuse.engine.answers import Pairs
from transfuse.engine.jobs import TransferData
from transfuse.errors import DataError, RecipeError
from transfuse.methods.bounds import refuse
from transfuse.tasks.writing import Writing

CODE_ENDS = ("\ndef ", "\nclass ", "\nif ", "\nprint(", "\n#", "\n@", "\nassert ", "\nimport ", "\nfrom ", "\n```")
"""What begins at the margin behind a function is no part of it."""

SPARE_TOKENS, SPARE_SHARE = 16, 1.5
"""An answer may be so much longer than the longest known one."""


def pairs_of(examples: Examples, *, target: bool) -> Pairs:
    """All rows of a weight above 0.

    Raises:
        DataError: no answers, or, of the target, no such row.
    """
    if examples.labels is None:
        raise DataError(f"{examples.origin}: no answers", expected="a column of answers")
    weights = np.ones(len(examples)) if examples.weights is None else np.asarray(examples.weights, dtype=float)
    kept = np.flatnonzero(weights > 0)
    if target and not len(kept):
        raise DataError(
            f"{examples.origin}: {len(examples)} rows, none of a weight above 0",
            expected="at least one training row that counts",
            remedy="Correct the column of weights, or leave task.weight out.",
        )
    chosen = examples.take(kept)
    return Pairs(chosen.texts, chosen.labels or (), weights[kept], np.full(len(kept), target))


def source_parts(
    task: Writing, backbone: Backbone, data: TransferData, most: int, template: str | None
) -> tuple[tuple[Pairs, Form], ...]:
    """The first ``most`` rows of each source, in the order in which the study shuffled them, shown as its task says."""
    refuse(source_limit=most)
    out = []
    for name, examples in data.sources.items():
        taken = examples.take(range(min(most, len(examples))))
        own = form_of(data.tasks.get(name, task), backbone, template)
        out.append((pairs_of(taken, target=False), own))
    return tuple((pairs, own) for pairs, own in out if len(pairs))


def form_of(
    task: Writing, backbone: Backbone, template: str | None = None, shots: Sequence[tuple[str, str]] = ()
) -> Form:
    """How requests are shown: a template that is given, the model's chat template, or the kind's own.

    Raises:
        BackboneError: an encoder.
        RecipeError: a template without ``{text}``.
    """
    refuse_encoder(backbone)
    if task.kind == "code":
        return Form(template or task.shown(), joint="").after(None, shots)
    if template is None and task.chats and getattr(backbone.tokenizer, "chat_template", None):
        return Form.chat(backbone.tokenizer, shots)
    shown = template or task.shown()
    if shown.count(TEXT) != 1:
        raise RecipeError(
            f"template: {shown!r}",
            expected="{text} once, where the request goes",
            remedy='Write it like "English: {text}\\nChinese:".',
        )
    return Form.plain(shown, shots)


def decoding_of(
    task: Writing, backbone: Backbone, form: Form, known: Pairs, beams: int, max_new_tokens: int | None
) -> Decoding:
    """How answers are searched for: no longer than known ones by far, and to the end of a line where these have one.

    Where none is known, as long as the task allows, and up to the next request.

    Raises:
        RecipeError: no beam, or no token.
    """
    if beams < 1 or (max_new_tokens is not None and max_new_tokens < 1):
        raise RecipeError(f"beams: {beams}, max_new_tokens: {max_new_tokens}", expected="1 or more")
    stop = list(task.stop)
    if task.kind == "code":
        stop += CODE_ENDS
    elif form.special:  # in a chat the model ends its turn by itself
        first = form.template.partition(TEXT)[0].strip().partition("\n")[0]
        one_line = len(known) > 0 and not any("\n" in answer for answer in known.answers)
        stop += ["\n"] if one_line else [f"\n{first}"] if first else ["\n\n\n"]
    most = task.max_new_tokens
    if len(known):
        longest = max(len(row) for row in form.answers(backbone.tokenizer, known.answers, 1 << 20))
        most = min(most, round(SPARE_SHARE * longest) + SPARE_TOKENS)
    strip = task.kind != "code"
    return Decoding(max_new_tokens or most, beams=beams, stop=tuple(dict.fromkeys(stop)), strip=strip)
