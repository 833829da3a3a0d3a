"""The support desk of the examples, and what docs/teams.md shows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from transfuse.study.recipe import Recipe
from transfuse.teams.recipe import TeamRecipe

ROOT = Path(__file__).parents[2]
DESK = ROOT / "examples" / "support_desk"


def test_the_data_were_written_for_the_example_and_say_so():
    with (DESK / "requests.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 60
    assert len(Counter(row["intent"] for row in rows)) == 6
    assert len({row["request"] for row in rows}) == len(rows)
    assert all(row["reply"].strip() for row in rows)
    assert {row["source"] for row in rows} == {"written for this example"}


def test_the_files_of_the_example_are_read():
    team = TeamRecipe.from_file(DESK / "team.yaml")
    assert list(team.roles) == ["understand", "write", "judge"]
    trained = TeamRecipe.from_file(DESK / "train.yaml")
    assert [name for name, role in trained.roles.items() if role.train] == ["understand", "write"]
    assert trained.learn is not None
    for name in ("understand", "write"):
        assert Recipe.from_file(DESK / f"{name}.yaml").name == name


@pytest.mark.parametrize("page", ["teams.md", "teams.zh-CN.md"])
def test_what_the_page_shows_works(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (yaml,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert TeamRecipe.from_text(yaml, base=DESK).name == "support_desk"
    debate = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(debate + "\nsaid = team.ask('Shall we?').text", names)
    assert names["said"] == "Yes.No."


def test_both_pages_say_the_same():
    pages = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("teams.md", "teams.zh-CN.md")]
    for pattern in (r"```.*?```", r"^    transfuse .*$", r"^\| `[^|]*\|"):
        found = [re.findall(pattern, page, re.DOTALL if "`" * 3 in pattern else re.MULTILINE) for page in pages]
        blocks = [[re.sub(r" +#.*", "", one).replace("、", ", ") for one in some] for some in found]
        assert blocks[0] == blocks[1], pattern
