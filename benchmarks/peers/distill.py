"""A decoder of 15 layers learns from one of 30, token by token, on 64 support replies: the same pair on both sides."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.clock import folder, timed
from benchmarks.peers.replies import BATCH, NAME, _figures, pairs

WORK = "smollm2-135m-instruct into 15 of its layers, forward KL at T = 1 on 64 support replies, three passes, 4 a step"
LAYERS, RATE, EPOCHS = 15, 2e-4, 3


def student() -> Path:
    """The student before it learns, made once."""
    import transfuse
    from transfuse.data import cache_root

    place = cache_root() / "benchmarks" / f"{NAME}-{LAYERS}"
    if not (place / "config.json").exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        transfuse.shrink(f"catalog:{NAME}", place, layers=LAYERS)
    return place


def ours(precision: str) -> dict[str, Any]:
    """`distill`, the teacher's pass included."""
    from transfuse.backbones import loading
    from transfuse.backbones.form import Form
    from transfuse.data import Examples
    from transfuse.engine.fit import Engine
    from transfuse.engine.jobs import TransferData
    from transfuse.engine.taught import Taught
    from transfuse.engine.trunk import Trunk
    from transfuse.fitted.model import remember
    from transfuse.fitted.writer import WriterPath
    from transfuse.methods.catalogue import method
    from transfuse.methods.pairs import decoding_of, pairs_of
    from transfuse.tasks.writing import Writing

    big, small = loading.load(f"catalog:{NAME}"), loading.load(str(student()))
    for backbone in (big, small):
        backbone.network(precision)
    requests, replies = zip(*pairs()[0], strict=True)
    task, target = Writing("generate", max_new_tokens=400), Examples(tuple(requests), tuple(replies))
    form = Form.chat(big.tokenizer, [])
    decoding = decoding_of(task, big, form, pairs_of(target, target=True), 1, None)
    teacher = WriterPath(remember(big), form=form, decoding=decoding, limit=256)

    def work() -> Any:
        with tempfile.TemporaryDirectory() as place:  # so that the teacher is asked anew each time
            taught = Taught((), target_says(), teacher, target, "whole", place, precision)
            job = method("distill", "generate").plan(
                task,
                small,
                TransferData(target, teachers={"whole": taught}),
                0,
                temperature=1.0,
                alpha=1.0,
                train_layers="all",
                epochs=EPOCHS,
                batch_size=BATCH,
                learning_rate=RATE,
                layer_decay=1.0,
            )
            return Engine(Trunk(small, precision, 256), 0).fit(job)

    seconds, path = timed(work)
    return _figures(seconds, path.writer("fp32").network, small.tokenizer, EPOCHS)


def target_says() -> Any:
    """No answers that were written: the teacher is read at known ones alone."""
    import numpy as np

    return np.empty(0, dtype=object)


def peer(*, low: bool) -> dict[str, Any]:
    """trl's GKDTrainer, off-policy, on the replies alone; embeddings are frozen on both sides."""
    import datasets
    import transformers
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder(NAME))
    rows = [{"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]} for a, b in pairs()[0]]
    with tempfile.TemporaryDirectory() as scratch:
        transformers.set_seed(0)
        big, model = (transformers.AutoModelForCausalLM.from_pretrained(p) for p in (folder(NAME), student()))
        model.get_input_embeddings().requires_grad_(False)
        arguments = GKDConfig(
            output_dir=str(Path(scratch)),
            per_device_train_batch_size=BATCH,
            num_train_epochs=EPOCHS,
            learning_rate=RATE,
            warmup_steps=0.1,
            lr_scheduler_type="linear",
            max_length=512,
            lmbda=0.0,
            beta=0.0,
            bf16=low,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            seed=0,
        )
        trainer = GKDTrainer(
            model=model,
            teacher_model=big,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        seconds, _ = timed(trainer.train)
        network = trainer.model.float().eval()
    return _figures(seconds, network, tokenizer, EPOCHS)


SIDES = {
    "transfuse": lambda: ours("fp32"),
    "transfuse, bf16": lambda: ours("bf16"),
    "trl GKDTrainer": lambda: peer(low=False),
    "trl GKDTrainer, bf16": lambda: peer(low=True),
}
