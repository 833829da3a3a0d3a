"""One call of a Gemini model, by the google-genai SDK: the Gemini API, or Vertex AI."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from transfuse.backbones.remote.faults import Failed, Fault, Refused, Retry, Unoffered
from transfuse.backbones.remote.of_openai import missing
from transfuse.backbones.remote.requests import Reply, Request, Token
from transfuse.backbones.remote.retries import retry_after
from transfuse.backbones.remote.secrets import key_of, plain_url, scrubbed, secrets_of
from transfuse.errors import BackboneError

ADDRESS = "https://generativelanguage.googleapis.com"
VERSION = "v1beta"
"""Of the API: v1 has no forms of answers."""
MOST_LOGPROBS = 19
PARTS = {
    "logprobs": ("logprobs", "Logprobs"),
    "structure": ("response_schema", "responseSchema", "responseJsonSchema", "mime", "JSON mode", "enum"),
    "seed": ("seed",),
    "temperature": ("temperature",),
}
"""The parts of a request that some models do not offer, and how the service calls them when it refuses them."""
CUT, DONE = "MAX_TOKENS", ("STOP", "FINISH_REASON_UNSPECIFIED", "")


class GoogleService:
    """A Gemini model: with the key of GEMINI_API_KEY or GOOGLE_API_KEY, or on Vertex AI.

    Vertex AI is asked where GOOGLE_GENAI_USE_VERTEXAI is true, for GOOGLE_CLOUD_PROJECT in GOOGLE_CLOUD_LOCATION, with
    the credentials that Google's libraries find by themselves. GOOGLE_GEMINI_BASE_URL names another address.

    Args:
        reference: for messages.
        model: as the service calls it.
        timeout: seconds for a connection, and for each silence of the service.

    Attributes:
        name: the service's address, and of Vertex AI the project, without anything secret.

    Raises:
        BackboneError: the SDK is not installed, or no key or project is set.
    """

    def __init__(self, reference: str, model: str, timeout: float) -> None:
        try:
            from google import genai
            from google.genai import types
        except ImportError as error:
            raise missing("google-genai", reference) from error
        address = os.environ.get("GOOGLE_GEMINI_BASE_URL", "").strip()
        self.model, self.secrets = model, tuple(secrets_of(address))
        options: dict[str, Any] = {"timeout": round(timeout * 1000), "retry_options": {"attempts": 1}}
        if address:
            options["base_url"] = address
        if os.environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").strip().lower() in ("true", "1"):
            project, place = _project(reference)
            self.name = f"{plain_url(address or f'https://{place}-aiplatform.googleapis.com')}/{project}/{place}"
            self._client = _vertex(reference, project, place, types.HttpOptions(**options))
            return
        key = key_of(reference, "GEMINI_API_KEY", "GOOGLE_API_KEY")
        self.name, self.secrets = plain_url(address or ADDRESS), (key, *self.secrets)
        options["api_version"] = VERSION
        self._client = genai.Client(vertexai=False, api_key=key, http_options=types.HttpOptions(**options))

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
            contents, config = _body(request, set(without))
            return _reply(self._client.models.generate_content(model=self.model, contents=contents, config=config))
        except Exception as error:  # noqa: BLE001 - the SDK lets errors of its parsers through
            fault = self._fault(error, request)
        raise fault

    def _fault(self, error: Exception, request: Request) -> Fault:
        """What an exception of the SDK means."""
        import httpx2
        from google.auth import exceptions
        from google.genai import errors

        told = scrubbed(str(error), self.secrets)
        if isinstance(error, Fault):
            return error
        if isinstance(error, errors.APIError):
            return _status(error, scrubbed(f"HTTP {error.code}: {error.message or error}", self.secrets), request)
        if isinstance(error, exceptions.GoogleAuthError):
            return Failed(told, "Log in: gcloud auth application-default login.")
        if isinstance(error, httpx2.TransportError):
            unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            return Retry(f"{type(error).__name__} {told}", doubtful=not unsent)
        return Retry(f"an answer that cannot be read: {type(error).__name__} {told}", doubtful=True)


def _project(reference: str) -> tuple[str, str]:
    names = ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION")
    project, place = (os.environ.get(name, "").strip() for name in names)
    if not project or not place:
        raise BackboneError(
            f"{reference}: GOOGLE_GENAI_USE_VERTEXAI is set, and {' or '.join(names)} is not",
            expected="the project and the location of Vertex AI in the environment",
            remedy=f"Run `export {names[0]}=... {names[1]}=...`, or unset GOOGLE_GENAI_USE_VERTEXAI.",
        )
    return project, place


def _vertex(reference: str, project: str, place: str, options: Any) -> Any:
    from google import genai
    from google.auth import exceptions

    try:
        return genai.Client(vertexai=True, project=project, location=place, http_options=options)
    except exceptions.GoogleAuthError as error:
        raise BackboneError(
            f"{reference}: {scrubbed(str(error), ())}",
            expected="credentials of Google Cloud",
            remedy="Log in: gcloud auth application-default login.",
        ) from None


def _body(request: Request, without: set[str]) -> tuple[list[Any], Any]:
    """The conversation and the settings as the SDK takes them."""
    from google.genai import types

    said = [message for message in request.messages if message.role != "system"]
    contents: list[Any] = [
        types.Content(role="model" if m.role == "assistant" else "user", parts=[types.Part(text=m.text)]) for m in said
    ]
    config: dict[str, Any] = {"max_output_tokens": request.max_tokens}
    system = "\n\n".join(message.text for message in request.messages if message.role == "system")
    if system:
        config["system_instruction"] = system
    if "temperature" not in without:
        config["temperature"] = request.temperature
    if request.seed is not None and "seed" not in without:
        config["seed"] = request.seed + request.sample
    if request.stop:
        config["stop_sequences"] = list(request.stop)
    if request.logprobs and "logprobs" not in without:
        config |= {"response_logprobs": True, "logprobs": min(request.logprobs, MOST_LOGPROBS)}
    if "structure" not in without and request.choices:
        config["response_mime_type"] = "text/x.enum"
        config["response_schema"] = {"type": "STRING", "enum": list(request.choices)}
    elif "structure" not in without and request.schema is not None:
        config |= {"response_mime_type": "application/json", "response_json_schema": dict(request.schema)}
    return contents, types.GenerateContentConfig(**config)


def _status(error: Any, told: str, request: Request) -> Fault:
    """What a status of HTTP means; none of these is billed."""
    status = int(error.code or 0)
    if status in (408, 429) or status >= 500:
        headers = getattr(error.response, "headers", None) or {}
        after = retry_after(headers)
        return Retry(told, after=_told_delay(error.details) if after is None else after)
    if status == 400 and "API key" not in told:
        asked = {
            "logprobs": request.logprobs > 0,
            "structure": bool(request.choices or request.schema),
            "seed": request.seed is not None,
        }
        for part, names in PARTS.items():
            if asked.get(part, True) and any(name in told for name in names):
                return Unoffered(part, told)
    return Failed(told, REMEDIES.get(status, "See what the service says."))


REMEDIES = {
    400: "Correct what the service names; the key stands in GEMINI_API_KEY.",
    401: "Correct the key in GEMINI_API_KEY.",
    403: "The key may not use this model: ask the service for it, or choose another model.",
    404: "Correct the model's name.",
}


def _told_delay(details: Any) -> float | None:
    """Seconds of a RetryInfo in an error's details, written like ``"17s"``."""
    inner = details.get("error", details) if isinstance(details, dict) else {}
    for entry in inner.get("details") or () if isinstance(inner, dict) else ():
        delay = entry.get("retryDelay") if isinstance(entry, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return retry_after({"retry-after": delay[:-1]})
    return None


def _reply(found: Any) -> Reply:
    """The answer in an object of the SDK."""
    usage = found.usage_metadata
    counts: tuple[int | None, int | None] = (None, None)
    if usage is not None and usage.prompt_token_count is not None:
        written = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        counts = (usage.prompt_token_count, written)
    if not found.candidates:
        feedback = found.prompt_feedback
        if feedback is None or feedback.block_reason is None:
            raise ValueError("neither an answer nor a reason")
        why = str(feedback.block_reason_message or getattr(feedback.block_reason, "value", feedback.block_reason))
        if counts[0] is None:
            raise Refused(why)
        return Reply(why, "refused", *counts)
    candidate = found.candidates[0]
    reason = str(getattr(candidate.finish_reason, "value", candidate.finish_reason) or "")
    parts = (candidate.content.parts if candidate.content else None) or ()
    text = "".join(part.text for part in parts if part.text and not part.thought)
    finish = "length" if reason == CUT else "stop" if reason in DONE else "refused"
    return Reply(text, finish, *counts, _tokens(candidate.logprobs_result))


def _tokens(found: Any) -> tuple[Token, ...] | None:
    """Tokens with their log-probabilities, where the service gave them."""
    if found is None or not found.chosen_candidates:
        return None
    tops = found.top_candidates or [None] * len(found.chosen_candidates)
    return tuple(
        Token(
            chosen.token or "",
            chosen.log_probability or 0.0,
            tuple((c.token or "", c.log_probability or 0.0) for c in (top.candidates or ())) if top else (),
        )
        for chosen, top in zip(found.chosen_candidates, tops, strict=False)
    )
