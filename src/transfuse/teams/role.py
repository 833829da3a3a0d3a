"""A role: who answers, what it is given, what it says, and what it may take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from transfuse.errors import TeamError, TransfuseError
from transfuse.teams.contract import Contract
from transfuse.teams.message import NAMES


@dataclasses.dataclass(frozen=True)
class Asked:
    """One call of a role: the fields that it is given, and the seed of its sampling."""

    given: Mapping[str, Any]
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a speaker gives back; see `Message` for the fields.

    Args:
        content: fields by the role's contract, or text that the contract reads.
        looped: whether the text went in circles.
        problem: why there is no answer; its tokens and its cost count all the same.
    """

    content: Mapping[str, Any] | str
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    prompt_ids: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()
    read: int = 0
    written: int = 0
    cost: float = 0.0
    looped: bool = False
    problem: str = ""


def raised(error: BaseException) -> str:
    """The problem of a call that raised something, in one line."""
    told = error.found if isinstance(error, TransfuseError) else str(error)
    return f"raised {type(error).__name__}: {' '.join(told.split())[:200]}"


class Lane(Protocol):
    """What answers several calls in one pass, on one thread.

    Attributes:
        together: most calls of one pass; 1 gives each call a thread of its own.
        spare: calls that may hang before further ones are refused at once.
    """

    together: int
    spare: int

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> Sequence[Reply]:
        """The replies to some calls; what it raises is the problem of all of them."""
        ...

    def forget(self) -> None:
        """Drop what is remembered between passes, so that answers depend on the calls alone."""
        ...


class Speaker(Protocol):
    """Who answers for a role: a fitted model, a prompted backbone, a function, a remote model.

    Attributes:
        lane: what answers; speakers of one lane are answered together.
    """

    @property
    def lane(self) -> Lane:
        """What answers; speakers of one lane are answered together."""
        ...

    def describe(self) -> dict[str, Any]:
        """What it is, as JSON: equal for speakers that answer alike."""
        ...


@dataclasses.dataclass(frozen=True)
class Role:
    """A role of a team: a plain value.

    Args:
        name: a word; neither ``user`` nor ``team``.
        speaker: who answers.
        output: the contract of what it says.
        input: the fields that it is given; None for all that are known and not its own.
        seconds: most time of one call; None for half of what the exchange has left.
        price: money for a million tokens read, and written.
        instead: the role that is asked where this one fails; None leaves it to the team.
        hidden: fields of the input that it is not shown, to learn what they are worth.

    Raises:
        TeamError: a name that no role can have.
    """

    name: str
    speaker: Speaker
    output: Contract
    input: tuple[str, ...] | None = None
    seconds: float | None = None
    price: tuple[float, float] = (0.0, 0.0)
    instead: str | None = None
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in NAMES:
            raise TeamError(f"role '{self.name}'", expected="a name of letters, digits and _; not user or team")

    @staticmethod
    def of(
        name: str,
        function: Callable[..., Any],
        output: Mapping[str, Any],
        *,
        input: Sequence[str] | None = None,
        seeded: bool = False,
        **other: Any,
    ) -> Role:
        """A role that a Python function answers for.

        Args:
            name: of the role.
            function: takes the fields as a dict and returns fields, a text where the contract has one field, or a
                `Reply`; it may be slow, raise, or never come back.
            output: the contract, as in a YAML file.
            input: see `Role`.
            seeded: whether the function takes the seed as its second argument.
            other: further arguments of `Role`.
        """
        contract = Contract.of(output, where=f"role '{name}'")
        return Role(name, Calls(function, seeded), contract, None if input is None else tuple(input), **other)

    def shown(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Of what is known the fields that this role is given."""
        names = [name for name in known if name not in self.output.fields] if self.input is None else self.input
        return {name: known[name] for name in names if name in known and name not in self.hidden}

    def cost(self, reply: Reply) -> float:
        """Money for a reply."""
        return reply.cost + (reply.read * self.price[0] + reply.written * self.price[1]) / 1e6

    def describe(self) -> dict[str, Any]:
        """The role as JSON, for the fingerprint of a team."""
        return {
            "name": self.name,
            "speaker": self.speaker.describe(),
            "output": self.output.to_dict(),
            "input": None if self.input is None else list(self.input),
            "instead": self.instead,
            "price": list(self.price),
            **({} if self.seconds is None else {"seconds": self.seconds}),
            **({"hidden": list(self.hidden)} if self.hidden else {}),
        }


@dataclasses.dataclass(frozen=True)
class Calls:
    """A Python function as a speaker; each call has a thread of its own."""

    function: Callable[..., Any]
    seeded: bool = False
    together = 1
    spare = 8

    @property
    def lane(self) -> Lane:
        """Itself."""
        return self

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        """What the function returns."""
        return [self._one(asked) for _, asked in calls]

    def forget(self) -> None:
        """Nothing is remembered."""

    def _one(self, asked: Asked) -> Reply:
        found = self.function(dict(asked.given), *([asked.seed] if self.seeded else []))
        return found if isinstance(found, Reply) else Reply(found)

    def describe(self) -> dict[str, Any]:
        """The function's name."""
        return {"function": getattr(self.function, "__qualname__", type(self.function).__qualname__)}
