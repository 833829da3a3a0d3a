"""Few-shot classification end to end: 77 classes, eight examples each."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from benchmarks.peers import data
from benchmarks.peers.clock import folder, timed

WORK = "few-shot classification end to end: 77 classes, 8 examples each, minilm-l6"
SHOTS, STEPS = 8, 300


def ours(method: str) -> dict[str, Any]:
    """`TransferClassifier` with a method's defaults."""
    from transfuse import TransferClassifier

    (texts, labels), (test_texts, test_labels) = data.intents(SHOTS)
    model = TransferClassifier("catalog:minilm-l6", method, precision="auto")
    model._backbone()  # loading is timed on neither side
    seconds, _ = timed(lambda: model.fit(texts, labels))
    return {"seconds": seconds, "accuracy": float((model.predict(test_texts) == np.array(test_labels)).mean())}


def setfit(*, best: bool) -> dict[str, Any]:
    """SetFit with its defaults and 300 steps; ``best``: bf16."""
    import datasets
    from setfit import SetFitModel, Trainer, TrainingArguments

    (texts, labels), (test_texts, test_labels) = data.intents(SHOTS)
    model = SetFitModel.from_pretrained(str(folder("minilm-l6")), device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch, max_steps=STEPS, use_amp=best, report_to="none", save_strategy="no", seed=0
        )
        rows = datasets.Dataset.from_dict({"text": texts, "label": labels})
        seconds, _ = timed(lambda: Trainer(model=model, args=arguments, train_dataset=rows).train())
    found = np.array(model.predict(test_texts))
    return {"seconds": seconds, "accuracy": float((found == np.array(test_labels)).mean())}


SIDES = {
    "transfuse, finetune": lambda: ours("finetune"),
    "transfuse, probe": lambda: ours("probe"),
    "SetFit, 300 steps": lambda: setfit(best=False),
}
