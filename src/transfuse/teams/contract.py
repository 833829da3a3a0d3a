"""What a role says and hears, by name and type: a contract, as a pydantic model, as a JSON schema, as a constraint."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from transfuse.errors import TeamError, nearest

TEXT, NUMBER, LIST, LABELS = "text", "number", "list", "labels"
KINDS = (TEXT, NUMBER, LIST, LABELS)
A_FIELD = "text, number, list, labels (those of the role's fitted model) or the labels themselves: [good, bad]"
REQUEST = "request"
"""The field that the user's text has; no role may say one of this name."""

MOST, STEP, MOST_ITEMS = 1_000_000_000, 0.001, 8
"""Of what a model writes: the largest number, the steps of numbers, and the items of a list."""

Kind = str | tuple[str, ...]
"""``text``, ``number``, ``list`` (of texts), or the labels of which one is said."""


def _said(text: str) -> str:
    if not text.encode().strip():  # half a letter (a lone surrogate) is no text either, and raises a ValueError
        raise ValueError("empty")
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


_Text = Annotated[str, Field(strict=True, min_length=1), AfterValidator(_said)]
_Number = Annotated[float, Field(strict=True), AfterValidator(_finite)]
_TYPES: dict[str, Any] = {TEXT: _Text, NUMBER: _Number, LIST: list[_Text]}


