"""Looking at data before anything learns from them: copies of test texts, contradictions, gaps.

A `Finding` says what was found in a few words, with the rows; what no honest study can use is a DataError.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from transfuse.data.examples import Examples
from transfuse.data.labels import name_rows
from transfuse.data.near import fold, near_pairs
from transfuse.errors import DataError

#: A larger share of the test set that stands in the training data or a source is an error.
MOST_OVERLAP = 0.05
#: Near-duplicates are looked for among this many texts at most.
MOST_COMPARED = 60_000


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about the data that the user should know.

    Args:
        kind: "copies", "duplicates", "near-duplicates", "contradictions", "empty", "unknown-labels", "small-classes",
            "truncated" or "not-compared".
        level: how bad it is.
        message: one sentence with the file and up to five rows.
        part: "train", "validation", "test", or the name of a source.
        rows: all rows concerned, counted from 1 in the file of that part.
    """

    kind: str
    level: Literal["error", "warning", "info"]
    message: str
    part: str
    rows: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for report.json; of many rows the first 100, and their number as ``count``."""
        return {**dataclasses.asdict(self), "rows": list(self.rows[:100]), "count": len(self.rows)}


def require_classes(examples: Examples) -> None:
    """Raise a DataError where all rows have one label (or none has any)."""
    classes = examples.classes()
    if len(classes) < 2:
        found = f"every row has the label '{classes[0]}'" if classes else "no labels"
        raise DataError(
            f"{examples.origin}: {found}",
            expected="at least two different labels",
            remedy="Check the label column, or add rows with another label.",
        )


def drop_copies(examples: Examples, test: Examples, part: str = "train") -> tuple[Examples, Finding | None]:
    """Leave out the rows whose text stands in the test set too, case and white space aside.

    Returns:
        (the other rows, a finding that names the dropped ones); the same examples and None where there are none.
    """
    sealed = {fold(text) for text in test.texts}
    copies = [i for i, text in enumerate(examples.texts) if fold(text) in sealed]
    if not copies:
        return examples, None
    kept = np.setdiff1d(np.arange(len(examples)), copies)
    finding = _finding(
        "copies", "warning", part, examples, copies, "{} of {} also [stands|stand] in the test data; left out"
    )
    return examples.take(kept), finding


def share_error(test: Examples, parts: Mapping[str, Examples], *, allow_overlap: bool = False) -> float:
    """The share of test rows whose text stands in one of the parts (training data, sources).

    For test data of their own file; where the test set is held out of the training data, copies are only dropped.

    Raises:
        DataError: the share is over 5 % and not allowed.
    """
    known = {fold(text): name for name, part in parts.items() for text in part.texts}
    shared = [i for i, text in enumerate(test.texts) if fold(text) in known]
    share = len(shared) / max(1, len(test))
    if share > MOST_OVERLAP and not allow_overlap:
        where = sorted({known[fold(test.texts[i])] for i in shared})
        raise DataError(
            f"{test.origin}: {share:.1%} of the test texts ({_rows(test, shared)}) also stand in {', '.join(where)}",
            expected=f"at most {MOST_OVERLAP:.0%}, or the figures would measure memory",
            remedy="Choose other test data, or write allow_overlap: true; training then leaves copies out.",
        )
    return share


def check(
    train: Examples,
    test: Examples | None = None,
    validation: Examples | None = None,
    sources: Mapping[str, Examples] | None = None,
    *,
    n_folds: int = 2,
    token_lengths: Callable[[Sequence[str]], np.ndarray] | None = None,
    max_tokens: int | None = None,
) -> list[Finding]:
    """Look for everything that could spoil a study; the most serious first.

    Args:
        train, test, validation, sources: the data; sources by name. Labels may be missing anywhere.
        n_folds: of the cross-validation to come, to which small classes are compared.
        token_lengths: gives the number of tokens of each text, int [N]; None leaves truncation unchecked.
        max_tokens: what the backbone reads.

    Cost: about 0.2 ms a text (for near-duplicates, of up to 60,000 texts).
    """
    parts = {"train": train, "validation": validation, "test": test, **(sources or {})}
    given = {name: part for name, part in parts.items() if part is not None}
    folded = {name: [fold(text) for text in part.texts] for name, part in given.items()}
    findings = [*_copies(given, folded), *_near_copies(given, folded)]
    for name, part in given.items():
        findings += [*_duplicates(name, part, folded[name]), *_empty(name, part, folded[name])]
        findings += _contradictions(name, part, folded[name])
        if token_lengths is not None and max_tokens is not None:
            findings += _truncated(name, part, token_lengths(part.texts), max_tokens)
    findings += _unknown_labels(train, test)
    findings += _small_classes(train, n_folds)
    return sorted(findings, key=lambda finding: ("error", "warning", "info").index(finding.level))


def _rows(examples: Examples, positions: Sequence[int] | np.ndarray) -> str:
    assert examples.rows is not None
    return name_rows(examples.rows[np.asarray(positions, dtype=np.int64)])


def _finding(
    kind: str, level: Literal["error", "warning", "info"], part: str, examples: Examples, positions: Iterable[int],
    message: str,
) -> Finding:  # fmt: skip
    """A finding whose message has two gaps, for "3 texts" and the origin, and verbs as [singular|plural]."""
    chosen = np.array(sorted(set(positions)), dtype=np.int64)
    assert examples.rows is not None
    count = f"{len(chosen)} text{'s' * (len(chosen) != 1)}"
    sentence = re.sub(r"\[(\w+)\|(\w+)\]", r"\1" if len(chosen) == 1 else r"\2", message)
    text = f"{sentence.format(count, examples.origin)}: {_rows(examples, chosen)}"
    return Finding(kind, level, text, part, tuple(int(row) for row in examples.rows[chosen]))


def _copies(parts: Mapping[str, Examples], folded: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Rows of any part whose text stands in the test data, or in the validation data."""
    for sealed, others in (("test", set(parts) - {"test"}), ("validation", set(parts) - {"test", "validation"})):
        known = {text for text in folded.get(sealed, ()) if text}
        for name in [name for name in parts if name in others]:
            same = [i for i, text in enumerate(folded[name]) if text in known]
            if same:
                message = f"{{}} of {{}} also [stands|stand] in the {sealed} data"
                yield _finding("copies", "warning", name, parts[name], same, message)


