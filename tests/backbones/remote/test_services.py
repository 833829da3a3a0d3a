"""What the real SDKs make of what arrives, and of what does not."""

from __future__ import annotations

import logging
import math
import time

import pytest
from remote_place import QUICK, question
from remote_stand_in import KEY, RemoteStandIn

from transfuse.backbones.remote.model import open_model
from transfuse.backbones.remote.retries import Patience
from transfuse.errors import BackboneError

KINDS = pytest.mark.parametrize("reference", ["openai:m", "google:m"])
SURE = {"429 0.01": 2, "500": 2, "503": 2}
"""Faults after which nothing was billed, and the calls that an answer takes."""
DOUBTFUL = ("reset", "cut", "malformed", "html", "empty", "timeout 1.5")
"""Faults after which an answer may have been written and billed."""


@KINDS
def test_an_answer(opened, reference):
    with RemoteStandIn() as service:
        (reply,) = opened(service, reference).complete([question("hello")])
    assert (reply.text, reply.finish, reply.tokens, reply.cached) == ("answer to hello", "stop", None, False)
    assert [("hello", reply.input_tokens, reply.output_tokens)] == service.bills


@KINDS
@pytest.mark.parametrize("fault", SURE)
def test_what_was_not_billed_is_asked_again(opened, reference, fault):
    with RemoteStandIn([fault]) as service:
        model = opened(service, reference)
        assert model.complete([question("hello")])[0].text == "answer to hello"
    assert len(service.calls) == SURE[fault]
    assert (model.spent.calls, model.spent.doubtful) == (1, 0)


@KINDS
@pytest.mark.parametrize("fault", DOUBTFUL)
def test_what_may_have_been_billed_counts_at_its_worst(opened, reference, fault):
    asked = question("hello")
    with RemoteStandIn([fault]) as service:
        model = opened(service, reference, timeout_seconds=0.5 if fault.startswith("timeout") else 5.0)
        assert model.complete([asked])[0].text == "answer to hello"
    assert (model.spent.calls, model.spent.doubtful) == (1, 1)
    assert model.spent.doubtful_tokens == asked.most_input_tokens + asked.max_tokens


@KINDS
def test_the_service_says_how_long_to_wait(opened, reference):
    with RemoteStandIn(["429 0.3"]) as service:
        model = opened(service, reference, patience=Patience(first=0.001))
        start = time.monotonic()
        model.complete([question("hello")])
    assert time.monotonic() - start >= 0.3


def test_the_service_says_until_when_to_wait(opened):
    with RemoteStandIn(["date 1"]) as service:
        model = opened(service, patience=Patience(first=0.001, total=0.0))
        with pytest.raises(BackboneError, match="no answer after 1 tries"):
            model.complete([question("hello")])


@KINDS
def test_patience_ends(opened, reference):
    with RemoteStandIn(["500"] * 9) as service:
        with pytest.raises(BackboneError, match=r"no answer after 3 tries(.|\n)*Remedy: Run again later"):
            opened(service, reference, patience=Patience(3, 0.001)).complete([question("hello")])
        assert len(service.calls) == 3


@KINDS
@pytest.mark.parametrize(("fault", "remedy"), [("400", "Correct what"), ("403", "choose another"), ("404", "name")])
def test_what_never_goes_well_is_told_at_once(opened, reference, fault, remedy):
    with RemoteStandIn([fault]) as service:
        model = opened(service, reference)
        with pytest.raises(BackboneError, match=f"fault {fault}(.|\n)*Remedy: .*{remedy}"):
            model.complete([question("hello")])
    assert len(service.calls) == 1
    assert model.spent.whole.tokens == 0


def test_an_account_without_money_is_not_asked_again(opened):
    with RemoteStandIn(["quota"]) as service:
        with pytest.raises(BackboneError, match="Remedy: The account has no money left"):
            opened(service).complete([question("hello")])
        assert len(service.calls) == 1


@KINDS
@pytest.mark.parametrize("fault", ["refusal", "filter"])
def test_a_refusal_is_an_answer_that_says_so(opened, reference, fault):
    with RemoteStandIn([fault]) as service:
        model = opened(service, reference)
        assert model.complete([question("hello")])[0].finish == "refused"
        assert model.complete([question("hello")])[0].cached
        assert len(service.calls) == 1


@KINDS
def test_an_answer_that_was_cut_says_so(opened, reference):
    with RemoteStandIn(["length"]) as service:
        reply = opened(service, reference).complete([question("hello")])[0]
    assert reply.finish == "length"
    assert "answer to hello".startswith(reply.text)


def test_what_the_service_does_not_count_counts_at_its_worst(opened):
    asked = question("hello")
    with RemoteStandIn(["no usage"]) as service:
        reply = opened(service).complete([asked])[0]
    assert (reply.input_tokens, reply.output_tokens) == (asked.most_input_tokens, asked.max_tokens)


def test_thoughts_are_paid_and_not_shown(opened):
    with RemoteStandIn(["thoughts"]) as service:
        reply = opened(service, "google:m").complete([question("hello")])[0]
    assert (reply.text, reply.output_tokens) == ("answer to hello", 5 + 5)


