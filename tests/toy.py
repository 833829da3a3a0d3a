"""Toy tasks on which a model that has learnt nothing is at chance, and decoders for them.

toy.backbone("encoder")    # tiny's BERT
toy.backbone("decoder")    # a random Llama of five layers
toy.backbone("taught")     # a Llama of two layers that was taught to answer the toy task: it can be prompted
toy.backbone("stranger")   # the same with tokens of its own
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tiny
import torch
import transformers

from transfuse.backbones import loading
from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.tasks.classify import Classify

WORDS = {"warm": ("red", "rose", "ruby", "fire"), "cold": ("blue", "navy", "teal", "ice")}
TASK = Classify(labels=("warm", "cold"), template="{text} =")

ALPHABET = "bcdfghjklmnpqrstvwxz"
STRANGE = ("Ġ w", "a r", "o l", "e d", "b l", "bl u", "Ġ n")
"""What a stranger's tokens are made of: some of an answer's are the other decoders' own, some are two of theirs."""


def examples(count: int, seed: int, share: float = 0.5, words: dict[str, tuple[str, ...]] = WORDS) -> Examples:
    """Texts of three words of their class in a random order; ``share`` of them of the first class."""
    generator = np.random.default_rng(seed)
    names = tuple(words)
    labels = [names[0] if i < round(count * share) else names[1 + i % (len(names) - 1)] for i in range(count)]
    labels = [labels[i] for i in generator.permutation(count)]
    texts = [" ".join(generator.choice(words[label], 3)) + f" {i}" for i, label in enumerate(labels)]
    return Examples(tuple(texts), tuple(labels))


def named(labels, count, seed):
    """Texts that contain their label between other letters."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        label = labels[i % len(labels)]
        noise = "".join(generator.choice(list("aeiou"), 3))
        rows.append((f"{noise} {label} {noise}", label))
    return Examples(tuple(text for text, _ in rows), tuple(label for _, label in rows))


def same_ends(count: int, seed: int) -> Examples:
    """Texts of six bytes; the label says whether the first and the last are equal: no single byte tells."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(count):
        letters = generator.choice(list("abcd"), 2)
        if i % 2:
            letters[1] = letters[0]
        elif letters[0] == letters[1]:
            letters[1] = "abcd"[("abcd".index(letters[0]) + 1) % 4]
        texts.append(letters[0] + f"{i % 1000:04d}" + letters[1])
        labels.append("warm" if i % 2 else "cold")
    order = generator.permutation(count)
    return Examples(tuple(texts[i] for i in order), tuple(labels[i] for i in order))


@functools.cache
def backbone(kind: str) -> Backbone:
    """A tiny model saved as a user's folder would be, and loaded as the program loads it, once a process."""
    if kind == "encoder":
        return tiny.load("bert")
    tokenizer = tiny.tokenizer("llama", STRANGE if kind == "stranger" else tiny.MERGES)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers={"decoder": 5}.get(kind, 2),
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=1024,
        initializer_range=0.15,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = Path(tempfile.mkdtemp(prefix=f"toy-{kind}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = transformers.LlamaForCausalLM(config)
        if kind != "decoder":
            teach(network, tokenizer)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return loading.load(str(folder))


def teach(network: torch.nn.Module, tokenizer: transformers.PreTrainedTokenizerFast, steps: int = 120) -> None:
    """Next-token training on rows of solved toy texts, on the first letter of each answer."""
    data = examples(480, seed=100)
    optimizer = torch.optim.AdamW(network.parameters(), lr=6e-3)
    generator = np.random.default_rng(0)
    for _ in range(steps):
        ids, labels = torch.zeros((16, 208), dtype=torch.long), torch.full((16, 208), -100)
        for row in range(16):
            tokens, at = [tokenizer.bos_token_id], []
            for i in generator.integers(0, len(data), generator.integers(1, 10)):
                question = TASK.shown().replace("{text}", data.texts[i])
                tokens += tokenizer(question, add_special_tokens=False)["input_ids"]
                answer = tokenizer(f" {data.labels[i]}\n\n", add_special_tokens=False)["input_ids"]
                at += [len(tokens), len(tokens) + 1]
                tokens += answer
            at = [i for i in at if i < 208]
            ids[row, : len(tokens)] = torch.tensor(tokens[:208])
            labels[row, at] = ids[row, at]
        loss = network(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
