"""Looking at data before anything learns from them: copies of test texts, contradictions, gaps.

A `Finding` says what was found in a few words, with the rows; what no honest study can use is a DataError.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from transfuse.data.examples import Examples
from transfuse.data.findings import Finding, Level
from transfuse.data.labels import name_rows
from transfuse.data.near import fold, near_pairs
from transfuse.errors import DataError

#: A larger share of the test set that stands in the training data or a source is an error.
MOST_OVERLAP = 0.05
#: Near-duplicates are looked for among this many texts at most.
MOST_COMPARED = 60_000


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


def drop_copies(
    examples: Examples, test: Examples, part: str = "train", kind: str = "dropped-copies"
) -> tuple[Examples, Finding | None]:
    """Leave out the rows whose text stands in the test set too, case and white space aside.

    Args:
        examples: the rows.
        test: the test set, or other rows that judge what learns from these.
        part: what the finding calls the rows.
        kind: of the finding, which says where the copies stand.

    Returns:
        (the other rows, a finding that names the dropped ones); the same examples and None where there are none.
    """
    sealed = {fold(text) for text in test.texts}
    copies = [i for i, text in enumerate(examples.texts) if fold(text) in sealed]
    if not copies:
        return examples, None
    kept = np.setdiff1d(np.arange(len(examples)), copies)
    return examples.take(kept), _finding(kind, "warning", part, examples, copies)


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
    kind: str, level: Level, part: str, examples: Examples, positions: Iterable[int], **facts: str | int
) -> Finding:
    """A finding about some of a part's rows."""
    assert examples.rows is not None
    rows = tuple(int(row) for row in examples.rows[sorted(set(positions))])
    return Finding(kind, level, part, {"origin": examples.origin, "count": len(rows), **facts}, rows)


def _copies(parts: Mapping[str, Examples], folded: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Rows of any part whose text stands in the test data, or in the validation data."""
    for sealed, others in (("test", set(parts) - {"test"}), ("validation", set(parts) - {"test", "validation"})):
        known = {text for text in folded.get(sealed, ()) if text}
        for name in [name for name in parts if name in others]:
            same = [i for i, text in enumerate(folded[name]) if text in known]
            if same:
                yield _finding("copies", "warning", name, parts[name], same, sealed=sealed)


def _duplicates(name: str, part: Examples, folded: list[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    again = []
    for i, text in enumerate(folded):
        if text and text in seen:
            again.append(i)
        seen.add(text)
    if again:
        yield _finding("duplicates", "info", name, part, again)


def _empty(name: str, part: Examples, folded: list[str]) -> Iterator[Finding]:
    empty = [i for i, text in enumerate(folded) if not text]
    if empty:
        yield _finding("empty", "warning", name, part, empty)


def _contradictions(name: str, part: Examples, folded: list[str]) -> Iterator[Finding]:
    if part.labels is None:
        return
    labels = collections.defaultdict(set)
    for text, label in zip(folded, part.labels, strict=True):
        labels[text].add(label)
    torn = [i for i, text in enumerate(folded) if text and len(labels[text]) > 1]
    if torn:
        yield _finding("contradictions", "warning", name, part, torn)


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
            yield _finding("near-copies", "warning", name, parts[name], across[name])
        if within[name]:
            yield _finding("near-duplicates", "info", name, parts[name], within[name])
    if len(home) > MOST_COMPARED:
        facts = {"compared": f"{MOST_COMPARED:,}", "total": f"{len(home):,}"}
        yield Finding("not-compared", "info", home[MOST_COMPARED][0], facts)


def _unknown_labels(train: Examples, test: Examples | None) -> Iterator[Finding]:
    if test is None or test.labels is None or train.labels is None:
        return
    known = set(train.labels)
    for label in sorted(set(test.labels) - known):
        rows = [i for i, found in enumerate(test.labels) if found == label]
        yield _finding("unknown-labels", "warning", "test", test, rows, label=label)


def _small_classes(train: Examples, n_folds: int) -> Iterator[Finding]:
    for label, count in sorted(collections.Counter(train.labels or ()).items()):
        if count < n_folds:
            rows = [i for i, found in enumerate(train.labels or ()) if found == label]
            yield _finding("small-classes", "warning", "train", train, rows, label=label, folds=n_folds)


def _truncated(name: str, part: Examples, lengths: np.ndarray, max_tokens: int) -> Iterator[Finding]:
    long = np.flatnonzero(np.asarray(lengths) > max_tokens)
    if len(long):
        share = f"{len(long) / len(part):.1%}"
        yield _finding("truncated", "warning", name, part, long.tolist(), share=share, limit=max_tokens)
