"""A log-log plot as SVG, drawn from numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 380, 70, 150, 20, 50
COLOURS = ("#1f6feb", "#bf4b00", "#2da44e", "#8250df")


def log_log(lines: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str) -> str:
    """Lines with a dot a point and their names at their ends.

    Args:
        lines: name -> (x, y) points, all above 0.
        x, y: what the axes show.
    """
    points = [point for line in lines.values() for point in line]
    bounds = [
        (math.floor(math.log10(min(p[i] for p in points))), math.ceil(math.log10(max(p[i] for p in points))))
        for i in (0, 1)
    ]

    def place(point: tuple[float, float]) -> tuple[float, float]:
        shares = [(math.log10(v) - low) / max(high - low, 1) for v, (low, high) in zip(point, bounds, strict=True)]
        return LEFT + shares[0] * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - shares[1] * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power in range(bounds[0][0], bounds[0][1] + 1):
        at = place((10.0**power, 10.0 ** bounds[1][0]))
        parts.append(f'<path d="M{at[0]:.1f} {TOP}V{at[1]:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{at[0]:.1f}" y="{at[1] + 18:.1f}" text-anchor="middle">{_number(power)}</text>')
    for power in range(bounds[1][0], bounds[1][1] + 1):
        at = place((10.0 ** bounds[0][0], 10.0**power))
        parts.append(f'<path d="M{LEFT} {at[1]:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at[1] + 4:.1f}" text-anchor="end">{_number(power)}</text>')
    ends = []
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        places = [place(point) for point in line]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"/>' for a, b in places]
        ends.append((places[-1][1], places[-1][0], name, colour))
    last = -math.inf
    for height, across, name, colour in sorted(ends):  # names keep a line's height apart
        last = max(height, last + 14)
        parts.append(f'<text x="{across + 8:.1f}" y="{last + 4:.1f}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{x}</text>')
    parts.append(
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{y}</text></g></svg>\n'
    )
    return "\n".join(parts)


def _number(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
