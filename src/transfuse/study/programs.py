"""Several programs for each problem, drawn and run: the chance that one of k passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from transfuse.evaluation.texts import pass_at_k, program_statistics
from transfuse.fitted.writer import WriterPath

AT = (1, 5, 10, 100)
"""k of pass@k, as far as so many programs are drawn."""
TEMPERATURE, TOP_P = 0.8, 0.95
"""Of the draws, as Chen et al. 2021 draw for k above 1."""


def drawn(
    path: WriterPath, expected: np.ndarray, texts: Sequence[str], samples: int, seed: int, precision: str
) -> dict[str, np.ndarray]:
    """What each problem adds to pass@k, for several k.

    Args:
        path: writes the programs.
        expected: object [N], with the tests.
        texts: the N requests.
        samples: programs drawn for each; none where it is 0.
        seed: of the draws.
        precision: of the decoder.

    Returns:
        ``pass_at_K`` -> float64 [N, 2]: pass@k of each problem, unbiased (see `pass_at_k`), and 1.

    Raises:
        TransfuseError: nothing here can contain a program.

    Cost: N · samples answers, and as many runs in the sandbox.
    """
    if not samples:
        return {}
    how = dataclasses.replace(path.decoding, beams=1, temperature=TEMPERATURE, top_p=TOP_P, seed=seed)
    answers = path.with_decoding(how).answers([text for text in texts for _ in range(samples)], precision)
    passed = program_statistics(np.repeat(expected, samples), answers)[:, 0].reshape(-1, samples).sum(1)
    return {
        f"pass_at_{k}": np.array([[pass_at_k(samples, int(c), k), 1.0] for c in passed]) for k in AT if k <= samples
    }
