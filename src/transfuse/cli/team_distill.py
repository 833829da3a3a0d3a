"""``transfuse team distill``: one fitted model out of what a team answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transfuse.cli import terminal
from transfuse.errors import UsageError


def distill(
    team: Annotated[Path, typer.Argument(metavar="TEAM", help="A team, a YAML file.", show_default=False)],
    requests: Annotated[
        str, typer.Argument(metavar="REQUESTS", help="A file with a column `request`.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the model and the traces.", show_default=False)],
    backbone: Annotated[str | None, typer.Option(help="Of the model, a reference.", show_default="the team's")] = None,
    method: Annotated[
        str | None, typer.Option(help="How it learns.", show_default="lora; probe where the answer is a label")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the answers.", show_default="the method's")
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="The field that is the team's answer.", show_default="the only text")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
) -> None:
    """Ask a team about requests, and train one model on its answers.

    What the team refused is left out. What was asked is in the traces: the same command goes on where it stopped.
    Compare the two on other rows with `transfuse team evaluate TEAM ROWS --baseline OUT`.

    Example: transfuse team distill runs/desk/team.yaml requests.csv --out runs/one
    """
    from transfuse.teams.building import build
    from transfuse.teams.distilling import RECORD
    from transfuse.teams.distilling import distill as train
    from transfuse.teams.learning import Asked
    from transfuse.teams.recipe import TeamRecipe

    recipe = TeamRecipe.from_file(team)
    reference = backbone or recipe.backbone
    if reference is None:
        raise UsageError(
            f"{team}: no `backbone`, and none was given",
            expected="a backbone that the one model is trained on",
            remedy="Name one with --backbone: a folder, catalog:NAME or hub:OWNER/NAME.",
        )
    told, console = terminal.stderr(), terminal.stdout()
    record = train(
        build(recipe),
        Asked.read(requests, Path.cwd()).requests,
        reference,
        out,
        base=Path.cwd() if backbone else recipe.base,
        field=field,
        method=method,
        settings={} if epochs is None else {"epochs": epochs},
        seed=seed,
        origin=requests,
        note=lambda text: told.print(f"{text} ...", soft_wrap=True),
    )
    outcomes = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in record["outcomes"].items())
    console.print(f"{record['requests']} requests: {outcomes}", soft_wrap=True)
    console.print(f"one model: {record['method']} on {record['pairs']} answers. {out / RECORD}", soft_wrap=True)
    console.print(f"transfuse team evaluate {team} ROWS --baseline {out} --out FOLDER", soft_wrap=True)
