"""kill -9, then the same command: the report of an undisturbed run of the same plan."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from study.place import recipe_text, same

ZYGOTE = Path(__file__).with_name("zygote.py")
METHODS = "[probe, {finetune: {train_layers: 1, epochs: 2, target_epochs: 1}}]"

PROBES = {"tfidf", "probe@enc", "probe@enc+more"}
ALL = {*PROBES, "finetune@enc", "finetune@enc+more"}
JUDGED = {*ALL, "probe@enc+more~shuffled"}
"""All, and the placebo of the choice."""
MOMENTS = {
    "training on the source": ({"step": 2, "ending": "probe@enc+more.json", "call": 1}, PROBES),
    "training in a fold": ({"step": 4, "ending": "finetune@enc+more.json", "call": 1}, {*PROBES, "finetune@enc+more"}),
    "predictions written, their record not": (
        {"step": 0, "ending": "finetune@enc.json", "call": 1},
        {*PROBES, "finetune@enc+more"},
    ),
    "in the placebo": ({"step": 0, "ending": "probe@enc+more~shuffled.json", "call": 1}, ALL),
    "the model written, its card not": ({"step": 0, "ending": "/model", "call": 2}, JUDGED),
    "before the report appears": ({"step": 0, "ending": "report.json", "call": 1}, JUDGED),
}
"""When the process kills itself, and which candidates are done by then."""


@pytest.fixture(scope="module")
def command(place, tmp_path_factory):
    """``command(out, kill)`` runs the study into a folder; its exit code, negative for a signal."""
    recipe = place / "killed.yaml"
    recipe.write_text(recipe_text(METHODS, backbones="[enc]"))
    log = tmp_path_factory.mktemp("log") / "log"
    zygote = subprocess.Popen(
        [sys.executable, str(ZYGOTE), str(place / "enc")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    def call(out: Path, kill: dict | None = None) -> int:
        order = {"arguments": ["run", str(recipe), "--out", str(out), "--lang", "en"], "log": str(log), "kill": kill}
        zygote.stdin.write(json.dumps(order) + "\n")
        zygote.stdin.flush()
        code = int(zygote.stdout.readline())
        assert code in (0, 130, -signal.SIGKILL), log.read_text()
        call.said = log.read_text()
        return code

    with zygote:
        yield call
        zygote.stdin.close()


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "o"
    assert command(out) == 0
    return out


def report(out):
    return same(json.loads((out / "report.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again(command, undisturbed, tmp_path, moment):
    out = tmp_path / "o"
    out.mkdir()
    shutil.copy(undisturbed / "plan.json", out / "plan.json")
    kill, done = MOMENTS[moment]
    assert command(out, kill) == -signal.SIGKILL
    assert not (out / "report.json").exists()
    assert {path.stem for path in (out / "ledger").glob("[!.]*.json")} - {"spent"} == done
    records = {name: (out / "ledger" / f"{name}.json").read_bytes() for name in done}
    assert command(out) == 0
    assert report(out) == report(undisturbed)
    assert (out / "report.html").exists()
    assert {name: (out / "ledger" / f"{name}.json").read_bytes() for name in done} == records, "not fitted again"
    for name in ("difference.safetensors", "manifest.json", "README.md"):
        assert (out / "model" / name).read_bytes() == (undisturbed / "model" / name).read_bytes()


def test_control_c_in_training(command, undisturbed, tmp_path):
    out = tmp_path / "o"
    out.mkdir()
    shutil.copy(undisturbed / "plan.json", out / "plan.json")
    kill, done = MOMENTS["training in a fold"]
    assert command(out, {**kill, "number": signal.SIGINT}) == 130
    assert command.said.endswith("Stopped. The same command goes on where it stopped.\n")
    assert "Traceback" not in command.said
    assert {path.stem for path in (out / "ledger").glob("[!.]*.json")} - {"spent"} == done
    assert not list(out.rglob(".*"))
    assert command(out) == 0
    assert report(out) == report(undisturbed)


def test_the_report_holds_figures_that_could_differ(undisturbed):
    """So that equality above says something: trained candidates, intervals, a test."""
    found = report(undisturbed)
    assert all(c["status"] == "done" and c["validation"] for c in found["candidates"])
    assert len({c["validation"]["log_loss"]["value"] for c in found["candidates"]}) == 5
    assert found["test"]["log_loss"]["value"] > 0
