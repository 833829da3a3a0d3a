"""Roles with models: contracts held, token ids and log-probabilities kept, the same bytes again."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tiny
import torch
import toy
from teams.models import chooses, write_team, writes

from transfuse.errors import RecipeError
from transfuse.fitted import FittedWriter
from transfuse.fitted.model import known
from transfuse.fitted.recalled import LookupPath
from transfuse.tasks.writing import Writing
from transfuse.teams import Contract, Role, Team, Traces, protocol, replay
from transfuse.teams.building import prompted
from transfuse.teams.decoders import Writes
from transfuse.teams.role import Asked

TEAM = """
name: tiny
roles:
  understand: {model: understand, input: [request], output: {intent: labels}}
  urgent: {model: urgent, input: [request], output: {urgency: labels}}
  write: {model: write, input: [request, intent], output: {reply: text}, temperature: 1.0}
  judge: {model: judge, input: [request, reply], output: {verdict: [good, bad]}}
protocol: {pipeline: [understand, urgent, {best_of: {drafts: write, judge: judge, n: 3}}]}
seed: 3
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    models = {
        "understand": chooses(("refund", "other"), 1, layer=2),
        "urgent": chooses(("now", "later"), 2, cut=1, rank=2),
        "judge": chooses(("good", "bad"), 3, cut=2),
        "write": writes(4, rank=2),
    }
    return Team.load(write_team(folder, TEAM, **models))


def test_a_team_of_models_on_one_backbone_answers(team):
    requests = ["the good refund", "bad", "the bad the good", "b", "good good"]
    answers = team.ask_all(requests, at_once=3)
    assert {a.outcome for a in answers} == {"answered"}
    for answer in answers:
        assert [m.sender for m in answer.messages] == ["user", "understand", "urgent", *["write"] * 3, *["judge"] * 3]
        assert len({m.content["reply"] for m in answer.messages[3:6]}) > 1, "sampled, each draft by itself"
        assert answer.content["reply"] in [m.content["reply"] for m in answer.messages[3:6]]
        assert math.isclose(sum(map(math.exp, answer.messages[1].scores.values())), 1, rel_tol=1e-6)
    backbones = [known(tiny.load("llama"))]
    for role in team.roles.values():
        path = role.speaker.path if isinstance(role.speaker, Writes) else role.speaker.model.path
        backbones.append(path.backbone)
    assert len({id(b) for b in backbones}) == 1


def test_requests_side_by_side_are_encoded_once_each(team):
    trunk = team.roles["understand"].speaker.lane.trunk
    before = trunk.encoded
    team.ask_all(["one", "two", "three"], at_once=3)
    answers = 3 * 3  # the judge reads three drafts of each
    assert trunk.encoded - before <= 3 + answers


def test_replay_gives_the_same_bytes(team):
    traces = Traces()
    answers = team.ask_all([f"request {i}" for i in range(5)], traces, at_once=4)
    for answer in answers:
        assert replay(team, traces, answer.id) == []
    other = Team(team.name, list(team.roles.values()), team.protocol, seed=4)
    others = other.ask_all([f"request {i}" for i in range(5)], at_once=4)
    drafts = [[m.content for m in some[0].messages[3:6]] for some in (answers, others)]
    assert drafts[0] != drafts[1], "another seed writes otherwise"


def test_a_wave_that_was_cut_off_goes_on_with_the_same_bytes(team, tmp_path):
    """Some exchanges have ended, some are in the middle, some have not begun; they are answered together again."""
    requests = [f"request {i}" for i in range(4)]
    whole, cut = Traces(), Traces(tmp_path / "cut.sqlite")
    team.ask_all(requests, whole)
    answers = team.ask_all(requests, cut)
    with cut._base:
        for kept, answer in zip((99, 4, 2, 0), answers, strict=True):
            cut._base.execute("delete from messages where exchange = ? and turn >= ?", [answer.id, kept])
            if kept < 99:
                cut._base.execute("update exchanges set outcome = 'open', answer = null where id = ?", [answer.id])
    again = team.ask_all(requests, cut)
    bodies = [[[m.body for m in a.messages] for a in some] for some in (again, answers)]
    assert bodies[0] == bodies[1]
    assert bodies[0] == [[m.body for m in trace.messages] for trace in whole.search()]


def test_token_ids_and_log_probabilities_are_kept(team):
    """By hand: the decoder's own probabilities of the answer's tokens after the prompt."""
    message = team.ask("the good").messages[3]
    assert (len(message.ids), len(message.log_probabilities)) == (message.written, message.written)
    assert message.read == len(message.prompt_ids)
    network = team.roles["write"].speaker.path.writer("fp32").network
    with torch.inference_mode():
        logits = network(torch.tensor([[*message.prompt_ids, *message.ids]])).logits[0].log_softmax(-1)
    first = len(message.prompt_ids) - 1
    expected = [float(logits[first + i, token]) for i, token in enumerate(message.ids)]
    np.testing.assert_allclose(message.log_probabilities, expected, atol=1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": ["good", "bad"]},
        {"verdict": ["good", "bad"], "count": "number"},
        {"tags": "list", "verdict": ["yes", "no"]},
    ],
)
def test_a_random_model_keeps_its_contract(fields):
    """Whatever a model without any sense says is a content."""
    contract = Contract.of(fields)
    backbone = known(toy.backbone("decoder"))
    speaker = prompted(backbone, contract, "Judge.", max_new_tokens=40, temperature=1.0)
    role = Role("judge", speaker, contract)
    team = Team("one", [role], protocol("pipeline", steps=["judge"]))
    answers = team.ask_all([f"r{i}" for i in range(12)])
    assert [a.reason for a in answers] == [""] * 12
    assert all(contract.check(a.content) == a.content for a in answers)
    assert len({str(a.content) for a in answers}) > 1


