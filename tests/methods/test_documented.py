"""docs/methods.md and its Chinese twin name every method, every setting and every default; what differs is printed."""

import importlib.util
import re
from pathlib import Path

import pytest

from transfuse.methods.catalogue import METHODS

DOCS = Path(__file__).parents[2] / "docs"
LEADS = {
    "methods.md": ("Choose it", "Formula", "Paper", "Cost", "Reduces to", "Fails"),
    "methods.zh-CN.md": ("选用", "公式", "论文", "代价", "退化为", "失效"),
}
ROW = re.compile(r"^\| `(\w+)` \| ((?:`[^`]*`)(?: / `[^`]*`)?) \| (.+) \|$", re.MULTILINE)

_spec = importlib.util.spec_from_file_location("documented", Path(__file__).parent / "documented.py")
documented = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(documented)


def sections(page: str) -> dict[str, str]:
    """Heading -> text of each part of a page."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("page", LEADS)
def test_every_method_has_a_section_in_the_order_of_the_catalogue(page):
    assert list(sections(page)) == list(METHODS)
    overview = (DOCS / page).read_text(encoding="utf-8").partition("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", overview, flags=re.MULTILINE) == list(METHODS)


@pytest.mark.parametrize("page", LEADS)
@pytest.mark.parametrize("name", METHODS)
def test_every_section_says_all_that_is_needed(page, name):
    text = sections(page)[name]
    assert [lead for lead in LEADS[page] if f"- **{lead}" not in text] == []


@pytest.mark.parametrize("page", LEADS)
@pytest.mark.parametrize("name", METHODS)
def test_settings_and_defaults_are_those_of_the_code(page, name):
    text = sections(page)[name]
    found = {setting: (cell, what) for setting, cell, what in ROW.findall(text)}
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(found), f"docs/{page}, {name}: a row of the table cannot be read"
    changes = []
    for setting, cell in documented.cells(name).items():
        if setting not in found:
            changes.append(f"add     | `{setting}` | {cell} | ... |")
        elif found[setting][0] != cell:
            changes.append(f"change  | `{setting}` | {found[setting][0]} |  to  | `{setting}` | {cell} |")
    changes += [f"say     {what}" for what in documented.constants(name) if what not in text]
    changes += [f"remove  | `{setting}` |" for setting in found if setting not in documented.cells(name)]
    assert not changes, "\n".join([f"docs/{page}, section {name}:", *changes])
    assert list(found) == list(documented.cells(name)), f"docs/{page}, {name}: the order of plan's settings"


def test_both_languages_have_the_same_numbers_and_papers():
    """Years, formulas and code are the same on both pages, section by section."""
    english, chinese = (sections(page) for page in LEADS)
    for name in METHODS:
        for pattern in (r"\b(?:19|20)\d\d\b", r"`[^`]+`"):
            a, b = (sorted(re.findall(pattern, part[name])) for part in (english, chinese))
            assert a == b, f"{name}: the pages differ in {set(a) ^ set(b)}"
