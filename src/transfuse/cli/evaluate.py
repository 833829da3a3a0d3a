"""``transfuse evaluate``: a fitted model's metrics, with intervals, on labelled data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transfuse.cli import terminal
from transfuse.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    import numpy as np

    from transfuse.data import Examples
    from transfuse.evaluation import Interval


def evaluate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A fitted model's folder, or that of its run.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Labelled data: a file, catalog:NAME or hub:OWNER/NAME.", show_default=False
        ),
    ],
    label: Annotated[
        str | None, typer.Option(help="The column of labels.", show_default="that of the model's task")
    ] = None,
    input: Annotated[
        str | None, typer.Option(help="The column of texts.", show_default="that of the model's task")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a fitted model on labelled data: each metric with its 95 % interval.

    Example: transfuse evaluate runs/reviews labelled.csv --label rating
    """
    from transfuse import evaluation, fitted

    fit = fitted.load(terminal.model_folder(model))
    task = fit.manifest["task"]
    if isinstance(fit, fitted.FittedWriter):
        examples = read_answered(data, task, label, input)
        answers = evaluation.as_answers(fit.predict(examples.texts))
        figures = evaluation.metric_intervals(fit.task.encode(examples), answers, seed=0, names=fit.task.metrics)
    else:
        examples = read_labelled(data, task, tuple(fit.labels), label or task.get("label"), input)
        positions = label_positions(examples, tuple(fit.labels))
        figures = evaluation.metric_intervals(positions, fit.predict_proba(examples.texts), seed=0)
    if as_json:
        metrics = {name: interval.to_dict() for name, interval in figures.items()}
        print(json.dumps({"data": data, "rows": len(examples), "dropped": examples.dropped, "metrics": metrics}))
    else:
        _show(data, examples, figures)


def read_labelled(
    reference: str, task: dict[str, Any], labels: tuple[str, ...], label: str | None, input: str | None
) -> Examples:
    """Labelled examples; the bins of the model's task apply unless the column holds the model's labels already."""
    from transfuse import data

    if label is None:
        raise UsageError("which column holds the labels?", remedy="Name it with --label COLUMN.")
    table = data.read_table(reference, base=Path.cwd())
    column = input or (task.get("input") if task.get("input") in table.columns else None)
    bins = task.get("bins")
    if bins and {str(value).strip() for value in table.columns.get(label, ())} <= set(labels):
        bins = None
    return data.to_examples(table, data.Columns(input=column, label=label, bins=bins))


def read_answered(reference: str, task: dict[str, Any], label: str | None, input: str | None) -> Examples:
    """Requests with their answers; columns that are not there are known by their usual names, as in a recipe."""
    from transfuse import data

    table = data.read_table(reference, base=Path.cwd())

    def known(asked: str | None, key: str) -> str | None:
        return asked or (task.get(key) if task.get(key) in table.columns else None)

    context = known(None, "context")
    columns = data.Columns(known(input, "input"), known(label, "label"), written=True, context=context)
    return data.to_examples(table, columns)


def label_positions(examples: Examples, labels: tuple[str, ...]) -> np.ndarray:
    """int64 [N]: the position of each example's label among the model's.

    Raises:
        DataError: no examples, or a label that the model does not know.
    """
    import numpy as np

    if not len(examples) or examples.labels is None:
        raise DataError(f"{examples.origin}: no labelled rows", expected="at least one row with a label")
    place = {label: position for position, label in enumerate(labels)}
    for position, label in enumerate(examples.labels):
        if label not in place:
            row = int(examples.rows[position]) if examples.rows is not None else position + 1
            raise DataError(
                f"{examples.origin}, row {row}: the model does not know the label '{label}'.{nearest(label, labels)}",
                expected="one of " + ", ".join(labels[:20]),
                remedy="Name the right column with --label, or correct the label.",
            )
    return np.array([place[label] for label in examples.labels], dtype=np.int64)


def _show(reference: str, examples: Examples, figures: dict[str, Interval]) -> None:
    from rich.table import Table

    left_out = f", {examples.dropped} in no bin left out" if examples.dropped else ""
    console = terminal.stdout()
    console.print(f"{reference}: {len(examples)} rows{left_out}", soft_wrap=True)
    table = Table("metric", "value", "95 % interval", box=None, pad_edge=False)
    for name, interval in figures.items():
        table.add_row(name, f"{interval.value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}")
    console.print(table)
