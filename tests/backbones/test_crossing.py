"""Encoder-decoders: states, loss, decoding and trained layers equal to what plain transformers gives."""

import copy

import numpy as np
import pytest
import tiny
import torch

import transfuse.fitted.model
from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.backbones.scoring import LabelScorer
from transfuse.backbones.tokens import INNER, States, inner, outer
from transfuse.backbones.writing import Writer
from transfuse.data.examples import Examples
from transfuse.engine.answers import Pairs
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.engine.write import Answers
from transfuse.errors import BackboneError, ModelError
from transfuse.fitted import FittedWriter, load
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import Writing

TEXTS = ["go", "the bad dog is in the sun", "a", "xyz and more"]
REPLIES = ["the good", "x", "a dog is", "go go"]
FORM = Form.plain("Q: {text}", ())
every_family = pytest.mark.parametrize("family", tiny.CROSSING)


def plain(family, text, reply):
    """Logits of a reply's tokens by plain transformers, one pair alone, and the tokens."""
    backbone = tiny.load(family)
    head, tail = backbone.requests(FORM, [text], 100)[0], backbone.replies(FORM, [reply], 100)[0]
    given = torch.tensor([[backbone.start, *tail[:-1]]])
    return backbone.network()(input_ids=torch.tensor([head]), decoder_input_ids=given).logits[0], tail


def pairs():
    return Pairs(tuple(TEXTS), tuple(REPLIES), np.array([1.0, 2.0, 0.5, 1.0]), np.ones(4, dtype=bool))


@every_family
def test_a_request_and_a_reply_are_what_the_tokenizer_makes_of_them(family):
    backbone = tiny.load(family)
    tokenizer = backbone.tokenizer
    assert backbone.requests(FORM, ["go"], 50) == [tokenizer("Q: go")["input_ids"]]
    assert backbone.replies(FORM, ["go", ""], 50) == [tokenizer("go")["input_ids"], [tokenizer.eos_token_id]]
    assert backbone.layers == tiny.LAYERS


@every_family
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
@pytest.mark.parametrize("own", [False, True])
def test_a_frozen_prefix_and_the_layers_above_it_are_the_whole_model(family, cut, own):
    backbone = tiny.load(family)
    answers = Answers.of([(pairs(), FORM)], backbone, 64, 64)
    values = backbone.states([list(row) for row in answers.inputs], cut)
    states = States.of(values, answers.inputs)
    segment = backbone.segment(cut, backbone.layers, own=own)
    given, mask = states.batch(np.arange(4))
    with torch.inference_mode():
        hidden = backbone.normed(segment(given, mask))
        for row, (text, reply) in enumerate(zip(TEXTS, REPLIES, strict=True)):
            expected, tail = plain(family, text, reply)
            states_of_row = hidden[row, mask[row] == INNER]
            assert len(states_of_row) == len(tail)
            bias = getattr(backbone.network(), "final_logits_bias", torch.zeros(1))
            found = backbone.network().get_output_embeddings()(states_of_row) + bias
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@every_family
def test_the_loss_is_that_of_plain_cross_entropy(family):
    backbone = tiny.load(family)
    answers = Answers.of([(pairs(), FORM)], backbone, 64, 64)
    states = States.of(backbone.states([list(row) for row in answers.inputs], 1), answers.inputs)
    segment = backbone.segment(1, backbone.layers, own=True)
    hidden = segment(*states.batch(np.arange(4)))
    total = count = 0.0
    for text, reply, weight in zip(TEXTS, REPLIES, pairs().weights, strict=True):
        logits, tail = plain(family, text, reply)
        total += weight * torch.nn.functional.cross_entropy(logits, torch.tensor(tail), reduction="sum").item()
        count += weight * len(tail)
    assert answers.loss(backbone, hidden, np.arange(4), low=False).item() == pytest.approx(total / count, rel=1e-4)


@every_family
@pytest.mark.parametrize("beams", [1, 3])
def test_batches_write_what_generate_gives_one_by_one(family, beams):
    backbone = tiny.load(family)
    found = Writer(backbone, FORM, 64).write(TEXTS, Decoding(10, beams=beams))
    for text, answer in zip(TEXTS, found.texts, strict=True):
        ids = torch.tensor(backbone.requests(FORM, [text], 64))
        alone = backbone.network().generate(ids, max_new_tokens=10, num_beams=beams, do_sample=False)
        assert answer == backbone.tokenizer.decode(alone[0, 1:], skip_special_tokens=True).strip()


