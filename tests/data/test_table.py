"""Tables written back: the user's columns and order, and the new ones after them."""

import io
import json
from pathlib import Path

import pytest

from transfuse.data import read_lines, read_table, write_table
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
    table = read_lines(io.StringIO("one\r\n\ntwo"))
    assert table.columns == {"text": ["one", "", "two"]}
    assert table.rows.tolist() == [1, 2, 3]
