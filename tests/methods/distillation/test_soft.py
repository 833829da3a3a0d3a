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
from transfuse.engine.terms import Inner
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
        look = Inside(Inner(teacher, 1.0, 0.0, 0.0, "uniform"), path.whole(), 16, TEST.texts, states.lengths)
        rows = np.arange(24)
        with torch.no_grad():
            path.whole()(*states.batch(rows))
            far.append(float(look.loss(rows)))
        look.close()
    assert far[1] < far[0]
    left = [
        h for m in path.trained.modules() for h in m._forward_hooks.values() if "taps" in getattr(h, "__module__", "")
    ]
    assert not left, "nothing looks any longer"


PARTS = {"relations": (1.0, 0.0, 0.0), "attention": (0.0, 1.0, 0.0), "states": (0.0, 0.0, 1.0)}


def inside(student, teacher, part, lengths=None, way="uniform", texts=TEST.texts, width=16):
    tokens = teacher.backbone.tokens(texts, teacher.template, teacher.limit)
    found = np.array([len(row) for row in tokens]) if lengths is None else lengths
    return Inside(Inner(teacher, *PARTS[part], way), student, width, texts, found)


def looked(look, path, rows):
    """The loss inside, of rows that a student has just read."""
    states = path.backbone.begun(path.backbone.tokens(TEST.texts, path.template, path.limit))
    with torch.no_grad():
        path.whole()(*states.batch(rows))
        found = float(look.loss(rows))
    look.close()
    return found


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn_inside(bench, part, kind):
    teacher = fitted(bench, {}, FEW, kind=kind, train_layers="all", epochs=1, template="none")
    look = inside(teacher.whole(), teacher, part, width=teacher.backbone.width)
    assert look.pairs == [(n, n) for n in range(1, teacher.layer + 1)]
    assert looked(look, teacher, np.arange(8)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("part", "way", "much"), [("attention", "last", 2000.0), ("states", "uniform", 20.0)])
def test_layers_come_to_do_what_the_teachers_do(bench, part, way, much):
    """The loss inside is less on new texts after training with it than after training without it."""
    teacher = fitted(bench, {}, TEXTS, train_layers="all", layer=3)
    says = teacher.log_probabilities(TEXTS.texts).astype(np.float32)
    lessons = {"t": Taught(TEXTS.texts, says, teacher)}
    how = {"train_layers": "all", "layer": 2, "taught_epochs": 6, "layer_map": way}
    far = []
    for weight in (0.0, much):
        path = fitted(bench, lessons, NOBODY, TEXTS.unlabelled(), **how, **{part: weight})
        far.append(looked(inside(path.whole(), teacher, part, way=way), path, np.arange(24)))
    assert far[1] < 0.9 * far[0]
    left = [
        h for m in path.trained.modules() for h in m._forward_hooks.values() if "taps" in getattr(h, "__module__", "")
    ]
    assert not left, "nothing looks any longer"


def test_layers_that_are_frozen_are_not_paired(bench):
    """Those that train learn from the layers that they would learn from if all did."""
    teacher = fitted(bench, {}, FEW, kind="decoder", train_layers="all", epochs=1, layer=5)
    upper = bench.backbone("decoder").segment(3, 5)
    assert inside(upper, teacher, "attention", width=32).pairs == [(4, 4), (5, 5)]


def test_a_map_is_learnt_where_states_are_of_other_widths(bench):
    """It trains with the student, from its seed, and is thrown away."""
    teacher = fitted(bench, {}, FEW, kind="decoder", epochs=1, template="none", layer=5)
    student = bench.backbone("taught").segment(0, 2, own=True)
    look = inside(student, teacher, "states", width=16)
    assert look.map.weight.shape == (32, 16)
    assert torch.equal(look.map.weight, inside(student, teacher, "states", width=16).map.weight)
    assert isinstance(inside(student, teacher, "states", width=32).map, torch.nn.Identity)


@pytest.mark.parametrize("part", PARTS)
def test_what_is_inside_needs_common_tokens(bench, part):
    teacher = fitted(bench, {}, TEXTS)
    with pytest.raises(RecipeError, match=rf"distill\.{part}: .* cuts texts into other tokens[\s\S]*`{part}: 0`"):
        inside(teacher.whole(), teacher, part, np.ones(len(TEST)))


def test_attention_needs_as_many_heads(bench):
    teacher = fitted(bench, {}, FEW, epochs=1)
    student = bench.backbone("encoder").segment(0, 3)
    student.model.config.num_attention_heads = 4
    with pytest.raises(
        RecipeError, match=r"distill\.attention: a student of 4 heads .* teacher of 2[\s\S]*`relations`"
    ):
        inside(student, teacher, "attention")


def test_layers_are_paired_in_a_way_that_there_is(bench):
    with pytest.raises(RecipeError, match=r"distill\.layer_map: 'first'[\s\S]*uniform or last or skip"):
        fitted(bench, {"t": knowing(TEXTS)}, FEW, layer_map="first")
    shallow = fitted(bench, {}, FEW, epochs=1, layer=1, train_layers=1)
    with pytest.raises(RecipeError, match=r"distill\.layer_map: a student of 3 layers[\s\S]*`layer_map: uniform`"):
        inside(bench.backbone("encoder").segment(0, 3), shallow, "states", way="last")
    assert inside(bench.backbone("encoder").segment(0, 3), shallow, "states").pairs == [(1, 1), (2, 1), (3, 1)]


def least_squares(student, teacher):
    """What no linear map makes of the student's vectors."""
    aim = torch.nn.functional.normalize(teacher, dim=1)
    found = torch.linalg.lstsq(student, aim).solution
    return float((student @ found - aim).square().mean())


@pytest.mark.parametrize("part", ["hidden", "relations", "attention", "states"])
def test_a_teacher_without_a_head_cannot_be_looked_into(bench, part):
    with pytest.raises(RecipeError, match="this teacher has no head"):
        fitted(bench, {"t": knowing(TEXTS)}, FEW, **{part: 1.0})
