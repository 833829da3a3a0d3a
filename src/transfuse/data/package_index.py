"""The package index that the user's pip is configured for: where it is, and which of its files is wanted.

pip's own answer to ``pip config list`` is read, so config files and ``PIP_*`` variables both count. The default
index is the one that the library `unearth` knows; no host is named here.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import logging
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Sections of pip's configuration, the strongest last.
_SECTIONS = ("global", "install", "download", ":env:")


@dataclasses.dataclass(frozen=True)
class IndexSettings:
    """Where pip would look for packages, and how it would connect.

    Args:
        index_urls: the index and the extra indexes, in pip's order; empty where ``no-index`` is set.
        find_links: folders, files or pages with links to packages.
        trusted_hosts: hosts whose certificate is not checked.
        proxy, cert, client_cert: as pip's options of the same names, or None.
        timeout: seconds to wait for a connection or for data.
    """

    index_urls: tuple[str, ...]
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    proxy: str | None = None
    cert: str | None = None
    client_cert: str | None = None
    timeout: float = 30.0

    def sources(self) -> list[tuple[str, str]]:
        """``(kind, url)`` of every place to look, kind "index" or "find_links"; those on this disk come first."""
        places = [("index", url) for url in self.index_urls] + [("find_links", url) for url in self.find_links]
        return sorted(places, key=lambda place: "://" in place[1] and not place[1].startswith("file:"))


def pip_options() -> dict[str, str]:
    """pip's configuration as ``{option: value}``, e.g. ``{"index-url": ...}``; variables win over files."""
    for command in ([sys.executable, "-m", "pip"], [shutil.which("pip") or ""]):
        if not command[0]:
            continue
        done = subprocess.run(
            [*command, "config", "list"], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        if done.returncode == 0:
            return _parse_config(done.stdout)
    return {name[4:].lower().replace("_", "-"): value for name, value in os.environ.items() if name.startswith("PIP_")}


def _parse_config(listing: str) -> dict[str, str]:
    """Read the lines ``section.option='value'`` of ``pip config list``."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if section in found and value:
            found[section][option] = str(ast.literal_eval(value))
    merged: dict[str, str] = {}
    for section in _SECTIONS:
        merged.update(found[section])
    return merged


def read_settings() -> IndexSettings:
    """The settings that pip would use now."""
    options = pip_options()
    indexes: list[str] = []
    if options.get("no-index", "").lower() not in {"1", "true", "yes", "on"}:
        indexes = [options.get("index-url") or _default_index(), *options.get("extra-index-url", "").split()]
    return IndexSettings(
        index_urls=tuple(indexes),
        find_links=tuple(options.get("find-links", "").split()),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        proxy=options.get("proxy") or None,
        cert=options.get("cert") or None,
        client_cert=options.get("client-cert") or None,
        timeout=float(options.get("timeout") or options.get("default-timeout") or 30.0),
    )


@functools.cache
def _default_index() -> str:
    from unearth import PackageFinder

    return str(PackageFinder().sources[0]["url"])


def connect(settings: IndexSettings) -> Any:
    """An HTTP client with pip's proxy, certificate, trusted hosts and credentials (netrc, keyring or in the URL)."""
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    client = PyPIClient(
        trusted_hosts=settings.trusted_hosts,
        verify=ssl.create_default_context(cafile=settings.cert) if settings.cert else True,
        cert=settings.client_cert,
        proxy=settings.proxy,
        timeout=settings.timeout,
        follow_redirects=True,
    )
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=list(settings.index_urls))
    return client


def find_links_to(package: str, file: str, settings: IndexSettings, client: Any, failures: list[str]) -> Iterator[Any]:
    """Yield a link (`unearth.link.Link`) to ``file`` of ``package`` from every source that has it.

    Args:
        package: the project's name on the index.
        file: the exact name of the wheel or source package.
        failures: receives one short line for each source that could not be asked or has no such file.
    """
    from unearth import PackageFinder

    logging.getLogger("unearth").setLevel(logging.ERROR)
    for kind, url in settings.sources():
        finder = PackageFinder(
            session=client,
            index_urls=[url] if kind == "index" else [],
            find_links=[url] if kind == "find_links" else [],
            ignore_compatibility=True,
        )
        place = _without_password(url)
        try:
            found = [p.link for p in finder.find_all_packages(package, allow_yanked=True) if p.link.filename == file]
        except Exception as error:  # noqa: BLE001 - any failure of one source leaves the others to ask
            failures.append(f"{place}: {type(error).__name__}: {error}".rstrip(": "))
            continue
        if not found:
            failures.append(f"{place}: has no {file}, or did not answer")
        yield from found[:1]


def _without_password(url: str) -> str:
    """The URL or path with any ``user:password@`` left out."""
    if "://" not in url:
        return str(Path(url))
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
