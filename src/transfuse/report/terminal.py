"""The short form of a report in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transfuse.report import reading, rows, sections, sentences
from transfuse.report.words import Speaker

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 15
"""So many candidates are listed; the page has them all."""

VERDICT = 12
"""Columns of the terminal for the verdict of a candidate."""

COLOURS = {"helps": "green", "hurts": "red"}


def print_summary(report: Mapping[str, Any], lang: str, console: Console) -> None:
    """Print the verdict in sentences, the leaderboard, the reasons, and how many warnings the data have.

    Args:
        report: a report of schema 1; what is missing is left out.
        lang: "en" or "zh".
        console: of rich; its width is kept.

    Raises:
        UsageError: another language.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    speak = Speaker(lang)
    opening = sentences.verdict(report, lang)
    console.print(Text.assemble((opening[0], "bold"), speak("sentence"), speak("sentence").join(opening[1:])))
    board = rows.leaderboard(report, speak)
    metric = speak.name("metric", reading.metric_of(report))
    shown = [row for row in board if row.place][:SHOWN]
    figures = [f"{row.value}  {row.interval}".strip() for row in shown]
    widest = max(map(len, figures), default=0)  # headings wrap, figures do not, and what is left is for the names
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", justify="right")
    table.add_column(speak("candidate"), overflow="fold", ratio=1)
    table.add_column(speak("at_validation", metric=metric), min_width=widest, max_width=widest)
    table.add_column(speak("against_no_transfer"), overflow="fold", max_width=VERDICT)
    table.add_column(speak("fit"), justify="right")
    for row, figure in zip(shown, figures, strict=True):
        verdict = speak("reference") if row.reference else row.verdict_words
        place = Text(f"→ {row.place}" if row.chosen else str(row.place))
        judged = Text(verdict, style=COLOURS.get(row.verdict, "dim"))
        table.add_row(place, Text(row.id), Text(figure), judged, row.fit, style="bold" if row.chosen else None)
    if table.row_count:
        console.print(table)
    ran = sum(row.place is not None for row in board)
    if ran > SHOWN:
        console.print(Text(speak("say.more", n=ran - SHOWN), style="dim"))
    for sentence in sentences.reasons(report, lang):
        console.print(Text(sentence))
    warnings = [finding for finding in sections.findings(report, speak) if finding["level"] in ("warning", "error")]
    for finding in warnings[:3]:
        told = f"{finding['message']} ({finding['rows']})" if finding["rows"] else finding["message"]
        console.print(Text(f"! {finding['part']}: {told}" if finding["part"] else f"! {told}", style="yellow"))
    if len(warnings) > 3:
        console.print(Text("! " + speak("say.more", n=len(warnings) - 3), style="yellow"))
