"""Named members out of wheels, zip files and tar archives, also of an archive inside one; nothing else is touched."""

from __future__ import annotations

import contextlib
import fnmatch
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from transfuse.errors import AssetError


def unpack(package: Path, members: Mapping[str, str], folder: Path) -> None:
    """Write the named members into ``folder``, which is made.

    Args:
        package: a .whl, .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz file.
        members: {relative path below ``folder``: path in the package}; ``a.tar.gz!b`` is member b of the archive a,
            and a path with ``*`` all members of a wheel or zip file that fit.

    Raises:
        AssetError: a member is missing or not a plain file, or a path would leave ``folder``.
    """
    for destination, source in members.items():
        inside = PurePosixPath(destination)
        if inside.is_absolute() or ".." in inside.parts or "\\" in destination or ":" in destination:
            raise AssetError(f"{package.name}: the member path '{destination}' leaves the folder it is unpacked into")
        if "*" in source:
            _unpack_fitting(package, source, folder.joinpath(*inside.parts))
            continue
        target = folder.joinpath(*inside.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stream: IO[bytes] = stack.enter_context(package.open("rb"))
            file_name = package.name
            for step in source.split("!"):
                stream = stack.enter_context(_open_member(stream, file_name, step))
                file_name = step
            with target.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)


def _unpack_fitting(package: Path, pattern: str, folder: Path) -> None:
    """All members of a wheel or zip file that fit a pattern, each under its own path below ``folder``."""
    with zipfile.ZipFile(package) as opened:
        fitting = [name for name in opened.namelist() if fnmatch.fnmatchcase(name, pattern)]
        if not fitting:
            raise _no_such(package.name, pattern)
        for name in fitting:
            unpack(package, {name: name}, folder)


def _no_such(file_name: str, member: str) -> AssetError:
    return AssetError(
        f"{file_name} has no file '{member}' inside",
        remedy="Report this: the catalog of this version of transfuse does not fit the package.",
    )


@contextlib.contextmanager
def _open_member(archive: IO[bytes], file_name: str, member: str) -> Iterator[IO[bytes]]:
    """Open ``member`` of the archive, whose kind follows from ``file_name``."""
    missing = _no_such(file_name, member)
    if file_name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as opened:
            if member not in opened.namelist():
                raise missing
            with opened.open(member) as stream:
                yield stream
        return
    with tarfile.open(fileobj=archive) as opened_tar:
        try:
            stream_or_none = opened_tar.extractfile(member)
        except KeyError:
            raise missing from None
        if stream_or_none is None:
            raise missing
        with stream_or_none:
            yield stream_or_none
