"""What goes wrong at the user's end, through the command line: a message, an exit code, and nothing lost."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from study.place import recipe_text, rows, write_csv

from transfuse.cli import main
from transfuse.engine.ledger import Ledger

LINES = [f"word{i} {'ab'[i % 2]},{'xy'[i % 2]}" for i in range(50)]
CSV = "text,label\n" + "\n".join(LINES) + "\n"
TARGET = "{data: d.csv, test: {rows: 20}}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a good file d.csv and a backbone enc."""
    (tmp_path / "d.csv").write_text(CSV)
    (tmp_path / "enc").symlink_to(tiny.folder("bert"))
    monkeypatch.chdir(tmp_path)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "TRANSFUSE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def command(folder, capsys, monkeypatch):
    """``command("run", ...)`` -> (exit code, what stands on the standard output, on the standard error)."""

    def call(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


@pytest.fixture
def failed(folder, command):
    """``failed(code, KEY=..., ...)`` runs a recipe with these keys; the message. Nothing must have been written."""

    def call(code: int, data: str | bytes | None = None, name: str = "bad.csv", out: str = "o", **keys: str) -> str:
        if data is not None:
            (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
            keys["target"] = f"{{data: {name}, test: {{rows: 20}}}}"
        recipe = {"methods": "[majority]", "sources": "", "backbones": "", "validation": "", "target": TARGET, **keys}
        (folder / "r.yaml").write_text(recipe_text(**recipe), encoding="utf-8")
        got, stdout, message = command("run", "r.yaml", "--out", out)
        assert (got, stdout) == (code, ""), message
        assert not (folder / out / "report.json").exists()
        return message

    return call


def says(message: str, *parts: str) -> None:
    for part in parts:
        assert part in message, message


# The recipe: 3.


def test_a_missing_recipe(command):
    code, _, message = command("run", "reviews.yml")
    assert code == 3
    says(message, "reviews.yml: no such file", "Expected: a recipe", "examples/")


def test_an_unknown_key_has_its_line_and_the_nearest(failed):
    says(failed(3, bugdet="{minutes: 2}"), "r.yaml, line 6, key 'bugdet': unknown key. Did you mean 'budget'?")


def test_a_typo_in_a_methods_name(failed):
    says(failed(3, methods="[prboe]"), "r.yaml, line 4, key 'methods[0]': no method 'prboe'. Did you mean 'probe'?")


def test_a_typo_in_a_setting(failed):
    message = failed(3, methods="[{finetune: {train_layer: 2}}]", backbones="[enc]")
    says(message, "key 'methods[0].finetune.train_layer'", "Did you mean 'train_layers'?")


@pytest.mark.parametrize(
    ("methods", "found"),
    [
        ("[{probe: {c: high}}]", "key 'methods[0].probe.c': found 'high'. Expected: a number or null"),
        (
            "[{finetune: {epochs: many}}]",
            "'methods[0].finetune.epochs': found 'many'. Expected: a whole number or null",
        ),
        ("[tfidf, {lora: {rank: 2.5}}]", "key 'methods[1].lora.rank': found 2.5. Expected: a whole number"),
        ("[{finetune: {label_words: 3}}]", "'methods[0].finetune.label_words': found 3. Expected: true or false"),
        ("[{probe: {layers: [1, x]}}]", "'methods[0].probe.layers': found a list. Expected: a whole number, a list of"),
        ("[{tfidf: {c: -1}}]", "'methods[0].tfidf.c': found -1. Expected: a number, not below 0"),
    ],
)
def test_a_setting_of_the_wrong_type(failed, command, methods, found):
    message = failed(3, methods=methods, backbones="[enc]")
    says(message, "r.yaml, line 5, ", found, "docs/methods.md")
    assert "timing" not in message, "told before any work"
    assert command("check", "r.yaml")[0] == 3


def test_every_wrong_setting_at_once(failed):
    message = failed(3, methods="[{probe: {c: high}}, {lora: {rank: big}}]", backbones="[enc]")
    says(message, "methods[0].probe.c", "methods[1].lora.rank")


@pytest.mark.parametrize(
    ("methods", "found"),
    [
        ("[tfidf, {probe: {layers: 99}}]", "key 'methods[1]': layer 99: enc has none of that number"),
        ("[{finetune: {train_layers: some}}]", "key 'methods[0]': train_layers: 'some'"),
        ("[prompt]", "key 'methods[0]': 'prompt' has nothing to work with: the recipe names an encoder only"),
    ],
)
def test_a_setting_that_the_backbone_cannot_do(failed, methods, found):
    says(failed(3, methods=methods, backbones="[enc]"), "r.yaml, line 5, " + found, "Expected: ", "Remedy: ")


def test_a_method_without_a_backbone(failed):
    says(failed(3, methods="[probe]"), "'probe' has nothing to work with: the recipe names no backbone", "`backbones`")


def test_a_recipe_in_another_language(folder, command):
    (folder / "r.yaml").write_text("任务: {kind: classify}\n", encoding="utf-8")
    code, _, message = command("run", "r.yaml")
    assert code == 3
    says(message, "r.yaml, line 1, key '任务': unknown key", "Valid keys: version, name, task")


# Data: 4.


def test_a_missing_file_names_the_nearest(failed):
    message = failed(4, target="{data: dd.csv, test: {rows: 20}}")
    says(message, "dd.csv: there is no such file in ", "Did you mean 'd.csv'?", "Expected: a path (relative to the")


@pytest.mark.parametrize("key", ["input", "label"])
def test_a_wrong_column(failed, key):
    columns = {"input": "text", "label": "label", key: {"input": "txt", "label": "labl"}[key]}
    message = failed(4, task=f"{{kind: classify, input: {columns['input']}, label: {columns['label']}}}")
    right = {"input": "text", "label": "label"}[key]
    says(message, f"d.csv: no column '{columns[key]}'. Did you mean '{right}'?", "Expected: one of the columns 'text'")


def test_one_class_only(failed):
    message = failed(4, "text,label\n" + "".join(f"word{i},same\n" for i in range(40)))
    says(message, "bad.csv: every row has the label 'same'", "Expected: at least two different labels", "Remedy: ")


def test_an_empty_file(failed):
    says(failed(4, ""), "bad.csv: the file is empty", "Expected: a header and at least one row")
    says(failed(4, "text,label\n"), "bad.csv: a header but no rows", "Expected: at least one row below the header")


def test_a_binary_file(failed):
    noise = np.random.default_rng(0).bytes(4000)
    says(failed(4, noise + b"\0"), "bad.csv: a binary file (a NUL at byte", "Expected: a text file in UTF-8")
    says(failed(4, b"PK\x03\x04" + noise), "bad.csv: this is a zip file", "Remedy: Export the data as CSV")
    says(failed(4, noise, name="bad.parquet"), "bad.parquet", "arquet")


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_single_line_of_ten_megabytes(failed, quote):
    message = failed(4, f"text,label\n{quote}{'x ' * 5_000_000}{quote},a\nshort,b\n")
    says(message, "bad.csv, column 'text', row 1: a text of 10,000,000 characters", "at most 1,000,000", "Remedy: ")
    assert len(message) < 1000


def test_a_label_that_is_missing_or_nan(failed):
    message = failed(4, "text,label\na,x\nb,NaN\nc,\n" + "\n".join(LINES))
    says(message, "bad.csv, column 'label', rows 2, 3: no value", "Expected: a value in every row", "Remedy: Fill it")


def test_numbers_as_labels_work_and_measurements_are_told_about_bins(folder, failed, command):
    data = "text,label\n" + "".join(f"word{i} {'ab'[i % 2]},{i / 7:.3f}\n" for i in range(50))
    message = failed(4, data)
    says(message, "bad.csv, column 'label': 50 different numbers in 50 rows", "task: {bins: ")
    (folder / "bad.csv").write_text("text,label\n" + "".join(f"word{i} {'ab'[i % 2]},{i % 2}\n" for i in range(50)))
    code, out, _ = command("run", "r.yaml", "--out", "numbers")
    assert code == 0
    assert "tfidf" in out
    assert command("predict", "numbers", "other a")[1].splitlines()[1].split(",")[1] == "0"


def test_a_label_that_stands_once(failed):
    message = failed(4, CSV + "lonely,rare\n")
    says(message, "bad.csv: label 'rare': it stands in 1 of the rows only", "Remedy: Add data with the label 'rare'")


def test_more_shots_than_rows(failed):
    message = failed(4, target="{data: d.csv, test: {rows: 20}, shots: 500}")
    says(message, "d.csv: label 'x': 15 rows, but 500 shots a class are asked for", "Lower target: shots to 15")


# Backbones: 6.


def test_a_backbone_folder_without_weights(folder, failed):
    shutil.copytree(tiny.folder("bert"), folder / "bare")
    (folder / "bare" / "model.safetensors").unlink()
    message = failed(6, methods="[probe]", backbones="[bare]")
    says(message, "bare: no weights in ", "it holds config.json", "Expected: model.safetensors", "Remedy: ")


def test_a_missing_backbone(failed):
    message = failed(6, methods="[probe]", backbones="[encc]")
    says(message, "encc: no folder ", "Did you mean 'enc'?", "catalog:NAME", "`transfuse assets list`")


# Fitted models: 7.


def test_a_folder_without_a_model(command, folder):
    for arguments in (("predict", "enc", "text"), ("evaluate", "enc", "d.csv"), ("predict", "d.csv", "text")):
        code, _, message = command(*arguments)
        assert code == 7
        says(message, f"{arguments[1]}: no fitted model here", "manifest.json", "Remedy: Point to the folder")


# The output: 8.


def test_an_output_folder_below_a_file(failed):
    says(failed(8, out="d.csv/o"), "d.csv/o: cannot be written: Not a directory", "--out")
    says(failed(8, out="d.csv"), "d.csv: a file", "Expected: a folder", "--out")


def test_an_output_folder_with_foreign_files(folder, failed):
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.doc").write_text("years of work")
    says(failed(8, out="thesis"), "thesis: holds files that no study wrote", "Expected: a new or empty folder", "--out")
    assert [path.name for path in (folder / "thesis").iterdir()] == ["chapter.doc"]


def test_the_output_folder_of_another_recipe(folder, command):
    text = recipe_text("[majority]", "", backbones="", validation="", target=TARGET)
    (folder / "first.yaml").write_text(text)
    (folder / "second.yaml").write_text(text + "seed: 3\n")
    assert command("run", "first.yaml", "--out", "o")[0] == 0
    before = {path: path.read_bytes() for path in (folder / "o").rglob("*") if path.is_file()}
    code, out, message = command("run", "second.yaml", "--out", "o")
    assert (code, out) == (8, "")
    says(message, "o: holds the results of another recipe", "a study of second.yaml began", "--out", "--fresh")
    assert {path: path.read_bytes() for path in (folder / "o").rglob("*") if path.is_file()} == before
    code, _, message = command("run", "second.yaml", "--out", "o", "--fresh")
    assert code == 0
    says(message, "Kept the former results as o.1.")
    assert (folder / "o.1" / "report.json").read_bytes() == before[folder / "o" / "report.json"]


def test_a_disk_that_is_full(folder, command, monkeypatch):
    """The system's refusal at the third file; with room again the same command ends well."""
    real, calls = Ledger._replace, []

    def replace(self, path, write):
        calls.append(path)
        if len(calls) == 3:
            write = _full
        return real(self, path, write)

    text = recipe_text("[majority]", "", backbones="", validation="", target=TARGET)
    (folder / "r.yaml").write_text(text)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_replace", replace)
        code, _, message = command("run", "r.yaml", "--out", "o")
    assert code == 8
    says(message, f"o/{calls[2].parent.name}/{calls[2].name}: cannot be written: No space left on device", "Remedy: ")
    assert not list((folder / "o").rglob(f".{calls[2].name}*")), "no half file is left"
    code, _, message = command("run", "r.yaml", "--out", "o")
    assert code == 0
    says(message, "o: going on after")


def _full(path: Path) -> None:
    path.write_text("half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MiB; only root can make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_really_is_full(folder, command, small_disk):
    (folder / "r.yaml").write_text(recipe_text("[majority]", "", backbones="", validation="", target=TARGET))
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (8 * 2**20 - 6 * 4096))
    code, _, message = command("run", "r.yaml", "--out", small_disk / "o")
    assert code == 8
    says(message, str(small_disk), "No space left on device", "Remedy: ")
    ballast.unlink()
    assert command("run", "r.yaml", "--out", small_disk / "o")[0] == 0
    assert (small_disk / "o" / "report.html").exists()


# Nothing to choose: 9.


def test_a_study_in_which_everything_fails(folder, command, monkeypatch):
    def validate(self, candidate):
        raise MemoryError

    monkeypatch.setattr("transfuse.study.workshop.Workshop.validate", validate)
    (folder / "r.yaml").write_text(recipe_text("[majority]", "", backbones="", validation="", target=TARGET))
    code, _, message = command("run", "r.yaml", "--out", "o")
    assert code == 9
    says(message, "no candidate could be fitted: tfidf: not enough memory; majority: not enough memory", "Remedy: ")


# The hurried user.


def test_odd_but_right_data_works(folder, command):
    """Windows line endings, a byte order mark, labels with spaces, tabs, emoji and slashes, Chinese names."""
    labels = ("very good", "😀 bad/\t:x")
    lines = "".join(f'"word{i} {"ab"[i % 2]}","{labels[i % 2]}"\r\n' for i in range(50))
    (folder / "数据 1.csv").write_bytes(b"\xef\xbb\xbf" + f"正文,标签\r\n{lines}".encode())
    (folder / "配方.yaml").write_text(
        "name: 评论\ntask: {kind: classify, input: 正文, label: 标签}\n"
        "target: {data: 数据 1.csv, test: {rows: 20}}\nmethods: [tfidf]\n",
        encoding="utf-8",
    )
    (folder / "below").mkdir()
    os.chdir(folder / "below")
    code, out, _ = command("run", "../配方.yaml", "--lang", "zh")
    assert code == 0
    says(out, "选定：tfidf", "报告: runs/评论/report.html")
    assert max(len(line) for line in out.splitlines()) <= 80
    code, out, _ = command("predict", "runs/评论", "other a", "other b", "--format", "jsonl")
    assert code == 0
    assert [re.search(r'"predicted_label": "([^"]*)"', line)[1] for line in out.splitlines()] == [
        "very good",
        "😀 bad/\\t:x",
    ]
    code, _, message = command("run", "../配方.yaml", "--lang", "zh")
    assert code == 0
    says(message, "runs/评论：此前已完成")


def test_progress_and_summary_fit_eighty_columns(folder, command):
    (folder / "r.yaml").write_text(recipe_text("[majority]", "", backbones="", validation="", target=TARGET))
    _, out, err = command("run", "r.yaml", "--out", "o")
    assert max(len(line) for line in (out + err).splitlines()) <= 80


def test_predict_with_wrong_files(folder, command):
    (folder / "r.yaml").write_text(recipe_text("[majority]", "", backbones="", validation="", target=TARGET))
    assert command("run", "r.yaml", "--out", "m")[0] == 0
    write_csv(folder / "in.csv", ("text", "predicted_label"), rows(3, 0))
    for code, parts, arguments in (
        (4, ("no such file", "Did you mean 'in.csv'?"), ("--input", "im.csv")),
        (4, ("no column 'txt'. Did you mean 'text'?",), ("--input", "in.csv", "--column", "txt")),
        (4, ("has a column 'predicted_label' already", "Rename or drop"), ("--input", "in.csv", "--output", "o.csv")),
        (4, ("standard input: no texts", "Remedy: "), ()),
        (2, ("TEXT and --input together",), ("hello", "--input", "in.csv")),
        (8, ("nowhere/o.csv", "Remedy: "), ("--input", "d.csv", "--output", "nowhere/o.csv")),
    ):
        got, out, message = command("predict", "m", *arguments)
        assert (got, out) == (code, ""), message
        says(message, *parts)
    assert not (folder / "o.csv").exists()
    code, out, _ = command("predict", "m", stdin="one a\r\nzwei b 😀\r\n".encode())
    assert code == 0
    assert [line.split(",")[:2] for line in out.splitlines()] == [
        ["text", "predicted_label"],
        ["one a", "x"],
        ["zwei b 😀", "y"],
    ]
    code, _, message = command("predict", "m", stdin=b"caf\xe9\n")
    assert code == 4
    says(message, "standard input, line 1: not UTF-8 text")
