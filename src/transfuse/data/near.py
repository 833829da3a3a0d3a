"""Near-duplicate texts: character n-grams, MinHash with locality-sensitive hashing, then the exact Jaccard index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Characters of Chinese, Japanese and Korean writing carry more each, so their n-grams are shorter.
_CJK = np.array([[0x2E80, 0x9FFF], [0xAC00, 0xD7AF], [0xF900, 0xFAFF], [0x20000, 0x3FFFF]], dtype=np.uint32)
_PERMUTATIONS = 64


def fold(text: str) -> str:
    """The text with case and white space folded: what counts as the same text."""
    return " ".join(text.casefold().split())


def shingles(folded: str) -> np.ndarray:
    """Hashes of the distinct character n-grams, uint64 [M]: 5 characters, or 2 where CJK characters prevail.

    A text that is shorter than n is one shingle.
    """
    codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    cjk = ((codes[:, None] >= _CJK[:, 0]) & (codes[:, None] <= _CJK[:, 1])).any(axis=1).sum()
    size = min(2 if 2 * cjk > len(codes) else 5, len(codes))
    hashes = np.zeros(max(0, len(codes) - size + 1), dtype=np.uint64)
    for offset in range(size):
        column = codes[offset : offset + len(hashes)].astype(np.uint64)
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + column + np.uint64(1)
    return np.unique((hashes ^ (hashes >> np.uint64(32))) & np.uint64(0xFFFFFFFF))


def near_pairs(folded: Sequence[str], threshold: float = 0.8) -> list[tuple[int, int]]:
    """All likely pairs of different texts whose n-gram sets have a Jaccard index of at least ``threshold``.

    Args:
        folded: N texts that went through `fold`; equal and empty ones are passed over.

    Returns:
        (i, j) with i < j, sorted. A pair at 0.8 is found with a chance of about 0.84, at 0.9 of 0.97.

    Cost: about 0.2 ms a short text.
    Reference: Broder (1997), On the resemblance and containment of documents; datasketch's MinHashLSH.
    """
    from datasketch import MinHashLSH
    from datasketch.minhash import MinHash

    first: dict[str, int] = {}
    for position, text in enumerate(folded):
        if text:
            first.setdefault(text, position)
    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=(0.3, 0.7))
    seed = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)
    sets: dict[int, np.ndarray] = {}
    pairs = []
    for text, position in first.items():
        sets[position] = shingles(text)
        signature = seed.copy()
        signature.update_batch(sets[position].tolist())
        for other in index.query(signature):
            common = len(np.intersect1d(sets[position], sets[other], assume_unique=True))
            if common >= threshold * (len(sets[position]) + len(sets[other]) - common):
                pairs.append((min(position, other), max(position, other)))
        index.insert(position, signature, check_duplication=False)
    return sorted(pairs)
