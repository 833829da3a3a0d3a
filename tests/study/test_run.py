"""A whole study with a tiny encoder and a tiny decoder, on a task that TF-IDF cannot learn and bytes can."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from study.place import METHODS, recipe_text, same

import transfuse
from transfuse.advice.candidates import Candidate
from transfuse.data import Columns, read
from transfuse.errors import BackboneError, OutputError, RecipeError
from transfuse.evaluation import metric_intervals
from transfuse.methods.feature.probe import Probe
from transfuse.study.prepare import SealedTest
from transfuse.study.recipe import Recipe
from transfuse.study.run import run
from transfuse.study.workshop import Workshop

TEXT = recipe_text("[majority, probe, {finetune: {train_layers: 1, epochs: 2}}, {prompt: {shots: 2}}]")
INTERVAL = {"value": float, "low": float, "high": float}


@pytest.fixture(scope="module")
def study(place, tmp_path_factory):
    """The study of `METHODS` and a prompt, through the public name, with a recipe made in Python."""
    out = tmp_path_factory.mktemp("study") / "deeper" / "out"
    return transfuse.run(Recipe.from_text(TEXT, base=place), out=out)


@pytest.fixture(scope="module")
def report(study):
    """What stands in report.json."""
    found = json.loads((study.out / "report.json").read_text(encoding="utf-8"))
    assert found == study.report
    return found


def candidate(report, identifier):
    return next(c for c in report["candidates"] if c["id"] == identifier)


def is_figure(value):
    return set(value) == set(INTERVAL) and all(isinstance(number, float) for number in value.values())


def test_the_report_has_every_key_of_the_schema(report):
    assert (report["name"], report["metric"], report["seed"], report["schema"]) == ("toy", "accuracy", 0, 1)
    assert report["task"]["kind"] == "classify"
    assert report["task"]["labels"] == ["cold", "warm"]
    assert {"cpu", "cores", "memory_gib", "os", "torch", "python", "transfuse"} <= set(report["machine"])
    assert report["chosen"] in [c["id"] for c in report["candidates"]]
    for part in ("test", "no_transfer"):
        assert {"accuracy", "macro_f1", "micro_f1", "mcc", "log_loss", "ece"} <= set(report[part])
        assert all(is_figure(figure) for figure in report[part].values())
    assert report["seconds"] > 0


def test_every_candidate_has_every_key_of_the_schema(report):
    types = {"id": str, "family": str, "method": str, "backbone": str, "sources": list, "settings": dict, "reason": str}
    for c in report["candidates"]:
        assert {key: type(c[key]) for key in types} == types
        assert c["status"] == "done"
        assert is_figure(c["validation"]["accuracy"])
        assert c["seconds"]["fit"] >= 0
        assert c["seconds"]["predict_per_1000"] >= 0
        assert c["peak_memory_mib"] > 10
        assert isinstance(c["trainable_parameters"], int)
        for t in c["transfer"]:
            assert t["kind"] in ("no transfer", "without source", "frozen probe", "simpler method", "zero-shot")
            assert t["verdict"] in ("helps", "no evidence", "hurts")
            assert (t["split"], t["n"]) == ("validation", 24)
            assert is_figure(t["difference"])


def test_candidates_stand_beside_their_counterparts(report):
    assert {c["id"] for c in report["candidates"]} == {
        *("majority", "tfidf", "prompt@dec"),
        *(f"{method}@{b}{s}" for method in ("probe", "finetune") for b in ("enc", "dec") for s in ("", "+more")),
    }
    for c in report["candidates"]:
        kinds = {t["kind"]: t["against"] for t in c["transfer"]}
        assert ("without source" in kinds) == bool(c["sources"])
        assert ("no transfer" in kinds) == (c["family"] != "baseline")
        assert ("frozen probe" in kinds) == (c["method"] == "finetune")
        if c["sources"]:
            assert kinds["without source"] == c["id"].removesuffix("+more")
    assert candidate(report, "finetune@enc")["settings"] == {"train_layers": 1, "epochs": 2}


def test_predictions_give_the_validation_figures_again(study, report, place):
    import pyarrow.parquet

    labels = report["task"]["labels"]
    lines = (place / "target.csv").read_text().splitlines()[1:]
    rows = {i + 1: line.split(",") for i, line in enumerate(lines)}
    for c in report["candidates"]:
        table = pyarrow.parquet.read_table(study.out / "predictions" / f"{c['id']}.parquet").to_pydict()
        assert set(table["split"]) == {"validation"}
        assert all(rows[row][1] == label for row, label in zip(table["row"], table["label"], strict=True))
        shape = (max(table["repeat"]) + 1, -1)
        scores = np.stack([np.reshape(table[f"log_p {label}"], shape) for label in labels], axis=-1)
        truth = np.reshape([labels.index(label) for label in table["label"]], shape)
        assert (truth == truth[0]).all()
        again = metric_intervals(truth[0], np.exp(scores), seed=report["seed"])
        assert {name: figure.to_dict() for name, figure in again.items()} == c["validation"]


def test_the_test_rows_were_never_trained_or_validated_on(study, report):
    import pyarrow.parquet

    folder = study.out / "predictions"
    sealed = set(pyarrow.parquet.read_table(folder / f"test.{report['chosen']}.parquet")["row"].to_pylist())
    assert len(sealed) == report["test_rows"] == 60
    for c in report["candidates"]:
        assert not sealed & set(pyarrow.parquet.read_table(folder / f"{c['id']}.parquet")["row"].to_pylist())


def test_the_saved_model_is_the_one_that_was_measured(study, report, place):
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(study.out / "predictions" / f"test.{report['chosen']}.parquet").to_pydict()
    whole = read("target.csv", columns=Columns("text", "label"), base=place)
    texts = [whole.texts[row - 1] for row in table["row"]]
    model = transfuse.load(study.out / "model")
    precision = report["test_precision"]
    hits = np.array(model.predict(texts, precision=precision)) == np.array(table["label"])
    assert hits.mean() == pytest.approx(report["test"]["accuracy"]["value"])
    expected = np.exp(np.stack([table[f"log_p {label}"] for label in model.labels], axis=1))
    assert np.abs(model.predict_proba(texts, precision=precision) - expected).max() < 1e-6
    assert study.model.predict(texts[:3]) == model.predict(texts[:3])


def test_a_few_right_answers_are_no_ground_for_certainty(study, report):
    """Every one of 24 validated rows is right, and the model still does not claim to be right always."""
    import pyarrow.parquet

    assert candidate(report, report["chosen"])["validation"]["accuracy"]["value"] == 1
    table = pyarrow.parquet.read_table(study.out / "predictions" / f"test.{report['chosen']}.parquet").to_pydict()
    confidence = np.exp(np.stack([table[f"log_p {label}"] for label in study.model.labels], axis=1)).max(axis=1)
    assert 0.9 < np.median(confidence) < 0.99


def test_transfer_is_worth_something_here(report):
    chosen = candidate(report, report["chosen"])
    assert chosen["backbone"]
    assert next(t for t in chosen["transfer"] if t["kind"] == "no transfer")["verdict"] == "helps"
    assert report["test"]["accuracy"]["low"] > 0.6
    assert report["no_transfer"]["accuracy"]["value"] < 0.65
    assert report["test_comparison"]["verdict"] == "helps"


def test_each_class_is_judged_against_no_transfer(report):
    own = report["by_label"]
    assert [e["label"] for e in sorted(own, key=lambda e: e["label"])] == report["task"]["labels"]
    assert sum(e["n"] for e in own) == report["test_rows"]
    for arm, whole in (("chosen", "test"), ("no_transfer", "no_transfer")):
        mean = sum(e["n"] * e[arm] for e in own) / report["test_rows"]
        assert mean == pytest.approx(report[whole]["accuracy"]["value"])


def test_the_choice_is_the_best_that_is_not_barred(report):
    barred = {b["id"] for b in report["barred"]}
    allowed = [c for c in report["candidates"] if c["id"] not in barred]
    best = max(c["validation"]["accuracy"]["value"] for c in allowed)
    assert candidate(report, report["chosen"])["validation"]["accuracy"]["value"] == best


def test_the_leaderboard(study, report):
    table = study.leaderboard
    assert len(table) == len(report["candidates"])
    assert list(table["accuracy"]) == sorted(table["accuracy"], reverse=True)
    assert table[table["chosen"]]["id"].tolist() == [report["chosen"]]
    assert set(table[table["sources"] == "more"]["source_verdict"]) <= {"helps", "no evidence", "hurts"}


def test_the_plan_is_kept_and_named_in_the_report(study, report):
    plan = json.loads((study.out / "plan.json").read_text())
    assert [c["id"] for c in plan["candidates"]] == [c["id"] for c in report["candidates"]]
    assert all(c["reason"] == "" and c["estimate"] >= 0 for c in plan["candidates"])
    assert report["plan"]["precision"] == plan["precision"]


def test_the_model_card_and_the_manifest_say_what_it_was_made_from(study, report):
    card = (study.out / "model" / "README.md").read_text(encoding="utf-8")
    assert f"{report['test']['accuracy']['value']:.3f}" in card
    assert "target.csv" in card
    manifest = json.loads((study.out / "model" / "manifest.json").read_text())
    assert manifest["made"]["test"] == report["test"]
    assert manifest["made"]["candidate"]["id"] == report["chosen"]
    assert Path(manifest["backbone"]["resolved"]).is_absolute(), "the recipe's folder may be anywhere"


def test_a_finished_study_returns_at_once(study, place, told, monkeypatch):
    monkeypatch.setattr(Workshop, "validate", lambda *_: pytest.fail("fitted again"))
    monkeypatch.setattr(SealedTest, "open", lambda *_: pytest.fail("the test was read again"))
    text = recipe_text("[majority, probe, {finetune: {train_layers: 1, epochs: 2}}, {prompt: {shots: 2}}]")
    again = run(Recipe.from_text(text, base=place), out=study.out, progress=told)
    assert again.report == study.report
    assert told.notes == [f"{study.out}: finished before; --fresh starts again"]


def test_another_recipe_and_other_data_are_refused(study, recipe, place, tmp_path):
    with pytest.raises(OutputError, match="holds the results of another recipe") as error:
        run(recipe("[tfidf]"), out=study.out)
    assert "--out" in str(error.value)
    assert "--fresh" in str(error.value)
    before = (study.out / "report.json").read_bytes()
    for name in ("source.csv", "enc", "dec"):
        (tmp_path / name).symlink_to(place / name)
    (tmp_path / "target.csv").write_text((place / "target.csv").read_text() + "anewrowofwords,warm\n")
    text = recipe_text("[majority, probe, {finetune: {train_layers: 1, epochs: 2}}, {prompt: {shots: 2}}]")
    with pytest.raises(OutputError, match="other data: a file has changed"):
        run(Recipe.from_text(text, base=tmp_path), out=study.out)
    assert (study.out / "report.json").read_bytes() == before


def test_a_failing_candidate_is_reported_and_the_study_ends_well(recipe, tmp_path, monkeypatch, told):
    real = Workshop.validate

    def validate(self, candidate: Candidate):
        if candidate.id == "probe@enc":
            raise ValueError("a mistake")
        if candidate.id == "probe@enc+more":
            raise BackboneError("the backbone gave NaN", remedy="Try fp32.")
        return real(self, candidate)

    monkeypatch.setattr(Workshop, "validate", validate)
    found = run(recipe("[probe, majority]", backbones="[enc]"), out=tmp_path / "o", progress=told)
    failed = {c["id"]: c for c in found.report["candidates"] if c["status"] == "failed"}
    assert failed["probe@enc"]["reason"] == "ValueError: a mistake"
    assert failed["probe@enc+more"]["reason"] == "the backbone gave NaN Remedy: Try fp32."
    assert failed["probe@enc"]["validation"] == {}
    assert told.lines["probe@enc"] == "failed: ValueError: a mistake"
    assert found.report["chosen"] in ("tfidf", "majority")
    assert len(found.leaderboard) == 4
    assert found.model.predict(["redred"])[0] in ("warm", "cold")


def test_auto_goes_on_where_one_method_cannot_be_planned(recipe, tmp_path, place):
    """Two labels that a prompt would call by one word are no reason not to try the other methods."""
    words = "{kind: classify, input: text, label: label, words: {warm: it, cold: that}}"
    plan = "transfuse.methods.prompt.prompt.Prompting.plan"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, _refuse)
        patch.setattr("transfuse.advice.candidates.AUTO", (("prompt", {}, ""), ("probe", {"layers": 1}, "")))
        found = run(recipe("auto", "", backbones="[dec]", task=words), out=tmp_path / "o").report
    status = {c["id"]: (c["status"], c["reason"]) for c in found["candidates"]}
    assert status["prompt@dec"] == ("failed", "no word for a label Remedy: Set words.")
    assert status["probe@dec"] == ("done", "")


def _refuse(*arguments, **settings):
    raise RecipeError("no word for a label", remedy="Set words.")


def test_two_sources(recipe, tmp_path):
    sources = "[{name: more, data: source.csv}, {name: other, data: other.csv}]"
    found = run(recipe("[{probe: {layers: 1}}]", sources, backbones="[enc]"), out=tmp_path / "o").report
    assert [c["id"] for c in found["candidates"]] == [
        *("tfidf", "probe@enc", "probe@enc+more", "probe@enc+other", "probe@enc+more+other")
    ]
    for c in found["candidates"][2:]:
        assert [t["against"] for t in c["transfer"] if t["kind"] == "without source"] == ["probe@enc"]
    assert [c["settings"] for c in found["candidates"][1:]] == [{"layers": 1}] * 4


def test_settings_reach_the_method(recipe, tmp_path, monkeypatch):
    seen = []
    real = Probe.plan

    @functools.wraps(real)
    def plan(self, *arguments, **settings):
        seen.append(settings)
        return real(self, *arguments, **settings)

    monkeypatch.setattr(Probe, "plan", plan)
    run(recipe("[{probe: {c: 0.5, layers: [1, 2]}}]", "", backbones="[enc]"), out=tmp_path / "o")
    assert seen
    assert all(settings == {"c": 0.5, "layers": [1, 2]} for settings in seen)


def test_a_setting_of_the_wrong_kind_ends_the_study_before_it_fits(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(Workshop, "validate", lambda *_: pytest.fail("fitted"))
    with pytest.raises(RecipeError, match="finetune"):
        run(recipe('[{finetune: {learning_rate: "fast"}}]', backbones="[enc]"), out=tmp_path / "o")


def test_a_candidate_that_does_not_fit_is_reported_as_skipped(recipe, tmp_path):
    found = run(recipe("[probe, majority]", backbones="[enc]", budget="{minutes: 0.01}"), out=tmp_path / "o").report
    for c in found["candidates"]:
        if c["family"] == "baseline":
            assert c["status"] == "done"
        else:
            assert c["status"] == "skipped"
            assert c["reason"].startswith("would take about ")
            assert c["validation"] == {}
            assert c["seconds"] is None


def test_progress_tells_candidates_shares_and_what_is_left(recipe, tmp_path, told):
    run(recipe(METHODS, "", backbones="[enc]"), out=tmp_path / "o", progress=told)
    assert told.planned == ["tfidf", "probe@enc", "finetune@enc"]
    assert told.began[:3] == told.planned
    assert set(told.lines.values()) == {"done"}
    shares = [share for text, share, _ in told.updates if text.startswith("cross-validation")]
    assert all(0 <= share <= 1 for share in shares)
    assert any(0 < share % (1 / 6) < 1 / 6 - 1e-9 for share in shares), "a training stage tells its share"
    assert any(left is not None for _, _, left in told.updates)


def test_a_study_without_caches_has_the_same_figures(study, report, place, tmp_path):
    """What is computed once gives what computing it each time gives; the plan is the same."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "plan.json").write_text((study.out / "plan.json").read_text())
    anew = run(Recipe.from_text(TEXT, base=place), out=tmp_path / "slow", keep=False).report
    assert same(anew) == same(report)


