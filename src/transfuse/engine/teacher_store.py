"""A teacher's kept outputs on disk: asked once, in parts that appear whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from transfuse.engine.store import Store
from transfuse.engine.topk import TEMPERATURES, TopK
from transfuse.errors import DataError, OutputError

PART_TOKENS = 1 << 14
"""Tokens of a part: what a kill loses at most."""
UNBOUNDED = 1 << 62


def fingerprint(
    teacher: str, form: str, rows: Iterable[object], k: int, temperatures: Sequence[float] = TEMPERATURES
) -> str:
    """The name of one teacher's outputs on one set of rows; anything else has another.

    Args:
        teacher: says all that its logits depend on: weights, precision, versions.
        form: how it was shown what it read.
        rows: texts or rows of token ids, in order.
        k, temperatures: as of `TopK`.
    """
    digest = hashlib.sha256(json.dumps([teacher, form, k, [float(one) for one in temperatures]]).encode())
    for row in rows:
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def record(
    k: int, vocabulary: int, temperatures: Sequence[float] = TEMPERATURES, beside: bool = False
) -> np.dtype[np.void]:
    """What is kept of one token: ids in two bytes where the vocabulary allows it, all else in float32."""
    ids = np.uint16 if vocabulary <= 1 << 16 else np.uint32
    k = min(k, vocabulary)
    fields = [("ids", ids, (k,)), ("logits", np.float32, (k,)), ("rest", np.float32, (len(temperatures),))]
    return np.dtype([*fields, ("beside", np.float32)] if beside else fields)


def bytes_per_token(k: int, vocabulary: int, temperatures: Sequence[float] = TEMPERATURES) -> int:
    """Bytes on disk a token: 396 for 64 of up to 65,536 tokens at three temperatures, 524 for more."""
    return record(k, vocabulary, temperatures).itemsize


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows that are computed and written together.

    Args:
        first, stop: positions of the rows, the last not included.
        tokens: of all of them.
    """

    first: int
    stop: int
    tokens: int

    @property
    def rows(self) -> range:
        """Positions of the rows."""
        return range(self.first, self.stop)


