"""``transfuse rank``: which backbones, layers and sources promise most, without training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from transfuse.cli import terminal
from transfuse.cli.progress import progress_on

SCORES = ("knn", "probe", "logme", "h_score")


def rank(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, a YAML file.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Write all scores to this JSON file.", show_default=False)] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with a plot to this file.", show_default=False)
    ] = None,
    lang: Annotated[str | None, typer.Option(help="Language, en or zh.", show_default="that of the locale")] = None,
) -> None:
    """Rank backbones, layers and sources by what one cached pass shows; nothing is trained, the test is not read.

    Example: transfuse rank examples/reviews.yaml --html rank.html
    """
    from transfuse.study.rank import rank as rank_recipe

    language = terminal.language(lang)
    terminal.ready(out, html)
    with progress_on(terminal.stderr(), language) as progress:
        found = rank_recipe(recipe, lang=language, progress=progress)
    if out is not None:
        out.write_text(json.dumps(_finite(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if html is not None:
        from transfuse.report.rank_page import write_rank

        write_rank(found, html, language)
    _show(found, language)


def _show(found: dict[str, Any], lang: str) -> None:
    from rich.table import Table

    console = terminal.stdout()
    words = {
        "en": ("backbone", "million", "texts/s", "layer", "pooling"),
        "zh": ("骨干模型", "百万参数", "文本/秒", "层", "池化"),
    }[lang]
    table = Table(*words, *SCORES, box=None, pad_edge=False)
    for entry in found["backbones"]:
        for number, readout in enumerate(entry["readouts"][:3]):
            head = (
                entry["reference"].rpartition(":")[2],
                f"{entry['parameters'] / 1e6:.0f}",
                f"{entry['texts_per_second']:.0f}",
            )
            scores = [_figure(readout["scores"][name]) for name in SCORES]
            table.add_row(*(head if not number else ("", "", "")), str(readout["layer"]), readout["pooling"], *scores)
    console.print(table)
    decides = {"en": "Decides with so many rows: {}.", "zh": "行数如此时起决定作用的是：{}。"}[lang]
    console.print(decides.format(found["decisive"]), soft_wrap=True)
    sources = [(entry, source) for entry in found["backbones"] for source in entry["sources"]]
    if sources:
        heads = {
            "en": ("backbone", "source", "its head on target", "LEEP", "proxy-A", "MMD²"),
            "zh": ("骨干模型", "源", "源分类头在目标上", "LEEP", "proxy-A", "MMD²"),
        }[lang]
        table = Table(*heads, box=None, pad_edge=False)
        for entry, source in sources:
            figures = (_figure(source[key]) for key in ("transfer", "leep", "proxy_a", "discrepancy"))
            table.add_row(entry["reference"].rpartition(":")[2], source["name"], *figures)
        console.print()
        console.print(table)


def _finite(value: Any) -> Any:
    """The same with None in place of numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _figure(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"
