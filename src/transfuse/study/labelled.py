"""Labelled data for a model that is there already: the columns and bins of its task, its labels, its answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from transfuse import data
from transfuse.data import Examples
from transfuse.data.shapes import shape_of
from transfuse.errors import DataError, UsageError, nearest
from transfuse.tasks.writing import KINDS


def read_labelled(
    reference: str, task: dict[str, Any], labels: tuple[str, ...], label: str | None, input: str | None
) -> Examples:
    """Labelled examples; the bins of the model's task apply unless the column holds the model's labels already."""
    if label is None:
        raise UsageError("which column holds the labels?", remedy="Name it with --label COLUMN.")
    table = data.read_table(reference, base=Path.cwd())
    column = input or (task.get("input") if task.get("input") in table.columns else None)
    bins = task.get("bins")
    if bins and {str(value).strip() for value in table.columns.get(label, ())} <= set(labels):
        bins = None
    return data.to_examples(table, data.Columns(input=column, label=label, bins=bins, group=_group(table, task)))


def read_answered(
    reference: str, task: dict[str, Any], label: str | None, input: str | None, *, judges: bool = True
) -> Examples:
    """Requests with their answers; columns that are not there are known by their usual names, as in a recipe.

    Args:
        reference: the data.
        task: of the model's manifest.
        label, input: columns that the user names.
        judges: whether answers are judged by these rows: programs then need their tests.
    """
    table = data.read_table(reference, base=Path.cwd())

    given, replied, context = _written(table, task, input, label, answered=True)
    columns = data.Columns(given, replied, group=_group(table, task), written=True, context=context)
    if judges and task.get("runs"):
        columns = dataclasses.replace(columns, tests=task.get("tests"), entry=task.get("entry"))
    return data.to_examples(table, columns)


def read_texts(reference: str, task: dict[str, Any], input: str | None) -> tuple[str, ...]:
    """Texts without labels, in the column of a model's task where the data have it, else in the likeliest."""
    table = data.read_table(reference, base=Path.cwd())
    return data.to_examples(table, asked_columns(table, task, input)).texts


def asked_columns(table: data.Table, task: dict[str, Any], input: str | None) -> data.Columns:
    """The columns of what a model is asked: those of its task where the table has them, else the likeliest.

    Args:
        table: without labels, or with some that are left alone.
        task: of the model's manifest.
        input: the column of texts that the user names.

    Raises:
        DataError: no column can be meant, or several; or the passages of questions are not there.
    """
    if task.get("kind") in KINDS:
        return data.choose_asked(table, *_written(table, task, input, None, answered=False))
    usual = task.get("input") if task.get("input") in table.columns else None
    return data.Columns(input=data.choose_input(table, data.Columns(input=input or usual)))


def _group(table: data.Table, task: dict[str, Any]) -> str | None:
    """The column of groups that a model's task names, where the table has it."""
    return task.get("group") if task.get("group") in table.columns else None


def _written(
    table: data.Table, task: dict[str, Any], input: str | None, label: str | None, *, answered: bool
) -> tuple[str | None, str | None, str | None]:
    """The columns of requests, answers and passages: those that the user names, then those of a model's task.

    One that is not there is left to the table's shape, or to its usual name; a passage has none.
    """

    def known(asked: str | None, key: str) -> str | None:
        return asked or (task.get(key) if task.get(key) in table.columns else None)

    context = task.get("context")
    if context is None or context in table.columns:
        return known(input, "input"), known(label, "label"), context
    if input is None and label is None and shape_of(table.columns, answered) is not None:
        return None, None, None
    raise DataError(
        f"{table.origin}: no column '{context}' of the passages that questions are about."
        f"{nearest(context, list(table.columns))}",
        expected="one of the columns " + ", ".join(f"'{name}'" for name in table.columns),
        remedy=f"Add the passages, or give their column the name '{context}'.",
    )


def label_positions(examples: Examples, labels: tuple[str, ...]) -> np.ndarray:
    """int64 [N]: the position of each example's label among the model's.

    Raises:
        DataError: no examples, or a label that the model does not know.
    """
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
