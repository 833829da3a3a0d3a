"""Rows that belong together are resampled together: intervals, verdicts and what a study could have seen."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet
import pytest
from study.place import rows, write_csv

import transfuse
from transfuse.cli import main
from transfuse.evaluation import as_answers, as_expected, compare, metric_intervals
from transfuse.study.prepare import prepare
from transfuse.study.workshop import validation_rows

KINDS = {
    "labels": ("{kind: classify, input: text, label: label}", "[probe]", "enc"),
    "answers": (
        "{kind: generate, input: text, output: label, template: '{text} =', max_new_tokens: 2}",
        "[{prompt: {shots: 1}}]",
        "dec",
    ),
}


@pytest.fixture(scope="module", params=list(KINDS))
def study(request, place, tmp_path_factory):
    """120 texts of 24 authors, five each, who write in one mood."""
    folder = tmp_path_factory.mktemp(request.param)
    task, methods, backbone = KINDS[request.param]
    (folder / backbone).symlink_to((place / backbone).resolve())
    lines = [(*row, f"author {i // 10}, {row[1]}") for i, row in enumerate(rows(120, 1))]
    write_csv(folder / "target.csv", ("text", "label", "author"), lines)
    target = "{data: target.csv, test: {rows: 40}, group: author}"
    text = f"task: {task}\ntarget: {target}\nbackbones: [{backbone}]\nmethods: {methods}\nbudget: {{minutes: 5}}\n"
    text += "validation: {folds: 3, repeats: 1}\n"
    done = transfuse.run(transfuse.Recipe.from_text(text, folder), out=folder / "out")
    return done, [author for _, _, author in lines]


def kept(done, name):
    """What was expected, what was answered, and the rows."""
    table = pyarrow.parquet.read_table(done.out / "predictions" / f"{name}.parquet").to_pydict()
    if "answer" in table:
        return as_expected([""] * len(table["row"]), table["label"]), as_answers(table["answer"]), table["row"]
    classes = done.report["task"]["labels"]
    shares = np.exp(np.stack([table[f"log_p {c}"] for c in classes], axis=1))
    return np.array([classes.index(label) for label in table["label"]]), shares, table["row"]


def test_the_test_figures_resample_whole_groups(study):
    done, authors = study
    report = done.report
    expected, answers, row = kept(done, f"test.{report['chosen']}")
    groups = [authors[i - 1] for i in row]
    assert 1 < len(set(groups)) < len(groups)
    settings = {"seed": report["seed"], "names": [name for name in report["test"] if name != "bits_per_byte"]}
    together, apart = (
        {name: figure.to_dict() for name, figure in found.items()}
        for found in (
            metric_intervals(expected, answers, groups=groups, **settings),
            metric_intervals(expected, answers, **settings),
        )
    )
    assert {name: report["test"][name] for name in together} == together != apart
    assert report["test_comparison"]["mcnemar"] is None


def test_the_validation_figures_and_verdicts_resample_whole_groups(study):
    done, authors = study
    report, metric = done.report, done.report["metric"]
    figures = {c["id"]: kept(done, c["id"]) for c in report["candidates"]}
    for c in report["candidates"]:
        expected, answers, row = figures[c["id"]]
        settings = {"seed": report["seed"], "groups": [authors[i - 1] for i in row]}
        again = metric_intervals(expected, answers, names=[metric], **settings)
        assert c["validation"][metric] == again[metric].to_dict()
        for entry in c["transfer"]:
            found = compare(expected, answers, figures[entry["against"]][1], metric=metric, **settings)
            assert entry["difference"] == found.difference.to_dict()
            assert entry["detectable"] >= found.detectable  # the splits may ask for more
    assert sum(len(c["transfer"]) for c in report["candidates"]) == 1


def test_files_of_their_own_have_their_groups(tmp_path):
    parts = {"train": rows(40, 1), "validation": rows(30, 2, "v"), "test": rows(20, 3, "t")}
    for name, lines in parts.items():
        authors = [(*row, f"{name} {i // 5}") for i, row in enumerate(lines)]
        write_csv(tmp_path / f"{name}.csv", ("text", "label", "author"), authors)
    write_csv(tmp_path / "bare.csv", ("text", "label"), parts["test"])
    text = "task: {kind: classify, input: text, label: label}\nmethods: [majority]\ntarget: {train: train.csv, "
    text += "validation: validation.csv, group: author, test: "
    data = prepare(transfuse.Recipe.from_text(text + "test.csv}", tmp_path))
    assert data.test.open().groups == tuple(f"test {i // 5}" for i in range(20))
    validated = data.train.take(validation_rows(data))
    assert validated.groups == tuple(f"validation {i // 5}" for i in range(30))
    assert prepare(transfuse.Recipe.from_text(text + "bare.csv}", tmp_path)).test.open().groups is None


def test_evaluate_resamples_the_groups_that_the_manifest_names(study, tmp_path, capsys, monkeypatch):
    done, authors = study
    monkeypatch.chdir(tmp_path)
    lines = [(*row, author) for row, author in zip(rows(120, 1), authors, strict=True)]
    write_csv(tmp_path / "whole.csv", ("text", "label", "author"), lines)
    write_csv(tmp_path / "bare.csv", ("text", "label"), [line[:2] for line in lines])
    widths = []
    for name in ("whole", "bare"):
        assert main(["evaluate", str(done.out), f"{name}.csv", "--json"]) == 0
        figures = json.loads(capsys.readouterr().out)["metrics"]
        widths.append([f["high"] - f["low"] for f in figures.values()])
    assert widths[0] != widths[1]
