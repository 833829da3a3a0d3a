"""Tables written back: the user's columns and order, and the new ones after them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from transfuse.data import Table, TableWriter, read_lines, read_parts, read_table, write_table
from transfuse.errors import DataError, OutputError


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_original_columns_and_order_are_kept(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in.csv").write_text('id,text,zip\n2,"a, ""b""\nc",007\n1,d,NA\n', encoding="utf-8")
    table = read_table("in.csv", base=tmp_path)
    write_table(table, {"label": ["x", "y"], "p": [0.25, 0.75]}, tmp_path / f"out{suffix}")
    if suffix == ".tsv":
        text = (tmp_path / "out.tsv").read_text(encoding="utf-8")
        assert text == 'id\ttext\tzip\tlabel\tp\n2\t"a, ""b""\nc"\t007\tx\t0.25\n1\td\tNA\ty\t0.75\n'
        return
    again = read_table(f"out{suffix}", base=tmp_path)
    assert list(again.columns) == ["id", "text", "zip", "label", "p"]
    assert again.columns["zip"] == ["007", "NA"]
    assert again.columns["text"] == ['a, "b"\nc', "d"]
    assert [float(p) for p in again.columns["p"]] == [0.25, 0.75]


def test_parquet_keeps_the_types_of_its_columns(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    made = pyarrow.table({"n": pyarrow.array([1, 2], pyarrow.int16()), "text": ["a", "b"]})
    pyarrow.parquet.write_table(made, tmp_path / "in.parquet")
    write_table(read_table("in.parquet", base=tmp_path), {"label": ["x", "y"]}, tmp_path / "out.parquet")
    schema = pyarrow.parquet.read_schema(tmp_path / "out.parquet")
    assert schema.names == ["n", "text", "label"]
    assert schema.field("n").type == pyarrow.int16()


def test_json_lines_keep_nested_values_and_unicode(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "好", "more": {"k": [1]}}\n', encoding="utf-8")
    write_table(read_table("in.jsonl", base=tmp_path), {"label": ["x"]}, tmp_path / "out.jsonl")
    text = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert json.loads(text) == {"text": "好", "more": {"k": [1]}, "label": "x"}
    assert "好" in text


def test_refusals_name_the_column_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,label\na,b\n", encoding="utf-8")
    table = read_table("in.csv", base=tmp_path)
    with pytest.raises(DataError, match=r"in.csv: has a column 'label' already"):
        write_table(table, {"label": ["x"]}, tmp_path / "out.csv")
    with pytest.raises(OutputError, match="unknown kind of file"):
        write_table(table, {"p": [1]}, tmp_path / "out.docx")
    with pytest.raises(OutputError, match="No such file"):
        write_table(table, {"p": [1]}, tmp_path / "none" / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_lines_of_a_stream() -> None:
    table = next(read_lines(io.StringIO("one\r\n\ntwo")))
    assert table.columns == {"text": ["one", "", "two"]}
    assert table.rows.tolist() == [1, 2, 3]


def copy(source: Path, target: Path, rows: int) -> None:
    with TableWriter(target) as writer:
        for part in read_parts(source, source.name, rows):
            writer.write(part, {})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".txt"])
def test_a_file_in_parts_is_the_file(tmp_path: Path, suffix: str) -> None:
    texts = [f"text {n}, über" for n in range(25)]
    path = tmp_path / f"in{suffix}"
    if suffix == ".txt":
        path.write_text("\n".join(texts), encoding="utf-8")
    else:
        write_table(Table({"n": list(range(25)), "text": texts}, np.arange(1, 26), "made"), {}, path)
    whole = read_table(path.name, base=tmp_path)
    parts = list(read_parts(path, "in", 10))
    assert [len(part) for part in parts] == [10, 10, 5]
    assert np.concatenate([part.rows for part in parts]).tolist() == whole.rows.tolist()
    for name, values in whole.columns.items():
        assert [value for part in parts for value in part.columns[name]] == values
    if suffix != ".txt":
        copy(path, tmp_path / f"again{suffix}", 10)
        assert read_table(f"again{suffix}", base=tmp_path).columns == whole.columns


def test_a_key_that_only_later_rows_have_is_a_column_of_every_part(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c", "id": 3}\n', encoding="utf-8")
    assert [part.columns for part in read_parts(path, "in", 2)] == [
        {"text": ["a", "b"], "id": [None, None]},
        {"text": ["c"], "id": [3]},
    ]


def test_a_broken_line_in_a_later_part_leaves_no_output(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text,n\na,1\nb,2\nc\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 4: 1 fields"):
        copy(path, tmp_path / "out.csv", 2)
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


def test_a_later_part_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"n": 1}\n{"n": "two"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="rows 2 to 2: other types than the rows before"):
        copy(path, tmp_path / "out.parquet", 1)


@pytest.mark.parametrize("at", [5, (1 << 20) - 1, 1 << 20])
def test_a_byte_that_is_no_utf8_is_found_across_the_parts_of_a_scan(tmp_path: Path, at: int) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"a\n" * (at // 2) + b"a" * (at % 2) + "é".encode() + b"\xe9 \n")
    with pytest.raises(DataError, match=rf"byte {at + 2} \(line {at // 2 + 1}\) is 0xe9"):
        list(read_parts(path, "in", 10))


def test_a_file_that_ends_inside_a_character(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes("aé".encode()[:-1])
    with pytest.raises(DataError, match=r"byte 1 \(line 1\) is 0xc3"):
        list(read_parts(tmp_path / "in.txt", "in", 10))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".txt"])
def test_a_byte_order_mark_alone_is_no_data(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"in{suffix}").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(DataError):
        list(read_parts(tmp_path / f"in{suffix}", "in", 10))