def test_a_decoder_picks_the_label_that_it_finds_likeliest():
    """By hand: log p(label | prompt) over the labels; and a temperature draws by the seed of each call."""
    backbone, contract = known(toy.backbone("decoder")), Contract.of({"verdict": ["good", "rather bad"]})
    judge = prompted(backbone, contract, "Judge.")
    calls = [(judge, Asked({"request": text}, seed)) for seed, text in enumerate(["one", "another one"])]
    replies = judge.answer(calls)
    for reply, (_, asked) in zip(replies, calls, strict=True):
        (prompt,) = backbone.requests(judge.path.form, [asked.given["request"]], 999)
        expected = []
        for end in backbone.replies(judge.path.form, judge.labels, 99):
            with torch.inference_mode():
                logits = backbone.network()(torch.tensor([[*prompt, *end]])).logits[0].log_softmax(-1)
            expected.append(sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(end)))
        shares = np.array(expected) - np.logaddexp.reduce(expected)
        np.testing.assert_allclose(list(reply.scores.values()), shares, atol=1e-3)
        assert reply.content == {"verdict": judge.labels[int(shares.argmax())]}
    warm = prompted(backbone, contract, "Judge.", temperature=1e6)
    drawn = [warm.answer([(warm, Asked({"request": "x"}, seed))])[0].content["verdict"] for seed in range(20)]
    assert 4 < drawn.count("good") < 16
    assert drawn[:5] == [warm.answer([(warm, Asked({"request": "x"}, s))])[0].content["verdict"] for s in range(5)]


def test_an_adapter_of_a_writer_stays_beside_the_backbones_weights():
    """In the memory of one backbone; what it says is what the merged layers say."""
    contract, texts = Contract.of({"reply": "text"}), ["the good", "bad"]
    lean = Writes(writes(4, rank=2).path, contract, {})
    replies = lean.answer([(lean, Asked({"request": text})) for text in texts])
    assert [r.content for r in replies] == writes(4, rank=2).predict(texts)
    own = {p.data_ptr() for p in lean.path.backbone.network().parameters()}
    new = [p for p in lean.path.writer("fp32").network.parameters() if p.data_ptr() not in own]
    assert sum(p.numel() for p in new) == lean.path.trainable_parameters


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("{model: understand, output: {intent: [refund, others]}}", "its model chooses one of refund, other"),
        ("{model: understand, output: {intent: labels, reply: text}}", "its model chooses one of refund, other"),
        ("{model: nowhere, output: {reply: text}}", "key 'roles.x.model': no model in nowhere"),
        ("{output: {reply: text}}", "key 'roles.x': no model, and the team has no backbone"),
        (
            "{model: understand, output: {intent: labels}, temperature: 0.5}",
            "temperature: a model of method 'probe' has",
        ),
        ("{model: write, output: {intent: labels}}", "labels, but the role has no fitted model that knows any"),
    ],
)
def test_models_that_do_not_fit_their_role(tmp_path, role, said):
    models = {"understand": chooses(("refund", "other"), 1), "write": writes()}
    file = write_team(tmp_path, f"roles:\n  x: {role}\nprotocol: {{pipeline: [x]}}\n", **models)
    with pytest.raises(RecipeError) as error:
        Team.load(file)
    assert said in str(error.value)
    assert "team.yaml, line 2" in str(error.value)


def test_instructions_stand_before_a_fitted_form_once(tmp_path):
    text = 'roles:\n  x: {model: write, instructions: "Be kind.", output: {reply: text}}\nprotocol: {pipeline: [x]}\n'
    team = Team.load(write_team(tmp_path, text, write=writes()))
    path = team.roles["x"].speaker.path
    assert path.form.prefix == "Be kind.\n\n"
    assert dataclasses.replace(path.form, prefix="").template == "Request: {text}\nReply:"


@pytest.mark.parametrize(("kind", "answer", "said"), [("number", "12", 12.0), ("list", "red, blue", ["red", "blue"])])
def test_a_lookup_recalls_numbers_and_lists(tmp_path, kind, answer, said):
    model = FittedWriter(Writing("generate"), LookupPath(["how many parcels"], [answer]), method="lookup")
    text = f"""
name: recalling
roles:
  count: {{model: count, input: [request], output: {{x: {kind}}}}}
protocol: {{pipeline: [count]}}
"""
    found = Team.load(write_team(tmp_path, text, count=model)).ask("how many?")
    assert (found.outcome, found.content, found.reason) == ("answered", {"x": said}, "")
