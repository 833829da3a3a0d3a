"""A cascade as a model: who answers what, what is kept and never asked twice, kills, folders that have moved."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import toy

import transfuse
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.errors import ModelError, OutputError
from transfuse.evaluation import as_answers
from transfuse.fitted import Cascade, FittedModel, FittedWriter, answering
from transfuse.fitted import cascade as module
from transfuse.fitted.cascade import Teacher
from transfuse.fitted.kept import Kept
from transfuse.fitted.recalled import LookupPath
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import Writing

WRITES = Writing("generate", template="{text} =", max_new_tokens=4)
TEXTS = toy.examples(40, seed=5).texts


def tfidf(rows, labels=("warm", "cold")):
    job = method("tfidf").plan(Classify(labels), None, TransferData(rows), 0)
    return FittedModel(Classify(labels), Engine(None, len(labels)).fit(job), method="tfidf")


@pytest.fixture(scope="module")
def student():
    """It knows two words of eight."""
    return tfidf(Examples(("red red", "blue blue", "red", "blue"), ("warm", "cold", "warm", "cold")))


@pytest.fixture(scope="module")
def teacher():
    return tfidf(toy.examples(200, seed=1))


@pytest.fixture(scope="module")
def writer():
    """A decoder that was taught the toy task."""
    backbone = toy.backbone("taught")
    job = method("prompt", "generate").plan(WRITES, backbone, TransferData(toy.examples(8, seed=3)), 0, shots=2)
    about = {"reference": "taught", "resolved": str(backbone.folder), "revision": backbone.revision}
    return FittedWriter(WRITES, Engine(Trunk(backbone, "fp32", 64), 0).fit(job), method="prompt", backbone=about)


def recalling():
    known = toy.examples(60, seed=9)
    return FittedWriter(WRITES, LookupPath(known.texts, known.labels), method="lookup")


def count(monkeypatch):
    """The parts that the teacher is asked about."""
    calls, real = [], module.says
    monkeypatch.setattr(
        module, "says", lambda path, texts, *more: calls.append(list(texts)) or real(path, texts, *more)
    )
    return calls


def lines(folder):
    return [json.loads(line) for line in (folder / "kept.jsonl").read_text(encoding="utf-8").splitlines()]


def test_each_end_is_one_of_them_alone(student, teacher):
    alone = Cascade(student, teacher, -np.inf)
    np.testing.assert_array_equal(alone.predict_proba(TEXTS), student.predict_proba(TEXTS))
    assert alone.answered == {"student": 40, "teacher": 0, "asked": 0}
    other = Cascade(student, teacher, np.inf)
    np.testing.assert_allclose(other.predict_proba(TEXTS), teacher.predict_proba(TEXTS), atol=1e-6)
    assert other.predict(TEXTS) == teacher.predict(TEXTS)
    assert np.isnan(other.answer(TEXTS).confidence).all(), "nobody asks the student"


def test_the_teacher_answers_where_the_student_doubts(student, teacher):
    sure = student.predict_proba(TEXTS).max(1)
    border = 0.6
    found = Cascade(student, teacher, border).answer(TEXTS)
    np.testing.assert_array_equal(found.teacher, sure < border)
    np.testing.assert_array_equal(found.confidence, sure)
    want = np.where((sure < border)[:, None], teacher.predict_proba(TEXTS), student.predict_proba(TEXTS))
    np.testing.assert_allclose(found.says, want, atol=1e-6)
    assert 0 < found.teacher.sum() < 40
    assert found.asked == found.teacher.sum()


def test_no_text_is_asked_twice(student, teacher, tmp_path, monkeypatch):
    calls = count(monkeypatch)
    cascade = Cascade(student, teacher, np.inf)
    cascade.predict(["red a", "ice b", "red a"])
    folder = cascade.save(tmp_path / "c")
    cascade.predict(["red a", "fire c"])
    again = transfuse.load(folder)
    assert again.predict(["fire c", "ice b", "navy d"]) == teacher.predict(["fire c", "ice b", "navy d"])
    assert calls == [["red a", "ice b"], ["fire c"], ["navy d"]]
    assert [line["text"] for line in lines(folder)] == ["red a", "ice b", "fire c", "navy d"]


def test_another_process_is_heard(student, teacher, tmp_path, monkeypatch):
    folder = Cascade(student, teacher, np.inf).save(tmp_path / "c")
    one, other = transfuse.load(folder), transfuse.load(folder)
    one.predict(["red a"])
    calls = count(monkeypatch)
    other.predict(["red a"])
    assert calls == []


def test_a_line_says_all_that_a_student_needs(student, teacher, tmp_path):
    folder = Cascade(student, Teacher("big", given=teacher), 1.1).save(tmp_path / "c")
    cascade = transfuse.load(folder)
    cascade.predict(["ice teal"])
    (line,) = lines(folder)
    assert line["label"] == "cold"
    assert list(line["probabilities"]) == ["warm", "cold"]
    assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert (line["teacher"], line["for"], line["about"]) == ("big", "use", cascade.teacher.about)
    assert line["time"].endswith("+00:00")
    assert line["confidence"] == pytest.approx(student.predict_proba(["ice teal"]).max(), abs=1e-5)
    assert line["seconds"] >= 0


@pytest.mark.parametrize("torn", [b'{"text": "nav', b"{}", "\ud83d".encode("utf-8", "surrogatepass")])
def test_a_torn_last_line_is_passed_over_and_asked_again(student, teacher, tmp_path, torn, monkeypatch):
    folder = Cascade(student, teacher, np.inf).save(tmp_path / "c")
    transfuse.load(folder).predict(["red a"])
    with (folder / "kept.jsonl").open("ab") as file:
        file.write(torn)
    calls = count(monkeypatch)
    transfuse.load(folder).predict(["red a", "navy b"])
    assert calls == [["navy b"]]
    calls.clear()
    transfuse.load(folder).predict(["red a", "navy b"])
    assert calls == [], "what was written behind the torn line is read"


def test_a_last_line_without_its_end_counts_once_it_is_whole(student, teacher, tmp_path):
    folder = Cascade(student, teacher, np.inf).save(tmp_path / "c")
    transfuse.load(folder).predict(["red a", "ice b"])
    file = folder / "kept.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    transfuse.load(folder).predict(["fire c"])
    assert [line["text"] for line in lines(folder)] == ["red a", "ice b", "fire c"]


def test_a_kill_between_two_parts_loses_at_most_one(student, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART", 8)
    folder = Cascade(student, teacher, np.inf).save(tmp_path / "c")
    real, calls = module.says, []

    def says(path, texts, *more):
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(path, texts, *more)

    monkeypatch.setattr(module, "says", says)
    with pytest.raises(KeyboardInterrupt):
        transfuse.load(folder).predict(TEXTS)
    assert len(lines(folder)) == 16
    assert transfuse.load(folder).predict(TEXTS) == teacher.predict(TEXTS)
    assert calls[3:] == [8, 8, 8]


def test_answers_are_on_the_disk_before_they_are_used(student, teacher, tmp_path, monkeypatch):
    folder = Cascade(student, teacher, np.inf).save(tmp_path / "c")
    synced = []
    monkeypatch.setattr("transfuse.fitted.kept.os.fsync", lambda file: synced.append(file))
    transfuse.load(folder).predict(TEXTS[:3])
    assert len(synced) == 1


def test_a_place_that_cannot_be_written_is_refused_before_the_teacher_is_asked(student, teacher, tmp_path, monkeypatch):
    folder = Cascade(student, teacher, np.inf).save(tmp_path / "c")
    (folder / "kept.jsonl").unlink(missing_ok=True)
    (folder / "kept.jsonl").mkdir()
    calls = count(monkeypatch)
    monkeypatch.setattr(Kept, "refresh", lambda self: None)
    cascade = transfuse.load(folder)
    with pytest.raises(OutputError, match=r"kept\.jsonl: [\s\S]*what the teacher answers is kept there"):
        cascade.predict(["red a"])
    assert calls == []
    assert cascade.answer(["red a"], keep=False).asked == 1


def test_a_fitted_teacher_stays_where_it_is_and_may_move_with_the_cascade(student, teacher, tmp_path):
    place = teacher.save(tmp_path / "a" / "teacher_model")
    folder = Cascade(student, Teacher("t", given=teacher, places=[place]), np.inf).save(tmp_path / "a" / "c")
    assert not (folder / "teacher").exists()
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert transfuse.load(tmp_path / "b" / "c").predict(TEXTS) == teacher.predict(TEXTS)
    shutil.rmtree(tmp_path / "b" / "teacher_model")
    with pytest.raises(ModelError, match=r"teacher t is not in[\s\S]*Bring it back, or make the cascade again"):
        transfuse.load(tmp_path / "b" / "c").predict(["new"])
    kept = transfuse.load(tmp_path / "b" / "c")
    assert kept.predict(TEXTS) == teacher.predict(TEXTS), "what is kept needs no teacher"


def test_another_teacher_in_the_same_place_is_refused(student, teacher, tmp_path):
    place = teacher.save(tmp_path / "t")
    folder = Cascade(student, Teacher("t", given=teacher, places=[place]), np.inf).save(tmp_path / "c")
    student.save(place)
    with pytest.raises(
        ModelError, match=r"not the teacher that the cascade was made with[\s\S]*holds for that teacher"
    ):
        transfuse.load(folder).predict(["new"])


def test_a_teacher_of_the_cascades_own_comes_along(student, teacher, tmp_path):
    first = Cascade(student, teacher, np.inf).save(tmp_path / "a")
    second = transfuse.load(first).save(tmp_path / "b")
    shutil.rmtree(first)
    assert transfuse.load(second).predict(TEXTS) == teacher.predict(TEXTS)


def test_answers_of_another_teacher_in_the_same_file_are_left_alone(student, teacher, tmp_path):
    folder = Cascade(student, teacher, np.inf).save(tmp_path / "c")
    transfuse.load(folder).predict(["red a"])
    Cascade(student, student, np.inf).save(folder)
    assert transfuse.load(folder).predict(["red a"]) == student.predict(["red a"])
    assert len({line["about"] for line in lines(folder)}) == 2


def test_labels_are_found_by_their_names(student, tmp_path):
    rows = toy.examples(200, seed=1)
    more = Examples((*rows.texts, "grey ash", "ash"), (*rows.labels, "none", "none"))
    other = tfidf(more, ("cold", "none", "warm"))
    found = Cascade(student, other, np.inf).answer(TEXTS)
    own = other.predict_proba(TEXTS)[:, [2, 0]]
    np.testing.assert_allclose(found.says, own / own.sum(1, keepdims=True), atol=1e-6)
    with pytest.raises(ModelError, match=r"does not know the label 'hot'; it knows cold, none, warm"):
        answering.order_of(other.labels, ("hot", "cold"), "big")


def test_a_writer_is_as_sure_as_the_mean_of_its_tokens(writer):
    texts = list(TEXTS[:6])
    answers, sure = answering.says_surely(writer.path, texts)
    bits = writer.path.bits(texts, list(answers))[:, 0]
    tokens = [len(row) for row in writer.path.backbone.replies(writer.path.form, list(answers), 1 << 20)]
    np.testing.assert_allclose(sure, -bits * np.log(2) / tokens, rtol=1e-6)
    assert (sure <= 0).all()
    assert len(answering.says_surely(writer.path, texts)[0]) == 6


def test_a_writer_is_surer_of_what_it_would_say_than_of_anything_else(writer):
    own = writer.path.answers(TEXTS)
    other = as_answers(["zzzz"] * 40)
    assert (writer.path.sureness(TEXTS, list(own)) > writer.path.sureness(TEXTS, list(other))).all()


def test_a_cascade_writes(writer, tmp_path):
    _, sure = answering.says_surely(writer.path, TEXTS)
    border = float(np.sort(sure)[20])
    cascade = Cascade(writer, recalling(), border)
    want = [
        a if s >= border else b for a, b, s in zip(writer.predict(TEXTS), recalling().predict(TEXTS), sure, strict=True)
    ]
    assert cascade.predict(TEXTS) == want
    assert cascade.answered == {"student": 20, "teacher": 20, "asked": 20}
    folder = cascade.save(tmp_path / "c")
    again = transfuse.load(folder)
    assert again.predict(TEXTS) == want
    assert again.answered["asked"] == 0
    assert lines(folder)[0]["answer"] in ("warm", "cold")
    with pytest.raises(ModelError, match="predict_proba of a cascade that writes"):
        cascade.predict_proba(TEXTS)


def test_who_cannot_say_how_sure_it_is_is_no_student():
    with pytest.raises(ModelError, match=r"'lookup' does not say how sure[\s\S]*prompt, finetune, lora or distill"):
        Cascade(recalling(), recalling(), 0.5).predict(["red"])


def test_nothing_asked_nothing_answered(student, teacher, writer):
    cascade = Cascade(student, teacher, 0.5)
    assert cascade.predict([]) == []
    assert cascade.predict_proba([]).shape == (0, 2)
    assert Cascade(writer, recalling(), np.inf).predict([]) == []


def test_what_is_no_text_or_no_precision_is_refused(student, teacher):
    cascade = Cascade(student, teacher, 0.5)
    with pytest.raises(ModelError, match="got one string"):
        cascade.predict("red")
    with pytest.raises(ModelError, match=r"precision 'int8'\nExpected: fp32 or bf16 for a cascade"):
        cascade.predict(["red"], precision="int8")


def test_a_folder_of_something_else_stays(student, teacher, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds something that is no cascade[\s\S]*cascade\.json or kept\.jsonl"):
        Cascade(student, teacher, 0.5).save(tmp_path)


def test_a_newer_format_and_a_damaged_file_are_refused(student, teacher, tmp_path):
    folder = Cascade(student, teacher, 0.5).save(tmp_path / "c")
    file = folder / "cascade.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "format": 2}))
    with pytest.raises(ModelError, match=r"cascade\.json: format 2[\s\S]*format 1"):
        transfuse.load(folder)
    file.write_text(json.dumps({k: v for k, v in fields.items() if k != "threshold"}))
    with pytest.raises(ModelError, match="KeyError 'threshold'"):
        transfuse.load(folder)


def test_a_model_is_known_again_when_it_has_been_saved(student, writer, tmp_path):
    for name, model in (("s", student), ("w", writer)):
        again = transfuse.load(model.save(tmp_path / name))
        assert answering.fingerprint(again) == answering.fingerprint(model)
    assert answering.fingerprint(student) != answering.fingerprint(writer)
