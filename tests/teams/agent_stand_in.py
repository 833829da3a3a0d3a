"""A stand-in for the service of an agent's own model: it calls the one tool that it is shown, and passes on its words.

It speaks OpenAI's chat completions on loopback, as far as an agent needs them: tools, and a call of one of them.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-of-nobody"


class AgentStandIn:
    """A context in which the service runs.

    Attributes:
        calls: the body of every request that arrived.
        paths: where each went.
    """

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.paths: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5

            def log_message(self, *arguments: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.calls.append(body)
                service.paths.append(self.path)
                data = json.dumps(_completion(body)).encode()
                self.send_response(200 if self.headers["Authorization"] == f"Bearer {KEY}" else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def use(self, monkeypatch: Any) -> None:
        """Set what a client reads from the environment."""
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{self._server.server_address[1]}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")

    def __enter__(self) -> AgentStandIn:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    """A call of the tool with the user's words; behind the tool's answer, that answer."""
    last = body["messages"][-1]
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if last["role"] == "tool":
        message["content"] = f"The desk says: {last['content']}"
    else:
        (tool,) = body["tools"]
        (argument,) = tool["function"]["parameters"]["properties"]
        called = {"name": tool["function"]["name"], "arguments": json.dumps({argument: last["content"]})}
        message["tool_calls"] = [{"id": "call-1", "type": "function", "function": called}]
    choice = {
        "index": 0,
        "finish_reason": "stop" if message["content"] else "tool_calls",
        "message": message,
        "logprobs": None,
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    about = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
    return {**about, "choices": [choice], "usage": usage}
