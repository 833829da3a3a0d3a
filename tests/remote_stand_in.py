"""A stand-in for services of remote models: a threaded HTTP server on loopback with faults, and a bill of its own.

    with RemoteStandIn(script=["429", "500"]) as service:
        service.use(monkeypatch)
        ...

It speaks OpenAI's chat completions and Gemini's generateContent, as far as the SDKs use them: forms of answers,
log-probabilities, usage, refusals, answers cut at their longest, and errors as the services word them.
Tokens are pieces of three characters, so that words share first tokens.
"""

from __future__ import annotations

import email.utils
import json
import math
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-very-secret-0123456789"
PIECE = 3
Chances = Callable[[str], Mapping[str, float]]


class RemoteStandIn:
    """Answers ``text`` with ``answer(text)``, or with one of the choices by ``chances(text)``.

    Args:
        script: the fault of the first calls, one each; None for an answer. See `_Handler._fault`.
        chance: share of the calls that fail, by chance, with one of ``kinds``.
        kinds: of these faults.
        answer: to a question, by the text of its last message.
        chances: probabilities of the choices, by the same.
        logprobs: ``yes``, ``ignored``, ``refused`` (400) or ``forbidden`` (403).
        structure: whether forms of answers are offered.
        unknown: parameters that are refused.
        delay: seconds of an answer.

    Attributes:
        calls: the body of every request that arrived.
        bills: (text, tokens read, tokens written) of every answer that left.
    """

    def __init__(
        self,
        script: Iterable[str | None] = (),
        *,
        chance: float = 0.0,
        kinds: tuple[str, ...] = ("429", "500", "reset"),
        answer: Callable[[str], str] = lambda text: f"answer to {text}",
        chances: Chances | None = None,
        logprobs: str = "yes",
        structure: bool = True,
        unknown: tuple[str, ...] = (),
        delay: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.script, self.chance, self.kinds, self.delay = list(script), chance, kinds, delay
        self.answer, self.chances, self.logprobs, self.structure = answer, chances, logprobs, structure
        self.unknown = unknown
        self.calls: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.bills: list[tuple[str, int, int]] = []
        self.most_at_once = self._at_once = 0
        self.random, self.lock, self.ended = random.Random(seed), threading.Lock(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Variables for a process that shall ask this service."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": KEY,
            "GOOGLE_GEMINI_BASE_URL": self.url,
            "GEMINI_API_KEY": KEY,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def use(self, monkeypatch: Any) -> None:
        """Set these in this process."""
        for name in ("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)

    def next_fault(self) -> str | None:
        with self.lock:
            if self.script:
                return self.script.pop(0)
            return self.random.choice(self.kinds) if self.random.random() < self.chance else None

    def under_way(self, change: int) -> None:
        with self.lock:
            self._at_once += change
            self.most_at_once = max(self.most_at_once, self._at_once)

    def wait_idle(self) -> None:
        """Return when what had begun has left, for a client that may be gone."""
        quiet = 0
        while quiet < 5:
            time.sleep(0.01)
            quiet = quiet + 1 if self._at_once == 0 else 0

    def pieces(self, text: str, choices: list[str] | None, heat: float) -> list[tuple[str, dict[str, float]]]:
        """An answer piece by piece, with the probabilities of the pieces that could stand there."""
        if not choices:
            return [(piece, {piece: 1.0}) for piece in _cut(self.answer(text))]
        told = self.chances(text) if self.chances else dict.fromkeys(choices, 1 / len(choices))
        with self.lock:
            drawn = self.random.choices(list(told), list(told.values()))[0]
        word = drawn if heat else max(told, key=lambda w: told[w])
        out, written = [], ""
        for piece in [*_cut(word), ""]:
            rows = [(w, [*_cut(w), ""]) for w in told if "".join(_cut(w)[: len(out)]) == written]
            nexts: dict[str, float] = {}
            for w, cut in rows:
                nexts[cut[len(out)]] = nexts.get(cut[len(out)], 0.0) + told[w]
            total = sum(nexts.values())
            out.append((piece, {p: v / total for p, v in nexts.items() if v > 0}))
            written += piece
        return out

    def start(self) -> RemoteStandIn:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> RemoteStandIn:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


def _cut(text: str) -> list[str]:
    return [text[i : i + PIECE] for i in range(0, len(text), PIECE)]


def _handler(service: RemoteStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def log_message(self, *arguments: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            service.calls.append(body)
            service.paths.append(self.path)
            google = ":generateContent" in self.path
            key = self.headers.get("x-goog-api-key") or self.headers.get("Authorization", "")[7:]
            if key != KEY:
                self._error(401, f"Incorrect API key provided: {key}", google)
                return
            service.under_way(1)
            try:
                self._answer(body, google, service.next_fault())
            except OSError:
                self.close_connection = True
            finally:
                service.under_way(-1)

        def _answer(self, body: dict[str, Any], google: bool, fault: str | None) -> None:
            text, reply, counts = (_google if google else _openai)(service, body, fault or "")
            if isinstance(reply, str):  # a parameter that is not offered
                self._error(403 if service.logprobs == "forbidden" else 400, reply, google)
            elif not self._fault(fault, google, reply):
                if service.delay:
                    service.ended.wait(service.delay)
                self._send(200, json.dumps(reply).encode())
                with service.lock:
                    service.bills.append((text, *counts))

        def _fault(self, fault: str | None, google: bool, reply: Any) -> bool:
            """Whether there is no answer: all that can go wrong between two machines."""
            kind, _, value = (fault or "").partition(" ")
            data = json.dumps(reply).encode()
            if kind in ("429", "500", "503", "400", "403", "404"):
                self._error(int(kind), f"fault {kind} for {KEY} {value}", google, value)
            elif kind == "date":
                self._error(429, "slow down", google, email.utils.formatdate(time.time() + float(value), usegmt=True))
            elif kind == "quota":
                error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
                self._send(429, json.dumps({"error": error}).encode())
            elif kind == "timeout":
                service.ended.wait(float(value))
                self.close_connection = True
            elif kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.close()
                self.close_connection = True
            elif kind == "cut":
                self._send(200, data[: len(data) // 2], {"Content-Length": str(len(data))})
                self.close_connection = True
            elif kind == "malformed":
                self._send(200, data[: len(data) // 2])
            elif kind == "html":
                self._send(200, b"<html>gateway</html>", {"Content-Type": "text/html"})
            elif kind == "empty":
                self._send(200, b"{}")
            else:
                return False
            return True

        def _error(self, status: int, message: str, google: bool, wait: str = "") -> None:
            error: dict[str, Any] = {"message": message, "type": "error", "param": None, "code": None}
            if google:
                error = {"code": status, "message": message, "status": "X", "details": []}
                if wait:
                    kind = "type.googleapis.com/google.rpc.RetryInfo"
                    error["details"] = [{"@type": kind, "retryDelay": f"{wait}s"}]
            headers = {"Retry-After": wait} if wait and not google else {}
            self._send(status, json.dumps({"error": error}).encode(), headers)

        def _send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
            usual = {"Content-Type": "application/json", "Content-Length": str(len(data))}
            self.send_response(status)
            for name, value in {**usual, **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

    return Handler


def _openai(service: RemoteStandIn, body: dict[str, Any], fault: str) -> tuple[str, Any, tuple[int, int]]:
    text = body["messages"][-1]["content"]
    form = body.get("response_format")
    refused = [p for p in service.unknown if p in body]
    if body.get("logprobs") and service.logprobs in ("refused", "forbidden"):
        refused.append("logprobs")
    if form and not service.structure:
        refused.append("response_format")
    if refused:
        return text, f"Unsupported parameter: '{refused[0]}' is not supported with this model.", (0, 0)
    choices = None
    if form:
        assert form["json_schema"]["strict"] is True
        choices = form["json_schema"]["schema"]["properties"]["answer"]["enum"]
    elif service.chances:
        choices = list(service.chances(text))
    pieces = service.pieces(text, choices, body.get("temperature", 1.0))
    if form:
        end = [(p or '"}', {k or '"}': v for k, v in told.items()}) for p, told in pieces]
        pieces = [(p, {p: 1.0}) for p in ('{"', "answer", '": "')] + end
    pieces = [(p, told) for p, told in pieces if p]
    finish, refusal = "stop", None
    most = body.get("max_tokens") or body["max_completion_tokens"]
    if fault == "length" or len(pieces) > most:
        pieces, finish = pieces[: max(1, min(most, len(pieces) // 2))], "length"
    content: str | None = "".join(p for p, _ in pieces)
    if fault == "refusal":
        content, refusal = None, "I cannot help with that."
    if fault == "filter":
        content, finish = "", "content_filter"
    read = sum(len(m["content"]) for m in body["messages"]) // 4 + 3
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content, "refusal": refusal},
        "logprobs": None,
    }
    if body.get("logprobs") and service.logprobs == "yes":
        choice["logprobs"] = {
            "content": [
                {
                    "token": p,
                    "logprob": math.log(told[p]),
                    "bytes": list(p.encode()),
                    "top_logprobs": [
                        {"token": t, "logprob": math.log(v), "bytes": list(t.encode())}
                        for t, v in sorted(told.items(), key=lambda item: -item[1])[: body["top_logprobs"]]
                    ],
                }
                for p, told in pieces
            ]
        }
    usage = {"prompt_tokens": read, "completion_tokens": len(pieces), "total_tokens": read + len(pieces)}
    reply = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }
    if fault == "no usage":
        del reply["usage"]
    return text, reply, (read, len(pieces))


def _google(service: RemoteStandIn, body: dict[str, Any], fault: str) -> tuple[str, Any, tuple[int, int]]:
    text = body["contents"][-1]["parts"][0]["text"]
    config = body.get("generationConfig", {})
    if config.get("responseLogprobs") and service.logprobs == "refused":
        return text, "Logprobs is not enabled for this model", (0, 0)
    if config.get("responseMimeType") and not service.structure:
        return text, "responseSchema: enum is not supported", (0, 0)
    choices = (config.get("responseSchema") or {}).get("enum")
    pieces = service.pieces(text, choices, config.get("temperature", 1.0))
    pieces = [(p, {k: v for k, v in told.items() if k}) for p, told in pieces if p]
    reason = "STOP"
    if fault == "length" or len(pieces) > config["maxOutputTokens"]:
        pieces, reason = pieces[: max(1, min(config["maxOutputTokens"], len(pieces) // 2))], "MAX_TOKENS"
    said = [part["text"] for c in body["contents"] for part in c["parts"]]
    said += [part["text"] for part in body.get("systemInstruction", {}).get("parts", [])]
    read = sum(map(len, said)) // 4 + 3
    usage = {"promptTokenCount": read, "candidatesTokenCount": len(pieces), "totalTokenCount": read + len(pieces)}
    candidate: dict[str, Any] = {
        "index": 0,
        "finishReason": reason,
        "content": {"role": "model", "parts": [{"text": "".join(p for p, _ in pieces)}]},
    }
    if fault == "thoughts":
        usage["thoughtsTokenCount"] = 5
        candidate["content"]["parts"].insert(0, {"text": "hm", "thought": True})
    if config.get("responseLogprobs") and service.logprobs == "yes":
        candidate["logprobsResult"] = {
            "chosenCandidates": [{"token": p, "logProbability": math.log(told[p])} for p, told in pieces],
            "topCandidates": [
                {"candidates": [{"token": t, "logProbability": math.log(v)} for t, v in told.items()]}
                for _, told in pieces
            ],
        }
    reply: dict[str, Any] = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "x"}
    if fault == "refusal":
        candidate["finishReason"] = "SAFETY"
        del candidate["content"]
    if fault == "filter":
        reply = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": read}}
    written = len(pieces) + (5 if fault == "thoughts" else 0)
    return text, reply, (read, 0 if fault == "filter" else written)


def words_in(text: str) -> list[str]:
    """For tests that answer by what a question holds."""
    return re.findall(r"\w+", text)
