"""``transfuse run``: compare, choose, save."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transfuse.cli import terminal
from transfuse.cli.progress import progress_on

if TYPE_CHECKING:
    from transfuse.study.recipe import Recipe


def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, a YAML file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="runs/NAME of the recipe")
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="Language of the report, en or zh.", show_default="that of the locale")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start again; what is in the folder is kept as FOLDER.1.")
    ] = False,
    curve: Annotated[
        bool, typer.Option("--curve", help="Also fit on fewer and more labels: how many the transfer is worth.")
    ] = False,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Compute what does not change once, or each time (slow).")
    ] = True,
) -> None:
    """Compare the transfers of a recipe, choose one, save the model and the report.

    Stopped at any moment, the same command goes on where it stopped.

    Example: transfuse run examples/reviews.yaml --out runs/reviews
    """
    from transfuse.study.recipe import Recipe

    language = terminal.language(lang)
    read = Recipe.from_file(recipe)
    folder = out or default_folder(read.name)
    if fresh:
        set_aside(folder)
    from transfuse import report
    from transfuse.study.run import run as run_study

    with progress_on(terminal.stderr(), language) as progress:
        found = run_study(read, out=folder, lang=language, progress=progress, keep=cache).report
    page = folder / "report.html"
    report.write_html(found, page, language)
    console = terminal.stdout()
    report.print_summary(found, language, console)
    words = {"en": ("Report", "Model", "Try it"), "zh": ("报告", "模型", "试用")}[language]
    example = f"transfuse predict {folder / 'model'} --input FILE"
    for word, value in zip(words, (page, folder / "model", example), strict=True):
        console.print(f"{word}: {value}", soft_wrap=True)
    if curve and "curve" not in found:
        _add_curve(read, folder, language)


def _add_curve(recipe: Recipe, folder: Path, language: str) -> None:
    """Draw the curve into a page that is there already, and say what it says."""
    from transfuse import report
    from transfuse.study.curve import add_curve

    with progress_on(terminal.stderr(), language) as progress:
        found = add_curve(recipe, folder, lang=language, progress=progress)
    report.write_html(found, folder / "report.html", language)
    for sentence in report.about_curve(found, language):
        terminal.stdout().print(sentence, soft_wrap=True)


def default_folder(name: str) -> Path:
    """``runs/NAME``, with what no file name should hold replaced."""
    return Path("runs") / (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "study")


def set_aside(folder: Path) -> None:
    """Rename a folder of results to the first free of FOLDER.1, FOLDER.2, ...; nothing is deleted."""
    if not folder.exists():
        return
    number = 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(kept)
    terminal.stderr().print(f"Kept the former results as {kept}.", soft_wrap=True)
