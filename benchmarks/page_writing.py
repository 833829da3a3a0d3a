"""The parts of docs/benchmarks.md about tasks that write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def hundred(f: Mapping[str, float]) -> str:
    """A figure on a scale to 100 with its interval."""
    return f"{f['value']:.1f} ({f['low']:.1f}–{f['high']:.1f})"


def signed(f: Mapping[str, float]) -> str:
    """A difference on a scale to 100 with its interval."""
    return f"{f['value']:+.1f} ({f['low']:+.1f} to {f['high']:+.1f})"


def translate(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.translate`."""
    domain, rows = record["domain"], []
    for test, told in domain["tests"].items():
        name = "the same product" if test == "test" else test
        for arm, figures in told["arms"].items():
            compared = told["compared"].get(arm)
            beside = f"{signed(compared['difference'])} against {compared['against']}" if compared else ""
            rows.append(
                f"| {name} | {told['rows']} | {arm} | {hundred(figures['chrf'])} | {hundred(figures['bleu_zh'])} "
                f"| {figures['placeholders']['value']:.2f} | {beside} | {compared['verdict'] if compared else ''} |"
            )
    seconds = ", ".join(f"{arm} {s:.0f}" for arm, s in domain["seconds"].items())
    return [
        f"""## Interface texts into Chinese, gemma3-270m

English to Chinese, adapted by `lora` with its defaults on {domain["trained_rows"]} texts of Django, and tested on
others of Django, on those of JupyterLab that Django does not have, and on plain sentences (questions of XQuAD, which
show what was forgotten). chrF++ and BLEU by Chinese characters, to 100; comparisons by chrF++. Seconds with all
answers: {seconds}.

| test | rows | way | chrF++ | BLEU | placeholders kept | difference | verdict |
| --- | --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
        *(_scarce(record) if record["scarce"] else ()),
    ]


def _scarce(record: Mapping[str, Any]) -> list[str]:
    scarce = [
        f"| {r['shots']} | {hundred(r['arms']['few-shot']['chrf'])} | {hundred(r['arms']['alone']['chrf'])} "
        f"| {hundred(r['arms']['with sources']['chrf'])} | {signed(r['source']['difference'])} "
        f"| {r['source']['verdict']} | {r['seconds']['alone']:.0f} / {r['seconds']['with sources']:.0f} |"
        for r in record["scarce"]
    ]
    return [
        f"""
## English to Galician from few pairs, gemma3-270m

Interface texts of Django; `lora` with its defaults, alone and after English to Portuguese and English to Spanish.
chrF++ on {record["scarce"][0]["rows"]} other texts, over {record["draws"]} draws of the pairs; beside it what the two
sources were worth.

| pairs | few-shot | alone | with sources | difference | verdict | seconds |
| --- | --- | --- | --- | --- | --- | --- |""",
        *scarce,
    ]
