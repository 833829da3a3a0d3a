"""The baselines against scikit-learn and by hand."""

import dataclasses

import numpy as np
import pytest
import toy
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from transfuse.data.examples import Examples
from transfuse.fitted.text import TOKENS
from transfuse.tasks.classify import Classify

NAMES = {"hot": ("red", "fire"), "cold": ("ice", "snow"), "wet": ("rain", "sea")}


def noisy(count: int, words: dict[str, tuple[str, ...]], seed: int = 0) -> Examples:
    """Texts of which every fifth has another class's words."""
    rows = toy.examples(count, seed, share=1 / len(words), words=words)
    turned = tuple(rows.labels[(i + 1) % count] if i % 5 == 0 else label for i, label in enumerate(rows.labels))
    return dataclasses.replace(rows, labels=turned)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_tfidf_equals_the_scikit_learn_pipeline(bench, classes, weighted):
    words = dict(list(NAMES.items())[:classes])
    rows = noisy(60, words)
    if weighted:
        rows = dataclasses.replace(rows, weights=np.random.default_rng(0).uniform(0.1, 4, 60))
    bench.task = Classify(labels=tuple(words))
    texts = [*noisy(20, words, seed=1).texts, "", "unheard of", "Red RED red fire"]
    found = np.exp(bench.path("tfidf", None, rows, c=3.0).log_probabilities(texts))
    peer = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKENS),
        LogisticRegression(C=3.0, max_iter=500),
    )
    peer.fit(list(rows.texts), list(rows.labels), logisticregression__sample_weight=rows.weights)
    columns = [list(peer.classes_).index(label) for label in words]
    np.testing.assert_allclose(found, peer.predict_proba(texts)[:, columns], atol=1e-9)


def test_tfidf_reads_chinese_without_spaces(bench):
    bench.task = Classify(labels=("bad", "good"))
    good, bad = ("很好的书", "真的很好", "质量好很好"), ("不好用", "真的太差", "太差了")
    rows = Examples(good + bad, ("good",) * 3 + ("bad",) * 3)
    path = bench.path("tfidf", None, rows)
    assert path.log_probabilities(["很好", "太差"]).argmax(1).tolist() == [1, 0]
    assert "很 好" in path.vocabulary


def test_tfidf_without_a_word_answers_the_shares(bench):
    rows = Examples(("", "!!", "?"), ("warm", "warm", "cold"))
    found = np.exp(bench.path("tfidf", None, rows).log_probabilities(["anything"]))
    np.testing.assert_allclose(found, np.exp(bench.path("majority", None, rows).log_probabilities(["anything"])))
    assert found[0, 0] > 0.6


def test_majority_is_the_share_of_each_class_with_one_row_spread(bench):
    bench.task = Classify(labels=("a", "b", "c"))
    rows = Examples(("x",) * 5, ("b", "b", "b", "a", "b"))
    found = np.exp(bench.path("majority", None, rows).log_probabilities(["p", "q"]))
    np.testing.assert_allclose(found, [[(1 + 1 / 3) / 6, (4 + 1 / 3) / 6, (1 / 3) / 6]] * 2)


def test_majority_counts_weights(bench):
    rows = Examples(("x",) * 3, ("warm", "cold", "cold"), weights=np.array([5.0, 1.0, 1.0]))
    assert np.exp(bench.path("majority", None, rows).log_probabilities(["p"]))[0, 0] == pytest.approx(5.5 / 8)
