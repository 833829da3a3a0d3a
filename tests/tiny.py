"""Tiny random models with a byte-level tokenizer, as folders that `transfuse.backbones.loading.load` reads.

    folder = tiny.write("llama", tmp_path / "llama")   # config.json, model.safetensors, tokenizer.json
    backbone = tiny.load("llama")                      # the same, loaded, made once a process

Three layers, 16 wide, some 280 tokens; the weights are drawn wide, so that a mistake shows in the first digit. Every
family of `transfuse.backbones.anatomy.ANATOMIES` is here, and where a family has a peculiarity (sliding windows, soft
caps, embeddings narrower than the layers) the tiny one has it too.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from transfuse.backbones import loading
from transfuse.backbones.huggingface import Backbone

transformers.logging.disable_progress_bar()

LAYERS, WIDTH, POSITIONS = 3, 16, 160
SPECIAL = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
MERGES = ["Ġ g", "Ġg o", "o d", "Ġ b", "a d", "t h", "th e", "Ġ the"]
"""Enough that the tokens of a word depend on the space before it."""

_NARROW = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 24}
_GROUPED = {**_NARROW, "num_key_value_heads": 1, "head_dim": 8}
_SLIDING = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", _NARROW),
    "roberta": ("RobertaConfig", {**_NARROW, "max_position_embeddings": POSITIONS + 2}),
    "xlm-roberta": ("XLMRobertaConfig", {**_NARROW, "max_position_embeddings": POSITIONS + 2}),
    "camembert": ("CamembertConfig", {**_NARROW, "max_position_embeddings": POSITIONS + 2}),
    "electra": ("ElectraConfig", {**_NARROW, "embedding_size": 8}),
    "distilbert": ("DistilBertConfig", {"dim": WIDTH, "n_layers": LAYERS, "n_heads": 2, "hidden_dim": 24}),
    "llama": ("LlamaConfig", _GROUPED),
    "mistral": ("MistralConfig", {**_GROUPED, "sliding_window": 8}),
    "qwen2": ("Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3Config", _GROUPED),
    "gemma": ("GemmaConfig", _GROUPED),
    "gemma2": ("Gemma2Config", {**_GROUPED, **_SLIDING, "final_logit_softcapping": 2.0}),
    "gemma3_text": ("Gemma3TextConfig", {**_GROUPED, **_SLIDING}),
    "phi3": ("Phi3Config", {**_GROUPED, "original_max_position_embeddings": POSITIONS}),
    "gpt2": ("GPT2Config", {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": 2, "n_positions": POSITIONS}),
    "gpt_neox": ("GPTNeoXConfig", _NARROW),
}
_BOTH = {"encoder_layers": 2, "decoder_layers": LAYERS, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
_BART = {**_BOTH, "d_model": WIDTH, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "decoder_start_token_id": 2}
CROSSING: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": (
        "T5Config",
        {"d_model": WIDTH, "d_kv": 8, "d_ff": 24, "num_layers": LAYERS, "num_heads": 2}
        | {"decoder_start_token_id": 1, "relative_attention_num_buckets": 8, "tie_word_embeddings": True},
    ),
    "bart": ("BartConfig", _BART),
    "mbart": ("MBartConfig", {**_BART, "scale_embedding": True}),
    "m2m_100": ("M2M100Config", {**_BART, "scale_embedding": True}),
    "marian": ("MarianConfig", {**_BART, "scale_embedding": True}),
}
"""Encoder-decoders, with decoders of three layers."""
ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
DECODERS = tuple(family for family in CONFIGS if family not in ENCODERS)
OPENS = ("llama", "mistral", "gemma", "gemma2", "gemma3_text")
"""Decoders whose tokenizer begins a text with <s>; the others add nothing, and have no padding token either."""


def tokenizer(family: str, rules: Sequence[str] = MERGES) -> transformers.PreTrainedTokenizerFast:
    """Bytes and a few merges; ``<s> text </s>`` for encoders, ``<s> text`` or ``text`` for decoders."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*SPECIAL.values(), *alphabet, *(merge.replace(" ", "") for merge in rules)]
    vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in rules)]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[m for m in merges if all(part in vocabulary for part in m)]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    marks = [(mark, vocabulary[mark]) for mark in ("<s>", "</s>")]
    if family in CROSSING:
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=marks[1:])
    elif family in ENCODERS:
        made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    elif family in OPENS:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=marks[:1])
    padding = family in (*ENCODERS, *CROSSING, *OPENS)
    special = {f"{kind}_token": token for kind, token in SPECIAL.items() if kind != "pad" or padding}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **special)


def network(family: str, seed: int = 0) -> Any:
    """The random model: an encoder's body, or a decoder with its language-modelling head."""
    name, fields = (CONFIGS | CROSSING)[family]
    tokens = tokenizer(family)
    config = getattr(transformers, name)(
        **{"max_position_embeddings": POSITIONS, **fields},
        vocab_size=len(tokens) + 8,  # AutoTokenizer loads some families with special tokens of their own
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id if tokens.pad_token else None,
    )
    auto = transformers.AutoModel if family in ENCODERS else transformers.AutoModelForCausalLM
    if family in CROSSING:
        auto = transformers.AutoModelForSeq2SeqLM
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = auto.from_config(config)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def write(family: str, folder: Path, *, seed: int = 0) -> Path:
    """A folder as save_pretrained writes it."""
    network(family, seed).save_pretrained(folder)
    tokenizer(family).save_pretrained(folder)
    return folder


@functools.cache
def folder(family: str) -> Path:
    """`write` once a process, into a folder that goes when the process ends."""
    place = Path(tempfile.mkdtemp(prefix=f"tiny-{family}-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return write(family, place / family)


@functools.cache
def load(family: str) -> Backbone:
    """The backbone of `folder`, loaded once a process."""
    return loading.load(str(folder(family)))
