"""``transfuse team train``: roles learn from labelled data, all of one backbone over one trunk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transfuse.cli import terminal
from transfuse.cli.run import default_folder


def train(
    team: Annotated[Path, typer.Argument(metavar="TEAM", help="A team, a YAML file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the roles and the new team.", show_default="runs/NAME of the team")
    ] = None,
) -> None:
    """Train the roles that say `train: {data: FILE, method: NAME}`, and write the team that uses them.

    A role that is there already stays, unless its data or settings have changed: the same command goes on where it
    was stopped.

    Example: transfuse team train examples/support_desk/train.yaml --out runs/desk
    """
    from transfuse.teams.recipe import TeamRecipe
    from transfuse.teams.training import FILE
    from transfuse.teams.training import train as train_roles

    recipe = TeamRecipe.from_file(team)
    folder = out or default_folder(recipe.name)
    told, console = terminal.stderr(), terminal.stdout()
    record = train_roles(recipe, folder, note=lambda text: told.print(f"{text} ...", soft_wrap=True))
    for name, role in record["roles"].items():
        console.print(f"{name}: {role['method']}, {role['rows']} rows", soft_wrap=True)
        for source, found in role["sources"].items():
            difference = found["difference"]
            console.print(
                f"  {source}: {found['verdict']}, {found['metric']} {difference['value']:+.3f} "
                f"({difference['low']:+.3f} to {difference['high']:+.3f}, {found['n']} rows held out)",
                soft_wrap=True,
                markup=False,
            )
    console.print(f"transfuse team run {folder / FILE}", soft_wrap=True)
