"""DSIR: importance resampling by hashed words and pairs of words; no backbone is read."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.methods.closed import ClosedForm, chosen, weighted

BUCKETS = 10_000
KEEP = 0.5
"""Share of the source that is kept."""
_WORD = re.compile(r"\w+|[^\w\s]")


def hashed(texts: Sequence[str], buckets: int = BUCKETS) -> list[np.ndarray]:
    """The buckets of each text's words and pairs of words, int64, as often as they occur."""
    found = []
    for text in texts:
        words = _WORD.findall(text.lower())
        grams = [*words, *(" ".join(pair) for pair in itertools.pairwise(words))]
        found.append(np.array([zlib.crc32(gram.encode()) % buckets for gram in grams], dtype=np.int64))
    return found


def log_ratio(source: Sequence[str], target: Sequence[str], *, buckets: int = BUCKETS) -> np.ndarray:
    """How much likelier the target's n-grams make each source text than the source's do; choose it for large pools.

    log w(x) = Σ_b n_b(x) [log p_target(b) - log p_source(b)], with one added to each count of a bucket.

    Args:
        source: N texts.
        target: M texts, labelled or not.
        buckets: of the hash.

    Returns:
        float64 [N]; exp of it is a weight that grows with a text's length.

    Cost: one pass over the words.
    Reduces to: 0 everywhere where the target is the source.
    Reference: Xie, Santurkar, Ma and Liang 2023, section 4. Departure: short texts are kept.
    """
    ours, theirs = hashed(source, buckets), hashed(target, buckets)
    counts = [
        np.bincount(np.concatenate(side) if side else np.empty(0, np.int64), minlength=buckets) + 1.0
        for side in (theirs, ours)
    ]
    difference = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
    return np.array([float(difference[row].sum()) for row in ours])


def closeness(source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """`log_ratio` a word or pair of words, float64 [N]: how much each source text is like the target's."""
    length = np.array([max(len(row), 1) for row in hashed(source)])
    found: np.ndarray = log_ratio(source, target) / length
    return found


def resample(log_weights: np.ndarray, count: int, seed: int) -> np.ndarray:
    """``count`` positions drawn without replacement in proportion to exp(log weight), by the Gumbel top-k trick."""
    noise = np.random.default_rng(seed).gumbel(size=len(log_weights))
    chosen: np.ndarray = np.argsort(-(log_weights + noise), kind="stable")[:count]
    return chosen


def method() -> ClosedForm:
    """The probe on the half of the source whose n-grams are most like the target's, by the mean a gram."""

    def weigh(found: Evidence) -> np.ndarray:
        return chosen(closeness(found.source.texts, found.near_texts), KEEP)

    return weighted(weigh)
