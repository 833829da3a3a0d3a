"""What a fitted model that writes answers: all at once, in parts and piece by piece it is the same."""

import json
import shutil

import pytest
import tiny

import transfuse.fitted.model
from transfuse.backbones import loading
from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.errors import ModelError
from transfuse.fitted import load
from transfuse.fitted.model import remember
from transfuse.fitted.recalled import LookupPath
from transfuse.fitted.writer import WriterPath
from transfuse.fitted.written import FittedWriter
from transfuse.methods.catalogue import method
from transfuse.tasks.writing import Writing


def writer(**other):
    form = Form.plain("{text}:")
    path = WriterPath(remember(tiny.load("llama")), form=form, decoding=Decoding(10), limit=64, **other)
    return FittedWriter(Writing("generate", max_new_tokens=10), path, method="prompt")


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_a_stream_shows_the_demonstrations_that_its_request_has(spread):
    memory = LookupPath(["go on", "the good", "the bad"], ["yes", "so", "no"])
    fitted = writer(memory=memory, shots=2, spread=spread)
    (answer,) = fitted.predict(["go and be good"])
    assert "".join(fitted.stream("go and be good")) == answer
    assert answer != writer().predict(["go and be good"])[0], "the demonstrations matter"


def test_draws_go_on_from_part_to_part(monkeypatch):
    whole = writer().predict(["go"] * 10, temperature=1.0)
    assert len(set(whole)) > 7
    monkeypatch.setattr("transfuse.fitted.parts.AT_ONCE", 4)
    assert writer().predict(["go"] * 10, temperature=1.0) == whole


TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def chatting(folder, template=TEMPLATE):
    """A prompted model on a backbone with a chat template, saved; the backbone lies in ``folder``."""
    place = shutil.copytree(tiny.folder("llama"), folder / "backbone")
    (place / "chat_template.jinja").write_text(template)
    backbone = loading.load(str(place))
    rows = Examples(("go", "stay", "run"), ("yes", "no", "so"))
    task = Writing("generate", max_new_tokens=10)
    job = method("prompt", "generate").plan(task, backbone, TransferData(rows), 0, shots=1, choose="similar")
    fields = {"reference": "own", "resolved": str(place), "revision": backbone.revision}
    fitted = FittedWriter(task, Engine(Trunk(backbone, "fp32", 64), 0).fit(job), method="prompt", backbone=fields)
    return place, fitted.save(folder / "model"), fitted.predict(["go on"])


def test_a_chat_template_that_has_changed_is_refused(tmp_path, monkeypatch):
    loaded = {}
    monkeypatch.setattr(transfuse.fitted.model, "_LOADED", loaded)
    place, folder, expected = chatting(tmp_path)
    loaded.clear()
    assert load(folder).predict(["go on"]) == expected
    loaded.clear()
    for changed in (None, TEMPLATE + "?"):
        file = place / "chat_template.jinja"
        file.unlink() if changed is None else file.write_text(changed)
        with pytest.raises(ModelError) as caught:
            load(folder).predict(["go on"])
        found = str(caught.value)
        assert f"{folder}: the chat template of the backbone own has changed since the model was fitted" in found
        assert "Expected: the same chat template\nRemedy: Bring back tokenizer_config.json and chat_temp" in found
        assert ("(content none, not " in found) == (changed is None)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["path"]["chat_template"]  # as earlier versions wrote it
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert len(load(folder).predict(["go on"])) == 1


def test_backbones_that_differ_in_their_chat_template_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(transfuse.fitted.model, "_LOADED", {})
    made = [chatting(tmp_path / name, TEMPLATE + mark) for name, mark in (("a", ""), ("b", "!"))]
    transfuse.fitted.model._LOADED.clear()
    again = [load(folder) for _, folder, _ in made]
    assert [model.predict(["go on"]) for model in again] == [expected for _, _, expected in made]
    assert again[0].path.backbone is not again[1].path.backbone
    assert again[0].path.backbone is load(made[0][1]).path.backbone


def test_without_a_chat_template_none_is_kept():
    assert "chat_template" not in writer().manifest["path"]
