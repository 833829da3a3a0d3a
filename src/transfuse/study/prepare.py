"""From a recipe to data: read, hold out, drop copies of what judges, draw the shots."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from transfuse.advice.candidates import automatic_of
from transfuse.data import (
    Columns,
    Examples,
    Finding,
    choose_asked,
    draw_shots,
    read,
    read_table,
    require_classes,
    share_error,
    to_examples,
)
from transfuse.data.labels import is_number
from transfuse.errors import DataError, RecipeError, StudyError, nearest
from transfuse.evaluation import sandbox
from transfuse.methods.catalogue import METHODS, method
from transfuse.study.recipe import Recipe, Split, Task
from transfuse.study.splitting import (
    LABELLED,
    TESTED,
    VALIDATED,
    Splits,
    apart,
    held_out,
    naming,
    splits_of,
    writes,
)
from transfuse.tasks.classify import MAX_TOKENS, Classify
from transfuse.tasks.writing import Writing

MOST_NUMBERS = 20
"""Numbers as labels are taken for measurements if there are more different ones than this and than a tenth of the rows.
"""


class SealedTest:
    """The test split, which is read once, after the choice.

    Args:
        examples: labelled rows, or None where the recipe has no test.
    """

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._opened = False

    def __len__(self) -> int:
        return len(self._examples)

    def open(self) -> Examples:
        """Break the seal.

        Raises:
            StudyError: it is broken already.
        """
        if self._opened:
            raise StudyError("the test split has been read once", expected="one reading, after the choice")
        self._opened = True
        return self._examples


@dataclasses.dataclass(frozen=True)
class StudyData:
    """All data of a study.

    Args:
        task: the task with its labels.
        train: labelled target rows that methods may learn from; with a split, those to validate on come last.
        splits: who trains and who validates.
        test: sealed.
        unlabelled: target texts without labels, or None.
        sources: labelled source rows by name, shuffled by the seed.
        related: the names of those sources that have labels of their own.
        source_tasks: of each source, where answers are written, its own task.
        demonstrations: of each source that is a prompted teacher, the examples that it is shown, or None.
        findings: what was left out and why, and what is wrong with the data.
        parts: each part with its origin, its rows and its labels, for the report.
        fingerprint: of all of it.
    """

    task: Classify | Writing
    train: Examples
    splits: Splits
    test: SealedTest
    unlabelled: Examples | None
    sources: Mapping[str, Examples]
    related: frozenset[str]
    source_tasks: Mapping[str, Writing]
    demonstrations: Mapping[str, Examples | None]
    findings: tuple[Finding, ...]
    parts: tuple[dict[str, object], ...]
    fingerprint: str


def prepare(recipe: Recipe) -> StudyData:
    """Read everything that a recipe names and split it; nothing is trained.

    The test comes first: it is held out before anything else is drawn, and training, source and unlabelled rows whose
    text stands in it are left out. So are training and source rows whose text validates, and, since labelled rows
    validate in turn, source rows whose text is labelled in the target.

    Raises:
        DataError: data that cannot be read or used.
        TransfuseError: programs are to be run, and nothing here can contain them.
    """
    if recipe.task.tested:
        sandbox.required()
    whole, test = _target(recipe)
    dropped: list[Finding] = []
    train = apart(whole, "train", {TESTED: test}, dropped)
    train, validation = _validation(recipe, train, test, dropped)
    train, unlabelled = _shots(recipe, train)
    if not writes(recipe.task):
        require_classes(train)
    task = _task(recipe.task, train, validation, test)
    with_data = [(i, s) for i, s in enumerate(recipe.sources) if s.data is not None]
    read_sources = {s.name: _source(recipe, i, task, dropped) for i, s in with_data}
    own_file = {} if isinstance(recipe.target.test, Split) else {"train": whole}
    alike = _alike(recipe, read_sources)
    share_error(test, {**own_file, **alike}, allow_overlap=recipe.allow_overlap)
    splits, train = splits_of(recipe, task, train, validation, dropped)
    validated = train.take(splits.fits[0][2]) if splits.kind == "split" else None
    every = {}
    for i, (name, examples) in enumerate(read_sources.items()):
        known = {TESTED: test, VALIDATED: validated, LABELLED: train if name in alike else None}
        every[name] = _without_copies(recipe.seed, i, name, examples, known, dropped)
    teaching = {s.name for s in recipe.sources if s.teaches}
    sources = {name: examples for name, examples in every.items() if name not in teaching}
    if recipe.target.unlabelled:
        unlabelled = apart(_unlabelled(recipe, recipe.target.unlabelled), "unlabelled", {TESTED: test}, dropped)
    if unlabelled is not None and teaching:  # a teacher's answers would be learnt beside those that judge
        unlabelled = apart(unlabelled, "unlabelled", {LABELLED: train}, dropped)
    parts = [("target train", train), ("test", test), ("unlabelled", unlabelled), *every.items()]
    checked = _check(task, train, test, sources, splits)
    prints = [examples.fingerprint() for _, examples in parts if examples is not None]
    return StudyData(
        task,
        train,
        splits,
        SealedTest(test),
        unlabelled,
        sources,
        frozenset(
            name
            for name, examples in sources.items()
            if not writes(recipe.task) and not set(examples.classes()) & set(task.labels)
        ),
        {s.name: _writing(recipe.task_of(s)) for s in recipe.sources} if writes(recipe.task) else {},
        {s.name: every.get(s.name) for s in recipe.sources if s.teacher},
        (*dropped, *checked),
        tuple(_part(task, name, examples) for name, examples in parts if examples is not None),
        "-".join(p[:16] for p in prints),
    )


def _columns(task: Task, group: str | None = None, *, judges: bool = True) -> Columns:
    """A task's columns; tests of programs are read where they are run, of the rows by which answers are judged."""
    if writes(task):
        runs = judges and task.tested
        return Columns(
            task.input,
            task.output,
            task.weight,
            group,
            written=True,
            context=task.context,
            tests=task.tests if runs else None,
            entry=task.entry if runs else None,
        )
    return Columns(input=task.input, label=task.label, weight=task.weight, group=group, bins=task.bins)


