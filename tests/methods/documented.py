"""The settings of the methods as docs/methods.md writes them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from transfuse.methods.catalogue import method, settings


def word(value: Any) -> str:
    """A value as a recipe would write it."""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if value is None:
        return "`none`"
    return f"`{value:.3g}`" if isinstance(value, float) else f"`{value}`"


def by_kind(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The defaults of encoders and of decoders where a method's module has a table of each."""
    module = sys.modules[type(method(name)).__module__]
    found = [getattr(module, table, {}) for table in ("ENCODER", "DECODER")]
    first, second = (dict(table) if isinstance(table, Mapping) else table._asdict() for table in found)
    return first, second


def cells(name: str) -> dict[str, str]:
    """Setting -> default; ``encoder / decoder`` where the kind of backbone decides."""
    encoder, decoder = by_kind(name)
    return {
        setting: f"{word(encoder[setting])} / {word(decoder[setting])}"
        if default is None and setting in encoder
        else word(default)
        for setting, default in settings(name).items()
    }


def constants(name: str) -> list[str]:
    """What stands in a method's tables of defaults and is no setting: how a setting that is left out is decided."""
    encoder, decoder = by_kind(name)
    return [f"`{key}` {word(encoder[key])} / {word(decoder[key])}" for key in encoder if key not in settings(name)]
