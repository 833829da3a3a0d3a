"""Students that write, of teachers that do."""

import dataclasses
import itertools

import numpy as np
import pytest
import toy

from transfuse.advice.candidates import expand
from transfuse.engine.answers import Explore, Write
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.learners import writing
from transfuse.engine.taught import Taught
from transfuse.engine.trunk import Trunk
from transfuse.errors import RecipeError
from transfuse.methods.catalogue import method
from transfuse.tasks.writing import Writing

TASK = Writing("generate", template="{text} =", max_new_tokens=12)
MANY, FEW, TEST = toy.examples(60, seed=1), toy.examples(8, seed=3), toy.examples(30, seed=2)
QUICK = {"learning_rate": 5e-3, "epochs": 8, "train_layers": "all"}


def engine():
    return Engine(Trunk(toy.backbone("taught"), "fp32", 64), 0)


def fitted(name, target, **more):
    data = TransferData(target, **more.pop("data", {}))
    return engine().fit(method(name, "generate").plan(TASK, toy.backbone("taught"), data, 0, **{**QUICK, **more}))


@pytest.fixture(scope="module")
def teacher():
    """A model that has seen many answers."""
    return fitted("finetune", MANY)


def taught(path, known, folder, texts=(), answers=()):
    says = np.empty(len(answers), dtype=object)
    says[:] = list(answers)
    return {"t": Taught(tuple(texts), says, path, known, "a teacher", str(folder))}


def bits(path):
    return path.bits(TEST.texts, TEST.labels)[:, 0].mean()


def test_the_student_comes_to_say_what_its_teacher_says(tmp_path):
    """Of a teacher that is in doubt: labels alone make a student surer of the same answers than its teacher is."""
    doubting = fitted("finetune", MANY, epochs=1)
    told = {"teachers": taught(doubting, MANY, tmp_path)}
    alone = fitted("finetune", MANY)
    soft = fitted("distill", MANY, alpha=1.0, temperature=1.0, data=told)
    apart = [
        np.abs(one.bits(MANY.texts, MANY.labels) - doubting.bits(MANY.texts, MANY.labels)).mean()
        for one in (soft, alone)
    ]
    assert apart[0] < 0.5 * apart[1]


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(tmp_path):
    """The loss of the first step, at every temperature: the teacher's weights are the student's."""
    plan = method("prompt", "generate").plan
    own = engine().fit(plan(TASK, toy.backbone("taught"), TransferData(FEW), 0, shots=0))
    for temperature, match in itertools.product((1.0, 2.0, 3.0), ("auto", "bytes", "sorted")):
        data = TransferData(FEW, teachers=taught(own, FEW, tmp_path))
        plan = method("distill", "generate").plan(
            TASK,
            toy.backbone("taught"),
            data,
            0,
            **{"alpha": 1.0, "temperature": temperature, "k": 5, "match": match, "train_layers": "all"},
        )
        stage = next(s for s in plan.stages if isinstance(s, Write))
        run = engine()
        pupil = writing(stage, run._begun(dataclasses.replace(plan, shared=0)), run._trunk, 0)
        rows = np.arange(len(FEW))
        hidden = pupil.segment(*pupil.states.batch(rows))
        loss = pupil.answers.loss(run._trunk.backbone, hidden, rows, False)
        assert abs(loss.item()) < 1e-6


def test_packed_examples_learn_from_their_teacher_what_they_learn_apart(tmp_path):
    teacher = fitted("finetune", MANY, epochs=1)
    found = []
    for pack in (0, 64):
        data = TransferData(FEW, teachers=taught(teacher, FEW, tmp_path))
        plan = method("distill", "generate").plan(TASK, toy.backbone("taught"), data, 0, pack=pack)
        stage = next(s for s in plan.stages if isinstance(s, Write))
        run = engine()
        pupil = writing(stage, run._begun(dataclasses.replace(plan, shared=0)), run._trunk, 0)
        assert (pupil.answers.pack, pupil.answers.taught is None) == (pack, False)
        rows = np.arange(len(FEW))
        values, mask = pupil.answers.laid(rows, *pupil.states.batch(rows))
        assert (len(mask) < len(FEW)) == bool(pack)
        found.append(pupil.answers.loss(run._trunk.backbone, pupil.segment(values, mask), rows, False).item())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_what_the_teacher_writes_teaches_requests_without_an_answer(teacher, tmp_path):
    texts = MANY.texts
    lessons = taught(teacher, FEW, tmp_path, texts, teacher.answers(texts))
    alone = fitted("finetune", FEW, epochs=1)
    found = fitted(
        "distill",
        FEW,
        epochs=1,
        source_epochs=6,
        alpha=0.0,
        data={"teachers": lessons, "unlabelled": MANY.unlabelled()},
    )
    right = [
        np.mean([a == b for a, b in zip(one.answers(TEST.texts), TEST.labels, strict=True)]) for one in (found, alone)
    ]
    assert right[0] > right[1] + 0.2


def test_the_student_learns_from_what_it_writes_itself(teacher, tmp_path):
    data = {"teachers": taught(teacher, FEW, tmp_path), "unlabelled": MANY.unlabelled()}
    plain, own = (fitted("distill", FEW, epochs=1, own_rounds=rounds, data=data) for rounds in (0, 4))
    assert bits(own) < bits(plain)
    plan = method("distill", "generate").plan(
        TASK, toy.backbone("taught"), TransferData(FEW, **data), 0, own_rounds=2, own_requests=5
    )
    (explore,) = (s for s in plan.stages if isinstance(s, Explore))
    assert len(explore.requests) == 5
    assert (explore.write.lessons.beta, explore.write.lessons.alpha) == (1.0, 1.0)


