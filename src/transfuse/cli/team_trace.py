"""``transfuse team trace``: what was said, found again, exported, and run again byte for byte."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transfuse.cli import terminal
from transfuse.cli.team_run import Speech
from transfuse.errors import TeamError, UsageError

if TYPE_CHECKING:
    from transfuse.teams import Trace, Traces

STANDARD = "-"


def trace(
    traces: Annotated[Path, typer.Argument(metavar="TRACES", help="A file of traces.", show_default=False)],
    id: Annotated[str | None, typer.Argument(metavar="ID", help="One exchange.", show_default=False)] = None,
    role: Annotated[str | None, typer.Option(help="Exchanges in which this role spoke.", show_default=False)] = None,
    text: Annotated[
        str | None, typer.Option(help="In which somebody (with --role that role) said this.", show_default=False)
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="answered, stood_in, refused, open or failed.", show_default=False)
    ] = None,
    since: Annotated[str | None, typer.Option(help="From this date on: 2026-03-31.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(help="Before this date.", show_default=False)] = None,
    last: Annotated[int | None, typer.Option(min=1, help="The last so many.", show_default=False)] = None,
    export: Annotated[
        str | None, typer.Option(help="Write them as JSONL spans of OpenTelemetry; - prints.", show_default=False)
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="TEAM", help="Run them again and compare, byte for byte.", show_default=False)
    ] = None,
) -> None:
    """List, search, show, export and replay the traces of a team.

    Example: transfuse team trace runs/support_desk/traces.sqlite --role judge --text bad
    """
    from transfuse.teams import Traces
    from transfuse.teams.traces import OUTCOMES

    if outcome is not None and outcome not in (*OUTCOMES, "failed"):
        raise UsageError(f"--outcome {outcome}: unknown", expected=f"one of {', '.join(OUTCOMES)}, failed")
    if not traces.is_file():
        raise TeamError(f"{traces}: no such file", expected="a file of traces, as `transfuse team run` names it")
    store = Traces(traces)
    asked = {"role": role, "text": text, "outcome": outcome, "since": _date(since), "until": _date(until)}
    found = [store.trace(id)] if id else store.search(**asked, most=last)  # type: ignore[arg-type]
    if export is not None:
        _export(found, export)
    elif replay is not None:
        _replay(store, found, replay)
    elif id:
        _show(found[0])
    else:
        _list(found)


def _date(text: str | None) -> float | None:
    """Seconds since 1970 of a date, or of a date and time, in this machine's zone."""
    if text is None:
        return None
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"'{text}': no date", expected="a date, 2026-03-31, or 2026-03-31T18:00") from None


def _list(found: Sequence[Trace]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "began", "outcome", "request", box=None, pad_edge=False)
    for column in table.columns[:3]:
        column.no_wrap = True
    for one in found:
        began = datetime.datetime.fromtimestamp(one.began).strftime("%Y-%m-%d %H:%M")
        request = Text(" ".join(one.request[:500].split()), no_wrap=True, overflow="ellipsis")
        table.add_row(one.id, began, one.outcome, request)
    terminal.stdout().print(table)


def _show(one: Trace) -> None:
    from transfuse.teams import Answer

    speech = Speech(terminal.stdout(), one.team)
    for message in one.messages:
        speech.message(message)
    speech.answer(Answer.of(one))


def _export(found: Sequence[Trace], target: str) -> None:
    from transfuse.teams.telemetry import jsonl

    if target == STANDARD:
        sys.stdout.writelines(jsonl(found))
        return
    with open(target, "w", encoding="utf-8") as file:
        file.writelines(jsonl(found))
    terminal.stderr().print(f"{len(found)} exchanges: {target}", soft_wrap=True)


def _replay(store: Traces, found: Sequence[Trace], team: Path) -> None:
    from transfuse.teams import Message, Team
    from transfuse.teams import replay as again

    loaded = Team.load(team)
    differing, skipped = [], []
    for one in found:
        try:
            different = [old or new for old, new in again(loaded, store, one.id)]
        except TeamError as error:
            skipped.append(error.found)
            continue
        turns = [str(part.turn) for part in different if isinstance(part, Message)]
        what = [f"messages {', '.join(turns)}"] * bool(turns) + ["its answer"] * (len(different) > len(turns))
        if what:
            differing.append(f"exchange '{one.id}' differs in {' and in '.join(what)}")
    if skipped and len(skipped) == len(found):
        raise TeamError("\n".join(skipped), expected="exchanges that have ended, and the team as it was")
    for why in skipped:
        terminal.stderr().print(f"{why}; not run again", soft_wrap=True)
    if differing:
        raise TeamError("\n".join(differing), expected="the same bytes, from the same models on the same machine")
    terminal.stdout().print(f"{len(found) - len(skipped)} exchanges: the same, byte for byte.")
