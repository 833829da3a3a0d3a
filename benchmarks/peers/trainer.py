"""transformers' Trainer as its users call it, and at its best here: bf16, batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def rows(tokenizer: Any, names: Sequence[str], texts: list[str], labels: list[str]) -> Any:
    """A data set of token ids and label numbers."""
    import datasets

    ids = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
    return datasets.Dataset.from_dict({"input_ids": ids, "labels": [names.index(x) for x in labels]})


def trained(
    scratch: str, model: Any, tokenizer: Any, found: Any, *, epochs: int, batch: int, rate: float, best: bool
) -> Any:
    """A Trainer that has trained ``model`` on the rows ``found``."""
    import transformers

    arguments = transformers.TrainingArguments(
        scratch,
        num_train_epochs=epochs,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=64,
        learning_rate=rate,
        warmup_steps=0.1,
        bf16=best,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
        **({"train_sampling_strategy": "group_by_length"} if best else {}),
    )
    made = transformers.Trainer(
        model, arguments, train_dataset=found, data_collator=transformers.DataCollatorWithPadding(tokenizer)
    )
    made.train()
    return made


def accuracy(made: Any, found: Any) -> float:
    """Of a Trainer on the rows ``found``."""
    answers = made.predict(found)  # its order is that of its own batches
    return float((answers.predictions.argmax(1) == answers.label_ids).mean())
