"""What a verdict rests on beside its interval: a placebo, and the curve over numbers of labels."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from study.place import rows, write_csv

from transfuse import report as pages
from transfuse.advice.candidates import Candidate
from transfuse.data.examples import Examples
from transfuse.engine.jobs import Rows
from transfuse.engine.ledger import Ledger
from transfuse.errors import StudyError
from transfuse.evaluation.curve import labels_for
from transfuse.study import curve, finish
from transfuse.study.assess import Assessed
from transfuse.study.curve import add_curve, arms_of, worth
from transfuse.study.placebo import try_placebo
from transfuse.study.recipe import Recipe
from transfuse.study.run import run
from transfuse.study.workshop import Workshop, shuffled
from transfuse.tasks.classify import Classify

RECIPE = """
name: few
task: {kind: classify, input: text, label: label}
target: {data: target.csv, test: {rows: 100, seed: 0}, validation: {rows: 200, seed: 1}, shots: 3}
sources: [{name: more, data: source.csv}]
backbones: [enc]
methods: [{probe: {layers: [3], source_limit: 800}}]
budget: {minutes: 20}
"""


@pytest.fixture(scope="module")
def recipe(place, tmp_path_factory):
    """Few labels, a source of many: it is chosen."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "enc").symlink_to(place / "enc")
    write_csv(folder / "target.csv", ("text", "label"), rows(400, 1, "t"))
    write_csv(folder / "source.csv", ("text", "label"), rows(800, 2, "s"))
    return Recipe.from_text(RECIPE, base=folder)


@pytest.fixture(scope="module")
def study(recipe, tmp_path_factory):
    return run(recipe, out=tmp_path_factory.mktemp("few-out") / "out")


def test_the_placebo_of_the_choice_stands_beside_it(study):
    report = study.report
    chosen = next(c for c in report["candidates"] if c["id"] == report["chosen"])
    assert chosen["sources"] == ["more"]
    (placebo,) = [t for t in chosen["transfer"] if t["kind"] == "placebo"]
    assert placebo["against"] == f"{chosen['id']}~shuffled"
    assert placebo["verdict"] == "helps"
    assert all(not c["id"].endswith("~shuffled") for c in report["candidates"])
    plan = json.loads((study.out / "plan.json").read_text(encoding="utf-8"))
    assert plan["placebo"] == placebo["against"]
    assert any("placebo" in sentence for sentence in pages.explain(report, "en"))


def test_a_placebo_for_which_there_is_no_time_is_told(study):
    """Without a word a reader takes the gain for one that was tested."""
    chosen = next(c for c in study.report["candidates"] if c["id"] == study.report["chosen"])
    fields = {key: value for key, value in chosen.items() if key != "transfer"} | {"transfer": []}
    one = Assessed(Candidate.from_dict(chosen), np.zeros((1, 1, 2)), fields)
    fields["seconds"] = {"fit": 60.0, "predict_per_1000": 20.0}
    data = SimpleNamespace(splits=SimpleNamespace(fits=[None] * 6), test=[None] * 500)
    failed = SimpleNamespace(run=lambda wanted, planned: [(None, None, None)], data=data)
    ledger = SimpleNamespace(plan={}, keep_plan=lambda plan: None)
    try_placebo(one, None, failed, [], ledger, room=79.0)  # 60 s, 10 s for the last fit, 10 s for the test
    assert fields["no_placebo"] == "time"
    try_placebo(one, None, failed, [], ledger, room=81.0)
    assert fields["no_placebo"] == "failed"


def test_shuffled_labels_are_the_same_labels_at_other_texts():
    examples = Examples(tuple("abcdefgh"), tuple("11112222"))
    found = shuffled(examples, 0)
    assert found.texts == examples.texts
    assert sorted(found.labels) == sorted(examples.labels)
    assert found.labels != examples.labels
    assert shuffled(examples, 0) == found


def test_the_curve_goes_beyond_the_shots_and_goes_on_where_it_stopped(recipe, study, monkeypatch):
    before = json.loads((study.out / "report.json").read_text(encoding="utf-8"))
    found = add_curve(recipe, study.out)["curve"]
    assert {k: v for k, v in add_curve(recipe, study.out).items() if k != "curve"} == before
    sizes = [p["shots"] for p in found["points"]]
    assert sizes == [2, 3, 4, 8, 16, 32]
    assert [p["labels"] for p in found["points"]] == [2 * s for s in sizes]
    first, last = found["points"][0], found["points"][-1]
    assert first["comparison"]["verdict"] == "helps"
    assert first["with"]["value"] > first["without"]["value"]
    assert last["without"]["value"] > first["without"]["value"]
    assert found["at"] == 6
    assert found["equal"] is None or found["equal"] > 6
    study.report["curve"] = found
    page = pages.html.page_of(study.report, "en")
    assert "How many labels is the transfer worth?" in page
    assert "It read the test again, after the choice" in page
    assert "After that choice the curve read the test again" in page
    assert "read the test again" not in pages.html.page_of(before, "en")
    assert page.count('<polyline class="arm') == 2
    (study.out / "report.json").write_text(json.dumps(before), encoding="utf-8")

    def never(*_arguments, **_settings):
        raise AssertionError("fitted again")

    monkeypatch.setattr("transfuse.engine.fit.Engine.fit", never)
    assert add_curve(recipe, study.out)["curve"] == found


def test_labels_for_a_figure():
    assert labels_for([8, 32, 128], [0.6, 0.7, 0.8], 0.75) == 64.0
    assert labels_for([8, 32, 128], [0.6, 0.7, 0.8], 0.5) == 8
    assert labels_for([8, 32, 128], [0.6, 0.7, 0.8], 0.81) is None
    assert labels_for([8, 32, 128], [0.7, 0.6, 0.8], 0.7) == 8


def test_what_the_transfer_was_worth():
    def point(labels, gained, plain):
        return {"labels": labels, "with": {"value": gained}, "without": {"value": plain}}

    points = [point(8, 0.7, 0.5), point(32, 0.75, 0.6), point(128, 0.78, 0.72)]
    found = worth(points, 30, greater=True)
    assert (found["at"], found["equal"], found["last"]) == (32, None, 128)
    assert 8 < found["sooner"] < 32
    less = worth([point(8, 0.3, 0.5), point(32, 0.2, 0.3)], 8, greater=False)
    assert less["equal"] == 32


def curve_of(*points):
    """A report with a curve of (labels, with, without)."""
    named = [
        {
            "labels": labels,
            "with": {"value": gained},
            "without": {"value": plain},
            "comparison": {
                "difference": {"value": gained - plain, "low": -0.1, "high": 0.1},
                "verdict": "no evidence",
            },
        }
        for labels, gained, plain in points
    ]
    return {"curve": {"points": named, **worth(named, 32, greater=True)}}


def test_the_fewest_labels_of_the_curve_mean_so_many_or_fewer():
    report = curve_of((8, 0.5, 0.6), (32, 0.55, 0.7), (128, 0.75, 0.72))
    assert "equal 8 or fewer without it" in pages.about_curve(report, "en")[0]
    assert "不多于 8" in pages.about_curve(report, "zh")[0]
    report = curve_of((8, 0.8, 0.5), (32, 0.82, 0.82), (128, 0.83, 0.82))
    assert pages.about_curve(report, "en")[:2] == [
        "By the curve, 32 labels with the transfer equal about 32 without it.",
        "What 128 labels reach without it is reached with about 32.",
    ]


def test_what_adds_nothing_is_not_said_to_add():
    report = curve_of((8, 0.8, 0.5), (32, 0.82, 0.7), (128, 0.717, 0.72))
    assert pages.about_curve(report, "en")[-1].startswith("With 128 labels it adds nothing any more, −0.003")
    report = curve_of((8, 0.8, 0.5), (32, 0.82, 0.7), (128, 0.83, 0.72))
    assert pages.about_curve(report, "en")[-1].startswith("With 128 labels it still adds +0.110")


