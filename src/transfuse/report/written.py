"""What the page shows of written answers: examples side by side with their differences, and quality by length."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from transfuse.report import amounts, reading
from transfuse.report.reading import Report
from transfuse.report.words import Speaker

LONG = 900
"""Characters of a text that are shown."""
WORDS = re.compile("\\s+|[\u3040-\u30ff\u3400-\u9fff]|[^\\s\u3040-\u30ff\u3400-\u9fff]+")
"""White space, a Chinese or Japanese character, or a word."""


def examples(report: Report) -> list[dict[str, Any]]:
    """The best and the worst answers, each with what was expected, and where the words differ."""
    out = []
    for entry in reading.items(report, "examples"):
        if not isinstance(entry, Mapping):
            continue
        expected, written = (_short(entry.get(key)) for key in ("reference", "chosen"))
        out.append(
            {
                "row": entry.get("row"),
                "input": _short(entry.get("input")),
                "no_transfer": _short(entry.get("no_transfer")),
                "score": amounts.plain(reading.number(entry.get("score"))),
                "score_no_transfer": amounts.plain(reading.number(entry.get("score_no_transfer"))),
                "expected": marked(expected, written, "-"),
                "written": marked(expected, written, "+"),
            }
        )
    return out


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= LONG else text[:LONG] + "…"


def marked(expected: str, written: str, side: str) -> list[tuple[bool, str]]:
    """A text in pieces, each with whether the other text lacks it: of the expected one (``-``) or the other (``+``)."""
    a, b = WORDS.findall(expected), WORDS.findall(written)
    pieces: list[tuple[bool, str]] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        text = "".join(a[i:j] if side == "-" else b[k:m])
        if text:
            pieces.append((kind != "equal" and not text.isspace(), text))
    return pieces


def by_length(report: Report, speak: Speaker) -> list[tuple[str, str, str]]:
    """(characters of the request, examples, the deciding metric), short requests first."""
    out = []
    for entry in reading.items(report, "by_length"):
        figure = reading.interval(reading.at(entry, "figure"))
        ends = [amounts.count(reading.number(reading.at(entry, key))) for key in ("from", "to", "n")]
        if figure:
            out.append((f"{ends[0]} – {ends[1]}", ends[2], amounts.with_interval(speak, figure)))
    return out


def by_script(report: Report, speak: Speaker) -> list[tuple[str, str, str]]:
    """(script of the request or the reference, examples, the deciding metric), the most frequent first."""
    out = []
    for entry in reading.items(report, "by_script"):
        figure = reading.interval(reading.at(entry, "figure"))
        if figure:
            n = amounts.count(reading.number(reading.at(entry, "n")))
            out.append((str(reading.at(entry, "script") or "–"), n, amounts.with_interval(speak, figure)))
    return out


def notes(report: Report, speak: Speaker) -> list[str]:
    """How many answers went in circles, and how sacrebleu counted."""
    loops, rows = reading.number(report.get("loops")), reading.number(report.get("test_rows"))
    out = [speak("loops", n=amounts.count(loops), rows=amounts.count(rows))] if loops is not None and rows else []
    named = reading.at(report, "signatures")
    if isinstance(named, Mapping) and named:
        told = speak("semicolon").join(f"{speak.name('metric', name)} {value}" for name, value in named.items())
        out.append(speak("signatures", signatures=told))
    return out
