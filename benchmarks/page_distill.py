"""The parts of docs/benchmarks.md about distillation and remote models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.common import figure
from benchmarks.page_writing import hundred, signed


def distill(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.distill`."""
    parts = {"reviews": _reviews, "intents": _intents, "replies": _replies, "storage": _storage}
    lines = ["## Distillation"]
    for name, part in parts.items():
        if record.get(name):
            lines += ["", *part(record[name])]
    return lines


def _points(f: Mapping[str, float]) -> str:
    """A difference in points of accuracy with its interval."""
    return f"{100 * f['value']:+.1f} ({100 * f['low']:+.1f} to {100 * f['high']:+.1f})"


def _arms(told: Mapping[str, Any]) -> list[str]:
    rows = ["| model | accuracy | against | points | verdict |", "| --- | --- | --- | --- | --- |"]
    for arm, found in told["arms"].items():
        compared = [c for c in told["compared"] if c["arm"] == arm] or [None]
        for i, c in enumerate(compared):
            head = f"| {arm} | {figure(found)} |" if i == 0 else "| | |"
            beside = f"{c['against']} | {_points(c['difference'])} | {c['verdict']}" if c else "| |"
            rows.append(f"{head} {beside} |")
    return rows


def _reviews(told: Mapping[str, Any]) -> list[str]:
    speeds = told["texts_a_second"]
    passes = f" in {told['passes']} passes" if "passes" in told else ""
    return [
        f"""### A prompted decoder teaches a sentence encoder

smollm2-135m-instruct is asked about {told["taught"]} Amazon sentences by four prompts, each with four movie reviews as
examples and calibrated by unlabelled Amazon sentences; minilm-l6 learns the mean of what they say{passes}.
{told["rows"]} test sentences, {told["draws"]} draws of 32 labels a class. Texts a second on this machine: teacher
{speeds["teacher"]:.1f}, one of its prompts {speeds["one prompt"]:.1f}, student {speeds["student"]:.0f}: as many as
{speeds["student"] / speeds["teacher"]:.0f} teachers, or {speeds["student"] / speeds["one prompt"]:.0f} prompts.
""",
        *_arms(told),
    ]


def _intents(told: Mapping[str, Any]) -> list[str]:
    speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in told["texts_a_second"].items())
    kept = ", ".join(f"{name} layers {100 * share:.1f} %" for name, share in told["kept"].items())
    return [
        f"""### Six layers into three and two, CLINC150

All layers of minilm-l6, fine-tuned on 50 rows of each of 150 intents, then some of its layers (`transfuse shrink`),
which learn the same rows with the teacher beside them or alone; {told["rows"]} test rows. Of the teacher's accuracy
they keep: {kept}. Texts a second: {speeds}.
""",
        *_arms(told),
    ]


def _replies(told: Mapping[str, Any]) -> list[str]:
    bits, chrf = told["bits"], told["chrf"]
    rows = [f"| {name} | {figure(bits[name])} | {hundred(chrf[name])} |" for name in bits]
    gained, better = told["bits_gained"], told["chrf_gained"]
    seconds = ", ".join(f"{name} {s:.0f}" for name, s in told["seconds"].items())
    return [
        f"""### A decoder into half of its layers

smollm2-135m-instruct adapted to {told["learnt"]} support replies, then 15 of its 30 layers, which learn the same
replies with the teacher's top 64 tokens beside them or alone; {told["rows"]} other replies. The teacher saves
{gained["value"]:.3f} bits a byte ({gained["low"]:.3f} to {gained["high"]:.3f}), and is worth
{signed(better["difference"])} chrF++ ({better["verdict"]}). Seconds of training: {seconds}.

| model | bits a byte | chrF++ |
| --- | --- | --- |""",
        *rows,
    ]


def _storage(told: Mapping[str, Any]) -> list[str]:
    names = ("top_k", "dense", "drawn")
    rows = [
        f"| {t} | {one['mass']:.3f} | {one['equal']:.1e} | {' | '.join(f'{one[name]:.4f}' for name in names)} |"
        for t, one in told["at"].items()
    ]
    return [
        f"""### What the {told["k"]} likeliest tokens keep of a teacher

smollm2-135m-instruct on {told["tokens"]} tokens of support requests and replies, {told["bytes_a_token"]} bytes a token
on disk; a student equal to it, and one of 28 of its 30 layers. T²·KL in nats, mean a token.

| T | probability kept | equal student | other student, top {told["k"]} | dense | 64 drawn tokens (unbiased) |
| --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def remote(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.remote`."""
    rows = [
        f"| {r['answered']} | {r['failed_calls']} | {r['billed_before_the_kill']} | {r['billed_twice']} "
        f"| {r['doubtful']} | {r['billed']:.6f} | {r['counted']:.6f} | {r['budget']:.2f} |"
        for r in record["runs"]
    ]
    return [
        f"""## A service that fails, and a kill

{record["asked"]} questions by the real SDK to a stand-in that fails one call in five at random (429, 500, 503); the
process that asks is killed with SIGKILL when half of the answers are billed, and begun again. *Billed twice*: calls
that had left when the kill came, whose answers nobody could keep; they count at their worst case (*doubtful*).
Dollars, by the stand-in's bills and as counted against the budget.

| answered | calls that failed | billed before the kill | billed twice | doubtful | billed | counted | budget |
| --- | --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]
