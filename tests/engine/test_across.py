"""Teachers with other tokens: what is learnt of them, group by group, against the pure losses and the same tokens."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from transfuse.backbones.byte_ends import token_bytes
from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.backbones.head_loss import logits_of
from transfuse.engine import across as module
from transfuse.engine.across import across
from transfuse.engine.alignment import Groups, group_divergences, group_log_shares, single_loss
from transfuse.engine.answers import Lessons, Pairs
from transfuse.engine.lessons import foretold
from transfuse.engine.vocabularies import common_tokens, universal_loss
from transfuse.engine.write import Answers
from transfuse.errors import RecipeError
from transfuse.fitted.model import remember
from transfuse.fitted.writer import WriterPath

FORM = Form.plain("{text} =")
ROWS = toy.examples(6, seed=1)
PAIRS = Pairs(ROWS.texts, ROWS.labels, np.array([1.0, 2.0, 1.0, 0.5, 1.0, 1.0]), np.ones(6, dtype=bool))
EVERY = np.arange(6)
WHOLE = 1000
"""As many of the likeliest tokens as there are, so that nothing is lost."""


def lessons(kind, folder, **how):
    path = WriterPath(remember(toy.backbone(kind)), form=FORM, decoding=Decoding(12), limit=64)
    given = {"alpha": 1.0, "temperature": 2.0, "beta": 0.0, "k": WHOLE, **how}
    return Lessons(path, "a teacher", PAIRS, str(folder), "fp32", **given)


def taught(kind, folder, pairs=PAIRS, **how):
    """The rows of a student, with what its teacher foretells of them."""
    backbone, told = toy.backbone("taught"), lessons(kind, folder, **how)
    rows = Answers.of(((pairs, FORM),), backbone, 64, 12)
    read = foretold if told.match == "same" else across
    return dataclasses.replace(rows, taught=read(told, rows, FORM, backbone, 64, 12))


def learnt(rows, chosen=EVERY):
    """The loss of some rows, and its gradient with respect to their states."""
    backbone = toy.backbone("taught")
    padded = [torch.tensor(rows.inputs[i]) for i in chosen]
    ids = torch.nn.utils.rnn.pad_sequence(padded, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in padded], batch_first=True)
    with torch.no_grad():
        hidden = backbone.segment(0, backbone.layers, states=False)(ids, mask)
    hidden = hidden.clone().requires_grad_()
    loss = rows.loss(backbone, hidden, chosen, False)
    loss.backward()
    return loss.item(), hidden.grad


def said(kind, row):
    """Logits and ids of a row's answer by a backbone, and its log-probabilities."""
    backbone = toy.backbone(kind)
    rows = Answers.of(((PAIRS, FORM),), backbone, 64, 12)
    ids, start = list(rows.tokens[row]), int(rows.starts[row])
    with torch.no_grad():
        hidden = backbone.network().base_model(torch.tensor([ids])).last_hidden_state[0]
        logits = logits_of(backbone.network(), hidden[start - 1 : len(ids) - 1])
    return logits, torch.log_softmax(logits, 1).gather(1, torch.tensor(ids[start:])[:, None])[:, 0]


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("k", [WHOLE, 5])
def test_by_bytes_with_the_same_tokens_it_is_the_loss_token_by_token(tmp_path, alpha, beta, k):
    """The teacher is the untaught decoder with the student's own tokens."""
    how = {"alpha": alpha, "beta": beta, "k": k}
    (one, slope), (other, same) = (
        learnt(taught(kind, tmp_path, match=match, **how))
        for kind, match in (("decoder", "bytes"), ("decoder", "same"))
    )
    assert one == pytest.approx(other, rel=1e-5)
    torch.testing.assert_close(slope, same, rtol=1e-4, atol=1e-7)
    assert one > 0.01


@pytest.mark.parametrize("match", ["bytes", "sorted"])
@pytest.mark.parametrize("k", [WHOLE, 5])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.0])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(tmp_path, match, k, temperature):
    loss, slope = learnt(taught("taught", tmp_path, match=match, k=k, temperature=temperature))
    assert abs(loss) < 1e-6
    assert slope.abs().max() < 1e-5


def test_by_bytes_it_is_the_pure_losses_of_a_stranger(tmp_path):
    """``·|w|a|r|m|.`` against ``·w|ar|m|.`` and ``·|c|o|l|d|.`` against ``·|c|ol|d|.``: groups by hand."""
    rows = taught("stranger", tmp_path, match="bytes")
    own, other = (toy.backbone(kind).tokenizer for kind in ("taught", "stranger"))
    marks = [(own.convert_tokens_to_ids(m), other.convert_tokens_to_ids(m)) for m in ("<s>", "</s>", "<pad>", "<unk>")]
    shared = common_tokens(token_bytes(own), token_bytes(other), marks)
    total, weight = 0.0, 0.0
    for row in range(6):
        student, ours = said("taught", row)
        teacher, theirs = said("stranger", row)
        warm = ROWS.labels[row] == "warm"
        first = [*([[0, 2]] if warm else [[0, 1], [1, 2]]), [2, 4], [4, 5], [5, 6]]
        second = [[at, at + 1] for at in range(len(first))]
        assert (len(student), len(teacher)) == (6, len(second))
        groups = Groups(np.array(first), np.array(second))
        assert groups.single.sum() == (2 if warm else 4)
        likely = [group_log_shares(each, cut) for each, cut in ((ours, groups.student), (theirs, groups.teacher))]
        longer = group_divergences(*likely)[torch.from_numpy(~groups.single)].sum() * 2  # of two tokens each
        alone = groups.single.sum() * single_loss(student, teacher, groups, shared, 2.0)
        total += PAIRS.weights[row] * float(longer + alone)
        weight += PAIRS.weights[row] * 6
    assert learnt(rows)[0] == pytest.approx(total / weight, rel=1e-4)
    assert learnt(taught("stranger", tmp_path, match="bytes", alpha=0.25))[0] == pytest.approx(
        0.25 * total / weight + 0.75 * learnt(dataclasses.replace(rows, taught=None))[0], rel=1e-4
    )


