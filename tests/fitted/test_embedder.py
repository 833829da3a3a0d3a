"""Vectors of texts: what plain pooling of the model's states gives, in order, of unit length if asked."""

import numpy as np
import pytest
import tiny

from transfuse import Embedder
from transfuse.errors import ModelError, UsageError

TEXTS = ["the good, the bad", "x", "the good and the bad " * 4, ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny.write("bert", tmp_path_factory.mktemp("embedder") / "bert"))


def test_vectors_are_the_pooled_states(folder):
    embedder = Embedder(folder, layer=2, pooling="first", arithmetic="fp32")
    backbone = tiny.load("bert")
    at = backbone.poolings.index("first")
    expected = backbone.features(backbone.tokens(TEXTS, None, 256), [2])[:, 0, at]
    np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=1e-5)


def test_unit_length_if_asked_and_auto_by_default(folder):
    vectors = Embedder(folder, normalise=True).encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors.dtype == np.float32


def test_no_texts_and_no_strings(folder):
    assert Embedder(folder).encode([]).shape == (0, tiny.WIDTH)
    with pytest.raises(ModelError, match="text 2 is None"):
        Embedder(folder).encode(["x", None])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"layer": 9}, "layer 9\nExpected: 1 to 3"),
        ({"pooling": "max"}, "pooling 'max'\nExpected: one of mean, first, last"),
        ({"arithmetic": "fp8"}, "arithmetic 'fp8'\nExpected: one of auto, fp32, bf16, int8"),
    ],
)
def test_what_does_not_exist_is_refused(folder, wrong, words):
    with pytest.raises(UsageError, match=words):
        Embedder(folder, **wrong)
