"""The page of rank: all figures, both languages, nothing unescaped, a chart where there are two points."""

import copy
from html.parser import HTMLParser

import pytest

from transfuse.report.rank_page import rank_page_of, write_rank

SCORES = {"knn": 0.75, "probe": 0.8, "logme": -0.51, "h_score": 0.9, "trans_rate": 12.0, "gbc": -0.3}
FOUND = {
    "recipe": "toy <b>",
    "decisive": "probe",
    "rows": 1064,
    "backbones": [
        {
            "reference": "catalog:small",
            "parameters": 22_000_000,
            "memory_mib": 84,
            "texts_per_second": 150.0,
            "licence": "Apache-2.0 <i>",
            "layers": 6,
            "readouts": [
                {"layer": 6, "pooling": "mean", "scores": SCORES | {"n_leep": -0.2}, "z": {"probe": 3.21}},
                {"layer": 2, "pooling": "first", "scores": SCORES | {"probe": 0.6}, "z": {}},
            ],
            "sources": [
                {
                    "name": "movies",
                    "transfer": float("nan"),
                    "leep": -0.5,
                    "proxy_a": 1.9,
                    "discrepancy": 0.1,
                    "z": {"leep": 7.77},
                }
            ],
        }
    ],
}


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_has_every_figure(lang):
    page = rank_page_of(FOUND, lang)
    for words in ("small", "22M", "84 MiB", "150", "6/6", "2/6", "0.800", "0.600", "3.2", "1.900", "7.8", "1,064", "–"):
        assert words in page
    assert "toy &lt;b&gt;" in page
    assert "Apache-2.0 &lt;i&gt;" in page
    assert page.count('class="point') == 2
    assert page.count("is-chosen") >= 1
    parser = Balanced()
    parser.feed(page.replace("<!doctype html>", ""))
    assert parser.open == []


def test_one_readout_has_no_chart_and_no_sources_no_table():
    found = copy.deepcopy(FOUND)
    found["backbones"][0]["readouts"].pop()
    found["backbones"][0]["sources"] = []
    page = rank_page_of(found, "en")
    assert "<svg" not in page
    assert 'id="sources"' not in page


def test_it_is_written_whole(tmp_path):
    path = write_rank(FOUND, tmp_path / "new" / "rank.html", "en")
    assert path.read_text(encoding="utf-8") == rank_page_of(FOUND, "en")
    assert [p.name for p in path.parent.iterdir()] == ["rank.html"]
