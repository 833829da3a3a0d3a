"""The part of docs/benchmarks.md about the support desk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.common import figure
from benchmarks.page_writing import hundred, share

Part = Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]
UNTRAINED = "untrained"
NAMES = {UNTRAINED: "the same team, only prompted", "team": "the team"}


def team_desk(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.team_desk`."""
    parts: dict[str, Part] = {
        "intents": _intents,
        "source": _source,
        "replies": _replies,
        "credit": _credit,
        "learnt": _learnt,
    }
    known = record["known"]
    lines = [
        f"""## A support desk of three roles

*understand* (minilm-l6, {known["shots"]} examples of each of {known["intents"]} intents) tells *write*
(smollm2-135m-instruct, {known["replies"]} replies) what a request is about; *judge* (minilm-l6, the same requests,
each with its own reply and with that of another intent) reads the reply, and a rejected one is written once more.
Trained by `transfuse team train`, measured by `transfuse team evaluate`. Tests, judges' rows and what the roles learn
from are apart."""
    ]
    for name, part in parts.items():
        if record.get(name):
            lines += ["", *part(record[name], record)]
    return lines


def _intents(told: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    study, compared = record["study"], told["compared"]
    rows = [
        f"| {one['id']} | {figure(one['accuracy']) if one['accuracy'] else one['reason'] or one['status']} |"
        for one in study["candidates"]
    ]
    return [
        f"""### What is understood

A study inside these labels chose `{study["chosen"]}` ({study["seconds"]:.0f} s). On {told["rows"]:,} requests the
role is right for **{figure(told["role"])}**, a probe for {figure(told["probe"])}; difference
{share(compared["difference"])}, {compared["verdict"]}. The judge is right about {figure(told["judge"])} of other pairs
of request and reply, and the held-out classifier reads the intent from {figure(told["sorts"])} of the data's own
replies, which bounds *fits* below.

| candidate | accuracy inside the labels |
| --- | --- |""",
        *rows,
    ]


def _source(told: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {way} | {figure(one['without'])} | {figure(one['with'])} | {share(one['compared']['difference'])} "
        f"| {one['compared']['verdict']} | {', '.join(f'{d:+.3f}' for d in one['draws'])} |"
        for way, one in told["ways"].items()
    ]
    return [
        f"""### CLINC150 as a source of understanding

{told["shots"]} examples of each intent, {len(next(iter(told["ways"].values()))["draws"])} draws, with
{told["source_rows"]:,} rows of CLINC150's 150 other intents and without them; accuracy on the same {told["rows"]:,}
requests, over all draws.

| way | without | with | difference | verdict | each draw |
| --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def _beside(one: Mapping[str, Any]) -> str:
    """What the team is worth against this one."""
    found = one.get("team_against_it")
    return f"{share(found['difference'])}, {found['verdict']}" if found else ""


def _table(report: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    lines = []
    for one in report["figures"]:
        m = one["metrics"]
        cells = [figure(m[name]) if name in m else "–" for name in ("outcome", "fits", "numbers", "placeholders")]
        tokens, seconds = one["tokens"]["value"], one["seconds"]["value"]
        lines.append(
            f"| {names.get(one['name'], one['name'])} | {' | '.join(cells)} | {hundred(m['chrf'])} "
            f"| {tokens:,.0f} | {seconds:.1f} | {_beside(one)} |"
        )
    return lines


HEADS = """| who answers | outcome | fits the intent | numbers | placeholders | chrF++ | tokens | seconds | {against} |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def _replies(told: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    seconds = ", ".join(f"{name} {one['seconds']:.0f}" for name, one in record["trained"].items())
    return [
        f"""### Replies

{told["rows"]} requests. *Fits*: the held-out classifier reads the request's intent from the reply; *numbers* of the
request (those that the reference keeps, too) and *placeholders* of the reference that are kept; *outcome*: replies of
which all three hold. *One model* is the same backbone, trained on the same replies from request to reply. Tokens and
seconds are means of a request. Seconds of training: {seconds}.

{HEADS.format(against="the team against it, by outcome")}""",
        *_table(told, NAMES),
    ]


def _credit(told: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {one['name']} | {share(one['credit']['difference'])}, {one['credit']['verdict']} "
        f"| {share(one['alone']['difference'])}, {one['alone']['verdict']} |"
        for one in told["roles"]
    ]
    fields = "; ".join(
        f"`{one['field']}` shown to {one['role']}: {share(one['worth']['difference'])}, {one['worth']['verdict']}"
        for one in told["fields"]
    )
    whole = told["sum"]
    adds = "add up within noise" if whole["adds_up"] else "do not add up"
    return [
        f"""### Credit

Outcome on the first {record["credit_rows"]} of these requests. *Credit*: the team against itself with this role only
prompted; *alone*: only this role trained, against none. Training all is worth {share(whole["whole"])}, the credits sum
to {share(whole["credits"])}: they {adds} (gap {share(whole["gap"])}). Fields: {fields}.

| role | credit | alone |
| --- | --- | --- |""",
        *rows,
    ]


def _learnt(told: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    learning = record["learning"]
    (one,) = learning["rounds"]
    kept = ", ".join(f"{counts['pairs']} answers of {role}" for role, counts in one["roles"].items())
    own = next(c for c in learning["compared"] if c["b"] == "before")
    rows = sum(counts.get("rows", 0) for counts in one["roles"].values())
    beside = f"beside {rows} labelled ones" if rows else "alone"
    return [
        f"""### One round of learning from its own traces

`transfuse team learn` (rejection sampling): {one["traces"]} traces, {learning["samples"]} of each request, selected by
the judge and by the numbers kept; {kept} were kept. A classifier held out from both grades requests that nobody has
learnt from: after less before {share(own["difference"])}, {own["verdict"]} ({own["n"]} requests); the command keeps:
{learning["uses"]}. On the {told["rows"]} requests above, the writer that has learnt from its own replies {beside}:

{HEADS.format(against="after against it, by outcome")}""",
        *_table(told, {"team": "after", "before": "before"}),
    ]
