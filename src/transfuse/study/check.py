"""Data hygiene of a recipe, without training."""

from __future__ import annotations

from transfuse.data import Finding
from transfuse.methods.catalogue import METHODS, settings
from transfuse.study.prepare import prepare
from transfuse.study.recipe import Recipe, check_methods


def check_recipe(recipe: Recipe) -> list[Finding]:
    """All findings about a recipe's data: what a study would leave out, and what is wrong.

    Raises:
        RecipeError: a method or a setting that does not exist.
        DataError: data that no study could use.
    """
    check_methods(recipe, {name: settings(name) for name in METHODS})
    return list(prepare(recipe).findings)
