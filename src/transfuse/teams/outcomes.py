"""Outcome checks: how good a team's answer to a request is, 0 to 1, by rules, a classifier held out, or a judge."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from transfuse.data.problems import shown as told
from transfuse.errors import ModelError, RecipeError, TeamError, nearest
from transfuse.evaluation.texts import NUMBER, PLACEHOLDER
from transfuse.fitted import FittedModel
from transfuse.fitted.model import load
from transfuse.teams.building import fitted_folder
from transfuse.teams.contract import LIST, REQUEST
from transfuse.teams.labelled import value_as_text
from transfuse.teams.role import Asked, Reply, Role
from transfuse.teams.safety import shown
from transfuse.teams.sections import A_CHECK
from transfuse.teams.speakers import Chooses, identity_of
from transfuse.teams.team import Team
from transfuse.teams.traces import ANSWERED

AT_ONCE = 64
"""Answers that a judge is asked about in one pass."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """What is judged: a request, the team's answer, and what was expected where that is known.

    Args:
        request: the user's text.
        answer: the team's answer as people read it; empty where it has none, see `answered`.
        content: its fields.
        expected: what is known to be right, by field; ``expected`` is that of an answer of one field.
    """

    request: str
    answer: str
    content: Mapping[str, Any]
    expected: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def right(self) -> Mapping[str, str]:
        """What is known to be right of the answer's fields."""
        known = {name: self.expected[name] for name in self.content if self.expected.get(name)}
        alone = self.expected.get("expected") if len(self.content) == 1 else None
        return known or (dict.fromkeys(self.content, alone) if alone else {})