@every_family
def test_bits_of_known_answers(family):
    bits = Writer(tiny.load(family), FORM, 64).bits(TEXTS, REPLIES)
    for (own, count), text, reply in zip(bits, TEXTS, REPLIES, strict=True):
        logits, tail = plain(family, text, reply)
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(tail), reduction="sum").item() / np.log(2)
        assert own == pytest.approx(expected, rel=1e-4)
        assert count == len(reply)


@every_family
@pytest.mark.parametrize("name", ["finetune", "lora"])
def test_it_learns_to_answer_and_keeps_that(family, name, tmp_path, monkeypatch):
    backbone, task = tiny.load(family), Writing("generate", template="{text}", max_new_tokens=12)
    before = copy.deepcopy(backbone.network().state_dict())
    rows = Examples(tuple(f"{w} {i}" for i in range(12) for w in ("dog", "sun")), ("the good", "bad") * 12)
    settings = {"epochs": 60, "learning_rate": 1e-2 if name == "lora" else 3e-3, "train_layers": "all"}
    job = method(name, "generate").plan(task, backbone, TransferData(rows), 0, **settings)
    path = Engine(Trunk(backbone, "fp32", 64), 0).fit(job)
    asked = ["dog 4", "sun 30", "sun 7", "dog 2"]
    found = list(path.answers(asked))
    untrained = Writer(backbone, path.form, 64).bits(rows.texts, rows.labels)[:, 0].mean()
    assert path.bits(rows.texts, rows.labels)[:, 0].mean() < untrained / 1.5
    assert all(torch.equal(value, before[key]) for key, value in backbone.network().state_dict().items())
    fields = {k: getattr(backbone, k) for k in ("reference", "revision", "licence", "family")}
    model = FittedWriter(task, path, method=name, backbone=fields | {"resolved": backbone.reference})
    model.save(tmp_path / "model")
    monkeypatch.setattr(transfuse.fitted.model, "_LOADED", {})
    again = load(tmp_path / "model")
    assert again.predict(asked) == found
    assert "".join(again.stream("dog 4")).strip() == found[0]
    with pytest.raises(ModelError, match="encoder-decoder"):
        model.bundle(tmp_path / "bundle")


@every_family
@pytest.mark.parametrize("name", ["probe", "finetune"])
def test_labels_are_learnt_from_what_its_first_token_makes_of_a_text(family, name):
    backbone, task = tiny.load(family), Classify(("cold", "warm"))
    rows = Examples(tuple(f"{w} is {i}" for i in range(16) for w in ("dog", "sun")), ("cold", "warm") * 16)
    settings = {"epochs": 12, "learning_rate": 5e-3, "train_layers": 2} if name == "finetune" else {}
    job = method(name).plan(task, backbone, TransferData(rows), 0, **settings)
    path = Engine(Trunk(backbone, "fp32", 64), 2).fit(job)
    right = path.log_probabilities(["dog is 40", "sun is 41", "dog is 42", "sun is 43"]).argmax(1) == [0, 1, 0, 1]
    assert right.mean() >= 0.75


def test_it_is_not_asked_for_labels():
    with pytest.raises(BackboneError, match="not asked for labels"):
        LabelScorer(tiny.load("t5"), "", "{text}", ("good", "bad"), 64, "fp32")


def test_rows_of_both_kinds_of_tokens():
    assert outer([5, 6, inner(0), inner(7)]) == ([5, 6], [0, 7])
    states = States.of(torch.arange(6.0)[:, None], [[5, inner(0)], [1, 2, inner(3), inner(4)]])
    _, mask = states.batch([1, 0])
    assert mask.tolist() == [[1, 1, INNER, INNER], [1, INNER, 0, 0]]


def test_what_its_makers_set_for_a_task_of_theirs_is_undone():
    backbone = tiny.load("bart")
    plain = Writer(backbone, FORM, 64).write(TEXTS, Decoding(10)).texts
    settings = backbone.network().generation_config
    before = (settings.min_length, settings.no_repeat_ngram_size)
    settings.min_length, settings.no_repeat_ngram_size = 9, 2
    try:
        assert Writer(backbone, FORM, 64).write(TEXTS, Decoding(10)).texts == plain
    finally:
        settings.min_length, settings.no_repeat_ngram_size = before


def test_a_forced_first_token_stands_before_every_answer_and_outside_every_form():
    backbone = tiny.load("mbart")
    settings = backbone.network().generation_config
    settings.forced_bos_token_id = 7
    try:
        assert backbone.replies(FORM, ["go"], 9)[0][0] == 7
        writer = Writer(backbone, FORM, 64)
        found = writer.write(TEXTS, Decoding(12, constraint={"choices": ["red", "blue"]}))
        assert set(found.texts) <= {"red", "blue"}
    finally:
        settings.forced_bos_token_id = None
