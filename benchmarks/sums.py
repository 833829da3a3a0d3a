"""Problems with exact answers, made by a small generator of our own.

They are of the kinds of easy modules of the package mathematics-dataset (Saxton et al. 2019): sums and differences of
two and three numbers, products, comparisons, rounding, place values, and stories with one step. Nothing is copied from
the package, so figures here are not those of other publications on it.
"""

from __future__ import annotations

import random
from typing import NamedTuple

NAMES = ("Ann", "Ben", "Eva", "Ivo", "Mia", "Sam", "Tom", "Zoe")
THINGS = ("apples", "books", "cards", "coins", "pens", "shells", "stamps", "tickets")
PLACES = ("units", "tens", "hundreds")


class Problem(NamedTuple):
    """A question and the whole number that answers it."""

    request: str
    answer: str


def problems(count: int, seed: int) -> list[Problem]:
    """So many problems, no question twice, all kinds equally often but for chance."""
    draw, found = random.Random(seed), dict[str, str]()
    while len(found) < count:
        request, answer = draw.choice(KINDS)(draw)
        found.setdefault(request, str(answer))
    return [Problem(*pair) for pair in found.items()]


def _sum(draw: random.Random) -> tuple[str, int]:
    a, b = draw.randint(1, 99), draw.randint(1, 99)
    return draw.choice([f"What is {a} plus {b}?", f"Calculate {a} + {b}.", f"Add {a} and {b}."]), a + b


def _difference(draw: random.Random) -> tuple[str, int]:
    b, a = sorted((draw.randint(1, 99), draw.randint(1, 99)))
    forms = [
        f"What is {a} minus {b}?",
        f"Calculate {a} - {b}.",
        f"Subtract {b} from {a}.",
        f"What is {b} less than {a}?",
    ]
    return draw.choice(forms), a - b


def _three(draw: random.Random) -> tuple[str, int]:
    a, b, c = draw.randint(5, 20), draw.randint(1, 20), draw.randint(1, 5)
    return draw.choice([f"Evaluate {a} + {b} - {c}.", f"What is {a} + {b} - {c}?"]), a + b - c


def _product(draw: random.Random) -> tuple[str, int]:
    a, b = draw.randint(2, 12), draw.randint(2, 12)
    return draw.choice([f"What is {a} times {b}?", f"Multiply {a} and {b}.", f"Calculate {a} * {b}."]), a * b


def _compared(draw: random.Random) -> tuple[str, int]:
    a, b = draw.sample(range(10, 1000), 2)
    smaller = draw.random() < 0.5
    return f"Which is {'smaller' if smaller else 'bigger'}: {a} or {b}?", min(a, b) if smaller else max(a, b)


def _rounded(draw: random.Random) -> tuple[str, int]:
    number, to = draw.randint(101, 999), draw.choice([10, 100])
    return f"Round {number} to the nearest {to}.", (number + to // 2) // to * to


def _digit(draw: random.Random) -> tuple[str, int]:
    number, place = draw.randint(1000, 9999), draw.randrange(3)
    return f"What is the {PLACES[place]} digit of {number}?", number // 10**place % 10


def _story(draw: random.Random) -> tuple[str, int]:
    name, other = draw.sample(NAMES, 2)
    thing, a = draw.choice(THINGS), draw.randint(10, 60)
    b = draw.randint(2, a - 1)
    return draw.choice(
        [
            (f"{name} has {a} {thing} and gives {b} to {other}. How many {thing} are left?", a - b),
            (f"{name} has {a} {thing} and gets {b} from {other}. How many {thing} are there now?", a + b),
            (f"{name} has {a} {thing}, {other} has {b}. How many more {thing} has {name}?", a - b),
        ]
    )


KINDS = (_sum, _difference, _three, _product, _compared, _rounded, _digit, _story)
