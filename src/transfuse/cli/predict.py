"""``transfuse predict``: labels for texts, files and pipes."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transfuse.cli import terminal
from transfuse.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from transfuse.data import Table

PREDICTED = "predicted_label"
PROBABILITY = "probability_"
FORMATS = ("csv", "jsonl")


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A fitted model's folder, or that of its run.", show_default=False)
    ],
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts.", show_default=False)] = None,
    input: Annotated[
        Path | None, typer.Option(help="A CSV, TSV, JSONL, Parquet or TXT file.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write here: .csv, .tsv, .jsonl or .parquet.", show_default=False)
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The column of texts.", show_default="that of the model's task")
    ] = None,
    format: Annotated[str, typer.Option(help="What to write to a pipe: csv or jsonl.")] = "csv",
) -> None:
    """Predict labels; rows keep their order, and the columns of a file stay.

    Without TEXT and --input the texts come from the standard input, one a line.

    Example: transfuse predict runs/reviews "Arrived broken."
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format}: unknown", expected=" or ".join(FORMATS))
    if texts and input is not None:
        raise UsageError("TEXT and --input together", expected="one of the two")
    if column is not None and input is None:
        raise UsageError("--column without --input", expected="a file with columns", remedy="Leave out --column.")
    from transfuse import data, fitted

    fit = fitted.load(terminal.model_folder(model))
    table = _table(texts, input)
    wanted = column or (fit.manifest["task"].get("input") if input is not None else None)
    if column is None and wanted not in table.columns:
        wanted = None
    examples = data.to_examples(table, data.Columns(input=wanted))
    if not len(examples):
        raise DataError(f"{table.origin}: no texts", expected="at least one text", remedy="Give TEXT or --input FILE.")
    probabilities = fit.predict_proba(examples.texts)
    added = answers(fit.labels, probabilities)
    if output is not None:
        data.write_table(table, added, output)
        terminal.stderr().print(f"{len(table)} rows: {output}", soft_wrap=True)
    elif sys.stdout.isatty():
        _show(examples.texts, added[PREDICTED], probabilities)
    else:
        _pipe(table, added, format)


def answers(labels: Sequence[str], probabilities: np.ndarray) -> dict[str, list[Any]]:
    """The columns that are added: the label, and the probability of each of the C labels from float [N, C]."""
    added: dict[str, list[Any]] = {PREDICTED: [labels[best] for best in probabilities.argmax(axis=1)]}
    for position, label in enumerate(labels):
        added[f"{PROBABILITY}{label}"] = [round(float(value), 6) for value in probabilities[:, position]]
    return added


def _table(texts: Sequence[str] | None, file: Path | None) -> Table:
    """The texts as a table, from the arguments, a file or the standard input."""
    import numpy as np

    from transfuse import data

    if texts:
        return data.Table({"text": list(texts)}, np.arange(1, len(texts) + 1), "TEXT")
    if file is not None:
        return data.read_table(str(file.absolute()), base=Path())
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "no texts", expected="TEXT, --input FILE, or texts on the standard input, one a line", remedy="Give one."
        )
    try:
        content = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"standard input, line {line}: not UTF-8 text", remedy="Convert it to UTF-8.") from error
    return data.read_lines(io.StringIO(content))


def _show(texts: Sequence[str], labels: Sequence[str], probabilities: np.ndarray) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("label", "probability", "text", box=None, pad_edge=False)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[1].justify = "right"
    for text, label, row in zip(texts, labels, probabilities, strict=True):
        start = Text(" ".join(text[:500].split()), no_wrap=True, overflow="ellipsis")
        table.add_row(label, f"{row.max():.3f}", start)
    terminal.stdout().print(table)


def _pipe(table: Table, added: dict[str, list[Any]], format: str) -> None:
    columns = {**table.columns, **added}
    rows = zip(*columns.values(), strict=True)
    if format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return
    for row in rows:
        sys.stdout.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=str) + "\n")