def test_a_teacher_is_asked_once_for_all_folds(teacher, tmp_path, monkeypatch):
    from transfuse.engine import lessons

    calls = []
    real = lessons.asked
    monkeypatch.setattr(lessons, "asked", lambda *given: calls.append(1) or real(*given))
    for fold in (MANY.take(range(30)), MANY.take(range(20, 60))):
        fitted("distill", fold, epochs=1, data={"teachers": taught(teacher, MANY, tmp_path)})
    assert len(calls) == 1


@pytest.fixture(scope="module")
def doubting():
    """A model with other tokens that has seen its answers once, and is in doubt."""
    run = Engine(Trunk(toy.backbone("stranger"), "fp32", 64), 0)
    plan = method("finetune", "generate").plan
    return run.fit(plan(TASK, toy.backbone("stranger"), TransferData(MANY), 0, **{**QUICK, "epochs": 1}))


@pytest.mark.parametrize("match", ["auto", "bytes", "sorted"])
def test_a_teacher_of_other_tokens_makes_its_student_doubt_as_it_does(doubting, tmp_path, match):
    """The student's bits come nearer to its teacher's than those of a student of the labels alone."""
    told = {"teachers": taught(doubting, MANY, tmp_path)}
    how = {"alpha": 0.9, "temperature": 1.0, "match": match}
    alone, soft = fitted("finetune", MANY), fitted("distill", MANY, **how, data=told)
    again = fitted("distill", MANY, **how, data=told)
    theirs = doubting.bits(TEST.texts, TEST.labels)[:, 0]
    apart = [np.abs(one.bits(TEST.texts, TEST.labels)[:, 0] - theirs).mean() for one in (soft, alone)]
    assert apart[0] < (0.5 if match != "sorted" else 0.9) * apart[1], (apart, theirs.mean())
    np.testing.assert_array_equal(*(one.bits(TEST.texts, TEST.labels) for one in (soft, again)))


def test_how_tokens_meet_is_the_teachers_unless_a_recipe_says_it(doubting, teacher, tmp_path):
    found = []
    for path, match in ((teacher, "auto"), (doubting, "auto"), (teacher, "bytes"), (doubting, "sorted")):
        data = TransferData(MANY, teachers=taught(path, MANY, tmp_path))
        plan = method("distill", "generate").plan(TASK, toy.backbone("taught"), data, 0, match=match, own_rounds=1)
        *_, last, own, _ = plan.stages
        found.append((last.lessons.match, own.write.lessons.match))
    assert found == [("same", "same"), ("bytes", "bytes"), ("bytes", "bytes"), ("sorted", "sorted")]
    with pytest.raises(RecipeError, match=r"distill\.match: 'words'[\s\S]*auto or bytes or sorted"):
        fitted("distill", FEW, match="words", data={"teachers": taught(doubting, FEW, tmp_path)})


def test_a_student_of_a_stranger_learns_from_what_it_writes_itself(doubting, tmp_path):
    data = {"teachers": taught(doubting, FEW, tmp_path), "unlabelled": MANY.unlabelled()}
    plain, own = (fitted("distill", FEW, epochs=1, own_rounds=rounds, data=data) for rounds in (0, 4))
    assert bits(own) < bits(plain)


def test_without_a_teacher_it_is_fine_tuning():
    a, b = (fitted(name, FEW).bits(TEST.texts, TEST.labels) for name in ("distill", "finetune"))
    np.testing.assert_array_equal(a, b)


def test_reasons_are_learnt_before_the_answers_that_they_explain(tmp_path):
    why = {text: f"because of {text}" for text in FEW.texts[:5]}
    lessons = {"t": dataclasses.replace(taught(None, None, tmp_path)["t"], reasons=why)}
    plan = method("distill", "generate").plan(
        TASK, toy.backbone("taught"), TransferData(FEW.take(range(3)), teachers=lessons), 0
    )
    reasons, answers = (s for s in plan.stages if isinstance(s, Write))
    assert reasons.parts[0][0].answers == tuple(why.values())[:3], "those of this fold alone"
    assert all(text.endswith("Explain why.") for text in reasons.parts[0][0].texts)
    assert answers.parts[0][0].texts == FEW.texts[:3]
    path = engine().fit(plan)
    assert len(path.answers(TEST.texts[:2])) == 2


def test_two_teachers_of_written_answers_are_no_one(tmp_path):
    two = {**taught(None, FEW, tmp_path), "u": taught(None, FEW, tmp_path)["t"]}
    with pytest.raises(RecipeError, match="distill: 2 teachers, t, u"):
        method("distill", "generate").plan(TASK, toy.backbone("taught"), TransferData(FEW, teachers=two), 0)
    told = expand(
        [("distill", {})],
        ["dec"],
        ["t", "u"],
        is_decoder=lambda b: True,
        parameters=lambda b: 1,
        kind="generate",
        teachers={"t": "dec", "u": "dec"},
    )
    assert {c.sources for c in told if c.method == "distill"} == {(), ("t",), ("u",)}
