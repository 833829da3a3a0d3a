"""CORAL and linear optimal transport: the source's features get the target's mean and covariance."""

from __future__ import annotations

import numpy as np

from transfuse.methods.closed import ClosedForm, moved


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] with Ledoit and Wolf's shrinkage, which keeps it of full rank where N < D."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(np.asarray(x, dtype=np.float64))
    return x.mean(0, dtype=np.float64), covariance


def power(covariance: np.ndarray, exponent: float) -> np.ndarray:
    """A symmetric positive matrix to a power, by its eigenvalues."""
    values, vectors = np.linalg.eigh(covariance)
    floor = max(float(values[-1]), 1e-300) * 1e-12
    found: np.ndarray = (vectors * np.maximum(values, floor) ** exponent) @ vectors.T
    return found


def coral(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Map source features so that their mean and covariance are the target's; choose it for a plain shift of domain.

    x → (x - μ_s) Σ_s^-½ Σ_t^½ + μ_t.

    Args:
        source: float [N, D].
        target: float [M, D], unlabelled rows will do.

    Returns:
        float64 [N, D].

    Cost: three decompositions of [D, D].
    Reduces to: the source itself where both have the same moments.
    Reference: Sun, Feng and Saenko 2016. Departures: the means are matched too; shrunk covariances.
    """
    (mean, covariance), (wanted, shape) = moments(source), moments(target)
    mapped: np.ndarray = (source - mean) @ power(covariance, -0.5) @ power(shape, 0.5) + wanted
    return mapped


def linear_transport(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The optimal transport between two Gaussians with the data's moments; choose it as `coral`, it moves rows less.

    x → (x - μ_s) A + μ_t with A = Σ_s^-½ (Σ_s^½ Σ_t Σ_s^½)^½ Σ_s^-½.

    Args, Returns, Cost: as `coral`.
    Reduces to: the source itself where both have the same moments.
    Reference: Knott and Smith 1984; Flamary, Lounici and Ferrari 2019. Departure: shrunk covariances.
    """
    (mean, covariance), (wanted, shape) = moments(source), moments(target)
    root, inverse = power(covariance, 0.5), power(covariance, -0.5)
    mapped: np.ndarray = (source - mean) @ (inverse @ power(root @ shape @ root, 0.5) @ inverse) + wanted
    return mapped


def method() -> ClosedForm:
    """The probe on source rows with the target's mean and covariance."""
    return moved(lambda e: coral(e.source.x, e.near))


def transport_method() -> ClosedForm:
    """The probe on source rows moved by the linear optimal transport."""
    return moved(lambda e: linear_transport(e.source.x, e.near))
