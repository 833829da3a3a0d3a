"""N roles that choose labels on one trunk beside N models of their own: time of answering, memory of the weights."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import clinc
from benchmarks.common import keep
from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.fitted.head import HeadPath
from transfuse.fitted.model import remember
from transfuse.fitted.paths import build
from transfuse.fitted.shared import SharedTrunk
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify

MINILM = "catalog:minilm-l6"
ROLES, DIFFERENT = (1, 2, 4, 8, 16), 4
ROWS, TEXTS, REPEATS = 400, 600, 3
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "heads": ("probe", {"layers": [6], "poolings": ["mean"]}),
    "own upper 2 of 6 layers": ("finetune", {"train_layers": 2, "epochs": 1, "label_words": False}),
    "LoRA on the upper 2 of 6 layers": ("lora", {"train_layers": 2, "epochs": 1}),
}


def run() -> None:
    """Each kind for each number of roles; the answers are the same on both sides."""
    started = time.perf_counter()
    rows = clinc.read("train.csv")
    trunk = clinc.trunk(MINILM, rows)
    texts = [text for text, _, _ in clinc.read("test.csv")[:TEXTS]]
    told = {}
    for kind, (name, settings) in KINDS.items():
        paths = [_role(trunk, rows, number, name, settings) for number in range(DIFFERENT)]
        paths = [_again(path, trunk.backbone) for path in paths for _ in range(max(ROLES) // DIFFERENT)]
        told[kind] = [_one(trunk.backbone, paths[:: max(len(paths) // n, 1)][:n], texts) for n in ROLES]
        print(kind, [(t["roles"], round(t["apart"] / t["together"], 2)) for t in told[kind]], flush=True)
    keep("team_cost", "python -m benchmarks team_cost", started, kinds=told, texts=TEXTS)


def _role(trunk: Any, rows: list[clinc.Row], number: int, name: str, settings: dict[str, Any]) -> HeadPath:
    """A role of its own task: intents in groups, in another way for each number."""
    chosen = [rows[i] for i in np.random.default_rng(number).permutation(len(rows))[:ROWS]]
    known = {intent: f"group {i % (5 + number)}" for i, intent in enumerate(sorted({row[1] for row in rows}))}
    examples = Examples(tuple(text for text, _, _ in chosen), tuple(known[intent] for _, intent, _ in chosen))
    task = Classify(tuple(sorted(set(known.values()))))
    job = method(name).plan(task, trunk.backbone, TransferData(examples), number, **settings)
    path: HeadPath = Engine(trunk, len(task.labels)).fit(job)
    return path


def _again(path: HeadPath, backbone: Backbone) -> HeadPath:
    """The same model with layers of its own."""
    found = build(path.describe(), path.tensors(), remember(backbone))
    assert isinstance(found, HeadPath)
    return found


def _one(backbone: Backbone, paths: list[HeadPath], texts: list[str]) -> dict[str, Any]:
    shared = SharedTrunk(backbone)
    for path in paths:
        shared.add(path)
    every = [(path, text) for path in paths for text in texts]

    def together() -> np.ndarray:
        shared.forget()
        return np.concatenate(shared.log_probabilities([p for p, _ in every], [t for _, t in every]))

    def apart() -> np.ndarray:
        return np.concatenate([row for path in paths for row in path.log_probabilities(texts)])

    seconds: dict[str, list[float]] = {"together": [], "apart": []}
    found: dict[str, np.ndarray] = {}
    for turn in range(REPEATS + 1):  # the first warms up
        for name, work in (("together", together), ("apart", apart)):
            start = time.perf_counter()
            found[name] = work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    own = sum(path.trainable_parameters for path in paths)
    return {
        "roles": len(paths),
        **{name: min(times) for name, times in seconds.items()},
        "difference": float(np.abs(found["together"] - found["apart"]).max()),
        "memory": (backbone.parameters + own) / backbone.parameters,
    }
