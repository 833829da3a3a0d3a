"""Students of teachers whose knowledge is known."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from transfuse.data.examples import Examples
from transfuse.engine import relations
from transfuse.engine.inside import Inside
from transfuse.engine.jobs import Train, TransferData
from transfuse.engine.taught import Taught
from transfuse.errors import RecipeError
from transfuse.methods.catalogue import method

TEXTS, TEST = toy.examples(200, seed=3), toy.examples(100, seed=4)
FEW = toy.examples(6, seed=5)
NOBODY = Examples((), ())


def knowing(examples, sure=0.9):
    """A teacher that gives each text's own label a probability of ``sure``."""
    says = np.full((len(examples), 2), np.log(1 - sure), dtype=np.float32)
    says[np.arange(len(examples)), toy.TASK.encode(examples.labels)] = np.log(sure)
    return Taught(examples.texts, says)


def fitted(bench, teachers, target, unlabelled=None, kind="encoder", **settings):
    data = TransferData(target, unlabelled=unlabelled, teachers=teachers)
    plan = method("distill").plan(toy.TASK, bench.backbone(kind), data, 0, **settings)
    return bench.engine(kind).fit(plan)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_without_a_label_it_learns_what_the_teacher_knows(bench, kind):
    path = fitted(bench, {"t": knowing(TEXTS)}, NOBODY, TEXTS.unlabelled(), kind)
    assert bench.accuracy(path, TEST) >= 0.8


def test_a_teacher_beats_few_labels_alone(bench):
    alone = fitted(bench, {}, FEW, TEXTS.unlabelled())
    taught = fitted(bench, {"t": knowing(TEXTS)}, FEW, TEXTS.unlabelled())
    assert bench.accuracy(taught, TEST) > bench.accuracy(alone, TEST) + 0.1


def test_what_the_teacher_doubts_the_student_doubts(bench):
    sure, unsure = (
        np.exp(fitted(bench, {"t": knowing(TEXTS, s)}, NOBODY, TEXTS.unlabelled()).log_probabilities(TEST.texts))
        for s in (0.95, 0.6)
    )
    assert sure.max(1).mean() > unsure.max(1).mean() + 0.1
    assert unsure.max(1).mean() < 0.7


def test_the_stage_on_unlabelled_texts_is_shared_by_all_folds(bench):
    shared = set()
    for fold in (FEW, toy.examples(8, seed=6)):
        data = TransferData(fold, unlabelled=TEXTS.unlabelled(), teachers={"t": knowing(TEXTS)})
        job = method("distill").plan(toy.TASK, bench.backbone("encoder"), data, 0)
        shared.add(job.shared_key())
        assert job.shared == 3
    assert len(shared) == 1


def test_labels_alone_count_at_alpha_0(bench):
    """The terms of a stage of labelled rows: α of the teacher, the labels' words without a teacher."""
    data = TransferData(FEW, teachers={"t": knowing(FEW)})
    job = method("distill").plan(toy.TASK, bench.backbone("encoder"), data, 0, alpha=0.25)
    (stage,) = (s for s in job.stages if isinstance(s, Train))
    assert stage.term.alpha == 0.25
    assert stage.term.labelled.all()
    assert np.isnan(stage.term.says[len(FEW) :]).all()
    plain, zero = (
        fitted(bench, teachers, FEW, alpha=0.0).log_probabilities(TEST.texts) for teachers in ({}, {"t": knowing(FEW)})
    )
    np.testing.assert_allclose(plain, zero, atol=1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_every_divergence_teaches(bench, beta):
    path = fitted(bench, {"t": knowing(TEXTS)}, NOBODY, TEXTS.unlabelled(), beta=beta)
    assert bench.accuracy(path, TEST) >= 0.8


def test_several_teachers_speak_as_the_mean_of_their_probabilities():
    a, b = knowing(TEXTS, 0.9), knowing(TEXTS.take(range(50)), 0.5)
    both = Taught.together([a, b])
    assert both.texts == TEXTS.texts[:50]
    own = np.exp(both.says)[np.arange(50), toy.TASK.encode(TEXTS.labels[:50])]
    np.testing.assert_allclose(own, 0.7, atol=1e-6)


def test_shuffled_lessons_teach_nothing(bench):
    path = fitted(bench, {"t": knowing(TEXTS).shuffled(0)}, NOBODY, TEXTS.unlabelled())
    assert bench.accuracy(path, TEST) < 0.75


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"alpha": 1.5}, {"beta": -0.1}])
def test_settings_that_mean_nothing_are_refused(bench, wrong):
    with pytest.raises(RecipeError, match=r"distill\.(temperature|alpha|beta)"):
        fitted(bench, {}, FEW, **wrong)


