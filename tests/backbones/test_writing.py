"""Decoding and the loss of answers: equal to plain transformers, whatever the batch and the family."""

import functools
import json
import re

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones.constraints import grammar_of
from transfuse.backbones.decoding import Decoding, Draws, loops, settled
from transfuse.backbones.form import Form
from transfuse.backbones.head_loss import head_loss
from transfuse.backbones.writing import Writer
from transfuse.data.turns import conversation
from transfuse.errors import BackboneError, UsageError

TEXTS = ["go", "the bad dog is in the sun", "a", "xyz and more"]
every_decoder = pytest.mark.parametrize("family", tiny.DECODERS)


def alone(backbone, form, text, count):
    """The greedy answer of plain transformers to one request, token by token without a cache."""
    row = form.requests(backbone.tokenizer, [text], 100)[0]
    ids = torch.tensor([row])
    network = backbone.network()
    for _ in range(count):
        with torch.inference_mode():
            step = network(input_ids=ids, use_cache=False).logits[0, -1].argmax()
        if int(step) == backbone.tokenizer.eos_token_id:
            break
        ids = torch.cat([ids, step.view(1, 1)], 1)
    return backbone.tokenizer.decode(ids[0, len(row) :], skip_special_tokens=True).strip()


@every_decoder
@pytest.mark.parametrize("shots", [(), (("one", "two"), ("three", "four"))])
def test_batches_write_what_each_request_gives_alone(family, shots):
    backbone = tiny.load(family)
    form = Form.plain("Q: {text}\nA:", shots)
    found = Writer(backbone, form, 64).write(TEXTS, Decoding(12))
    assert found.texts == [alone(backbone, form, text, 12) for text in TEXTS]


@every_decoder
def test_the_loss_of_answers_and_its_gradient(family):
    backbone = tiny.load(family)
    network = backbone.network()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, tiny.WIDTH, generator=generator, requires_grad=True)
    targets = torch.arange(7) + 5
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0, 0.0, 1.0, 3.0])
    logits = network.get_output_embeddings()(hidden)
    cap = getattr(network.config, "final_logit_softcapping", None)
    logits = torch.tanh(logits / cap) * cap if cap else logits
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    plain = (each * weights).sum() / weights.sum()
    (expected,) = torch.autograd.grad(plain, hidden)
    own = head_loss(backbone, hidden, targets, weights, low=False)
    (gradient,) = torch.autograd.grad(own, hidden)
    assert own.item() == pytest.approx(plain.item(), abs=1e-6)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)


def test_answers_follow_as_they_would_be_read():
    backbone = tiny.load("llama")
    form = Form.plain("Q: {text}\nA:")
    request = form.requests(backbone.tokenizer, ["the dog"], 64)[0]
    answer = form.answers(backbone.tokenizer, ["the good"], 64)[0]
    whole = backbone.tokenizer("Q: the dog\nA: the good")["input_ids"]
    assert [*request, *answer] == [*whole, backbone.tokenizer.eos_token_id]


def test_a_long_answer_is_cut_without_an_end():
    tokenizer = tiny.load("llama").tokenizer
    cut = Form.plain("{text}").answers(tokenizer, ["abcdefgh"], 4)[0]
    assert len(cut) == 4
    assert tokenizer.eos_token_id not in cut


def test_stop_strings_end_an_answer():
    backbone = tiny.load("llama")
    form = Form.plain("Q: {text}\nA:")
    whole = Writer(backbone, form, 64).write(TEXTS, Decoding(12)).texts
    stop = whole[1][3:5]
    found = Writer(backbone, form, 64).write(TEXTS, Decoding(12, stop=(stop,))).texts
    assert found == [text.partition(stop)[0].strip() for text in whole]