@KINDS
def test_log_probabilities_arrive(opened, reference):
    chances = {"good": 0.6, "goal": 0.3, "bad": 0.1}
    with RemoteStandIn(chances=lambda text: chances) as service:
        asked = question("hello", choices=tuple(chances), logprobs=20)
        (reply,) = opened(service, reference).complete([asked])
    tops = [dict(token.top) for token in reply.tokens]
    first = next(top for top in tops if len(top) > 1)
    assert {token: round(math.exp(p), 6) for token, p in first.items()} in ({"goo": 0.6, "goa": 0.3, "bad": 0.1},)


@KINDS
@pytest.mark.parametrize("lacking", [{"logprobs": "refused"}, {"structure": False}])
def test_what_a_service_does_not_offer_is_left_out(opened, reference, lacking):
    with RemoteStandIn(chances=lambda text: {"good": 0.9, "bad": 0.1}, **lacking) as service:
        model = opened(service, reference, concurrency=1)
        model.complete([question(f"{i}", choices=("good", "bad"), logprobs=5) for i in range(3)])
        assert len(service.calls) == 4, "found once"
        assert model.unoffered == ({"logprobs"} if "logprobs" in lacking else {"structure"})


def test_log_probabilities_that_a_key_may_not_ask_for_are_left_out(opened):
    with RemoteStandIn(chances=lambda text: {"good": 0.9, "bad": 0.1}, logprobs="forbidden") as service:
        model = opened(service)
        assert model.complete([question("a", choices=("good", "bad"), logprobs=5)])[0].tokens is None
        assert model.unoffered == {"logprobs"}


def test_newer_names_of_settings_are_found(opened):
    with RemoteStandIn(unknown=("max_tokens", "temperature")) as service:
        assert opened(service).complete([question("hello")])[0].text == "answer to hello"
    assert [sorted(set(call) - {"model", "messages"}) for call in service.calls] == [
        ["max_tokens", "temperature"],
        ["max_completion_tokens", "temperature"],
        ["max_completion_tokens"],
    ]


def test_google_gets_system_turns_and_seeds(opened):
    with RemoteStandIn() as service:
        opened(service, "google:m").complete([question("hello", seed=3, sample=2, stop=("x",))])
    (body,), (path,) = service.calls, service.paths
    assert path == "/v1beta/models/m:generateContent"
    assert body["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert (body["generationConfig"]["seed"], body["generationConfig"]["stopSequences"]) == (5, ["x"])


@KINDS
def test_no_key_leaves_for_anywhere_but_the_service(opened, reference, own, caplog):
    caplog.set_level(logging.DEBUG)
    with RemoteStandIn(["400", None, "500", None]) as service:
        model = opened(service, reference)
        with pytest.raises(BackboneError) as caught:
            model.complete([question("hello")])
        model.complete([question("hello")])
        model.complete([question("again")])
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in str(error)
        assert "[key]" in str(error)
        error = error.__cause__ or error.__context__
    assert KEY not in caplog.text
    files = list((own / "cache").iterdir())
    assert files
    assert not any(KEY.encode() in file.read_bytes() for file in files)


@KINDS
def test_a_wrong_key_is_told_without_it(opened, reference, monkeypatch):
    with RemoteStandIn() as service:
        service.use(monkeypatch)
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-secret-key")
        monkeypatch.setenv("GEMINI_API_KEY", "wrong-secret-key")
        model = open_model(reference)
        with pytest.raises(BackboneError, match="Remedy: Correct the key") as caught:
            model.complete([question("hello")])
        model.close()
    assert "wrong-secret-key" not in str(caught.value)


@pytest.mark.parametrize(("reference", "name"), [("openai:m", "OPENAI_API_KEY"), ("google:m", "GEMINI_API_KEY")])
def test_a_missing_key_is_named(monkeypatch, reference, name):
    for key in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(key, raising=False)
    with pytest.raises(BackboneError, match=f"no key in the environment(.|\n)*{name}(.|\n)*export {name}="):
        open_model(reference)


def test_vertex_needs_a_project(monkeypatch):
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(BackboneError, match="GOOGLE_CLOUD_PROJECT"):
        open_model("google:m")


def test_vertex(own, monkeypatch):
    """With the login that Google's libraries find; a token in the place of a key."""
    import google.auth
    from google.oauth2.credentials import Credentials

    with RemoteStandIn() as service:
        service.use(monkeypatch)
        monkeypatch.setattr(google.auth, "default", lambda **settings: (Credentials(token=KEY), "project"))
        monkeypatch.delenv("GEMINI_API_KEY")
        for name, value in (("USE_VERTEXAI", "true"), ("PROJECT", "my-project"), ("LOCATION", "europe-west4")):
            monkeypatch.setenv(f"GOOGLE_{'GENAI' if name == 'USE_VERTEXAI' else 'CLOUD'}_{name}", value)
        model = open_model("google:m")
        assert model.complete([question("hello")])[0].text == "answer to hello"
        assert model.service.name == f"{service.url}/my-project/europe-west4"
        assert service.paths[0].endswith(
            "projects/my-project/locations/europe-west4/publishers/google/models/m:generateContent"
        )
        model.close()


@pytest.mark.parametrize(("reference", "package"), [("openai:m", "openai"), ("google:m", "google.genai")])
def test_a_missing_sdk_names_the_extra(monkeypatch, reference, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    if package == "google.genai":
        monkeypatch.delattr(__import__("google"), "genai", raising=False)
    with pytest.raises(BackboneError, match=r'pip install "transfuse\[remote\]"'):
        open_model(reference)


def test_quick_is_quick():
    assert QUICK.longest < 0.1, "tests wait for retries"
