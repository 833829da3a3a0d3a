"""report.html: the study on one page, in one file that opens anywhere and asks nothing of the network."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfuse.errors import OutputError
from transfuse.report import reading, rows, sections, sentences, taught, written
from transfuse.report.words import Speaker

if TYPE_CHECKING:
    from jinja2 import Environment


def write_html(report: Mapping[str, Any], path: Path | str, lang: str) -> Path:
    """Write the report's page; the file appears whole or not at all.

    Args:
        report: a report of schema 1; sections whose keys are missing are left out.
        path: the file; its folder is made.
        lang: "en" or "zh".

    Returns:
        The path.

    Raises:
        UsageError: another language.
        OutputError: a place that cannot be written; names it.
    """
    return write_page(page_of(report, lang), path)


def write_page(page: str, path: Path | str) -> Path:
    """Write a page; the file appears whole or not at all, and its folder is made.

    Raises:
        OutputError: a place that cannot be written; names it.
    """
    target, part = Path(path), None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(page.encode("utf-8", "replace"))
        Path(part).chmod(0o644)
        Path(part).replace(target)
    except OSError as error:
        if part:
            with contextlib.suppress(OSError):
                Path(part).unlink(missing_ok=True)
        raise OutputError(
            f"{target}: {error.strerror or error}", expected="a folder that can be written", remedy="Choose another."
        ) from error
    return target


def page_of(report: Mapping[str, Any], lang: str) -> str:
    """The page as text. Everything that stands in the report is escaped.

    Raises:
        UsageError: another language.
    """
    speak = Speaker(lang)
    return environment().get_template("page.html").render(context_of(report, speak), t=speak)


def environment() -> Environment:
    """Where the templates are; what they are given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("transfuse.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def context_of(report: Mapping[str, Any], speak: Speaker) -> dict[str, Any]:
    """What the template shows, all of it in words and places."""
    machine = reading.at(report, "machine") or {}
    paid = reading.at(report, "remote") or {}
    metric = speak.name("metric", reading.metric_of(report))
    board = rows.leaderboard(report, speak)
    families = {row.family: row.family_words for row in board if row.status == "done" and row.family}
    return {
        "lang": {"en": "en", "zh": "zh-CN"}[speak.lang],
        "name": str(report.get("name") or speak("none")),
        "subtitle": sections.subtitle(report, speak),
        "version": str(reading.at(machine, "transfuse") or ""),
        "metric": metric,
        "verdict": sentences.verdict(report, speak.lang),
        "reasons": sentences.reasons(report, speak.lang),
        "tiles": sections.tiles(report, speak),
        "board": board,
        "families": families,
        "sources": rows.comparisons(report, "without source", speak),
        "has_sources": any(reading.items(c, "sources") for c in reading.items(report, "candidates")),
        "probes": rows.comparisons(report, "frozen probe", speak),
        "charts": sections.charts(report, speak),
        "curve": sections.curve(report),
        "source_rows": sections.source_rows(report),
        "teachers": taught.teachers(report, speak),
        "classes": sections.classes(report, speak),
        "test": sections.test_figures(report, speak),
        "confusion": sections.confusion(report),
        "mistakes": sections.mistakes(report),
        "examples": written.examples(report),
        "by_length": written.by_length(report, speak),
        "by_script": written.by_script(report, speak),
        "written_notes": written.notes(report, speak),
        "calibration": sections.calibration(report),
        "parts": sections.parts(report, speak),
        "findings": sections.findings(report, speak),
        "recipe": str(report.get("recipe") or ""),
        "command": str(report.get("command") or ""),
        "machine": sections.flat(machine),
        "plan": sections.flat(report.get("plan")),
        "remote": sections.flat({k: v for k, v in paid.items() if k in ("budget", "spent", "doubtful")}),
        "assets": [a for a in reading.items(report, "assets") if isinstance(a, Mapping)],
    }
