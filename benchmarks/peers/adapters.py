"""Four LoRA adapters for four tasks on one backbone, the same rows on both sides.

"The same batch" can be read in two ways, so both are measured: 16 rows a pass in all (4 of each task, so four times the
steps of each adapter), and 16 rows of each task a pass (each adapter takes the steps that the peer's takes).
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from benchmarks.peers import data
from benchmarks.peers.clock import folder, memory_mib, timed
from benchmarks.peers.trainer import accuracy, rows, trained

WORK = (
    "4 LoRA adapters (rank 8, upper 4 of 6 layers of minilm-l6) for 4 tasks of 512 sentences, 4 epochs, "
    "16 rows a step of the peer"
)
NAMES = ("vader-amazon-reviews", "vader-movie-reviews", "vader-tweets", "vader-nyt")
ROWS, TEST, EPOCHS, BATCH, LAYERS, RANK, RATE = 512, 500, 4, 16, 4, 8, 1e-3


def ours(size: int, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """`Engine.fit_all`: one pass over a batch that is a slice of ``size`` rows for each adapter.

    The rate falls with the square root of the rows of a step (Krizhevsky 2014), a rule and not a search.
    """
    from transfuse.backbones import loading
    from transfuse.backbones import precision as arithmetic
    from transfuse.data import Examples
    from transfuse.engine.fit import Engine
    from transfuse.engine.jobs import TransferData
    from transfuse.engine.trunk import Trunk
    from transfuse.methods.catalogue import method
    from transfuse.tasks.classify import Classify

    backbone = loading.load("catalog:minilm-l6")
    tasks = [data.sentiment(name, ROWS, TEST) for name in names]
    task = Classify(("negative", "positive"))
    rate = RATE * (size / BATCH) ** 0.5
    settings = {"rank": RANK, "train_layers": LAYERS, "epochs": EPOCHS, "learning_rate": rate, "batch_size": size}

    def work() -> Any:
        texts = tasks[0][0][0][:64]
        chosen = str(arithmetic.choose(backbone, texts, 256)["precision"])
        engine = Engine(Trunk(backbone, chosen, 256), 2)
        targets = [TransferData(Examples(tuple(texts), tuple(labels))) for (texts, labels), _ in tasks]
        jobs = [method("lora").plan(task, backbone, target, 0, **settings) for target in targets]
        return engine, engine.fit_all(jobs)

    seconds, (engine, paths) = timed(work)
    memory = memory_mib()
    right = [
        float((engine.predict(path, texts).argmax(1) == np.searchsorted(task.labels, labels)).mean())
        for path, (_, (texts, labels)) in zip(paths, tasks, strict=True)
    ]
    return {"seconds": seconds, "accuracy": float(np.mean(right)), "memory_mib": memory}


def peer(*, best: bool) -> dict[str, Any]:
    """peft with transformers' Trainer, one task after another; ``best``: bf16 and batches of similar length."""
    import peft
    import transformers

    path = folder("minilm-l6")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    tasks = [data.sentiment(name, ROWS, TEST) for name in NAMES]
    classes = ["negative", "positive"]

    def one(scratch: str, texts: list[str], labels: list[str]) -> tuple[float, Any]:
        transformers.set_seed(0)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=2)
        config = peft.LoraConfig(
            task_type="SEQ_CLS",
            r=RANK,
            lora_alpha=2 * RANK,
            target_modules=["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"],
            layers_to_transform=list(range(6 - LAYERS, 6)),
            layers_pattern="layer",
        )
        adapted = peft.get_peft_model(model, config)

        def work() -> Any:
            found = rows(tokenizer, classes, texts, labels)
            return trained(scratch, adapted, tokenizer, found, epochs=EPOCHS, batch=BATCH, rate=RATE, best=best)

        return timed(work)

    with tempfile.TemporaryDirectory() as scratch:
        seconds, made = zip(*[one(scratch, *train) for train, _ in tasks], strict=True)
        memory = memory_mib()
        right = [accuracy(m, rows(tokenizer, classes, *test)) for m, (_, test) in zip(made, tasks, strict=True)]
    return {"seconds": sum(seconds), "accuracy": float(np.mean(right)), "memory_mib": memory}


SIDES = {
    "transfuse, side by side, 16 rows a pass": lambda: ours(BATCH // len(NAMES)),
    "transfuse, side by side, 64 rows a pass": lambda: ours(BATCH),
    "transfuse, one adapter alone": lambda: ours(BATCH, NAMES[:1]),
    "peft and Trainer": lambda: peer(best=False),
    "peft and Trainer, bf16, grouped by length": lambda: peer(best=True),
}
