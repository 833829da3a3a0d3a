"""A remote model as a candidate of a study: forecast, kept within its budget, measured, chosen, saved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from remote_place import PRICES
from remote_stand_in import KEY, RemoteStandIn
from study.place import WORDS, recipe_text, rows, write_csv

import transfuse
from transfuse.errors import BackboneError, RecipeError, UsageError
from transfuse.report import write_html
from transfuse.report.sentences import why_not
from transfuse.report.words import Speaker
from transfuse.study.recipe import Recipe
from transfuse.study.run import run

INPUT, OUTPUT = 150_000, 600_000


def knows(text: str) -> dict[str, float]:
    """A model that knows the words."""
    warm = any(word in text for word in WORDS["warm"])
    return {"cold": 0.1, "warm": 0.9} if warm else {"cold": 0.9, "warm": 0.1}


def bill(service: RemoteStandIn) -> float:
    return sum(read * INPUT + written * OUTPUT for _, read, written in service.bills) / 10**12


@pytest.fixture
def place(tmp_path, own):
    """A small target, and a file of pairs."""
    write_csv(tmp_path / "target.csv", ("text", "label"), rows(60, 1))
    pairs = [(f"{word} {i}", f"{word.upper()} {i}") for i, word in enumerate(("red", "blue", "rose", "navy") * 12)]
    write_csv(tmp_path / "pairs.csv", ("text", "answer"), pairs)
    (tmp_path / "prices.toml").write_text(PRICES)
    return tmp_path


def text(**changes: str) -> str:
    fixed = {
        "target": "{data: target.csv, test: {rows: 20, seed: 0}, shots: 10}",
        "backbones": '["openai:m"]',
        "methods": "[prompt, {prompt: {shots: 0}}]",
        "validation": "{folds: 2, repeats: 1}",
        "remote": "{budget: {money: 0.05}, concurrency: 8, timeout_seconds: 5}",
    }
    return recipe_text(**{"sources": "", **fixed, **changes})


def test_a_remote_model_is_forecast_measured_and_chosen(place, told, monkeypatch):
    with RemoteStandIn(chances=knows) as service:
        service.use(monkeypatch)
        study = run(Recipe.from_text(text(), base=place), out=place / "o", progress=told)
        report = study.report
        assert report["chosen"].startswith("prompt@m")
        assert report["test"]["accuracy"]["value"] == 1.0
        zero = next(c for c in report["candidates"] if c["settings"] == {"shots": 0})
        assert zero["status"] == "done"
        assert zero["validation"]["accuracy"]["value"] == 1.0
        assert zero["tokens"]["read"] > 0
        spent = report["remote"]["spent"]
        assert spent["calls"] == len(service.bills)
        assert spent["money"] == pytest.approx(bill(service), abs=1e-12)
        assert report["remote"]["doubtful"] == {"calls": 0, "tokens": 0, "money": 0.0}
        forecast = report["remote"]["forecast"]
        assert set(forecast) == {c["id"] for c in report["candidates"] if c["backbone"]}
        most = sum(f["money"]["most"] for f in forecast.values()) + max(f["money"]["test"] for f in forecast.values())
        assert spent["money"] <= most <= 0.05
        notes = [note for note in told.notes if "USD" in note]
        assert len(notes) == 2
        assert "prices.toml" in notes[0]
        asked = len(service.calls)
        again = run(Recipe.from_text(text(), base=place), out=place / "o2")
        assert len(service.calls) == asked, "another study of the same asks nothing"
        assert again.report["remote"]["spent"]["calls"] == 0
        for lang in ("en", "zh"):
            write_html(report, place / "page.html", lang)
            assert str(spent["input_tokens"]) in (place / "page.html").read_text(encoding="utf-8").replace(",", "")
        model = transfuse.load(place / "o" / "model")
        assert model.predict(["red", "blue"]) == ["warm", "cold"]
        model.path.asked.model.close()
    for file in [*place.rglob("*.json"), *place.rglob("*.md"), *place.rglob("*.sqlite*")]:
        assert KEY.encode() not in file.read_bytes(), file


def test_a_remote_model_writes(place, monkeypatch):
    recipe = text(
        task="{kind: generate, input: text, output: answer}",
        target="{data: pairs.csv, test: {rows: 12, seed: 0}, validation: {rows: 12}}",
        validation="",
        methods="[{prompt: {shots: 2}}, {prompt: {shots: 2, choose: similar}}]",
        backbones='["google:m"]',
    )
    with RemoteStandIn(answer=str.upper) as service:
        service.use(monkeypatch)
        report = run(Recipe.from_text(recipe, base=place), out=place / "o").report
    assert report["chosen"].startswith("prompt@m")
    assert report["test"]["chrf"]["value"] == pytest.approx(100 if report["test"]["chrf"]["value"] > 1 else 1)
    assert [c["status"] for c in report["candidates"] if c["backbone"]] == ["done", "done"]


def test_what_does_not_fit_the_budget_is_skipped_before_it_is_asked(place, monkeypatch):
    with RemoteStandIn(chances=knows) as service:
        service.use(monkeypatch)
        recipe = text(remote="{budget: {tokens: 2000}}", methods="[tfidf, prompt]")
        report = run(Recipe.from_text(recipe, base=place), out=place / "o").report
        assert service.calls == []
    skipped = next(c for c in report["candidates"] if c["backbone"])
    assert skipped["status"] == "skipped"
    assert "prompt@m, with the test, takes up to" in skipped["reason"]
    assert "prompt@m, with the test, takes up to" in why_not(skipped, Speaker("en")), "and not that time was short"
    assert report["chosen"] == "tfidf"


def test_other_methods_leave_remote_models_alone(place, monkeypatch):
    with RemoteStandIn(chances=knows) as service:
        service.use(monkeypatch)
        recipe = Recipe.from_text(text(methods="[probe]"), base=place)
        with pytest.raises(RecipeError, match="'probe' has nothing to work with: the recipe names remote models only"):
            run(recipe, out=place / "o")
        assert service.calls == []


def test_a_setting_that_no_service_offers_is_told(place, monkeypatch):
    recipe = text(
        task="{kind: generate, input: text, output: answer}",
        target="{data: pairs.csv, test: {rows: 12, seed: 0}}",
        methods="[{prompt: {beams: 4}}]",
    )
    with RemoteStandIn() as service:
        service.use(monkeypatch)
        with pytest.raises(RecipeError, match=r"methods(.|\n)*beams: 4(.|\n)*1 beam of a remote model"):
            run(Recipe.from_text(recipe, base=place), out=place / "o")


def test_a_missing_key_is_told_before_anything_runs(place, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(BackboneError, match="export OPENAI_API_KEY="):
        run(Recipe.from_text(text(), base=place), out=place / "o")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"remote": ""}, r"'remote'\]?: no budget, and 'openai:m' may cost money"),
        ({"remote": "{budget: {}}"}, "empty. Expected: money: DOLLARS"),
        ({"remote": "{budget: {money: 0}}"}, "US dollars, a number over 0"),
        ({"backbones": '["openai:"]'}, "no remote model. Expected: openai:MODEL or google:MODEL"),
        ({"target": '{data: "openai:m", test: {rows: 20}}'}, "a remote model, no data"),
    ],
)
def test_what_a_recipe_may_not_say(place, changes, found):
    with pytest.raises(RecipeError, match=found):
        Recipe.from_text(text(**changes), base=place)


def test_killed_and_run_again(place):
    """kill -9 while a service fails one call in five: the study goes on, and no answer is paid twice."""
    (place / "r.yaml").write_text(text(remote="{budget: {money: 0.05}, concurrency: 3}"))
    kinds = ("429 0.005", "500")
    with RemoteStandIn(chances=knows, chance=0.2, kinds=kinds, delay=0.02) as service:
        environment = {**os.environ, **service.environment()}
        command = [sys.executable, "-m", "transfuse", "run", str(place / "r.yaml"), "--out", str(place / "o")]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while len(service.bills) < 15:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.wait_idle()
        ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        report = json.loads((place / "o" / "report.json").read_text())
        spent, doubtful = report["remote"]["spent"], report["remote"]["doubtful"]
        assert doubtful["calls"] <= 3
        assert len(service.bills) - 3 <= spent["calls"] <= len(service.bills)
        assert spent["money"] <= bill(service) + 1e-12 <= spent["money"] + doubtful["money"] + 2e-12 <= 0.05
        assert report["chosen"].startswith("prompt@m")


TAUGHT = {
    "backbones": "[enc]",
    "methods": "[probe, distill]",
    "sources": '[{name: big, teacher: "openai:m", data: target.csv, shots: 2}]',
    "allow_overlap": "true",
}


def test_a_remote_teacher_is_paid_once_and_its_student_is_free(place, monkeypatch):
    import tiny

    (place / "enc").symlink_to(tiny.folder("bert"))
    with RemoteStandIn(chances=knows) as service:
        service.use(monkeypatch)
        recipe = Recipe.from_text(text(**TAUGHT), base=place)
        report = run(recipe, out=place / "o").report
        found = {c["id"]: c for c in report["candidates"]}
        assert found["teacher+big"]["status"] == found["distill@enc+big"]["status"] == "done"
        assert found["teacher+big"]["validation"]["accuracy"]["value"] == 1.0
        assert report["remote"]["spent"]["calls"] == len(service.bills)
        assert report["remote"]["spent"]["money"] == pytest.approx(bill(service), abs=1e-12)
        before = len(service.bills)
        run(recipe, out=place / "again")
        assert len(service.bills) == before, "the same questions are not paid twice"
        for path in (place / "o").rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_a_remote_teacher_is_asked_no_more_than_its_share_allows(place, monkeypatch):
    import tiny

    (place / "enc").symlink_to(tiny.folder("bert"))
    with RemoteStandIn(chances=knows) as service:
        service.use(monkeypatch)
        little = text(**TAUGHT, remote="{budget: {tokens: 8000}, concurrency: 8, timeout_seconds: 5}")
        report = run(Recipe.from_text(little, base=place), out=place / "o").report
        assert 0 < report["remote"]["spent"]["input_tokens"] + report["remote"]["spent"]["output_tokens"] <= 8000
        record = json.loads((place / "o" / "ledger" / "teachers.json").read_text())["big"]
        assert record["texts"] < record["offered"]


def test_a_remote_teacher_needs_a_budget():
    with pytest.raises(RecipeError, match="no budget, and 'openai:m' may cost money"):
        Recipe.from_text(text(**TAUGHT, remote=""), base=".")


def test_a_remote_teacher_in_a_cascade_is_paid_from_a_budget(place, monkeypatch):
    with RemoteStandIn(chances=knows) as service:
        service.use(monkeypatch)
        recipe = Recipe.from_text(text(backbones="[]", methods="[majority]", remote=""), base=place)
        run(recipe, out=place / "small")
        rows_csv = str(place / "target.csv")
        with pytest.raises(UsageError, match="openai:m may cost money"):
            transfuse.cascade(place / "small", "openai:m", rows_csv, place / "both")
        made = transfuse.cascade(place / "small", "openai:m", rows_csv, place / "both", share=0.5, money=0.05)
        assert made.figures["rows"] == 60
        paid = len(service.bills)
        assert 0 < bill(service) <= 0.05
        again = transfuse.load(place / "both")
        assert list(again.predict(["redrose1"])) in (["warm"], ["cold"])
        transfuse.cascade(place / "small", "openai:m", rows_csv, place / "both", share=0.2, money=0.05)
        assert len(service.bills) <= paid + 1, "what was answered is kept"
        for path in (place / "both").rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes()
