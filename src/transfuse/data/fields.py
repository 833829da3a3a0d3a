"""What the parts of a recipe are made of: references, counts, columns, and how a refusal is worded."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
)
from pydantic_core import PydanticCustomError

from transfuse.data import catalog
from transfuse.data.problems import CUSTOM
from transfuse.data.references import parse_hub
from transfuse.data.remote_names import is_remote
from transfuse.data.remote_names import parse as remote_model
from transfuse.errors import TransfuseError, nearest


def wrong(message: str) -> PydanticCustomError:
    """An error whose message is complete; braces in it are the user's."""
    return PydanticCustomError(CUSTOM, "{message}", {"message": message})


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _known(kind: str, reference: str) -> str:
    """Check what can be known of a reference without its data: that the catalog has it, that ``hub:`` has the form."""
    if reference.startswith("catalog:"):
        name, known = reference.removeprefix("catalog:"), catalog.names(kind)
        if name not in known:
            raise wrong(
                f"the catalog has no {kind} '{name}'.{nearest(name, known)} It has: {', '.join(catalog.told(kind))}."
            )
    elif reference.startswith("hub:"):
        try:
            parse_hub(reference)
        except TransfuseError as error:
            raise wrong(f"{error.found}. Expected: {error.expected}.") from error
    elif is_remote(reference):
        if kind != "backbone":
            raise wrong(f"'{reference}': a remote model, no {kind}.")
        try:
            remote_model(reference)
        except TransfuseError as error:
            raise wrong(f"{error.found}. Expected: {error.expected}.") from error
    return reference


def _data_reference(reference: str) -> str:
    return _known("data", reference)


def _backbone_reference(reference: str) -> str:
    return _known("backbone", reference)


def _encoder_reference(reference: str) -> str:
    if is_remote(reference):
        raise wrong(f"'{reference}': a remote model, whose states nobody sees. Expected: an encoder on this machine.")
    return _known("backbone", reference)


def _rows(value: Any) -> int | float:
    """A number of rows, or a share of them."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if not (isinstance(value, int) and value >= 1) and not 0 < value < 1:
        raise ValueError("neither a number of rows nor a share")
    return value


_Text = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
Reference = Annotated[_Text, AfterValidator(_data_reference)]
BackboneReference = Annotated[_Text, AfterValidator(_backbone_reference)]
EncoderReference = Annotated[_Text, AfterValidator(_encoder_reference)]
Column = Annotated[str, Field(min_length=1)]
ModelFolder = Annotated[_Text, Field(max_length=4096)]
Count = Annotated[int, Field(strict=True, ge=1)]
Demonstrations = Annotated[int, Field(strict=True, ge=0)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Rows = Annotated[int | float, PlainValidator(_rows)]
Switch = Annotated[bool, Field(strict=True)]
Minutes = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]

A_REFERENCE = "a path, catalog:NAME or hub:OWNER/NAME[:CONFIG][@REVISION][#SPLIT]"
A_BACKBONE = "a path, catalog:NAME, hub:OWNER/NAME[@REVISION], openai:MODEL or google:MODEL"
A_SPLIT = f"{A_REFERENCE}, or rows to hold out: {{rows: 1500, seed: 0}}"
A_SEED = "a seed, a whole number from 0"


class Section(BaseModel):
    """A part of the recipe: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