def test_sampling_is_repeatable_and_differs_by_seed():
    writer = Writer(tiny.load("llama"), Form.plain("{text}:"), 64)
    one, again, other = (writer.write(TEXTS, Decoding(8, temperature=1.0, seed=s)).texts for s in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.parametrize("family", ["llama", "gemma2", "t5"])
def test_a_row_draws_by_the_seed_and_its_place_alone(family, monkeypatch):
    writer = Writer(tiny.load(family), Form.plain("{text}:"), 64)
    drawn = Decoding(12, temperature=1.0, top_p=0.9, seed=3)
    same = writer.write(["go"] * 40, drawn).texts
    assert len(set(same)) > 30, "no batch repeats another one"
    mixed = ["go" if i % 2 else TEXTS[i % 3 + 1] for i in range(40)]
    assert writer.write(mixed, drawn).texts[1::2] == same[1::2]
    monkeypatch.setattr("transfuse.backbones.writing.MOST_ROWS", 3)
    assert writer.write(["go"] * 40, drawn).texts == same
    assert writer.write(["go"] * 30, drawn, first=10).texts == same[10:]


def test_beams_that_are_sampled_differ_between_batches(monkeypatch):
    writer = Writer(tiny.load("llama"), Form.plain("{text}:"), 64)
    monkeypatch.setattr("transfuse.backbones.writing.MOST_ROWS", 1)
    decoding = Decoding(12, beams=2, temperature=2.0, seed=3)
    found = writer.write(["go"] * 6, decoding).texts
    assert len(set(found)) > 3
    assert writer.write(["go"] * 6, decoding).texts == found


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.5, 0.6)])
def test_draws_follow_the_probabilities(temperature, top_p):
    scores = torch.tensor([2.0, -torch.inf, 1.0, 0.0, -1.0])
    count = 4000
    draws = Draws(Decoding(1, temperature=temperature, top_p=top_p), range(count))
    found = draws(torch.zeros(count, 1), scores.expand(count, -1)).argmax(1)
    shares = torch.softmax(scores / temperature, 0)
    kept = shares.cumsum(0) - shares < top_p  # they stand in their order, and what is impossible has no share
    expected = shares * kept / (shares * kept).sum()
    np.testing.assert_allclose(torch.bincount(found, minlength=5) / count, expected, atol=0.025)
    assert not (found == 1).any()


def test_a_beam_of_several_writes_something_at_least_as_likely():
    backbone = tiny.load("llama")
    form = Form.plain("{text}:")
    greedy, wide = (Writer(backbone, form, 64).write(TEXTS[:2], Decoding(6, beams=b)).texts for b in (1, 4))
    for text, a, b in zip(TEXTS, greedy, wide, strict=False):
        assert likelihood(backbone, form, text, b) >= likelihood(backbone, form, text, a) - 0.5


def likelihood(backbone, form, text, answer):
    row = form.requests(backbone.tokenizer, [text], 64)[0]
    tail = form.answers(backbone.tokenizer, [answer], 64)[0][:-1]
    with torch.inference_mode():
        logits = backbone.network()(input_ids=torch.tensor([row + tail])).logits[0]
    shares = torch.log_softmax(logits, -1)
    return sum(float(shares[len(row) - 1 + i, token]) for i, token in enumerate(tail)) / max(len(tail), 1)


@every_decoder
@pytest.mark.parametrize("shots", [(), (("one", "two"), ("three", "four"))])
def test_answers_among_which_is_chosen_are_as_likely_as_alone(family, shots, monkeypatch):
    backbone = tiny.load(family)
    form = Form.plain("{text} =", shots)
    writer = Writer(backbone, form, 60, "fp32")
    prompts = [*backbone.requests(form, TEXTS, 60), [5]]
    ends = backbone.replies(form, ["yes", "no", "something longer", "y"], 60)
    monkeypatch.setattr("transfuse.backbones.writing.MOST_ROWS", 3)
    found = writer.choices(prompts, ends)
    each = writer.likelihoods([p for p in prompts for _ in ends], [e for _ in prompts for e in ends])
    assert [[len(row) for row in rows] for rows in found] == [[len(end) for end in ends]] * len(prompts)
    np.testing.assert_allclose(np.concatenate([row for rows in found for row in rows]), np.concatenate(each), atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "found"),
    [(list(range(40)), False), ([1, 2] * 12, True), ([9] * 24, True), ([9] * 23, False), (list(range(30)) * 4, True)],
)
def test_loops_are_seen(tokens, found):
    assert loops(tokens) == found


def test_a_looping_model_is_stopped_and_counted():
    backbone = tiny.load("llama")
    found = Writer(backbone, Form.plain("{text}"), 64).write(["go"] * 3, Decoding(90))
    ended = found.tokens < 90
    assert (found.looped <= ended).all() or found.looped.any()


