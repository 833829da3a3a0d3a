"""Activations on disk: arrays by key, memory-mapped, checked, and bounded in all."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from transfuse.data import cache_root
from transfuse.errors import UsageError

MARK = b"tfa1"
"""Ends every file, after the checksum of its data."""
LIMIT = "TRANSFUSE_ACTIVATIONS_GIB"
"""The variable of the environment that bounds the store of a user."""
PART = 1 << 24
"""Bytes of a checksum that are read at a time."""


def activations() -> Store | None:
    """The store of this user: below the cache folder, at most TRANSFUSE_ACTIVATIONS_GIB (8) in all; None for 0.

    Raises:
        UsageError: the variable holds something that is no number of GiB.
    """
    asked = os.environ.get(LIMIT, "8")
    try:
        gib = float(asked)
        if not 0 <= gib < math.inf:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"{LIMIT}={asked}",
            expected="GiB of disk for activations, as 8 or 0.5; 0 keeps none",
            remedy=f"Set {LIMIT} to a number, or unset it for 8.",
        ) from None
    return Store(cache_root() / "activations", int(gib * 2**30)) if gib > 0 else None


class Store:
    """Arrays that can be computed again, kept under a limit of bytes; safe for several processes at once.

    A file appears whole or not at all, and says by a checksum whether it is still what was written. What does not fit
    any more goes, the longest unused first; a process that has it mapped keeps it until it lets go.

    Args:
        folder: where the files are; made when the first is written.
        limit: bytes of all files together.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def get(self, key: str) -> np.ndarray | None:
        """The array of a key, mapped from disk and not read yet; None where there is none, or a damaged one."""
        path = self._path(key)
        try:
            array: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
            with path.open("rb") as file:
                file.seek(-len(MARK) - 4, os.SEEK_END)
                kept = file.read()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            kept, array = b"", np.empty(0)
        if kept != _checksum(array) + MARK:
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return array

    def put(self, key: str, array: np.ndarray) -> np.ndarray:
        """Keep an array and give it back mapped; it stays in memory where it does not fit or cannot be written."""
        if array.nbytes > self.limit:
            return array
        path = self._path(key)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(array.nbytes)
            with scratch.open("wb") as file:
                _write(file, array)
            scratch.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
            return array
        mapped = self.get(key)
        return array if mapped is None else mapped

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.npy"

    def _make_room(self, needed: int) -> None:
        """Remove the longest unused files until ``needed`` more bytes fit."""
        found = []
        for path in self.folder.glob("*.npy"):
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                about = path.stat()
                found.append((about.st_mtime_ns, about.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total + needed <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= size


def _write(file: IO[bytes], array: np.ndarray) -> None:
    np.save(file, array, allow_pickle=False)
    file.write(_checksum(array) + MARK)


def _checksum(array: np.ndarray) -> bytes:
    """CRC-32 of an array's bytes."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    value = 0
    for start in range(0, len(flat), PART):
        value = zlib.crc32(flat[start : start + PART].tobytes(), value)
    return value.to_bytes(4, "big")
