"""Pooling by hand, for padding on either side."""

import pytest
import torch

from transfuse.backbones.pooling import POOLINGS, pool

A, B, C, NOISE = [1.0, 2.0], [3.0, 4.0], [8.0, 0.0], [99.0, -99.0]
RIGHT = (torch.tensor([[A, B, NOISE, NOISE], [A, B, C, NOISE]]), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]))
LEFT = (torch.tensor([[NOISE, NOISE, A, B], [NOISE, A, B, C]]), torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]]))
EXPECTED = {"mean": [[2.0, 3.0], [4.0, 2.0]], "first": [A, A], "last": [B, C]}


@pytest.mark.parametrize("padded", [RIGHT, LEFT], ids=["right", "left"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_only_real_tokens_count(padded, pooling):
    assert pool(*padded, pooling).tolist() == EXPECTED[pooling]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_result_is_float32(pooling):
    assert pool(RIGHT[0].to(torch.bfloat16), RIGHT[1], pooling).dtype == torch.float32


def test_an_unknown_pooling_names_the_known_ones():
    with pytest.raises(ValueError, match="pooling 'max': expected one of mean, first, last"):
        pool(*RIGHT, "max")
