"""A tiny GGUF file becomes safetensors once, whole or not at all."""

import gguf
import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones import gguf as conversion
from transfuse.backbones import loading
from transfuse.errors import BackboneError


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of rotary pairs, which transformers turns back."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write(file):
    network, tokenizer = tiny.network("llama"), tiny.tokenizer("llama")
    config = network.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    vocabulary += [f"<{i}>" for i in range(config.vocab_size - len(vocabulary))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_merges(tiny.MERGES)
    writer.add_token_types([3] * 4 + [1] * (len(vocabulary) - 4))
    writer.add_bos_token_id(0)
    writer.add_pad_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(3)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in network.state_dict().items():
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        values = permuted(tensor.numpy(), heads) if heads else tensor.numpy()
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_the_converted_model_is_the_model(tmp_path):
    folder = conversion.converted(write(tmp_path / "tiny.gguf"))
    assert folder == tmp_path / "tiny.safetensors"
    backbone = loading.load(str(folder))
    assert backbone.decoder
    ids = torch.tensor([[0, 5, 9, 40, 3, 260]])
    with torch.no_grad():
        torch.testing.assert_close(backbone.network()(ids).logits, tiny.network("llama")(ids).logits)
    text = "the good, the bad"
    plain = tiny.tokenizer("llama")(text, add_special_tokens=False)["input_ids"]
    assert backbone.tokenizer(text, add_special_tokens=False)["input_ids"] == plain


def test_it_is_converted_once_and_left_overs_of_a_kill_are_not_used(tmp_path, monkeypatch):
    file = write(tmp_path / "tiny.gguf")
    partial = tmp_path / ".tiny.safetensors.partial"
    partial.mkdir()
    (partial / "config.json").write_text("{")
    folder = conversion.converted(file)
    assert not partial.exists()
    assert loading.load(str(folder)).layers == tiny.LAYERS
    monkeypatch.setattr(conversion, "_convert", lambda *_: pytest.fail("converted again"))
    assert conversion.converted(file) == folder


def test_nothing_is_left_by_a_conversion_that_breaks_off(tmp_path, monkeypatch):
    file = write(tmp_path / "tiny.gguf")

    def broken(_gguf, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "_convert", broken)
    with pytest.raises(KeyboardInterrupt):
        conversion.converted(file)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_damaged_file_is_reported_and_leaves_nothing(tmp_path):
    file = tmp_path / "tiny.gguf"
    file.write_bytes(write(tmp_path / "whole.gguf").read_bytes()[:2000])
    with pytest.raises(
        BackboneError, match=r"tiny\.gguf: cannot be turned into safetensors: .*\nExpected: a GGUF file"
    ):
        conversion.converted(file)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
