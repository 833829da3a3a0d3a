"""Runs the command line in forked processes that have torch loaded already, and kills some of them where it is told.

Each line of the standard input is JSON: ``arguments``, ``log`` (a file for what the command prints) and ``kill``, None
or ``{"step": n, "ending": ..., "call": m}``: the process sends SIGKILL to itself before the n-th step of an optimizer
that follows the m-th file with such an ending, or with ``step: 0`` just before that file is put in its place. The
answer is the exit code. ``number`` is another signal to send.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys

import torch

from transfuse.backbones import loading
from transfuse.cli import main

HEAVY = (
    *("sklearn.linear_model", "pyarrow.parquet", "psutil", "filelock", "datasketch", "jinja2", "torch._dynamo"),
    *("transfuse.cli.app", "transfuse.fitted", "transfuse.report.html", "transfuse.study.run"),
)
"""What the command would import when it needs it."""


def kill_at(step: int, ending: str, call: int, number: int = signal.SIGKILL) -> None:
    """Install the end of this process: before that step, or else that file, once ``call`` such files are there."""
    real_step, real_replace = torch.optim.AdamW.step, os.replace
    steps, files = [], []

    def optimizer_step(*arguments, **named):
        if step and len(files) == call:
            steps.append(1)
            if len(steps) == step:
                os.kill(os.getpid(), number)
        return real_step(*arguments, **named)

    def replace(source, target):
        if os.fspath(target).endswith(ending):
            files.append(1)
            if not step and len(files) == call:
                os.kill(os.getpid(), number)
        return real_replace(source, target)

    torch.optim.AdamW.step, os.replace = optimizer_step, replace


def child(order: dict) -> None:
    """Be the command."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if order["kill"]:
        kill_at(**order["kill"])
    code = main(order["arguments"])
    sys.stdout.flush()
    os._exit(code)


for module in HEAVY:
    importlib.import_module(module)
backbone = loading.load(sys.argv[1])
backbone.features(backbone.tokens(["warm"], None, 8), [1], "fp32")  # no gradient: autograd does not survive a fork
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        child(json.loads(line))
    _, status = os.waitpid(pid, 0)
    sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
    sys.stdout.flush()