def answered(outcome: str, content: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The fields that an exchange came to: none for a refusal, nor for what stands in for an answer."""
    return (content or {}) if outcome == ANSWERED else {}


class Check(Protocol):
    """How good answers are.

    Attributes:
        identity: equal for checks that judge alike.
    """

    @property
    def identity(self) -> str:
        """Equal for checks that judge alike."""
        ...

    def scores(self, judged: Sequence[Judged]) -> np.ndarray:
        """Of N answers, float64 [N], 0 (bad) to 1."""
        ...


@dataclasses.dataclass(frozen=True)
class Rule:
    """An exact rule.

    Args:
        identity: its name with what it is made of.
        holds: whether an answer keeps it.
    """

    identity: str
    holds: Callable[[Judged], bool]

    def scores(self, judged: Sequence[Judged]) -> np.ndarray:
        """1 where it holds; an empty answer keeps no rule."""
        return np.array([float(bool(one.answer) and self.holds(one)) for one in judged])


def keeps(name: str, pattern: re.Pattern[str]) -> Rule:
    """All that the pattern finds in the request stands in the answer, too, as often.

    Where the right answer is known, what it leaves out itself is not missing.
    """

    def holds(one: Judged) -> bool:
        wanted = Counter(pattern.findall(one.request))
        if one.right.keys() == one.content.keys():
            wanted &= Counter(pattern.findall(" ".join(one.right.values())))
        return wanted <= Counter(pattern.findall(one.answer))

    return Rule(name, holds)


def matches(pattern: str) -> Rule:
    """A regular expression is found in the answer."""
    compiled = re.compile(pattern)
    return Rule(f"matches {pattern}", lambda one: compiled.search(one.answer) is not None)


NUMBERS = keeps("numbers", NUMBER)
PLACEHOLDERS = keeps("placeholders", PLACEHOLDER)


def _equals(one: Judged) -> bool:
    return bool(one.right) and all(_same(one.content[name], text) for name, text in one.right.items())


def _same(value: Any, text: str) -> bool:
    if isinstance(value, int | float):
        try:
            return math.isclose(value, float(text), rel_tol=1e-9, abs_tol=1e-9)
        except ValueError:
            return False
    return _folded(value_as_text(value, LIST)) == _folded(text)


EQUALS = Rule("equals", _equals)
"""Each field of which it is known has the expected value; texts and lists but for case and white space."""
RULES = {rule.identity: rule for rule in (NUMBERS, PLACEHOLDERS, EQUALS)}


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


@dataclasses.dataclass(frozen=True)
class Classified:
    """A fitted classifier that is no role of the team: the probability that it gives a label.

    Args:
        model: it reads the answer alone, or request and answer between tags.
        label: of good answers.
        alone: whether it reads the answer alone.
    """

    model: FittedModel
    label: str
    alone: bool = True

    def __post_init__(self) -> None:
        if self.label not in self.model.labels:
            raise TeamError(
                f"a classifier without the label '{self.label}'.{nearest(self.label, self.model.labels)}",
                expected=f"one of {', '.join(self.model.labels)}",
            )

    @property
    def identity(self) -> str:
        """The hash of the model's numbers."""
        return f"classifier {identity_of(self.model)['numbers']}"

    def scores(self, judged: Sequence[Judged]) -> np.ndarray:
        """The label's probability; 0 for an empty answer."""
        if not judged:
            return np.empty(0)
        texts = [one.answer if self.alone else shown({REQUEST: one.request, "answer": one.answer}) for one in judged]
        given = np.array([bool(one.answer) for one in judged], dtype=float)
        found: np.ndarray = self.model.predict_proba(texts)[:, self.model.labels.index(self.label)] * given
        return found


@dataclasses.dataclass(frozen=True)
class Judge:
    """A judge: a role that reads request and answer and says a label or a number.

    Args:
        team: in which the role stands, for the names of its fields; it need not be asked by the protocol.
        role: its name.
        accept: labels of good answers; by default its first.
    """

    team: Team
    role: str
    accept: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """The speaker, whatever role it plays."""
        return f"judge {self._role.speaker.describe()}"

    @property
    def _role(self) -> Role:
        return self.team.roles[self.role]

    def scores(self, judged: Sequence[Judged]) -> np.ndarray:
        """The probability of the labels that accept, or the number within 0 and 1; 0 for an empty answer."""
        out = np.zeros(len(judged))
        speaker = self._role.speaker
        asked = [i for i, one in enumerate(judged) if one.answer]
        for start in range(0, len(asked), AT_ONCE):
            some = asked[start : start + AT_ONCE]
            given = [Asked(self._role.shown({REQUEST: judged[i].request, **judged[i].content})) for i in some]
            out[some] = [self._score(reply) for reply in speaker.lane.answer([(speaker, one) for one in given])]
        return out

    def _score(self, reply: Reply) -> float:
        contract = self._role.output
        try:
            read = contract.read if isinstance(reply.content, str) else contract.check
            content = read(reply.content)  # type: ignore[arg-type]
        except TeamError:
            return 0.0  # who breaks the contract accepts nothing
        field = next((name for name, kind in contract.fields.items() if isinstance(kind, tuple)), None)
        if field is None:
            numbers = [value for value in content.values() if isinstance(value, int | float)]
            return float(np.clip(numbers[0], 0, 1)) if numbers else 0.0
        accepted = self.accept or (contract.fields[field][0],)
        if not reply.scores:
            return float(content[field] in accepted)
        return float(sum(np.exp(score) for label, score in reply.scores.items() if label in accepted))


@dataclasses.dataclass(frozen=True)
class All:
    """Several checks: an answer is as good as the one that it does worst in."""

    checks: tuple[Check, ...]

    @property
    def identity(self) -> str:
        """Those of all."""
        return ", ".join(sorted(check.identity for check in self.checks))

    def scores(self, judged: Sequence[Judged]) -> np.ndarray:
        """The least score of each answer."""
        found: np.ndarray = np.min([check.scores(judged) for check in self.checks], axis=0)
        return found


def parts_of(check: Check) -> tuple[Check, ...]:
    """The checks that a check is made of."""
    return check.checks if isinstance(check, All) else (check,)


def apart(selects: Check, grades: Check, team: Team) -> None:
    """Refuse a check that grades what it has selected, here or in the protocol: it would praise what it was pleased by.

    Raises:
        TeamError: a check that does both.
    """
    grading = {check.identity for check in parts_of(grades)}
    both = {check.identity for check in parts_of(selects)} & grading
    picking = [name for name in _picking(team.protocol) if Judge(team, name).identity in grading]
    if both or picking:
        raise TeamError(
            f"'{min(both)[:60]}' both selects traces and grades the team"
            if both
            else f"role '{picking[0]}' both selects drafts in the protocol and grades the team",
            expected="a check that selects, and another one that grades",
            remedy="Grade by a rule, by a classifier that is held out, or by another judge.",
        )


def _picking(step: Any) -> list[str]:
    """The roles that judge drafts in a protocol."""
    if isinstance(step, functools.partial):
        own = [step.keywords["judge"]] if isinstance(step.keywords.get("judge"), str) else []
        return own + _picking(step.keywords)
    within = step.values() if isinstance(step, Mapping) else step if isinstance(step, list | tuple) else ()
    return [name for one in within for name in _picking(one)]


def held_out(check: Check, team: Team) -> None:
    """Refuse a classifier that is a role of the team: what it says there is part of what it would judge.

    Raises:
        TeamError: the role is named.
    """
    for role in team.roles.values():
        if not isinstance(role.speaker, Chooses):
            continue
        own = f"classifier {identity_of(role.speaker.model)['numbers']}"
        if own in {part.identity for part in parts_of(check)}:
            raise TeamError(
                f"the classifier of an outcome check is role '{role.name}' of the team",
                expected="a classifier that is held out",
                remedy="Fit another one on other rows.",
            )


def check_of(value: Any, team: Team, base: Path, where: str = "learn") -> Check:
    """The check that a file names.

    Args:
        value: what stands in the file.
        team: whose roles judge.
        base: what paths are relative to.
        where: what a message begins with.

    Raises:
        RecipeError: no check, or one of a role, label or model that is not there.
        TeamError: a classifier that is a role of the team.
    """
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return All(tuple(check_of(one, team, base, where) for one in value))
    wrong = RecipeError(f"{where}: found {told(value)}", expected=A_CHECK)
    if isinstance(value, str) and value in RULES:
        return RULES[value]
    if not isinstance(value, Mapping):
        raise wrong
    try:
        if set(value) == {"matches"}:
            return matches(str(value["matches"]))
        if set(value) in ({"classifier", "label"}, {"classifier", "label", "reads"}):
            return _classified(value, team, base, where)
        if set(value) in ({"judge"}, {"judge", "accept"}):
            name = str(value["judge"])
            if name not in team.roles:
                raise RecipeError(f"{where}: no role '{name}'.{nearest(name, tuple(team.roles))}")
            accept = value.get("accept", ())
            return Judge(team, name, (accept,) if isinstance(accept, str) else tuple(accept))
    except re.error as error:
        raise RecipeError(f"{where}: no regular expression: {error}", expected=A_CHECK) from error
    raise wrong


def _classified(value: Mapping[str, Any], team: Team, base: Path, where: str) -> Classified:
    folder = fitted_folder(base / str(value["classifier"]))
    model = None if folder is None else load(folder)
    if not isinstance(model, FittedModel):
        raise ModelError(f"{where}: no fitted classifier in {value['classifier']}", expected="its folder")
    check = Classified(model, str(value["label"]), alone=value.get("reads", "answer") == "answer")
    held_out(check, team)
    return check
