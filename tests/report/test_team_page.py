"""The page of a team: all figures, both languages, the exchange drawn, nothing unescaped, nothing that is not there."""

from __future__ import annotations

import copy

import pytest
from report.test_rank_page import Balanced

from transfuse.report.team_page import board, heads, team_page_of, verdicts, worths, write_team


def interval(value, half=0.1):
    return {"value": value, "low": value - half, "high": value + half}


def against(value, verdict):
    return {"difference": interval(value, 1.0), "verdict": verdict, "n": 60, "mcnemar": None, "p": 0.012}


def figure(name, chrf, found=None):
    spent = {"tokens": interval(321.0), "seconds": interval(1.25), "cost": interval(0.00123, 0.0001)}
    one = {
        "name": name,
        "metrics": {"chrf": interval(chrf, 2.0), "numbers": interval(0.9), "fits": interval(0.8)},
        "outcomes": {"answered": 57, "stood_in": 1, "refused": 2},
        "answered": interval(0.95),
        **spent,
    }
    return one | ({"team_against_it": found} if found else {})


def role(name, trained, **other):
    spent = {"tokens": interval(200.0), "seconds": interval(0.6), "cost": interval(0.001, 0.0001)}
    quality = {"intent.accuracy": {**interval(0.875), "n": 58}}
    known = {"name": name, "trained": trained, "no_untrained_self": "", "calls": 60, "failed": 0, "quality": quality}
    return known | spent | other


def message(sender, receiver, said, given, **other):
    plain = {"sender": sender, "receiver": receiver, "said": said, "given": given, "problem": "", "tokens": 40}
    return {**plain, "probability": None, "seconds": 0.2} | other


REPORT = {
    "format": 1,
    "name": "desk <b>",
    "data": "requests.csv",
    "rows": 60,
    "judged": 58,
    "field": "reply",
    "metric": "chrf",
    "seed": 0,
    "figures": [
        figure("team", 45.5),
        figure("runs/one<i>", 40.25, against(5.25, "helps")),
        figure("lookup", 45.0, against(0.5, "no evidence")),
        figure("untrained", 47.0, against(-1.5, "hurts")),
    ],
    "roles": [
        role("understand", True),
        role("write", True, failed=3),
        role("judge", False, quality={}, no_untrained_self="no decoder"),
    ],
    "credit": {
        "roles": [
            {"name": "understand", "credit": against(2.5, "helps"), "alone": against(0.25, "no evidence")},
            {"name": "write", "credit": against(3.5, "helps"), "alone": against(-2.25, "hurts")},
        ],
        "fields": [{"role": "write", "field": "intent", "worth": against(1.75, "helps")}],
        "sum": {"whole": interval(4.0), "credits": interval(6.0), "gap": interval(2.0), "adds_up": False},
    },
    "exchange": {
        "request": "Where is <script>my</script> parcel?",
        "outcome": "answered",
        "reason": "",
        "answer": "It comes on Friday.",
        "messages": [
            message("understand", "write", "delivery", ["request"], probability=0.93),
            message("write", "judge", "It comes " + "soon " * 200, ["request", "intent"]),
            message("judge", "write", "", ["request", "reply"], problem="raised ValueError: no"),
            message("write", "team", "It comes on Friday.", ["request", "intent"]),
        ],
    },
    "worst": [{"row": 7, "request": "my <u>refund</u>", "expected": "Yes.", "said": "No."}],
    "failures": [{"row": 9, "request": "seven", "outcome": "refused", "reason": "role 'write' raised"}],
}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_has_every_figure(lang):
    page = team_page_of(REPORT, lang)
    for words in ("45.50", "40.25", "+5.25", "−1.50", "0.900", "95%", "321", "0.00123", "p = 0.012", "0.875", "+3.50"):
        assert words in page, words
    assert "desk &lt;b&gt;" in page
    assert "&lt;script&gt;my" in page
    assert "<script" not in page
    assert "<u>" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count('class="chip helps"') == 3
    assert page.count('class="chip hurts"') == 2
    parser = Balanced()
    parser.feed(page.replace("<!doctype html>", ""))
    assert parser.open == []


def test_the_exchange_is_drawn_from_lane_to_lane():
    page = team_page_of(REPORT, "en")
    lanes = ["desk &lt;b&gt;", "understand", "write", "judge"]
    assert all(f'<div class="lane" style="grid-column: {i}">{lane}' in page for i, lane in enumerate(lanes, 1))
    assert '<div class="said" style="grid-row: 3; grid-column: 2 / 4">' in page
    assert '<div class="said" style="grid-row: 4; grid-column: 3 / 5">' in page
    assert '<div class="said back failed" style="grid-row: 5; grid-column: 3 / 5">' in page
    assert '<div class="said back" style="grid-row: 6; grid-column: 1 / 4">' in page
    assert "<b>understand → write</b> · 93%, 40 tokens, 0.2 s · was given request" in page
    assert 10 < page.count("soon ") < 100, "a long message is cut"
    assert "raised ValueError: no" in page


def test_sentences_say_what_was_found():
    few = verdicts({**REPORT, "judged": 29}, "en")
    assert "Only 29 rows were judged" in few[3]
    better, unclear, worse, failed = verdicts(REPORT, "en")
    assert better == "The team is better than runs/one<i>: +5.25 (+4.25 to +6.25)."
    assert unclear.startswith("No evidence that the team is better or worse than the nearest known answer: ")
    assert worse == "The team is worse than the same team, untrained: −1.500 (−2.50 to −0.500)."
    assert failed.startswith("Of 60 requests 2 were refused, and for 1 something else stood in")
    roles = worths(REPORT, "en")
    assert roles[0] == "Training “understand” is worth +2.50 (+1.500 to +3.50): helps."
    assert roles[2].startswith("That “write” is shown “intent” is worth +1.750")
    assert "They do not add up: +2.00" in roles[3]
    together = copy.deepcopy(REPORT)
    together["credit"]["sum"]["adds_up"] = True
    assert "Within noise they add up" in worths(together, "en")[3]


def test_the_table_of_the_terminal():
    assert heads(REPORT, "en") == ["Who", "chrF++", "Answered", "Time", "Team"]
    assert board(REPORT, "en")[:2] == [
        ["the team", "45.50 (43.50 to 47.50)", "95%", "1.2 s", ""],
        ["runs/one<i>", "40.25 (38.25 to 42.25)", "95%", "1.2 s", "helps"],
    ]


def test_a_team_without_training_baselines_or_failures_has_fewer_sections():
    bare = copy.deepcopy(REPORT) | {"credit": None, "worst": [], "failures": []}
    bare["figures"] = bare["figures"][:1]
    bare["figures"][0]["cost"] = interval(0.0, 0.0)
    page = team_page_of(bare, "en")
    assert [f'id="{name}"' in page for name in ("figures", "exchange", "roles", "credit", "worst", "failures")] == [
        *[True] * 3,
        *[False] * 3,
    ]
    assert "Cost" not in page
    assert worths(bare, "en") == []


def test_it_is_written_whole(tmp_path):
    path = write_team(REPORT, tmp_path / "new" / "report.html", "zh")
    assert path.read_text(encoding="utf-8") == team_page_of(REPORT, "zh")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
