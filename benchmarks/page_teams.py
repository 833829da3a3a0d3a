"""The parts of docs/benchmarks.md about teams: failures, cost, problems with exact answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.common import figure
from benchmarks.page_writing import share
from benchmarks.plot import log_log


def team_faults(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.team_faults`."""
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(record["outcomes"].items()))
    kept = " and ".join(f"{count:,}" for count in record["kept_at_kills"])
    return [
        f"""## {record["requests"]:,} requests to a team that fails

One role raises for one request in twenty and talks rubbish for another; the second takes twenty times what it may for
one in fifty, says nothing for another and never returns for one in 250; the process is killed with SIGKILL twice, when
{kept} messages are kept, and begun again. {outcomes}; without an answer or a reason: {record["without_words"]}.
Traces: {record["traces"]:,}; messages that a kill lost: {record["messages_lost"]}; kept
twice: {record["messages_twice"]}."""
    ]


def team_cost(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.team_cost`."""
    rows = [
        f"| {kind} | {one['roles']} | {one['apart']:.2f} | {one['together']:.2f} "
        f"| {one['apart'] / one['together']:.2f} | {one['memory']:.2f} | {_taken(one):,.0f} "
        f"| {_taken(one) / _taken(found[0]):.2f} | {one['difference']:.0e} |"
        for kind, found in record["kinds"].items()
        for one in found
    ]
    trained = [
        f"| {kind} | {one['apart']:.1f} | {one['together']:.1f} | {one['apart'] / one['together']:.2f} |"
        for kind, one in record["training"].items()
    ]
    return [
        f"""## Roles on one trunk

N roles that choose labels from minilm-l6 for {record["texts"]} requests each, over one trunk and as N models by
themselves; seconds in fp32, the quickest of three. *Weights* are those of all roles as a multiple of one model's;
*process* is the most memory of a process of its own that loads the trunk and answers, less what it had taken before
it loaded anything, in MiB and as a multiple of that with one role. *Difference*: the largest one of a log-probability
between both ways.

![Seconds against roles](roles.svg)

| roles are | N | apart | one trunk | times as fast | weights | process, MiB | process | difference |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
        f"""
{record["trained_roles"]} roles that learn from the same {record["rows"]} requests, each with labels of its own:
`transfuse team train` for one team of all, and for teams of one role each. Seconds, the quickest of two, without the
loading of the backbone.

| roles are | apart | together | times as fast |
| --- | --- | --- | --- |""",
        *trained,
    ]


def _taken(one: Mapping[str, Any]) -> float:
    """MiB of a process by loading and answering."""
    return float(one["process"]["most_mib"] - one["process"]["before_mib"])


def roles_plot(record: Mapping[str, Any]) -> str:
    """Seconds of answering against the number of roles, of each kind over one trunk and of models by themselves."""
    kinds = record["kinds"]
    lines = {kind.partition(" on ")[0]: [(r["roles"], r["together"]) for r in found] for kind, found in kinds.items()}
    alone = next(iter(kinds.values()))
    lines["N models"] = [(r["roles"], r["apart"]) for r in alone]
    return log_log(lines, x="roles", y="seconds")


def team_sums(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.team_sums`."""
    told, (first, second, test) = record["answers"], record["problems"]
    rows = []
    for name, one in told["figures"].items():
        found = told["compared"].get(name)
        beside = f"{share(found['difference'])}, {found['verdict']}" if found else ""
        rows.append(f"| {name} | {figure(one['exact'])} | {one['tokens']:,.0f} | {beside} |")
    roles = {
        "verdicts": "The verifier is right about {} of drafts",
        "kept": "the refiner keeps {} of right ones",
        "mended": "mends {} of wrong ones",
    }
    shares = [text.format(figure(told["roles"][name])) for name, text in roles.items() if name in told["roles"]]
    single = record["single"]
    return [
        f"""## Problems with exact answers

Sums, products, comparisons, rounding, places and stories with one step, by a small generator of our own
(`benchmarks/sums.py`) after easy modules of mathematics-dataset. smollm2-135m-instruct plays all roles: a solver
learns {first} problems, a verifier (a probe) and a refiner learn from its drafts of {second} others, of which
{record["solver"]["right"]} are right. *One model* learns all {first + second} for as many tokens:
{single["tokens"]:,} against {single["team_tokens"]:,}, {single["epochs"]} passes. *Votes*: the most frequent of
{told["voters"]} drawn answers, at least as many as the team's tokens pay for. {", ".join(shares)}.

| who answers | exact, {test} tests | tokens | the team against it |
| --- | --- | --- | --- |""",
        *rows,
    ]
