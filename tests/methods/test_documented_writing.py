"""docs/writing.md and its Chinese twin name every method for tasks that write, every setting and every default."""

import re
from pathlib import Path

import pytest

from transfuse.methods.catalogue import WRITING, settings
from transfuse.tasks.writing import KINDS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("writing.md", "writing.zh-CN.md")


def word(value):
    """A default as a recipe would write it."""
    return "none" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def sections(page):
    """Method -> the text of its section; a section may be that of several."""
    parts = re.split(r"^### (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for names, text in zip(parts[1::2], parts[2::2], strict=True):
        found |= {name: text.partition("\n## ")[0] for name in names.split(", ")}
    return found


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", WRITING)
def test_settings_and_defaults_are_those_of_the_code(page, name):
    known = {key: word(value) for key, value in settings(name, "answer").items()}
    text = sections(page).get(name, "")
    assert dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", text, flags=re.MULTILINE)) == known


@pytest.mark.parametrize("page", PAGES)
def test_every_method_and_kind_is_named(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    for name in (*WRITING, *KINDS):
        assert f"| `{name}` |" in text


def test_both_pages_have_the_same_code():
    blocks = [re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL) for page in PAGES]
    assert blocks[0] == blocks[1]
