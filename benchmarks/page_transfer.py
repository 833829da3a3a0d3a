"""The parts of docs/benchmarks.md about transfer itself: what foretells it, what it reaches, what harms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common import figure, spread_of


def ranking(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.ranking`."""
    rows = [
        f"| {r['task']} | {r['shots']} | {r['combinations']} | {r['best']:.3f} | {name} "
        f"| {s['tau']:+.2f} ({s['low']:+.2f} to {s['high']:+.2f}) | {s['regret']:.3f} |"
        for r in record["rows"]
        for name, s in r["scores"].items()
    ]
    of_sources = record["sources"]
    rows += [
        f"| Amazon reviews with a source | {of_sources['shots']} | {of_sources['combinations']} "
        f"| {of_sources['best']:.3f} | {name} | {s['tau']:+.2f} ({s['low']:+.2f} to {s['high']:+.2f}) "
        f"| {s['regret']:.3f} |"
        for name, s in of_sources["scores"].items()
    ]
    means = ", ".join(f"{name} {s['mean']:+.2f}" for name, s in record["means"].items())
    return [
        "## How far to trust `transfuse rank`",
        *_trained(record.get("trained", [])),
        f"""
Every layer and pooling of minilm-l6 and smollm2-135m-instruct: each score on the few labelled rows against the test
accuracy of a probe that was fitted on the same rows. Weighted Kendall correlation, 95 % bootstrap over combinations;
*regret* is what the first choice of a score loses against the best combination. Means over the tasks: {means}.
The last rows are of backbone, layer and source (movies, tweets, news, and movies with random labels): what a head
of the source alone says on the target's rows (`transfer`, LEEP) and how far the source is, against a probe on both.

| task | rows a class | combinations | best | score | correlation | regret |
| --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def _trained(record: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table against accuracies after training; nothing of a record that was kept before there was one."""
    if not record:
        return []
    rows = [
        f"| {draw['draw']} | {s['combinations']} | {name} "
        f"| {s['tau']:+.2f} ({s['low']:+.2f} to {s['high']:+.2f}) | {s['regret']:.3f} |"
        for draw in record
        for name, s in draw["scores"].items()
    ]
    best = "; ".join(f"draw {d['draw']}: {d['best']:.3f}, layer {d['layer']}, source {d['source']}" for d in record)
    return [
        f"""
Against the test accuracy after training: minilm-l6 is fine-tuned up to each of its layers on 64 labelled Amazon
reviews, without a source, on each of three sources first, on all of them, and on movies with random labels:
{record[0]["combinations"]} combinations a draw of the labels. Best: {best}. Scores of the labelled rows know nothing of
sources and are judged over all combinations, scores of a source over those with one; *depth*, the layer's number, is
what can be said without any rows.

| draw | combinations | score | correlation | regret |
| --- | --- | --- | --- | --- |""",
        *rows,
        "\nAgainst frozen probes:",
    ]


def unseen(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.unseen`."""
    rows = [
        f"| {' and '.join(r['domains'])} | {r['intents']} | {r['rows']:,} "
        f"| {' | '.join(f'{r[name]:.3f}' for name in record['means'])} "
        f"| {r['matching_seconds']:.0f} |"
        for r in record["rows"]
    ]
    means = record["means"]
    return [
        f"""## Intents without an example (CLINC150), minilm-l6

Two domains at a time are held out, the other eight are the source; the 30 intents of the pair are named by their words.
*Names* compares each text with the words as the backbone reads them, `matching` after learning on the eight domains.
*With texts* has up to 512 unlabelled ones of the pair's training rows besides: all intents equally frequent, or
*skewed*, the k-th of a random order with 1/k of the first one's texts. Mean: names {means["names"]:.3f}, matching
**{means["matching"]:.3f}**; with texts {means["names_texts"]:.3f} and **{means["matching_texts"]:.3f}**, skewed
{means["matching_skewed"]:.3f}. Seconds are of `matching` alone.

| held out | intents | test rows | names | matching | names, with texts | matching, with texts | skewed | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def meta(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.meta`."""
    rows = [
        f"| {r['shots']} | {r['method']} | {r['accuracy']:.3f} | {r['difference']['value']:+.3f} "
        f"({r['difference']['low']:+.3f} to {r['difference']['high']:+.3f}) | {r['verdict']} "
        f"| {record['fit_seconds'][r['method']]:.0f} |"
        for r in record["rows"]
    ]
    return [
        f"""## Learning to learn (CLINC150), minilm-l6

{record["domains"]} domains held out one at a time, {record["draws"]} draws of the examples; `cotuning`, `matching` and
the methods of the family meta learn on the other nine domains first. Differences are from `finetune` on the examples
alone, paired; seconds are of all fits.

| examples an intent | method | accuracy | difference | verdict | seconds |
| --- | --- | --- | --- | --- | --- |""",
        *rows,
    ]


def harm(record: Mapping[str, Any]) -> list[str]:
    """The part of the page about `benchmarks.harm`."""
    rows = [
        f"| {s['draw']} | {s['movies']['chosen']} | {figure(s['movies']['test'])} | {s['all']['chosen']} "
        f"| {figure(s['all']['test'])} | {', '.join(f'{k}: {v}' for k, v in s['all']['verdicts'].items())} |"
        for s in record["studies"]
    ]
    count = len(record["studies"])
    return [
        f"""## Sources that harm

Amazon reviews, 64 labels, minilm-l6 by `probe`, `feda`, `ulsif` and `tradaboost`, which take seconds (with `probe`
alone movies were used in one of three draws that were tried). `movies` are sentences of film reviews; beside them stand
the same with their labels turned round (`flipped`) and with random labels (`random`), and intents of which half are
called positive (`unrelated`). Movies used where they are alone: **{record["used"]} of {count}**; a harmful source in
the chosen model: **{record["harmed"]} of {count}**; test accuracy with the harmful sources in the recipe less that
without them: {spread_of(record["difference"])}.

| draw | chosen, movies alone | test | chosen, all four | test | verdicts on the sources of `tradaboost` |
| --- | --- | --- | --- | --- | --- |""",
        *rows,
        *(_harm_together(record["ensembles"]) if "ensembles" in record else []),
    ]


def _harm_together(record: Mapping[str, Any]) -> list[str]:
    """The same where what was fitted answers together; records from before have no such part."""
    count = len(record["studies"])
    rows = [
        f"| {s['draw']} | {s['movies']['chosen']} | {figure(s['movies']['test'])} | {s['all']['chosen']} "
        f"| {figure(s['all']['test'])} |"
        for s in record["studies"]
    ]
    return [
        f"""
The same with `ensembles: true`, of `probe`, `centroid`, `feda` and `domain_ratio`, as `methods: auto` puts them
together. Movies used where they are alone: **{record["used"]} of {count}**; a harmful source in the chosen model:
**{record["harmed"]} of {count}**; test accuracy with the harmful sources less that without them:
{spread_of(record["difference"])}.

| draw | chosen, movies alone | test | chosen, all four | test |
| --- | --- | --- | --- | --- |""",
        *rows,
    ]
