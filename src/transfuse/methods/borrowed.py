"""Settings that a method hands on to another: named once, with the other's types and defaults."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

Plan = TypeVar("Plan", bound=Callable[..., object])


def borrowing(owner: Callable[..., object], names: str) -> Callable[[Plan], Plan]:
    """Give a plan, behind its own settings, some of another's; it gets those that are set as keywords.

    Args:
        owner: the plan that has them.
        names: of the settings, with spaces between them.

    Returns:
        A decorator for a plan whose last parameter takes any keyword; others than these are refused as usual. What its
        docstring says of that parameter is said of these.
    """
    borrowed = names.split()

    def decorate(plan: Plan) -> Plan:
        theirs, own = inspect.signature(owner).parameters, inspect.signature(plan)
        kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        signature = own.replace(parameters=[*kept, *(theirs[name] for name in borrowed)])

        @functools.wraps(plan)
        def checked(*args: Any, **settings: Any) -> object:
            signature.bind(*args, **settings)
            return plan(*args, **settings)

        (given,) = (p.name for p in own.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD)
        checked.__doc__ = (plan.__doc__ or "").replace(f" {given}: ", f" {', '.join(borrowed)}: ", 1)
        hints = {p.name: plan.__annotations__[p.name] for p in kept if p.name in plan.__annotations__}
        checked.__signature__ = signature  # type: ignore[attr-defined]
        checked.__annotations__ = hints | {name: owner.__annotations__[name] for name in borrowed}
        checked.__annotations__["return"] = plan.__annotations__["return"]
        return cast(Plan, checked)

    return decorate
