"""The head by hand, and the path through trained layers two ways."""

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones.tokens import States
from transfuse.fitted.head import Head
from transfuse.fitted.paths import log_softmax

TEXTS = ["the good, the bad", "x", "a longer text about the good"]


def test_logits_by_hand():
    head = Head(
        *(np.array(x, dtype=np.float32) for x in ([1.0, 2.0], [2.0, 4.0], [[1.0, 0.0], [3.0, 2.0]], [0.5, 0.0]))
    )
    np.testing.assert_allclose(head.logits(np.array([[3.0, 10.0]])), [[1.5, 7.0]])
    weight, bias = head.folded()
    np.testing.assert_allclose(np.array([[3.0, 10.0]]) @ weight.T + bias, [[1.5, 7.0]])


def test_a_cosine_head_sees_the_direction_alone():
    plain = (np.zeros(2), np.ones(2), np.eye(2), np.zeros(2))
    head = Head(*(x.astype(np.float32) for x in plain), normalise=True)
    np.testing.assert_allclose(head.logits(np.array([[3.0, 4.0], [30.0, 40.0]])), [[0.6, 0.8], [0.6, 0.8]])


def test_an_empty_head_prefers_nothing():
    np.testing.assert_array_equal(Head.empty(4, 3).logits(np.ones((2, 4))), np.zeros((2, 3)))


def test_log_softmax_survives_large_logits():
    np.testing.assert_allclose(log_softmax(np.array([[1e4, 1e4], [0.0, -1e4]])), [[-np.log(2)] * 2, [0.0, -1e4]])


def test_features_and_texts_lead_to_the_same_probabilities(model):
    path = model("encoder probe").path
    features = path.backbone.features(path.backbone.tokens(TEXTS, None, path.limit), [path.layer])[:, 0, 0]
    np.testing.assert_allclose(path.from_features(features), path.log_probabilities(TEXTS), atol=1e-5)


@pytest.mark.parametrize("name", ["encoder finetune, cosine", "decoder finetune", "sliding lora"])
def test_cached_states_and_texts_lead_to_the_same_probabilities(model, name):
    path = model(name).path
    tokens = path.backbone.tokens(TEXTS, path.template, path.limit)
    states = States.of(path.backbone.states(tokens, path.cut), tokens)
    np.testing.assert_allclose(path.from_states(states, "fp32"), path.log_probabilities(TEXTS), atol=1e-5)


def test_trained_embeddings_are_used_from_texts_too(model):
    path = model("encoder finetune, all").path
    tokens = path.backbone.tokens(TEXTS, None, path.limit)
    expected = path.from_states(States.of_ids(tokens), "fp32")
    np.testing.assert_allclose(path.log_probabilities(TEXTS), expected, atol=1e-5)
    frozen = tiny.load("electra").segment(0, 3)
    assert not torch.equal(
        path.trained.model.embeddings.word_embeddings.weight, frozen.model.embeddings.word_embeddings.weight
    )


def test_what_is_trained_is_what_counts(model):
    assert model("encoder probe").path.trainable_parameters == 3 * tiny.WIDTH + 3
    layers = sum(p.numel() for p in tiny.load("roberta").segment(1, 3).layers.parameters())
    assert model("encoder finetune, cosine").path.trainable_parameters == layers + 3 * tiny.WIDTH + 3
