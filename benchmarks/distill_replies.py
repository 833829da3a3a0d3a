"""A writer into half of its layers, and what its top 64 tokens keep of a teacher: parts of `distill`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import transfuse
from benchmarks.common import shared
from transfuse.backbones import loading
from transfuse.backbones import precision as arithmetic
from transfuse.data import Columns, read
from transfuse.data.examples import Examples
from transfuse.engine.divergences import soft_cross_entropy, soft_loss
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.taught import Taught
from transfuse.engine.teacher_store import bytes_per_token
from transfuse.engine.topk import TopK, draw, drawn_cross_entropy, topk_loss
from transfuse.engine.trunk import Trunk
from transfuse.evaluation import as_answers, compare, metric_intervals, ratio_interval
from transfuse.fitted.written import FittedWriter
from transfuse.methods.catalogue import method
from transfuse.tasks.writing import Writing

SMOLLM = "catalog:smollm2-135m-instruct"
ROWS, TEST, LAYERS, EPOCHS = 300, 60, 15, 3
TASK = Writing("generate", input="instruction", label="response", max_new_tokens=224)
STUDENT: dict[str, Any] = {"train_layers": "all", "epochs": EPOCHS, "learning_rate": 3e-4, "layer_decay": 1.0}
TEMPERATURES = (1.0, 2.0, 4.0)
K, DRAWS, TEXTS = 64, 64, 24


def _rows() -> tuple[Examples, Examples]:
    """Replies to learn from, and others."""
    path = str(shared("bitext_support", "support.csv"))
    whole = read(path, columns=Columns("instruction", "response", written=True), base=Path.cwd())
    order = np.random.default_rng(0).permutation(len(whole))
    return whole.take(order[:ROWS]), whole.take(order[ROWS : ROWS + TEST])


def _trunk(reference: str, train: Examples) -> Trunk:
    backbone = loading.load(reference)
    return Trunk(backbone, str(arithmetic.choose(backbone, list(train.texts[:16]), 256)["precision"]), 256)


def run() -> dict[str, Any]:
    """Adapted to replies, then into 15 of its 30 layers: with the teacher and without it."""
    train, test = _rows()
    seconds, answers, bits = {}, {}, {}
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        trunk = _trunk(SMOLLM, train)
        teacher = Engine(trunk, 0).fit(method("lora", "generate").plan(TASK, trunk.backbone, TransferData(train), 0))
        fields = {k: getattr(trunk.backbone, k) for k in ("reference", "revision", "licence", "family")}
        FittedWriter(TASK, teacher, method="lora", backbone={**fields, "resolved": SMOLLM}).save(Path(place) / "big")
        seconds["teacher"] = time.perf_counter() - began
        transfuse.shrink(Path(place) / "big", Path(place) / "small", layers=LAYERS)
        small = _trunk(str(Path(place) / "small"), train)
        nothing = np.empty(0, dtype=object)
        taught = {"big": Taught((), nothing, teacher, train, "big", str(Path(place) / "says"), trunk.precision)}
        paths = {"teacher": (teacher, trunk.precision)}
        for name, teachers in (("taught", taught), ("labels alone", {})):
            began = time.perf_counter()
            given = TransferData(train, teachers=teachers)
            job = method("distill", "generate").plan(TASK, small.backbone, given, 0, **STUDENT)
            paths[name] = (Engine(small, 0).fit(job), small.precision)
            seconds[name] = time.perf_counter() - began
            print(name, round(seconds[name]), flush=True)
        for name, (path, precision) in paths.items():
            bits[name] = path.bits(test.texts, test.labels or (), precision)
            answers[name] = as_answers(path.answers(test.texts, precision))
            print(name, bits[name].sum(0), answers[name][:2], flush=True)
    expected = TASK.encode(test)
    return {
        "rows": len(test),
        "learnt": len(train),
        "bits": {name: ratio_interval(found, seed=0).to_dict() for name, found in bits.items()},
        "bits_gained": _fewer(bits["labels alone"], bits["taught"]),
        "chrf": {
            name: metric_intervals(expected, found, seed=0, names=["chrf"])["chrf"].to_dict()
            for name, found in answers.items()
        },
        "chrf_gained": compare(expected, answers["taught"], answers["labels alone"], metric="chrf", seed=0).to_dict(),
        "seconds": {name: round(s, 1) for name, s in seconds.items()},
    }


def _fewer(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Bits a byte that are saved, with a paired bootstrap interval over texts."""
    chosen = np.random.default_rng(0).integers(0, len(before), (2000, len(before)))

    def rate(found: np.ndarray) -> np.ndarray:
        return found[chosen, 0].sum(1) / found[chosen, 1].sum(1)

    gained = rate(before) - rate(after)
    low, high = np.quantile(gained, [0.025, 0.975])
    value = before[:, 0].sum() / before[:, 1].sum() - after[:, 0].sum() / after[:, 1].sum()
    return {"value": float(value), "low": float(low), "high": float(high)}


@torch.no_grad()
def storage() -> dict[str, Any]:
    """The loss of a student equal to its teacher, and how far another's is from the dense one, on real replies."""
    train, _ = _rows()
    pairs = (train.texts[:TEXTS], train.labels[:TEXTS] if train.labels else ())
    big = loading.load(SMOLLM)
    with tempfile.TemporaryDirectory() as place:
        transfuse.shrink(SMOLLM, Path(place) / "student", layers=28)
        other = loading.load(str(Path(place) / "student"))
    rows = [big.tokenizer(f"{a}\n{b}")["input_ids"][:96] for a, b in zip(*pairs, strict=True)]
    told: dict[str, Any] = {"bytes_a_token": bytes_per_token(K, big.network().config.vocab_size), "k": K}
    told["tokens"] = sum(map(len, rows))
    sums: dict[str, np.ndarray] = {}
    for row in rows:
        ids = torch.tensor([row])
        mine, theirs = (b.network()(input_ids=ids).logits[0].float() for b in (big, other))
        ones = torch.ones(len(row))
        kept = TopK.of(mine, K, TEMPERATURES)
        for t in TEMPERATURES:
            generator = torch.Generator().manual_seed(0)
            drawn = draw(mine, DRAWS, generator, t)
            entropy = soft_cross_entropy(mine, mine, ones, t)
            found = [
                topk_loss(mine, kept, ones, t),
                topk_loss(theirs, kept, ones, t),
                soft_loss(theirs, mine, ones, t),
                drawn_cross_entropy(theirs, drawn, ones) - entropy,
                torch.softmax(mine / t, 1).topk(K, 1).values.sum(1).mean(),
            ]
            sums[f"{t:g}"] = sums.get(f"{t:g}", 0) + np.array([float(x) for x in found]) * len(row)
    names = ("equal", "top_k", "dense", "drawn", "mass")
    told["at"] = {t: dict(zip(names, (found / told["tokens"]).tolist(), strict=True)) for t, found in sums.items()}
    return told
