"""YAML in which every key knows its line, no key stands twice, and ``no`` is a word.

PyYAML speaks YAML 1.1, where ``no`` is false, ``010`` is 8, ``1:30`` is 90 and ``2e-5`` is text. Recipes hold labels
and learning rates, so scalars follow YAML 1.2's core schema here, and keys are always text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from transfuse.errors import RecipeError

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 30

_TAG = "tag:yaml.org,2002:"
_SCALARS = (  # tag, pattern, first characters: the core schema of YAML 1.2
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list("-+.")),
)


class _Loader(yaml.SafeLoader):
    """Reads the plain types only, by the core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would not read as text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _tag, re.compile(_pattern), _first)
_Loader.add_constructor(_TAG + "int", lambda loader, node: int(node.value))  # 010 is ten
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(_TAG + "str", text, style='"' if "\n" in text else None),
)


@dataclasses.dataclass(frozen=True)
class Located:
    """A mapping that was read from YAML, and where each of its keys stands.

    Args:
        data: the mapping, of plain types.
        lines: the line, from 1, of each key and list item by its path: ``("target", "shots")``, ``("sources", 0)``.
        origin: the file as the user named it.
    """

    data: dict[str, Any]
    lines: Mapping[KeyPath, int]
    origin: str

    def at(self, path: KeyPath) -> str:
        """``"reviews.yaml, line 12, key 'target.shots'"``; the line is that of the nearest key that stands there."""
        return f"{place(self.origin, self.line(path))}, key '{dotted(path)}'" if path else self.origin

    def line(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest key above it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


def dotted(path: KeyPath) -> str:
    """``("sources", 0, "data")`` as ``sources[0].data``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def place(origin: str, line: int | None) -> str:
    """``reviews.yaml, line 12``, or the origin alone."""
    return origin if line is None else f"{origin}, line {line}"


def read_file(path: Path) -> str:
    """The text of a recipe's file.

    Raises:
        RecipeError: it is missing, a folder, unreadable, not text, or far too large for a recipe.
    """
    try:
        if path.is_dir():
            raise RecipeError(f"{path}: a folder", expected="a recipe, a YAML file", remedy=f"Name a file in {path}.")
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RecipeError(
            f"{path}: no such file",
            expected="a recipe, a YAML file",
            remedy="Check the path; examples/ has recipes to start from.",
        ) from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}", remedy="Check its permissions.") from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{path}: larger than {MAX_BYTES >> 20} MiB", expected="a recipe, a short YAML file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path}, byte {error.start}: not UTF-8 text", expected="a recipe, a YAML file", remedy="Save it as UTF-8."
        ) from error


def parse(text: str, origin: str) -> Located:
    """Read one YAML mapping.

    Raises:
        RecipeError: the text is empty, not YAML, not a mapping, or has a key twice; the message names the line.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise RecipeError(f"{origin}: empty", expected="a recipe", remedy="Start from examples/reviews.yaml.")
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(
                f"{place(origin, node.start_mark.line + 1)}: {_kind(node)}, not keys and values",
                expected="a recipe, that starts with `version: 1`",
            )
        walk = _Walk(origin)
        walk.visit(node, (), 0)
        data = loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        raise _syntax_error(error, origin) from error
    except RecursionError as error:
        raise RecipeError(f"{origin}: nested too deeply", expected="a recipe") from error
    if walk.repeated:
        raise RecipeError("\n".join(walk.repeated), remedy="Keep one of the two.")
    return Located(data, walk.lines, origin)


def dump(data: dict[str, Any]) -> str:
    """YAML of plain types that `parse` reads back as equal data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)


class _Walk:
    """Goes through the nodes once: notes lines, finds keys that stand twice, makes every key text."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.lines: dict[KeyPath, int] = {}
        self.repeated: list[str] = []
        self.seen = 0

    def visit(self, node: yaml.Node, path: KeyPath, depth: int) -> None:
        self.seen += 1
        if self.seen > MAX_NODES or depth > MAX_DEPTH:
            raise RecipeError(f"{self.origin}: nested too deeply or far too long", expected="a recipe")
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
                self.visit(item, (*path, index), depth + 1)
        elif isinstance(node, yaml.MappingNode):
            here: dict[str, int] = {}
            for key, value in node.value:
                self._key(key, path, here)
                self.visit(value, (*path, str(key.value)), depth + 1)

    def _key(self, key: yaml.Node, path: KeyPath, here: dict[str, int]) -> None:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise RecipeError(f"{place(self.origin, line)}: {_kind(key)} as a key", expected="a word as a key")
        key.tag = _TAG + "str"
        name = str(key.value)
        full = (*path, name)
        if name in here:
            self.repeated.append(
                f"{place(self.origin, line)}, key '{dotted(full)}': stands twice, first on line {here[name]}"
            )
        here.setdefault(name, line)
        self.lines.setdefault(full, line)


def _kind(node: yaml.Node) -> str:
    names = {yaml.ScalarNode: "a single value", yaml.SequenceNode: "a list", yaml.MappingNode: "a mapping"}
    return names.get(type(node), "something else")


def _syntax_error(error: Exception, origin: str) -> RecipeError:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    where = place(origin, mark.line + 1 if mark else None)
    hint = "Indent with spaces, not tabs." if "\\t" in str(what) else "Quote a value that holds ':', '#', '{' or '<'."
    return RecipeError(f"{where}: not YAML: {what}", expected="a recipe", remedy=hint)
