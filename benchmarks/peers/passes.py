"""The same adapters over several passes, the lower half frozen: its outputs are computed once and cached."""

from __future__ import annotations

from benchmarks.peers.replies import HALF, ours, peer

EPOCHS = 3
WORK = (
    "LoRA (rank 8) of smollm2-135m-instruct on 64 support replies, three passes, 4 a step: lower half frozen, its "
    "outputs cached, the pass for these counted, beside trl with all layers"
)

SIDES = {
    "transfuse, lower half frozen": lambda: ours(HALF, "fp32", EPOCHS),
    "transfuse, lower half frozen, bf16": lambda: ours(HALF, "bf16", EPOCHS),
    "trl SFTTrainer": lambda: peer(low=False, epochs=EPOCHS),
    "trl SFTTrainer, bf16": lambda: peer(low=True, epochs=EPOCHS),
}
