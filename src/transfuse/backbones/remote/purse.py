"""A budget in money and tokens: what is spent, what is reserved, and what still fits."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from transfuse.backbones.remote.prices import PICO, dollars
from transfuse.errors import BackboneError


class OverBudget(BackboneError):
    """A call whose worst case does not fit into what is left; what was paid before is kept."""


class Amount(NamedTuple):
    """Tokens of questions and answers together, and money."""

    tokens: int
    picodollars: int


class Spent(NamedTuple):
    """What was spent from a purse.

    Args:
        calls, input_tokens, output_tokens, picodollars: of what was answered.
        doubtful: calls that may have been answered and billed, though the answer never came: a killed process, a cut
            connection. Their worst case is counted as spent.
        doubtful_tokens, doubtful_picodollars: that worst case.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    picodollars: int
    doubtful: int
    doubtful_tokens: int
    doubtful_picodollars: int

    @property
    def whole(self) -> Amount:
        """All that counts against the budget."""
        tokens = self.input_tokens + self.output_tokens + self.doubtful_tokens
        return Amount(tokens, self.picodollars + self.doubtful_picodollars)


@dataclasses.dataclass(frozen=True)
class Purse:
    """What may be spent under one name, in this process and any other, now and after a crash.

    Args:
        name: of the purse: calls of the same name share it.
        picodollars: most money, or None.
        tokens: most tokens, or None.
    """

    name: str
    picodollars: int | None = None
    tokens: int | None = None

    @staticmethod
    def of(name: str, money: float | None = None, tokens: int | None = None) -> Purse:
        """A purse of so many US dollars and tokens."""
        return Purse(name, None if money is None else round(money * PICO), tokens)

    def room(self, spent: Amount) -> tuple[int | None, int | None]:
        """Tokens and picodollars that are left; None where there is no limit."""
        tokens = None if self.tokens is None else max(self.tokens - spent.tokens, 0)
        money = None if self.picodollars is None else max(self.picodollars - spent.picodollars, 0)
        return tokens, money

    def refuse(self, spent: Amount, wanted: Amount, what: str) -> None:
        """Refuse what does not fit.

        Args:
            spent: so far, reservations included.
            wanted: the worst case of what is to be done.
            what: that, for the message: ``"openai:gpt-4.1-mini: the next answer"``.

        Raises:
            OverBudget: it does not fit.
        """
        tokens, money = self.room(spent)
        if tokens is not None and wanted.tokens > tokens:
            raise OverBudget(
                f"{what} takes up to {wanted.tokens:,} tokens; {tokens:,} of {self.tokens:,} are left",
                expected="room for the worst case, since a budget is never exceeded",
                remedy="Raise the budget's tokens and run again: what was paid is kept and is not paid again.",
            )
        if money is not None and wanted.picodollars > money:
            raise OverBudget(
                f"{what} costs up to {dollars(wanted.picodollars):.6f} USD; {dollars(money):.6f} USD of "
                f"{dollars(self.picodollars or 0):.6f} are left",
                expected="room for the worst case, since a budget is never exceeded",
                remedy="Raise the budget's money and run again: what was paid is kept and is not paid again.",
            )