@dataclasses.dataclass(frozen=True)
class Contract:
    """The fields of a message and their types.

    Args:
        fields: kind of each field by its name, in the order in which they are said.

    Raises:
        TeamError: a name or a kind that no field can have.

    Example:
        >>> contract = Contract.of({"intent": ["refund", "other"], "reply": "text"})
        >>> contract.check({"intent": "refund", "reply": "Done."})
        {'intent': 'refund', 'reply': 'Done.'}
    """

    fields: Mapping[str, Kind]

    @staticmethod
    def of(fields: Mapping[str, Any], labels: Sequence[str] = (), where: str = "contract") -> Contract:
        """A contract from what a YAML file or a caller writes.

        Args:
            fields: see `A_FIELD`.
            labels: what ``labels`` stands for.
            where: what a message begins with.
        """
        return Contract({name: _kind(name, kind, labels, where) for name, kind in fields.items()})

    def __hash__(self) -> int:
        return hash(tuple(self.fields.items()))

    @functools.cached_property
    def model(self) -> type[BaseModel]:
        """The contract as a pydantic model."""
        types: dict[str, Any] = {
            name: (Literal[kind] if isinstance(kind, tuple) else _TYPES[kind], ...)
            for name, kind in self.fields.items()
        }
        made: type[BaseModel] = create_model("Content", __config__=ConfigDict(extra="forbid", frozen=True), **types)
        return made

    @property
    def schema(self) -> dict[str, Any]:
        """The contract as a JSON schema."""
        return self.model.model_json_schema()

    @property
    def only(self) -> str | None:
        """The name of the single field that is said as it is, without JSON around it; None where there are several."""
        (name, *more) = self.fields
        return name if not more and self.fields[name] not in (NUMBER, LIST) else None

    @property
    def labelled(self) -> str | None:
        """The field of labels where there is no other field."""
        return self.only if self.only and isinstance(self.fields[self.only], tuple) else None

    def form(self, tokens: int) -> dict[str, Any] | None:
        """What decoding is held to (see `backbones.constraints`); None where any text will do.

        Labels and numbers are said first and texts are bounded, so that what is cut off at the end is a text.

        Args:
            tokens: most tokens of an answer.
        """
        if self.only is not None:
            kind = self.fields[self.only]
            return {"choices": list(kind)} if isinstance(kind, tuple) else None
        order = sorted(self.fields, key=lambda name: self.fields[name] in (TEXT, LIST))
        texts = sum(kind in (TEXT, LIST) for kind in self.fields.values())
        bounded = {name: _bounded(self.fields[name], max(3 * tokens // max(texts, 1), 8)) for name in order}
        return {"schema": {"type": "object", "properties": bounded, "required": order, "additionalProperties": False}}

    @property
    def asked(self) -> str:
        """The sentence that asks a model for this form; empty where any text will do."""
        if self.only is None:
            return "Answer as JSON with " + ", ".join(f'"{n}" ({_words(k)})' for n, k in self.fields.items()) + "."
        kind = self.fields[self.only]
        return f"Answer with {_words(kind)}." if isinstance(kind, tuple) else ""

    def read(self, answer: str, where: str = "answer") -> dict[str, Any]:
        """The content of what a model wrote: the text itself, a label, or JSON, which may lack its end.

        Raises:
            TeamError: it breaks the contract.
        """
        if self.only is not None:
            return self.check({self.only: answer.strip()}, where)
        for text in (answer, closed(answer)):
            try:
                return self.check(json.loads(text), where)
            except ValueError:
                continue
        raise TeamError(f"{where}: no JSON: {_short(answer)}", expected=f"the fields {', '.join(self.fields)}")

    def of_column(self, text: str) -> dict[str, Any] | str:
        """An answer as a column holds it: a lone number, or a list with commas, for `check`; any other for `read`."""
        (name, *more) = self.fields
        if more or text.lstrip().startswith(("{", "[")):
            return text
        if self.fields[name] == LIST:
            return {name: [item.strip() for item in text.split(",")]}
        try:
            return {name: float(text)} if self.fields[name] == NUMBER else text
        except ValueError:
            return text

    def check(self, content: Any, where: str = "answer") -> dict[str, Any]:
        """The content, if it keeps the contract; a lone text where one text is expected is taken for it.

        Raises:
            TeamError: the message names each field that breaks it.
        """
        if isinstance(content, str) and self.only is not None:
            content = {self.only: content}
        if not isinstance(content, Mapping):
            raise TeamError(f"{where}: {_short(content)}", expected=f"the fields {', '.join(self.fields)}")
        try:
            checked = self.model.model_validate(dict(content)).model_dump()
        except ValidationError as error:
            problems = [self._problem(item["loc"], item["type"], item["input"], where) for item in error.errors()]
            raise TeamError("\n".join(dict.fromkeys(problems))) from None
        return {name: checked[name] for name in self.fields}

    def _problem(self, loc: tuple[Any, ...], kind: str, found: Any, where: str) -> str:
        name = str(loc[0])
        if kind == "extra_forbidden":
            hint = nearest(name, list(self.fields))
            return f"{where}, field '{name}': unknown.{hint} Expected: the fields {', '.join(self.fields)}."
        expected = _words(self.fields[name])
        if kind == "missing":
            return f"{where}, field '{name}': missing. Expected: {expected}."
        return f"{where}, field '{name}': found {_short(found)}. Expected: {expected}."

    def to_dict(self) -> dict[str, Any]:
        """As a YAML file would say it."""
        return {name: list(kind) if isinstance(kind, tuple) else kind for name, kind in self.fields.items()}


def closed(text: str) -> str:
    """JSON whose end was cut off, with its open strings, lists and objects ended."""
    ends: list[str] = []
    inside, escaped = False, False
    for letter in text:
        if inside:
            inside = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            inside = True
        elif letter in "{[":
            ends.append("}" if letter == "{" else "]")
        elif letter in "}]" and ends:
            ends.pop()
    text = text[:-1] if escaped else text
    return text.rstrip(", \n") * (not inside) + text * inside + '"' * inside + "".join(reversed(ends))


def _kind(name: str, kind: Any, labels: Sequence[str], where: str) -> Kind:
    taken = hasattr(BaseModel, name) or name.startswith("model_") or not name.isidentifier() or name.startswith("_")
    if taken or name == REQUEST:
        why = "what the user says" if name == REQUEST else "no name that a field can have"
        raise TeamError(f"{where}, field '{name}': {why}", expected="a name of letters, digits and _, such as reply")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        if not kind or len({str(label) for label in kind}) < len(kind) or not all(str(label).strip() for label in kind):
            raise TeamError(f"{where}, field '{name}': {list(kind)!r}", expected="labels, each of them once")
        return tuple(str(label) for label in kind)
    if kind == LABELS:
        if not labels:
            raise TeamError(
                f"{where}, field '{name}': labels, but the role has no fitted model that knows any",
                expected="the labels themselves: [good, bad]",
                remedy="Write them, or give the role a fitted model that classifies.",
            )
        return tuple(labels)
    if kind not in KINDS:
        raise TeamError(f"{where}, field '{name}': found {_short(kind)}.{nearest(str(kind), KINDS)}", expected=A_FIELD)
    return str(kind)


def _bounded(kind: Kind, letters: int) -> dict[str, Any]:
    """The schema of a field of which a model must find the end."""
    if isinstance(kind, tuple):
        return {"enum": list(kind)}
    if kind == NUMBER:
        return {"type": "number", "minimum": -MOST, "maximum": MOST, "multipleOf": STEP}
    text = {"type": "string", "minLength": 1, "maxLength": letters}
    if kind == TEXT:
        return text
    return {"type": "array", "items": {**text, "maxLength": max(letters // MOST_ITEMS, 8)}, "maxItems": MOST_ITEMS}


def _words(kind: Kind) -> str:
    if isinstance(kind, tuple):
        return "one of " + ", ".join(kind)
    return {TEXT: "a text that is not empty", NUMBER: "a number", LIST: "a list of texts"}[kind]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:56] + "...'"
