"""Every kind of file in, and every way in which a file can be wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from transfuse.data import Columns, Examples, read, read_table
from transfuse.errors import DataError

LABELLED = Columns("text", "label")


def save(folder: Path, name: str, content: str | bytes) -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def refusal(folder: Path, name: str, columns: Columns = LABELLED) -> str:
    with pytest.raises(DataError) as caught:
        read(name, columns=columns, base=folder)
    return str(caught.value)


def test_csv_with_quotes_line_breaks_and_a_byte_order_mark(tmp_path: Path) -> None:
    name = save(tmp_path, "a.csv", '\ufefftext,label\n"one, ""two""\nthree",yes\nfour,no\n')
    examples = read(name, columns=LABELLED, base=tmp_path)
    assert examples.texts == ('one, "two"\nthree', "four")
    assert examples.labels == ("yes", "no")
    assert examples.rows is not None
    assert examples.rows.tolist() == [1, 2]
    assert examples.origin == "a.csv"


def test_tsv_keeps_lone_quotes_and_unquotes_whole_fields(tmp_path: Path) -> None:
    name = save(tmp_path, "a.tsv", 'text\tlabel\r\n"quoted ""so"""\ta\r\n5" screen\tb\r\n')
    assert read(name, columns=LABELLED, base=tmp_path).texts == ('quoted "so"', '5" screen')


@pytest.mark.parametrize("content", ['{"text": "a", "label": 1}\n\n{"text": "b", "label": 0}\n',
                                     '[{"text": "a", "label": 1}, {"text": "b", "label": 0}]'])  # fmt: skip
def test_json_lines_and_arrays(tmp_path: Path, content: str) -> None:
    examples = read(save(tmp_path, "a.json", content), columns=LABELLED, base=tmp_path)
    assert (examples.texts, examples.labels) == (("a", "b"), ("1", "0"))


def test_parquet_and_saved_datasets_give_class_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["negative", "positive"])}
    )
    made = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    made.to_parquet(str(tmp_path / "a.parquet"))
    made.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": made, "test": made.select([1])}).save_to_disk(str(tmp_path / "two"))
    for reference in ("a.parquet", "one", "two#train"):
        assert read(reference, columns=LABELLED, base=tmp_path).labels == ("positive", "negative"), reference
    assert "no split 'tst'. Did you mean 'test'?" in refusal(tmp_path, "two#tst")
    assert "train, test" in refusal(tmp_path, "two")


def test_lines_of_a_text_file_are_unlabelled_texts(tmp_path: Path) -> None:
    examples = read(save(tmp_path, "a.txt", "one\n\ntwo\n"), columns=Columns(), base=tmp_path)
    assert (examples.texts, examples.labels) == (("one", "two"), None)


def test_weights_and_groups(tmp_path: Path) -> None:
    name = save(tmp_path, "a.csv", "text,label,w,g\na,x,0.5,7\nb,y,2,8\n")
    examples = read(name, columns=Columns("text", "label", "w", "g"), base=tmp_path)
    np.testing.assert_array_equal(examples.weights, [0.5, 2.0])
    assert examples.groups == ("7", "8")
    for wrong in ("-1", "nan", "inf", "heavy", ""):
        save(tmp_path, "b.csv", f"text,label,w\na,x,1\nb,y,{wrong}\n")
        assert f"b.csv, column 'w', row 2: '{wrong}' is not a weight" in refusal(
            tmp_path, "b.csv", Columns("text", "label", "w")
        )


def test_the_input_column_is_guessed_or_asked_for(tmp_path: Path) -> None:
    for header, row in (("id,sentence,note", "1,a,b"), ("id,words", "1,hello"), ("words,label", "hello,x")):
        name = save(tmp_path, "a.csv", f"{header}\n{row}\n")
        assert len(read(name, columns=Columns(None, "label" if "label" in header else None), base=tmp_path)) == 1
    save(tmp_path, "b.csv", "title,body\nx,y\n")
    message = refusal(tmp_path, "b.csv", Columns())
    assert "b.csv: which column holds the texts?" in message
    assert "'title', 'body'" in message


