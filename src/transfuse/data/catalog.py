"""The catalog: what each named asset is, where it lies in the user's cache, and how it gets there.

Its entries are catalog.toml.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.resources
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transfuse.errors import AssetError, nearest

#: Called with the asset's name, the bytes that are here and the bytes in all (None where unknown).
Progress = Callable[[str, int, int | None], None]


@dataclasses.dataclass(frozen=True)
class Asset:
    """One entry of the catalog; catalog.toml says what each field means. Sizes are bytes."""

    name: str
    kind: str
    description: str
    package: str
    version: str
    file: str
    sha256: str
    size: int
    unpacked: int
    licence: str
    format: str
    members: Mapping[str, str]
    columns: Sequence[str] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    terms: str = ""
    parts: Sequence[Mapping[str, Any]] = ()
    joined: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    family: str = ""

    @property
    def packages(self) -> tuple[Asset, ...]:
        """The package files that it is fetched from, each as an asset without the others."""
        alone = dataclasses.replace(self, parts=())
        return (alone, *(dataclasses.replace(alone, **part) for part in self.parts))

    @property
    def to_fetch(self) -> int:
        """Bytes of all its package files."""
        return sum(package.size for package in self.packages)

    def folder(self) -> Path:
        """Where the unpacked members belong; another pin or other members give another folder."""
        pin = repr((self.sha256, sorted(self.members.items())))
        if self.parts:
            pin += repr([(part["sha256"], sorted(part["members"].items())) for part in self.parts])
        return cache_root() / "assets" / f"{self.name}-{hashlib.sha256(pin.encode()).hexdigest()[:12]}"


def cache_root() -> Path:
    """The folder for everything that can be fetched or computed again: TRANSFUSE_CACHE, else the XDG cache."""
    own = os.environ.get("TRANSFUSE_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "transfuse"


@functools.cache
def entries() -> dict[str, Asset]:
    """All entries by name, in the order of catalog.toml; a family has one for each of its languages."""
    text = importlib.resources.files("transfuse.data").joinpath("catalog.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    found = {}
    for name, table in tables.items():
        for own, fields in _members_of(name, table):
            found[own] = Asset(**{"name": own, **fields})
    return found


def _members_of(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """An entry as it is, or a family's assets: LANG in its texts is the language's code."""
    languages = table.get("languages")
    if languages is None:
        yield name, dict(table)
        return
    plain = {key: value for key, value in table.items() if key != "languages"}
    for code in languages:
        own = languages[code] if isinstance(languages, Mapping) else {}
        members = {k: v.replace(LANG, code) for k, v in plain["members"].items()}
        package = plain["package"].replace(LANG, code.replace("_", "-"))
        about = f"{plain['description']} ({code})"
        fields = {**plain, **own, "members": members, "package": package, "description": about, "family": name}
        yield name.replace(LANG, code), fields


LANG = "LANG"
"""Stands for the code of a language in the entry of a family."""


def told(kind: str | None = None) -> list[str]:
    """The names of all assets as a message lists them: of a family its own name alone."""
    named = (asset.family or asset.name for asset in entries().values() if kind in (None, asset.kind))
    return list(dict.fromkeys(named))


def names(kind: str | None = None) -> list[str]:
    """The names of all assets, or of those of one kind ("backbone" or "data")."""
    return [asset.name for asset in entries().values() if kind in (None, asset.kind)]


def entry(name: str) -> Asset:
    """The entry of that name.

    Raises:
        AssetError: there is none; the message lists the names.
    """
    if name not in entries():
        raise AssetError(
            f"catalog:{name}: no such asset.{nearest(name, names())}",
            expected="one of " + ", ".join(told()),
            remedy="Write catalog:NAME with a name of this list (`transfuse assets list`).",
        )
    return entries()[name]


def where(name: str) -> Path | None:
    """The folder of the asset's members where it has been pulled, else None."""
    folder = entry(name).folder()
    return folder if folder.is_dir() else None


def pull(name: str, *, progress: Progress | None = None, accept_terms: bool = False) -> Path:
    """Make sure that the asset is in the cache, and return the folder of its members.

    Args:
        name: an asset of the catalog, without the "catalog:".
        progress: told how far the download is.
        accept_terms: the user has read and accepted the asset's terms, where it has some.

    Raises:
        AssetError: an unknown name, terms not accepted, the index not reached, another SHA-256, a full disk.

    Cost: its ``to_fetch`` bytes, these and ``unpacked`` on disk while unpacking; nothing where it is there.
    """
    asset = entry(name)
    folder = asset.folder()
    if folder.is_dir():
        return folder
    if asset.terms and not accept_terms:
        raise AssetError(
            f"catalog:{name} comes with terms of use:\n{asset.terms}",
            remedy=f"Read them; if you accept them, run `transfuse assets pull {name} --accept-terms`.",
        )
    from transfuse.data import downloads

    downloads.place(asset, progress)
    return folder
