"""transfuse evaluate: metrics with intervals on labelled data."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def labelled(tmp_path):
    """Eight rated texts, of which six are right and one falls in no bin."""
    path = tmp_path / "labelled.csv"
    ratings = [("good one", 2), ("good two", 1), ("good three", -1), ("bad", -2), ("worse", -1), ("worst", -3)]
    rows = [*ratings, ("so so", 0), ("good four", 0.5)]
    path.write_text("text,rating\n" + "".join(f"{text},{rating}\n" for text, rating in rows))
    return path


def test_metrics_with_intervals(command, model, labelled):
    outcome = command("evaluate", "m", labelled)
    assert outcome.code == 0
    assert "7 rows, 1 in no bin left out" in outcome.out
    line = next(line for line in outcome.out.splitlines() if line.startswith("accuracy"))
    value, low, high = line.split()[1], line.split()[2], line.split()[4]
    assert value == "0.857"
    assert float(low) < 6 / 7 < float(high) <= 1
    assert "macro_f1" in outcome.out
    assert "log_loss" in outcome.out


def test_json(command, model, labelled):
    answer = json.loads(command("evaluate", "m", labelled, "--json").out)
    assert answer["rows"] == 7
    assert answer["dropped"] == 1
    assert answer["metrics"]["accuracy"]["value"] == pytest.approx(6 / 7)
    assert set(answer["metrics"]["accuracy"]) == {"value", "low", "high"}


def test_a_column_that_holds_the_labels_needs_no_bins(command, model, tmp_path):
    (tmp_path / "d.csv").write_text("body,sentiment\ngood,positive\nbad,negative\nbad,positive\n")
    outcome = command("evaluate", "m", tmp_path / "d.csv", "--label", "sentiment", "--input", "body", "--json")
    assert json.loads(outcome.out)["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)


def test_an_unknown_label_names_row_and_suggestion(command, model, tmp_path):
    model.manifest["task"]["bins"] = None
    (tmp_path / "d.csv").write_text("text,rating\ngood,positive\nbad,negativ\n")
    outcome = command("evaluate", "m", tmp_path / "d.csv")
    assert outcome.code == 4
    assert "row 2: the model does not know the label 'negativ'. Did you mean 'negative'?" in outcome.err


def test_a_missing_column(command, model, labelled):
    outcome = command("evaluate", "m", labelled, "--label", "ratings")
    assert outcome.code == 4
    assert "Did you mean 'rating'?" in outcome.err


def test_a_model_that_knows_no_label_column_asks_for_it(command, model, labelled):
    model.manifest["task"]["label"] = None
    outcome = command("evaluate", "m", labelled)
    assert outcome.code == 2
    assert "--label COLUMN" in outcome.err
