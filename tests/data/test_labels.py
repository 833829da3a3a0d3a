"""Labels: plain, numeric, missing, binned."""

from pathlib import Path

import numpy as np
import pytest

from transfuse.data import Columns, Table, to_examples
from transfuse.errors import DataError


def table(labels: list[object], **more: object) -> Table:
    columns = {"text": [f"t{i}" for i in range(len(labels))], "label": labels}
    return Table(columns, np.arange(1, len(labels) + 1), "d.csv", **more)  # type: ignore[arg-type]


def labels_of(values: list[object], bins: dict[str, str] | None = None) -> tuple[str, ...]:
    return to_examples(table(values), Columns("text", "label", bins=bins)).labels or ()


def refusal(values: list[object], bins: dict[str, str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        labels_of(values, bins)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["yes ", "no"], ("yes", "no")),
        ([1, 0], ("1", "0")),
        ([1.0, 0.0], ("1", "0")),
        (["1.0", "2.0"], ("1", "2")),
        (["1.0", "none"], ("1.0", "none")),
        (["01", "02"], ("01", "02")),
        ([0.5, 1.0], ("0.5", "1.0")),
        ([True, False], ("True", "False")),
    ],
)
def test_labels_become_strings(values: list[object], labels: tuple[str, ...]) -> None:
    assert labels_of(values) == labels


@pytest.mark.parametrize("missing", [None, float("nan"), "", " ", "NaN"])
def test_a_missing_label_names_its_rows(missing: object) -> None:
    assert "d.csv, column 'label', row 2: no value" in refusal(["a", missing])
    assert "rows 1, 2, 3, 4, 5 and 2 more: no value" in refusal([missing] * 7)


def test_a_label_that_is_a_list_is_refused() -> None:
    assert "row 1: ['a']: " in refusal([["a"], "b"]).replace("\nExpected", ": ")


def test_ratings_without_bins_show_how_to_write_bins() -> None:
    message = refusal([i / 10 for i in range(60)])
    assert "60 different numbers from 0 to 5.9" in message
    assert 'bins, such as {low: "< 2"' in message
    assert len(set(labels_of(list(range(60))))) == 60


def test_class_numbers_become_names_and_secret_labels_are_refused() -> None:
    named = table([1, 0], class_names={"label": ("negative", "positive")})
    assert to_examples(named, Columns("text", "label")).labels == ("positive", "negative")
    with pytest.raises(DataError, match="row 2: the class number -1 has no name"):
        to_examples(table([1, -1], class_names={"label": ("negative", "positive")}), Columns("text", "label"))


def test_bins_drop_and_count_what_falls_in_none() -> None:
    values = ["-1", "-0.5", "0.2", "3"]
    examples = to_examples(
        table(list(values)), Columns("text", "label", bins={"negative": "< -0.5", "positive": "> 0.5"})
    )
    assert examples.texts == ("t0", "t3")
    assert examples.labels == ("negative", "positive")
    assert examples.rows is not None
    assert examples.rows.tolist() == [1, 4]
    assert examples.dropped == 2


@pytest.mark.parametrize(
    ("condition", "inside"),
    [("0..2", [0, 1, 2]), (">= 0, < 2", [0, 1]), ("2", [2]), ("== -1", [-1]), ("<= 0", [-1, 0]), ("1..", [1, 2, 3]),
     ("..-1", [-1])],
)  # fmt: skip
def test_conditions_of_bins(condition: str, inside: list[int]) -> None:
    values = [-1, 0, 1, 2, 3]
    examples = to_examples(table(list(values)), Columns("text", "label", bins={"in": condition}))
    assert [values[int(text[1:])] for text in examples.texts] == inside


def test_wrong_bins_are_refused() -> None:
    assert "row 2: 1 falls in the bins 'low' and 'high'" in refusal([0, 1, 2], {"low": "<= 1", "high": ">= 1"})
    assert "row 2: 'good' is not a number" in refusal(["1", "good"], {"low": "< 1"})
    assert "'low: below 1' cannot be read" in refusal([0], {"low": "below 1"})
    assert "no row falls in any of the bins" in refusal([0, 1], {"high": "> 5"})
    assert "row 1: no value" in refusal([None, 1], {"low": "< 1"})


def test_bins_keep_weights_and_groups_in_step(tmp_path: Path) -> None:
    made = Table({"t": ["a", "b", "c"], "y": [1, 5, 9], "w": [1, 2, 3], "g": ["x", "y", "z"]}, np.arange(1, 4), "d")
    examples = to_examples(made, Columns("t", "y", "w", "g", {"low": "< 2", "high": "> 6"}))
    assert examples.groups == ("x", "z")
    np.testing.assert_array_equal(examples.weights, [1, 3])
