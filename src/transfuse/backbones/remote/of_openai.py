"""One call of an OpenAI-compatible service by the official SDK: OpenAI, vLLM, Ollama, DeepSeek, Qwen and others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from transfuse.backbones.remote.faults import Failed, Fault, Refused, Retry, Unoffered
from transfuse.backbones.remote.requests import Reply, Request, Token
from transfuse.backbones.remote.retries import retry_after
from transfuse.backbones.remote.secrets import key_of, plain_url, scrubbed, secrets_of
from transfuse.errors import BackboneError

ADDRESS = "https://api.openai.com/v1"
MOST_LOGPROBS = 20
PARTS = {
    "logprobs": ("logprob",),
    "structure": ("response_format", "json_schema"),
    "temperature": ("temperature",),
    "seed": ("seed",),
    "max_tokens": ("max_tokens",),
}
"""The parts of a request that some services do not offer, and how they call them when they refuse them."""
POLICY = ("content_filter", "content_policy_violation")
ANSWER = "answer"
"""The key under which one of several choices is answered; the root of a schema must be an object."""


class OpenAIService:
    """A model at the address of OPENAI_BASE_URL, with the key of OPENAI_API_KEY.

    Args:
        reference: for messages.
        model: as the service calls it.
        timeout: seconds for a connection, and for each silence of the service.

    Attributes:
        name: the service's address, without anything secret.

    Raises:
        BackboneError: the SDK is not installed, or no key is set.
    """

    def __init__(self, reference: str, model: str, timeout: float) -> None:
        try:
            import openai
        except ImportError as error:
            raise missing("openai", reference) from error
        address = os.environ.get("OPENAI_BASE_URL", "").strip() or ADDRESS
        key = key_of(reference, "OPENAI_API_KEY")
        self.model, self.name = model, plain_url(address)
        self.secrets = (key, *secrets_of(address))
        self._official = urlsplit(address).hostname == urlsplit(ADDRESS).hostname
        self._client = openai.OpenAI(api_key=key, base_url=address, timeout=timeout, max_retries=0)

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def ask(self, request: Request, without: Iterable[str]) -> Reply:
        """One call.

        Args:
            request: the question.
            without: parts that the service does not offer, see `Unoffered`.

        Raises:
            Retry, Refused, Unoffered, Failed: there is no answer.
        """
        fault: Fault | None = None
        try:  # the fault is raised behind the handler: an SDK's exception, which may hold a key, is not chained to it
            return _reply(self._client.chat.completions.create(**self._body(request, set(without))))
        except Exception as error:  # noqa: BLE001 - the SDK lets errors of its parsers through
            fault = self._fault(error, request)
        raise fault

    def _body(self, request: Request, without: set[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.text} for message in request.messages],
        }
        newer = self._official or "max_tokens" in without
        body["max_completion_tokens" if newer else "max_tokens"] = request.max_tokens
        if "temperature" not in without:
            body["temperature"] = request.temperature
        if request.seed is not None and "seed" not in without:
            body["seed"] = request.seed + request.sample
        if request.stop:
            body["stop"] = list(request.stop)
        if request.logprobs and "logprobs" not in without:
            body |= {"logprobs": True, "top_logprobs": min(request.logprobs, MOST_LOGPROBS)}
        schema = _schema(request)
        if schema is not None and "structure" not in without:
            form = {"name": ANSWER, "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _fault(self, error: Exception, request: Request) -> Fault:
        """What an exception of the SDK means."""
        import httpx2
        import openai

        told = scrubbed(str(error), self.secrets)
        if isinstance(error, openai.APIStatusError):
            return self._status(error, told, request)
        if isinstance(error, openai.APIConnectionError):
            unsent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
            why = scrubbed(str(error.__cause__ or error), self.secrets)
            return Retry(f"{told} {why}".strip(), doubtful=not isinstance(error.__cause__, unsent))
        return Retry(f"an answer that cannot be read: {type(error).__name__} {told}", doubtful=True)

    def _status(self, error: Any, told: str, request: Request) -> Fault:
        """What a status of HTTP means; none of these is billed."""
        code, status = str(error.code or ""), error.status_code
        if status == 429 and code == "insufficient_quota":
            return Failed(told, "The account has no money left: see the service's page on billing.")
        if status in (408, 409, 429) or status >= 500:
            return Retry(f"HTTP {status}: {told}", after=retry_after(error.response.headers))
        if code in POLICY:
            return Refused(told)
        if status in (400, 403, 422):
            unoffered = _unoffered(str(error.param or ""), told, request)
            if unoffered is not None:
                return unoffered
        return Failed(told, REMEDIES.get(status, "See what the service says."))


REMEDIES = {
    400: "Correct what the service names.",
    401: "Correct the key: OPENAI_API_KEY must belong to the service of OPENAI_BASE_URL.",
    403: "The key may not use this model: ask the service for it, or choose another model.",
    404: "Correct the model's name, or the address in OPENAI_BASE_URL, which usually ends in /v1.",
}


def _unoffered(parameter: str, told: str, request: Request) -> Unoffered | None:
    """The part of the request that a message blames."""
    asked = {
        "logprobs": request.logprobs > 0,
        "structure": bool(request.choices or request.schema),
        "seed": request.seed is not None,
    }
    for text in filter(None, (parameter, told)):
        for part, names in PARTS.items():
            if asked.get(part, True) and any(name in text for name in names):
                return Unoffered(part, told)
    return None


def _schema(request: Request) -> dict[str, Any] | None:
    """The form of the answer as a JSON schema."""
    if request.choices:
        one = {"type": "string", "enum": list(request.choices)}
        return {"type": "object", "properties": {ANSWER: one}, "required": [ANSWER], "additionalProperties": False}
    return None if request.schema is None else dict(request.schema)


def _reply(found: Any) -> Reply:
    """The answer in an object of the SDK, which does not check what it has parsed."""
    choice = found.choices[0]
    message, usage = choice.message, found.usage
    refused = choice.finish_reason == "content_filter" or bool(getattr(message, "refusal", None))
    finish = "refused" if refused else "length" if choice.finish_reason == "length" else "stop"
    text = message.content or getattr(message, "refusal", None) or ""
    if not isinstance(text, str):
        raise ValueError("the answer is no text")
    told = getattr(choice, "logprobs", None)
    tokens = None
    if told is not None and told.content:
        tokens = tuple(
            Token(t.token, t.logprob, tuple((a.token, a.logprob) for a in t.top_logprobs or ())) for t in told.content
        )
    read, written = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return Reply(text, finish, read, written, tokens)


def missing(package: str, reference: str) -> BackboneError:
    """What is said where an SDK is not installed."""
    return BackboneError(
        f"{reference}: the package {package} is not installed",
        expected="the services' own SDKs",
        remedy='Install them: pip install "transfuse[remote]"',
    )


def answer_of(text: str) -> str:
    """The choice in an answer: in the object that was asked for, or the answer itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return str(found[ANSWER]) if isinstance(found, dict) and ANSWER in found else text
