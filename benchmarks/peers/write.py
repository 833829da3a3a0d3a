"""Thirty-two support requests answered greedily with at most 96 tokens."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.clock import folder, timed
from benchmarks.peers.replies import NAME, pairs

WORK = "32 requests answered greedily with at most 96 tokens, smollm2-135m-instruct"
COUNT, LONGEST = 32, 96
REFERENCE = "transformers generate, one at a time"
"""Whose texts the other side's are compared with."""


def _requests() -> list[str]:
    return [request for request, _ in pairs()[0]][:COUNT]


def _figures(seconds: float, texts: list[str], tokens: int) -> dict[str, Any]:
    return {"seconds": seconds, "tokens_per_second": tokens / seconds, "labels": texts}


def ours() -> dict[str, Any]:
    """`Writer`: batches, a prefix that is read once."""
    from transfuse.backbones import loading
    from transfuse.backbones.decoding import Decoding
    from transfuse.backbones.form import Form
    from transfuse.backbones.writing import Writer

    backbone = loading.load(f"catalog:{NAME}")
    writer = Writer(backbone, Form.chat(backbone.tokenizer), 256)
    seconds, found = timed(lambda: writer.write(_requests(), Decoding(LONGEST)))
    return _figures(seconds, found.texts, int(found.tokens.sum()))


def peer() -> dict[str, Any]:
    """transformers' generate, one request after another."""
    import torch
    import transformers

    path = folder(NAME)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path).eval()

    @torch.inference_mode()
    def work() -> tuple[list[str], int]:
        texts, tokens = [], 0
        for request in _requests():
            turns = [{"role": "user", "content": request}]
            shown = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            given = tokenizer(shown, return_tensors="pt", add_special_tokens=False)
            out = model.generate(**given, max_new_tokens=LONGEST, do_sample=False)
            written = out[0, given["input_ids"].shape[1] :]
            texts.append(tokenizer.decode(written, skip_special_tokens=True).strip())
            tokens += len(written)
        return texts, tokens

    seconds, (texts, tokens) = timed(work)
    return _figures(seconds, texts, tokens)


SIDES = {"transfuse": ours, "transformers generate, one at a time": peer}
