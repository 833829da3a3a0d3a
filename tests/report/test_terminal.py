"""The terminal's short form."""

import io

import pytest
from rich.console import Console

from transfuse.report import explain, print_summary


def shown(report, lang, width=100):
    stream = io.StringIO()
    print_summary(report, lang, Console(file=stream, width=width, color_system=None))
    return stream.getvalue()


@pytest.mark.parametrize(("lang", "verdict"), [("en", "helps"), ("zh", "有帮助")])
def test_shows_the_choice_the_table_the_reasons_and_the_warnings(full, lang, verdict):
    text = shown(full, lang, width=3000)
    for sentence in explain(full, lang):
        assert sentence in text
    assert "→ 1" in text
    assert "0.881  0.811 – 0.951" in text
    assert verdict in text
    assert "11 texts are nearly equal" in text
    assert "3 texts stand in the test set too" not in text, "notes stay on the page"


@pytest.mark.parametrize("width", [60, 80])
def test_keeps_to_the_width(full, width):
    lines = shown(full, "en", width).splitlines()
    assert max(len(line) for line in lines) <= width
    assert "0.881" in shown(full, "en", width)


def test_markup_in_names_is_text(full):
    full["candidates"][10]["id"] = full["chosen"] = "[bold]x[/bold] [/]"
    assert "[bold]x[/bold] [/]" in shown(full, "en", 300)


def test_lists_fifteen_and_counts_the_rest(crowded):
    text = shown(crowded, "en", 200)
    assert text.count("backbone-") < 30
    assert "… and 25 more." in text


def test_nothing_to_show(minimal):
    assert shown(minimal, "en").strip() == "Nothing was chosen: no candidate may be chosen from this study."
