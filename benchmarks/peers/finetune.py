"""The top two of six layers, 770 short texts, 77 classes, ten epochs in batches of 16."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from benchmarks.peers import data
from benchmarks.peers.clock import folder, timed
from benchmarks.peers.trainer import accuracy, rows, trained

WORK = "fine-tune the top 2 of 6 layers of minilm-l6: 770 short texts, 77 classes, 10 epochs, batch 16"
EPOCHS, BATCH, LAYERS, SHOTS = 10, 16, 2, 10
RATE = 5e-4
"""Peak learning rate of both sides; at the Trainer's own default of 5e-5 its accuracy is lower."""


def ours(precision: str) -> dict[str, Any]:
    """`TransferClassifier` with the layers, epochs, batches and rows of the work; the rest as it comes."""
    from transfuse import TransferClassifier

    (texts, labels), (test_texts, test_labels) = data.intents(SHOTS)
    settings = {"train_layers": LAYERS, "epochs": EPOCHS, "batch_size": BATCH, "learning_rate": RATE}
    settings["label_words"] = False  # they would be rows that the peer does not have
    model = TransferClassifier("catalog:minilm-l6", "finetune", settings, precision=precision)
    model._backbone()  # loading is timed on neither side
    seconds, _ = timed(lambda: model.fit(texts, labels))
    return {"seconds": seconds, "accuracy": float((model.predict(test_texts) == np.array(test_labels)).mean())}


def trainer(*, best: bool) -> dict[str, Any]:
    """transformers' Trainer, embeddings and lower layers frozen; ``best``: bf16 and batches of similar length."""
    import transformers

    (texts, labels), (test_texts, test_labels) = data.intents(SHOTS)
    names = sorted(set(labels))
    path = folder("minilm-l6")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    transformers.set_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=len(names))
    frozen = [model.bert.embeddings, *model.bert.encoder.layer[:-LAYERS]]
    for module in frozen:
        module.requires_grad_(False)

    with tempfile.TemporaryDirectory() as scratch:
        seconds, made = timed(
            lambda: trained(
                scratch,
                model,
                tokenizer,
                rows(tokenizer, names, texts, labels),
                epochs=EPOCHS,
                batch=BATCH,
                rate=RATE,
                best=best,
            )
        )
        return {"seconds": seconds, "accuracy": accuracy(made, rows(tokenizer, names, test_texts, test_labels))}


SIDES = {
    "transfuse": lambda: ours("auto"),
    "transfuse, fp32": lambda: ours("fp32"),
    "Trainer": lambda: trainer(best=False),
    "Trainer, bf16, grouped by length": lambda: trainer(best=True),
}