def test_the_chat_template_of_the_model():
    tokenizer = tiny.tokenizer("llama")
    tokenizer.chat_template = (
        "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant: {% endif %}"
    )
    form = Form.chat(tokenizer, [("hi {text}", "hello")])
    assert form.prefix == "<s>user: hi {text}</s><s>assistant: hello</s><s>user: "
    assert form.template == "{text}</s><s>assistant: "
    rows = form.requests(tokenizer, ["yes"], 64)
    assert rows[0] == tokenizer(form.prefix + "yes</s><s>assistant: ", add_special_tokens=False)["input_ids"]


def test_a_conversation_is_shown_with_the_roles_of_the_chat_template():
    """Token for token what the template makes of the messages; a system message stands before the first question."""
    tokenizer = tiny.tokenizer("llama")
    tokenizer.chat_template = (
        "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant: {% endif %}"
    )
    talk = [("user", "a"), ("assistant", "b"), ("user", "c User: d")]
    text = conversation([("system", "be kind"), *talk])
    messages = [{"role": role, "content": content} for role, content in [("user", "be kind\n\na"), *talk[1:]]]
    whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    for shots in ((), [(text, "yes")]):
        form = Form.chat(tokenizer, shots)
        (row,) = form.requests(tokenizer, [text], 200)
        before = f"{whole}yes</s>" if shots else ""
        assert row == tokenizer(before + whole, add_special_tokens=False)["input_ids"]
        assert Form(**form.to_dict()) == form
    plain = Form.plain("{text}")
    assert plain.shown(text) == "be kind\n\nUser: a\nAssistant: b\nUser: c User: d"
    assert "replied" not in plain.to_dict()


def test_an_encoder_cannot_write():
    with pytest.raises(BackboneError, match="cannot write"):
        Writer(tiny.load("bert"), Form.plain("{text}"), 64)


def test_demonstrations_without_room_for_a_request():
    form = Form.plain("{text}:", [("x" * 60, "y" * 60)])
    with pytest.raises(BackboneError, match="no room"):
        Writer(tiny.load("llama"), form, 64).write(["a"], Decoding(40))


def test_a_long_request_loses_its_end():
    backbone = tiny.load("llama")
    rows = Form.plain("Q: {text}\nA:").requests(backbone.tokenizer, ["b" * 200], 20)
    assert len(rows[0]) <= 22
    assert backbone.tokenizer.decode(rows[0]).endswith("A:")
    assert np.isin(rows[0][1:3], backbone.tokenizer("Q:", add_special_tokens=False)["input_ids"]).all()


def constrained(form, count=24, **decoding):
    writer = Writer(tiny.load("llama"), Form.plain("Q: {text}\nA:"), 64)
    return writer.write(TEXTS, Decoding(count, constraint=form, **decoding)).texts


def test_answers_from_a_list():
    assert set(constrained({"choices": ["red", "green (light)", "blue"]})) <= {"red", "green (light)", "blue"}


@pytest.mark.parametrize("decoding", [{}, {"beams": 3}, {"temperature": 1.0}])
def test_answers_that_fit_a_pattern(decoding):
    found = constrained({"pattern": "[a-c]{2}[0-9]"}, **decoding)
    assert all(re.fullmatch("[a-c]{2}[0-9]", text) for text in found), found


def test_answers_that_are_json_by_a_schema():
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
        "required": ["ok", "kind"],
        "additionalProperties": False,
    }
    for text in constrained({"schema": schema}, 64):
        found = json.loads(text)
        assert isinstance(found["ok"], bool)
        assert found["kind"] in ("a", "b")


@pytest.mark.parametrize(
    "form", [{}, {"choices": []}, {"pattern": "("}, {"pattern": "a", "choices": ["b"]}, {"x": "y"}]
)
def test_a_form_that_cannot_be_read_is_refused(form):
    with pytest.raises(UsageError, match="constraint"):
        grammar_of(form)


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(12),
        Decoding(12, stop=("o",)),
        Decoding(40, strip=False, stop=("the go", "\n\n")),
        Decoding(12, temperature=1.0, seed=5),
        Decoding(8, beams=3),
    ],
    ids=["plain", "stop", "several", "sampled", "beams"],
)
def test_a_stream_is_the_whole_answer_in_pieces(decoding):
    writer = Writer(tiny.load("llama"), Form.plain("Q: {text}\nA:"), 64)
    for text, shots in zip(TEXTS, (None, None, [[("one", "two")]], [[("good", "bad")]]), strict=True):
        pieces = list(writer.stream(text, decoding, shots))
        assert "".join(pieces) == writer.write([text], decoding, shots).texts[0]
        assert "" not in pieces
        assert (len(pieces) > 1) == (decoding.beams == 1 and len("".join(pieces)) > 1)


