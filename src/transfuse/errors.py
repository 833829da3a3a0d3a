"""The exceptions of transfuse, the exit code of each, and nothing else.

    TransfuseError            1   anything that transfuse reports itself
    ├── UsageError            2   a command line that cannot be understood
    ├── RecipeError           3   a recipe: unknown key, wrong value, a method's name
    ├── DataError             4   data: a missing file, a column, a label, a row
    ├── AssetError            5   the catalog, a hub or a download
    ├── BackboneError         6   a backbone that cannot be loaded or used
    ├── ModelError            7   a fitted model's folder
    ├── OutputError           8   a folder or a disk that cannot be written
    ├── StudyError            9   a study in which nothing could be chosen
    └── TeamError            10   a team: a role, its contract, a trace

A message has three parts, in the user's own names (file, row, column, key): what was found, what was
expected, and what to do.
"""

from __future__ import annotations


class TransfuseError(Exception):
    """An error that a user can act on.

    Args:
        found: what is wrong and where, with the user's own names: ``"reviews.csv, row 7, column 'label': empty"``.
        expected: what would have been right; may be empty where ``found`` says it all.
        remedy: what to do, as an imperative: ``"Fill the label or drop the row."``.
    """

    exit_code = 1

    def __init__(self, found: str, *, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        parts = [found]
        if expected:
            parts.append(f"Expected: {expected}")
        if remedy:
            parts.append(f"Remedy: {remedy}")
        super().__init__("\n".join(parts))


class UsageError(TransfuseError):
    """A command line that cannot be understood."""

    exit_code = 2


class RecipeError(TransfuseError):
    """A recipe that cannot be read or asks for what does not exist."""

    exit_code = 3


class DataError(TransfuseError):
    """Data that cannot be read, or that no honest study can use."""

    exit_code = 4


class AssetError(TransfuseError):
    """An asset of the catalog or a hub that cannot be fetched or trusted."""

    exit_code = 5


class BackboneError(TransfuseError):
    """A pretrained model that cannot be loaded or does not do what is asked."""

    exit_code = 6


class ModelError(TransfuseError):
    """A fitted model's folder that is damaged, foreign or from a newer format."""

    exit_code = 7


class OutputError(TransfuseError):
    """A place that cannot be written, or that belongs to something else."""

    exit_code = 8


class StudyError(TransfuseError):
    """A study that ended without anything to choose."""

    exit_code = 9


class TeamError(TransfuseError):
    """A team that cannot work together: a role, a contract that is broken, a trace that is not there."""

    exit_code = 10


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known word nearest to a mistyped one, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
