"""What remote models cost: prices.toml, and the user's own file before it."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib.resources
import os
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from transfuse.errors import BackboneError

PICO = 10**12
"""Picodollars in a dollar: a price a million tokens is a whole number of them a token, so sums are exact."""
KEYS = {"service", "models", "input", "output", "checked"}


@dataclasses.dataclass(frozen=True)
class Price:
    """What tokens of one model cost.

    Args:
        input, output: picodollars a token.
        told: where it stands and when it was true, for people.
    """

    input: int
    output: int
    told: str

    def of(self, input_tokens: int, output_tokens: int) -> int:
        """Picodollars of an answer."""
        return input_tokens * self.input + output_tokens * self.output


def dollars(picodollars: int) -> float:
    """For people and reports."""
    return picodollars / PICO


def price_of(service: str, model: str) -> Price | None:
    """The price of a model at a service's address; None where no file has one.

    Raises:
        BackboneError: the user's file cannot be read, or says something else than prices.
    """
    host = urlsplit(service).hostname or service
    for where, text in _files():
        for number, entry in enumerate(_entries(where, text), start=1):
            if entry["service"] == host and any(fnmatch.fnmatchcase(model, name) for name in entry["models"]):
                when = f", {entry['checked']}" if "checked" in entry else ", not looked up"
                input_price, output_price = (_per_token(where, number, entry[key]) for key in ("input", "output"))
                return Price(input_price, output_price, f"{where}{when}")
    return None


def own_file() -> Path:
    """Where the user's prices stand: TRANSFUSE_PRICES, else the folder for settings."""
    named = os.environ.get("TRANSFUSE_PRICES")
    if named:
        return Path(named).expanduser()
    settings = os.environ.get("XDG_CONFIG_HOME")
    return (Path(settings) if settings else Path.home() / ".config") / "transfuse" / "prices.toml"


def _files() -> Iterator[tuple[str, str]]:
    own = own_file()
    if own.exists() or os.environ.get("TRANSFUSE_PRICES"):
        try:
            yield str(own), own.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BackboneError(
                f"{own}: cannot be read: {error}", expected="a file of prices", remedy="Correct TRANSFUSE_PRICES."
            ) from error
    shipped = importlib.resources.files("transfuse.backbones.remote").joinpath("prices.toml")
    yield "transfuse's prices.toml", shipped.read_text(encoding="utf-8")


def _entries(where: str, text: str) -> list[Mapping[str, Any]]:
    expected = "entries [[price]] with service, models, input and output"
    remedy = "See docs/remote.md for an example."
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise BackboneError(f"{where}: no TOML: {error}", expected=expected, remedy=remedy) from error
    entries = table.pop("price", [])
    if table or not isinstance(entries, list):
        raise BackboneError(f"{where}: {', '.join(table) or 'price'}", expected=expected, remedy=remedy)
    for number, entry in enumerate(entries, start=1):
        missing = KEYS - {"checked"} - set(entry)
        if missing or set(entry) - KEYS or not isinstance(entry["models"], list):
            wrong = ", ".join(sorted(missing or set(entry) - KEYS)) or "models is no list"
            raise BackboneError(f"{where}, price {number}: {wrong}", expected=expected, remedy=remedy)
    return entries


def _per_token(where: str, number: int, price: Any) -> int:
    """Picodollars a token of a price in dollars a million tokens, rounded up."""
    try:
        exact = Decimal(price) * PICO / 1_000_000
        if isinstance(price, bool) or not exact.is_finite() or exact < 0:
            raise ValueError(price)
    except (ValueError, TypeError, InvalidOperation) as error:
        raise BackboneError(
            f"{where}, price {number}: {price!r}", expected="dollars a million tokens, a number from 0"
        ) from error
    return -int(-exact // 1)
