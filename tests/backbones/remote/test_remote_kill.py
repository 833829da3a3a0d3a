"""A service that fails one call in five at random, and a kill -9 in the middle: no answer is lost or paid twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from remote_stand_in import RemoteStandIn

from transfuse.backbones.remote.cache import Answers
from transfuse.backbones.remote.prices import PICO

COUNT, MONEY, CONCURRENCY = 60, 0.005, 4
INPUT, OUTPUT = 150_000, 600_000


def bill(entries) -> int:
    return sum(read * INPUT + written * OUTPUT for _, read, written in entries)


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_in_the_middle(own, seed):
    with RemoteStandIn(chance=0.2, kinds=("429 0.005", "500", "503"), delay=0.02, seed=seed) as service:
        environment = {**os.environ, **service.environment()}
        command = [sys.executable, str(Path(__file__).with_name("asks.py")), str(COUNT), str(MONEY), str(own / "out")]
        process = subprocess.Popen(command, env=environment)
        while len(service.bills) < COUNT // 2:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.wait_idle()
        before, answers = list(service.bills), Answers()
        spent = answers.spent("killed")
        assert COUNT // 2 - CONCURRENCY <= spent.calls < COUNT
        assert len(before) - CONCURRENCY <= spent.calls <= len(before)
        assert spent.doubtful <= CONCURRENCY
        assert spent.picodollars <= bill(before) <= spent.whole.picodollars <= MONEY * PICO

        assert subprocess.run(command, env=environment, check=False).returncode == 0
        assert json.loads((own / "out").read_text()) == [f"answer to question {i}" for i in range(COUNT)]
        after = answers.spent("killed")
        texts = [text for text, _, _ in service.bills]
        assert len(set(texts)) == COUNT
        assert len(texts) - COUNT == len(before) - spent.calls, "asked twice: only what had left when it was killed"
        assert after.calls == COUNT
        assert after.doubtful == spent.doubtful, "429, 500 and 503 are not billed"
        first = {text: (text, read, written) for text, read, written in service.bills}
        assert after.picodollars == bill(first.values()), "to the picodollar"
        assert bill(service.bills) <= after.whole.picodollars <= MONEY * PICO

        asked = len(service.calls)
        assert subprocess.run(command, env=environment, check=False).returncode == 0
        assert len(service.calls) == asked, "all is known"
        answers.close()


def test_a_budget_that_ends_holds_over_processes(own):
    """Run again and again with a budget that is too small: each time it says so, and no money leaves."""
    with RemoteStandIn(chance=0.2, delay=0.002) as service:
        environment = {**os.environ, **service.environment()}
        for money in (0.0003, 0.0003, 0.0006):
            command = [sys.executable, str(Path(__file__).with_name("asks.py")), "200", str(money), str(own / "out")]
            ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
            assert "OverBudget" in ended.stderr
            answers = Answers()
            assert bill(service.bills) <= answers.spent("killed").whole.picodollars <= money * PICO
            answers.close()
        assert len({text for text, _, _ in service.bills}) == len(service.bills)
