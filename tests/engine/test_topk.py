"""Kept teacher outputs against all of them, at every temperature; drawn tokens; the pass through a frozen head."""

import math

import pytest
import tiny
import torch

from transfuse.backbones import head_loss as through
from transfuse.backbones.head_loss import head_loss, logits_of
from transfuse.engine.divergences import divergence, log_shares, soft_cross_entropy, soft_loss
from transfuse.engine.soft_head import soft_head_loss
from transfuse.engine.topk import TopK, buckets, draw, drawn_cross_entropy, topk_loss
from transfuse.errors import BackboneError, UsageError

BETAS = pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
TEMPERATURES = pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])


def logits(seed: int, rows: int = 4, tokens: int = 50, scale: float = 2.0, dtype=torch.float64) -> torch.Tensor:
    return scale * torch.randn(rows, tokens, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def words(rows: int = 4, tokens: int = 5000) -> torch.Tensor:
    """Logits like a language model's: a few likely tokens and a long tail."""
    fall = -1.3 * torch.log(torch.arange(1, tokens + 1))
    order = torch.stack([torch.randperm(tokens, generator=torch.Generator().manual_seed(row)) for row in range(rows)])
    return fall[order] + logits(9, rows, tokens, 0.3, torch.float32)


@BETAS
@TEMPERATURES
@pytest.mark.parametrize("k", [1, 8, 64])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_student_equal_to_its_teacher_stays_put(beta, temperature, k, scale):
    teacher = scale * words()
    student = teacher.clone().requires_grad_()
    loss = topk_loss(student, TopK.of(teacher, k), torch.ones(4), temperature, beta)
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() < 1e-6


def test_one_tail_from_temperature_1_sends_a_perfect_student_away_at_2():
    """The trap: mass of the tail at T = 1 as one logit of all temperatures."""
    teacher = words()
    kept = TopK.of(teacher, 64)
    flattened = log_shares(kept.buckets(1.0) / 2.0)
    exact = log_shares(torch.cat([kept.logits / 2.0, kept.rest[:, 1:2]], 1))
    assert 4 * divergence(exact, flattened).mean() > 1
    assert topk_loss(teacher, kept, torch.ones(4), 2.0).item() == 0


@BETAS
@TEMPERATURES
def test_all_tokens_kept_is_the_dense_loss(beta, temperature):
    student, teacher, weights = logits(0), logits(1), torch.tensor([1.0, 0.0, 2.0, 0.5]).double()
    gradients = []
    for name in ("dense", "kept"):
        z = student.clone().requires_grad_()
        if name == "dense":
            loss = soft_loss(z, teacher, weights, temperature, beta)
        else:
            loss = topk_loss(z, TopK.of(teacher, 64), weights, temperature, beta)
        loss.backward()
        gradients += [loss.detach(), z.grad]
    torch.testing.assert_close(gradients[0], gradients[2])
    torch.testing.assert_close(gradients[1], gradients[3])


@BETAS
@TEMPERATURES
def test_fewer_tokens_are_a_lower_bound(beta, temperature):
    student, teacher, weights = logits(0), logits(1), torch.ones(4).double()
    found = [topk_loss(student, TopK.of(teacher, k), weights, temperature, beta).item() for k in (1, 4, 16, 50)]
    assert 0 < found[0] < found[1] < found[2] < found[3]
    assert found[3] == pytest.approx(soft_loss(student, teacher, weights, temperature, beta).item())


@TEMPERATURES
def test_the_tail_by_hand(temperature):
    teacher, student = torch.tensor([[3.0, 0.0, 1.0, 2.0]]), torch.tensor([[1.0, 1.0, 0.0, 2.0]])
    p, q = (torch.softmax(z.double() / temperature, 1)[0] for z in (teacher, student))
    expected = sum(float(p[i] * (p[i] / q[i]).log()) for i in (0, 3))
    expected += float((p[1] + p[2]) * ((p[1] + p[2]) / (q[1] + q[2])).log())
    found = topk_loss(student, TopK.of(teacher, 2), torch.ones(1), temperature)
    assert found.item() == pytest.approx(temperature**2 * expected, rel=1e-5)


@pytest.mark.parametrize("kept", [60.0, -12.0])
def test_a_tail_near_0_and_a_tail_near_1_keep_their_digits(kept):
    """The kept token's logit among 99 zeros, moved by 1; exact by the shares' own small differences."""
    teacher = torch.zeros(1, 100)
    teacher[0, 0] = kept
    student = teacher.clone()
    student[0, 0] += 1.0
    small, moved = (99 * math.exp(-kept), 1 / math.e) if kept > 0 else (math.exp(kept) / 99, math.e)
    # of two outcomes, the rare one has share about x in the teacher and xy in the student: x (y - 1 - log y)
    expected = small * (moved - 1 - math.log(moved))
    given = buckets(teacher, torch.zeros(1, 1, dtype=torch.long), 1.0)
    teacher_keeps = TopK(torch.zeros(1, 1, dtype=torch.long), given[:, :1], given[:, 1:], (1.0,), 100)
    found = topk_loss(student, teacher_keeps, torch.ones(1), 1.0).item()
    assert found == pytest.approx(expected, rel=1e-4, abs=0)


@BETAS
def test_the_gradient_is_the_numeric_one(beta):
    student, kept = logits(0, 2, 9).requires_grad_(), TopK.of(logits(1, 2, 9), 3)
    weights = torch.tensor([1.0, 3.0]).double()
    assert torch.autograd.gradcheck(lambda z: topk_loss(z, kept, weights, 2.0, beta), student)


def test_a_temperature_that_was_not_kept_is_refused():
    with pytest.raises(UsageError, match=r"temperature 3: .*\n.*one of 1, 2, 4") as error:
        topk_loss(logits(0), TopK.of(logits(1), 3), torch.ones(4), 3.0)
    assert "keep the teacher's outputs anew" in error.value.remedy


def test_columns_beyond_the_teachers_vocabulary_are_not_looked_at():
    student, kept = logits(0), TopK.of(logits(1), 5)
    padded = torch.cat([student, 100 * torch.ones(4, 6).double()], 1)
    weights = torch.ones(4).double()
    torch.testing.assert_close(topk_loss(padded, kept, weights), topk_loss(student, kept, weights))


def test_a_student_with_fewer_columns_is_refused():
    with pytest.raises(BackboneError, match="foretells 40 tokens and its teacher chose from 50"):
        topk_loss(logits(0)[:, :40], TopK.of(logits(1), 3), torch.ones(4))


@TEMPERATURES
def test_drawn_tokens_are_unbiased(temperature):
    student, teacher, weights = logits(0, 2, 6, 1.0), logits(1, 2, 6, 1.0), torch.tensor([1.0, 2.0]).double()
    many, generator = 4000, torch.Generator().manual_seed(0)
    repeated = teacher.repeat_interleave(many, 0)
    gradients = []
    for name in ("dense", "drawn"):
        z = student.clone().requires_grad_()
        if name == "dense":
            loss = soft_cross_entropy(z, teacher, weights, temperature)
        else:
            drawn = draw(repeated, 5, generator, temperature)
            assert drawn.counts.sum(1).unique().tolist() == [5]
            wide = z.repeat_interleave(many, 0)
            loss = drawn_cross_entropy(wide, drawn, weights.repeat_interleave(many))
        loss.backward()
        gradients += [loss.item(), z.grad / temperature]
    assert gradients[2] == pytest.approx(gradients[0], rel=0.02)
    torch.testing.assert_close(gradients[3], gradients[1], rtol=0, atol=0.01)


def test_kept_tokens_made_to_sum_to_1_are_biased_and_drawn_ones_are_not():
    teacher = words(1).double()
    weights, share = torch.ones(1).double(), torch.softmax(teacher, 1)
    student = torch.zeros_like(teacher).requires_grad_()
    drawn = draw(teacher, 20000, torch.Generator().manual_seed(0))
    drawn_cross_entropy(student, drawn, weights).backward()
    tail = torch.ones_like(teacher).scatter(1, TopK.of(teacher, 8).ids, 0.0)
    given = (1 / 5000 - student.grad) * tail  # what the estimate gives the tail
    assert given.sum().item() == pytest.approx((share * tail).sum().item(), abs=0.01)
    assert (share * tail).sum() > 0.3


def states(family: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    backbone = tiny.load(family)
    generator = torch.Generator().manual_seed(0)
    columns = logits_of(backbone.network(), torch.zeros(1, backbone.width)).shape[1]
    return torch.randn(count, backbone.width, generator=generator), logits(1, count, columns - 3, dtype=torch.float32)


@BETAS
@pytest.mark.parametrize("family", ["llama", "gemma2", "bart"])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_the_pass_in_parts_is_the_plain_one(family, beta, alpha, monkeypatch):
    monkeypatch.setattr(through, "PART", 4)
    backbone = tiny.load(family)
    hidden, said = states(family, 10)
    kept, weights, targets = TopK.of(said, 8), torch.rand(10), torch.arange(10) + 20
    found = []
    for name in ("plain", "parts"):
        x = hidden.clone().requires_grad_()
        if name == "plain":
            z = logits_of(backbone.network(), x)
            hard = (torch.nn.functional.cross_entropy(z, targets, reduction="none") * weights).sum() / weights.sum()
            loss = (1 - alpha) * hard + alpha * topk_loss(z, kept, weights, 2.0, beta)
        else:
            loss = soft_head_loss(
                backbone, x, kept, weights, False, temperature=2.0, beta=beta, targets=targets, alpha=alpha
            )
        (3 * loss).backward()
        found += [loss.detach(), x.grad]
    torch.testing.assert_close(found[0], found[2], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], found[3], rtol=1e-4, atol=1e-5)
    assert found[1].abs().max() > 1e-3


def test_the_pass_without_a_teacher_is_that_of_the_words():
    backbone = tiny.load("llama")
    hidden, said = states("llama", 6)
    targets, weights = torch.arange(6) + 20, torch.rand(6)
    found = soft_head_loss(backbone, hidden, TopK.of(said, 4), weights, False, targets=targets, alpha=0.0)
    torch.testing.assert_close(found, head_loss(backbone, hidden, targets, weights, False))


@BETAS
@TEMPERATURES
def test_a_student_that_is_its_teacher_stays_put_through_the_head(beta, temperature):
    backbone = tiny.load("llama")
    hidden, _ = states("llama", 6)
    kept = TopK.of(logits_of(backbone.network(), hidden), 8)
    x = hidden.clone().requires_grad_()
    loss = soft_head_loss(backbone, x, kept, torch.ones(6), False, temperature=temperature, beta=beta)
    loss.backward()
    assert loss.item() == 0
    assert x.grad.abs().max() < 1e-5


def test_sizes_of_a_teacher_with_fewer_tokens_than_k():
    kept = TopK.of(logits(0, tokens=5), 64)
    assert kept.ids.shape == (4, 5)
    assert torch.isfinite(kept.rest).all()
    assert math.isfinite(topk_loss(logits(1, tokens=5), kept, torch.ones(4)).item())
