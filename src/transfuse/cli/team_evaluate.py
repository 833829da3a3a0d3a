"""``transfuse team evaluate``: a team on labelled rows, beside baselines, with what its parts are worth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transfuse.cli import terminal
from transfuse.errors import UsageError

if TYPE_CHECKING:
    from transfuse.fitted import FittedModel
    from transfuse.teams import Team
    from transfuse.teams.evaluation import Note
    from transfuse.teams.labelled import LabelledRows

PAGE, FIGURES, TRACES = "report.html", "report.json", "traces"
OWN = ("team", "untrained", "lookup")
"""Names that no baseline of the user's can have."""


def evaluate(
    team: Annotated[Path, typer.Argument(metavar="TEAM", help="A team, a YAML file.", show_default=False)],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Labelled rows: a column of requests, others named as fields.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the report and the traces.", show_default=False)],
    baseline: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="A fitted model that answers alone; may be repeated.", show_default=False),
    ] = None,
    train: Annotated[
        str | None, typer.Option(help="Other labelled rows: the nearest known answer.", show_default=False)
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(help="A classifier that no role uses: do the texts fit their rows?", show_default=False),
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="The field that is the team's answer.", show_default="the only text")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Its score by which teams are compared.", show_default="accuracy or chrf")
    ] = None,
    input: Annotated[str | None, typer.Option(help="The column of requests.", show_default="request")] = None,
    credit: Annotated[bool, typer.Option(help="Whether roles are swapped and fields dropped.")] = True,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
    lang: Annotated[str | None, typer.Option(help="Language, en or zh.", show_default="that of the locale")] = None,
) -> None:
    """Measure a team on labelled rows, beside single models and its own roles untrained.

    Each trained role is swapped for its untrained self, and each field that roles pass on is dropped, for what it is
    worth. What was answered is in the traces: the same command goes on where it stopped.

    Example: transfuse team evaluate team.yaml test.csv --baseline runs/write --out runs/desk
    """
    from transfuse.report.html import write_page
    from transfuse.report.team_page import write_team
    from transfuse.teams.baselines import lookup, one_model, untrained_roles
    from transfuse.teams.building import build
    from transfuse.teams.evaluation import evaluate as measure
    from transfuse.teams.labelled import kinds_of, main_field, read_rows
    from transfuse.teams.recipe import TeamRecipe

    language = terminal.language(lang)
    recipe = TeamRecipe.from_file(team)
    made = build(recipe)
    rows = read_rows(data, made, input)
    answer = main_field(rows, made, field)
    kind = kinds_of(made)[answer]
    others: dict[str, Team] = {}
    for reference in baseline or []:
        name = f"./{reference}" if reference in OWN else reference
        others[name] = one_model(str(reference), answer, kind, made)
    if train is not None:
        others["lookup"] = lookup(read_rows(train, made, input), rows, answer, kind, made)
    untrained, without = untrained_roles(made, recipe)
    with _progress() as note:
        report = measure(
            made,
            rows,
            baselines=others,
            untrained=untrained,
            without=without,
            field=answer,
            metric=metric,
            judge=None if judge is None else _judge(judge, made, rows),
            credit=credit,
            folder=out / TRACES,
            seed=seed,
            note=note,
        )
    write_page(json.dumps(report, ensure_ascii=False, indent=1) + "\n", out / FIGURES)
    _show(report, language)
    page = write_team(report, out / PAGE, language)
    terminal.stdout().print(f"{out / FIGURES}, {page}", soft_wrap=True)


def _judge(place: Path, team: Team, rows: LabelledRows) -> FittedModel:
    """The held-out classifier.

    Raises:
        UsageError: no classifier, or one that answers in the team.
    """
    from transfuse import fitted
    from transfuse.teams.outcome_scores import refuse_a_judge_of_the_team

    model = fitted.load(terminal.model_folder(place))
    if not isinstance(model, fitted.FittedModel):
        raise UsageError(
            f"--judge {place}: a model of method '{model.manifest['method']}' chooses no label",
            expected="a fitted classifier",
        )
    refuse_a_judge_of_the_team(model, team, str(place))
    return model


@contextmanager
def _progress() -> Iterator[Note]:
    """A line that says who is asked; it is gone at the end."""
    console = terminal.stderr()
    if not console.is_terminal:
        yield lambda name, done, of: None
        return
    with console.status("") as status:
        yield lambda name, done, of: status.update(f"{name}: {done} / {of}")


def _show(report: Mapping[str, Any], lang: str) -> None:
    from rich.table import Table

    from transfuse.report.team_page import board, heads, note, verdicts, worths

    console = terminal.stdout()
    console.print(note(report, lang))
    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(heads(report, lang)):
        table.add_column(head, justify="left" if place in (0, 4) else "right", overflow="fold", no_wrap=place > 0)
    for row in board(report, lang):
        table.add_row(*row)
    console.print(table)
    for line in [*verdicts(report, lang), *worths(report, lang)]:
        console.print(line)
