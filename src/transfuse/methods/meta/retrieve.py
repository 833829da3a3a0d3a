"""Prompts whose demonstrations are looked up by a retriever that learnt on the sources what makes texts alike."""

from __future__ import annotations

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, Job, Retrieve, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.feature.probe import check_readout
from transfuse.methods.meta.episodes import several
from transfuse.methods.prompt.prompt import check_words
from transfuse.methods.relation.named import named_rows
from transfuse.methods.rows import evidence, target_rows
from transfuse.tasks.classify import Classify


def within_metric(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A metric in which what varies inside the classes counts little, learnt on classes that may be of other tasks.

    Formula: d(x, y) by (x - m) W with W Wᵀ = Σ⁻¹, Σ the covariance within classes, shrunk as Ledoit and Wolf do.

    Args:
        features: float [N, D].
        labels: int [N]; classes of one row say nothing.

    Returns:
        m, float64 [D], and W, float64 [D, D].

    Cost: one eigendecomposition.
    Reduces to: scaled cosine about the mean where Σ is a multiple of the identity.
    Reference: Hastie and Tibshirani 1996 (the metric of discriminant analysis); Rubin, Herzig and Berant 2022 for
        trained retrievers of demonstrations. Departure: a closed form on labels, no scores of a language model.
    """
    from sklearn.covariance import ledoit_wolf

    x = np.asarray(features, dtype=np.float64)
    names, index = np.unique(labels, return_inverse=True)
    means = np.stack([x[index == c].mean(0) for c in range(len(names))])
    covariance, _ = ledoit_wolf(x - means[index], assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    floor = max(1e-6 * float(values[-1]), 1e-12)
    return x.mean(0), vectors / np.sqrt(np.maximum(values, floor))


class Retrieval:
    """For each text the nearest labelled rows are its demonstrations, in a metric learnt on the sources' classes.

    Choose it with a decoder, more labels than fit into one prompt, and sources of any labels. It costs a longer prompt
    for every text. Without a source, or with no class of two rows there, the metric is that of the target's own rows.
    """

    family, reads, uses_sources, counterpart = "meta", "decoder", True, "prompt"
    uses_related, weighs, alone = True, True, None

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        shots: int = 8,
        layer: int | None = None,
        pooling: str | None = None,
        source_limit: int = 2048,
    ) -> Job:
        """Learn the metric, keep the rows.

        Args:
            shots: demonstrations of each text.
            layer: the layer that texts are compared at; by default the one that a probe of the target would choose.
            pooling: ``mean``, ``first`` or ``last``; by default as the layer.
            source_limit: most rows of each source.
        """
        assert backbone is not None
        if shots < 1:
            raise RecipeError(f"retrieve.shots: {shots}", expected="1 or more", remedy="`prompt` asks without any.")
        check_words(task, {})
        layers = () if layer is None else (layer,)
        poolings = () if pooling is None else (pooling,)
        check_readout(backbone, layers, poolings)
        target = target_rows(task, data.target)
        found = named_rows(task, data, source_limit)
        readout = ChooseReadout(evidence(target), layers, poolings, (None,))
        words = tuple(task.word(label) for label in task.labels)
        learnt = None if found is None else several(found[0])
        return Job((readout, Retrieve(target, learnt, within_metric, shots, task.shown(), words)), 0, seed)
