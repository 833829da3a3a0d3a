"""Paths of remote models: they predict after they are saved and loaded, and no key is saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from remote_stand_in import KEY, RemoteStandIn

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.remote.conversation import Conversation
from transfuse.backbones.remote.purse import Purse
from transfuse.errors import BackboneError, ModelError
from transfuse.fitted import FittedModel, FittedWriter, load
from transfuse.fitted.ensemble import EnsemblePath
from transfuse.fitted.recalled import LookupPath
from transfuse.fitted.remote import Asked, RemoteLabelsPath, RemoteWriterPath, limit
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import Writing

CHANCES = {"good": 0.7, "bad": 0.3}
TALK = Conversation("Answer.", "Text: {text}\nLabel:", (("fine", "good"),), 64)


def labelling(model):
    path = RemoteLabelsPath(Asked.of(model), conversation=TALK, words=("good", "bad"), temperature=2.0)
    return FittedModel(Classify(("pos", "neg")), path, method="prompt", backbone={"reference": model.reference})


def writing(model, **more):
    path = RemoteWriterPath(Asked.of(model), conversation=TALK, decoding=Decoding(30, stop=(" END",)), **more)
    return FittedWriter(Writing("generate"), path, method="prompt", backbone={"reference": model.reference})


def test_labels_after_saving_and_loading(opened, tmp_path, monkeypatch):
    with RemoteStandIn(chances=lambda text: CHANCES) as service:
        fitted = labelling(opened(service, concurrency=2))
        found = fitted.predict_proba(["a", "b"])
        cold = np.array([0.7, 0.3]) ** 0.5
        assert found == pytest.approx(np.tile(cold / cold.sum(), (2, 1)), abs=1e-5)
        fitted.save(tmp_path / "m")
        again = load(tmp_path / "m")
        assert again.path.asked.settings.concurrency == 2
        assert np.array_equal(again.predict_proba(["a", "b"]), found)
        assert again.predict(["c"]) == ["pos"]
        again.path.asked.model.close()
        again.path.asked.model.answers.close()
    assert not any(KEY.encode() in file.read_bytes() for file in (tmp_path / "m").iterdir())
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(BackboneError, match="export OPENAI_API_KEY="):
        load(tmp_path / "m").predict(["d"])
    with pytest.raises(ModelError, match="precision 'bf16'"):
        again.predict(["a"], precision="bf16")


def test_a_purse_pays_for_what_is_asked_from_then_on(opened, tmp_path):
    with RemoteStandIn(chances=lambda text: CHANCES) as service:
        labelling(opened(service)).save(tmp_path / "m")
        again = load(tmp_path / "m")
        assert limit(again.path, Purse.of("one call", tokens=4000))
        assert again.predict(["a"]) == ["pos"]
        paid = len(service.bills)
        with pytest.raises(BackboneError, match=r"of 4,000 are left"):
            again.predict([f"number {i}" for i in range(200)])
        assert sum(read + written for _, read, written in service.bills) <= 4000
        assert len(service.bills) > paid
        assert limit(again.path, Purse.of("another call", tokens=4000))  # what was paid is not paid again
        bills = len(service.bills)
        assert again.predict(["a", "number 0"]) == ["pos", "pos"]
        assert len(service.bills) == bills
        again.path.asked.model.close()
    assert limit(EnsemblePath([again.path, again.path]), Purse.of("both"))
    assert not limit(LookupPath(["a"], ["b"]), Purse.of("nobody"))


def test_answers_after_saving_and_loading(opened, tmp_path):
    memory = LookupPath(["red apple", "blue sky"], ["rot", "blau"])
    with RemoteStandIn(answer=lambda text: f" {text.upper()} END of it") as service:
        fitted = writing(opened(service), memory=memory, shots=1)
        assert fitted.predict(["sky"]) == ["TEXT: SKY\nLABEL:"]
        assert [m["content"] for m in service.calls[0]["messages"]][1:3] == ["Text: blue sky\nLabel:", "blau"]
        assert service.calls[0]["stop"] == [" END"]
        fitted.save(tmp_path / "m")
        again = load(tmp_path / "m")
        assert again.predict(["sky"]) == ["TEXT: SKY\nLABEL:"]
        assert len(service.calls) == 1, "the answer is known"
        assert again.predict(["sky"], max_new_tokens=3) == ["TEXT: SK"]
        assert again.path.asked.model.spent.calls == 1
        with pytest.raises(ModelError, match="beams"):
            again.predict(["sky"], beams=2)
        again.path.asked.model.close()
        again.path.asked.model.answers.close()


def test_answers_that_follow_a_schema(opened):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    with RemoteStandIn(answer=lambda text: '{"n": 3}') as service:
        fitted = writing(opened(service, "google:m"))
        assert json.loads(fitted.predict(["x"], constraint={"schema": schema})[0]) == {"n": 3}
        assert service.calls[0]["generationConfig"]["responseJsonSchema"] == schema


def test_refusals_are_empty_and_counted(opened):
    with RemoteStandIn(["refusal", "length"]) as service:
        fitted = writing(opened(service, concurrency=1))
        assert fitted.predict(["a", "b"])[0] == ""
    assert (fitted.path.writer.refused, fitted.path.writer.cut) == (1, 1)


def test_there_is_no_bundle_of_what_is_elsewhere(opened, tmp_path):
    with RemoteStandIn() as service, pytest.raises(ModelError, match="no form for it"):
        writing(opened(service)).bundle(tmp_path / "b")