def test_a_stream_tells_what_went_wrong():
    writer = Writer(tiny.load("llama"), Form.plain("{text}"), 64)
    with pytest.raises(BackboneError, match="leave no room for a request"):
        list(writer.stream("go", Decoding(150)))


@pytest.mark.parametrize(
    ("written", "sure"),
    [
        ("All is well. E", "All is well."),
        ("All is well. END OF ", "All is well."),
        ("All is well. END OF REPLY", "All is well."),
        ("All is well. END OF IT", "All is well. END OF IT"),
        ("so \ufffd", "so"),
        ("xEND O", "x"),
        (" x ", "x"),
    ],
)
def test_what_a_stop_string_may_take_back_is_not_told(written, sure):
    assert settled(written, Decoding(9, stop=("END OF REPLY", "ND O!", "Z"))) == sure


def test_a_stop_string_that_another_one_begins_in():
    assert settled("xab", Decoding(9, stop=("ab", "b c"))) == "x"


def test_demonstrations_of_each_request_its_own():
    backbone = tiny.load("llama")
    form = Form.plain("Q: {text}\nA:")
    shots = [[("one", "two")], [], [("a", "b"), ("c", "d")], [("x", "y" * 400)]]
    found = Writer(backbone, form, 64).write(TEXTS, Decoding(12), shots).texts
    assert (
        found[:3] == [alone(backbone, form.after(None, own), t, 12) for own, t in zip(shots, TEXTS, strict=False)][:3]
    )
    assert found[3] == alone(backbone, form, TEXTS[3], 12)  # no room for so long a demonstration


def test_rows_that_are_done_leave_their_batch(monkeypatch):
    """A stop string that most answers have early: the steps after it are of the others alone."""
    backbone = tiny.load("llama")
    form = Form.plain("Q: {text}\nA:")
    writer = Writer(backbone, form, 64)
    texts = [f"{text} {i}" for i in range(3) for text in TEXTS]
    whole = writer.write(texts, Decoding(24)).texts
    stop = "the"  # a piece of most answers
    sizes = []
    forward = type(writer.network).forward

    @functools.wraps(forward)  # generate reads the signature
    def counted(self, *args, **kwargs):
        sizes.append(len(kwargs["input_ids"]))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(writer.network), "forward", counted)
    found = writer.write(texts, Decoding(24, stop=(stop,)))
    assert found.texts == [text.partition(stop)[0].strip() for text in whole]
    assert 0 < sum(stop in text for text in whole) < len(whole)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen2", "gpt2"])
@pytest.mark.parametrize("count", [24, 60])
def test_rows_that_were_done_long_ago_stay_done(family, count):
    """Behind the answers that end first stand many padding tokens, which are neither an answer nor a loop."""
    backbone = tiny.load(family)
    form = Form.plain("Q: {text}\nA:")
    writer = Writer(backbone, form, 64)
    texts = [f"{text} {i}" for i in range(2) for text in TEXTS]
    alone = [writer.write([text], Decoding(count)) for text in texts]
    for stop in ((), ("the",), ("o",)):
        each = [writer.write([text], Decoding(count, stop=stop)) for text in texts] if stop else alone
        found = writer.write(texts, Decoding(count, stop=stop))
        assert found.texts == [one.texts[0] for one in each]
        assert found.tokens.tolist() == [int(one.tokens[0]) for one in each]
        assert found.looped.tolist() == [bool(one.looped[0]) for one in each]


def test_bits_of_a_long_answer_behind_long_demonstrations():
    """What the context holds is scored, and its bytes alone are counted."""
    backbone = tiny.load("llama")
    form = Form.plain("{text}:", [("x" * 40, "y" * 20)])
    (bits, count), (plain, whole) = Writer(backbone, form, 64).bits(["go", "go"], ["a" * 200, "ab"])
    assert 0 < count < 200
    assert bits > plain > 0
    assert whole == 2
