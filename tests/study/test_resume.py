"""Interrupted anywhere, the same call goes on and ends with the figures of an undisturbed run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from study.place import recipe_text, same

from transfuse.engine import checkpoints
from transfuse.engine.ledger import Ledger, read_json
from transfuse.errors import OutputError
from transfuse.study import decide as decide_module
from transfuse.study import finish as finish_module
from transfuse.study.recipe import Recipe
from transfuse.study.run import run
from transfuse.study.workshop import Workshop


@pytest.fixture(scope="module")
def undisturbed(place, tmp_path_factory):
    """A finished study with an encoder, the probe and fine-tuning, each with and without a source."""
    return run(
        Recipe.from_text(recipe_text(backbones="[enc]"), base=place), out=tmp_path_factory.mktemp("undisturbed") / "o"
    )


@pytest.fixture
def planned(undisturbed, tmp_path):
    """A fresh folder with the undisturbed run's plan."""
    (tmp_path / "o").mkdir()
    shutil.copy(undisturbed.out / "plan.json", tmp_path / "o" / "plan.json")
    return tmp_path / "o"


def interrupt_at(monkeypatch, owner, name, when):
    """``owner.name`` is interrupted before its call number ``when``, which counts from 1, and never again."""
    real, calls = getattr(owner, name), []

    def interrupted(*arguments, **named):
        calls.append(1)
        if len(calls) == when:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, interrupted)


def assert_equal(found, undisturbed):
    assert same(found.report) == same(undisturbed.report)
    for name in ("model/difference.safetensors", "model/manifest.json"):
        assert (found.out / name).read_bytes() == (undisturbed.out / name).read_bytes()
    names = sorted(path.name for path in (undisturbed.out / "predictions").iterdir())
    assert sorted(path.name for path in (found.out / "predictions").iterdir()) == names
    assert not [path for path in found.out.rglob("*") if ".partial" in path.name or path.name[:1] == "."]


@pytest.mark.parametrize(
    ("owner", "name", "when"),
    [
        (Workshop, "validate", 3),  # between two candidates
        (torch.optim.AdamW, "step", 9),  # inside the training of a candidate
        (Ledger, "write_predictions", 2),  # a candidate is fitted, nothing of it is kept
        (Ledger, "write", 4),  # its predictions are kept, its record is not
        (Workshop, "final", 1),  # all candidates are done
        (finish_module, "load", 1),  # the model is saved, the test has been opened
        (finish_module, "card", 1),  # the test's predictions are kept
    ],
)
def test_interrupted_and_resumed(undisturbed, planned, recipe, monkeypatch, told, owner, name, when):
    with monkeypatch.context() as patch:
        interrupt_at(patch, owner, name, when)
        with pytest.raises(KeyboardInterrupt):
            run(recipe(backbones="[enc]"), out=planned)
    assert not (planned / "report.json").exists()
    done = {path.stem for path in (planned / "ledger").glob("*.json")} - {"spent"}
    found = run(recipe(backbones="[enc]"), out=planned, progress=told)
    assert any("going on after" in note for note in told.notes)
    assert not done & set(told.lines), "what was fitted is not fitted again"
    candidates = undisturbed.report["candidates"]
    placebos = {t["against"] for c in candidates for t in c["transfer"] if t["kind"] == "placebo"}
    assert done | set(told.lines) == {c["id"] for c in candidates} | placebos
    assert_equal(found, undisturbed)


