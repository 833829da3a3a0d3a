"""Many questions: in order, each once, within limits, and never over a budget."""

from __future__ import annotations

import concurrent.futures
import time

import pytest
from remote_place import question, questions
from remote_stand_in import RemoteStandIn

from transfuse.backbones.remote.cache import Answers
from transfuse.backbones.remote.model import RemoteModel, Settings
from transfuse.backbones.remote.prices import PICO
from transfuse.backbones.remote.purse import OverBudget, Purse
from transfuse.errors import BackboneError, OutputError

INPUT, OUTPUT = 150_000, 600_000
"""Picodollars a token, as conftest's prices have them."""


def bill(service: RemoteStandIn) -> int:
    return sum(read * INPUT + written * OUTPUT for _, read, written in service.bills)


def test_answers_stand_in_the_order_of_their_questions(opened):
    asked = questions(20)
    with RemoteStandIn(delay=0.01) as service:
        told: list[float] = []
        replies = opened(service, concurrency=5).complete(asked, told.append)
    assert [reply.text for reply in replies] == [f"answer to question {i}" for i in range(20)]
    assert told == [pytest.approx((i + 1) / 20) for i in range(20)]
    assert 1 < service.most_at_once <= 5


def test_equal_questions_are_asked_once_and_samples_apart(opened):
    with RemoteStandIn() as service:
        model = opened(service)
        model.complete([question("a"), question("b"), question("a")])
        assert len(service.calls) == 2
        model.complete([question("a", temperature=1.0, sample=i) for i in range(3)])
        assert len(service.calls) == 5


def test_nothing_is_asked_for_nothing(opened):
    with RemoteStandIn() as service:
        assert opened(service).complete([]) == []


def test_what_is_known_is_not_paid_again(opened):
    with RemoteStandIn() as service:
        first = opened(service, money=1.0).complete(questions(5))
        model = opened(service, money=1.0)
        again = model.complete(questions(6))
        assert len(service.calls) == 6
        assert [reply.cached for reply in again] == [True] * 5 + [False]
        assert [reply.text for reply in again[:5]] == [reply.text for reply in first]
        assert model.spent.picodollars == bill(service)


def test_another_service_or_model_has_answers_of_its_own(opened):
    with RemoteStandIn() as one, RemoteStandIn() as other:
        opened(one).complete([question("a")])
        assert not opened(one, "openai:m-2").complete([question("a")])[0].cached
        assert not opened(other).complete([question("a")])[0].cached


@pytest.mark.parametrize("kind", ["money", "tokens"])
def test_a_budget_is_never_exceeded(opened, kind):
    asked = questions(50)
    worst = asked[-1].most_input_tokens + asked[-1].max_tokens
    limits = {"money": {"money": 0.000_1}, "tokens": {"tokens": 3 * worst}}[kind]
    with RemoteStandIn(chance=0.2) as service:
        model = opened(service, **limits)
        with pytest.raises(OverBudget, match=r"are left(.|\n)*Remedy: Raise the budget"):
            model.complete(asked)
        spent, purse = model.spent, model.purse
        assert 0 < spent.calls == len(service.bills) < 50
        assert spent.picodollars == bill(service)
        assert spent.whole.picodollars <= (purse.picodollars or PICO)
        assert spent.whole.tokens <= (purse.tokens or 10**9)
        more = opened(service, **{k: 100 * v for k, v in limits.items()})
        service.chance = 0.0
        done = more.complete(asked)
        assert sum(reply.cached for reply in done) == spent.calls, "what was paid is kept"
        assert len({text for text, _, _ in service.bills}) == len(service.bills) == 50, "and not paid again"


def test_reservations_that_are_given_back_leave_room(opened):
    """Eight at once do not fit by their worst case; they wait for each other instead of failing."""
    asked = questions(8, max_tokens=500)
    one = asked[0].most_input_tokens + 500
    with RemoteStandIn(delay=0.01) as service:
        model = opened(service, tokens=round(2.5 * one), concurrency=8)
        assert len(model.complete(asked)) == 8
        assert service.most_at_once <= 2


