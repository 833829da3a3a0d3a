"""How a request is shown to a decoder, how its answer follows, and the token ids of both."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from transfuse.backbones.tokens import TEXT, opening, tokenize


@dataclasses.dataclass(frozen=True)
class Form:
    """How a request is shown to a decoder, and how its answer follows.

    Args:
        template: with ``{text}`` once.
        prefix: what all requests are preceded by (demonstrations); may be empty.
        special: whether the tokenizer's own special tokens open the text; a chat template brings its own.
        joint: what stands between the template's end and the answer.
    """

    template: str
    prefix: str = ""
    special: bool = True
    joint: str = " "

    @staticmethod
    def plain(template: str, shots: Sequence[tuple[str, str]] = ()) -> Form:
        """Demonstrations one after another, an empty line between them."""
        return Form(template, joint="" if template[-1:].isspace() else " ").after(None, shots)

    @staticmethod
    def chat(tokenizer: Any, shots: Sequence[tuple[str, str]] = (), system: str = "") -> Form:
        """The model's own chat template, demonstrations as earlier turns."""
        turns = [{"role": "system", "content": system}] if system else []
        for text, answer in shots:
            turns += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
        turns.append({"role": "user", "content": TEXT})
        whole = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        before, _, after = whole.rpartition(TEXT)
        return Form(f"{TEXT}{after}", before, special=False, joint="")

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return dataclasses.asdict(self)

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
        shown = "".join(f"{before}{text}{behind}{self.joint}{answer}\n\n" for text, answer in shots)
        return dataclasses.replace(self, prefix=shown)

    def requests(self, tokenizer: Any, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of each whole prompt; a request loses its end beyond ``limit`` tokens, template included."""
        first = opening(tokenizer) if self.special else []
        before = len(tokenizer(self.prefix, add_special_tokens=False)["input_ids"]) if self.prefix else 0
        rows = tokenize(tokenizer, texts, self.template, before + limit, special=False, before=self.prefix)
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


def template_hash(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's chat template, or of several with their names; empty where it has none."""
    template = getattr(tokenizer, "chat_template", None)
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest() if template else ""
