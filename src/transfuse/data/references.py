"""How data and models are named: paths, ``catalog:NAME`` and ``hub:OWNER/NAME[:CONFIG][@REVISION][#SPLIT]``."""

from __future__ import annotations

import dataclasses
import re

from transfuse.errors import DataError

_HUB = re.compile(
    r"hub:(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[^@#:]+))?(?:@(?P<revision>[^#]+))?(?:#(?P<split>[\w.-]+))?"
)


@dataclasses.dataclass(frozen=True)
class HubReference:
    """The parts of a ``hub:`` reference; a part that was not written is None."""

    repo: str
    config: str | None = None
    revision: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        parts = [f"hub:{self.repo}"]
        for mark, part in ((":", self.config), ("@", self.revision), ("#", self.split)):
            parts.append(f"{mark}{part}" if part else "")
        return "".join(parts)


def parse_hub(reference: str) -> HubReference:
    """Take a ``hub:`` reference apart.

    Raises:
        DataError: it does not have the form of one.
    """
    match = _HUB.fullmatch(reference)
    if match is None:
        raise DataError(
            f"'{reference}' is not a hub reference",
            expected="hub:OWNER/NAME[:CONFIG][@REVISION][#SPLIT], such as hub:nyu-mll/glue:sst2#train",
        )
    return HubReference(**match.groupdict())


def split_fragment(reference: str) -> tuple[str, str | None]:
    """``("folder", "train")`` of ``folder#train``; the second is None where there is no ``#``."""
    path, mark, fragment = reference.rpartition("#")
    return (path, fragment) if mark else (reference, None)
