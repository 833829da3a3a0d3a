"""A service that fails one call in five at random, and a kill -9 in the middle: what is lost, paid twice, overspent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, keep

TESTS = ROOT / "tests"
COUNT, MONEY, SEEDS = 300, 0.03, 5
INPUT, OUTPUT, PICO = 150_000, 600_000, 10**12
"""Picodollars a token, as the stand-in's prices have them."""
PRICES = '[[price]]\nservice = "127.0.0.1"\nmodels = ["m", "m-*"]\ninput = 0.15\noutput = 0.60\n'


def run() -> None:
    """Each seed draws other faults; the process that asks is killed when half of the answers are billed."""
    started = time.perf_counter()
    sys.path.insert(0, str(TESTS))
    keep("remote", "python -m benchmarks remote", started, runs=[_one(seed) for seed in range(SEEDS)], asked=COUNT)


def _one(seed: int) -> dict[str, Any]:
    from remote_stand_in import RemoteStandIn

    from transfuse.backbones.remote.cache import Answers

    with (
        tempfile.TemporaryDirectory() as folder,
        RemoteStandIn(chance=0.2, kinds=("429 0.005", "500", "503"), delay=0.02, seed=seed) as service,
    ):
        place = Path(folder)
        (place / "prices.toml").write_text(PRICES)
        own = {"TRANSFUSE_CACHE": str(place / "cache"), "TRANSFUSE_PRICES": str(place / "prices.toml")}
        environment = {**os.environ, **own, **service.environment()}
        asks = TESTS / "backbones" / "remote" / "asks.py"
        command = [sys.executable, str(asks), str(COUNT), str(MONEY), str(place / "out")]
        process = subprocess.Popen(command, env=environment)
        while len(service.bills) < COUNT // 2:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.wait_idle()
        billed = len(service.bills)
        subprocess.run(command, env=environment, check=True)
        answers = Answers(place / "cache" / "answers.sqlite")
        spent = answers.spent("killed")
        answers.close()
        texts = [text for text, _, _ in service.bills]
        found = json.loads((place / "out").read_text())
        return {
            "answered": sum(answer == f"answer to question {i}" for i, answer in enumerate(found)),
            "failed_calls": len(service.calls) - len(texts),
            "billed_before_the_kill": billed,
            "billed_twice": len(texts) - len(set(texts)),
            "doubtful": spent.doubtful,
            "counted": spent.whole.picodollars / PICO,
            "billed": sum(read * INPUT + written * OUTPUT for _, read, written in service.bills) / PICO,
            "budget": MONEY,
        }
