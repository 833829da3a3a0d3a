"""What models of all kinds answer, how sure each is of it, and by what a model is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.errors import ModelError
from transfuse.fitted.base import Fitted


def says(path: Any, texts: Sequence[str], precision: str = "fp32", order: np.ndarray | None = None) -> np.ndarray:
    """What a path says of N texts.

    Args:
        path: anything with ``log_probabilities(texts, precision)`` or ``answers(texts, precision)``.
        texts: N texts, at least one.
        precision: of the arithmetic.
        order: positions of the wanted labels among the path's own, or None where they are the same; the probabilities
            of labels that are not wanted are shared out.

    Returns:
        Log-probabilities float64 [N, C], or written answers, object [N].
    """
    if hasattr(path, "answers"):
        answers: np.ndarray = path.answers(texts, precision)
        return answers
    found = np.asarray(path.log_probabilities(texts, precision))
    if order is not None:
        found = found[:, order]
        found = found - np.logaddexp.reduce(found, axis=1, keepdims=True)
    return found


def says_surely(path: Any, texts: Sequence[str], precision: str = "fp32") -> tuple[np.ndarray, np.ndarray]:
    """What a path says of N texts, as `says`, and how sure it is of each answer, float64 [N].

    Of labels that is the largest probability, calibrated as the model was fitted; of written answers the mean
    log-likelihood of their tokens, which is at most 0.

    Raises:
        ModelError: answers come from something that has no likelihood, such as a look-up.

    Cost: of written answers a pass over requests and answers beside the writing.
    """
    found = says(path, texts, precision)
    if found.dtype != object:
        return found, np.exp(found.max(axis=1))
    if not hasattr(path, "sureness"):
        raise ModelError(
            f"a path of kind '{path.kind}' does not say how sure it is of an answer",
            expected="a classifier, or a decoder that writes",
            remedy="Take a student that was fitted by prompt, finetune, lora or distill.",
        )
    return found, path.sureness(texts, list(found), precision)


def order_of(known: Sequence[str], wanted: Sequence[str], who: str) -> np.ndarray | None:
    """Positions of the wanted labels among those that a model knows; None where both are the same.

    Raises:
        ModelError: a label that the model does not know; ``who`` names the model.
    """
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise ModelError(
            f"{who} does not know the label '{unknown[0]}'; it knows {', '.join(known[:8])}",
            expected=f"a model of all labels of the student: {', '.join(wanted[:8])}",
            remedy="Name another model, or fit both on labels of the same names.",
        )
    return None if list(known) == list(wanted) else np.array([list(known).index(label) for label in wanted])


def fingerprint(model: Fitted[Any, Any]) -> str:
    """SHA-256 of all that decides a model's answers: its path, its numbers, its labels, the backbone's content."""
    about = [model.path.describe(), list(model.task.labels), model.backbone.get("revision", "")]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    tensors = model.path.tensors()
    for name in sorted(tensors):
        digest.update(name.encode() + np.ascontiguousarray(tensors[name].detach().float().cpu().numpy()).tobytes())
    return digest.hexdigest()
