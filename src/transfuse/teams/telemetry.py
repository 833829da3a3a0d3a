"""Traces as JSONL spans with the field names of OpenTelemetry's conventions for generative AI.

An exchange is a span ``invoke_workflow TEAM``, each message of a role one ``invoke_agent ROLE`` below it. What the
conventions have no name for (token ids, log-probabilities) stands under ``transfuse.``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from transfuse.teams.message import FAILED, USER, Message, canonical
from transfuse.teams.traces import OPEN, REFUSED, Trace

NANO = 1_000_000_000


def spans(trace: Trace) -> Iterator[dict[str, Any]]:
    """The spans of an exchange, the whole one first."""
    whole = _id(16, trace.id, trace.fingerprint, trace.seed)
    top = _id(8, trace.id, "exchange")
    end = trace.ended or (trace.times[-1] if trace.times else trace.began)
    yield {
        "trace_id": whole,
        "span_id": top,
        "parent_span_id": "",
        "name": f"invoke_workflow {trace.team}",
        "kind": "INTERNAL",
        "start_time_unix_nano": int(trace.began * NANO),
        "end_time_unix_nano": int(end * NANO),
        "status": _status(trace.outcome == REFUSED, trace.reason),
        "attributes": {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.provider.name": "transfuse",
            "gen_ai.workflow.name": trace.team,
            "gen_ai.conversation.id": trace.id,
            "gen_ai.request.seed": trace.seed,
            "gen_ai.input.messages": json.dumps([_part("user", trace.request)], ensure_ascii=False),
            **_outputs(trace.answer, "stop"),
            "gen_ai.usage.input_tokens": sum(m.read for m in trace.messages),
            "gen_ai.usage.output_tokens": sum(m.written for m in trace.messages),
            "transfuse.outcome": trace.outcome,
            **({"error.type": "refused"} if trace.outcome == REFUSED else {}),
            **({"transfuse.open": True} if trace.outcome == OPEN else {}),
        },
    }
    for message, at in zip(trace.messages, trace.times, strict=True):
        if message.sender != USER:
            yield _span(message, at, whole, top, trace.id)


def jsonl(traces: Iterable[Trace]) -> Iterator[str]:
    """One line a span."""
    for trace in traces:
        for span in spans(trace):
            yield json.dumps(span, ensure_ascii=False) + "\n"


def _span(message: Message, at: float, whole: str, top: str, conversation: str) -> dict[str, Any]:
    failed = message.outcome == FAILED
    return {
        "trace_id": whole,
        "span_id": _id(8, message.exchange, message.turn),
        "parent_span_id": top,
        "name": f"invoke_agent {message.sender}",
        "kind": "INTERNAL",
        "start_time_unix_nano": int((at - message.seconds) * NANO),
        "end_time_unix_nano": int(at * NANO),
        "status": _status(failed, message.problem),
        "attributes": {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "transfuse",
            "gen_ai.agent.name": message.sender,
            "gen_ai.conversation.id": conversation,
            "gen_ai.request.seed": message.seed,
            "gen_ai.input.messages": json.dumps([_part("user", canonical(dict(message.given)))], ensure_ascii=False),
            **_outputs(message.content, "error" if failed else "stop"),
            "gen_ai.output.type": "json",
            "gen_ai.response.finish_reasons": ["error" if failed else "stop"],
            "gen_ai.usage.input_tokens": message.read,
            "gen_ai.usage.output_tokens": message.written,
            **({"error.type": message.problem.partition(":")[0]} if failed else {}),
            "transfuse.turn": message.turn,
            "transfuse.receiver": message.receiver,
            "transfuse.cost": message.cost,
            "transfuse.scores": dict(message.scores),
            "transfuse.prompt_token_ids": list(message.prompt_ids),
            "transfuse.token_ids": list(message.ids),
            "transfuse.log_probabilities": list(message.log_probabilities),
        },
    }


def _part(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _outputs(content: Mapping[str, Any] | None, reason: str) -> dict[str, str]:
    if not content:
        return {}
    said = {**_part("assistant", canonical(dict(content))), "finish_reason": reason}
    return {"gen_ai.output.messages": json.dumps([said], ensure_ascii=False)}


def _status(failed: bool, why: str) -> dict[str, str]:
    return {"code": "ERROR", "message": why} if failed else {"code": "OK"}


def _id(length: int, *parts: object) -> str:
    """A hexadecimal id of so many bytes."""
    return hashlib.sha256(canonical([str(part) for part in parts]).encode()).hexdigest()[: 2 * length]
