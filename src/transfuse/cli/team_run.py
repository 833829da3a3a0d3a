"""``transfuse team run``: a conversation with a team, that shows who says what."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transfuse.cli import terminal
from transfuse.cli.run import default_folder

if TYPE_CHECKING:
    from rich.console import Console

    from transfuse.teams import Answer, Message

TRACES = "traces.sqlite"
PROMPT = "you> "
STYLES = ("cyan", "magenta", "green", "yellow", "blue")
"""Colours of the roles, in the order in which they first speak."""


def run(
    team: Annotated[Path, typer.Argument(metavar="TEAM", help="A team, a YAML file.", show_default=False)],
    requests: Annotated[
        list[str] | None, typer.Argument(metavar="REQUEST", help="Requests.", show_default=False)
    ] = None,
    traces: Annotated[
        Path | None, typer.Option(help="File of the traces.", show_default=f"runs/NAME of the team/{TRACES}")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers alone, as JSONL.")] = False,
) -> None:
    """Talk to a team: each line is a request, and every role's words are shown as they come.

    Without REQUEST the requests come from the standard input, one a line; an empty line is passed over.

    Example: transfuse team run examples/support_desk/team.yaml
    """
    from transfuse.teams import Team, Traces

    loaded = Team.load(team)
    file = traces or default_folder(loaded.name) / TRACES
    console = terminal.stdout()
    show = Speech(console, loaded.name)
    store = Traces(file, told=None if as_json else show.message)
    outcomes: Counter[str] = Counter()
    for request in requests or _lines(console):
        answer = loaded.ask(request, store)
        outcomes[answer.outcome] += 1
        if as_json:
            print(json.dumps(_fields(answer), ensure_ascii=False), flush=True)
        else:
            show.answer(answer)
    told = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.items())
    terminal.stderr().print(f"{outcomes.total()} requests: {told or 'none'}. Traces: {file}", soft_wrap=True)


class Speech:
    """Who says what, in lines that fit the terminal.

    Args:
        console: where it is said.
        team: the team's name, under which its answer stands.
    """

    def __init__(self, console: Console, team: str) -> None:
        self._console, self._team = console, team
        self._styles: dict[str, str] = {}

    def message(self, message: Message) -> None:
        """One message."""
        from transfuse.teams.message import FAILED, USER
        from transfuse.teams.traces import text_of

        if message.sender == USER:
            self.say("you", text_of(message.content), "", "bold")
            return
        style = self._styles.setdefault(message.sender, STYLES[len(self._styles) % len(STYLES)])
        failed = message.outcome == FAILED
        share = "" if message.probability is None else f"{message.probability:.0%}, "
        text = f"failed: {message.problem}" if failed else text_of(message.content)
        self.say(message.sender, text, f"{share}{message.seconds:.1f} s", "red" if failed else style)

    def answer(self, answer: Answer) -> None:
        """The team's own words."""
        note = "" if answer.outcome == "answered" else answer.outcome.replace("_", " ")
        self.say(self._team, answer.text, note, "bold")
        self._console.print()

    def say(self, who: str, text: str, note: str, style: str) -> None:
        """A name, what is said, and a note."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(width=14, no_wrap=True, overflow="ellipsis")
        grid.add_column(ratio=1, overflow="fold")
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(Text(who, style=style), Text(_printable(text)), Text(note, style="dim"))
        self._console.print(grid)


def _printable(text: str) -> str:
    """A text without what would move the cursor or change colours: words of models and users are data here, too."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def _fields(answer: Answer) -> dict[str, object]:
    request = answer.messages[0].content["request"]
    return {
        "id": answer.id,
        "request": request,
        "outcome": answer.outcome,
        "answer": answer.content,
        "reason": answer.reason,
    }


def _lines(console: Console) -> Iterator[str]:
    """Requests from a person or a pipe, until the end of the input."""
    person = sys.stdin is not None and sys.stdin.isatty()
    while sys.stdin is not None:
        if person:
            console.print(PROMPT, end="", style="bold")
        line = sys.stdin.readline()
        if not line:
            if person:
                console.print()
            return
        if line.strip():
            yield line.strip()
