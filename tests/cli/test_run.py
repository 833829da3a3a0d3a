"""transfuse run: what it hands to the study and to the report."""

from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path

import pytest

from transfuse.cli import run as run_command
from transfuse.errors import StudyError

RECIPE = "name: my reviews\ntask: {kind: classify, label: y}\ntarget: {train: a.csv, test: b.csv}\n"


@dataclasses.dataclass
class FakeStudy:
    report: dict
    out: Path


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A study that keeps what it was given and tells its progress; the report prints its name."""
    given = {}

    def run(recipe, *, out=None, lang="en", progress=None, keep=True):
        given.update(recipe=recipe, out=out, lang=lang, keep=keep)
        if given.get("fail"):
            raise StudyError("nothing to choose")
        progress.start(480.0, ["tfidf"])
        progress.candidate("tfidf", 1, 1)
        progress.update("fold 1/5", 0.2, 3.0)
        progress.done("tfidf", "accuracy 0.63")
        progress.note("chosen: tfidf")
        Path(out).mkdir(parents=True)
        return FakeStudy({"name": recipe.name}, Path(out))

    module = types.ModuleType("transfuse.study.run")
    module.run = run
    monkeypatch.setitem(sys.modules, "transfuse.study.run", module)
    monkeypatch.setattr(
        "transfuse.report.print_summary",
        lambda report, lang, console: console.print(f"SUMMARY {report['name']} {lang}"),
    )
    monkeypatch.setattr("transfuse.report.write_html", lambda report, path, lang: Path(path).write_text(lang))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE)
    return given


def test_a_run_ends_with_the_summary_the_page_and_what_to_do_next(command, study):
    outcome = command("run", "r.yaml", "--out", "o")
    assert outcome.code == 0
    assert outcome.out == (
        "SUMMARY my reviews en\nReport: o/report.html\nModel: o/model\nTry it: transfuse predict o/model --input FILE\n"
    )
    assert Path("o/report.html").read_text() == "en"
    assert (study["recipe"].name, study["out"], study["lang"]) == ("my reviews", Path("o"), "en")


def test_progress_goes_to_the_standard_error(command, study):
    lines = command("run", "r.yaml").err.splitlines()
    assert lines[0] == "1 candidates, budget 8:00"
    assert lines[1].endswith("1/1 tfidf 0:00")
    assert lines[-2].startswith("tfidf  accuracy 0.63")
    assert lines[-1] == "chosen: tfidf"


def test_the_default_folder_is_named_after_the_recipe(command, study):
    command("run", "r.yaml")
    assert study["out"] == Path("runs/my-reviews")
    assert run_command.default_folder("../..") == Path("runs/study")
    assert run_command.default_folder("评论") == Path("runs/评论")


@pytest.mark.parametrize(
    ("variables", "arguments", "expected"),
    [
        ({"LANG": "zh_CN.UTF-8"}, (), "zh"),
        ({"LANG": "de_DE.UTF-8"}, (), "en"),
        ({"LC_ALL": "zh_TW", "LANG": "en_US"}, (), "zh"),
        ({"LC_ALL": "C", "LANG": "zh_CN"}, (), "en"),
        ({"LANG": "zh_CN"}, ("--lang", "en"), "en"),
        ({}, ("--lang", "zh"), "zh"),
    ],
)
def test_the_language(command, study, monkeypatch, variables, arguments, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = command("run", "r.yaml", *arguments)
    assert study["lang"] == expected
    assert ("报告:" in outcome.out) == (expected == "zh")


def test_another_language_is_refused_before_anything_runs(command, study):
    outcome = command("run", "r.yaml", "--lang", "fr")
    assert (outcome.code, study) == (2, {})
    assert "Expected: en or zh" in outcome.err


def test_fresh_keeps_what_was_there(command, study):
    for _ in range(3):
        outcome = command("run", "r.yaml", "--out", "o", "--fresh")
        assert outcome.code == 0
    assert "Kept the former results as o.2." in outcome.err
    assert all(Path(name, "report.html").exists() for name in ("o", "o.1", "o.2"))


def test_a_study_that_fails_prints_no_summary(command, study):
    study["fail"] = True
    outcome = command("run", "r.yaml")
    assert (outcome.code, outcome.out, outcome.err) == (9, "", "nothing to choose\n")


@pytest.fixture
def curve(monkeypatch):
    """A curve that fails if it is told to; it finds the page there already."""
    told = {}

    def add_curve(recipe, folder, **_):
        told["page"] = (folder / "report.html").read_text()
        if told.get("fail"):
            raise StudyError("the study chose no transfer")
        return {"name": recipe.name, "curve": folder.name}

    module = types.ModuleType("transfuse.study.curve")
    module.add_curve = add_curve
    monkeypatch.setitem(sys.modules, "transfuse.study.curve", module)
    monkeypatch.setattr("transfuse.report.about_curve", lambda report, lang: [f"CURVE {report['curve']} {lang}"])
    monkeypatch.setattr(
        "transfuse.report.write_html", lambda report, path, lang: Path(path).write_text(f"page {list(report)}")
    )
    return told


def test_the_curve_is_drawn_where_it_is_asked_for(command, study, curve):
    found = command("run", "r.yaml", "--out", "here", "--curve", "--lang", "en")
    assert found.code == 0
    assert found.out.splitlines()[0] == "SUMMARY my reviews en"
    assert found.out.splitlines()[-1] == "CURVE here en"
    assert Path("here/report.html").read_text() == "page ['name', 'curve']"
    assert "CURVE" not in command("run", "r.yaml", "--out", "there").out


def test_a_study_without_a_curve_to_draw_still_has_its_page(command, study, curve):
    curve["fail"] = True
    found = command("run", "r.yaml", "--out", "here", "--curve", "--lang", "en")
    assert (found.code, found.err.splitlines()[-1]) == (9, "the study chose no transfer")
    assert "SUMMARY my reviews en" in found.out
    assert curve["page"] == Path("here/report.html").read_text() == "page ['name']"
