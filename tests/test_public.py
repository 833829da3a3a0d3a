"""The public face: names, lazy imports, pins, the packages that only some rooms may import."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import transfuse

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "peft", "datasets", "pandas", "sklearn", "scipy", "pydantic", "pyarrow", "numpy"}


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh process has loaded after a statement."""
    code = f"import sys\n{statement}\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_the_exported_names_are_these():
    classes = ["Cascade", "Embedder", "Recipe", "Team", "TransferClassifier"]
    functions = ["cascade", "distill", "errors", "load", "run", "shrink"]
    assert sorted(transfuse.__all__) == [*classes, "__version__", *functions]
    assert dir(transfuse) == sorted(transfuse.__all__)
    assert set(transfuse._PUBLIC) | {"__version__"} == set(transfuse.__all__)


@pytest.mark.parametrize("name", sorted(transfuse._PUBLIC))
def test_every_exported_name_exists(name):
    assert getattr(transfuse, name) is not None


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'; it has Cascade, Embedder, Recipe, .*, shrink"):
        _ = transfuse.nonsense


def test_importing_the_package_imports_nothing_heavy():
    assert not modules_after("import transfuse") & (HEAVY | {"rich", "typer"})


def test_help_imports_nothing_heavy():
    loaded = modules_after("from transfuse.cli import main\nassert main(['--help']) == 0")
    assert "typer" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", ["run", "predict", "evaluate", "check", "assets", "cascade", "distill"])
def test_help_of_a_command_imports_no_framework(command):
    loaded = modules_after(f"from transfuse.cli import main\nassert main(['{command}', '--help']) == 0")
    assert not loaded & (HEAVY - {"pydantic"}), "typer itself reads options through pydantic"


def test_the_package_is_typed():
    assert (Path(transfuse.__file__).parent / "py.typed").exists()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(entry) == 2 for entry in entries), "a line of constraints.txt is no NAME==VERSION"
    return {canonical(name): version for name, version in entries}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {canonical(re.match(r"[\w.-]+", requirement).group()) for group in groups for requirement in group}
    assert names - set(pins()) == set()
    assert pins()["torch"] == "2.13.0"


def test_what_is_installed_is_what_is_pinned():
    installed = {canonical(dist.metadata["Name"]): dist.version.partition("+")[0] for dist in metadata.distributions()}
    different = {
        name: (installed[name], pin) for name, pin in pins().items() if name in installed and installed[name] != pin
    }
    assert different == {}, "installed against pinned"


def test_every_import_of_the_package_is_a_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonical(re.match(r"[\w.-]+", requirement).group()) for requirement in project["dependencies"]}
    extras = [entry for name in ("bundle", "onnx", "remote") for entry in project["optional-dependencies"][name]]
    optional = {canonical(re.match(r"[\w.-]+", requirement).group()) for requirement in extras}
    owners = metadata.packages_distributions()
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [
            re.match(r"\s*(?:from\s+(\w+)[\w.]*\s+import\b|import\s+(\w+)[\w., ]*(?:\s+as\b|$))", line)
            for line in lines
        ]
        imported |= {match[1] or match[2] for match in found if match}
    third_party = imported - set(sys.stdlib_module_names) - {"transfuse"}
    missing = {
        name
        for name in third_party
        if not {canonical(owner) for owner in owners.get(name, [name])} & (declared | optional)
    }
    assert missing == {"pydantic_core"}, "pydantic_core comes with pydantic in one version; the rest must be declared"


def code_blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```.*?^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """The indented lines of a page, without the comments behind them."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return [line.partition("#")[0].rstrip() for line in lines if line.startswith("    ")]


def test_the_readmes_show_the_same_code_links_and_headings():
    english, chinese = "README.md", "README.zh-CN.md"
    assert commands(english) == commands(chinese) != []
    assert [block.count("\n") for block in code_blocks(english)] == [
        block.count("\n") for block in code_blocks(chinese)
    ]
    texts = [(ROOT / page).read_text(encoding="utf-8").replace(".zh-CN", "") for page in (english, chinese)]
    links = [sorted(set(re.findall(r"\]\(([^)]+)\)", text))) for text in texts]
    assert links[0] == links[1]
    assert [text.count("\n## ") for text in texts] == [texts[0].count("\n## ")] * 2


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_recipe_of_the_readme_is_one(page):
    (block,) = [block for block in code_blocks(page) if block.startswith("```yaml")]
    recipe = transfuse.Recipe.from_text(block.strip("`").removeprefix("yaml"), base=ROOT)
    assert recipe.sources[0].name == "other"


PAGES = [
    "README.md",
    "README.zh-CN.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []
