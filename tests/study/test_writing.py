"""Studies of tasks that write, from data of every shape to a model that answers."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pandas
import pytest
import torch
import toy
from study.place import Told

import transfuse
from transfuse.cli import main
from transfuse.data import Examples
from transfuse.data.shapes import about
from transfuse.engine import learners
from transfuse.errors import DataError, RecipeError, TransfuseError
from transfuse.evaluation import as_answers, as_expected, sandbox, texts
from transfuse.fitted import load
from transfuse.report.html import page_of
from transfuse.study.cascade import labelled
from transfuse.study.labelled import read_answered, read_texts
from transfuse.study.prepare import prepare
from transfuse.study.settings import known_methods
from transfuse.study.wrote import nearness, script

QUICK = "{learning_rate: 0.005, epochs: 8, train_layers: all}"


def glued(count, seed):
    """Texts whose words no word counter sees, since they are written together."""
    rows = toy.examples(count, seed=seed)
    return dataclasses.replace(rows, texts=tuple(text.replace(" ", "") for text in rows.texts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("writing")
    (place / "dec").symlink_to(toy.backbone("taught").folder)
    (place / "enc").symlink_to(toy.backbone("encoder").folder)
    for name, count, seed in (("target", 90, 1), ("source", 40, 2)):
        rows = glued(count, seed)
        pandas.DataFrame({"request": rows.texts, "reply": rows.labels}).to_csv(place / f"{name}.csv", index=False)
    return place


def recipe(folder, methods=f"[lookup, {{prompt: {{shots: 2}}}}, {{lora: {QUICK}}}]", more="", task=""):
    text = f"""
task: {{kind: generate, input: request, output: reply, template: "{{text}} =", max_new_tokens: 8, {task}}}
target: {{data: target.csv, test: {{rows: 30}}}}
backbones: [dec]
methods: {methods}
budget: {{minutes: 10}}
{more}"""
    return transfuse.Recipe.from_text(text, folder)


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    sources = "sources: [{name: other, data: source.csv}]"
    return transfuse.run(
        recipe(folder, more=sources, task="similarity: enc"), out=tmp_path_factory.mktemp("out") / "run"
    )


def test_the_report_has_what_every_report_has(study):
    report = study.report
    assert report["task"]["kind"] == "generate"
    assert report["metric"] == "chrf"
    done = {c["id"]: c for c in report["candidates"] if c["status"] == "done"}
    assert [c["reason"] for c in report["candidates"]] == [""] * len(report["candidates"])
    assert {"lookup", "prompt@dec", "lora@dec", "lora@dec+other"} <= set(done)
    asked, tuned = done["prompt@dec"]["tokens"], done["lora@dec"]["tokens"]
    assert asked["read"] > tuned["read"] > 0  # demonstrations are read with every request
    assert min(asked["written"], tuned["written"]) > 0
    assert done["lookup"]["tokens"] is None
    kinds = {t["kind"] for t in done["lora@dec+other"]["transfer"]}
    assert {"no transfer", "without source", "simpler method"} <= kinds
    assert set(report["test"]) >= {"chrf", "bleu", "rouge_l", "placeholders", "repetition"}
    assert report["no_transfer"]["chrf"]["value"] <= 100
    assert "nw:2" in report["signatures"]["chrf"]
    assert len(report["examples"]) == 10
    assert report["examples"][0]["score"] >= report["examples"][-1]["score"]
    assert len(report["by_length"]) == 3


def test_what_only_models_can_tell_of_answers(study):
    """Nearness in meaning beside chance, and bits a byte of the references, as plain transformers would count them."""
    report = study.report
    assert report["test"]["similarity"]["value"] >= report["no_transfer"]["similarity"]["value"]
    assert "bits_per_byte" not in report["no_transfer"]
    rows, path = glued(90, 1), study.model.path
    kept = pandas.read_parquet(study.out / "predictions" / f"test.{report['chosen']}.parquet")
    network, tokenizer = path.writer("fp32").network, path.backbone.tokenizer
    bits = count = 0.0
    for i in kept.row:
        text, reply = rows.texts[i - 1], rows.labels[i - 1]
        (head,), (tail,) = path.form.requests(tokenizer, [text], 256), path.form.answers(tokenizer, [reply], 256)
        with torch.inference_mode():
            shares = torch.log_softmax(network(input_ids=torch.tensor([[*head, *tail]])).logits[0].double(), -1)
        bits -= sum(float(shares[len(head) - 1 + n, token]) for n, token in enumerate(tail)) / np.log(2)
        count += len(reply.encode())
    exact = path.bits([rows.texts[i - 1] for i in kept.row], [rows.labels[i - 1] for i in kept.row])
    assert exact[:, 0].sum() == pytest.approx(bits, rel=1e-4)
    assert report["test"]["bits_per_byte"]["value"] == pytest.approx(bits / count, rel=0.05)  # in its own precision


def test_predictions_are_kept_as_texts(study):
    kept = pandas.read_parquet(study.out / "predictions" / "lookup.parquet")
    assert set(kept.columns) == {"split", "repeat", "row", "label", "answer"}
    assert kept.answer.isin(["warm", "cold"]).all()


def test_the_model_answers_as_the_report_says(study):
    model = study.model
    rows = glued(90, 1)
    kept = pandas.read_parquet(study.out / "predictions" / f"test.{study.report['chosen']}.parquet")
    texts = [rows.texts[i - 1] for i in kept.row]
    assert model.predict(texts, precision=study.report["test_precision"]) == list(kept.answer)
    assert study.leaderboard.iloc[0]["chrf"] > 80


def test_the_page_and_the_card(study):
    for lang in ("en", "zh"):
        page = page_of(study.report, lang)
        assert "chrF++" in page
        assert '<section id="examples">' in page
        assert '<section id="by-length">' in page
    card = (study.out / "model" / "README.md").read_text(encoding="utf-8")
    assert "Answers a request in words." in card
    assert "the answer to the most similar known request" in card


def test_a_resume_gives_the_same_report(study, folder):
    """The report is read again; without it the same figures come from what was kept."""
    before = json.loads((study.out / "report.json").read_text(encoding="utf-8"))
    (study.out / "report.json").unlink()
    more = "sources: [{name: other, data: source.csv}]"
    again = transfuse.run(recipe(folder, more=more, task="similarity: enc"), out=study.out).report
    for key in ("chosen", "test", "no_transfer", "examples"):
        assert again[key] == before[key]


def test_a_study_says_where_examples_cannot_share_a_row(folder, tmp_path, monkeypatch):
    quick = "{learning_rate: 0.005, epochs: 1, train_layers: 1, pack: 64}"
    notes = []
    for number, packs in enumerate((True, False)):
        told = Told()
        monkeypatch.setattr(learners, "packs", lambda *_, packs=packs: packs)
        transfuse.run(recipe(folder, f"[{{lora: {quick}}}]"), out=tmp_path / str(number), progress=told)
        notes.append([note for note in told.notes if "pack" in note])
    assert notes[0] == []
    assert notes[1] == ["pack: in dec examples of one row would not be as each alone, so each has its own"]


def test_a_bundle_answers_without_transfuse(study, tmp_path):
    import subprocess
    import sys

    folder = study.model.bundle(tmp_path / "bundle")
    texts = list(glued(4, 5).texts)
    done = subprocess.run(
        [sys.executable, str(folder / "predict.py"), *texts], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == study.model.predict(texts)


def test_decoding_can_be_changed(study):
    model = load(study.out / "model")
    texts = glued(4, 5).texts
    assert [len(a) <= 1 for a in model.predict(texts, max_new_tokens=2)] == [True] * 4
    assert len(model.predict(texts, beams=2)) == 4
    assert model.predict([]) == []


def test_translate_measures_against_the_text_itself(folder):
    text = """
task: {kind: translate, input: request, output: reply, languages: [Colours, Moods]}
target: {data: target.csv, test: {rows: 30}}
methods: [copy, lookup]
"""
    data = prepare(transfuse.Recipe.from_text(text, folder))
    assert data.task.shown() == "Colours: {text}\nMoods:"
    assert data.splits.kind == "cross-validation"
    assert len(data.test) == 30


def test_a_source_in_another_language_may_share_texts_which_are_left_out(tmp_path):
    words = [f"word {i}" for i in range(60)]
    for name in ("gl", "pt"):
        frame = pandas.DataFrame({"source": words, "translation": [f"{name} {w}" for w in words]})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    text = """
task: {kind: translate, languages: [English, Galician]}
target: {data: gl.csv, test: {rows: 20}}
sources: [{name: pt, data: pt.csv, task: {languages: [English, LANGUAGE]}}]
methods: [copy]
"""
    data = prepare(transfuse.Recipe.from_text(text.replace("LANGUAGE", "Portuguese"), tmp_path))
    assert data.source_tasks["pt"].shown() == "English: {text}\nPortuguese:"
    assert not set(data.sources["pt"].texts) & set(data.test.open().texts)
    assert len(data.sources["pt"]) == 40
    split = prepare(
        transfuse.Recipe.from_text(
            text.replace("20}}", "20}, validation: {rows: 10}}").replace("LANGUAGE", "Portuguese"), tmp_path
        )
    )
    assert len(split.sources["pt"]) == 60 - 20 - 10, "rows that judge, once and for all, stand in no source"
    with pytest.raises(DataError, match="also stand in"):
        prepare(transfuse.Recipe.from_text(text.replace("LANGUAGE", "Galician"), tmp_path))


def test_more_rows_are_split_once(tmp_path):
    rows = toy.examples(400, seed=3)
    pandas.DataFrame({"request": rows.texts, "reply": rows.labels}).to_csv(tmp_path / "target.csv", index=False)
    data = prepare(recipe(tmp_path, "[lookup]"))
    ((repeat, trained, left_out),) = data.splits.fits
    assert (repeat, len(left_out), len(trained)) == (0, 74, 296)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "label: x"}, "task.label': belongs to tasks of kind classify, and this one is 'generate'"),
        ({"task": "languages: [a, b]"}, "task.languages': belongs to tasks of kind translate"),
        ({"task": "metric: accuracy"}, "found 'accuracy'. Expected: chrf, bleu"),
        ({"methods": "[probe]"}, "method 'probe' gives labels and does not suit tasks of kind 'generate'"),
        ({"methods": "[{lora: {calibrate: true}}]"}, "method 'lora' has no setting 'calibrate'"),
    ],
)
def test_what_does_not_fit_the_kind_is_refused(folder, changes, message):
    with pytest.raises(RecipeError) as error:
        known_methods(recipe(folder, **changes))
    assert message in str(error.value)


def test_an_encoder_alone_cannot_write(folder, tmp_path):
    text = recipe(folder, "[prompt]").text.replace("dec", "enc")
    assert "enc" in text
    with pytest.raises(RecipeError, match="an encoder only"):
        transfuse.run(transfuse.Recipe.from_text(text, folder), out=tmp_path / "run")


def test_learning_curve(study, folder):
    from transfuse.study.curve import add_curve

    if study.report["chosen"] in ("lookup", "copy"):
        pytest.skip("no transfer was chosen")
    report = add_curve(recipe(folder, more="sources: [{name: other, data: source.csv}]"), study.out)
    assert [point["labels"] for point in report["curve"]["points"]] == [25, 50]
    assert np.isfinite(report["curve"]["points"][0]["with"]["value"])


CODE = """
task: {{kind: code, input: prompt, output: body, tests: test, entry: name{more}}}
target: {{data: code.csv, test: {{rows: 6}}}}
methods: [lookup]
"""


@pytest.fixture
def programs(tmp_path):
    rows = [
        {
            "prompt": f'def f{i}(a, b):\n    """The sum, and {i} more."""\n',
            "body": f"    return a + b + {i}\n",
            "test": f"def check(f):\n    assert f(1, 2) == 3 + {i}",
            "name": f"f{i}",
        }
        for i in range(24)
    ]
    pandas.DataFrame(rows).to_csv(tmp_path / "code.csv", index=False)
    return tmp_path


def test_programs_run_only_where_the_recipe_says_so(programs, monkeypatch):
    monkeypatch.setattr(sandbox, "run", lambda program: pytest.fail("a program was run"))
    report = transfuse.run(transfuse.Recipe.from_text(CODE.format(more=""), programs), out=programs / "run").report
    assert report["metric"] == "chrf"
    assert "pass_1" not in report["test"]
    with pytest.raises(RecipeError, match=r"'pass_1' runs programs\. Expected beside it: tests: COLUMN, and run_code"):
        transfuse.Recipe.from_text(CODE.format(more=", metric: pass_1"), programs)


@pytest.mark.skipif(not sandbox.kind(), reason="neither bubblewrap nor namespaces work here")
def test_programs_are_judged_by_running_them(programs):
    recipe = transfuse.Recipe.from_text(CODE.format(more=", run_code: true"), programs)
    report = transfuse.run(recipe, out=programs / "run").report
    assert report["metric"] == "pass_1"
    assert report["test"]["pass_1"]["value"] < 0.5  # another function's body adds another number


@pytest.mark.skipif(not sandbox.kind(), reason="neither bubblewrap nor namespaces work here")
def test_a_saved_model_is_judged_by_the_tests_of_new_rows(programs, capsys):
    recipe = transfuse.Recipe.from_text(CODE.format(more=", run_code: true"), programs)
    model = transfuse.run(recipe, out=programs / "run").model
    assert (model.manifest["task"]["tests"], model.manifest["task"]["entry"]) == ("test", "name")
    rows = pandas.read_csv(programs / "code.csv").head(8)
    rows.to_csv(programs / "new.csv", index=False)
    rows.drop(columns="test").to_csv(programs / "bare.csv", index=False)
    given, bare = str(programs / "new.csv"), str(programs / "bare.csv")
    capsys.readouterr()
    assert main(["evaluate", str(programs / "run"), given, "--json"]) == 0
    known = set(prepare(recipe).train.texts)
    found = json.loads(capsys.readouterr().out)["metrics"]["pass_1"]["value"]
    assert found == np.mean([prompt in known for prompt in rows.prompt])  # another function adds another number
    assert main(["evaluate", str(programs / "run"), bare, "--json"]) == 4
    told = capsys.readouterr().err
    assert f"{bare}: no column 'test'" in told
    assert "Answers are judged by these tests: add the column" in told
    assert len(labelled(model, given, None, None).checks) == 8
    assert labelled(model, bare, None, None, judges=False).checks is None
    with pytest.raises(DataError, match=r"memory: no tests\nExpected: a program that tests each answer"):
        model.task.encode(Examples(("def f():\n",), ("    return 1\n",)))


def test_without_tests_nothing_is_run_and_nothing_passes(programs, monkeypatch):
    monkeypatch.setattr(sandbox, "run", lambda program: pytest.fail("a program was run"))
    text = CODE.format(more=", run_code: true, metric: chrf").replace(" tests: test, entry: name,", "")
    report = transfuse.run(transfuse.Recipe.from_text(text, programs), out=programs / "run").report
    (found,) = report["candidates"]
    assert "chrf" in report["test"]
    assert "pass_1" not in {*report["test"], *found["validation"]}


@pytest.mark.parametrize("validation", ["v.csv", "{rows: 5}"])
def test_rows_of_their_own_validate_by_their_tests(programs, monkeypatch, validation):
    monkeypatch.setattr(sandbox, "required", lambda: None)
    every = pandas.read_csv(programs / "code.csv")
    every.tail(5).to_csv(programs / "v.csv", index=False)
    every.head(19).to_csv(programs / "code.csv", index=False)
    text = CODE.format(more=", run_code: true").replace("rows: 6}", f"rows: 6}}, validation: {validation}")
    data = prepare(transfuse.Recipe.from_text(text, programs))
    ((_, _, validated),) = data.splits.fits
    assert len(validated) == 5
    tests = dict(zip(every.prompt, every.test + "\n\ncheck(" + every.name + ")", strict=True))
    assert [data.train.checks[i] for i in validated] == [tests[data.train.texts[i]] for i in validated]
    assert [one.check for one in data.task.encode(data.train.take(validated))] != [""] * 5


def test_tests_are_needed_where_they_are_run_alone(programs, monkeypatch):
    """Sources and rows that are only learnt from have none; rows that validate need them where they decide."""
    monkeypatch.setattr(sandbox, "required", lambda: None)
    every = pandas.read_csv(programs / "code.csv")
    every.tail(8).to_csv(programs / "test.csv", index=False)
    every.tail(14).head(6).to_csv(programs / "v.csv", index=False)
    every.head(10).drop(columns=["test", "name"]).to_csv(programs / "train.csv", index=False)
    every.head(10).assign(prompt=lambda rows: "# new\n" + rows.prompt).drop(columns=["test", "name"]).to_csv(
        programs / "other.csv", index=False
    )
    target = "target: {train: train.csv, test: test.csv}\nsources: [{name: other, data: other.csv}]"
    text = CODE.replace("target: {{data: code.csv, test: {{rows: 6}}}}", target.replace("{", "{{").replace("}", "}}"))

    def made(more, validation=""):
        recipe = text.format(more=", run_code: true" + more).replace("test.csv}", f"test.csv{validation}}}")
        return prepare(transfuse.Recipe.from_text(recipe, programs))

    data = made(", metric: chrf")
    assert (len(data.sources["other"]), data.train.checks, len(data.test.open().checks)) == (10, None, 8)
    assert data.task.measured(data.task.encode(data.train)) == ("chrf",)
    validated = made("", ", validation: v.csv")
    assert validated.train.checks[:10] == ("",) * 10
    assert all(validated.train.checks[10:])
    with pytest.raises(DataError, match=r"train.csv: no column 'test'") as error:
        made("")
    assert "Answers are judged by these tests: add the column" in str(error.value)
    every.tail(8).drop(columns="test").to_csv(programs / "test.csv", index=False)
    with pytest.raises(DataError, match=r"test.csv: no column 'test'"):
        made(", metric: chrf")


def test_without_a_sandbox_the_candidate_fails_with_the_reason(programs, monkeypatch):
    monkeypatch.setattr(sandbox, "kind", lambda: "")
    texts.passes.cache_clear()
    recipe = transfuse.Recipe.from_text(CODE.format(more=", run_code: true"), programs)
    with pytest.raises(TransfuseError, match="nothing here can contain a program"):
        transfuse.run(recipe, out=programs / "run")


def test_answers_are_marked_in_passages_in_a_study(tmp_path):
    """SQuAD's own JSON and an encoder: the span head is planned, fitted and judged as every other method."""
    (tmp_path / "enc").symlink_to(toy.backbone("encoder").folder)
    generator = np.random.default_rng(0)
    words, animals = ["the", "bad", "good", "is", "in"], ["dog", "sun"]
    paragraphs = []
    for i in range(90):
        passage = [words[n] for n in generator.integers(0, 5, 6)]
        passage.insert(int(generator.integers(0, 6)), answer := animals[int(generator.integers(2))])
        text = " ".join(passage)
        found = [{"text": answer, "answer_start": text.index(answer)}]
        paragraphs.append({"context": text, "qas": [{"id": str(i), "question": f"go {i}?", "answers": found}]})
    squad = {"version": "1.1", "data": [{"title": "all", "paragraphs": paragraphs}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad), encoding="utf-8")
    quick = "{learning_rate: 0.003, head_learning_rate: 0.01, epochs: 20}"
    text = f"""
task: {{kind: answer, max_tokens: 48}}
target: {{data: squad.json, test: {{rows: 20}}}}
backbones: [enc]
methods: [{{span: {quick}}}]
budget: {{minutes: 5}}
"""
    study = transfuse.run(transfuse.Recipe.from_text(text, tmp_path), out=tmp_path / "run")
    (found,) = (c for c in study.report["candidates"] if c["id"] == "span@enc")
    assert (found["status"], found["reason"]) == ("done", "")
    assert found["validation"]["f1"]["value"] > 0.5
    (tmp_path / "dec").symlink_to(toy.backbone("taught").folder)
    other = transfuse.Recipe.from_text(text.replace("[enc]", "[dec]"), tmp_path)
    with pytest.raises(RecipeError, match="a decoder only"):
        transfuse.run(other, out=tmp_path / "other")


def test_passages_stand_beside_questions_without_labels_too(tmp_path):
    rows = pandas.DataFrame({"q": [f"Who {i}?" for i in range(40)], "p": "Ada.", "a": "Ada"})
    rows.head(30).to_csv(tmp_path / "d.csv", index=False)
    rows.tail(10).drop(columns="a").to_csv(tmp_path / "more.csv", index=False)
    rows.drop(columns="p").to_csv(tmp_path / "bare.csv", index=False)
    text = """
task: {kind: answer, input: q, output: a, context: p}
target: {data: d.csv, test: {rows: 10}, unlabelled: MORE}
methods: [lookup]
"""
    data = prepare(transfuse.Recipe.from_text(text.replace("MORE", "more.csv"), tmp_path))
    assert data.unlabelled.texts == tuple(about(f"Who {i}?", "Ada.") for i in range(30, 40))
    with pytest.raises(DataError, match=r"bare.csv: no column 'p'"):
        prepare(transfuse.Recipe.from_text(text.replace("MORE", "bare.csv"), tmp_path))
    task = {"kind": "answer", "input": "q", "label": "a", "context": "p"}
    assert read_texts(str(tmp_path / "more.csv"), task, None) == data.unlabelled.texts
    for read in (read_texts, functools.partial(read_answered, label=None)):
        with pytest.raises(DataError, match=r"no column 'p' of the passages that questions are about"):
            read(str(tmp_path / "bare.csv"), task, input=None)


def test_the_script_of_a_text():
    texts = ["Hello 世", "你好 a", "Привет", "ありがとう", "123 !", ""]
    assert [script(text) for text in texts] == ["Latin", "Han", "Cyrillic", "Kana", "", ""]


def test_an_encoder_decoder_in_a_study(folder, tmp_path):
    """Priced, asked, trained over its frozen encoder, saved and loaded as every other backbone."""
    import tiny

    (folder / "both").symlink_to(tiny.folder("t5"))
    methods = "[{prompt: {shots: 0}}, {lora: {learning_rate: 0.01, epochs: 4}}]"
    text = recipe(folder, methods).text.replace("[dec]", "[both]")
    report = transfuse.run(transfuse.Recipe.from_text(text, folder), out=tmp_path / "run").report
    assert [(c["status"], c["reason"]) for c in report["candidates"]] == [("done", "")] * 3
    assert {c["method"] for c in report["candidates"]} == {"lookup", "prompt", "lora"}


def test_arithmetic_of_a_model_that_writes_is_tried(study, capsys, monkeypatch):
    from transfuse.cli import predict
    from transfuse.fitted import trial
    from transfuse.fitted.trial import offered, trials

    texts = list(glued(6, 3).texts)
    monkeypatch.setattr(trial, "processor_has_bf16", lambda: True)
    assert offered(study.model.path) == ["fp32", "bf16"]
    exact, rough = trials(study.model.path, texts)
    assert (exact.precision, exact.speedup, exact.agreement) == ("fp32", 1.0, 1.0)
    assert 0 <= rough.agreement <= 1
    assert predict._tried(study.model, texts) == "fp32"
    assert "for 6 texts a trial would take longer than the answers; it is made from 256 on" in capsys.readouterr().err
    monkeypatch.setattr(predict, "WORTH_WRITING", 1)
    assert predict._tried(study.model, texts) in ("fp32", "bf16")


