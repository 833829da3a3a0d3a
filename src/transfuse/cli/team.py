"""``transfuse team``: role models on one backbone that answer together."""

from __future__ import annotations

import typer

from transfuse.cli import team_distill, team_evaluate, team_learn, team_run, team_trace, team_train

app = typer.Typer(
    help="Teams: role models on one backbone that answer together.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(team_run.run)
app.command("evaluate")(team_evaluate.evaluate)
app.command("trace")(team_trace.trace)
app.command("train")(team_train.train)
app.command("learn")(team_learn.learn)
app.command("distill")(team_distill.distill)
