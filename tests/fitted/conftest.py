"""A fitted model of every kind of path, made by hand on tiny backbones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from remote_place import opened, own

from transfuse.backbones import adapters
from transfuse.backbones.tokens import States
from transfuse.fitted import FittedModel
from transfuse.fitted.ensemble import EnsemblePath
from transfuse.fitted.head import Head, HeadPath, unit
from transfuse.fitted.model import remember
from transfuse.fitted.prompted import PromptPath
from transfuse.fitted.text import Majority, Tfidf, vectorizer
from transfuse.tasks.classify import Classify

__all__ = ["opened", "own"]

TEXTS = [
    "the good, the bad",
    "x",
    "a somewhat longer text about the good and the bad of it",
    "wörld 好的 {text}",
    " the bad\nafter a line ",
    "the good and the bad " * 20,  # too long for the limit
]
TEMPLATE = "Review: {text}\nSentiment:"
SHOTS = "Review: the good\nSentiment: good\n\nReview: bad\nSentiment: the bad\n\n"
TASK = Classify(("positive", "negative", "neutral"), template=TEMPLATE, max_tokens=96)
LIMIT = TASK.max_tokens


def head(*, normalise: bool = False) -> Head:
    generator = np.random.default_rng(0)
    weight, bias = (generator.normal(size=s).astype(np.float32) for s in ((3, tiny.WIDTH), 3))
    return Head(np.zeros(tiny.WIDTH, np.float32), np.ones(tiny.WIDTH, np.float32), 0.5 * weight, 0.2 * bias, normalise)


def scaled(path: HeadPath) -> HeadPath:
    """The head standardises the features of the texts, so that no text's answer is certain."""
    states = States.of_ids(path.backbone.tokens(TEXTS, path.template, path.limit))
    features = path.backbone.pooled(path.whole(), states, path.pooling)
    features = unit(features) if path.head.normalise else features
    path.head = dataclasses.replace(path.head, mean=features.mean(0), scale=features.std(0) + 1e-3)
    return path


def shaken(segment: Any) -> Any:
    """What training would do: everything that requires gradients has moved."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for parameter in segment.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return segment


def tuned(
    family: str, layer: int, cut: int, pooling: str, *, lora: bool = False, ids: bool = False, **other: Any
) -> Any:
    backbone = tiny.load(family)
    segment = backbone.segment(cut, layer, own=True, states=not ids)
    settings = {"rank": 2, "alpha": 4, "dropout": 0.1} if lora else None
    if settings:
        adapters.add(segment, settings, seed=0)
    fields = {"template": None, "head": head(), "limit": LIMIT, **other}
    trained = shaken(segment).eval()
    own = {"cut": cut, "trained": trained, "adapter": settings}
    return scaled(HeadPath(remember(backbone), layer=layer, pooling=pooling, **own, **fields))


def probed(family: str, layer: int, pooling: str, **other: Any) -> HeadPath:
    fields = {"template": None, "head": head(), "limit": LIMIT, **other}
    return scaled(HeadPath(remember(tiny.load(family)), layer=layer, pooling=pooling, **fields))


def prompted(family: str, prefix: str) -> PromptPath:
    words = ("good", "the bad", "b")
    return PromptPath(
        remember(tiny.load(family)),
        prefix=prefix,
        template=TEMPLATE,
        words=words,
        limit=LIMIT,
        bias=None,
        temperature=1.5,
    )


def tfidf() -> Tfidf:
    words = vectorizer()
    words.fit(TEXTS)
    generator = np.random.default_rng(0)
    weight, bias = generator.normal(size=(3, len(words.idf_))), generator.normal(size=3)
    return Tfidf({t: int(i) for t, i in words.vocabulary_.items()}, words.idf_, weight, bias, temperature=0.7)


PATHS: dict[str, tuple[str, Callable[[], Any]]] = {
    "majority": ("", lambda: Majority(np.log([0.5, 0.3, 0.2]), temperature=1.3)),
    "tfidf": ("", tfidf),
    "encoder probe": ("bert", lambda: probed("bert", 2, "mean", temperature=1.7)),
    "encoder probe, first token": ("distilbert", lambda: probed("distilbert", 3, "first", template="query: {text}")),
    "decoder probe": ("gpt2", lambda: probed("gpt2", 2, "last", template=TEMPLATE)),
    "encoder finetune, cosine": ("roberta", lambda: tuned("roberta", 3, 1, "mean", head=head(normalise=True))),
    "encoder finetune, all": ("electra", lambda: tuned("electra", 3, 0, "mean", ids=True)),
    "decoder finetune": ("llama", lambda: tuned("llama", 2, 1, "last", template=TEMPLATE, temperature=0.6)),
    "decoder finetune, all": ("gpt2", lambda: tuned("gpt2", 3, 0, "last", ids=True, template=TEMPLATE)),
    "encoder lora": ("bert", lambda: tuned("bert", 3, 1, "mean", lora=True)),
    "decoder lora": ("gpt2", lambda: tuned("gpt2", 3, 1, "last", lora=True, template=TEMPLATE)),
    "sliding lora": ("gemma3_text", lambda: tuned("gemma3_text", 3, 1, "mean", lora=True, template=TEMPLATE)),
    "ensemble": (
        "bert",
        lambda: EnsemblePath(
            [probed("bert", 2, "mean"), tuned("bert", 3, 1, "mean", lora=True)], temperature=0.8, weights=[0.3, 0.7]
        ),
    ),
    "zero-shot prompt": ("gpt2", lambda: prompted("gpt2", "")),
    "few-shot prompt": ("llama", lambda: prompted("llama", SHOTS)),
    "sliding prompt": ("gemma3_text", lambda: prompted("gemma3_text", SHOTS)),
}
"""Name -> family of the backbone, and the path."""


def build(name: str, card: str = "") -> FittedModel:
    family, make = PATHS[name]
    about: dict[str, Any] = {}
    if family:
        backbone = tiny.load(family)
        place = {"reference": backbone.reference, "resolved": str(backbone.folder)}
        about = {**place, "revision": backbone.revision, "licence": "", "family": family}
    made = {"columns": {"input": "text", "label": "label"}, "study": "tiny"}
    return FittedModel(TASK, make(), method=name.split(",")[0], backbone=about, made=made, card=card)


@pytest.fixture(scope="session")
def model() -> Callable[..., FittedModel]:
    """`build`, for the tests."""
    return build