def test_killed_while_it_learns_and_run_again(folder, tmp_path):
    """kill -9 after the prompt has been judged; the same command gives the figures of a run that nothing disturbed."""
    import os
    import shutil
    import signal
    import subprocess
    import sys
    import time

    path = folder / "killed.yaml"
    path.write_text(recipe(folder).text, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "-m", "transfuse", "run", str(path), "--out"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, str(whole)], check=True, **quiet)
    killed.mkdir()
    shutil.copy(whole / "plan.json", killed)
    process = subprocess.Popen([*command, str(killed)], **quiet)
    while not (killed / "ledger" / "prompt@dec.json").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "report.json").exists()
    subprocess.run([*command, str(killed)], check=True, **quiet)
    a, b = (json.loads((out / "report.json").read_text(encoding="utf-8")) for out in (whole, killed))
    for key in ("chosen", "test", "no_transfer", "examples"):
        assert a[key] == b[key]
    assert [c["validation"] for c in a["candidates"]] == [c["validation"] for c in b["candidates"]]


def test_nearness_to_the_nearest_accepted_answer_and_to_none():
    known = {"a": [1.0, 0.0], "b": [0.0, 2.0], "c": [1.0, 1.0], " ": [1.0, 0.0]}

    def vectors(asked):
        return np.array([known[text] for text in asked])

    expected = as_expected(["q"] * 5, [("a", "b"), "a", "", "", "a"])
    found = nearness(expected, as_answers(["b", "c", "", "a", ""]), vectors)
    np.testing.assert_allclose(found[:, 0], [1, np.sqrt(0.5), 1, 0, 0])


def test_an_encoder_of_meaning_that_cannot_be_had_is_told_before_anything_is_fitted(folder, tmp_path):
    with pytest.raises(TransfuseError, match="missing"):
        transfuse.run(recipe(folder, "[lookup]", task="similarity: missing"), out=tmp_path / "run")
    assert not list((tmp_path / "run").glob("ledger/*lookup*"))
