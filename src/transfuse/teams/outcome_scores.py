"""Scores of what a team says against labelled rows: a statistic a row, so that intervals and pairs are `evaluation`'s.

A field of labels, numbers or lists is right or wrong (accuracy). A text has chrF++, numbers of the request that are
kept (those that the reference keeps, too), placeholders of the reference that are kept, and repetition; with a held-out
classifier also the share of texts from which it reads the label of the row, and the share of those that keep all
numbers and placeholders, too. Who does not answer has said nothing: wrong, and an empty text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.errors import UsageError
from transfuse.evaluation import (
    Comparison,
    Interval,
    as_answers,
    as_expected,
    compare,
    holm,
    metric_intervals,
    metric_of,
)
from transfuse.evaluation.bootstrap import draws, percentile, resample
from transfuse.evaluation.checks import as_repeats
from transfuse.fitted import FittedModel
from transfuse.teams.contract import LIST, NUMBER, TEXT, Kind
from transfuse.teams.labelled import LabelledRows, value_as_text
from transfuse.teams.speakers import identity_of
from transfuse.teams.team import Team

TEXT_SCORES = ("chrf", "numbers", "placeholders", "repetition")
"""Metrics of a text field; the first decides. Those of numbers and placeholders need rows that have some."""
FITS = "fits"
"""A text from which the held-out classifier reads the row's label."""
OUTCOME = "outcome"
"""A text of which that holds, and that keeps all numbers and placeholders."""
ROUNDS = 1000

