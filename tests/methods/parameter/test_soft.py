"""Soft prompts: training through the segment, decoding through the cache and plain transformers agree."""

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones import adapters
from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.backbones.writing import Writer
from transfuse.data.examples import Examples
from transfuse.engine.answers import Pairs
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.engine.write import Answers
from transfuse.errors import BackboneError, RecipeError
from transfuse.methods.catalogue import method
from transfuse.tasks.writing import Writing

TEXTS, REPLIES = ["go", "the bad dog is in the sun", "a"], ["the good", "x", "go a dog"]
FORM = Form.plain("Q: {text}\nA:")
FAMILIES = [family for family in tiny.DECODERS if family != "gpt2"]
every_family = pytest.mark.parametrize("family", FAMILIES)


def softened(family, count=5):
    backbone = tiny.load(family)
    segment = backbone.segment(0, backbone.layers, own=True, shared=True, states=True)
    adapters.add(segment, {"kind": "soft", "tokens": count}, seed=1)
    return backbone, segment


def plain(backbone, soft, ids):
    """Logits of plain transformers with the vectors before a row's own embeddings."""
    network = backbone.network()
    embedded = network.get_input_embeddings()(torch.tensor([ids]))
    with torch.inference_mode():
        return network(inputs_embeds=torch.cat([soft.detach()[None], embedded], 1), use_cache=False).logits[0]


@every_family
def test_only_the_vectors_train_and_the_backbone_has_none(family):
    backbone, segment = softened(family)
    trained = [name for name, p in segment.model.named_parameters() if p.requires_grad]
    assert trained == ["soft_prompt"]
    assert segment.soft.shape == (5, tiny.WIDTH)
    assert not any("soft" in name for name, _ in backbone.network().named_parameters())


@every_family
def test_the_loss_is_that_of_plain_transformers(family):
    backbone, segment = softened(family)
    pairs = Pairs(tuple(TEXTS), tuple(REPLIES), np.ones(3), np.ones(3, dtype=bool))
    answers = Answers.of([(pairs, FORM)], backbone, 64, 64)
    states = Trunk(backbone, "fp32", 64).states_of(answers.inputs, 0)
    values, mask = states.batch(np.arange(3))
    found = answers.loss(backbone, segment(values.float(), mask), np.arange(3), low=False).item()
    total = count = 0.0
    for row, start in zip(answers.tokens, answers.starts, strict=True):
        logits = plain(backbone, segment.soft, list(row))[5 + start - 1 : -1]
        total += torch.nn.functional.cross_entropy(logits, torch.tensor(row[start:]), reduction="sum").item()
        count += len(row) - start
    assert found == pytest.approx(total / count, rel=1e-4)
    bits = Writer(backbone, FORM, 64, trained=segment).bits(TEXTS, REPLIES)
    assert bits[:, 0].sum() * np.log(2) == pytest.approx(total, rel=1e-4)


@every_family
def test_batches_write_what_each_request_gives_alone(family):
    backbone, segment = softened(family)
    writer = Writer(backbone, FORM, 64, trained=segment)
    found = writer.write(TEXTS, Decoding(8)).texts
    for text, answer in zip(TEXTS, found, strict=True):
        ids = FORM.requests(backbone.tokenizer, [text], 64)[0]
        start = len(ids)
        while len(ids) < start + 8:
            step = int(plain(backbone, segment.soft, ids)[-1].argmax())
            if step == backbone.tokenizer.eos_token_id:
                break
            ids = [*ids, step]
        assert answer == backbone.tokenizer.decode(ids[start:], skip_special_tokens=True).strip()
    assert "".join(writer.stream(TEXTS[1], Decoding(8))).strip() == found[1]


def test_what_it_cannot_do_is_refused():
    rows, task = TransferData(Examples(("a",), ("b",))), Writing("generate")
    plan = method("soft_prompt", "generate").plan
    for family in ("gpt2", "t5"):
        with pytest.raises(BackboneError, match="no soft prompt before"):
            plan(task, tiny.load(family), rows, 0)
    with pytest.raises(RecipeError, match="tokens: 0"):
        plan(task, tiny.load("llama"), rows, 0, tokens=0)
    backbone, segment = softened("llama")
    with pytest.raises(BackboneError, match="several beams"):
        Writer(backbone, FORM, 64, trained=segment).write(TEXTS, Decoding(4, beams=2))
