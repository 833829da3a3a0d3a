"""The page: whole in both languages, escaped, alone in one file, and there for reports that lack almost everything."""

import html.parser
import json
import re

import pytest

from transfuse.errors import OutputError, UsageError
from transfuse.report import page_of, write_html

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Structure(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects tags, attributes, ids and the visible text."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag in ("li", "p") and self.open[-1] != tag:
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def sections(self):
        return {value for name, value in self.attributes if name == "id"}

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


def read(page):
    structure = Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == []
    return structure


@pytest.fixture(params=["en", "zh"])
def lang(request):
    return request.param


ALL = {
    "why",
    "leaderboard",
    "sources",
    "probe",
    "cost",
    "test",
    "confusion",
    "calibration",
    "mistakes",
    "data",
    "repeat",
}


def test_full_report_has_every_section_and_its_figures(full, lang):
    page = read(page_of(full, lang))
    assert page.sections >= ALL
    for candidate in full["candidates"]:
        assert candidate["id"] in page.text
        assert candidate["reason"] in page.text
    for figure in ("0.883", "0.631", "+0.252", "0.764", "478", "847", "0.991", "21.2M", "2.4 GiB", "1,500", "9,204"):
        assert figure in page.text, figure
    for words in ("catalog:vader-movie-reviews", full["recipe"].split("\n")[5].strip(), full["command"], "Intel Xeon"):
        assert words in page.text, words
    assert full["assets"][0]["hash"] in page.text
    assert "bf16, 1.9 times as fast as fp32 here" in page.text
    assert f'<html lang="{"zh-CN" if lang == "zh" else "en"}">' in page_of(full, lang)


def test_minimal_and_empty_reports_render(minimal, lang):
    for report in (minimal, {}, {"candidates": None, "data": None, "task": None, "chosen": "gone"}):
        page = read(page_of(report, lang))
        assert page.sections >= {"leaderboard", "repeat"}
        assert not page.sections & {"sources", "probe", "cost", "test", "confusion", "calibration", "mistakes", "data"}


@pytest.mark.parametrize(
    "key", ["task", "metric", "seed", "machine", "created", "recipe", "command", "data", "validation", "plan"]
)
def test_any_key_may_be_missing(full, key, lang):
    full.pop(key)
    assert "0.883" in read(page_of(full, lang)).text


@pytest.mark.parametrize(
    "key", ["family", "method", "backbone", "sources", "settings", "reason", "validation", "transfer"]
)
def test_any_key_of_a_candidate_may_be_missing_or_null(full, key):
    for candidate in full["candidates"]:
        candidate.pop(key)
    assert "0.883" in read(page_of(full, "en")).text
    for candidate in full["candidates"]:
        candidate[key] = None
    assert "0.883" in read(page_of(full, "en")).text


def test_forty_candidates_and_150_labels(crowded, lang):
    page = read(page_of(crowded, lang))
    assert "method-39.backbone-4" in page.text
    assert page.text.count("intent number") == 30, "15 pairs, no table of 150 by 150"
    assert len(page_of(crowded, lang)) < 300_000


def test_everything_is_escaped(full, lang):
    evil = "<script>alert('x')</script><img src=x onerror=y>\"'&{{ 7*7 }}"

    def poison(value):
        if isinstance(value, dict):
            known = ("status", "verdict", "kind", "metric", "chosen", "id", "against", "gate", "level", "split")
            return {k: v if k in known else poison(v) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return evil if isinstance(value, str) else value

    report = poison(full) | {"metric": "accuracy", "chosen": full["chosen"]}
    report["confusion"]["labels"] = [evil, evil + "2"]
    for candidate in report["candidates"]:
        candidate["id"] += evil
        candidate["family"] = evil
    report["chosen"] = report["candidates"][10]["id"]
    page = read(page_of(report, lang))
    assert not {"script", "img"} & set(page.seen)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(evil) > 20


def test_asks_nothing_of_the_network(full, lang):
    raw = page_of(full, lang)
    assert not re.findall(r"https?://", raw)
    assert not re.findall(r"url\(|@import|<link|<iframe|<object|<script|<img|srcset", raw)
    page = read(raw)
    assert not [pair for pair in page.attributes if pair[0] in ("src", "href", "action", "data")]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes


def test_json_round_trip_changes_nothing(full, lang):
    assert page_of(json.loads(json.dumps(full, ensure_ascii=False)), lang) == page_of(full, lang)


def test_heat_table_up_to_twelve_labels(full):
    labels = [f"label-{k}" for k in range(12)]
    full["confusion"] = {"labels": labels, "matrix": [[9 * (i == j) + 1 for j in range(12)] for i in range(12)]}
    page = page_of(full, "en")
    assert page.count("--share:") == 144
    assert f"--share:{10 / 21:.3f}" in page
    full["confusion"]["matrix"][3] = [0] * 12
    assert "--share:0.0" in page_of(full, "en"), "a label without examples must not divide by zero"


def test_dark_phone_and_print_are_provided(full):
    page = page_of(full, "en")
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "max-width: 760px" in page
    assert 'name="viewport"' in page


def test_writes_one_file_and_makes_the_folder(full, tmp_path):
    target = tmp_path / "a" / "report.html"
    assert write_html(full, target, "en") == target
    assert target.read_text(encoding="utf-8") == page_of(full, "en")
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


def test_lone_surrogates_of_broken_texts_do_not_break_the_page(full, tmp_path):
    full["mistakes"][0]["text"] = "broken \ud83d text"
    assert "broken ? text" in write_html(full, tmp_path / "report.html", "en").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_named(full, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"report\.html"):
        write_html(full, tmp_path / "file" / "report.html", "en")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        write_html(full, tmp_path / "report.html", "en")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "report.html"], "no half-written file is left"


def test_unknown_language(full, tmp_path):
    with pytest.raises(UsageError, match="en, zh"):
        write_html(full, tmp_path / "report.html", "fr")
    assert not list(tmp_path.iterdir())