def test_a_training_goes_on_where_it_was_killed(undisturbed, planned, recipe, monkeypatch):
    """No step is taken twice, and the figures are those of the undisturbed run."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    taken, step = [], torch.optim.AdamW.step

    def counted(*arguments, **named):
        taken.append(1)
        if len(taken) == 10:
            raise KeyboardInterrupt
        return step(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", counted)
        with pytest.raises(KeyboardInterrupt):
            run(recipe(backbones="[enc]"), out=planned)
        assert list((planned / "ledger" / "trainings").iterdir())
        found = run(recipe(backbones="[enc]"), out=planned)
        both = len(taken) - 1
        taken.clear()
        taken.extend([0] * 10)  # never again
        (whole := planned.parent / "whole").mkdir()
        shutil.copy(planned / "plan.json", whole / "plan.json")
        run(recipe(backbones="[enc]"), out=whole)
    assert both == len(taken) - 10
    assert not (planned / "ledger" / "trainings").exists()
    assert_equal(found, undisturbed)


def test_a_kill_before_the_plan_leaves_a_folder_that_goes_on(recipe, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, Ledger, "keep_plan", 1)
        with pytest.raises(KeyboardInterrupt):
            run(recipe("[majority]", "", backbones=""), out=tmp_path / "o")
    assert run(recipe("[majority]", "", backbones=""), out=tmp_path / "o").report["chosen"]


def test_the_plan_is_obeyed_though_prices_have_changed(undisturbed, planned, recipe, monkeypatch):
    """What was timed on a quiet machine is not timed again on a busy one; the budget may even be used up."""
    plan = read_json(planned / "plan.json")
    plan["candidates"][-1]["room"] = 1.0
    skipped = plan["candidates"][-1]["id"]
    (planned / "plan.json").write_text(json.dumps(plan))
    (planned / "ledger").mkdir()
    (planned / "ledger" / "spent.json").write_text('{"seconds": 99999.0}')
    monkeypatch.setattr("transfuse.study.decide.price", lambda *_: pytest.fail("timed again"))
    monkeypatch.setattr("transfuse.backbones.precision.choose", lambda *_: pytest.fail("tried the precision again"))
    found = run(recipe(backbones="[enc]"), out=planned).report
    status = {c["id"]: c["status"] for c in found["candidates"]}
    assert status.pop(skipped) == "skipped"
    assert set(status.values()) == {"done"}
    assert found["seconds"] > 99999, "time adds up over resumes"
    assert found["budget"]["spent_seconds"] > 99999


def test_what_was_left_out_runs_if_more_time_is_left_than_planned(undisturbed, recipe, tmp_path, monkeypatch, told):
    """Timed beside other work a candidate looks too dear; after the others it is timed again."""
    left, real, calls = iter([0.0]), decide_module.price, []
    monkeypatch.setattr(decide_module, "_left", lambda *_: next(left, 1e6))
    monkeypatch.setattr(decide_module, "price", lambda *given: calls.append(1) or real(*given))
    found = run(recipe(backbones="[enc]"), out=tmp_path / "o", progress=told)
    assert len(calls) == 2
    assert any("these run too: probe@enc, " in note for note in told.notes)
    assert {c["status"] for c in found.report["candidates"]} == {"done"}
    figures = [[(c["id"], c["validation"]) for c in study.report["candidates"]] for study in (found, undisturbed)]
    assert figures[0] == figures[1]
    assert read_json(tmp_path / "o" / "plan.json")["settled"]
    assert all(c["room"] is None for c in read_json(tmp_path / "o" / "plan.json")["candidates"])


def test_a_plan_that_is_killed_before_it_is_settled_is_looked_at_again(undisturbed, planned, recipe):
    plan = read_json(planned / "plan.json")
    for fields in plan["candidates"]:
        if fields["method"] == "finetune":
            fields |= {"room": 1.0, "reason": "too dear"}
    (planned / "plan.json").write_text(json.dumps({**plan, "settled": False}))
    found = run(recipe(backbones="[enc]"), out=planned).report
    assert {c["status"] for c in found["candidates"]} == {"done"}


def test_a_failed_candidate_is_tried_again(recipe, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Workshop, "validate", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(Exception, match="not enough memory"):
            run(recipe("[majority]", "", backbones=""), out=tmp_path / "o")
    found = run(recipe("[majority]", "", backbones=""), out=tmp_path / "o").report
    assert {c["status"] for c in found["candidates"]} == {"done"}


def test_a_full_disk_ends_the_study_and_it_goes_on_when_there_is_room(undisturbed, planned, recipe, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write_predictions", _no_space)
        with pytest.raises(OutputError, match="No space left on device"):
            run(recipe(backbones="[enc]"), out=planned)
    assert_equal(run(recipe(backbones="[enc]"), out=planned), undisturbed)


def _no_space(self, name, columns):
    import errno
    import os

    def write(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    self._replace(self._predictions(name), write)


def test_a_damaged_record_says_what_to_do(undisturbed, planned, recipe):
    (planned / "plan.json").write_text("{")
    with pytest.raises(OutputError, match=r"plan\.json: not JSON") as error:
        run(recipe(backbones="[enc]"), out=planned)
    assert "--fresh" in str(error.value)


def test_one_process_a_folder(recipe, tmp_path):
    out = tmp_path / "o"
    code = (
        "import sys, pathlib\nfrom transfuse.engine.ledger import Ledger\n"
        "ledger = Ledger(pathlib.Path(sys.argv[1]))\nprint('locked', flush=True)\nsys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(OutputError, match="another process is running a study here") as error:
            run(recipe("[majority]", "", backbones=""), out=out)
        assert str(out) in str(error.value)
        assert "Wait for it, or choose another folder with --out" in str(error.value)
        other.kill()
    assert run(recipe("[majority]", "", backbones=""), out=out).report["chosen"], "a killed process holds no lock"


def test_an_interrupted_call_lets_go_of_its_folder(recipe, tmp_path, monkeypatch):
    """In a notebook the error, and with it everything that it saw, lives on in sys.last_value."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, Workshop, "validate", 1)
        with pytest.raises(KeyboardInterrupt) as kept:
            run(recipe("[majority]", "", backbones=""), out=tmp_path / "o")
    assert run(recipe("[majority]", "", backbones=""), out=tmp_path / "o").report["chosen"]
    assert kept.value is not None
