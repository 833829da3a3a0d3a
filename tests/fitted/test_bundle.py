"""A bundle gives the model's own probabilities in a process in which transfuse cannot be imported."""

import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest
import tiny
import toy
from safetensors.torch import load_file

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.data.turns import conversation
from transfuse.errors import ModelError, OutputError
from transfuse.fitted.model import remember
from transfuse.fitted.recalled import LookupPath
from transfuse.fitted.writer import WriterPath
from transfuse.fitted.written import FittedWriter
from transfuse.tasks.writing import Writing

TEXTS = [
    "the good, the bad",
    "x",
    "a somewhat longer text about the good and the bad of it",
    "wörld 好的 {text}",
    " the bad\nafter a line ",
    "the good and the bad " * 20,  # too long for the limit
]
FIT = 5
"""How many of the texts are not truncated."""

NAMES = [
    "encoder probe",
    "encoder probe, first token",
    "decoder probe",
    "encoder finetune, cosine",
    "encoder finetune, all",
    "decoder finetune",
    "decoder finetune, all",
    "encoder lora",
    "decoder lora",
    "sliding lora",
    "ensemble",
    "zero-shot prompt",
    "few-shot prompt",
    "sliding prompt",
]
HEADS = [name for name in NAMES if not name.endswith("prompt") and name != "ensemble"]
PROMPTS = [name for name in NAMES if name.endswith("prompt")]

PROGRAM = """
import contextlib, io, json, runpy, sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "transfuse":
            raise ImportError("transfuse is not there")

sys.meta_path.insert(0, Wall())
try:
    import transfuse
    raise SystemExit("transfuse can be imported")
except ImportError:
    pass

folders, texts = json.load(sys.stdin)
answers = {}
for folder in folders:
    program = runpy.run_path(folder + "/predict.py", run_name="predict")
    answer = {"predict": program["predict_proba"](texts).tolist(), "none": list(program["predict_proba"]([]).shape)}
    sys.argv, shown = ["predict.py", *texts], io.StringIO()
    with contextlib.redirect_stdout(shown):
        runpy.run_path(folder + "/predict.py", run_name="__main__")
    answer["lines"] = [json.loads(line) for line in shown.getvalue().splitlines()]
    answers[folder] = answer
for folder in folders:
    try:
        settings = json.load(open(folder + "/labels.json"))
    except FileNotFoundError:
        continue
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(folder, device="cpu")
    template = settings["template"] or "{text}"
    logits = model.encode([template.replace("{text}", text) for text in texts], convert_to_tensor=True)
    answers[folder]["sentence"] = logits.softmax(1).tolist()
assert "transfuse" not in sys.modules
print("ANSWERS" + json.dumps(answers))
"""


@pytest.fixture(scope="module")
def bundles(model, tmp_path_factory):
    """All bundles, and what plain libraries make of them: {name: (model, folder, answers)}, from one other process."""
    place = tmp_path_factory.mktemp("bundles")
    made = {name: model(name) for name in NAMES}
    folders = {name: fitted.bundle(place / name) for name, fitted in made.items()}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([[str(folder) for folder in folders.values()], TEXTS]),
        env=environment,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "ANSWERS" in done.stdout, done.stderr
    answers = json.loads(done.stdout.partition("ANSWERS")[2])
    return {name: (made[name], folder, answers[str(folder)]) for name, folder in folders.items()}


@pytest.mark.parametrize("name", NAMES)
def test_predict_py_gives_the_same_probabilities(bundles, name):
    fitted, _, answers = bundles[name]
    expected = fitted.predict_proba(TEXTS)
    assert np.ptp(expected, 0).max() > 0.05, "the text does not matter"
    np.testing.assert_allclose(answers["predict"], expected, rtol=0, atol=1e-4)
    assert answers["none"] == [0, 3]
    assert [line["label"] for line in answers["lines"]] == fitted.predict(TEXTS)
    shown = [[line["probabilities"][label] for label in fitted.labels] for line in answers["lines"]]
    np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", HEADS)
def test_sentence_transformers_gives_the_same_probabilities(bundles, name):
    fitted, _, answers = bundles[name]
    expected = fitted.predict_proba(TEXTS)
    np.testing.assert_allclose(answers["sentence"][:FIT], expected[:FIT], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_no_code_of_transfuse_and_no_pickle_is_inside(bundles, name):
    _, folder, _ = bundles[name]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".py", ".md", ".jinja"}
    assert "import transfuse" not in (folder / "predict.py").read_text()
    assert json.loads((folder / "transfuse.json").read_text())["bundle"] == 1


def test_only_the_layers_that_are_read_are_inside(bundles):
    fitted, folder, _ = bundles["encoder probe"]
    config = json.loads((folder / "config.json").read_text())
    assert config["num_hidden_layers"] == fitted.path.layer == 2
    assert config["id2label"] == {"0": "positive", "1": "negative", "2": "neutral"}
    assert not any("layer.2." in name for name in load_file(folder / "model.safetensors"))
    config = json.loads((bundles["sliding lora"][1] / "config.json").read_text())
    assert config["layer_types"] == ["sliding_attention", "full_attention", "sliding_attention"]


def test_adapters_are_merged(bundles):
    for name in HEADS:
        assert not any(
            "lora" in key or "base_layer" in key for key in load_file(bundles[name][1] / "model.safetensors")
        )


