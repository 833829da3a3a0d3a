"""What the display says: on a terminal, elsewhere, and at each moment."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from transfuse.cli.progress import PLAIN_EVERY, StudyProgress, duration, progress_on


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def plain(clock, lang="en"):
    stream = io.StringIO()
    return StudyProgress(Console(file=stream, width=80, markup=False), lang, clock), stream


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (754, "12:34"), (3723, "1:02:03"), (-1, "0:00")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_line_says_what_runs_how_long_and_what_is_left(clock):
    progress, _ = plain(clock)
    progress.start(480, ["a", "b", "c"])
    clock.now += 60
    progress.candidate("finetune-minilm", 2, 3)
    clock.now += 12
    progress.update("epoch 1/2", 0.45, 15.0)
    assert progress.line() == "1:12 of 8:00 · 2/3 finetune-minilm 0:12 · epoch 1/2 · 45% · 0:15 left"


def test_the_line_without_a_budget_and_between_candidates(clock):
    progress, _ = plain(clock)
    progress.start(None, [])
    progress.candidate("a", 1, 1)
    progress.done("a", "ok")
    assert progress.line() == "0:00"


def test_chinese(clock):
    progress, stream = plain(clock, "zh")
    progress.start(480, ["a"])
    progress.update("折 1/5", 0.2, 3)
    assert "1 个候选, 预算 8:00" in stream.getvalue()
    assert progress.line() == "0:00 / 8:00 · 折 1/5 · 20% · 0:03 剩余"


def test_a_pipe_gets_few_plain_lines(clock):
    progress, stream = plain(clock)
    progress.candidate("a", 1, 2)
    for _ in range(100):
        progress.update("step")
    assert stream.getvalue().count("\n") == 1
    clock.now += PLAIN_EVERY
    progress.update("step")
    progress.done("a", "accuracy 0.8")
    assert stream.getvalue().splitlines()[1:] == ["0:30 · 1/2 a 0:30 · step", "a  accuracy 0.8  0:30"]
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_one_live_line_and_the_results_above_it():
    stream = io.StringIO()
    console = Console(file=stream, width=40, force_terminal=True, markup=False, highlight=False)
    with progress_on(console, "en") as progress:
        assert progress.live is not None
        progress.candidate("a" * 60, 1, 1)
        progress.live.refresh()
        assert "…" in stream.getvalue()
        progress.done("a", "accuracy 0.8")
    assert "accuracy 0.8" in stream.getvalue()


def test_the_display_ends_when_the_study_fails():
    console = Console(file=io.StringIO(), width=40, force_terminal=True)
    with pytest.raises(KeyboardInterrupt), progress_on(console, "en") as progress:
        raise KeyboardInterrupt
    assert not progress.live.is_started