def test_a_wrong_column_names_the_nearest_and_all(tmp_path: Path) -> None:
    save(tmp_path, "a.csv", "text,label\na,b\n")
    message = refusal(tmp_path, "a.csv", Columns("text", "lable"))
    assert "no column 'lable'. Did you mean 'label'?" in message
    assert "'text', 'label'" in message
    save(tmp_path, "b.csv", "text;label\na;b\n")
    assert "separated by semicolons" in refusal(tmp_path, "b.csv")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", "", "empty.csv: the file is empty"),
        ("blank.csv", " \n\n", "the file is empty"),
        ("header.csv", "text,label\n", "a header but no rows"),
        ("ragged.csv", "text,label\na,b\nc\n", "ragged.csv, line 3: 1 fields, but the header has 2"),
        ("open.csv", 'text,label\n"a,b\nc,d\n', "open.csv, line 3: unexpected end of data"),
        ("twice.csv", "text,text\na,b\n", "the column name 'text' stands twice"),
        ("list.jsonl", '{"text": "a", "label": "b"}\n["a"]\n', 'list.jsonl, line 2: list ["a"]'),
        ("broken.jsonl", '{"text": "a", "label": "b"}\n{"text": \n', "broken.jsonl, line 2, character "),
        ("binary.csv", b"a,b\n\x00\x01", "a binary file (a NUL at byte 4)"),
        ("sheet.csv", b"PK\x03\x04rest", "this is a zip file"),
        ("wide.csv", "text,label\na,b\n".encode("utf-16"), "UTF-16"),
        ("fake.parquet", "text,label\na,b\n", "fake.parquet: not a Parquet file"),
        ("a.xlsx", "x", "unknown kind of file '.xlsx'"),
    ],
)
def test_broken_files_are_named_with_their_place(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    message = refusal(tmp_path, save(tmp_path, name, content))
    assert says in message
    assert name in message


@pytest.mark.parametrize(("encoding", "text", "byte"), [("gb18030", "质量还不错", 11), ("cp1252", "déjà vu", 12)])
def test_other_encodings_are_recognised(tmp_path: Path, encoding: str, text: str, byte: int) -> None:
    save(tmp_path, "old.csv", f"text,label\n{text},a\n".encode(encoding))
    message = refusal(tmp_path, "old.csv")
    assert f"old.csv: not UTF-8: byte {byte} (line 2)" in message
    assert f"iconv -f {encoding.upper()} -t UTF-8 old.csv > old-utf8.csv" in message


def test_missing_files_and_folders_suggest_what_is_there(tmp_path: Path) -> None:
    save(tmp_path, "train.csv", "text\na\n")
    assert "Did you mean 'train.csv'?" in refusal(tmp_path, "trian.csv")
    assert "there is no folder" in refusal(tmp_path, "nowhere/a.csv")
    assert "Name one of its files: train.csv" in refusal(tmp_path, ".")
    assert "a file has no splits" in refusal(tmp_path, "train.csv#test")


def test_ten_megabytes_in_one_line_are_an_error_that_names_the_row(tmp_path: Path) -> None:
    save(tmp_path, "long.csv", "text,label\na,b\n" + "x" * 10_000_000 + ",b\n")
    assert "long.csv, column 'text', row 2: a text of 10,000,000 characters" in refusal(tmp_path, "long.csv")
    save(tmp_path, "long.jsonl", json.dumps({"text": "y" * 10_000_000, "label": "b"}))
    assert "row 1: a text of 10,000,000 characters" in refusal(tmp_path, "long.jsonl")


def test_odd_values_become_texts_that_can_be_encoded(tmp_path: Path) -> None:
    save(tmp_path, "a.jsonl", '{"text": "half \\ud83d"}\n{"text": null}\n{"text": 5}\n')
    examples = read("a.jsonl", columns=Columns("text"), base=tmp_path)
    assert examples.texts == ("half \ufffd", "", "5")
    save(tmp_path, "b.jsonl", '{"text": ["a"]}\n')
    assert "b.jsonl, column 'text', row 1: list ['a']" in refusal(tmp_path, "b.jsonl", Columns("text"))


def test_rows_count_blank_lines_as_a_spreadsheet_does(tmp_path: Path) -> None:
    table = read_table(save(tmp_path, "a.csv", "text,label\na,b\n\nc,d\n"), base=tmp_path)
    assert table.rows.tolist() == [1, 3]


def test_examples_keep_what_was_dropped_out_of_their_fingerprint() -> None:
    assert Examples(("a",), dropped=3).fingerprint() == Examples(("a",)).fingerprint()


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "datasets", "pyarrow", "pandas", "huggingface_hub", "unearth", "datasketch"]
    program = f"import sys, transfuse.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
