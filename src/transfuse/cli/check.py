"""``transfuse check``: what is wrong with data, or with a recipe and its data, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transfuse.cli import terminal
from transfuse.errors import DataError, UsageError

if TYPE_CHECKING:
    from transfuse.data import Finding

COLOURS = {"error": "bold red", "warning": "yellow", "info": "dim"}


def check(
    what: Annotated[
        str, typer.Argument(metavar="RECIPE_OR_DATA", help="A recipe (.yaml), or data.", show_default=False)
    ],
    label: Annotated[str | None, typer.Option(help="The column of labels, for data.", show_default=False)] = None,
    input: Annotated[str | None, typer.Option(help="The column of texts, for data.", show_default=False)] = None,
    lang: Annotated[str | None, typer.Option(help="Language, en or zh.", show_default="that of the locale")] = None,
) -> None:
    """Look for copies across train and test, contradictions, gaps and mistakes; nothing is trained.

    Example: transfuse check examples/reviews.yaml
    """
    if Path(what).suffix.lower() in (".yaml", ".yml"):
        if label is not None or input is not None:
            raise UsageError(
                "--label and --input with a recipe", expected="them in the recipe", remedy="Leave them out."
            )
        findings = _check_recipe(Path(what))
    else:
        findings = _check_data(what, label, input)
    _show(what, findings, terminal.language(lang))
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise DataError(f"{what}: {len(errors)} of these must be mended before a study can use it")


def _check_recipe(path: Path) -> Sequence[Finding]:
    from transfuse.study.recipe import Recipe

    recipe = Recipe.from_file(path)
    from transfuse.study.check import check_recipe

    return check_recipe(recipe)


def _check_data(reference: str, label: str | None, input: str | None) -> Sequence[Finding]:
    from transfuse import data

    examples = data.read(reference, columns=data.Columns(input=input, label=label), base=Path.cwd())
    if label is not None:
        data.require_classes(examples)
    return data.check(examples)


def _show(what: str, findings: Sequence[Finding], lang: str) -> None:
    from rich.text import Text

    console = terminal.stdout()
    if not findings:
        console.print(f"{what}: nothing found." if lang == "en" else f"{what}：没有发现问题。", soft_wrap=True)
    for finding in findings:
        line = Text(f"{finding.level}: ", style=COLOURS.get(finding.level, ""))
        line.append(f"{finding.part}: {finding.said(lang)}", style="not bold")
        console.print(line, soft_wrap=True)
