"""Labelled rows for a team: requests, and beside them what its fields should hold, where somebody has written it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfuse import data
from transfuse.errors import DataError, nearest
from transfuse.teams.contract import LIST, NUMBER, REQUEST, TEXT, Kind
from transfuse.teams.team import Team


@dataclasses.dataclass(frozen=True)
class LabelledRows:
    """Requests with expected fields.

    Args:
        requests: N texts.
        fields: of each field that some role says and that has a column: N expected values, empty where unknown.
        rows: where each stands in the file, counted from 1.
        origin: the reference as the user wrote it.
    """

    requests: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    rows: tuple[int, ...]
    origin: str = "memory"

    def __len__(self) -> int:
        return len(self.requests)

    def of(self, team: Team) -> LabelledRows:
        """The same with the fields alone that a team says."""
        kinds = kinds_of(team)
        return dataclasses.replace(self, fields={name: f for name, f in self.fields.items() if name in kinds})


def kinds_of(team: Team) -> dict[str, Kind]:
    """The fields that the roles of a team say, with their types; of two roles the first one's counts."""
    kinds: dict[str, Kind] = {}
    for role in team.roles.values():
        kinds |= {name: kind for name, kind in role.output.fields.items() if name not in kinds}
    return kinds


def read_rows(reference: str, team: Team, input: str | None = None) -> LabelledRows:
    """Read labelled rows: a column of requests, and columns named as the fields of the team.

    Args:
        reference: a file, ``catalog:NAME`` or ``hub:OWNER/NAME``.
        team: whose fields are looked for.
        input: the column of requests; None for ``request`` or the only one that can be meant.

    Raises:
        DataError: no rows, an empty request, no column of any field, or a value that a field cannot have; by row.
    """
    table = data.read_table(reference, base=Path.cwd())
    kinds = kinds_of(team)
    column = input or (REQUEST if REQUEST in table.columns else None)
    others = {name: values for name, values in table.columns.items() if name not in kinds or name == column}
    if column is None and not others:
        raise _no_requests(reference, list(table.columns))
    column = data.choose_input(dataclasses.replace(table, columns=others), data.Columns(input=column))
    known = [name for name in kinds if name in table.columns and name != column]
    if not known:
        raise DataError(
            f"{reference}: none of its columns {_quoted(list(table.columns))} is a field of the team",
            expected=f"a column named as a field that a role says: {_quoted(list(kinds))}",
            remedy="Rename the column that holds the right answers.",
        )
    if not len(table):
        raise DataError(f"{reference}: no rows", expected="at least one labelled row")
    requests = tuple("" if value is None else str(value) for value in table.columns[column])
    for row, request in zip(table.rows, requests, strict=True):
        if not request.strip():
            raise DataError(f"{reference}, row {row}, column '{column}': empty", expected="a request in every row")
    rows = tuple(int(row) for row in table.rows)
    fields = {name: _values(table.columns[name], name, kinds[name], rows, reference) for name in known}
    return LabelledRows(requests, fields, rows, reference)


def _no_requests(reference: str, columns: list[str]) -> DataError:
    return DataError(
        f"{reference}: which column holds the requests?",
        expected=f"a column '{REQUEST}', or one that is no field of the team; found {_quoted(columns)}",
        remedy="Name it with --input COLUMN.",
    )


def _values(values: list[Any], name: str, kind: Kind, rows: tuple[int, ...], origin: str) -> tuple[str, ...]:
    """A column as texts; labels that the field cannot have are refused, since they are mostly typing errors."""
    texts = tuple("" if value is None else str(value).strip() for value in values)
    for row, text in zip(rows, texts, strict=True):
        if text and isinstance(kind, tuple) and text not in kind:
            raise DataError(
                f"{origin}, row {row}, column '{name}': found '{text:.60}'.{nearest(text, list(kind))}",
                expected=f"one of {', '.join(kind)}, or nothing where it is not known",
                remedy="Correct the row, or add the label to the role's output.",
            )
        if text and kind == NUMBER:
            try:
                float(text)
            except ValueError:
                raise DataError(
                    f"{origin}, row {row}, column '{name}': found '{text:.60}'", expected="a number"
                ) from None
    if not any(texts):
        raise DataError(f"{origin}, column '{name}': empty in every row", remedy="Fill it in, or drop the column.")
    return texts


def value_as_text(value: Any, kind: Kind) -> str:
    """What a role said, as a column would hold it."""
    if kind == LIST and isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)


def main_field(rows: LabelledRows, team: Team, asked: str | None = None) -> str:
    """The field by which the team is judged: the one asked for, or the only text, or else the only field.

    Raises:
        DataError: a field without a column, or several that could be meant.
    """
    if asked is not None and asked not in rows.fields:
        close = nearest(asked, list(rows.fields))
        raise DataError(
            f"{rows.origin}: no column of the field '{asked}'.{close}", expected=f"one of {_quoted(list(rows.fields))}"
        )
    if asked is not None:
        return asked
    kinds = kinds_of(team)
    for names in ([name for name in rows.fields if kinds[name] == TEXT], list(rows.fields)):
        if len(names) == 1:
            return names[0]
        if names:
            break
    raise DataError(
        f"{rows.origin}: which field is the team's answer?",
        expected=f"one of {_quoted(names)}",
        remedy="Name it with --field FIELD.",
    )


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
