"""docs/architecture.md is the map: one line for each file of src/transfuse, and none for a file that is not there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "transfuse"
LINE = re.compile(r"^\| `(?P<path>[\w./-]+\.[a-z]+)` \| (?P<what>.+) \|$")


def listed() -> list[tuple[str, str]]:
    lines = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()
    return [(match["path"], match["what"]) for match in map(LINE.match, lines) if match]


def test_every_file_has_one_line_and_every_line_a_file():
    listing = Counter(path for path, _ in listed())
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    assert sorted(files - set(listing)) == [], "files without a line in docs/architecture.md"
    assert sorted(path for path in listing if not (PACKAGE / path).is_file()) == [], "lines without a file"
    assert [path for path, count in listing.items() if count > 1] == [], "files with two lines"


def test_every_line_says_something():
    assert [path for path, what in listed() if len(what.strip()) < 15] == []


def test_every_module_says_what_it_is():
    silent = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if not path.read_text(encoding="utf-8").lstrip().startswith(('"""', 'r"""'))
    ]
    assert sorted(silent) == [], "modules without a docstring"
