"""Requests and answers in the shapes that people keep them in: two columns, chat messages, Alpaca, ShareGPT, SQuAD, PO.

A shape is known by its keys, unless the columns are named; what is wrong with it is told with its row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.data.labels import is_missing, name_rows
from transfuse.data.table import Table
from transfuse.data.turns import conversation
from transfuse.errors import DataError, nearest

REQUEST, ANSWER, FURTHER, CHECK = "request", "answer", "further answers", "check"
"""The columns that every shape becomes."""

REQUESTS = ("request", "instruction", "prompt", "question", "source", "input", "text", "sentence", "msgid")
ANSWERS = ("answer", "response", "output", "completion", "reply", "target", "translation", "reference", "msgstr")
CHATS = ("messages", "conversations", "conversation")
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}
"""ShareGPT's and others' names of the roles."""


def plain(
    table: Table, request: str | None, answer: str | None, context: str | None, *, answered: bool = True
) -> Table:
    """A table with `REQUEST` and `ANSWER`, and `FURTHER` where more answers than one are right.

    Args:
        table: as it was read.
        request, answer: the columns, where the user names them.
        context: a column of passages that the requests are about.
        answered: whether answers are read; else the table gets `REQUEST` alone, and need not have any.

    Raises:
        DataError: columns that are missing or unclear, or a row that does not have the shape; rows are named.
    """
    if request is None and answer is None:
        convert = shape_of(table.columns, answered)
        if convert is not None:
            return convert(table, answered)
    asked = _column(table, request, REQUESTS, "input", (answer, context))
    replied = _column(table, answer, ANSWERS, "output", (asked, context)) if answered else None
    requests = _texts(table, asked)
    if context is not None:
        passages = _texts(table, _column(table, context, (), "context", ()))
        requests = [about(q, p) for q, p in zip(requests, passages, strict=True)]
    return _made(table, requests, *(_answers(table, replied) if replied is not None else ()))


def with_checks(table: Table, tests: str, entry: str | None) -> Table:
    """A table with `CHECK`: the test program of each row, and a call of ``check`` with the function that is tested.

    Raises:
        DataError: a column that is missing, or a row without a test.
    """
    remedy = "Answers are judged by these tests: add the column, or name it in the recipe: task: {tests: COLUMN}."
    programs = _texts(table, _present(table, tests, remedy))
    if entry is not None:
        names = _texts(table, _present(table, entry, remedy.replace("tests:", "entry:")))
        programs = [f"{program}\n\ncheck({name})" for program, name in zip(programs, names, strict=True)]
    return dataclasses.replace(table, columns={**table.columns, CHECK: programs})


def about(question: str, passage: str) -> str:
    """A question with its passage; the question comes first, so that a passage that is too long loses its own end."""
    return f"Question: {question.strip()}\nPassage: {passage.strip()}"


def apart(text: str) -> tuple[str, str]:
    """The question and the passage that `about` put together; the passage is empty where there is none."""
    question, _, passage = text.partition("\nPassage: ")
    return question.removeprefix("Question: "), passage


def _made(
    table: Table,
    requests: Sequence[str],
    answers: Sequence[str] | None = None,
    further: Sequence[tuple[str, ...]] | None = None,
) -> Table:
    columns: dict[str, list[Any]] = {**table.columns, REQUEST: list(requests)}
    if answers is not None:
        columns[ANSWER] = list(answers)
    if further is not None and any(further):
        columns[FURTHER] = list(further)
    return dataclasses.replace(table, columns=columns, arrow=None)


def _present(table: Table, named: str, remedy: str) -> str:
    """A column that is named, and there."""
    if named not in table.columns:
        raise DataError(
            f"{table.origin}: no column '{named}'.{nearest(named, list(table.columns))}",
            expected="one of the columns " + ", ".join(f"'{name}'" for name in table.columns),
            remedy=remedy,
        )
    return named


def _column(table: Table, named: str | None, usual: Sequence[str], key: str, others: Sequence[str | None]) -> str:
    """The column that is named, or the only one with a usual name."""
    if named is not None:
        return _present(
            table,
            named,
            f"Name another one, of a source under its own `task:`; `{key}: null` takes the shape that the file has "
            "(chat messages, Alpaca, SQuAD, ...).",
        )
    found = _usual(table.columns, usual, others)
    if found is None:
        raise DataError(
            f"{table.origin}: which column holds the {'requests' if key == 'input' else 'answers'}?",
            expected="one of the columns " + ", ".join(f"'{name}'" for name in table.columns),
            remedy=f"Name it: task: {{{key}: COLUMN}}.",
        )
    return found


def usual_request(columns: Iterable[str]) -> str | None:
    """The column of requests by its usual name, or None."""
    return _usual(columns, REQUESTS, ())


def _usual(columns: Iterable[str], usual: Sequence[str], others: Sequence[str | None]) -> str | None:
    """The first column with one of some names, the names in their order."""
    known = {c.strip().casefold(): c for c in reversed(list(columns)) if c not in others}
    return next((known[name] for name in usual if name in known), None)


def _texts(table: Table, column: str) -> list[str]:
    """A column of texts; none may be missing."""
    values = table.columns[column]
    for row, value in zip(table.rows, values, strict=True):
        if isinstance(value, list | dict | bytes):
            raise DataError(
                f"{table.origin}, column '{column}', row {row}: {type(value).__name__} {value!r:.60}",
                expected="a text in every row",
            )
    missing = [i for i, value in enumerate(values) if is_missing(value)]
    if missing:
        raise DataError(
            f"{table.origin}, column '{column}', {name_rows(table.rows[missing])}: no text",
            expected="a text in every row",
            remedy="Fill it, or drop these rows.",
        )
    return [str(value) for value in values]


def _answers(table: Table, column: str) -> tuple[list[str], list[tuple[str, ...]] | None]:
    """A column of answers, of which some may be lists; an empty text means that there is no answer."""
    first, further = [], []
    for row, value in zip(table.rows, table.columns[column], strict=True):
        several = _several(value)
        if several is None or not all(isinstance(one, str | int | float) for one in several):
            raise DataError(
                f"{table.origin}, column '{column}', row {row}: {value!r:.60}",
                expected="an answer: a text, or a list of texts of which each is right",
                remedy='Fill it, or write "" where there is no answer.',
            )
        different = list(dict.fromkeys(str(one) for one in several))
        first.append(different[0] if different else "")
        further.append(tuple(different[1:]))
    return first, further


def _several(value: Any) -> list[Any] | None:
    """The accepted answers of a row, as a text, a list of texts or of SQuAD's {"text": ...}, or {"text": [...]}.

    None where there is nothing; what is no text is left for `_answers` to refuse.
    """
    if isinstance(value, Mapping):
        value = value.get("text")
    if isinstance(value, list | tuple):
        return [one.get("text") if isinstance(one, Mapping) else one for one in value]
    return None if value is None or (isinstance(value, bool | dict | float) and value != value) else [value]


def _chat(columns: Iterable[str]) -> str | None:
    return next((name for name in columns if name.casefold() in CHATS), None)


def _from_chat(table: Table, answered: bool) -> Table:
    """Chat messages, ``[{"role": ..., "content": ...}]`` or ShareGPT's ``[{"from": ..., "value": ...}]``."""
    requests, answers = [], []
    column = _chat(table.columns) or ""
    for row, turns in zip(table.rows, table.columns[column], strict=True):
        place = f"{table.origin}, column '{column}', row {row}"
        said = list(_turns(turns, place))
        last = [role for role, _ in said[-2:]]
        asks = said[:-1] if last == ["user", "assistant"] else said
        if last != ["user", "assistant"] and (answered or last[-1:] != ["user"]):
            roles = ", ".join(role for role, _ in said) or "no messages"
            end = "and the assistant's reply to it" if answered else "or the assistant's reply to it"
            raise DataError(f"{place}: {roles}", expected=f"messages that end with one of a user {end}")
        requests.append(conversation(asks))
        answers.append(said[-1][1])
    return _made(table, requests, answers if answered else None)