def test_sorted_it_is_the_universal_loss_where_groups_begin(tmp_path):
    rows = taught("stranger", tmp_path, match="sorted")
    total, weight = 0.0, 0.0
    for row in range(6):
        student, _ = said("taught", row)
        teacher, _ = said("stranger", row)
        at, counted = ([0, 2, 4, 5], [2, 2, 1, 1]) if len(teacher) == 4 else ([0, 1, 2, 4, 5], [1, 1, 2, 1, 1])
        found = universal_loss(student[at], teacher, torch.tensor(counted), 2.0)
        total += PAIRS.weights[row] * 6 * float(found)
        weight += PAIRS.weights[row] * 6
    assert learnt(rows)[0] == pytest.approx(total / weight, rel=1e-4)
    few, whole = (learnt(taught("stranger", tmp_path, match="sorted", k=k))[0] for k in (4, WHOLE))
    assert 0 < few <= whole, "what is merged cannot be told apart"


@pytest.mark.parametrize("match", ["bytes", "sorted"])
def test_parts_of_a_batch_sum_to_the_whole(tmp_path, match):
    rows = taught("stranger", tmp_path, match=match, alpha=0.4)
    parts = [np.array([4, 0]), np.array([1, 5, 3, 2])]
    shares = [float((rows.counted[part] * rows.weights[part]).sum()) for part in parts]
    found = sum(learnt(rows, part)[0] * share for part, share in zip(parts, shares, strict=True)) / sum(shares)
    assert found == pytest.approx(learnt(rows)[0], rel=1e-5)


@pytest.mark.parametrize("match", ["bytes", "sorted"])
def test_the_gradient_is_the_numeric_one(tmp_path, match):
    rows, backbone = taught("stranger", tmp_path, match=match, alpha=0.5, temperature=1.0), toy.backbone("taught")
    hidden = torch.randn(6, 40, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = rows.loss(backbone, hidden, EVERY, False)
    loss.backward()
    way = hidden.grad / hidden.grad.norm()
    with torch.no_grad():
        ahead, behind = (rows.loss(backbone, hidden + step * way, EVERY, False) for step in (0.02, -0.02))
    assert float(ahead - behind) / 0.04 == pytest.approx(float(hidden.grad.norm()), rel=0.02)


def test_it_is_asked_once_and_folds_share_what_it_says(tmp_path, monkeypatch):
    calls = []
    real = module.asked
    monkeypatch.setattr(module, "asked", lambda *given: calls.append(1) or real(*given))
    whole = taught("stranger", tmp_path, match="bytes")
    part = taught("stranger", tmp_path, PAIRS.take(np.array([4, 1])), match="bytes")
    assert len(calls) == 1
    assert learnt(part, np.arange(2))[0] == pytest.approx(learnt(whole, np.array([4, 1]))[0], rel=1e-5)
    taught("stranger", tmp_path, match="sorted")
    assert len(calls) == 2, "what is compared is part of its name"


def test_an_answer_that_cannot_be_laid_along_its_bytes_is_learnt_from_its_label(tmp_path, monkeypatch):
    real = module.byte_ends

    def fails(tokenizer, text, ids):
        if text == "warm":
            raise module.BackboneError("tokens that are not those of the text")
        return real(tokenizer, text, ids)

    monkeypatch.setattr(module, "byte_ends", fails)
    rows = taught("stranger", tmp_path, match="bytes", alpha=0.5)
    warm = np.flatnonzero(np.array(ROWS.labels) == "warm")
    plain = learnt(dataclasses.replace(rows, taught=None), warm)[0]
    assert learnt(rows, warm)[0] == pytest.approx(0.5 * plain, rel=1e-5)

    monkeypatch.setattr(module, "byte_ends", lambda tokenizer, _, ids: fails(tokenizer, "warm", ids))
    with pytest.raises(RecipeError, match=r"no answer is cut at the same bytes[\s\S]*not those of the text[\s\S]*: 0`"):
        taught("stranger", tmp_path / "again", match="bytes")


def test_strangers_without_a_common_token_are_refused(tmp_path, monkeypatch):
    none = torch.empty(0, dtype=torch.long)
    monkeypatch.setattr(module, "common_tokens", lambda *_: (none, none))
    with pytest.raises(RecipeError, match=r"share 0 tokens[\s\S]*Set `match: sorted`"):
        taught("stranger", tmp_path, match="bytes")
    assert len(taught("stranger", tmp_path, match="sorted").taught.outputs)
