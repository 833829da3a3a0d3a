"""A fitted model predicts, saves and loads; what does not fit is refused in words."""

import json
import shutil

import numpy as np
import pytest
import tiny
from safetensors.torch import load_file
from scipy.special import logsumexp

import transfuse.fitted.model
from transfuse.errors import ModelError, OutputError
from transfuse.fitted import load
from transfuse.fitted.artifact import DIFFERENCE, MANIFEST
from transfuse.fitted.ensemble import EnsemblePath

TEXTS = ["the good, the bad", "x", "wörld 好的 {text}", "", "the good and the bad " * 20]
KINDS = pytest.mark.parametrize(
    "name",
    [
        "majority",
        "tfidf",
        "encoder probe",
        "encoder probe, first token",
        "encoder finetune, cosine",
        "encoder finetune, all",
        "decoder finetune",
        "decoder finetune, all",
        "encoder lora",
        "decoder lora",
        "few-shot prompt",
    ],
)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    """A model that is loaded reads its backbone from its folder, as it would in another process."""
    monkeypatch.setattr(transfuse.fitted.model, "_LOADED", {})


def forget():
    transfuse.fitted.model._LOADED.clear()


def edit(folder, **changes):
    file = folder / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refused(folder):
    with pytest.raises(ModelError) as caught:
        load(folder).predict(["x"])
    return str(caught.value)


@KINDS
def test_a_saved_model_comes_back_the_same(model, name, tmp_path):
    fitted = model(name, card="# A card\n")
    expected = fitted.predict_proba(TEXTS)
    folder = fitted.save(tmp_path / "model")
    forget()
    again = load(folder)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), expected)
    assert again.predict(TEXTS) == [again.labels[i] for i in expected.argmax(1)]
    assert again.manifest == json.loads(json.dumps(fitted.manifest))
    assert again.card == "# A card\n"
    assert again.labels == ("positive", "negative", "neutral")
    assert again.path.trainable_parameters == fitted.path.trainable_parameters
    forget()
    assert load(again.save(tmp_path / "again")).predict(TEXTS) == fitted.predict(TEXTS)


@KINDS
def test_probabilities_are_a_row_for_each_text(model, name):
    found = model(name).predict_proba(TEXTS)
    assert found.shape == (len(TEXTS), 3)
    assert found.dtype == np.float64
    assert (found > 0).all()
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-9)
    if name != "majority":
        assert np.ptp(found, 0).max() > 0.05, "the text does not matter"