def test_auto_tries_more_where_there_is_time(recipe, tmp_path, place, monkeypatch):
    """What waits for time is planned once all else has run; where time is short it is not told."""
    monkeypatch.setattr("transfuse.advice.candidates.AUTO", (("probe", {}, ""),))
    monkeypatch.setattr("transfuse.advice.candidates.MORE", (("knn", {}, ""), ("coral", {}, "source")))
    ran = run(recipe("auto", backbones="[enc]"), out=tmp_path / "long")
    names = ["tfidf", "probe@enc", "probe@enc+more", "knn@enc", "knn@enc+more", "coral@enc+more"]
    single = [c for c in ran.report["candidates"] if not c.get("members")]
    assert [c["id"] for c in single] == names
    assert {c["status"] for c in single} == {"done"}
    plan = json.loads((tmp_path / "long" / "plan.json").read_text(encoding="utf-8"))
    assert plan["widened"]
    assert plan["settled"]
    short = run(recipe("auto", backbones="[enc]", budget="{minutes: 0.01}"), out=tmp_path / "short").report
    assert [c["id"] for c in short["candidates"]] == names[:3]


def test_a_label_without_an_example_bars_what_cannot_name_it(recipe, tmp_path):
    """TF-IDF holds it for impossible; the centroid has its word."""
    task = "{kind: classify, input: text, label: label, labels: [warm, cold, tepid]}"
    report = run(recipe("[centroid]", "", backbones="[enc]", task=task), out=tmp_path / "o").report
    silent = {c["id"]: c["cannot_name"] for c in report["candidates"] if c["status"] == "done"}
    assert silent["tfidf"] == ["tepid"]
    assert silent["centroid@enc"] == []
    assert report["chosen"] == "centroid@enc"
    (barred,) = [entry for entry in report["barred"] if entry["id"] == "tfidf"]
    assert barred["cannot_name"] == ["tepid"]
