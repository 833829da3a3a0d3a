"""Labelled rows of a role: what it reads, shown as the team will show it, and what it should say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.data.examples import Examples
from transfuse.data.readers import read_table
from transfuse.data.table import Table
from transfuse.errors import DataError, TeamError, nearest
from transfuse.teams.contract import LABELS, LIST, NUMBER, REQUEST, TEXT, Contract, Kind
from transfuse.teams.message import SAID
from transfuse.teams.safety import shown
from transfuse.teams.traces import Traces


def kinds_of(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The kind of each field that anyone says, the user's text included, as files write them."""
    kinds: dict[str, Any] = {REQUEST: TEXT}
    for output in outputs.values():
        kinds |= {name: kind for name, kind in output.items() if name not in kinds}
    return kinds


def labelled(
    reference: str, base: Path, inputs: Mapping[str, Any], output: Mapping[str, Any], tokenizer: Any
) -> tuple[Examples, Contract]:
    """The rows of a file as a role reads and says them.

    Args:
        reference: the data; relative to ``base``.
        base: a folder.
        inputs: the kind of each field that the role is given, in that order.
        output: the kind of each field that it says; ``labels`` are those of the data.
        tokenizer: of the model that reads.

    Returns:
        texts with answers, and the contract of what is said.

    Raises:
        DataError: a column that is missing, or a row that breaks the contract; file, column and row are named.
    """
    table = read_table(reference, base=base)
    for column in (*inputs, *output):
        if column not in table.columns:
            raise DataError(
                f"{table.origin}: no column '{column}'.{nearest(column, list(table.columns))}",
                expected=f"columns {', '.join((*inputs, *output))}: the fields of the role's input and output",
                remedy="Rename the column, or correct the role's `input` or `output`.",
            )
    contract = Contract.of(
        {name: _labels(table, name) if kind == LABELS else kind for name, kind in output.items()}, where="output"
    )
    texts, answers = [], []
    for i, row in enumerate(table.rows):
        given = {name: _typed(table.columns[name][i], _plain_kind(kind)) for name, kind in inputs.items()}
        said = {name: _typed(table.columns[name][i], kind) for name, kind in contract.fields.items()}
        try:
            answers.append(answer_of(contract, contract.check(said, f"{table.origin}, row {row}")))
            Contract(dict.fromkeys(inputs, TEXT)).check(
                {name: str(value).strip() for name, value in given.items()}, f"{table.origin}, row {row}"
            )
        except TeamError as error:
            raise DataError(error.found, expected=error.expected, remedy="Correct the row, or drop it.") from error
        texts.append(shown(given, tokenizer))
    return Examples(tuple(texts), tuple(answers), rows=table.rows, origin=table.origin), contract


def played(file: Path, role: str, inputs: Sequence[str], contract: Contract, tokenizer: Any) -> Examples:
    """What a teacher said where it played a role, from the traces of its team.

    Args:
        file: of the traces.
        role: its name there and here.
        inputs: the fields that the role is given, in order.
        contract: of what it says.
        tokenizer: of the model that reads.

    Raises:
        DataError: nobody played this role there, or what was said breaks the role's contract.
    """
    if not file.exists():
        raise DataError(f"{file}: there are no traces", expected="a file of traces, relative to the team's file")
    store = Traces(file)
    said = [m for trace in store.search(role=role) for m in trace.messages if m.sender == role and m.outcome == SAID]
    store.close()
    if not said:
        raise DataError(f"{file}: nobody plays the role '{role}'", expected="traces of a team with a role of this name")
    try:
        answers = [answer_of(contract, contract.check(message.content, f"{file}, role '{role}'")) for message in said]
    except TeamError as error:
        raise DataError(error.found, expected=error.expected, remedy="Give both roles one contract.") from error
    texts = [shown({name: m.given[name] for name in inputs if name in m.given}, tokenizer) for m in said]
    return Examples(tuple(texts), tuple(answers), origin=str(file))


def answer_of(contract: Contract, content: Mapping[str, Any]) -> str:
    """A content as a model writes it: a lone text or label as it is, several fields as JSON, texts last."""
    if contract.only is not None:
        return str(content[contract.only])
    order = sorted(contract.fields, key=lambda name: contract.fields[name] in (TEXT, LIST))
    return json.dumps({name: content[name] for name in order}, ensure_ascii=False)


def split(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Two parts, the second of them a share of the rows, drawn by a seed; equal texts stay on one side."""
    texts = list(dict.fromkeys(examples.texts))
    order = np.random.default_rng(seed).permutation(len(texts))
    apart = {texts[i] for i in order[: max(round(share * len(texts)), 1)]}
    held = np.array([text in apart for text in examples.texts])
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))


def _labels(table: Table, column: str) -> list[str]:
    return sorted({str(value).strip() for value in table.columns[column] if value is not None and str(value).strip()})


def _plain_kind(kind: Any) -> Any:
    return TEXT if kind == LABELS or not isinstance(kind, str) else kind


def _typed(value: Any, kind: Kind) -> Any:
    """A cell as a contract takes it: CSV holds nothing but text."""
    if value is None or kind == LIST:
        return "" if value is None else value
    if kind == NUMBER:
        try:
            return float(value)
        except (TypeError, ValueError):
            return value
    return str(value).strip() if isinstance(kind, tuple) else str(value)
