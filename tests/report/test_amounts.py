"""Numbers as people read them."""

import pytest

from transfuse.evaluation import Interval
from transfuse.report import amounts
from transfuse.report.words import Speaker


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (None, "–", "–"),
        (0, "0 s", "0 秒"),
        (0.004, "< 0.01 s", "< 0.01 秒"),
        (0.43, "0.43 s", "0.43 秒"),
        (9.96, "10 s", "10 秒"),
        (59.4, "59 s", "59 秒"),
        (60, "1 min", "1 分"),
        (200, "3 min 20 s", "3 分 20 秒"),
        (3900, "1 h 5 min", "1 小时 5 分"),
    ],
)
def test_durations(seconds, english, chinese):
    assert amounts.duration(Speaker("en"), seconds) == english
    assert amounts.duration(Speaker("zh"), seconds) == chinese


def test_signs():
    assert [amounts.signed(v) for v in (0.0412, -0.0412, 0.0, -0.0001, None)] == [
        "+0.041",
        "−0.041",
        "0.000",
        "0.000",
        "–",
    ]


def test_intervals_in_both_languages():
    figure = Interval(0.88, 0.86, 0.9)
    assert amounts.with_interval(Speaker("en"), figure) == "0.880 (0.860 to 0.900)"
    assert amounts.with_interval(Speaker("zh"), figure) == "0.880（0.860 至 0.900）"
    assert (
        amounts.with_interval(Speaker("en"), Interval(0.04, -0.01, 0.08), difference=True)
        == "+0.040 (−0.010 to +0.080)"
    )
    assert amounts.with_interval(Speaker("en"), None) == "–"


def test_sizes():
    assert [amounts.large(v) for v in (0, 770, 1154, 22_713_216, 1.5e9, None)] == [
        "0",
        "770",
        "1.15k",
        "22.7M",
        "1.5B",
        "–",
    ]
    assert [amounts.memory(v) for v in (905.4, 2048, None)] == ["905 MiB", "2.0 GiB", "–"]
    assert amounts.count(1500) == "1,500"