def test_a_point_knows_the_texts_that_were_not_drawn_and_asks_no_teacher_anew(place, tmp_path, monkeypatch):
    """What is fitted is the chosen candidate with other labels: unlabelled texts and teachers are there as before."""
    (tmp_path / "enc").symlink_to(place / "enc")
    write_csv(tmp_path / "much.csv", ("text", "label"), rows(300, 7, "m"))
    write_csv(tmp_path / "target.csv", ("text", "label"), rows(140, 1, "t"))
    head = "task: {kind: classify, input: text, label: label}\nbackbones: [enc]\nbudget: {minutes: 20}\n"
    probe = head + "target: {data: much.csv, test: {rows: 40, seed: 0}}\nmethods: [{probe: {layers: [3]}}]\n"
    run(Recipe.from_text(probe, base=tmp_path), out=tmp_path / "know")
    recipe = Recipe.from_text(
        head
        + "target: {data: target.csv, test: {rows: 60, seed: 0}, shots: 6}\nsources: [{name: old, model: know/model}]\n"
        + "methods: [{distill: {train_layers: 1, taught_epochs: 1, target_epochs: 1}}]\n",
        base=tmp_path,
    )
    done = run(recipe, out=tmp_path / "out")
    student = "distill@enc+old"
    report = {**done.report, "chosen": student}
    (tmp_path / "out" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    seen, job = set(), Workshop.job

    def watched(self, candidate, positions):
        if candidate.method == "distill":
            seen.add((len(positions), len(self.data.unlabelled)))
        return job(self, candidate, positions)

    monkeypatch.setattr(Workshop, "job", watched)
    monkeypatch.setattr("transfuse.study.teaching.Teacher.says", lambda *_: pytest.fail("asked again"))
    monkeypatch.setattr(curve, "SHOTS", (2, 4))
    monkeypatch.setattr(curve, "DRAWS", 1)
    found = add_curve(recipe, tmp_path / "out")["curve"]
    assert found["with"] == student
    assert seen == {(4, 76), (8, 72), (12, 68)}
    with pytest.raises(StudyError, match=r"teacher\+old: a teacher answers the same with few labels as with many"):
        arms_of({**done.report, "chosen": "teacher+old"})


def test_without_a_transfer_there_is_nothing_to_draw():
    record = {"id": "tfidf", "method": "tfidf", "transfer": []}
    with pytest.raises(StudyError, match="chose no transfer"):
        arms_of({"candidates": [record], "chosen": "tfidf"})


def test_what_source_rows_counted_is_kept_and_shown(recipe, tmp_path):
    text = RECIPE.replace("methods: [{probe: {layers: [3], source_limit: 800}}]", "methods: [{nearest: {layers: 3}}]")
    study = run(Recipe.from_text(text, base=recipe.base), out=tmp_path / "out")
    found = study.report["source_rows"]
    assert study.report["chosen"].endswith("+more")
    assert found["rows"] == 800
    weights = [row["weight"] for row in found["first"] + found["last"][::-1]]
    assert weights == sorted(weights, reverse=True)
    lines = (study.out / "source_rows.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "weight,label,text"
    assert len(lines) == 801
    effective = np.array([float(line.partition(",")[0]) for line in lines[1:]])
    assert found["effective"] == pytest.approx(effective.sum() ** 2 / (effective**2).sum(), rel=1e-2)
    assert 1 <= found["effective"] < 800
    assert found["member"] is None
    page = pages.html.page_of(study.report, "en")
    assert "Which source rows helped?" in page
    assert f"worth as much as {round(found['effective']):,} rows that count alike" in page
    assert "In an ensemble" not in page


def test_of_an_ensemble_the_heaviest_member_that_weighs_rows_tells_what_they_counted(tmp_path):
    """The page names it; one that weighs nothing is passed over, however heavy it is."""

    def single(name):
        return Candidate(name, "instance", name, "enc", ("more",), {})

    rows = Rows(("a", "b", "c"), np.array([0, 1, 0]), np.ones(3), np.zeros(3, dtype=bool))
    weighed = {"light": (rows, np.array([1.0, 1.0, 1.0])), "heavy": (rows, np.array([2.0, 0.0, 1.0]))}
    members = tuple((single(name), weight) for name, weight in (("plain", 0.5), ("light", 0.2), ("heavy", 0.3)))
    together = dataclasses.replace(single("all"), method="ensemble", members=members)
    data = SimpleNamespace(task=Classify(("good", "bad")))
    workshop, ledger = SimpleNamespace(weighed=weighed), Ledger(tmp_path)
    found = finish._source_rows(together, data, workshop, ledger)
    assert (found["member"], found["rows"], found["unused"], found["effective"]) == ("heavy", 3, 1, 1.8)
    assert [row["text"] for row in found["first"]] == ["a", "c", "b"]
    assert finish._source_rows(single("light"), data, workshop, ledger)["member"] is None
    assert finish._source_rows(single("plain"), data, workshop, ledger) is None
    for lang, words in (("en", "In an ensemble: by heavy"), ("zh", "集成中取自 heavy")):
        assert words in pages.html.page_of({"source_rows": found}, lang)
