"""The parts of docs/benchmarks.md about tasks that write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.common import figure


def hundred(f: Mapping[str, float]) -> str:
    """A figure on a scale to 100 with its interval."""
    return f"{f['value']:.1f} ({f['low']:.1f}–{f['high']:.1f})"


def signed(f: Mapping[str, float]) -> str:
    """A difference on a scale to 100 with its interval."""
    return f"{f['value']:+.1f} ({f['low']:+.1f} to {f['high']:+.1f})"


def translate(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.translate`."""
    domain, rows = record["domain"], []
    for test, told in domain["tests"].items():
        name = "the same product" if test == "test" else test
        for arm, figures in told["arms"].items():
            compared = told["compared"].get(arm)
            beside = f"{signed(compared['difference'])} against {compared['against']}" if compared else ""
            rows.append(
                f"| {name} | {told['rows']} | {arm} | {hundred(figures['chrf'])} | {hundred(figures['bleu_zh'])} "
                f"| {figures['placeholders']['value']:.2f} | {beside} | {compared['verdict'] if compared else ''} |"
            )
    seconds = ", ".join(f"{arm} {s:.0f}" for arm, s in domain["seconds"].items())
    return [
        f"""## Interface texts into Chinese, gemma3-270m

English to Chinese, adapted by `lora` with its defaults on {domain["trained_rows"]} texts of Django, and tested on
others of Django, on those of JupyterLab that Django does not have, and on plain sentences (questions of XQuAD, which
show what was forgotten). chrF++ and BLEU by Chinese characters, to 100; comparisons by chrF++. Seconds with all
answers: {seconds}.

| test | rows | way | chrF++ | BLEU | placeholders kept | difference | verdict |
| --- | --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
        *(_scarce(record) if record["scarce"] else ()),
    ]


def _scarce(record: Mapping[str, Any]) -> list[str]:
    scarce = [
        f"| {r['shots']} | {hundred(r['arms']['few-shot']['chrf'])} | {hundred(r['arms']['alone']['chrf'])} "
        f"| {hundred(r['arms']['with sources']['chrf'])} | {signed(r['source']['difference'])} "
        f"| {r['source']['verdict']} | {r['seconds']['alone']:.0f} / {r['seconds']['with sources']:.0f} |"
        for r in record["scarce"]
    ]
    return [
        f"""
## English to Galician from few pairs, gemma3-270m

Interface texts of Django; `lora` with its defaults, alone and after English to Portuguese and English to Spanish.
chrF++ on {record["scarce"][0]["rows"]} other texts, over {record["draws"]} draws of the pairs; beside it what the two
sources were worth.

| pairs | few-shot | alone | with sources | difference | verdict | seconds |
| --- | --- | --- | --- | --- | --- | --- |""",
        *scarce,
    ]


def replies(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.replies`."""
    lines = [
        """## Replies to customers, smollm2-135m-instruct

Requests and replies of a support desk; a reply has some 150 tokens, of which 224 are allowed. chrF++ to 100,
comparisons by it; *meaning* is the mean cosine of the vectors of reply and reference by minilm-l6; *placeholders* the
share of the reference's (`{{Order Number}}`) that are kept; *repeats* the share of word 4-grams that stand twice."""
    ]
    for part, head in (("many", "Adapted on {} replies."), ("few", "{} replies, and questions before them.")):
        told = record.get(part)
        if told:
            lines += ["", head.format(told["shots"]) + _tried(told), *_replies(told)]
    if record.get("few"):
        lines += [
            "",
            f"*After questions*: `lora` on {record['few']['source_rows']} questions about passages (XQuAD) first.",
        ]
    return lines


def _tried(told: Mapping[str, Any]) -> str:
    """How the way was chosen that is tested."""
    if "tried" not in told:
        return ""
    shown = ", ".join(f"{arm} {value:.1f}" for arm, value in told["tried"].items())
    return f" *Adapted* is {told['chosen']}, chosen by chrF++ on a fifth of them, fitted without it: {shown}."


def _replies(told: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {arm} | {hundred(f['chrf'])} | {told['similarity'][arm]:.3f} | {f['rouge_l']['value']:.2f} "
        f"| {f['placeholders']['value']:.2f} | {f['repetition']['value']:.2f} | {_beside(told, arm)} "
        f"| {told['seconds'][arm]:.0f} |"
        for arm, f in told["arms"].items()
    ]
    return [
        f"""
| way ({told["rows"]} tests) | chrF++ | meaning | ROUGE-L | placeholders | repeats | difference | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def _beside(told: Mapping[str, Any], arm: str, digits: Callable[[Mapping[str, float]], str] = signed) -> str:
    """A way against the one that it is measured against, with the verdict."""
    c = told["compared"].get(arm)
    return f"{digits(c['difference'])} against {c['against']}: {c['verdict']}" if c else ""


def share(f: Mapping[str, float]) -> str:
    """A difference of shares with its interval."""
    return f"{f['value']:+.3f} ({f['low']:+.3f} to {f['high']:+.3f})"


def questions(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.questions`."""
    rows = [
        f"| {name} | {arm} | {figure(f['f1'])} | {figure(f['exact_match'])} | {_beside(told, arm, share)} "
        f"| {told['seconds'][arm]:.0f} |"
        for name, told in record["ways"].items()
        for arm, f in told["arms"].items()
    ]
    count = next(iter(record["ways"].values()))["rows"]
    chinese = [told["rows"] for name, told in record["ways"].items() if name.startswith("Chinese")]
    few = f"{record.get('few', record['trained_rows'])} questions" + "".join(f", tested by {n}" for n in chinese)
    return [
        f"""## Questions about passages

XQuAD, {record["trained_rows"]} questions to learn from and {count} about other paragraphs to be tested by; F1 and
exact match of SQuAD, Chinese by characters. *Marked* is `span`, *adapted* is `lora` in one pass; in Chinese in two
passes over {few}; *after English* {record.get("english", record["trained_rows"])} English ones are learnt first.

| questions, backbone | way | F1 | exact match | difference of F1 | seconds |
| --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def programs(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.programs`."""
    rows = [
        f"| {arm} | {figure(f['pass_1'])} | {hundred(f['chrf'])} | {record['seconds_of'][arm]:.0f} |"
        for arm, f in record["arms"].items()
    ]
    found = record["compared"]["after"]
    return [
        f"""## Programs, smollm2-135m-instruct

HumanEval, {record["rows"]} problems, greedy, run in the sandbox: *before*, and *after* one pass of `lora` over
{record["learnt"]} functions with docstrings of Python's standard library ({record["left_out"]} that share eight
words in a row with a problem, or its name, left out). After less before: {share(found["difference"])},
{found["verdict"]}.

| model | pass@1 | chrF++ | seconds |
| --- | --- | --- | --- |""",
        *rows,
    ]