def _turns(turns: Any, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(turns, list | tuple | np.ndarray):
        raise DataError(f"{place}: {type(turns).__name__} {turns!r:.40}", expected="a list of messages")
    for number, turn in enumerate(turns, 1):
        role = turn.get("role", turn.get("from")) if isinstance(turn, Mapping) else None
        content = turn.get("content", turn.get("value")) if isinstance(turn, Mapping) else None
        role = ROLES.get(str(role).casefold(), str(role).casefold())
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise DataError(
                f"{place}, message {number}: {turn!r:.60}",
                expected='{"role": "system", "user" or "assistant", "content": "..."}',
            )
        yield role, content


def _from_alpaca(table: Table, answered: bool) -> Table:
    """``instruction``, ``input`` (may be empty) and ``output``."""
    inputs = ["" if is_missing(value) else str(value) for value in table.columns["input"]]
    asked = [f"{i}\n\n{more}" if more else i for i, more in zip(_texts(table, "instruction"), inputs, strict=True)]
    return _made(table, asked, _texts(table, "output") if answered else None)


def _from_squad(table: Table, answered: bool) -> Table:
    """Questions with passages and accepted answers; none means that the passage does not answer."""
    asked = [about(q, c) for q, c in zip(_texts(table, "question"), _texts(table, "context"), strict=True)]
    return _made(table, asked, *(_answers(table, "answers") if answered else ()))


Convert = Callable[[Table, bool], Table]
"""Makes a table with `REQUEST` of one that has a shape, and with `ANSWER` where answers are read."""

SHAPES: tuple[tuple[tuple[str, ...], str, Convert], ...] = (
    (("instruction", "input"), "output", _from_alpaca),
    (("question", "context"), "answers", _from_squad),
)
"""The columns of requests, the column of answers, and what converts them; chat messages are one of the `CHATS`."""


def shape_of(columns: Collection[str], answered: bool) -> Convert | None:
    """What converts a table of a known shape; None for one of plain columns.

    Args:
        columns: their names.
        answered: whether answers are read, and so must be there.
    """
    if _chat(columns) is not None:
        return _from_chat
    needed = (({*asked, replied} if answered else {*asked}, convert) for asked, replied, convert in SHAPES)
    return next((convert for names, convert in needed if names <= {*columns}), None)


def squad_table(content: Mapping[str, Any], origin: str) -> Table:
    """SQuAD's own JSON, versions 1.1 and 2.0, as columns id, title, context, question and answers (None without any).

    Raises:
        DataError: an article, a paragraph or a question without what it must have; it is named.
    """
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "title", "context", "question", "answers")}
    for a, article in enumerate(content["data"], 1):
        for p, paragraph in enumerate(article.get("paragraphs", ()), 1):
            for q, item in enumerate(paragraph.get("qas", ()), 1):
                place = f"{origin}, article {a}, paragraph {p}, question {q}"
                try:
                    known = [] if item.get("is_impossible") else item.get("answers")
                    answers = None if known is None else [answer["text"] for answer in known]
                    row = (str(item.get("id", "")), article.get("title", ""), paragraph["context"], item["question"])
                except (KeyError, TypeError, AttributeError) as error:
                    raise DataError(
                        f"{place}: no {error}", expected='"question", "answers" and the paragraph\'s "context"'
                    ) from None
                for name, value in zip(columns, (*row, answers), strict=True):
                    columns[name].append(value)
    if not columns["question"]:
        raise DataError(f"{origin}: no questions", expected="SQuAD's JSON: data, paragraphs, qas")
    return Table(columns, np.arange(1, len(columns["question"]) + 1), origin)