Said = Sequence[Mapping[str, Any]]
"""What was said of each row, field by field; empty where nobody answered."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """One score of one field.

    Args:
        field: of the team.
        name: ``accuracy``, one of `TEXT_SCORES`, `FITS` or `OUTCOME`.
        places: int [M], the rows that have what is expected.
        known: [M], what is expected, as `evaluation` takes it.
        read: what was said of M rows, as `evaluation` takes it.
    """

    field: str
    name: str
    places: np.ndarray
    known: np.ndarray
    read: Callable[[Said], np.ndarray]

    @property
    def metric(self) -> str:
        """Its name in `evaluation`."""
        return "accuracy" if self.name in (FITS, OUTCOME) else self.name

    @property
    def key(self) -> str:
        """``reply.chrf``."""
        return f"{self.field}.{self.name}"

    def table(self, said: Said) -> np.ndarray:
        """What was said of the rows that count, as `evaluation` takes it."""
        return self.read([said[i] for i in self.places])

    def interval(self, said: Said, seed: int, among: Sequence[bool] | None = None) -> Interval | None:
        """The figure with its 95 % interval; ``among`` [N] leaves rows out, and None is for no rows at all."""
        kept = np.ones(len(self.places), dtype=bool) if among is None else np.asarray(among, dtype=bool)[self.places]
        if not kept.any():
            return None
        table = self.table(said)
        return metric_intervals(self.known[kept], table[kept], seed=seed, names=[self.metric])[self.metric]

    def compared(self, a: Said, b: Said, seed: int) -> Comparison:
        """How much better a is than b on the same rows; see `compared`."""
        return compared(self.known, self.table(a), self.table(b), self.metric, seed)

    def contrast(self, terms: Sequence[tuple[float, Said]], seed: int) -> Interval:
        """A weighted sum of figures, all on the same resamples: ``[(1, with), (-1, without)]`` is a difference.

        Positive is better also for metrics of which less is better.
        """
        function, greater = metric_of(self.metric)
        sign, n = 1.0 if greater else -1.0, len(self.places)
        value, drawn = 0.0, np.zeros(ROUNDS)
        for weight, said in terms:
            known, table = as_repeats(self.known, self.table(said))
            value += sign * weight * float(resample(known, table, [function], [np.ones((1, n))])[0][0])
            drawn += sign * weight * resample(known, table, [function], draws(n, seed=seed, rounds=ROUNDS))[0]
        return percentile(value, drawn, 0.95)

    def each(self, said: Said) -> np.ndarray:
        """The score of each row by itself, larger is better, float64 [M]."""
        function, greater = metric_of(self.metric)
        found = np.asarray(function.combine(_statistics(self.known, self.table(said), self.metric)), dtype=np.float64)
        return found if greater else -found


def compared(known: np.ndarray, a: np.ndarray, b: np.ndarray, metric: str, seed: int) -> Comparison:
    """How much better a is than b on the same N rows; its p is that of `swapped`.

    Args:
        known: [N], what is expected, as `evaluation` takes it.
        a, b: what was said, as `evaluation` takes it.
        metric: a name of `evaluation`.
        seed: of the resamples.
    """
    found = compare(known, a, b, metric=metric, seed=seed)
    return dataclasses.replace(found, p=swapped(known, a, b, metric, seed))


def swapped(known: np.ndarray, a: np.ndarray, b: np.ndarray, metric: str, seed: int) -> float:
    """One-sided p value of the hypothesis that a row's two answers could as well be exchanged; see `compared`.

    Formula: (1 + #{r: delta*_r >= delta}) / (1 + R); delta*_r is the difference after each row's statistics were
    swapped with chance 1/2.

    Reference: approximate randomisation, Riezler and Maxwell 2005.
    """
    function, greater = metric_of(metric)
    sign = 1.0 if greater else -1.0
    sums = [_statistics(known, table, metric) for table in (a, b)]
    whole = sums[0] + sums[1]

    def difference(mask: np.ndarray) -> np.ndarray:
        own = mask @ sums[0] + (1 - mask) @ sums[1]
        return sign * np.asarray(function.combine(own) - function.combine(whole.sum(axis=0) - own))

    delta = float(difference(np.ones((1, len(whole))))[0])
    masks = np.random.default_rng(seed).integers(0, 2, size=(ROUNDS, len(whole))).astype(np.float64)
    return float((1 + (difference(masks) >= delta - 1e-12).sum()) / (1 + ROUNDS))


def _statistics(known: np.ndarray, table: np.ndarray, metric: str) -> np.ndarray:
    """What each row adds to the sums of the metric, float64 [N, K]."""
    right, (one,) = as_repeats(known, table)
    return np.asarray(metric_of(metric)[0].statistics(right, one))


def measures(rows: LabelledRows, kinds: Mapping[str, Kind], judge: FittedModel | None = None) -> dict[str, Measure]:
    """Every score that the rows allow, by its key.

    Args:
        rows: labelled rows.
        kinds: of the fields.
        judge: a held-out classifier; it judges the text fields by the column that holds its labels.

    Raises:
        UsageError: no column holds the judge's labels.
    """
    found: list[Measure] = []
    for field, expected in rows.fields.items():
        if kinds[field] == TEXT:
            found += _texts(rows, field, expected)
        else:
            found.append(_right(field, expected, kinds[field]))
    if judge is not None:
        column = next((f for f, v in rows.fields.items() if kinds[f] != TEXT and {*v} - {""} <= {*judge.labels}), None)
        if column is None:
            raise UsageError(
                f"the judge knows {', '.join(judge.labels)}, and no column of {rows.origin} holds these labels",
                expected="a classifier of the labels of one of the columns " + ", ".join(rows.fields),
            )
        for field in (field for field in rows.fields if kinds[field] == TEXT):
            fits = _fits(field, rows.fields[column], judge)
            found += [fits, _outcome(rows, fits)]
    return {measure.key: measure for measure in found}


def beside_each_other(found: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons with their p values adjusted for each other (Holm): *helps* is said only where these allow it."""
    p = holm([1.0 if one.p is None else one.p for one in found])
    return [one.beside(value) for one, value in zip(found, p, strict=True)]


def _texts(rows: LabelledRows, field: str, expected: tuple[str, ...]) -> list[Measure]:
    places = np.array([i for i, text in enumerate(expected) if text], dtype=np.int64)
    known = as_expected([rows.requests[i] for i in places], [expected[i] for i in places])

    def read(said: Said) -> np.ndarray:
        return as_answers([str(content.get(field, "")) for content in said])

    return [Measure(field, name, places, known, read) for name in TEXT_SCORES if _counted(name, known)]


def _counted(name: str, known: np.ndarray) -> bool:
    """Whether the rows have any number or placeholder that could be kept."""
    if name not in ("numbers", "placeholders"):
        return True
    references = as_answers([one.answers[0] for one in known])
    column = 7 if name == "numbers" else 5
    return bool(metric_of(name)[0].statistics(known, references)[:, column].any())


def _right(field: str, expected: tuple[str, ...], kind: Kind) -> Measure:
    places = np.array([i for i, text in enumerate(expected) if text], dtype=np.int64)
    wanted = [expected[i] for i in places]

    def read(said: Said) -> np.ndarray:
        hits = [field in c and _same(c[field], text, kind) for c, text in zip(said, wanted, strict=True)]
        return _shares(hits)

    return Measure(field, "accuracy", places, np.ones(len(places), dtype=np.int64), read)


def _fits(field: str, labels: tuple[str, ...], judge: FittedModel) -> Measure:
    places = np.array([i for i, label in enumerate(labels) if label], dtype=np.int64)
    wanted = [labels[i] for i in places]
    heard: dict[str, str] = {}

    def read(said: Said) -> np.ndarray:
        texts = [str(content.get(field, "")) for content in said]
        new = [text for text in dict.fromkeys(texts) if text and text not in heard]
        heard.update(zip(new, judge.predict(new) if new else [], strict=True))
        return _shares([heard.get(text) == label for text, label in zip(texts, wanted, strict=True)])

    return Measure(field, FITS, places, np.ones(len(places), dtype=np.int64), read)


def _outcome(rows: LabelledRows, fits: Measure) -> Measure:
    """Texts that fit and keep all numbers and placeholders, on the rows that have both a label and a reference."""
    expected = rows.fields[fits.field]
    counted = np.array([bool(expected[i]) for i in fits.places], dtype=bool)
    places = fits.places[counted]
    known = as_expected([rows.requests[i] for i in places], [expected[i] for i in places])

    def read(said: Said) -> np.ndarray:
        texts = as_answers([str(content.get(fits.field, "")) for content in said])
        kept = metric_of("numbers")[0].statistics(known, texts)[:, 4:8]
        whole = (kept[:, ::2] == kept[:, 1::2]).all(axis=1)
        everyone: list[Mapping[str, Any]] = [{} for _ in counted]
        for place, content in zip(np.flatnonzero(counted), said, strict=True):
            everyone[place] = content
        return _shares(list(whole & (fits.read(everyone)[counted, 1] > 0)))

    return Measure(fits.field, OUTCOME, places, np.ones(len(places), dtype=np.int64), read)


def _shares(hits: Sequence[bool]) -> np.ndarray:
    """Right and wrong as probabilities of two classes, of which the second is right; float64 [M, 2]."""
    right = np.array(hits, dtype=np.float64)
    return np.stack([1 - right, right], axis=1)


def _same(value: Any, text: str, kind: Kind) -> bool:
    if kind == NUMBER:
        return abs(float(value) - float(text)) <= 1e-9 * max(1.0, abs(float(text)))
    said = value_as_text(value, kind)
    return said.casefold() == text.casefold() if kind == LIST else said == text


def refuse_a_judge_of_the_team(judge: FittedModel, team: Team, name: str) -> None:
    """Refuse a judge that answers in the team: it would find its own words right.

    Raises:
        UsageError: names the role.
    """
    identity = identity_of(judge)
    for role in team.roles.values():
        model = getattr(role.speaker, "model", None)
        if isinstance(model, FittedModel) and identity_of(model) == identity:
            raise UsageError(
                f"--judge {name}: this model answers for the role '{role.name}'",
                expected="a fitted model that no role of the team uses",
                remedy="Fit another one, on other rows or by another method.",
            )