@KINDS
def test_the_folder_holds_json_text_and_safetensors_alone(model, name, tmp_path):
    folder = model(name, card="# A card\n").save(tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", DIFFERENCE, MANIFEST]
    assert json.loads((folder / MANIFEST).read_text())["format"] == 1
    assert load_file(folder / DIFFERENCE)


def test_only_the_difference_is_stored(model, tmp_path):
    probe, tuned, lora = (
        sum(t.numel() for t in load_file(model(name).save(tmp_path / name) / DIFFERENCE).values())
        for name in ("encoder probe", "encoder finetune, cosine", "encoder lora")
    )
    layers = sum(p.numel() for p in tiny.load("roberta").segment(1, 3).layers.parameters())
    assert probe == 2 * tiny.WIDTH + 3 * tiny.WIDTH + 3
    assert tuned == probe + layers
    assert probe < lora < tuned


def test_no_texts_and_no_strings(model):
    fitted = model("encoder probe")
    assert fitted.predict([]) == []
    assert fitted.predict_proba([]).shape == (0, 3)
    with pytest.raises(ModelError, match="got one string\nExpected: a list of texts"):
        fitted.predict("the good")
    with pytest.raises(ModelError, match="text 2 is nan, of type float\nExpected: a string\nRemedy: Convert it"):
        fitted.predict(["x", float("nan")])


def test_bf16_is_near(model):
    for name in ("encoder finetune, cosine", "decoder lora", "few-shot prompt"):
        fitted = model(name)
        exact, rough = (fitted.predict_proba(TEXTS, precision=p) for p in ("fp32", "bf16"))
        assert 0 < np.abs(exact - rough).max() < 0.2, name


def test_a_second_save_replaces_the_first(model, tmp_path):
    folder = model("tfidf", card="# Old\n").save(tmp_path / "model")
    model("majority").save(folder)
    assert load(folder).method == "majority"
    assert not (folder / "README.md").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_no_fitted_model_there(tmp_path):
    assert f"{tmp_path / 'none'}: no fitted model here\nExpected: a folder with manifest.json" in refused(
        tmp_path / "none"
    )
    assert "such as runs/reviews/model" in refused(tmp_path)


def test_a_manifest_that_is_none(model, tmp_path):
    folder = model("tfidf").save(tmp_path / "model")
    for content in ("{", "[]", "{}", '{"format": 1}'):
        (folder / MANIFEST).write_text(content)
        assert "manifest.json: not a manifest" in refused(folder)


@pytest.mark.parametrize("name", ["tfidf", "encoder lora", "few-shot prompt"])
def test_a_manifest_that_lacks_a_part(model, name, tmp_path):
    folder = model(name).save(tmp_path / "model")
    whole = json.loads((folder / MANIFEST).read_text())
    for part in ("task", "path", "method"):
        (folder / MANIFEST).write_text(json.dumps({k: v for k, v in whole.items() if k != part}))
        assert f"manifest.json: not as transfuse wrote it: KeyError '{part}'" in refused(folder)
    edit(folder, **whole | {"path": {**whole["path"], "kind": "oracle"}})
    assert "not as transfuse wrote it" in refused(folder)


def test_a_newer_format(model, tmp_path):
    folder = model("tfidf").save(tmp_path / "model")
    edit(folder, format=2, files=None)
    found = refused(folder)
    assert "manifest.json: format 2\nExpected: format 1, which this version of transfuse reads" in found
    assert "Install the version of transfuse that wrote it, or a newer one." in found


def test_damaged_numbers(model, tmp_path):
    folder = model("tfidf").save(tmp_path / "model")
    content = bytearray((folder / DIFFERENCE).read_bytes())
    content[-1] ^= 1
    (folder / DIFFERENCE).write_bytes(content)
    assert f"{DIFFERENCE}: damaged\nExpected: the file with SHA-256 " in refused(folder)
    (folder / DIFFERENCE).unlink()
    assert f"{DIFFERENCE}: missing\n" in refused(folder)


@pytest.mark.parametrize("name", ["encoder probe", "encoder finetune, cosine"])
def test_a_backbone_that_has_changed(model, name, tmp_path):
    fitted = model(name)
    family = fitted.backbone["family"]
    place = shutil.copytree(tiny.folder(family), tmp_path / "backbone")
    fitted.backbone |= {"reference": "backbone", "resolved": str(place)}
    folder = fitted.save(tmp_path / "model")
    forget()
    np.testing.assert_array_equal(load(folder).predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    forget()
    tiny.write(family, place, seed=1)
    found = refused(folder)
    assert f"{folder}: the backbone backbone has changed since the model was fitted (content " in found
    assert "Expected: the same weights and tokenizer" in found


def test_a_relative_backbone_is_relative_to_the_model(model, tmp_path):
    fitted = model("encoder probe")
    shutil.copytree(tiny.folder("bert"), tmp_path / "backbone")
    fitted.backbone |= {"resolved": "../backbone"}
    folder = fitted.save(tmp_path / "model")
    forget()
    np.testing.assert_array_equal(load(folder).predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_models_share_a_backbone(model, tmp_path):
    folders = [model(name).save(tmp_path / name) for name in ("encoder probe", "encoder lora")]
    forget()
    one, other = (load(folder) for folder in folders)
    assert one.path.backbone is other.path.backbone


def test_a_place_that_holds_something_else(model, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    (tmp_path / "file").write_text("x")
    for name in ("letters", "file"):
        with pytest.raises(
            OutputError, match=f"{name}: holds something that transfuse did not write\nExpected: no such"
        ):
            model("tfidf").save(tmp_path / name)
    assert (tmp_path / "letters" / "dear.txt").read_text() == "dear"
    (tmp_path / "empty").mkdir()
    assert load(model("tfidf").save(tmp_path / "empty")).method == "tfidf"


def test_a_place_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written: Not a directory\nExpected: a folder that can be written"):
        model("tfidf").save(tmp_path / "file" / "model")


@KINDS
def test_logits_by_the_temperature_are_the_probabilities(model, name):
    fitted = model(name)
    logits = fitted.path.logits(TEXTS)
    expected = np.exp(logits / fitted.path.temperature)
    np.testing.assert_allclose(fitted.predict_proba(TEXTS), expected / expected.sum(1, keepdims=True), atol=1e-9)
    np.testing.assert_array_equal(fitted.confidence(TEXTS), logits.max(1))


@pytest.mark.parametrize("name", ["tfidf", "encoder probe", "encoder finetune, cosine"])
def test_energy_is_that_of_the_logits(model, name):
    fitted = model(name)
    np.testing.assert_allclose(fitted.energy(TEXTS), logsumexp(fitted.path.logits(TEXTS), axis=1), atol=1e-9)
    assert fitted.energy([]).shape == (0,)
    with pytest.raises(ModelError, match="text 1 is 3, of type int"):
        fitted.energy([3])


def test_energy_of_an_ensemble_is_its_members_and_not_that_of_its_probabilities(model):
    """The logits of a pool are logarithms of probabilities, which say the same of every text."""
    members = [model(name) for name in ("encoder probe", "encoder finetune, all")]
    together = model("encoder probe")
    together.path = EnsemblePath([member.path for member in members], weights=[0.25, 0.75])
    np.testing.assert_allclose(logsumexp(together.path.logits(TEXTS), axis=1), 0, atol=1e-6)
    expected = 0.25 * members[0].energy(TEXTS) + 0.75 * members[1].energy(TEXTS)
    np.testing.assert_allclose(together.energy(TEXTS), expected, atol=1e-9)


@pytest.mark.parametrize("name", ["majority", "few-shot prompt"])
def test_energy_of_probabilities_is_refused(model, name):
    with pytest.raises(ModelError, match="has no logits of its own") as error:
        model(name).energy(TEXTS)
    assert "Use confidence" in str(error.value)


def test_confidence_in_no_texts_and_in_no_strings(model):
    assert model("encoder probe").confidence([]).shape == (0,)
    with pytest.raises(ModelError, match="text 1 is 3, of type int"):
        model("encoder probe").confidence([3])
