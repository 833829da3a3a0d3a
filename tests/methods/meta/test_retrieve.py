"""Looked-up demonstrations: the metric, which rows are shown, and the likelihood by hand."""

import numpy as np
import pytest
import toy
from sklearn.covariance import LedoitWolf

from transfuse.backbones.scoring import LabelScorer
from transfuse.data.examples import Examples
from transfuse.errors import ModelError, RecipeError
from transfuse.fitted.paths import log_softmax
from transfuse.fitted.prompted import PromptPath
from transfuse.methods.catalogue import method
from transfuse.methods.meta.retrieve import within_metric

ROWS, TEST = toy.examples(24, seed=1), toy.examples(20, seed=2)


def test_in_the_metric_the_classes_are_round():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 400)
    x = generator.normal(size=(3, 4))[labels] * 5 + generator.normal(size=(1200, 4)) * [5, 1, 1, 0.3]
    mean, metric = within_metric(x, labels)
    np.testing.assert_allclose(mean, x.mean(0))
    within = np.concatenate([x[labels == c] - x[labels == c].mean(0) for c in range(3)])
    fitted = LedoitWolf(assume_centered=True).fit(within)
    np.testing.assert_allclose(metric @ metric.T, fitted.precision_, rtol=1e-9)
    scaled = within @ metric / np.sqrt(len(x))
    np.testing.assert_allclose(scaled.T @ scaled, np.eye(4), atol=0.15)  # but for the shrinkage


def test_a_source_of_other_labels_changes_what_is_near():
    labels = np.repeat(np.arange(20), 10)
    generator = np.random.default_rng(1)
    signal = generator.normal(size=(20, 1))[labels]
    x = np.hstack([signal, generator.normal(size=(200, 1)) * 10])  # the second column is loud and says nothing
    _, metric = within_metric(x, labels)
    kept, loud = np.abs(metric @ metric.T)[[0, 1], [0, 1]]
    assert kept > 50 * loud


def test_each_text_has_its_own_nearest_rows_and_the_likelihood_is_that_of_the_prompt(bench):
    path = bench.path("retrieve", "taught", ROWS, shots=2)
    found = path.logits(TEST.texts[:4])
    backbone = toy.backbone("taught")
    segment = backbone.segment(0, path.layer)
    from transfuse.backbones.tokens import States

    features = backbone.pooled(segment, States.of_ids(backbone.tokens(TEST.texts[:4], None, 96)), path.pooling, "fp32")
    rows = path.nearest(features)
    assert rows.shape == (4, 2)
    z = (features - path.mean) @ path.metric
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    assert (np.argsort(-(z @ path.keys.T), axis=1)[:, 0] == rows[:, 1]).all()  # the nearest one last
    for text, own, expected in zip(TEST.texts[:4], rows, found, strict=True):
        prefix = "".join(f"{path.texts[i]} = {path.words[path.labels[i]]}\n\n" for i in own)
        alone = PromptPath(
            lambda: backbone, prefix=prefix, template="{text} =", words=path.words, limit=96, bias=np.zeros(2)
        )
        np.testing.assert_allclose(log_softmax(alone.logits([text]))[0], log_softmax(expected[None])[0], atol=1e-4)


def test_demonstrations_that_do_not_fit_fall_out_from_the_front(bench):
    texts = tuple(text + " red" * 30 for text in ROWS.texts)
    path = bench.path("retrieve", "taught", Examples(texts, ROWS.labels), shots=8)
    assert np.isfinite(path.log_probabilities([TEST.texts[0], TEST.texts[1] + " red" * 400])).all()
    scorer = LabelScorer(path.backbone, "", "asked {text} =", path.words, 96, "fp32")
    tokenizer, shots = path.backbone.tokenizer, [f"shot {i} {'red ' * 60}= warm\n\n" for i in range(40)]
    said = tokenizer.decode(scorer._prompt(shots, "a text", path.backbone.max_tokens - 4))
    assert said.endswith("asked a text =")
    assert "shot 39 " in said
    assert "shot 0 " not in said
    assert tokenizer.decode(scorer._prompt([], "long " * 300, 2000)).endswith(" =")


def test_what_is_shown_is_no_longer_than_what_is_asked(bench):
    texts = tuple(text + " red" * 300 for text in ROWS.texts)
    path = bench.path("retrieve", "taught", Examples(texts, ROWS.labels), shots=1)
    shown = path._shot(0)
    assert shown.endswith(f" = {path.words[path.labels[0]]}\n\n")
    assert len(path.backbone.tokenizer(shown)["input_ids"]) <= path.limit + 10
    assert texts[0].startswith(shown.split(" =")[0])


def test_wrong_settings_and_precisions_are_refused(bench):
    with pytest.raises(RecipeError, match=r"retrieve\.shots: 0"):
        bench.path("retrieve", "taught", ROWS, shots=0)
    model = bench.model("retrieve", "taught", ROWS)
    with pytest.raises(ModelError, match="precision 'int8'"):
        model.predict(["a"], precision="int8")
    assert method("retrieve").uses_related
