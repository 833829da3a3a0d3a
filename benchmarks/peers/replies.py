"""Adapters that learn 64 support replies of some 176 tokens, one pass, the same batches' size on both sides."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import shared
from benchmarks.peers.clock import folder, timed

WORK = "LoRA (rank 8, every linear layer) of smollm2-135m-instruct on 64 support replies, one pass, 4 a step"
NAME, ROWS, TEST, BATCH, RANK, RATE = "smollm2-135m-instruct", 64, 16, 4, 8, 1e-3
HALF = 15
"""Of its 30 layers, the upper ones that learn where the lower half is frozen."""
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def pairs() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Requests and replies to learn from, and others."""
    with shared("bitext_support", "support.csv").open(encoding="utf-8", newline="") as stream:
        rows = [(row["instruction"], row["response"]) for row in csv.DictReader(stream)]
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[i] for i in order[:ROWS]], [rows[i] for i in order[ROWS : ROWS + TEST]]


def _ids(tokenizer: Any, request: str, reply: str) -> tuple[list[int], list[int]]:
    """A request in the model's chat template, and its reply with the token that ends the turn."""
    turns = [{"role": "user", "content": request}]
    shown = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(shown, add_special_tokens=False)["input_ids"]
    return ids, [*tokenizer(reply, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def _figures(seconds: float, network: Any, tokenizer: Any, epochs: int = 1) -> dict[str, Any]:
    """Tokens a second, requests and replies alike, and the mean loss of other replies' tokens, by transformers."""
    import torch

    learnt, others = pairs()
    tokens = epochs * sum(len(a) + len(b) for a, b in (_ids(tokenizer, *pair) for pair in learnt))
    total, count = 0.0, 0
    with torch.inference_mode():
        for pair in others:
            request, reply = _ids(tokenizer, *pair)
            logits = network(input_ids=torch.tensor([[*request, *reply]])).logits[0, len(request) - 1 : -1].float()
            total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(reply), reduction="sum"))
            count += len(reply)
    return {"seconds": seconds, "tokens_per_second": tokens / seconds, "loss": total / count}


def ours(layers: int | str, precision: str, epochs: int = 1) -> dict[str, Any]:
    """`lora`, what its states cost included."""
    from transfuse.backbones import loading
    from transfuse.data import Examples
    from transfuse.engine.fit import Engine
    from transfuse.engine.jobs import TransferData
    from transfuse.engine.trunk import Trunk
    from transfuse.methods.catalogue import method
    from transfuse.tasks.writing import Writing

    backbone = loading.load(f"catalog:{NAME}")
    backbone.network(precision)
    requests, replies = zip(*pairs()[0], strict=True)
    task, target = Writing("generate", max_new_tokens=400), Examples(tuple(requests), tuple(replies))

    def work() -> Any:
        job = method("lora", "generate").plan(
            task,
            backbone,
            TransferData(target),
            0,
            rank=RANK,
            train_layers=layers,
            epochs=epochs,
            batch_size=BATCH,
            learning_rate=RATE,
        )
        return Engine(Trunk(backbone, precision, 256), 0).fit(job)

    seconds, path = timed(work)
    return _figures(seconds, path.writer("fp32").network, backbone.tokenizer, epochs)


def peer(*, low: bool, epochs: int = 1) -> dict[str, Any]:
    """trl's SFTTrainer with a peft configuration, its loss on the replies alone."""
    import datasets
    import peft
    import transformers
    import trl

    path = folder(NAME)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    rows = [
        {"prompt": [{"role": "user", "content": a}], "completion": [{"role": "assistant", "content": b}]}
        for a, b in pairs()[0]
    ]
    with tempfile.TemporaryDirectory() as scratch:
        transformers.set_seed(0)
        model = transformers.AutoModelForCausalLM.from_pretrained(path)
        arguments = trl.SFTConfig(
            output_dir=str(Path(scratch)),
            per_device_train_batch_size=BATCH,
            num_train_epochs=epochs,
            learning_rate=RATE,
            warmup_steps=2,
            bf16=low,
            use_cpu=True,
            completion_only_loss=True,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            seed=0,
        )
        config = peft.LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules=LINEAR)
        trainer = trl.SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=config,
        )
        seconds, _ = timed(trainer.train)
        network = trainer.model.merge_and_unload().float().eval()
    return _figures(seconds, network, tokenizer, epochs)


SIDES = {
    "transfuse": lambda: ours("all", "fp32"),
    "transfuse, bf16": lambda: ours("all", "bf16"),
    "transfuse, lower half frozen": lambda: ours(HALF, "fp32"),
    "transfuse, lower half frozen, bf16": lambda: ours(HALF, "bf16"),
    "trl SFTTrainer": lambda: peer(low=False),
    "trl SFTTrainer, bf16": lambda: peer(low=True),
}
