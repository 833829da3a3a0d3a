"""Smaller backbones out of larger ones."""

import json

import numpy as np
import pytest
import tiny

import transfuse
from transfuse.backbones import loading
from transfuse.backbones.shrinking import spread
from transfuse.errors import BackboneError, UsageError

FAMILIES = ("bert", "roberta", "distilbert", "electra", "llama", "qwen2", "gemma2", "gemma3_text", "gpt2", "gpt_neox")


def test_which_layers_stay():
    assert spread(6, 3) == [0, 2, 5]
    assert spread(30, 15)[0] == 0
    assert spread(30, 15)[-1] == 29
    assert len(spread(30, 15)) == 15
    assert spread(6, 6) == list(range(6))
    assert spread(6, 1) == [5]


@pytest.mark.parametrize("family", FAMILIES)
def test_all_layers_are_the_model_itself_and_fewer_run(family, tmp_path):
    whole = tiny.load(family)
    tokens = whole.tokens(["a text", "another 漢字"], None, 32)
    transfuse.shrink(str(tiny.folder(family)), tmp_path / "same", layers=whole.layers)
    same = loading.load(str(tmp_path / "same"))
    np.testing.assert_allclose(same.features(tokens, [same.layers]), whole.features(tokens, [whole.layers]), atol=1e-5)
    told = transfuse.shrink(str(tiny.folder(family)), tmp_path / "less", layers=1)
    less = loading.load(str(tmp_path / "less"))
    assert less.layers == 1
    assert less.parameters == told["parameters"][1] < told["parameters"][0] == whole.parameters
    assert np.isfinite(less.features(tokens, [1])).all()


def test_a_first_part_of_the_layers_says_what_these_layers_say(tmp_path, monkeypatch):
    monkeypatch.setattr("transfuse.fitted.shrinking.spread", lambda layers, count: list(range(count)))
    whole = tiny.load("bert")
    transfuse.shrink(str(tiny.folder("bert")), tmp_path / "less", layers=1)
    tokens = whole.tokens(["a text"], None, 32)
    less = loading.load(str(tmp_path / "less"))
    np.testing.assert_allclose(less.features(tokens, [1]), whole.features(tokens, [1]), atol=1e-5)


def test_heads_are_left_out_by_groups(tmp_path):
    whole = tiny.load("llama")
    groups = whole.network().config.num_key_value_heads
    transfuse.shrink(str(tiny.folder("llama")), tmp_path / "same", layers=whole.layers, heads=groups)
    tokens = whole.tokens(["a text"], None, 32)
    same = loading.load(str(tmp_path / "same"))
    np.testing.assert_allclose(same.features(tokens, [1]), whole.features(tokens, [1]), atol=1e-5)
    with pytest.raises(BackboneError, match="heads of a fixed share"):
        transfuse.shrink(str(tiny.folder("bert")), tmp_path / "bert", layers=1, heads=1)


def test_fewer_groups_of_heads_are_a_smaller_model(tmp_path):
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=tiny.load("llama").network().config.vocab_size,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "whole")
    tiny.load("llama").tokenizer.save_pretrained(tmp_path / "whole")
    transfuse.shrink(str(tmp_path / "whole"), tmp_path / "less", layers=2, heads=1)
    less = loading.load(str(tmp_path / "less"))
    assert less.network().config.num_attention_heads == 2
    assert np.isfinite(less.features(less.tokens(["a text"], None, 32), [2])).all()


def test_too_many_layers(tmp_path):
    with pytest.raises(UsageError, match="--layers 9"):
        transfuse.shrink(str(tiny.folder("bert")), tmp_path / "more", layers=9)
    assert not (tmp_path / "more").exists()


def test_the_command(tmp_path, capsys):
    from transfuse.cli import main

    assert main(["shrink", str(tiny.folder("bert")), "--layers", "1", "--out", str(tmp_path / "small")]) == 0
    assert "parameters" in capsys.readouterr().out
    assert json.loads((tmp_path / "small" / "shrunk.json").read_text())["layers"] == [tiny.load("bert").layers - 1]