def test_what_is_said_is_found_by_the_text():
    taught = knowing(TEXTS)
    assert TEXTS.texts[3] in taught
    np.testing.assert_array_equal(taught.of(TEXTS.texts[3:5]), taught.says[3:5])
    assert np.isnan(taught.of(["a text that nobody knows"])).all()
    assert np.isnan(dataclasses.replace(taught, texts=(), says=taught.says[:0]).of(["x"])).all()


@pytest.mark.parametrize("inside", ["hidden", "distances", "angles"])
def test_the_student_comes_to_see_what_its_teacher_sees(bench, inside):
    """The loss inside is less after training with it than after training without it."""
    teacher = fitted(bench, {}, TEXTS, train_layers="all")
    says = teacher.log_probabilities(TEXTS.texts).astype(np.float32)
    lessons = {"t": Taught(TEXTS.texts, says, teacher)}
    plain, near = (
        fitted(bench, lessons, NOBODY, TEXTS.unlabelled(), "decoder", train_layers="all", taught_epochs=6, **more)
        for more in ({}, {inside: 20.0})
    )
    seen = [torch.from_numpy(path.features(TEST.texts)) for path in (teacher, plain, near)]
    if inside == "hidden":
        far = [least_squares(student, seen[0]) for student in seen[1:]]
    else:
        loss = {"distances": relations.distance_loss, "angles": relations.angle_loss}[inside]
        far = [float(loss(student[:40], seen[0][:40])) for student in seen[1:]]
    assert far[1] < far[0]


def test_tokens_come_to_relate_as_they_do_in_the_teacher(bench):
    teacher = fitted(bench, {}, TEXTS, train_layers="all")
    says = teacher.log_probabilities(TEXTS.texts).astype(np.float32)
    lessons = {"t": Taught(TEXTS.texts, says, teacher)}
    far = []
    for weight in (0.0, 20.0):
        path = fitted(bench, lessons, NOBODY, TEXTS.unlabelled(), train_layers="all", taught_epochs=8, relations=weight)
        tokens = path.backbone.tokens(TEST.texts, path.template, path.limit)
        states = path.backbone.begun(tokens)
        look = Inside(path.whole(), teacher, TEST.texts, states.lengths)
        rows = np.arange(24)
        with torch.no_grad():
            path.whole()(*states.batch(rows))
            far.append(float(look.loss(rows)))
        look.close()
    assert far[1] < far[0]
    again = Inside(teacher.whole(), teacher, TEST.texts, states.lengths)
    assert float(again.loss(rows)) == 0.0, "a teacher relates tokens as it does itself"
    again.close()
    left = [
        h for m in path.trained.modules() for h in m._forward_hooks.values() if "taps" in getattr(h, "__module__", "")
    ]
    assert not left, "nothing looks any longer"


def test_relations_need_common_tokens(bench):
    teacher = fitted(bench, {}, TEXTS)
    with pytest.raises(RecipeError, match="cuts texts into other tokens than its student"):
        Inside(teacher.whole(), teacher, TEST.texts, np.ones(len(TEST)))


def least_squares(student, teacher):
    """What no linear map makes of the student's vectors."""
    aim = torch.nn.functional.normalize(teacher, dim=1)
    found = torch.linalg.lstsq(student, aim).solution
    return float((student @ found - aim).square().mean())


def test_a_teacher_without_a_head_cannot_be_looked_into(bench):
    with pytest.raises(RecipeError, match="this teacher has no head"):
        fitted(bench, {"t": knowing(TEXTS)}, FEW, hidden=1.0)
