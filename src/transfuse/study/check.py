"""Data hygiene of a recipe, without training."""

from __future__ import annotations

from transfuse.data import Finding
from transfuse.study.prepare import prepare
from transfuse.study.recipe import Recipe
from transfuse.study.settings import known_methods


def check_recipe(recipe: Recipe) -> list[Finding]:
    """All findings about a recipe's data: what a study would leave out, and what is wrong.

    Raises:
        RecipeError: a method or a setting that does not exist.
        DataError: data that no study could use.
    """
    known_methods(recipe)
    return list(prepare(recipe).findings)