class TeacherOutputs:
    """Ragged rows of `TopK` on disk: of N texts, each with as many distributions as tokens are learnt of it.

        outputs = TeacherOutputs(folder, fingerprint(...), lengths, k=64, vocabulary=49152)
        for part in outputs.missing():
            outputs.write_part(part, TopK.of(logits of part.rows, one row's after another))
        teacher, starts = outputs.rows([3, 0, 7])

    A part is one file with a checksum (see `Store`): a kill loses the part that was being computed, and a damaged file
    is removed when it is first looked at, so that its part is missing.

    Args:
        folder: of all teachers' outputs; those of this key are in a folder of their own in it.
        key: a `fingerprint`.
        lengths: int [N], distributions of each row.
        k, vocabulary, temperatures: as of `TopK`.
        part_tokens: tokens of a part; a row is never cut.
        beside: whether a number is kept beside each distribution.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        lengths: Sequence[int] | np.ndarray,
        *,
        k: int = 64,
        vocabulary: int,
        temperatures: Sequence[float] = TEMPERATURES,
        part_tokens: int = PART_TOKENS,
        beside: bool = False,
    ) -> None:
        self.folder, self.key = folder / key[:16], key
        self.k, self.vocabulary, self.temperatures = k, vocabulary, tuple(map(float, temperatures))
        self._kind = record(k, vocabulary, temperatures, beside)
        self.starts = np.cumsum([0, *lengths], dtype=np.int64)
        self.parts = _parts(self.starts, part_tokens)
        self._of = np.repeat(np.arange(len(self.parts)), [len(part.rows) for part in self.parts])
        self._store = Store(self.folder, UNBOUNDED)
        self._mapped: dict[Part, np.ndarray] = {}

    def missing(self, positions: Sequence[int] | np.ndarray | None = None) -> list[Part]:
        """The parts that are not there, or damaged: of all rows, or of those that hold some of them.

        Cost: reads every file once in the life of this object.
        """
        wanted = range(len(self.parts)) if positions is None else np.unique(self._of[np.asarray(positions, np.int64)])
        return [self.parts[at] for at in wanted if self._get(self.parts[at]) is None]

    def write_part(self, part: Part, outputs: TopK, beside: torch.Tensor | None = None) -> None:
        """Keep a part.

        Args:
            part: one of `missing`.
            outputs: of its rows, one after another.
            beside: float [part.tokens], where a number is kept beside each.

        Raises:
            DataError: they are not the part's.
            OutputError: the disk does not take them.
        """
        found = (len(outputs), outputs.ids.shape[1], outputs.vocabulary, outputs.temperatures)
        wanted = (part.tokens, min(self.k, self.vocabulary), self.vocabulary, self.temperatures)
        if found != wanted:
            raise DataError(
                f"teacher's outputs of rows {part.first} to {part.stop - 1}: (tokens, k, vocabulary, temperatures) are "
                f"{found}",
                expected=str(wanted),
                remedy="Compute exactly the part's rows, with the settings that the outputs were opened with.",
            )
        records = np.empty(part.tokens, dtype=self._kind)
        for name in ("ids", "logits", "rest"):
            records[name] = getattr(outputs, name).cpu().numpy()
        if beside is not None:
            records["beside"] = beside.cpu().numpy()
        kept = self._store.put(self._name(part), records)
        if not isinstance(kept, np.memmap):
            raise OutputError(
                f"{self.folder}: the teacher's outputs cannot be written",
                expected=f"{records.nbytes:,} bytes of room, and the right to write",
                remedy="Make room or choose another folder; the parts that are there stay.",
            )
        self._mapped[part] = kept

    def rows(self, positions: Sequence[int] | np.ndarray) -> tuple[TopK, np.ndarray]:
        """The outputs of some rows, one after another, with int64 [rows + 1], where each begins.

        Raises:
            DataError: a row whose part is missing.
        """
        records, starts = self._records(positions)
        ids, logits, rest = (torch.from_numpy(records[name].astype(kind)) for name, kind in _READ)
        return TopK(ids, logits, rest, self.temperatures, self.vocabulary), starts

    def beside(self, positions: Sequence[int] | np.ndarray) -> torch.Tensor:
        """The numbers beside the outputs of some rows, one after another, float32; raises as `rows`."""
        return torch.from_numpy(self._records(positions)[0]["beside"].astype(np.float32))

    def _records(self, positions: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        taken = [self._row(int(position)) for position in positions]
        starts: np.ndarray = np.cumsum([0, *(len(one) for one in taken)], dtype=np.int64)
        return np.concatenate([np.empty(0, dtype=self._kind), *taken]), starts

    def _row(self, position: int) -> np.ndarray:
        part = self.parts[int(self._of[position])]
        records = self._get(part)
        if records is None:
            raise DataError(
                f"row {position}: its teacher's outputs are not there",
                expected=f"rows {part.first} to {part.stop - 1} in {self.folder}",
                remedy="Compute the parts that `missing` names before reading.",
            )
        before = self.starts[part.first]
        row: np.ndarray = records[self.starts[position] - before : self.starts[position + 1] - before]
        return row

    def _get(self, part: Part) -> np.ndarray | None:
        if part not in self._mapped:
            found = self._store.get(self._name(part))
            if found is None:
                return None
            self._mapped[part] = found
        return self._mapped[part]

    def _name(self, part: Part) -> str:
        settings = (self.k, self.vocabulary, self.temperatures)
        name = repr((self.key, settings, part.first, part.stop, part.tokens))
        return f"{name} beside" if "beside" in (self._kind.names or ()) else name


_READ = (("ids", np.int64), ("logits", np.float32), ("rest", np.float32))


def _parts(starts: np.ndarray, most: int) -> list[Part]:
    """Rows in order, in parts of ``most`` tokens or one row."""
    parts, first = [], 0
    while first < len(starts) - 1:
        fits = int(np.searchsorted(starts, starts[first] + most, side="right")) - 1
        stop = max(fits, first + 1)
        parts.append(Part(first, stop, int(starts[stop] - starts[first])))
        first = stop
    return parts