def test_two_models_at_once_share_purse_and_answers(opened):
    asked = questions(12)
    with RemoteStandIn(delay=0.02) as service:
        models = [opened(service, money=1.0), opened(service, money=1.0)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda model: model.complete(asked), models))
        assert [r.text for r in both[0]] == [r.text for r in both[1]]
        assert len(service.bills) == 12
        assert models[0].spent.picodollars == bill(service)


def test_money_cannot_be_limited_without_a_price(opened):
    with RemoteStandIn() as service:
        with pytest.raises(BackboneError, match=r"no price is known of 'other' at http(.|\n)*prices.toml"):
            opened(service, "openai:other", money=1.0)
        model = opened(service, "openai:other", tokens=10_000)
        assert model.complete([question("a")])[0].picodollars == 0
        assert model.spent.input_tokens > 0


def test_a_forecast_holds_what_comes(opened):
    asked = questions(10)
    with RemoteStandIn() as service:
        model = opened(service, money=1.0, requests_per_minute=600)
        model.complete(asked[:4])
        before = model.spent.whole
        forecast = model.forecast([*asked, asked[0]])
        assert (forecast.calls, forecast.cached) == (6, 4)
        assert "prices.toml" in forecast.price
        assert len(service.calls) == 4, "a forecast asks nothing"
        model.complete(asked)
        after = model.spent.whole
    assert after.tokens - before.tokens <= forecast.most.tokens
    assert after.picodollars - before.picodollars <= forecast.most.picodollars
    assert forecast.likely.picodollars < forecast.most.picodollars


def test_no_minute_has_more_requests_than_it_may(opened):
    with RemoteStandIn() as service:
        model = opened(service)
        settings = Settings(concurrency=8, requests_per_minute=4)
        slow = RemoteModel("openai:m", model.service, model.purse, settings, answers=model.answers, window=0.2)
        start = time.monotonic()
        slow.complete(questions(12))
        assert time.monotonic() - start >= 0.4


def test_no_minute_has_more_tokens_than_it_may(opened):
    each = question("question 0").likely_input_tokens + 20
    with RemoteStandIn() as service:
        model = opened(service)
        settings = Settings(concurrency=8, tokens_per_minute=3 * each)
        slow = RemoteModel("openai:m", model.service, model.purse, settings, answers=model.answers, window=0.2)
        start = time.monotonic()
        slow.complete(questions(9))
        assert time.monotonic() - start >= 0.4


def test_the_first_error_ends_the_rest_and_keeps_what_was_paid(opened):
    with RemoteStandIn([None] * 5 + ["404"], delay=0.005) as service:
        model = opened(service, concurrency=2)
        with pytest.raises(BackboneError, match="fault 404"):
            model.complete(questions(100))
        assert model.spent.calls == len(service.bills) < 20
        kept = model.spent.calls
        again = model.complete(questions(20))
        assert sum(reply.cached for reply in again) == kept


def test_an_error_may_end_its_own_question_alone(opened):
    asked = [question("a"), question("b"), question("a"), question("c")]
    with RemoteStandIn(script=["404"]) as service:
        found = opened(service, concurrency=1).attempt(asked)
    assert isinstance(found[0], BackboneError)
    assert found[2] is found[0]
    assert [found[1].text, found[3].text] == ["answer to b", "answer to c"]


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "answers.sqlite").write_text("no database " * 100)
    with pytest.raises(OutputError, match="the cache of answers cannot be used"):
        Answers(tmp_path / "answers.sqlite")


def test_a_call_of_a_process_that_is_gone_counts_at_its_worst(tmp_path):
    answers, purse = Answers(tmp_path / "a.sqlite"), Purse.of("p", tokens=100)
    assert isinstance(answers.claim("k", purse, (50, 10), 0, "a call"), int)
    assert answers.claim("k", purse, (50, 10), 0, "a call") is None, "it is under way"
    answers._database.execute("UPDATE calls SET holder = '999999999 1.0'")
    with pytest.raises(OverBudget, match="40 of 100 are left"):
        answers.claim("k", purse, (50, 10), 0, "a call")
    assert answers.spent("p").doubtful_tokens == 60
    answers.close()
