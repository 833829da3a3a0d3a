"""``transfuse predict``: labels for texts, files and pipes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transfuse.cli import terminal
from transfuse.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from transfuse.data import Table
    from transfuse.fitted import Cascade, FittedModel, FittedWriter

PREDICTED = "predicted_label"
PROBABILITY = "probability_"
FORMATS = ("csv", "jsonl")
TRIED = 128
"""Texts on which --fast tries."""
WORTH = 2000
"""Texts from which on a trial costs less than it can gain."""
TRIED_WRITING, WORTH_WRITING = 16, 256
"""The same where answers are written."""
PART = 8192
"""Rows that are read, predicted and written at a time."""

ANSWER, BY = "predicted_answer", "answered_by"

Added = dict[str, list[Any]]
"""Columns that are added to a table."""
Write = Callable[["Table", Sequence[str], Added], None]
"""Takes a table, its texts, and what is added."""


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
    fast: Annotated[
        bool, typer.Option("--fast", help="Use bf16 or int8 if a trial on the first texts shows it faster and alike.")
    ] = False,
    money: Annotated[
        float | None, typer.Option(min=0, help="Dollars that a remote model may be paid.", show_default=False)
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=0, help="Tokens that it may read and write.", show_default=False)
    ] = None,
) -> None:
    """Predict labels, or write answers; rows keep their order, and the columns of a file stay.

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
    from transfuse.study.labelled import asked_columns

    fit = fitted.load(terminal.model_folder(model))
    if money is not None or tokens is not None:
        _limit(fit, money, tokens)
    done, precision = 0, "fp32"
    columns = data.Columns(input="text")
    with contextlib.ExitStack() as stack:
        write = _writer(output, format, stack)
        for table in _tables(texts, input):
            if not done and input is not None:
                columns = asked_columns(table, fit.manifest["task"], column)
            texts_of = data.to_examples(table, columns).texts
            if isinstance(fit, fitted.Cascade):
                write(table, texts_of, _by_both(fit, texts_of, fast))
                done += len(table)
                continue
            precision = _tried(fit, texts_of) if fast and not done else precision
            if isinstance(fit, fitted.FittedWriter):
                write(table, texts_of, {ANSWER: fit.predict(texts_of, precision=precision)})
            else:
                write(table, texts_of, answers(fit.labels, fit.predict_proba(texts_of, precision=precision)))
            done += len(table)
    if not done:
        raise DataError("standard input: no texts", expected="at least one text", remedy="Give TEXT or --input FILE.")
    if output is not None:
        terminal.stderr().print(f"{done} rows: {output}", soft_wrap=True)


def _limit(fit: FittedModel | FittedWriter | Cascade, money: float | None, tokens: int | None) -> None:
    """Let this call spend so much in all, whatever others have spent."""
    import uuid

    from transfuse.backbones.remote.purse import Purse
    from transfuse.fitted import Cascade
    from transfuse.fitted.remote import limit

    path: Any = fit.teacher.model.path if isinstance(fit, Cascade) else fit.path
    if not limit(path, Purse.of(f"predict {uuid.uuid4()}", money, tokens)):
        raise UsageError(
            "--money and --tokens with a model that asks no service",
            expected="a remote model, or a cascade whose teacher is one",
            remedy="Leave them out: this model costs nothing but seconds.",
        )


def _by_both(cascade: Cascade, texts: Sequence[str], fast: bool) -> Added:
    """The columns that a cascade adds: also which of the two answered each text."""
    if fast:
        raise UsageError(
            "--fast with a cascade",
            expected="the arithmetic that its threshold was chosen in",
            remedy="Leave out --fast.",
        )
    found = cascade.answer(texts)
    added: Added = answers(cascade.labels, found.says) if cascade.labels else {ANSWER: [str(a) for a in found.says]}
    return {**added, BY: ["teacher" if asked else "student" for asked in found.teacher]}


def _tried(fit: FittedModel | FittedWriter, texts: Sequence[str]) -> str:
    """The precision to answer in, by a trial on the first of many texts, and a line that says why."""
    what = "label" if fit.labels else "answer"
    worth, tried = (WORTH, TRIED) if fit.labels else (WORTH_WRITING, TRIED_WRITING)
    if len(texts) < worth:
        told = f"fp32: for {len(texts)} texts a trial would take longer than the answers; it is made from {worth} on"
        terminal.stderr().print(told, soft_wrap=True)
        return "fp32"
    texts = texts[:tried]
    found = fit.fastest(texts)
    told = f"{found.precision}: no other arithmetic is faster and gives the same {what}s here"
    if found.good:
        told = f"{found.precision}: {found.speedup:.1f} times as fast as fp32, the same {what} for "
        told += f"{found.agreement:.1%} of {len(texts)} texts"
    terminal.stderr().print(told, soft_wrap=True)
    return found.precision


def answers(labels: Sequence[str], probabilities: np.ndarray) -> dict[str, list[Any]]:
    """The columns that are added: the label, and the probability of each of the C labels from float [N, C]."""
    added: dict[str, list[Any]] = {PREDICTED: [labels[best] for best in probabilities.argmax(axis=1)]}
    for position, label in enumerate(labels):
        added[f"{PROBABILITY}{label}"] = [round(float(value), 6) for value in probabilities[:, position]]
    return added


def _tables(texts: Sequence[str] | None, file: Path | None) -> Iterator[Table]:
    """The texts as tables of at most `PART` rows, from the arguments, a file or the standard input."""
    import numpy as np

    from transfuse import data

    if texts:
        yield data.Table({"text": list(texts)}, np.arange(1, len(texts) + 1), "TEXT")
    elif file is not None and file.is_file():
        yield from data.read_parts(file, str(file.absolute()), PART)
    elif file is not None:
        yield data.read_table(str(file.absolute()), base=Path())
    elif sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "no texts", expected="TEXT, --input FILE, or texts on the standard input, one a line", remedy="Give one."
        )
    else:
        yield from data.read_lines(_decoded(sys.stdin.buffer), rows=PART)


def _decoded(stream: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"standard input, line {number}: not UTF-8 text", remedy="Convert it to UTF-8.") from error


def _writer(output: Path | None, format: str, stack: contextlib.ExitStack) -> Write:
    """What takes each part of the results: a file, a terminal or a pipe."""
    from transfuse import data

    if output is not None:
        rows: Any = stack.enter_context(data.TableWriter(output))
    elif sys.stdout.isatty():
        return lambda table, texts, added: _show(texts, added)
    else:
        rows = data.CsvRows(sys.stdout) if format == "csv" else data.JsonlRows(sys.stdout)
    return lambda table, texts, added: rows.write(table, added)


def _show(texts: Sequence[str], added: Added) -> None:
    from rich.table import Table
    from rich.text import Text

    if ANSWER in added:
        for answer in added[ANSWER]:
            terminal.stdout().print(Text(answer), soft_wrap=True)
        return
    table = Table("label", "probability", "text", box=None, pad_edge=False)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[1].justify = "right"
    sure = [max(row) for row in zip(*(v for k, v in added.items() if k.startswith(PROBABILITY)), strict=True)]
    said = added.get(BY)
    if said:
        table.add_column("by", no_wrap=True)
    for number, (text, label, probability) in enumerate(zip(texts, added[PREDICTED], sure, strict=True)):
        start = Text(" ".join(text[:500].split()), no_wrap=True, overflow="ellipsis")
        table.add_row(label, f"{probability:.3f}", start, *([said[number]] if said else []))
    terminal.stdout().print(table)
