"""transfuse check: findings about data and recipes."""

from __future__ import annotations

import sys
import types

import pytest

from transfuse.data import Finding


def test_clean_data(command, tmp_path):
    (tmp_path / "d.csv").write_text("text,label\nthe first of them,a\nsomething else entirely,b\n")
    outcome = command("check", tmp_path / "d.csv")
    assert outcome.code == 0
    assert outcome.out.endswith("d.csv: nothing found.\n")


def test_findings_name_rows(command, tmp_path):
    (tmp_path / "d.csv").write_text("text,label\nsame text here,a\nSame  text HERE,b\n,a\nanother one of them,b\n")
    outcome = command("check", tmp_path / "d.csv", "--label", "label", "--input", "text")
    assert outcome.code == 0
    assert "warning: train: " in outcome.out
    assert "rows 1, 2" in outcome.out
    assert "empty" in outcome.out


def test_one_class_only(command, tmp_path):
    (tmp_path / "d.csv").write_text("text,label\none of them,a\nanother,a\n")
    outcome = command("check", tmp_path / "d.csv", "--label", "label")
    assert outcome.code == 4
    assert "every row has the label 'a'" in outcome.err


def test_a_missing_file(command, tmp_path):
    assert command("check", tmp_path / "d.csv").code == 4


@pytest.fixture
def checked(monkeypatch):
    """What the check of a recipe will find, and what it was given."""
    findings, given = [], []
    module = types.ModuleType("transfuse.study.check")
    module.check_recipe = lambda recipe: given.append(recipe) or findings
    monkeypatch.setitem(sys.modules, "transfuse.study.check", module)
    return findings, given


def test_a_recipe(command, tmp_path, checked):
    findings, given = checked
    (tmp_path / "r.yaml").write_text("task: {kind: classify, label: y}\ntarget: {train: a.csv, test: b.csv}\n")
    facts = {"origin": "a.csv", "count": 2, "sealed": "test"}
    findings.append(Finding("copies", "warning", "train", facts, (1, 2)))
    outcome = command("check", tmp_path / "r.yaml")
    assert (outcome.code, given[0].name) == (0, "r")
    assert "warning: train: 2 texts of a.csv" in outcome.out
    assert "a.csv 中有 2 条文本也出现在 test 数据中" in command("check", tmp_path / "r.yaml", "--lang", "zh").out
    findings.append(Finding("copies", "error", "test", facts))
    assert command("check", tmp_path / "r.yaml").code == 4


def test_a_recipe_names_its_own_columns(command, tmp_path):
    outcome = command("check", tmp_path / "r.yaml", "--label", "x")
    assert outcome.code == 2


def test_a_wrong_recipe(command, tmp_path):
    (tmp_path / "r.yml").write_text("task: 3")
    assert command("check", tmp_path / "r.yml").code == 3
