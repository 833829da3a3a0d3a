"""Keys come from the environment and go to their service alone: everything else is told without them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from transfuse.errors import BackboneError

SHOWN = "[key]"
LONGEST = 300
SHAPES = re.compile(r"\b(?:sk-|AIza|ya29\.)[\w.-]{16,}|(?<=Bearer )\S+")
"""How keys and tokens look that are not known here, such as those of a login."""


def key_of(reference: str, *names: str) -> str:
    """The key that the first of some environment variables holds.

    Raises:
        BackboneError: none of them is set.
    """
    for name in names:
        value = os.environ.get(name, "").strip()
        if value:
            return value
    raise BackboneError(
        f"{reference}: no key in the environment",
        expected=f"{' or '.join(names)} with the service's key",
        remedy=f"Run `export {names[0]}=...`; for a server that asks for no key, any word will do.",
    )


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """A text on one line without keys, cut where it is very long."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, SHOWN)
    text = SHAPES.sub(SHOWN, text)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def plain_url(url: str) -> str:
    """An address without user, password, query and the slash at its end: nothing in it is secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def secrets_of(url: str) -> list[str]:
    """The passwords that an address holds."""
    parts = urlsplit(url)
    values = [piece.partition("=")[2] for piece in parts.query.split("&")]
    return [value for value in (parts.password, *values) if value]
