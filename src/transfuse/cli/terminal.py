"""What commands share: the language, the consoles, and where a model lies."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from transfuse.errors import OutputError, UsageError

LANGUAGES = ("en", "zh")


def language(asked: str | None) -> str:
    """``zh`` or ``en``: what was asked for, else the locale's.

    Raises:
        UsageError: another language was asked for.
    """
    if asked is not None:
        if asked not in LANGUAGES:
            raise UsageError(f"--lang {asked}: not a language of transfuse", expected=" or ".join(LANGUAGES))
        return asked
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def stdout() -> Console:
    """The console for results; it prints what it is given, and reads no markup in the user's texts."""
    return Console(highlight=False, markup=False)


def stderr() -> Console:
    """The console for progress and notes."""
    return Console(stderr=True, highlight=False, markup=False)


def model_folder(path: Path) -> Path:
    """The folder of a fitted model, given it or the folder of the run that made it."""
    inside = path / "model"
    return inside if not (path / "manifest.json").exists() and (inside / "manifest.json").exists() else path


def ready(*places: Path | None) -> None:
    """Make the folders of files that a command will write, before it works for them.

    Raises:
        OutputError: a place that cannot be written; names it.
    """
    for place in filter(None, places):
        refused = "a folder" if place.is_dir() else ""
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            refused = error.strerror or str(error)
        if not refused and not os.access(place if place.exists() else place.parent, os.W_OK):
            refused = "permission denied"
        if refused:
            raise OutputError(
                f"{place}: {refused}", expected="a file in a folder that can be written", remedy="Choose another."
            )
