"""``transfuse evaluate``: a fitted model's metrics, with intervals, on labelled data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transfuse.cli import terminal

if TYPE_CHECKING:
    from transfuse.data import Examples
    from transfuse.evaluation import Interval
    from transfuse.fitted import Cascade, FittedModel, FittedWriter


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
    from transfuse.study.labelled import label_positions, read_answered, read_labelled

    fit = fitted.load(terminal.model_folder(model))
    task = fit.manifest["task"]
    if not fit.labels:
        examples = read_answered(data, task, label, input)
        expected: Any = fit.task.encode(examples)
        names: Any = fit.task.measured(expected)
    else:
        examples = read_labelled(data, task, tuple(fit.labels), label or task.get("label"), input)
        expected, names = label_positions(examples, tuple(fit.labels)), None
    answers = _answers(fit, examples.texts)
    figures = evaluation.metric_intervals(expected, answers, seed=0, names=names, groups=examples.groups)
    counts = fit.answered if isinstance(fit, fitted.Cascade) else None
    if as_json:
        told = {"data": data, "rows": len(examples), "dropped": examples.dropped}
        told["metrics"] = {name: interval.to_dict() for name, interval in figures.items()}
        print(json.dumps({**told, "answered": counts} if counts else told))
    else:
        _show(data, examples, figures, counts)


def _answers(fit: FittedModel | FittedWriter | Cascade, texts: Sequence[str]) -> Any:
    """Probabilities [N, C] or written answers, object [N]; what a cascade's teacher says here is not for learning."""
    from transfuse import evaluation, fitted
    from transfuse.fitted.kept import VALIDATION

    if isinstance(fit, fitted.Cascade):
        return fit.answer(texts, purpose=VALIDATION).says
    return (
        evaluation.as_answers(fit.predict(texts)) if isinstance(fit, fitted.FittedWriter) else fit.predict_proba(texts)
    )


def _show(
    reference: str, examples: Examples, figures: dict[str, Interval], counts: dict[str, int] | None = None
) -> None:
    from rich.table import Table

    left_out = f", {examples.dropped} in no bin left out" if examples.dropped else ""
    console = terminal.stdout()
    console.print(f"{reference}: {len(examples)} rows{left_out}", soft_wrap=True)
    if counts:
        console.print(f"The teacher answered {counts['teacher']}, of which it was asked {counts['asked']} now.")
    table = Table("metric", "value", "95 % interval", box=None, pad_edge=False)
    for name, interval in figures.items():
        table.add_row(name, f"{interval.value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}")
    console.print(table)
