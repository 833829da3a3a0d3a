"""Loading: what is refused, in which words, and that no code of a folder ever runs."""

import json
import shutil

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from transfuse.backbones import loading
from transfuse.errors import BackboneError


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(tiny.folder("bert"), tmp_path / "my-bert")


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def message(reference, **options):
    with pytest.raises(BackboneError) as caught:
        loading.load(str(reference), **options)
    return str(caught.value)


def test_a_folder_loads_by_a_path_relative_to_the_base(folder):
    backbone = loading.load("my-bert", base=folder.parent)
    assert (backbone.reference, backbone.folder, backbone.family) == ("my-bert", folder, "bert")
    assert not backbone.decoder
    assert backbone.poolings == ("mean", "first")
    assert backbone.parameters == sum(p.numel() for p in tiny.network("bert").parameters())
    assert {p.dtype for p in backbone.network().parameters()} == {torch.float32}
    assert not backbone.network().training
    assert tiny.load("gpt2").decoder
    assert tiny.load("gpt2").poolings == ("last", "mean")


def test_the_pooling_that_a_sentence_encoder_was_trained_for_is_the_only_one(folder):
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert loading.load(str(folder)).poolings == ("first",)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    assert loading.load(str(folder)).poolings == ("mean",)


def test_the_revision_is_of_the_content_and_not_of_the_place(folder):
    first = loading.load(str(folder)).revision
    assert first == tiny.load("bert").revision
    for file in ("tokenizer.json", "config.json", "model.safetensors"):
        kept = (folder / file).read_bytes()
        if file.endswith(".json"):
            (folder / file).write_bytes(kept + b"\n")
        else:
            tensors = load_file(folder / file)
            next(iter(tensors.values())).add_(1)
            save_file(tensors, folder / file, metadata={"format": "pt"})
        assert loading.load(str(folder)).revision != first, file
        (folder / file).write_bytes(kept)
    assert loading.load(str(folder)).revision == first


def test_a_missing_folder_names_the_nearest(folder):
    found = message("my-brt", base=folder.parent)
    assert f"my-brt: no folder {folder.parent / 'my-brt'}. Did you mean 'my-bert'?" in found
    assert "catalog:NAME or hub:OWNER/NAME[@REVISION]" in found


def test_an_unknown_name_of_the_catalog(tmp_path):
    with pytest.raises(Exception, match="minilm-l6"):
        loading.load("catalog:minilm-l66")
    assert "catalog:vader-tweets: a data asset" in message("catalog:vader-tweets")


def test_a_remote_model_is_not_part_of_this_version():
    assert "openai:gpt-x: a remote model, which has no weights to load" in message("openai:gpt-x")


def test_a_folder_without_a_configuration(folder):
    (folder / "config.json").unlink()
    assert f"{folder / 'config.json'} cannot be read" in message(folder)
    (folder / "config.json").write_text("{")
    assert "Point to the folder that holds config.json." in message(folder)


def test_a_folder_without_weights_says_what_it_holds(folder):
    (folder / "model.safetensors").unlink()
    found = message(folder)
    assert f"{folder}: no weights in {folder} (it holds config.json, tokenizer.json" in found
    assert "model.safetensors" in found
    assert "`allow_unsafe_weights: true`" in found


def test_pickled_weights_are_read_only_when_asked_and_as_tensors_only(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert "no weights" in message(folder)
    loaded = loading.load(str(folder), unsafe=True)
    tokens = loaded.tokens(["the good"], None, 16)
    assert (loaded.features(tokens, [3]) == tiny.load("bert").features(tokens, [3])).all()
    torch.save({"evil": Evil(folder / "ran")}, folder / "pytorch_model.bin")
    message(folder, unsafe=True)
    assert not (folder / "ran").exists()


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (type(self.file).write_text, (self.file, "ran"))


def test_safetensors_are_read_even_if_others_are_allowed(folder):
    assert loading.load(str(folder), unsafe=True).revision == tiny.load("bert").revision


def test_weights_that_lack_a_part_are_not_filled_with_random_numbers(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("encoder.layer.2.output.dense.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lack 1 of the model's tensors, such as encoder.layer.2.output.dense.weight" in message(folder)


def test_a_missing_pooler_is_no_matter(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "pooler" not in k}, folder / "model.safetensors")
    assert loading.load(str(folder)).layers == tiny.LAYERS


def test_damaged_weights_are_reported(folder):
    (folder / "model.safetensors").write_bytes(b"not at all")
    assert f"transformers cannot load {folder}" in message(folder)


def test_an_encoder_decoder_of_an_unknown_anatomy_is_refused(tmp_path):
    folder = tiny.write("t5", tmp_path / "t5")
    backbone = loading.load(str(folder))
    assert (backbone.layers, backbone.crosses) == (tiny.LAYERS, True)
    backbone.family = "prophetnet"
    with pytest.raises(BackboneError, match="encoder-decoders of type 'prophetnet' cannot be cut into layers"):
        backbone.segment(0, 1)


def test_an_encoder_decoder_must_say_what_answers_begin_behind(tmp_path):
    folder = tiny.write("t5", tmp_path / "my-t5")
    edit(folder / "config.json", decoder_start_token_id=None)
    with pytest.raises(BackboneError, match="names no decoder_start_token_id"):
        loading.load(str(folder))


def test_an_unknown_family_names_the_nearest(folder):
    edit(folder / "config.json", model_type="distilbrt")
    assert "transformers knows no model of type 'distilbrt'. Did you mean 'distilbert'?" in message(folder)


@pytest.mark.parametrize("known", [True, False], ids=["known family", "family of its own"])
def test_code_that_a_folder_brings_never_runs(folder, monkeypatch, known):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # whatever transformers may ask
    code = f"from pathlib import Path\nPath({str(folder / 'ran')!r}).write_text('')\n"
    code += "from transformers import BertConfig as C, BertModel as M, PreTrainedTokenizerFast as T\n"
    (folder / "evil.py").write_text(code)
    edit(folder / "config.json", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.M"})
    tokenizer = {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}}
    if known:
        loading.load(str(folder))
        edit(folder / "tokenizer_config.json", **tokenizer)
        loading.load(str(folder))
    else:
        edit(folder / "config.json", model_type="evil")
        assert "knows no model of type 'evil', and the code that the folder brings never runs" in message(folder)
    assert not (folder / "ran").exists()