def _target(recipe: Recipe) -> tuple[Examples, Examples]:
    target = recipe.target
    decides = recipe.task.metric == "pass_1"
    validates = target.validation is None or isinstance(target.validation, Split)
    judges = isinstance(target.test, Split) or (validates and decides)
    columns = _columns(recipe.task, target.group_column, judges=judges)
    whole = read(target.reference, columns=columns, base=recipe.base)
    if not writes(recipe.task):
        _refuse_measurements(whole, recipe.task)
    if len(whole) == 0:
        raise DataError(f"{target.reference}: no rows are left after `bins`", expected="rows", remedy="Widen the bins.")
    if isinstance(target.test, Split):
        held, rest = held_out(recipe.task, whole, target.test.rows, target.test.seed)
        return whole.take(rest), whole.take(held)
    return whole, _judging(recipe, target.test, judges=True)


def _judging(recipe: Recipe, reference: str, *, judges: bool) -> Examples:
    """Rows of a file of their own, by which models are judged, with their groups where the file has the column."""
    table, group = read_table(reference, base=recipe.base), recipe.target.group_column
    return to_examples(table, _columns(recipe.task, group if group in table.columns else None, judges=judges))


def _refuse_measurements(examples: Examples, task: Task) -> None:
    """A column of ratings or prices is no column of labels: nearly every row would be a class of its own."""
    classes = examples.classes()
    if len(classes) > max(MOST_NUMBERS, len(examples) // 10) and all(is_number(label) for label in classes):
        raise DataError(
            f"{examples.origin}, column '{task.label}': {len(classes)} different numbers in {len(examples)} rows",
            expected="labels, each in many rows",
            remedy='Make labels of the numbers: task: {bins: {low: "< 2", high: ">= 2"}}, or name another column.',
        )


def _validation(
    recipe: Recipe, train: Examples, test: Examples, dropped: list[Finding]
) -> tuple[Examples, Examples | None]:
    wanted = recipe.target.validation
    if wanted is None:
        return train, None
    if isinstance(wanted, Split):
        held, rest = held_out(recipe.task, train, wanted.rows, wanted.seed)
        validation = train.take(held)
        return apart(train.take(rest), "train", {VALIDATED: validation}, dropped), validation
    judging = _judging(recipe, wanted, judges=recipe.task.metric == "pass_1")
    validation = apart(judging, "validation", {TESTED: test}, dropped)
    return apart(train, "train", {VALIDATED: validation}, dropped), validation


def _shots(recipe: Recipe, train: Examples) -> tuple[Examples, Examples | None]:
    """The few labelled rows; the others lose their labels."""
    if recipe.target.shots is None:
        return train, None
    seed = recipe.seed if recipe.target.seed is None else recipe.target.seed
    with naming(train):
        drawn = draw_shots(("",) * len(train) if writes(recipe.task) else train.labels or (), recipe.target.shots, seed)
    others = np.setdiff1d(np.arange(len(train)), drawn)
    return train.take(drawn), train.take(others).unlabelled()


def _unlabelled(recipe: Recipe, reference: str) -> Examples:
    """Texts of the target without labels, read as they are asked."""
    task, table = recipe.task, read_table(reference, base=recipe.base)
    columns = choose_asked(table, task.input, task.output, task.context) if writes(task) else Columns(task.input)
    return to_examples(table, columns).unlabelled()


def _task(section: Task, train: Examples, validation: Examples | None, test: Examples) -> Classify | Writing:
    if writes(section):
        return _writing(section)
    labels = set(train.classes()) | set(test.classes()) | set(validation.classes() if validation else ())
    if section.labels is not None:
        for part in (train, validation, test):
            _refuse_unknown(part, section)
        labels = set(section.labels)
    return Classify(
        tuple(sorted(labels)),
        template=_template(section),
        words=section.words or {},
        metric=section.metric,
        max_tokens=section.max_tokens or MAX_TOKENS,
        input=section.input or "text",
        label=section.label,
    )


def _template(section: Task) -> str | None:
    return None if section.template is None else section.template.replace("{{", "{").replace("}}", "}")


def _writing(section: Task) -> Writing:
    """The task of a recipe whose answers are text; what it does not say keeps its default."""
    said = {
        "max_tokens": section.max_tokens,
        "max_new_tokens": section.max_new_tokens,
        "languages": section.languages,
        "stop": section.stop,
        "input": section.input,
        "label": section.output,
        "runs": section.tested,
    }
    given = {key: value for key, value in said.items() if value is not None}
    return Writing(section.kind, _template(section), section.metric, **given)  # type: ignore[arg-type]


def _refuse_unknown(part: Examples | None, section: Task) -> None:
    """A label that the recipe does not list is a slip, in the data or in the list."""
    known, found = section.labels or (), () if part is None else part.labels or ()
    unknown = next((i for i, label in enumerate(found) if label not in known), None)
    if part is not None and unknown is not None:
        row, label = int(np.asarray(part.rows)[unknown]), found[unknown]
        raise DataError(
            f"{part.origin}, column '{section.label}', row {row}: the label '{label}' is not in task.labels."
            f"{nearest(label, list(known))}",
            expected=f"labels among {', '.join(known[:8])}",
            remedy="Correct the label in the data, or add it to task.labels in the recipe.",
        )


def _source(recipe: Recipe, index: int, task: Classify | Writing, dropped: list[Finding]) -> Examples:
    """A source's rows with labels of the target; all rows where it has none of them and a method learns from others."""
    source = recipe.sources[index]
    assert source.data is not None
    examples = read(source.data, columns=_columns(recipe.task_of(source), judges=False), base=recipe.base)
    if isinstance(task, Writing):
        return examples
    shared = [i for i, label in enumerate(examples.labels or ()) if label in task.labels]
    if not shared and learns_from_others(recipe) and not source.teaches:
        return examples
    if not shared:
        raise RecipeError(
            f"{recipe.at('sources', index)}: source '{source.name}' shares no label with the target: it has "
            f"{', '.join(examples.classes()[:8])}",
            expected=f"labels among {', '.join(task.labels[:8])}, or a method that learns from other labels: "
            f"{', '.join(name for name in METHODS if method(name).uses_related)}",
            remedy="Give the source its own `task: {label: ..., bins: ...}` that leads to the target's labels, or add "
            "such a method.",
        )
    if len(shared) < len(examples):
        foreign = sorted(set(examples.classes()) - set(task.labels))
        count = len(examples) - len(shared)
        facts = {"origin": examples.origin, "count": count, "labels": ", ".join(foreign[:5])}
        dropped.append(Finding("foreign-labels", "warning", source.name, facts))
    return examples.take(shared)


def learns_from_others(recipe: Recipe) -> bool:
    """Whether some method of a recipe learns from sources with labels of their own."""
    names = (
        [name for name, _, _ in automatic_of(recipe.task.kind)]
        if isinstance(recipe.methods, str)
        else [named.name for named in recipe.methods]
    )
    return any(name in METHODS and method(name).uses_related for name in names)


def _alike(recipe: Recipe, sources: Mapping[str, Examples]) -> dict[str, Examples]:
    """The sources in which a text of the target would give its answer away: not those in another language."""
    own = recipe.task.languages
    return {s.name: sources[s.name] for s in recipe.sources if s.data and recipe.task_of(s).languages == own}


def _without_copies(
    seed: int, index: int, name: str, examples: Examples, known: Mapping[str, Examples | None], dropped: list[Finding]
) -> Examples:
    """A source without the target's texts (see `apart`), shuffled, so that its first rows are a draw from all of it."""
    kept = apart(examples, name, known, dropped)
    if len(examples) and not len(kept):
        raise DataError(
            f"{examples.origin}: every row of source '{name}' also stands in the target's data",
            expected="rows that the target does not have",
            remedy="Choose other data, or leave the source out.",
        )
    return kept.take(np.random.default_rng([seed, index]).permutation(len(kept)))


def _check(
    task: Classify | Writing, train: Examples, test: Examples, sources: Mapping[str, Examples], splits: Splits
) -> list[Finding]:
    from transfuse.data import check

    if isinstance(task, Writing):  # answers in words may differ, and occur once
        bare = {name: source.unlabelled() for name, source in sources.items()}
        return check(train.unlabelled(), test.unlabelled(), None, bare, n_folds=splits.folds)
    return check(train, test, None, sources, n_folds=splits.folds)


def _part(task: Classify | Writing, name: str, examples: Examples) -> dict[str, object]:
    named = () if isinstance(task, Writing) else examples.labels or ()
    labels, counts = np.unique(np.array(named), return_counts=True)
    return {
        "name": name,
        "origin": examples.origin,
        "rows": len(examples),
        "dropped": examples.dropped,
        "per_label": {str(label): int(count) for label, count in zip(labels, counts, strict=True)},
    }
