"""How a request is shown to a decoder, how its answer follows, and the token ids of both."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

from transfuse.backbones.tokens import TEXT, opening, tokenize
from transfuse.data.turns import ASSISTANT, USER, spoken, unmarked


@dataclasses.dataclass(frozen=True)
class Form:
    """How a request is shown to a decoder, and how its answer follows.

    Args:
        template: with ``{text}`` once.
        prefix: what all requests are preceded by (demonstrations); may be empty.
        special: whether the tokenizer's own special tokens open the text; a chat template brings its own.
        joint: what stands between the template's end and the answer.
        replied, asked: what a chat template puts between a user's turn and the assistant's, and between this and the
            user's next: so a conversation (see `turns`) stands in the place of ``{text}``. Empty in a plain form.
    """

    template: str
    prefix: str = ""
    special: bool = True
    joint: str = " "
    replied: str = ""
    asked: str = ""

    @staticmethod
    def plain(template: str, shots: Sequence[tuple[str, str]] = ()) -> Form:
        """Demonstrations one after another, an empty line between them."""
        return Form(template, joint="" if template[-1:].isspace() else " ").after(None, shots)

    def shown(self, text: str) -> str:
        """A text as it stands in the place of ``{text}``: a conversation by its turns, where the form has them."""
        (_, first), *further = spoken(text) if self.replied else [("", unmarked(text))]
        between = {ASSISTANT: self.replied, USER: self.asked}
        return first + "".join(between[role] + content for role, content in further)

    @staticmethod
    def chat(tokenizer: Any, shots: Sequence[tuple[str, str]] = (), system: str = "") -> Form:
        """The model's own chat template, demonstrations as earlier turns."""
        turns = [{"role": "system", "content": system}] if system else []
        for text, answer in shots:
            turns += [{"role": role, "content": content} for role, content in (*spoken(text), (ASSISTANT, answer))]
        turns.append({"role": "user", "content": TEXT})
        whole = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        before, _, after = whole.rpartition(TEXT)
        return Form(f"{TEXT}{after}", before, special=False, joint="", **_between(tokenizer))

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        fields = dataclasses.asdict(self)
        return fields if self.replied else {k: v for k, v in fields.items() if k not in ("replied", "asked")}

    def prefix_ids(self, tokenizer: Any) -> list[int]:
        """What all requests begin with, without white space at its end, which tokenizers join to what follows."""
        shared = (self.prefix + self.template.partition(TEXT)[0]).rstrip()
        first = opening(tokenizer) if self.special else []
        return [*first, *tokenizer(shared, add_special_tokens=False)["input_ids"]]

    def after(self, tokenizer: Any, shots: Sequence[tuple[str, str]]) -> Form:
        """The same form behind other demonstrations."""
        if not self.special:
            return Form.chat(tokenizer, shots)
        before, _, behind = self.template.partition(TEXT)
        shown = "".join(f"{before}{unmarked(text)}{behind}{self.joint}{answer}\n\n" for text, answer in shots)
        return dataclasses.replace(self, prefix=shown)

    def requests(self, tokenizer: Any, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of each whole prompt; a request loses its end beyond ``limit`` tokens, template included."""
        first = opening(tokenizer) if self.special else []
        before = len(tokenizer(self.prefix, add_special_tokens=False)["input_ids"]) if self.prefix else 0
        asked = [self.shown(text) for text in texts]
        rows = tokenize(tokenizer, asked, self.template, before + limit, special=False, before=self.prefix)
        return [[*first, *row] for row in rows]

    def answers(self, tokenizer: Any, texts: Sequence[str], most: int) -> list[list[int]]:
        """Token ids of answers as they follow a request, with the token that ends them unless they are cut."""
        tail = self.template.partition(TEXT)[2]
        alone = tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []
        joined = tokenizer([tail + self.joint + text for text in texts], add_special_tokens=False)["input_ids"]
        bare = tokenizer([self.joint + text for text in texts], add_special_tokens=False)["input_ids"]
        out = []
        for both, own in zip(joined, bare, strict=True):
            ids = both[len(alone) :] if both[: len(alone)] == alone else own
            out.append([*ids, tokenizer.eos_token_id][:most])
        return out


def _between(tokenizer: Any) -> dict[str, str]:
    """What a chat template puts between the turns of a conversation."""
    marks = [f"{TEXT}{number}" for number in range(3)]
    turns = [{"role": role, "content": mark} for role, mark in zip((USER, ASSISTANT, USER), marks, strict=True)]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    between = [whole.partition(a)[2].partition(b)[0] for a, b in itertools.pairwise(marks)]
    return dict(zip(("replied", "asked"), between, strict=True))


def template_hash(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's chat template, or of several with their names; empty where it has none."""
    template = getattr(tokenizer, "chat_template", None)
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest() if template else ""
