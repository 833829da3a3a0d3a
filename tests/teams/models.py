"""Tiny fitted models as folders, for roles: heads, upper layers and LoRA adapters on one backbone, and writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch

from transfuse.backbones import adapters
from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.fitted import FittedModel, FittedWriter
from transfuse.fitted.head import Head, HeadPath
from transfuse.fitted.model import known
from transfuse.fitted.writer import WriterPath
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import Writing

TEMPLATE = "Request: {text}\nIntent:"
LIMIT = 96


def chooses(
    labels: tuple[str, ...], seed: int, *, layer: int = 3, cut: int | None = None, rank: int = 0, family: str = "llama"
) -> FittedModel:
    """A head that was drawn by the seed; with ``cut`` on layers of its own, with ``rank`` on LoRA adapters."""
    backbone = known(tiny.load(family))
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(len(labels), tiny.WIDTH))
    settings = {"rank": rank, "alpha": 2 * rank, "dropout": 0.1} if rank else None
    trained = None
    if cut is not None:
        trained = backbone.segment(cut, layer, own=True, shared=bool(settings), states=True)
        if settings:
            adapters.add(trained, settings, seed=seed)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for parameter in trained.parameters():
                if parameter.requires_grad:
                    parameter += 0.1 * torch.randn_like(parameter)
        trained.eval()
    own: dict[str, Any] = {"cut": cut, "trained": trained, "adapter": settings}
    path = HeadPath(
        lambda: backbone,
        layer=layer,
        pooling="last",
        template=TEMPLATE,
        limit=LIMIT,
        head=Head.plain(0.3 * weight, np.zeros(len(labels))),
        **own,
    )
    return FittedModel(
        Classify(labels, template=TEMPLATE, max_tokens=LIMIT), path, method="probe", backbone=about(family)
    )


def writes(seed: int = 0, *, rank: int = 0, tokens: int = 12, family: str = "llama") -> FittedWriter:
    """A decoder with or without a LoRA adapter on its last layer."""
    backbone = known(tiny.load(family))
    settings = {"rank": rank, "alpha": 2 * rank, "dropout": 0.0} if rank else None
    trained, cut = None, tiny.LAYERS - 1
    if settings:
        trained = backbone.segment(cut, tiny.LAYERS, own=True, shared=True, states=True)
        adapters.add(trained, settings, seed=seed)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for parameter in trained.parameters():
                if parameter.requires_grad:
                    parameter += 0.2 * torch.randn_like(parameter)
        trained.eval()
    path = WriterPath(
        lambda: backbone,
        form=Form.plain("Request: {text}\nReply:"),
        decoding=Decoding(tokens),
        limit=LIMIT,
        cut=cut if rank else 0,
        trained=trained,
        adapter=settings,
    )
    return FittedWriter(Writing("generate"), path, method="lora" if rank else "prompt", backbone=about(family))


def about(family: str) -> dict[str, Any]:
    backbone = tiny.load(family)
    place = {"reference": backbone.reference, "resolved": str(backbone.folder)}
    return {**place, "revision": backbone.revision, "licence": "", "family": family}


def write_team(folder: Path, text: str, **models: Any) -> Path:
    """A folder with a team's file and its fitted models."""
    for name, model in models.items():
        model.save(folder / name)
    file = folder / "team.yaml"
    file.write_text(text, encoding="utf-8")
    return file
