"""Where the marks of the page's charts go: plain geometry, in pixels; the templates draw it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from transfuse.evaluation import Interval

WIDTH, HEIGHT = 500, 330
LEFT, RIGHT, TOP, BOTTOM = 66, 18, 14, 46
DOT = 5.0
LETTER, LINE = 9.0, 13.0
"""Width of a digit and height of a line of the labels, to keep them apart."""

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800, 36000)
SECONDS_FEW = (0.01, 0.1, 1, 10, 60, 600, 3600, 36000)


@dataclasses.dataclass(frozen=True)
class Point:
    """A candidate in the chart: its place as label, cost in seconds, quality with interval."""

    label: str
    title: str
    family: str
    seconds: float
    quality: Interval
    chosen: bool


@dataclasses.dataclass(frozen=True)
class Dot:
    """A point with its place on the page: (x, y), the whisker from ``low`` to ``high``, and its label's place."""

    point: Point
    x: float
    y: float
    low: float
    high: float
    label_x: float
    label_y: float


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart ready to draw: dots, ticks as (place, words), and the line of what no other candidate beats."""

    dots: list[Dot]
    ticks_x: list[tuple[float, str]]
    ticks_y: list[tuple[float, str]]
    front: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def steps(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most ``most``: the ticks of a linear axis."""
    span = max(high - low, 1e-9)
    size = 10 ** math.floor(math.log10(span))
    step = next(size * k for k in (0.1, 0.2, 0.5, 1, 2, 5) if span / (size * k) <= most - 1)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a curve: its points and its band as points of a polyline and a polygon, and dots as (x, y, words)."""

    line: str
    band: str
    dots: list[tuple[float, float, str]]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Lines by name, with ticks as (place, words)."""

    lines: dict[str, Line]
    ticks_x: list[tuple[float, str]]
    ticks_y: list[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def learning_curve(arms: Mapping[str, Sequence[tuple[float, Interval]]]) -> Curve | None:
    """Figures with intervals against numbers of labels on a logarithmic scale.

    Returns:
        The curve, or None where a line has fewer than two points.
    """
    if not arms or min(len(points) for points in arms.values()) < 2:
        return None
    every = [point for points in arms.values() for point in points]
    x_low, x_high = (f(math.log(labels) for labels, _ in every) for f in (min, max))
    low, high = min(figure.low for _, figure in every), max(figure.high for _, figure in every)

    def across(labels: float) -> float:
        return round(LEFT + (math.log(labels) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def up(value: float) -> float:
        return round(TOP + (high - value) / max(high - low, 1e-9) * (HEIGHT - TOP - BOTTOM), 1)

    lines = {}
    for name, points in arms.items():
        ends = [(across(n), up(f.high)) for n, f in points] + [(across(n), up(f.low)) for n, f in reversed(points)]
        dots = [(across(n), up(f.value), f"{n:.0f}: {f.value:.3f} [{f.low:.3f}, {f.high:.3f}]") for n, f in points]
        lines[name] = Line(" ".join(f"{x},{y}" for x, y, _ in dots), " ".join(f"{x},{y}" for x, y in ends), dots)
    counts = [labels for labels, _ in next(iter(arms.values()))]
    return Curve(lines, [(across(n), f"{n:.0f}") for n in counts], [(up(v), f"{v:.3g}") for v in steps(low, high)])


def cost_curve(points: Sequence[tuple[float, Interval, str]], chosen: int) -> tuple[Curve, tuple[float, float]] | None:
    """Quality with its band against cost on a linear scale, one line from the cheapest to the dearest.

    Args:
        points: cost, quality and words of each point, in order.
        chosen: the position of the point that gets a ring.

    Returns:
        The curve, its line named ``with``, and where the ring is; None where all points cost the same.
    """
    x_low, x_high = (f(cost for cost, _, _ in points) for f in (min, max))
    if not points or x_high <= x_low:
        return None
    low, high = min(q.low for _, q, _ in points), max(q.high for _, q, _ in points)

    def across(cost: float) -> float:
        return round(LEFT + (cost - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def up(value: float) -> float:
        return round(TOP + (high - value) / max(high - low, 1e-9) * (HEIGHT - TOP - BOTTOM), 1)

    ends = [(across(c), up(q.high)) for c, q, _ in points] + [(across(c), up(q.low)) for c, q, _ in reversed(points)]
    dots = [(across(c), up(q.value), words) for c, q, words in points]
    line = Line(" ".join(f"{x},{y}" for x, y, _ in dots), " ".join(f"{x},{y}" for x, y in ends), dots)
    ticks_x = [(across(c), f"{c:.3g}") for c in steps(x_low, x_high)]
    drawn = Curve({"with": line}, ticks_x, [(up(v), f"{v:.3g}") for v in steps(low, high)])
    return drawn, dots[chosen][:2]


def quality_cost(points: Sequence[Point], say_seconds: Callable[[float], str], *, greater: bool) -> Chart | None:
    """Quality upwards against seconds on a logarithmic scale; labels are placed so that they do not overlap.

    Args:
        points: candidates that ran, at most about 40; those without a positive time are left out.
        say_seconds: how a tick of time is written.
        greater: whether more of the metric is better; better is always up.

    Returns:
        The chart, or None where fewer than two points have both figures.
    """
    points = [point for point in points if point.seconds > 0]
    if len(points) < 2:
        return None
    logs = [math.log10(point.seconds) for point in points]
    x_low, x_high = min(logs) - 0.15, max(logs) + 0.15
    low, high = min(p.quality.low for p in points), max(p.quality.high for p in points)
    margin = max((high - low) * 0.06, 0.005)
    low, high = low - margin, high + margin

    def across(seconds: float) -> float:
        return LEFT + (math.log10(seconds) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        share = (value - low) / (high - low)
        return TOP + (1 - share if greater else share) * (HEIGHT - TOP - BOTTOM)

    places = [(across(p.seconds), up(p.quality.value)) for p in points]
    labels = _labels([point.label for point in points], places)
    dots = [
        Dot(p, x, y, up(p.quality.low), up(p.quality.high), *label)
        for p, (x, y), label in zip(points, places, labels, strict=True)
    ]
    inside = [[s for s in series if x_low <= math.log10(s) <= x_high] for series in (SECONDS, SECONDS_FEW)]
    ticks = inside[0] if len(inside[0]) <= 7 else inside[1]
    return Chart(
        dots=dots,
        ticks_x=[(across(s), say_seconds(s)) for s in ticks],
        ticks_y=[(up(v), f"{v:.3g}") for v in steps(low, high)],
        front=_front(places),
    )


def _front(places: Sequence[tuple[float, float]]) -> str:
    """The points that none is both left of and above, as points of a polyline."""
    best, kept = math.inf, []
    for x, y in sorted(places):
        if y < best:
            best = y
            kept.append(f"{x:.1f},{y:.1f}")
    return " ".join(kept)


def _labels(texts: Sequence[str], places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A centre for each label near its dot, clear of all dots and labels where there is room."""
    taken = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in places]
    out = []
    for text, (x, y) in zip(texts, places, strict=True):
        half = len(text) * LETTER / 2
        best, least = (x, y), math.inf
        for reach in (1.0, 1.7, 2.6, 3.6):
            for turn in (0, 4, 2, 6, 1, 3, 5, 7, 0.5, 3.5, 4.5, 7.5):
                angle = turn * math.pi / 4
                cx = x + math.cos(angle) * (DOT + half + 2) * reach
                cy = y - math.sin(angle) * (DOT + LINE / 2 + 1) * reach
                box = (cx - half, cy - LINE / 2, cx + half, cy + LINE / 2)
                inside = box[0] > LEFT and box[2] < WIDTH and box[1] > 0 and box[3] < HEIGHT - BOTTOM
                cost = sum(_overlap(box, other) for other in taken) + (0 if inside else 1e4)
                if cost < least:
                    best, least = (cx, cy), cost
            if least == 0:
                break
        taken.append((best[0] - half, best[1] - LINE / 2, best[0] + half, best[1] + LINE / 2))
        out.append(best)
    return out


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Area that two boxes (left, top, right, bottom) share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
