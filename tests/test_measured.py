"""Figures in the documents are those that were measured."""

import importlib
import json
import shutil
from collections import defaultdict

import numpy as np
import pytest
from teams.desk import INTENTS, desk, role

from transfuse.teams.evaluation import evaluate
from transfuse.teams.labelled import LabelledRows


def test_documents_show_the_kept_results():
    pages = importlib.import_module("benchmarks.page").pages()
    assert {path.name for path in pages} >= {
        "benchmarks.md",
        "gallery.md",
        "growth.svg",
        "README.md",
        "README.zh-CN.md",
    }
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python -m benchmarks page`"


def test_the_part_about_harm_shows_the_ensembles_where_they_were_measured():
    """Records from before the arm have none, and still make their page."""
    page, results = (importlib.import_module(f"benchmarks.{name}") for name in ("page_transfer", "common"))
    record = json.loads((results.RESULTS / "harm.json").read_text("utf-8"))
    old = {key: value for key, value in record.items() if key != "ensembles"}
    assert "ensembles: true" not in "\n".join(page.harm(old))
    told = "\n".join(page.harm({**old, "ensembles": old}))
    assert told.startswith("\n".join(page.harm(old)))
    assert "The same with `ensembles: true`" in told


def test_the_gallery_is_put_together_from_what_was_kept(tmp_path, monkeypatch):
    """Its page comes after hours of fits: that it can be written is known before."""
    gallery, page = (importlib.import_module(f"benchmarks.{name}") for name in ("gallery", "page_gallery"))
    monkeypatch.setattr(gallery, "PLACE", tmp_path)
    transfer, generator = next(iter(gallery.TRANSFERS)), np.random.default_rng(0)
    for draw in range(gallery.DRAWS):
        folder = tmp_path / f"{transfer}-minilm-l6-{draw}"
        folder.mkdir()
        truth = np.arange(40) % 2
        np.save(folder / "truth.npy", truth)
        for name, right in (("tfidf", 0.5), ("probe", 0.8), ("probe+source", 0.9)):
            answers = np.where(generator.random(40) < right, truth, 1 - truth)
            np.save(folder / f"{name}.npy", np.eye(2, dtype=np.float32)[answers] * 0.8 + 0.1)
            (folder / f"{name}.json").write_text(json.dumps({"seconds": 1.5, "commit": "abc"}))
        if draw == 1:  # not run yet
            continue
        study = {"chosen": "probe@minilm-l6", "seconds": 60.0}
        (tmp_path / f"{transfer}-auto-{draw}.json").write_text(json.dumps(study))
        shutil.copy(folder / "probe.npy", tmp_path / f"{transfer}-auto-{draw}.npy")
    found = gallery._summary(transfer, gallery.ENCODER, ["tfidf", "probe"])
    assert [row["method"] for row in gallery.ranked(found["rows"])] == ["probe", "tfidf"]
    assert (found["missing"], len(found["auto"])) == ([1], 2)
    record = {"transfers": [found], "limit": 1024, "minutes": 2, "commits": ["abc"], "command": "c", "date": "d"}
    text = page.page(record | {"commit": "abc", "seconds": 1.0, "machine": defaultdict(str)})
    assert "| movies to Amazon | 32 × 2 |" in text
    assert "| probe | feature | yes | 0." in text
    assert "| tfidf | baseline | no | 0." in text
    assert "Fitted at abc; put together by" in text


def test_the_page_of_rank_has_accuracies_after_training_where_they_were_measured():
    page, ranking = (importlib.import_module(f"benchmarks.{name}") for name in ("page_transfer", "ranking"))
    generator, every = np.random.default_rng(0), []
    for layer in range(1, 7):
        for source in ("none", "movies", "tweets", "random labels"):
            scores = {"probe": layer + generator.normal(), "n_leep": -float("inf"), "depth": float(layer)}
            scores |= {} if source == "none" else {"leep": float(generator.normal())}
            every.append({"layer": layer, "source": source, "reached": layer / 10, "scores": scores})
    found = ranking._tuned({"draw": 1, "combinations": every})
    assert found["scores"]["depth"]["tau"] == pytest.approx(1)
    assert found["scores"]["leep"]["combinations"] == 18
    assert "n_leep" not in found["scores"], "the same everywhere: it ranks nothing"
    record = {"rows": [], "means": {}, "sources": {"scores": {}, "shots": 32, "combinations": 48, "best": 0.8}}
    before, after = ("\n".join(page.ranking(record | more)) for more in ({}, {"trained": [found]}))
    assert "after training" not in before
    assert "Best: draw 1: 0.600, layer 6, source none." in after.replace("\n", " ")
    assert "| 1 | 24 | depth | +1.00 (+1.00 to +1.00) | 0.000 |" in after
    assert "| 1 | 18 | leep | " in after


def test_the_page_of_roles_on_one_trunk_says_what_training_and_memory_take():
    page = importlib.import_module("benchmarks.page_teams")
    answered = [
        {
            "roles": n,
            "apart": 2.0 * n,
            "together": 2.0 + n / 10,
            "memory": 1 + n / 100,
            "difference": 1e-6,
            "process": {"before_mib": 300.0, "most_mib": 400.0 + n},
        }
        for n in (1, 4, 16)
    ]
    record = {
        "kinds": {"heads": answered, "LoRA on the upper 2 of 6 layers": answered},
        "training": {"heads": {"load": 0.5, "apart": 8.0, "together": 2.5}},
        "texts": 600,
        "rows": 400,
        "trained_roles": 4,
    }
    text = "\n".join(page.team_cost(record))
    assert "| heads | 4 | 8.00 | 2.40 | 3.33 | 1.04 | 104 | 1.03 | 1e-06 |" in text
    assert "| heads | 8.0 | 2.5 | 3.20 |" in text
    drawn = page.roles_plot(record)
    assert drawn.count("<circle") == 9
    assert all(f">{name}</text>" in drawn for name in ("heads", "LoRA", "N models", "roles", "seconds"))


class Reads:
    """Stands in for a classifier: the label is the first that the text names."""

    labels = tuple(INTENTS)

    def predict(self, texts):
        return [next((label for label in self.labels if label in text), "other") for text in texts]


def desk_report(credit):
    """What `team evaluate` says of a small desk of functions."""
    intents = [INTENTS[i % 3] for i in range(24)]
    rows = LabelledRows(
        tuple(f"request {i} about {intent}" for i, intent in enumerate(intents)),
        {"intent": tuple(intents), "reply": tuple(f"{{{{Name}}}}, your {one}, {i}." for i, one in enumerate(intents))},
        tuple(range(1, 25)),
    )
    good = role(
        "write", lambda given: f"{{{{Name}}}}, your {given.get('intent')}, {given['request'].split()[1]}.", input=None
    )
    poor = role("write", lambda given: "What?", input=None)
    given = {"untrained": {"write": poor}, "judge": Reads(), "metric": "outcome", "credit": credit}
    return evaluate(desk(good), rows, **given)


def test_the_page_of_the_support_desk_is_put_together_from_its_parts():
    """Its parts come from `team evaluate`, of a small desk here; an hour of training stands before the real one."""
    page = importlib.import_module("benchmarks.page_desk")
    interval = {"value": 0.9, "low": 0.8, "high": 0.95}
    compared = {"difference": {"value": 0.02, "low": 0.01, "high": 0.03}, "verdict": "helps", "n": 24}
    candidate = {"id": "probe@minilm-l6", "accuracy": interval, "status": "done", "reason": None}
    skipped = {"id": "dora@minilm-l6", "accuracy": None, "status": "skipped", "reason": "would take 90 s"}
    way = {"with": interval, "without": interval, "compared": compared, "draws": [0.01, -0.02]}
    record = {
        "credit_rows": 24,
        "known": {"shots": 8, "intents": 27, "replies": 297},
        "study": {"candidates": [candidate, skipped], "chosen": "probe@minilm-l6", "seconds": 60.0},
        "trained": {"team": {"seconds": 200.0}, "single": {"seconds": 190.0}},
        "intents": {"role": interval, "probe": interval, "sorts": interval, "judge": interval, "rows": 1000},
        "source": {"shots": 3, "rows": 1000, "source_rows": 3000, "ways": {"matching": way}},
        "replies": desk_report(False),
        "credit": desk_report(True)["credit"],
        "learning": {
            "rounds": [{"traces": 48, "roles": {"write": {"pairs": 30, "preferences": 0}}}],
            "compared": [{"a": "one adapter a role", "b": "before", **compared}],
            "samples": 2,
            "uses": "before",
        },
    }
    record["intents"]["compared"] = compared
    record["learnt"] = record["replies"]
    text = "\n".join(page.team_desk(record))
    assert "| dora@minilm-l6 | would take 90 s |" in text
    assert "| matching | 0.900 (0.800–0.950) | 0.900 (0.800–0.950) | +0.020 (+0.010 to +0.030) | helps |" in text
    assert "| the team | 1.000 (0.858–1.000) | 1.000" in text
    assert "| the same team, only prompted | 0.000 (0.000–0.142) |" in text
    assert "add up within noise (gap +0.000" in text
    assert "| write | +1.000 (+1.000 to +1.000), helps |" in text
    assert "48 traces, 2 of each request" in text
    first = {key: record[key] for key in ("known", "credit_rows", "study")}
    assert "### Replies" not in "\n".join(page.team_desk(first)), "what is not measured yet is left out"


def test_problems_are_right_and_stand_once():
    sums, generator = (importlib.import_module(f"benchmarks.{name}") for name in ("team_sums", "sums"))
    found = generator.problems(600, 0)
    assert len({one.request for one in found}) == 600
    assert found[:200] == generator.problems(200, 0)
    by = {one.request: one.answer for one in generator.problems(4000, 1)}
    for sign, form in (("+", "Calculate {} + {}."), ("-", "Calculate {} - {}."), ("*", "Calculate {} * {}.")):
        checked = 0
        for a in range(100):
            for b in range(100):
                answer = by.get(form.format(a, b))
                checked += answer is not None
                assert answer is None or int(answer) == {"+": a + b, "-": a - b, "*": a * b}[sign]
        assert checked > 10
    assert [sums.number(text) for text in ("It is 12.", "-3", "none", "1, 02")] == ["12", "-3", "", "2"]
    measure = sums.exact(found[:2])
    said = [{"draft": "9999", "answer": found[0].answer}, {"draft": found[1].answer}]
    assert measure.interval(said, 0).value == 1
    assert measure.interval([{"draft": found[0].answer, "answer": "9999"}, {}], 0).value == 0


def test_the_page_of_problems_compares_with_the_team():
    page = importlib.import_module("benchmarks.page_teams")
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    one = {"exact": interval, "tokens": 210.4}
    compared = {"difference": {"value": -0.1, "low": -0.2, "high": 0.0}, "verdict": "no evidence"}
    record = {
        "problems": [240, 240, 304],
        "solver": {"right": 80, "tokens": 1},
        "single": {"tokens": 99_000, "team_tokens": 100_000, "epochs": 5},
        "answers": {
            "voters": 3,
            "figures": {"team": one, "one model": one},
            "compared": {"one model": compared},
            "roles": {"verdicts": interval},
        },
    }
    text = "\n".join(page.team_sums(record))
    assert "| team | 0.500 (0.400–0.600) | 210 |  |" in text
    assert "| one model | 0.500 (0.400–0.600) | 210 | -0.100 (-0.200 to +0.000), no evidence |" in text


def test_the_rows_of_the_support_desk_stay_apart(monkeypatch, tmp_path):
    data = importlib.import_module("benchmarks.desk_data")
    file = tmp_path / "support.csv"
    lines = [f"request {i},intent {i % 3},reply {i}" for i in range(180)]
    file.write_text("instruction,intent,response\n" + "\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(data, "shared", lambda *_: file)
    for name, count in {"KNOWN": 5, "HELD": 6, "INTENTS": 20, "REQUESTS": 10}.items():
        monkeypatch.setattr(data, name, count)
    parts = data.rows()
    assert {name: len(rows) for name, rows in parts.items()} == {
        "known": 15,
        "held": 18,
        "test": 20,
        "learn": 10,
        "spare": 117,
    }
    assert len({row.request for rows in parts.values() for row in rows}) == 180
    few = data.shots(parts["known"], 2)
    assert [row.intent for row in few] == ["intent 0"] * 2 + ["intent 1"] * 2 + ["intent 2"] * 2
    assert data.shots(parts["known"], 2, 1) != few
    intent = {row.request: row.intent for row in parts["held"]}
    of = {row.reply: row.intent for row in parts["held"]}
    for request, reply, verdict in data.pairs(parts["held"]):
        assert (of[reply] == intent[request]) == (verdict == "good")


def test_a_part_is_measured_once(monkeypatch, tmp_path):
    common = importlib.import_module("benchmarks.common")
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(common, "commit", lambda: "abc")
    asked = []

    def work(number):
        asked.append(number)
        return {"found": number}

    first, again = common.Parts("thing"), common.Parts("thing")
    assert first.part("one", work, 1) == again.part("one", work, 2) == {"found": 1}
    assert asked == [1]
    assert again.made["commit"] == "abc"
    with pytest.raises(ZeroDivisionError):
        again.part("two", lambda: 1 / 0)
    assert again.part("two", work, 3) == {"found": 3}
