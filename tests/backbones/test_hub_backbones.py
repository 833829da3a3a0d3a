"""Backbones of a hub, against the stand-in, in other processes because the hub's library reads its variables once."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import tiny
from hub_stand_in import HubStandIn

COMMIT = "86b5e0934494bd15c9632b12f734a8a67f723594"
PROGRAM = """
import json, sys
from transfuse.backbones import loading
from transfuse.errors import TransfuseError
answers = []
for task, reference in json.loads(sys.argv[1]):
    try:
        if task == "resolve":
            answers.append(loading.resolved(reference))
        else:
            b = loading.load(reference)
            files = sorted(p.relative_to(b.folder).as_posix() for p in b.folder.rglob("*") if p.is_file())
            answers.append([b.revision, b.licence, list(b.poolings), b.folder.name, files])
    except TransfuseError as error:
        answers.append(f"{type(error).__name__}: {error}")
print("ANSWERS" + json.dumps(answers))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = shutil.copytree(tiny.folder("bert"), tmp_path_factory.mktemp("hub") / "bert")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    for place, content in {"onnx": "{}", "1_Pooling": '{"pooling_mode_mean_tokens": true}'}.items():
        (folder / place).mkdir()
        (folder / place / "config.json").write_text(content)
    with HubStandIn({f"models/tiny/bert@{COMMIT}": folder}) as stand_in:
        yield stand_in


def ask(hub, cache, *tasks, offline=False):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= hub.environment(cache)
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    command = [sys.executable, "-c", PROGRAM, json.dumps(tasks)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "ANSWERS" in done.stdout, done.stderr
    return json.loads(done.stdout.partition("ANSWERS")[2])


def test_a_model_is_fetched_pinned_and_found_again_offline(hub, tmp_path):
    hub.requests.clear()
    pinned = f"hub:tiny/bert@{COMMIT}"
    resolved, loaded, missing, revision = ask(
        hub,
        tmp_path,
        ("resolve", "hub:tiny/bert"),
        ("load", pinned),
        ("load", "hub:tiny/nobody"),
        ("load", "hub:tiny/bert@v9"),
    )
    assert resolved == pinned
    files = ["1_Pooling/config.json", "README.md", "chat_template.jinja", "config.json", "model.safetensors"]
    files += ["tokenizer.json", "tokenizer_config.json"]
    assert loaded == [tiny.load("bert").revision, "apache-2.0", ["mean"], COMMIT, files]
    fetched = {request.rpartition("/")[2] for request in hub.requests if "/resolve/" in request}
    assert not fetched & {"evil.py", "pytorch_model.bin"}
    assert missing.startswith("AssetError: hub:tiny/nobody: the hub has no such model, or it is private")
    assert revision.startswith("AssetError: hub:tiny/bert@v9: no revision 'v9'")

    hub.requests.clear()
    tasks = ("load", pinned), ("resolve", "hub:tiny/bert"), ("load", "hub:tiny/other")
    again, same, unknown = ask(hub, tmp_path, *tasks, offline=True)
    assert again == loaded
    assert same == pinned
    assert hub.requests == []
    assert unknown.startswith("AssetError: hub:tiny/other: not in the local cache, and the hub cannot be reached")
    assert "HF_HUB_OFFLINE" in unknown
