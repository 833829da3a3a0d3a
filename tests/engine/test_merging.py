"""Merging: hand calculations, peft's functions, and the cases that give a model back."""

import pytest
import torch

from transfuse.engine.merging import (
    average,
    dare,
    greedy_soup,
    interpolate,
    mixture,
    side_by_side,
    task_arithmetic,
    task_vectors,
    ties,
    trim,
)

ORIGIN = {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([0.0, 1.0])}
FIRST = {"w": torch.tensor([[2.0, 2.0], [0.0, 4.5]]), "b": torch.tensor([1.0, 1.0])}
SECOND = {"w": torch.tensor([[0.5, 4.0], [2.0, 4.0]]), "b": torch.tensor([3.0, 0.0])}


def equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name])


def test_averages_by_hand():
    equal(average([FIRST]), FIRST)
    found = average([FIRST, SECOND])
    torch.testing.assert_close(found["w"], torch.tensor([[1.25, 3.0], [1.0, 4.25]]))
    torch.testing.assert_close(average([FIRST, SECOND], [0.25, 0.75])["b"], torch.tensor([2.5, 0.25]))


def test_adapters_side_by_side_change_a_map_by_the_sum_of_their_changes():
    generator = torch.Generator().manual_seed(0)
    sizes = [("x.lora_A.weight", lambda rank: (rank, 5)), ("x.lora_B.weight", lambda rank: (4, rank))]
    one, two = ({name: torch.randn(*size(rank), generator=generator) for name, size in sizes} for rank in (2, 3))
    found = side_by_side([one, two], [0.5, 2.0])
    a, b = found["x.lora_A.weight"], found["x.lora_B.weight"]
    assert (a.shape, b.shape) == ((5, 5), (4, 5))
    expected = (
        0.5 * one["x.lora_B.weight"] @ one["x.lora_A.weight"] + 2 * two["x.lora_B.weight"] @ two["x.lora_A.weight"]
    )
    torch.testing.assert_close(b @ a, expected)


def test_interpolation_goes_from_the_origin_to_the_tuned_model():
    equal(interpolate(ORIGIN, FIRST, 0.0), ORIGIN)
    equal(interpolate(ORIGIN, FIRST, 1.0), FIRST)
    torch.testing.assert_close(interpolate(ORIGIN, FIRST, 0.5)["b"], torch.tensor([0.5, 1.0]))


def test_task_arithmetic_by_hand():
    equal(task_arithmetic(ORIGIN, [FIRST]), FIRST)
    equal(task_arithmetic(ORIGIN, [FIRST, SECOND], 0.5), average([FIRST, SECOND]))
    equal(task_arithmetic(ORIGIN, [FIRST, SECOND], 0.0), ORIGIN)
    torch.testing.assert_close(task_vectors(ORIGIN, [FIRST])[0]["b"], torch.tensor([1.0, 0.0]))


def test_ties_by_hand():
    """Vectors w: [1, 0, -3, .5] and [-.5, 2, -1, 0]; all kept: signs +, +, -, + and means of those that agree."""
    found = ties(ORIGIN, [FIRST, SECOND], keep=1.0)
    torch.testing.assert_close(found["w"], torch.tensor([[2.0, 4.0], [1.0, 4.5]]))
    half = ties(ORIGIN, [FIRST, SECOND], keep=0.5)  # [1, 0, -3, 0] and [0, 2, -1, 0]
    torch.testing.assert_close(half["w"], torch.tensor([[2.0, 4.0], [1.0, 4.0]]))
    equal(ties(ORIGIN, [FIRST], keep=1.0), FIRST)
    assert trim(torch.tensor([3.0, -4.0, 1.0]), 0.34).tolist() == [0, -4, 0]


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_ties_is_that_of_peft(keep):
    from peft.utils import merge_utils

    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn(8, 5, generator=generator) for _ in range(3)]
    origin = {"w": torch.zeros(8, 5)}
    expected = merge_utils.ties(vectors, torch.ones(3), density=keep, majority_sign_method="total")
    torch.testing.assert_close(ties(origin, [{"w": v} for v in vectors], keep=keep)["w"], expected)
    summed = merge_utils.task_arithmetic(vectors, torch.ones(3))
    torch.testing.assert_close(task_arithmetic(origin, [{"w": v} for v in vectors])["w"], summed)


@pytest.mark.parametrize("rule", [ties, dare, task_arithmetic, lambda _, models: average(models)])
def test_a_rule_runs_where_the_tensors_are(rule):
    """Tensors without values stand in for a device that is not the CPU: torch refuses to mix them as it does those."""
    away = [{name: tensor.to("meta") for name, tensor in one.items()} for one in (ORIGIN, FIRST, SECOND)]
    found = rule(away[0], away[1:])
    assert {name: (t.device.type, t.shape) for name, t in found.items()} == {
        name: ("meta", t.shape) for name, t in ORIGIN.items()
    }


def test_nothing_to_merge_and_nothing_left_are_refused():
    with pytest.raises(ValueError, match="no model to average"):
        average([])
    for drop in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"drop: {drop}; expected 0 or more, and below 1"):
            dare(ORIGIN, [FIRST], drop=drop)


def test_dropping_keeps_the_expectation():
    equal(dare(ORIGIN, [FIRST, SECOND], drop=0.0), task_arithmetic(ORIGIN, [FIRST, SECOND]))
    origin, model = {"w": torch.zeros(200, 200)}, {"w": torch.ones(200, 200)}
    merged = dare(origin, [model], drop=0.9)["w"]
    assert merged.mean() == pytest.approx(1.0, abs=0.05)
    assert merged.unique().tolist() == pytest.approx([0.0, 10.0])
    torch.testing.assert_close(merged, dare(origin, [model], drop=0.9)["w"])


def test_a_soup_takes_what_does_not_hurt():
    models = [{"w": torch.tensor([value])} for value in (1.0, 0.6, -3.0)]
    soup, taken = greedy_soup(models, lambda model: -abs(float(model["w"]) - 0.8))
    assert taken == [0, 1] or taken == [1, 0]
    torch.testing.assert_close(soup["w"], torch.tensor([0.8]))


def test_a_mixture_finds_the_model_that_scores_and_is_never_worse_than_the_average():
    def score(tensors):
        return -float((tensors["w"] - FIRST["w"]).square().sum() + (tensors["b"] - FIRST["b"]).square().sum())

    found, shares = mixture(ORIGIN, [FIRST, SECOND], score)
    assert shares == [1.0, 0.0]
    equal(found, FIRST)
    still, shares = mixture(ORIGIN, [FIRST, SECOND], lambda _: 0.0)
    assert shares == [0.5, 0.5]
    equal(still, average([FIRST, SECOND]))
