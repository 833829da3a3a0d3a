"""A scikit-learn estimator over one method and one backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from transfuse.backbones import loading
from transfuse.backbones import precision as arithmetic
from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.errors import DataError, UsageError
from transfuse.fitted.model import FittedModel
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import MAX_TOKENS, Classify

_BACKBONES: dict[str, Backbone] = {}
"""Backbones that estimators of this process have loaded: clones and folds share them."""


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifies texts by one transfer method; works in Pipeline, cross_val_score, GridSearchCV and clone.

    Args:
        backbone: a folder, ``catalog:NAME`` or ``hub:OWNER/NAME[@REVISION]``; None for methods without one.
        method: a method's name, see docs/methods.md.
        settings: of the method, where they differ from its defaults.
        template: how a decoder is shown a text, with ``{text}``.
        max_tokens: longest input.
        sources: name -> (texts, labels) of related tasks with the same labels.
        seed: of everything random.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 where a trial on the texts shows that it is faster and agrees.

    Attributes:
        precision_: the one that was used.
        classes_: the labels, sorted.
        model_: the `FittedModel`.

    Example:
        >>> TransferClassifier(backbone=None, method="tfidf").fit(["good", "bad"], ["yes", "no"]).predict(["good"])
        array(['yes'], dtype='<U3')
    """

    def __init__(
        self,
        backbone: str | None = "catalog:minilm-l6",
        method: str = "probe",
        settings: Mapping[str, Any] | None = None,
        template: str | None = None,
        max_tokens: int = MAX_TOKENS,
        sources: Mapping[str, tuple[Sequence[str], Sequence[Any]]] | None = None,
        seed: int = 0,
        precision: str = "fp32",
    ) -> None:
        self.backbone = backbone
        self.method = method
        self.settings = settings
        self.template = template
        self.max_tokens = max_tokens
        self.sources = sources
        self.seed = seed
        self.precision = precision

    def fit(
        self, X: Sequence[str], y: Sequence[Any], sample_weight: Sequence[float] | None = None
    ) -> TransferClassifier:
        """Fit on N texts and their labels.

        Raises:
            DataError: a text that is no string, or one class only.
            UsageError: an unknown precision.
        """
        if self.precision not in ("fp32", "bf16", "auto"):
            raise UsageError(f"precision '{self.precision}'", expected="fp32, bf16 or auto")
        texts, labels = _texts(X), np.asarray(y)
        if len(labels) != len(texts):
            raise DataError(f"{len(texts)} texts but {len(labels)} labels", expected="one label a text")
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise DataError("every label is the same", expected="two classes or more", remedy="Add the other classes.")
        task = Classify(tuple(str(c) for c in self.classes_), template=self.template, max_tokens=self.max_tokens)
        weights = None if sample_weight is None else np.asarray(sample_weight, dtype=float)
        data = TransferData(Examples(texts, tuple(str(v) for v in labels), weights), self._sources())
        about = method(self.method)
        backbone, trunk, self.precision_ = None, None, "fp32"
        if about.reads != "nothing":
            backbone = self._backbone()
            self.precision_ = self.precision
            if self.precision == "auto":
                self.precision_ = str(arithmetic.choose(backbone, list(texts[:64]), self.max_tokens)["precision"])
            trunk = Trunk(backbone, self.precision_, self.max_tokens)
        job = about.plan(task, backbone, data, self.seed, **dict(self.settings or {}))
        path = Engine(trunk, len(task.labels)).fit(job)
        fields = {}
        if backbone is not None:
            resolved = loading.resolved(self.backbone or "")
            fields = {
                "reference": self.backbone,
                "resolved": resolved if ":" in resolved else str(Path(resolved).resolve()),
                "revision": backbone.revision,
                "licence": backbone.licence,
                "family": backbone.family,
            }
        self.model_ = FittedModel(task, path, method=self.method, backbone=fields)
        return self

    def _backbone(self) -> Backbone:
        if not self.backbone:
            raise DataError(f"method '{self.method}' needs a backbone", remedy="Give `backbone`.")
        if self.backbone not in _BACKBONES:
            _BACKBONES[self.backbone] = loading.load(self.backbone)
        return _BACKBONES[self.backbone]

    def _sources(self) -> dict[str, Examples]:
        pairs = (self.sources or {}).items()
        return {name: Examples(_texts(x), tuple(str(v) for v in y)) for name, (x, y) in pairs}

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """The most probable class of each text, [N]."""
        best: np.ndarray = self.classes_[self.predict_proba(X).argmax(1)] if len(X) else self.classes_[:0]
        return best

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """Probabilities [N, C], columns in the order of ``classes_``."""
        check_is_fitted(self, "model_")
        return self.model_.predict_proba(_texts(X), precision=self.precision_)


def _texts(values: Any) -> tuple[str, ...]:
    """Texts from a list, an array or a pandas Series.

    Raises:
        DataError: an item is no string.
    """
    flat = np.asarray(values, dtype=object).ravel() if not isinstance(values, list | tuple) else values
    for i, value in enumerate(flat):
        if not isinstance(value, str):
            raise DataError(
                f"X[{i}] is {value!r}, of type {type(value).__name__}",
                expected="a sequence of strings",
                remedy="Pass the column of texts.",
            )
    return tuple(flat)
