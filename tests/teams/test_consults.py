"""Roles behind an API, against a stand-in that speaks the real wire format."""

import json

import pytest
from remote_place import PRICES
from remote_stand_in import KEY, RemoteStandIn

from transfuse.backbones.remote.cache import Answers
from transfuse.teams.building import build
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.traces import Traces

TEXT = """
name: desk
roles:
  understand: {model: "openai:m", instructions: "Name the intent.", output: {intent: [refund, other]}}
  write: {model: "openai:m", instructions: "Answer kindly.", input: [request, intent], output: {reply: text}}
protocol: {pipeline: [understand, write]}
remote: {budget: {money: 0.05}, concurrency: 4, timeout_seconds: 5}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cache and prices of its own."""
    monkeypatch.setenv("TRANSFUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRANSFUSE_PRICES", str(tmp_path / "prices.toml"))
    (tmp_path / "prices.toml").write_text(PRICES)
    return tmp_path


def test_remote_roles_answer_within_their_contract_and_are_paid_once(own, monkeypatch):
    with RemoteStandIn(chances=lambda text: {"refund": 0.9, "other": 0.1}) as service:
        service.use(monkeypatch)
        team = build(TeamRecipe.from_text(TEXT, own))
        traces = Traces(own / "traces.sqlite")
        (answer,) = team.ask_all(["My money back, please"], traces)
        assert answer.outcome == "answered", answer.reason
        understood, written = (m for m in answer.messages if m.sender in ("understand", "write"))
        assert understood.content == {"intent": "refund"}
        assert written.content["reply"]
        assert understood.cost > 0
        bill = sum(read * 150_000 + out * 600_000 for _, read, out in service.bills) / 10**12
        assert understood.cost + written.cost == pytest.approx(bill)
        paid = len(service.bills)
        build(TeamRecipe.from_text(TEXT, own)).ask("My money back, please")
        assert len(service.bills) == paid
        for path in own.rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_a_budget_that_ends_is_a_refusal_and_not_an_error(own, monkeypatch):
    with RemoteStandIn(chances=lambda text: {"refund": 0.9, "other": 0.1}) as service:
        service.use(monkeypatch)
        team = build(TeamRecipe.from_text(TEXT.replace("money: 0.05", "tokens: 400"), own))
        answers = [team.ask(f"My money back, please, number {i}") for i in range(4)]
        assert answers[-1].outcome == "refused"
        assert "tokens" in answers[-1].reason
        whole = Answers(own / "cache" / "answers.sqlite")
        assert sum(whole.spent(f"team desk {own}").whole[:1]) <= 400
        whole.close()
        assert json.dumps(answers[-1].reason)


@pytest.mark.parametrize(
    ("script", "tokens", "reason"),
    [
        (["refusal"], 50_000, "role 'write' was refused an answer: openai:m: I cannot help with that."),
        (["404"], 50_000, "role 'write' raised BackboneError: openai:m: "),
        ([], 800, "role 'write' raised OverBudget: openai:m: the next answer takes up to "),
    ],
)
def test_a_request_without_an_answer_fails_alone(own, monkeypatch, script, tokens, reason):
    """Sixteen requests are asked in one pass; what was paid, a refusal included, stands in the messages."""
    text = TEXT.replace("money: 0.05", f"tokens: {tokens}").replace("[understand, write]", "[write]")
    text = text.replace("input: [request, intent]", "input: [request]")
    with RemoteStandIn(script=script) as service:
        service.use(monkeypatch)
        team = build(TeamRecipe.from_text(text, own))
        answers = team.ask_all([f"Request {i}" for i in range(16)])
        failed = [answer for answer in answers if answer.outcome == "refused"]
        assert len(failed) == 1 if script else 0 < len(failed) < 16
        assert all(answer.reason.startswith(reason) for answer in failed)
        assert all(a.text == f"answer to Request {i}" for i, a in enumerate(answers) if a not in failed)
        messages = [answer.messages[1] for answer in answers]
        assert sum(m.tokens for m in messages) == sum(read + out for _, read, out in service.bills)
        assert sum(m.cost for m in messages) == pytest.approx(
            sum(read * 150_000 + out * 600_000 for _, read, out in service.bills) / 10**12
        )


def test_a_silent_service_fails_its_own_call_alone(own, monkeypatch):
    """It is silent for as long as all calls of the pass may take together, and would be asked six times."""
    text = TEXT.replace("[understand, write]", "[write]").replace("[request, intent]", "[request], seconds: 0.5")
    with RemoteStandIn(script=["timeout 3"]) as service:
        service.use(monkeypatch)
        team = build(TeamRecipe.from_text(text, own))
        answers = team.ask_all([f"Request {i}" for i in range(6)])
        service.wait_idle()
        team.roles["write"].speaker.model.close()
    (failed,) = (answer for answer in answers if answer.outcome == "refused")
    assert "no answer after 1 tries" in failed.reason
