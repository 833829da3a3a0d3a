"""A folder as a user has it: a target file, two sources, two tiny backbones, and recipes about them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from remote_place import opened, own
from study.place import Told, recipe_text, write_data

from transfuse.study.recipe import Recipe

__all__ = ["opened", "own"]


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """The folder: target.csv, source.csv, other.csv, enc, dec."""
    folder = write_data(tmp_path_factory.mktemp("place"))
    (folder / "enc").symlink_to(tiny.folder("bert"))
    (folder / "dec").symlink_to(tiny.folder("llama"))
    return folder


@pytest.fixture
def recipe(place):
    """``recipe(methods=..., sources=..., KEY=...)`` -> Recipe."""
    return lambda *arguments, **changes: Recipe.from_text(recipe_text(*arguments, **changes), base=place)


@pytest.fixture
def told():
    """A progress that remembers."""
    return Told()
