"""DSIR: importance resampling by hashed words and pairs of words; no backbone is read."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.fitted.text import TOKENS
from transfuse.methods.closed import ClosedForm, chosen, weighted

BUCKETS = 10_000
KEEP = 0.5
"""Share of the source that is kept."""
COMMON = 0.1
"""Share of the mean of both sides that is mixed into each."""
_WORD = re.compile(rf"{TOKENS}|[^\w\s]")


def hashed(texts: Sequence[str], buckets: int = BUCKETS) -> list[np.ndarray]:
    """The buckets of each text's words and pairs of words, int64, as often as they occur.

    Words are those of `TOKENS`, where Chinese and Japanese characters stand alone, and marks.
    """
    found = []
    for text in texts:
        words = _WORD.findall(text.lower())
        grams = [*words, *(" ".join(pair) for pair in itertools.pairwise(words))]
        found.append(np.array([zlib.crc32(gram.encode()) % buckets for gram in grams], dtype=np.int64))
    return found


def log_ratio(source: Sequence[str], target: Sequence[str], *, buckets: int = BUCKETS) -> np.ndarray:
    """How much likelier the target's n-grams make each source text than the source's do; choose it for large pools.

    log w(x) = Σ_b n_b(x) [log p_target(b) - log p_source(b)], with p ← (1 - λ) p + λ m, m the mean of both p
    and λ = 0.1.

    Args:
        source: N texts.
        target: M texts, labelled or not.
        buckets: of the hash.

    Returns:
        float64 [N]; exp of it is a weight that grows with a text's length.

    Cost: one pass over the words.
    Reduces to: 0 everywhere where the target is the source, and where the target has no word.
    Reference: Xie, Santurkar, Ma and Liang 2023, section 4. Departures: short texts are kept; frequencies are mixed
        instead of counts raised. One added to each count pulls few texts to uniform and many texts not, so that n-grams
        that are rare on both sides would outweigh those that the sides share. With the mix no n-gram says more than
        log(2/λ - 1), whatever the number of texts.
    """
    ours = hashed(source, buckets)
    return _summed(ours, _difference(ours, hashed(target, buckets), buckets))


def closeness(source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """`log_ratio` a word or pair of words, float64 [N]: how much each source text is like the target's."""
    ours = hashed(source)
    length = np.array([max(len(row), 1) for row in ours])
    found: np.ndarray = _summed(ours, _difference(ours, hashed(target), BUCKETS)) / length
    return found


def _difference(ours: list[np.ndarray], theirs: list[np.ndarray], buckets: int) -> np.ndarray:
    """log p_target - log p_source of each bucket, float64 [buckets], after the mix; 0 for those that no text has."""
    counts = [np.bincount(np.concatenate([*side, np.empty(0, np.int64)]), minlength=buckets) for side in (theirs, ours)]
    if not counts[0].sum() or not counts[1].sum():
        return np.zeros(buckets)
    target, source = (count / count.sum() for count in counts)
    common = COMMON * (target + source) / 2
    seen = common > 0
    target, source = ((1 - COMMON) * side + common for side in (target, source))
    return np.log(np.where(seen, target, 1.0)) - np.log(np.where(seen, source, 1.0))


def _summed(ours: list[np.ndarray], difference: np.ndarray) -> np.ndarray:
    return np.array([float(difference[row].sum()) for row in ours])


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