def _duplicates(name: str, part: Examples, folded: list[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    again = []
    for i, text in enumerate(folded):
        if text and text in seen:
            again.append(i)
        seen.add(text)
    if again:
        yield _finding("duplicates", "info", name, part, again, "{} of {} stood there before")


def _empty(name: str, part: Examples, folded: list[str]) -> Iterator[Finding]:
    empty = [i for i, text in enumerate(folded) if not text]
    if empty:
        yield _finding("empty", "warning", name, part, empty, "{} of {} [is|are] empty")


def _contradictions(name: str, part: Examples, folded: list[str]) -> Iterator[Finding]:
    if part.labels is None:
        return
    labels = collections.defaultdict(set)
    for text, label in zip(folded, part.labels, strict=True):
        labels[text].add(label)
    torn = [i for i, text in enumerate(folded) if text and len(labels[text]) > 1]
    if torn:
        yield _finding("contradictions", "warning", name, part, torn, "{} of {} [has|have] a twin with another label")


def _near_copies(parts: Mapping[str, Examples], folded: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Texts that nearly equal a test text (a warning) or another text of their own part (for information)."""
    order = [name for name in ("test", "train", "validation") if name in parts]
    order += [name for name in parts if name not in order]
    home = [(name, i) for name in order for i in range(len(folded[name]))]
    pairs = near_pairs([folded[name][i] for name, i in home[:MOST_COMPARED]])
    across: dict[str, set[int]] = collections.defaultdict(set)
    within: dict[str, set[int]] = collections.defaultdict(set)
    for one, other in pairs:
        (first, i), (second, j) = home[one], home[other]
        if first == second:
            within[first] |= {i, j}
        elif first == "test":
            across[second].add(j)
    for name in order:
        if across[name]:
            message = "{} of {} nearly [equals|equal] test texts"
            yield _finding("near-duplicates", "warning", name, parts[name], across[name], message)
        if within[name]:
            message = "{} of {} nearly [equals|equal] another text there"
            yield _finding("near-duplicates", "info", name, parts[name], within[name], message)
    if len(home) > MOST_COMPARED:
        left = f"near-duplicates were looked for in the first {MOST_COMPARED:,} of {len(home):,} texts"
        yield Finding("not-compared", "info", left, home[MOST_COMPARED][0])


def _unknown_labels(train: Examples, test: Examples | None) -> Iterator[Finding]:
    if test is None or test.labels is None or train.labels is None:
        return
    known = set(train.labels)
    for label in sorted(set(test.labels) - known):
        rows = [i for i, found in enumerate(test.labels) if found == label]
        message = f"{{}} of {{}} [has|have] the label '{label}', which no training row has"
        yield _finding("unknown-labels", "warning", "test", test, rows, message)


def _small_classes(train: Examples, n_folds: int) -> Iterator[Finding]:
    for label, count in sorted(collections.Counter(train.labels or ()).items()):
        if count < n_folds:
            rows = [i for i, found in enumerate(train.labels or ()) if found == label]
            message = f"only {{}} of {{}} [has|have] the label '{label}', fewer than the {n_folds} folds"
            yield _finding("small-classes", "warning", "train", train, rows, message)


def _truncated(name: str, part: Examples, lengths: np.ndarray, max_tokens: int) -> Iterator[Finding]:
    long = np.flatnonzero(np.asarray(lengths) > max_tokens)
    if len(long):
        share = f"{len(long) / len(part):.1%}"
        message = f"{{}} of {{}} ({share}) [is|are] longer than {max_tokens} tokens and will be cut"
        yield _finding("truncated", "warning", name, part, long.tolist(), message)
