"""Numbers as people read them."""

from __future__ import annotations

from transfuse.evaluation import Interval
from transfuse.report.words import Speaker

MISSING = "–"


def plain(value: float | None) -> str:
    """0.8834 -> "0.883", 45.234 -> "45.23"."""
    return MISSING if value is None else f"{value:.{_digits(value)}f}".replace("-", "−")


def _digits(value: float) -> int:
    """Shares have three digits, what goes to a hundred has two."""
    return 3 if abs(value) < 2 else 2


def signed(value: float | None) -> str:
    """0.0412 -> "+0.041", 8.123 -> "+8.12", with a true minus sign; a zero has no sign."""
    if value is None:
        return MISSING
    text = f"{value:+.{_digits(value)}f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", "−")


def with_interval(speak: Speaker, figure: Interval | None, *, difference: bool = False) -> str:
    """ "0.883 (0.866 to 0.899)", or with signs for a difference."""
    if figure is None:
        return MISSING
    form = signed if difference else plain
    return speak("interval", value=form(figure.value), low=form(figure.low), high=form(figure.high))


def count(value: float | None) -> str:
    """1500 -> "1,500"."""
    return MISSING if value is None else f"{round(value):,}"


def large(value: float | None) -> str:
    """22713216 -> "22.7M"."""
    if value is None:
        return MISSING
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{round(value)}"


def memory(mebibytes: float | None) -> str:
    """2048 -> "2.0 GiB"."""
    if mebibytes is None:
        return MISSING
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{round(mebibytes)} MiB"


def duration(speak: Speaker, seconds: float | None) -> str:
    """0.43 -> "0.43 s", 12.3 -> "12 s", 200 -> "3 min 20 s", 3900 -> "1 h 5 min"."""
    if seconds is None:
        return MISSING
    if seconds < 9.95:
        return speak("s", n=f"{seconds:.2g}" if seconds >= 0.01 else "< 0.01" if seconds > 0 else "0")
    whole = round(seconds)
    if whole < 60:
        return speak("s", n=whole)
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return speak("min_s", m=minutes, s=rest) if rest else speak("min", n=minutes)
    hours, rest = divmod(round(whole / 60), 60)
    return speak("h_min", h=hours, m=rest)
