"""Shrinking: a smaller backbone out of a backbone, or out of a fitted model with what it has learnt."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from transfuse.backbones import loading
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.shrinking import spread, write_shrunk
from transfuse.errors import UsageError
from transfuse.fitted import artifact
from transfuse.fitted.artifact import placed
from transfuse.fitted.model import load

MARK = "shrunk.json"
"""By which a folder is known as one of ours, and may be replaced by another."""


def shrink(model: str | Path, out: str | Path, *, layers: int, heads: int | None = None) -> dict[str, Any]:
    """Write a smaller backbone with some of a model's layers, evenly spread: a student that starts from its teacher.

    Args:
        model: a backbone's reference, or a fitted model's folder, whose trained layers and adapters come along.
        out: the new folder; recipes name it among their backbones.
        layers: how many stay.
        heads: groups of attention heads that stay in each layer; by default all.

    Returns:
        ``layers`` that stay, ``parameters`` before and after.

    Raises:
        UsageError: more layers than there are, or none.
        ModelError, BackboneError: what cannot be read, or not be shrunk.
        OutputError: the place cannot be written.

    Example:
        >>> transfuse.shrink("runs/big/model", "students/half", layers=15)  # doctest: +SKIP
    """
    with tempfile.TemporaryDirectory() as scratch:
        backbone = _whole(model, Path(scratch) / "whole")
        if not 0 < layers <= backbone.layers:
            raise UsageError(
                f"--layers {layers}",
                expected=f"from 1 to {backbone.layers}, the layers of {model}",
                remedy="Choose fewer.",
            )
        keep = spread(backbone.layers, layers)
        with placed(Path(out), MARK) as folder:
            write_shrunk(backbone, folder, keep, heads)
            after = loading.load(str(folder)).parameters
            told = {"from": str(model), "layers": keep, "heads": heads, "parameters": [backbone.parameters, after]}
            (folder / MARK).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return told


def _whole(model: str | Path, scratch: Path) -> Backbone:
    """A backbone, with what a fitted model has learnt in its place."""
    folder = Path(model)
    if not (folder / artifact.MANIFEST).exists():
        return loading.load(str(model))
    load(folder).bundle(scratch)
    return loading.load(str(scratch))