def catalogues(folder: Path, origin: str) -> Table:
    """All gettext catalogues below a folder as columns file, source and translation, each source text once."""
    rows: dict[str, tuple[str, str]] = {}
    for path in sorted([*folder.rglob("*.po"), *folder.rglob("*.mo")]):
        for entry in _translated(path, origin):
            rows.setdefault(entry.msgid, (path.stem, entry.msgstr))
    columns: dict[str, list[Any]] = {
        "file": [file for file, _ in rows.values()],
        "source": list(rows),
        "translation": [translation for _, translation in rows.values()],
    }
    return Table(columns, np.arange(1, len(rows) + 1), origin)


def _translated(path: Path, origin: str) -> list[Any]:
    """The entries of a catalogue that are translated, in use, not fuzzy, and without plural forms."""
    import polib

    try:
        found = polib.mofile(str(path)) if path.suffix == ".mo" else polib.pofile(str(path))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{origin}: not a gettext catalogue: {error}", expected="a .po or .mo file") from None
    kept = (e for e in found if e.msgid and e.msgstr and not e.obsolete and not e.msgid_plural)
    return [e for e in kept if not getattr(e, "fuzzy", False)]  # a .mo file has no such entries


def po_parts(path: Path, origin: str, rows: int | None) -> Iterator[Table]:
    """A gettext catalogue (.po or .mo) as columns msgctxt, msgid and msgstr.

    Entries that are obsolete, fuzzy or not translated, and those with plural forms, are left out.
    """
    kept = _translated(path, origin)
    if not kept:
        raise DataError(f"{origin}: no translated entries", expected="msgid and msgstr, not fuzzy")
    size = rows or len(kept)
    for start in range(0, len(kept), size):
        part = kept[start : start + size]
        columns = {name: [getattr(e, name) or "" for e in part] for name in ("msgctxt", "msgid", "msgstr")}
        yield Table(columns, np.arange(start + 1, start + len(part) + 1), origin)
