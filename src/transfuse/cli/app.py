"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import transfuse
from transfuse.cli import assets, cascade, check, distill, evaluate, predict, rank, run, shrink, team

HELP = """Transfer learning with language models: compare, measure, choose, ship.

Start with: transfuse run examples/reviews.yaml
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug, anywhere, shows the traceback of an error. Exit codes: docs/errors.md.",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"transfuse {transfuse.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Options before the command."""


app.command("run")(run.run)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("check")(check.check)
app.command("rank")(rank.rank)
app.command("shrink")(shrink.shrink)
app.command("cascade")(cascade.cascade)
app.command("distill")(distill.distill)
app.add_typer(assets.app, name="assets")
app.add_typer(team.app, name="team")
