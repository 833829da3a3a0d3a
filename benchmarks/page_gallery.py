"""docs/gallery.md: every method on six transfers, from what `benchmarks.gallery` kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.common import figure, made
from benchmarks.gallery import ranked
from transfuse.methods.catalogue import method

HEAD = """# Gallery

Every method that needs no decoder on six real transfers; the best four of them, and those that ask a decoder, with
one on two. Written by `python -m benchmarks gallery`, nothing is typed by hand. Three draws of the labelled rows
each; every figure is the mean over them, read on the same test rows, with a 95 % bootstrap interval over these (drawn
together for all three). Each method has its default settings, but for at most {limit:,} rows of the source. *Against
no transfer* is the difference to TF-IDF on the target's labels alone, *without the source* that to the same method
without it; verdicts are of the paired intervals. Seconds are of one fit on one core with another fit beside it,
features that an earlier method read not counted. The test is read after the choice of `methods: auto`, and by this
page.

"""


def page(record: Mapping[str, Any]) -> str:
    """The whole of docs/gallery.md."""
    transfers = record["transfers"]
    parts = [HEAD.format(limit=record["limit"]), *_overview(transfers, record["minutes"], record.get("threads"))]
    for transfer in transfers:
        parts += ["", *_table(transfer)]
    commits = f"Fitted at {', '.join(record['commits'])}; put together by"
    if record.get("missing"):
        commits = f"Not measured yet: {', '.join(record['missing'])}.\n{commits}"
    return "\n".join([*parts, "", commits, made(record), ""])


def _overview(transfers: list[Mapping[str, Any]], minutes: int, threads: int | None) -> list[str]:
    """What ``methods: auto`` reached beside the best single method, which only the test can name."""
    cores = f" on {threads} core{'s' if threads > 1 else ''}" if threads else ""
    lines = [
        f"""## methods: auto beside the best single method

A study a draw, {minutes} minutes each{cores}, chosen on validation, with the sources whole, as far as each method
reads them. *Best* is the method with the best mean on the test, which nobody can know before.

| transfer | labels | auto | best single method | auto less best | auto less no transfer | chosen |
| --- | --- | --- | --- | --- | --- | --- |"""
    ]
    for t in transfers:
        if not t["auto"]:
            continue
        found, chosen = t["auto_against"], ", ".join(dict.fromkeys(s["chosen"] for s in t["auto"]))
        lines.append(
            f"| {t['transfer']} | {t['shots']} × {t['classes']} | {figure(found['accuracy'])} | {found['best_method']} "
            f"| {_difference(found['best'])} | {_difference(found['no_transfer'])} | {chosen} |"
        )
    return lines


def _table(t: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {r['method']} | {method(r['method']).family} | {'yes' if r['source'] else 'no'} | {figure(r['accuracy'])} "
        f"| {_difference(r['no_transfer'])} | {_difference(r.get('without_source'))} | {r['seconds']:.1f} |"
        for r in ranked(t["rows"])
    ]
    return [
        f"""## {t["transfer"]}, {t["backbone"]}

{t["shots"]} labelled rows of each of {t["classes"]} classes, {t["test_rows"]:,} test rows.

| method | family | source | accuracy | against no transfer | without the source | seconds |
| --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    d = found["difference"]
    return f"{d['value']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f}) {found['verdict']}"