def test_the_modules_are_those_of_the_path(bundles):
    def modules(name):
        return [m["type"].rpartition(".")[2] for m in json.loads((bundles[name][1] / "modules.json").read_text())]

    assert modules("encoder probe") == ["Transformer", "Pooling", "Dense"]
    assert modules("encoder finetune, cosine") == ["Transformer", "Pooling", "Normalize", "Dense"]


def test_making_a_bundle_leaves_the_model_as_it_is(model, tmp_path):
    for name in ("decoder lora", "few-shot prompt"):
        fitted = model(name)
        before, tokenizer = fitted.predict_proba(TEXTS), fitted.path.backbone.tokenizer
        kept = (tokenizer.padding_side, tokenizer.pad_token, tokenizer.model_max_length)
        fitted.bundle(tmp_path / name)
        np.testing.assert_array_equal(fitted.predict_proba(TEXTS), before)
        assert (tokenizer.padding_side, tokenizer.pad_token, tokenizer.model_max_length) == kept
        assert tiny.load(fitted.backbone["family"]).layers == tiny.LAYERS


def test_the_card_says_how_to_load(model, tmp_path):
    card = (
        model("encoder probe", card="# Reviews\n\nMade from little.\n").bundle(tmp_path / "a") / "README.md"
    ).read_text()
    assert card.startswith("# Reviews\n\nMade from little.\n\n## How to load this folder\n")
    assert "SentenceTransformer(" in card
    card = (model("zero-shot prompt").bundle(tmp_path / "b") / "README.md").read_text()
    assert card.startswith("# A classifier of 3 labels\n")
    assert "prompt.json" in card


@pytest.mark.parametrize("name", ["majority", "tfidf"])
def test_a_model_without_a_backbone_has_no_bundle(model, name, tmp_path):
    with pytest.raises(ModelError) as caught:
        model(name).bundle(tmp_path / "bundle")
    assert f"a bundle of method '{name}': it has no backbone" in str(caught.value)
    assert "Remedy: Ship the folder that save() writes" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_replaces_a_bundle_and_nothing_else(model, tmp_path):
    fitted = model("encoder probe")
    fitted.bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / "left.txt").write_text("x")
    fitted.bundle(tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "left.txt").exists()
    saved = fitted.save(tmp_path / "model")
    with pytest.raises(OutputError, match=r"Expected: no such folder, an empty one, or one with transfuse\.json"):
        fitted.bundle(saved)


def test_nothing_is_left_of_a_bundle_that_breaks_off(model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transfuse.fitted.bundle._card", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        model("encoder probe").bundle(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def writer(form, decoding, backbone=None, **shown):
    path = WriterPath(remember(backbone or tiny.load("llama")), form=form, decoding=decoding, limit=64, **shown)
    return FittedWriter(Writing("generate", max_new_tokens=8), path, method="prompt")


def both(fitted, texts, folder):
    """What a model answers, and what the program of its bundle does."""
    program = runpy.run_path(str(fitted.bundle(folder) / "predict.py"), run_name="predict")
    return fitted.predict(texts), program["predict"](texts)


@pytest.mark.parametrize(
    ("family", "decoding"),
    [
        ("llama", Decoding(8)),
        ("phi3", Decoding(60)),
        ("llama", Decoding(20, stop=("the", "o"))),
        ("llama", Decoding(20, beams=3, stop=("the",))),
    ],
    ids=["short", "going in circles", "stopped", "beams"],
)
def test_a_bundle_that_writes_gives_the_same_answers(family, decoding, tmp_path):
    fitted = writer(Form.plain("{text}:"), decoding, tiny.load(family))
    expected, found = both(fitted, [*TEXTS[:5], *(f"go {i}" for i in range(8))], tmp_path / "bundle")
    assert found == expected
    assert (fitted.path.looped > 0) == (family == "phi3")


def test_a_bundle_reads_conversations_as_its_model_does(tmp_path):
    fitted = writer(Form("{text} =", special=False, joint="", replied=" : ", asked=" ; "), Decoding(8))
    turns = [("user", "go"), ("assistant", "the"), ("user", "out of")]
    texts = ["go", *(conversation(some) for some in (turns, [("system", "be"), *turns], [("assistant", "hi"), *turns]))]
    expected, found = both(fitted, texts, tmp_path / "bundle")
    assert found == expected
    assert fitted.path.form.shown(texts[1]) == "go : the ; out of"


def test_a_bundle_keeps_the_indentation_of_a_program(tmp_path):
    fitted = writer(Form("{text} =", joint=""), Decoding(4, strip=False), toy.backbone("taught"))
    expected, found = both(fitted, toy.examples(4, 0).texts, tmp_path / "bundle")
    assert found == expected
    assert all(answer.startswith(" ") for answer in found)


def test_demonstrations_of_each_request_its_own_have_no_bundle(tmp_path):
    memory = LookupPath(["go", "stay"], ["out", "in"])
    fitted = writer(Form.plain("{text}:"), Decoding(8), memory=memory, shots=1)
    with pytest.raises(ModelError) as caught:
        fitted.bundle(tmp_path / "bundle")
    assert "bundle: demonstrations that are chosen for each request" in str(caught.value)
    assert "Or fit `prompt` with `choose: drawn`, whose demonstrations a bundle holds." in str(caught.value)
    assert list(tmp_path.iterdir()) == []
