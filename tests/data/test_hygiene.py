"""What the checks find, and that they keep quiet about clean data."""

import json
import re

import numpy as np
import pytest

from transfuse.data import Examples, Finding, check, drop_copies, require_classes, share_error
from transfuse.data.findings import SENTENCES
from transfuse.data.near import fold, near_pairs, shingles
from transfuse.errors import DataError

LONG = "the picture on this player stays sharp even on a very old television set"


def made(texts: list[str], labels: list[str] | None = None, origin: str = "a.csv") -> Examples:
    rows = np.arange(11, 11 + len(texts))
    return Examples(tuple(texts), None if labels is None else tuple(labels), rows=rows, origin=origin)


def found(findings: list[Finding], kind: str, part: str) -> Finding:
    chosen = [finding for finding in findings if (finding.kind, finding.part) == (kind, part)]
    assert len(chosen) == 1, findings
    return chosen[0]


def test_clean_data_have_no_findings() -> None:
    train = made(["one fine day", "two bad nights", "three cold winters", "four hot summers"], ["a", "b", "a", "b"])
    assert check(train, made(["something else", "and one more"], ["a", "b"]), n_folds=2) == []


def test_copies_of_test_texts_are_dropped_and_reported() -> None:
    test = made(["Good  Product", "unique"], origin="test.csv")
    train, finding = drop_copies(made(["good product", "other", "GOOD\nPRODUCT"], ["a", "b", "a"]), test)
    assert train.texts == ("other",)
    assert train.labels == ("b",)
    assert finding is not None
    assert finding.rows == (11, 13)
    assert finding.message == "2 texts of a.csv also stand in the test data; left out: rows 11, 13"
    same, nothing = drop_copies(train, test)
    assert same is train
    assert nothing is None


def test_too_much_overlap_is_an_error_unless_allowed() -> None:
    train = made([f"text {i}" for i in range(10)])
    test = made([f"text {i}" for i in range(8, 28)], origin="test.csv")
    with pytest.raises(DataError) as caught:
        share_error(test, {"train": train})
    assert "test.csv: 10.0% of the test texts (rows 11, 12) also stand in train" in str(caught.value)
    assert "allow_overlap: true" in str(caught.value)
    assert share_error(test, {"train": train}, allow_overlap=True) == pytest.approx(0.1)
    assert share_error(test, {"train": train.take(range(9))}) == pytest.approx(0.05)


def test_every_kind_of_finding_names_its_rows() -> None:
    train = made([LONG, "same", "same", "", "rare one", "a b c d e f"], ["x", "x", "y", "y", "z", "x"])
    test = made([LONG + "!", "held", "HELD", "same"], ["x", "x", "w", "y"], origin="test.csv")
    movies = made(["film", LONG + ".", "film", "held"], origin="movies.csv")
    findings = check(
        train, test, None, {"movies": movies}, n_folds=2,
        token_lengths=lambda texts: np.array([len(text.split()) for text in texts]), max_tokens=5,
    )  # fmt: skip
    assert found(findings, "copies", "train").rows == (12, 13)
    assert found(findings, "copies", "movies").message == "1 text of movies.csv also stands in the test data: row 14"
    near = found(findings, "near-copies", "movies")
    assert near.message == "1 text of movies.csv nearly equals test texts: row 12"
    assert near.level == "warning"
    assert found(findings, "near-copies", "train").rows == (11,)
    assert found(findings, "duplicates", "train").rows == (13,)
    assert found(findings, "contradictions", "train").rows == (12, 13)
    assert found(findings, "contradictions", "test").rows == (12, 13)
    assert found(findings, "empty", "train").rows == (14,)
    unknown = found(findings, "unknown-labels", "test")
    assert "has the label 'w', which no training row has: row 13" in unknown.message
    assert found(findings, "small-classes", "train").message == (
        "only 1 text of a.csv has the label 'z', fewer than the 2 folds: row 15"
    )
    cut = found(findings, "truncated", "train")
    assert cut.message == "2 texts of a.csv (33.3%) are longer than 5 tokens and will be cut: rows 11, 16"
    levels = [finding.level for finding in findings]
    assert levels == sorted(levels, key=("error", "warning", "info").index)


def test_validation_texts_in_the_training_data_are_found() -> None:
    findings = check(made(["one", "two"]), None, made(["ONE"], origin="v.csv"))
    assert found(findings, "copies", "train").message == "1 text of a.csv also stands in the validation data: row 11"


def test_findings_become_json_with_a_bounded_list_of_rows() -> None:
    findings = check(made([""] * 300))
    stored = json.loads(json.dumps(found(findings, "empty", "train").to_dict()))
    assert stored["count"] == 300
    assert len(stored["rows"]) == 100
    assert stored["message"] == "300 texts of a.csv are empty: rows 11, 12, 13, 14, 15 and 295 more"


def test_every_kind_is_said_in_both_languages_with_the_same_facts() -> None:
    for kind, said in SENTENCES.items():
        english, chinese = (set(re.findall(r"{(\w+)}", said[lang])) - {"texts", "count"} for lang in ("en", "zh"))
        assert english == chinese, kind
    finding = found(check(made(["one"] * 8)), "duplicates", "train")
    assert finding.said("zh") == "a.csv 中有 7 条文本在前面已经出现过：第 12、13、14、15、16 行等"


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match=r"a.csv: every row has the label 'x'"):
        require_classes(made(["a", "b"], ["x", "x"]))
    with pytest.raises(DataError, match="no labels"):
        require_classes(made(["a"]))
    require_classes(made(["a", "b"], ["x", "y"]))


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        (LONG, LONG.replace("very ", ""), True),
        (LONG, "an entirely different sentence about the weather in the north", False),
        ("这本书的内容非常好，我很喜欢，推荐给大家", "这本书的内容非常好，我很喜欢！推荐给大家", True),
        ("这本书的内容非常好，我很喜欢，推荐给大家", "质量太差了，再也不会来买了，大家不要上当", False),
    ],
)
def test_near_duplicates_in_both_scripts(one: str, other: str, near: bool) -> None:
    assert near_pairs([fold(one), "padding text", fold(other)]) == ([(0, 2)] if near else [])


def test_near_pairs_agree_with_all_exact_comparisons() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(50)]
    texts = [" ".join(rng.choice(words, 25)) for _ in range(60)]
    texts += [text.replace(text.split()[12], "changed", 1) for text in texts[:30]]
    sets = [set(shingles(text).tolist()) for text in texts]
    exact = {
        (i, j)
        for i in range(len(sets))
        for j in range(i + 1, len(sets))
        if len(sets[i] & sets[j]) >= 0.8 * len(sets[i] | sets[j])
    }
    assert len(exact) >= 25
    assert set(near_pairs(texts)) <= exact
    assert len(set(near_pairs(texts))) >= 0.8 * len(exact)
