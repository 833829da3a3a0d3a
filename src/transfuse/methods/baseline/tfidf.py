"""TF-IDF with logistic regression on the target's labels alone: what *no transfer* means in every verdict."""

from __future__ import annotations

import functools

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, Rows, Solve, TransferData
from transfuse.engine.logistic import ABSENT
from transfuse.fitted.text import Majority as MajorityPath
from transfuse.fitted.text import Tfidf, vectorizer
from transfuse.methods.baseline.majority import log_priors
from transfuse.methods.rows import target_rows
from transfuse.tasks.classify import Classify


def solve(rows: Rows, classes: int, *, c: float) -> Tfidf | MajorityPath:
    """Fit the vocabulary, the inverse document frequencies and the regression on the rows alone.

    idf_t = 1 + log((1 + N) / (1 + n_t)); tf = 1 + log count; rows of unit length (Spärck Jones 1972, as scikit-learn).
    Falls back to the majority class where the rows have one class or no word.
    """
    from sklearn.linear_model import LogisticRegression

    words = vectorizer()
    present = np.unique(rows.labels)
    try:
        features = words.fit_transform(list(rows.texts))
    except ValueError:  # scikit-learn: empty vocabulary
        present = present[:1]
    if len(present) < 2:
        return MajorityPath(log_priors(rows.labels, classes, rows.weights))
    model = LogisticRegression(C=c, max_iter=500)
    model.fit(features, rows.labels, sample_weight=rows.weights)
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, ABSENT)
    two = len(present) == 2
    weight[present] = np.concatenate([-model.coef_, model.coef_]) / 2 if two else model.coef_
    bias[present] = np.concatenate([-model.intercept_, model.intercept_]) / 2 if two else model.intercept_
    vocabulary = {term: int(column) for term, column in words.vocabulary_.items()}
    return Tfidf(vocabulary, words.idf_, weight, bias)


class TfidfBaseline:
    """TF-IDF of words and pairs of words with logistic regression; needs no backbone and no source."""

    family, reads, uses_sources, counterpart = "baseline", "nothing", False, None
    uses_related, weighs, alone = False, True, None

    def plan(self, task: Classify, backbone: Backbone | None, data: TransferData, seed: int, *, c: float = 10.0) -> Job:
        """One closed form.

        Args:
            c: inverse strength of the regression's penalty.
        """
        return Job((Solve(target_rows(task, data.target), functools.partial(solve, c=c)),), 0, seed)
