"""Data of a hub, against the stand-in, in processes of their own because the hub's library reads its variables once."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from transfuse.data.hub import _choose_config
from transfuse.data.references import parse_hub
from transfuse.errors import DataError

COMMIT = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
CARD = """---
configs:
- config_name: ax
  data_files:
  - split: test
    path: ax/test-*
- config_name: sst2
  data_files:
  - split: train
    path: sst2/train-*
  - split: test
    path: sst2/test-*
dataset_info:
- config_name: sst2
  features:
  - name: label
    dtype:
      class_label:
        names:
          '0': negative
          '1': positive
---
"""
PROGRAM = """
import json, sys
from pathlib import Path
from transfuse.data import Columns, read, resolve
from transfuse.errors import TransfuseError
answers = []
for task, reference in json.loads(sys.argv[1]):
    try:
        if task == "resolve":
            answers.append(resolve(reference))
        else:
            examples = read(reference, columns=Columns("sentence", "label"), base=Path("."))
            answers.append([list(examples.texts), list(examples.labels)])
    except TransfuseError as error:
        answers.append(f"{type(error).__name__}: {error}")
print("ANSWERS" + json.dumps(answers))
"""


def load_stand_in() -> Any:
    spec = importlib.util.spec_from_file_location("hub_stand_in", Path(__file__).parents[1] / "hub_stand_in.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    folder = tmp_path_factory.mktemp("glue")
    for split, labels in (("train", [1, 0]), ("test", [-1, -1])):
        (folder / "sst2").mkdir(exist_ok=True)
        made = pyarrow.table({"sentence": [f"{split} a", f"{split} b"], "label": labels})
        pyarrow.parquet.write_table(made, folder / "sst2" / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(CARD)
    with load_stand_in().HubStandIn({f"datasets/nyu-mll/glue@{COMMIT}": folder}) as running:
        yield running


def ask(hub: Any, cache: Path, *tasks: tuple[str, str], **variables: str) -> list[Any]:
    environment = {**os.environ, **hub.environment(cache), **variables}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(tasks)], env=environment, capture_output=True, text=True, check=False
    )
    assert "ANSWERS" in done.stdout, done.stderr
    answers: list[Any] = json.loads(done.stdout.partition("ANSWERS")[2])
    return answers


def test_a_pinned_split_is_read_and_then_needs_no_network(hub: Any, tmp_path: Path) -> None:
    pinned, loose = f"hub:nyu-mll/glue:sst2@{COMMIT}#train", "hub:nyu-mll/glue:sst2#train"
    expected = [["train a", "train b"], ["positive", "negative"]]
    assert ask(hub, tmp_path, ("read", pinned), ("resolve", loose), ("resolve", pinned)) == [expected, pinned, pinned]
    assert not any("test-0" in request for request in hub.requests), "only the split that is asked for is fetched"
    before = len(hub.requests)
    offline = ask(hub, tmp_path, ("read", pinned), ("resolve", loose), HF_HUB_OFFLINE="1")
    assert offline == [expected, pinned]
    assert ask(hub, tmp_path, ("read", pinned)) == [expected]
    assert hub.requests[before:] == [], "a commit in the cache is not asked for again"


def test_what_is_not_there_is_explained(hub: Any, tmp_path: Path) -> None:
    answers = ask(
        hub, tmp_path,
        ("read", "hub:nyu-mll/glue:sst2#tain"), ("read", "hub:nyu-mll/glue:sst#train"), ("read", "hub:nyu-mll/glue"),
        ("read", "hub:nyu-mll/glux"), ("read", "hub:nyu-mll/glue@old#train"), ("read", "hub:nyu-mll/glue:sst2#test"),
    )  # fmt: skip
    expected = [
        "DataError: hub:nyu-mll/glue:sst2#tain: no split 'tain'. Did you mean 'train'?",
        "DataError: hub:nyu-mll/glue:sst#train: no configuration 'sst'. Did you mean 'sst2'?",
        "DataError: hub:nyu-mll/glue: several configurations",
        "AssetError: hub:nyu-mll/glux: the hub has no such data set",
        "AssetError: hub:nyu-mll/glue@old#train: the hub has no such revision",
        "DataError: hub:nyu-mll/glue:sst2#test, column 'label', rows 1, 2: the class number -1 has no name",
    ]
    for answer, start in zip(answers, expected, strict=True):
        assert answer.startswith(start)


def test_offline_without_the_data_says_so(hub: Any, tmp_path: Path) -> None:
    before = len(hub.requests)
    (answer,) = ask(hub, tmp_path, ("read", f"hub:nyu-mll/glue:sst2@{COMMIT}#train"), HF_HUB_OFFLINE="1")
    assert "not in the local cache" in answer
    assert "HF_HUB_OFFLINE" in answer
    assert hub.requests[before:] == []


@pytest.mark.parametrize("reference", ["hub:a/b", "hub:a/b:c", "hub:a/b@main", "hub:a/b#train", "hub:a/b:c@v1.0/x#dev"])
def test_references_are_written_as_they_are_read(reference: str) -> None:
    assert str(parse_hub(reference)) == reference


def test_references_of_another_form_are_refused() -> None:
    for wrong in ("hub:", "hub:a/b/c", "hub:a/b#", "hub:a b"):
        with pytest.raises(DataError, match="is not a hub reference"):
            parse_hub(wrong)


def test_a_repository_without_configs_is_sorted_by_names() -> None:
    files = ["README.md", "data/train-0.csv", "data/dev.csv", "data/test.csv", "dataset_infos.json"]
    splits, _ = _choose_config({}, files, None, "hub:a/b")
    assert splits == {"train": ["data/train-0.csv"], "validation": ["data/dev.csv"], "test": ["data/test.csv"]}
    assert _choose_config({}, ["x.jsonl"], None, "hub:a/b")[0] == {"train": ["x.jsonl"]}
    assert _choose_config({}, ["c/x.jsonl", "d/y.jsonl"], "d", "hub:a/b")[0] == {"train": ["d/y.jsonl"]}
    with pytest.raises(DataError, match="no data files"):
        _choose_config({}, ["model.bin"], None, "hub:a/b")
