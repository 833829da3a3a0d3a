"""The pure parts: waits, prices, budgets, addresses without secrets, references."""

from __future__ import annotations

import email.utils
import random
import time

import pytest

from transfuse.backbones.remote import is_remote
from transfuse.backbones.remote.prices import PICO, price_of
from transfuse.backbones.remote.purse import Amount, OverBudget, Purse
from transfuse.backbones.remote.requests import Message, Reply, Request, Token
from transfuse.backbones.remote.retries import Patience, retry_after
from transfuse.backbones.remote.secrets import plain_url, scrubbed, secrets_of
from transfuse.data.remote_names import parse
from transfuse.errors import BackboneError


def test_waits_grow_by_chance_up_to_the_longest():
    patience, chance = Patience(10, first=1.0, longest=4.0), random.Random(0)
    drawn = [[patience.delay(failed, None, 0, chance) for _ in range(300)] for failed in range(1, 6)]
    assert [round(max(waits)) for waits in drawn] == [1, 2, 4, 4, 4]
    assert all(min(waits) < 0.1 * max(waits) for waits in drawn), "full jitter begins at 0"
    assert patience.delay(10, None, 0, chance) is None


def test_no_wait_is_shorter_than_the_service_asks_for():
    patience, chance = Patience(first=1.0, total=100), random.Random(0)
    waits = [patience.delay(1, 7.0, 0, chance) for _ in range(100)]
    assert 7 <= min(waits) < max(waits) <= 8
    assert patience.delay(1, 101.0, 0, chance) is None, "rather than to wait so long"
    assert patience.delay(1, 7.0, 95, chance) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": email.utils.formatdate(0, usegmt=True)}, 0.0),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_a_date():
    told = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert retry_after({"retry-after": told}) == pytest.approx(30, abs=2)


def test_prices_are_exact(own):
    (own / "prices.toml").write_text(
        '[[price]]\nservice = "h.example"\nmodels = ["a-*"]\ninput = 0.0375\noutput = 15\nchecked = 2026-01-31\n'
    )
    price = price_of("https://h.example:8000/v1", "a-1")
    assert (price.input, price.output) == (37_500, 15_000_000)
    assert price.of(1_000_000, 1_000_000) == 15.0375 * PICO
    assert price.told.endswith("prices.toml, 2026-01-31")
    assert price_of("https://h.example/v1", "b") is None
    assert price_of("https://other.example/v1", "a-1") is None


def test_the_user_s_prices_go_before_the_shipped_ones(own):
    assert price_of("https://api.openai.com/v1", "gpt-4.1-mini").told == "transfuse's prices.toml, not looked up"
    assert price_of("https://api.openai.com/v1", "gpt-4.1-mini-2025-04-14").input == 400_000
    (own / "prices.toml").write_text(
        '[[price]]\nservice = "api.openai.com"\nmodels = ["gpt-4.1-mini"]\ninput = 9\noutput = 9\n'
    )
    assert price_of("https://api.openai.com/v1", "gpt-4.1-mini").input == 9_000_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("price = 3", "price"),
        ("[[price]]\nservice = 'x'", "price 1: input, models, output"),
        ("[[price]]\nservice = 'x'\nmodels = ['a']\ninput = 'a'\noutput = 1", "price 1: 'a'"),
        ("[[price]]\nservice = 'x'\nmodels = ['a']\ninput = -1\noutput = 1", "price 1: -1"),
        ("[[price", "no TOML"),
    ],
)
def test_a_wrong_file_of_prices_is_told(own, text, found):
    (own / "prices.toml").write_text(text)
    with pytest.raises(BackboneError, match=rf"prices.toml.*{found}"):
        price_of("http://x", "a")


def test_a_missing_file_of_prices_is_told(own):
    (own / "prices.toml").unlink()
    with pytest.raises(BackboneError, match="Correct TRANSFUSE_PRICES"):
        price_of("http://x", "a")


def test_a_purse_takes_what_just_fits():
    purse = Purse.of("p", money=0.01, tokens=100)
    purse.refuse(Amount(60, PICO // 200), Amount(40, PICO // 200), "it")
    with pytest.raises(OverBudget, match="it takes up to 41 tokens; 40 of 100 are left"):
        purse.refuse(Amount(60, 0), Amount(41, 0), "it")
    with pytest.raises(OverBudget, match=r"it costs up to 0.0100.. USD; 0.009900 USD of 0.010000 are left"):
        purse.refuse(Amount(0, PICO // 10_000), Amount(1, PICO // 100), "it")
    Purse("without").refuse(Amount(10**9, 10**18), Amount(10**9, 10**18), "it")


def test_nothing_secret_is_told():
    address = "https://me:pass-word@h.example:8/v1/?key=query-secret"
    assert plain_url(address) == "https://h.example:8/v1"
    assert secrets_of(address) == ["pass-word", "query-secret"]
    assert scrubbed(f"Bearer abc ya29.{'x' * 30} sk-{'y' * 20}.", ()) == "Bearer [key] [key] [key]"
    assert scrubbed("a sk-12\n b sk-1", ("sk-1", "sk-12", "")) == "a [key] b [key]"


@pytest.mark.parametrize("wrong", ["openai:", "openai: m", "azure:m", "m"])
def test_references(wrong):
    assert parse("openai:org/model:free") == ("openai", "org/model:free")
    assert is_remote("google:gemini-2.5-flash")
    assert not is_remote("openai")
    assert not is_remote("catalog:minilm-l6")
    with pytest.raises(BackboneError, match="openai:MODEL or google:MODEL"):
        parse(wrong)


def test_no_tokenizer_exceeds_the_bound():
    text = "wörld 好的 😀 zzz"
    request = Request((Message("user", text),), 5, choices=("a", "b"))
    assert request.most_input_tokens > len(text.encode()) + len("ab")
    assert request.likely_input_tokens < request.most_input_tokens


def test_replies_come_back_as_they_were():
    tokens = (Token("a", -0.5, (("a", -0.5), ("b", -1.0))),)
    reply = Reply("a", "stop", 3, 1, tokens, 77)
    assert Reply.from_json(reply.to_json()) == Reply("a", "stop", 3, 1, tokens, 77, cached=True)
    assert Reply.from_json(Reply("", "length", 1, 2).to_json()).tokens is None
