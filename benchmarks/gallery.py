"""Every method on six real transfers, three draws each, beside what ``methods: auto`` makes of them: docs/gallery.md.

What has been fitted is kept under runs/benchmarks/gallery and not fitted again: remove it to measure anew.
"""

from __future__ import annotations

import csv
import itertools
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas

import transfuse
from benchmarks import clinc
from benchmarks.common import ROOT, commit, keep, shared
from transfuse.advice.candidates import Candidate, short
from transfuse.evaluation import compare, metric_intervals
from transfuse.methods.catalogue import METHODS, NO_TRANSFER, method, settings
from transfuse.study.prepare import StudyData, prepare
from transfuse.study.progress import NOTES
from transfuse.study.workshop import Workshop

PLACE = ROOT / "runs" / "benchmarks" / "gallery"
DRAWS, TEST = 3, 1000
ENCODER, DECODER = "catalog:minilm-l6", "catalog:smollm2-135m-instruct"
SOURCE_LIMIT = 1024
"""Most rows of the source, for every method that has such a limit."""
PROCESSES = 2
BUDGET = 6
"""Minutes of a study with ``methods: auto``."""
BEST = 4
"""Methods that are tried with the decoder, too, on the transfers of `WITH_DECODER`."""
BINS = '{negative: "< -0.5", positive: "> 0.5"}'
HEAD = "task: {{kind: classify, input: text, label: {label}{bins}}}\nbackbones: [{backbone}]\nmethods: auto\n"
REVIEWS = HEAD + (
    "target: {{data: 'catalog:{target}', shots: {shots}, seed: {draw}, test: {{rows: {test}, seed: 0}}}}\n"
    "sources: [{{name: source, data: 'catalog:{source}'}}]\nbudget: {{minutes: {minutes}}}\n"
)
INTENTS = HEAD + (
    "target: {{data: {target}.csv, shots: {shots}, seed: {draw}, test: {target}-test.csv}}\n"
    "sources: [{{name: source, data: {source}.csv}}]\nbudget: {{minutes: {minutes}}}\n"
)
TRANSFERS: Mapping[str, tuple[str, str, str, int]] = {
    "movies to Amazon": (REVIEWS, "vader-movie-reviews", "vader-amazon-reviews", 32),
    "movies to tweets": (REVIEWS, "vader-movie-reviews", "vader-tweets", 32),
    "news to tweets": (REVIEWS, "vader-nyt", "vader-tweets", 32),
    "Amazon to movies": (REVIEWS, "vader-amazon-reviews", "vader-movie-reviews", 8),
    "eight domains to two": (INTENTS, "eight", "two", 5),
    "150 intents to support": (INTENTS, "clinc", "support", 3),
}
"""Recipe, source, target and labelled rows a class."""
WITH_DECODER = ("movies to Amazon", "150 intents to support")


def run() -> None:
    """Fit every method on every transfer and draw, run the studies, then the best methods and prompts with the decoder.

    The seconds that are kept are those of the fits and studies, since the work may have been done in several runs.
    """
    started = time.perf_counter()
    PLACE.mkdir(parents=True, exist_ok=True)
    _write_intents(PLACE)
    _side_by_side([(transfer, draw, ENCODER, _encoding()) for transfer in TRANSFERS for draw in range(DRAWS)])
    for transfer in TRANSFERS:
        for draw in range(DRAWS):
            _study(transfer, draw)
    best = conclude(started)
    for names in ([NO_TRANSFER, *best], _asking()):  # looking up demonstrations takes hours
        _side_by_side([(transfer, draw, DECODER, names) for transfer in WITH_DECODER for draw in range(DRAWS)])
        conclude(started)


def conclude(started: float) -> list[str]:
    """Keep what has been measured so far, with what is missing of the studies and of the decoder; the best methods."""
    found = [_summary(transfer, ENCODER, _encoding()) for transfer in TRANSFERS]
    missing = [f"{t['transfer']} (a study of draw {draw})" for t in found for draw in t["missing"]]
    best = _best(found)
    for transfer in WITH_DECODER:
        wanted = [NO_TRANSFER, *best, *_asking()]
        waiting = [name for name in wanted if not all(_fitted_both(f, name) for f in _folders(transfer, DECODER))]
        missing += [f"{transfer} ({name} with the decoder)" for name in waiting]
        if NO_TRANSFER not in waiting:
            found.append(_summary(transfer, DECODER, sorted({*wanted} - {*waiting})))
    kept = [*PLACE.glob("*/*.json"), *PLACE.glob("*-auto-*.json")]
    commits = sorted({json.loads(path.read_text("utf-8")).get("commit", "") for path in kept} - {""})
    seconds = sum(row["seconds"] for t in found for row in t["rows"]) * DRAWS / PROCESSES
    seconds += sum(study["seconds"] for t in found for study in t["auto"])
    keep(
        "gallery",
        "python -m benchmarks gallery",
        started,
        transfers=found,
        draws=DRAWS,
        minutes=BUDGET,
        threads=_threads(),
        limit=SOURCE_LIMIT,
        best=best,
        commits=commits,
        missing=missing,
        seconds=round(seconds),
    )
    return best


def _encoding() -> list[str]:
    return [name for name in METHODS if method(name).reads != "decoder"]


def _asking() -> list[str]:
    return [name for name in METHODS if method(name).reads == "decoder"]


def _side_by_side(work: list[tuple[str, int, str, list[str]]]) -> None:
    """One process a core, each on one core: small batches gain little from two."""
    with multiprocessing.get_context("spawn").Pool(PROCESSES, _one_core, (os.getpid(),)) as pool:
        for _ in pool.starmap(_fit_all, work, chunksize=1):
            pass


def _one_core(parent: int) -> None:
    """One thread, and no life of its own: a worker that outlives a stopped benchmark would slow the next one."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _recipe(transfer: str, draw: int, backbone: str) -> transfuse.Recipe:
    form, source, target, shots = TRANSFERS[transfer]
    reviews = form is REVIEWS
    text = form.format(
        label="rating" if reviews else "intent",
        bins=f", bins: {BINS}" if reviews else "",
        **{"backbone": f"'{backbone}'", "source": source, "target": target, "shots": shots, "draw": draw},
        test=TEST,
        minutes=BUDGET,
        threads=_threads(),
    )
    return transfuse.Recipe.from_text(text, PLACE, f"{transfer}, draw {draw}")


def _fit_all(transfer: str, draw: int, backbone: str, names: Sequence[str]) -> None:
    """Each method with the source, where it takes it, and without; on all labels of the draw."""
    folder = PLACE / f"{transfer}-{short(backbone)}-{draw}"
    if all(_fitted_both(folder, name) for name in names):
        return
    folder.mkdir(exist_ok=True)
    recipe = _recipe(transfer, draw, backbone)
    data = prepare(recipe)
    workshop = Workshop(recipe, data, NOTES["en"])
    test = data.test.open()
    np.save(folder / "truth.npy", data.task.encode(test.labels or ()))
    for name, with_source in itertools.product(names, (False, True)):
        path = _file(folder, name, with_source)
        if path.exists():
            continue
        record: dict[str, Any] = {"seconds": None}
        if not with_source or _takes(name, data):
            record = _fitted(name, with_source, backbone, workshop, test.texts, folder)
        path.write_text(json.dumps(record), encoding="utf-8")
        print(transfer, draw, name, with_source, record, flush=True)


def _fitted(
    name: str, with_source: bool, backbone: str, workshop: Workshop, texts: Sequence[str], folder: Path
) -> dict[str, Any]:
    about = method(name)
    reference = "" if about.reads == "nothing" else backbone
    sources = ("source",) if with_source else ()
    limit = {"source_limit": SOURCE_LIMIT} if "source_limit" in settings(name) else {}
    candidate = Candidate(name, about.family, name, reference, sources, limit)
    job = workshop.job(candidate, np.arange(len(workshop.data.train)))
    key = job.key()
    answers = _file(folder, name, with_source).with_suffix(".npy")
    for other in folder.glob("*.json"):  # most methods without a source are fine-tuning or a probe
        record: dict[str, Any] = json.loads(other.read_text(encoding="utf-8"))
        if record.get("job") == key:
            shutil.copy(other.with_suffix(".npy"), answers)
            return record
    start = time.perf_counter()
    path = workshop.final(candidate)
    seconds = time.perf_counter() - start
    found = workshop.engine(reference).predict(path, list(texts))
    np.save(answers, np.exp(found).astype(np.float32))
    return {"seconds": round(seconds, 2), "job": key, "commit": commit()}


def _takes(name: str, data: StudyData) -> bool:
    return method(name).uses_related if data.related else method(name).uses_sources


def _threads() -> int:
    """Cores that the studies had, as they wrote it down."""
    plans = [json.loads(path.read_text(encoding="utf-8")) for path in PLACE.glob("*-study-*/plan.json")]
    return min((plan["threads"] for plan in plans), default=0)


def _folders(transfer: str, backbone: str) -> list[Path]:
    return [PLACE / f"{transfer}-{short(backbone)}-{draw}" for draw in range(DRAWS)]


def _file(folder: Path, name: str, with_source: bool) -> Path:
    return folder / f"{name}{'+source' if with_source else ''}.json"


def _fitted_both(folder: Path, name: str) -> bool:
    return all(_file(folder, name, with_source).exists() for with_source in (False, True))


def _study(transfer: str, draw: int) -> None:
    """A study of ``methods: auto`` on the same labels and the same test."""
    path = PLACE / f"{transfer}-auto-{draw}.json"
    if path.exists():
        return
    study = transfuse.run(_recipe(transfer, draw, ENCODER), out=PLACE / f"{transfer}-study-{draw}")
    report = study.report
    kept = study.out / "predictions" / f"test.{report['chosen']}.parquet"
    answers = pandas.read_parquet(kept, columns=[f"log_p {label}" for label in report["task"]["labels"]])
    np.save(path.with_suffix(".npy"), np.exp(answers.to_numpy()).astype(np.float32))
    chosen = next(c for c in report["candidates"] if c["id"] == report["chosen"])
    told = {
        "chosen": report["chosen"],
        "test": report["test"]["accuracy"],
        "no_transfer": report["no_transfer"]["accuracy"],
        "comparison": report["test_comparison"],
        "seconds": report["seconds"],
        "commit": commit(),
        "verdicts": {t["kind"]: t["verdict"] for t in chosen["transfer"]},
    }
    path.write_text(json.dumps(told), encoding="utf-8")
    print(transfer, draw, told, flush=True)


def _summary(transfer: str, backbone: str, names: Sequence[str]) -> dict[str, Any]:
    """Figures of some methods over all draws, and what each is worth against no transfer and without the source."""
    folders = _folders(transfer, backbone)
    truths, truth, keys = _truth(folders)
    plain = _answers(folders, NO_TRANSFER, False)
    rows = []
    fitted = itertools.product(sorted(names), (False, True))
    for name, with_source in ((n, s) for n, s in fitted if _file(folders[0], n, s).with_suffix(".npy").exists()):
        found = _answers(folders, name, with_source)
        figure = metric_intervals(truth, found, seed=0, names=["accuracy"], groups=keys)["accuracy"]
        row = {"method": name, "source": with_source, "accuracy": figure.to_dict()}
        row["per_draw"] = [float(x) for x in _per_draw(truth, found, truths)]
        row["no_transfer"] = compare(truth, found, plain, seed=0, groups=keys).to_dict()
        if with_source:
            alone = _answers(folders, name, False)
            row["without_source"] = compare(truth, found, alone, seed=0, groups=keys).to_dict()
        row["seconds"] = float(
            np.mean([json.loads(_file(f, name, with_source).read_text())["seconds"] for f in folders])
        )
        rows.append(row)
    studies = {draw: PLACE / f"{transfer}-auto-{draw}.json" for draw in range(DRAWS if backbone == ENCODER else 0)}
    auto = {draw: path for draw, path in studies.items() if path.exists()}
    return {
        "transfer": transfer,
        "backbone": short(backbone),
        "shots": TRANSFERS[transfer][3],
        "classes": int(truth.max()) + 1,
        "test_rows": len(truths[0]),
        "rows": rows,
        "auto": [json.loads(path.read_text(encoding="utf-8")) for path in auto.values()],
        "auto_against": _against(auto, rows, folders) if auto else {},
        "missing": [draw for draw in studies if draw not in auto],
    }


def _against(auto: Mapping[int, Path], rows: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> dict[str, Any]:
    """What the studies reached over their draws, against the best single method and against no transfer."""
    folders = [folders[draw] for draw in auto]
    _, truth, keys = _truth(folders)
    found = np.concatenate([np.load(path.with_suffix(".npy")).astype(np.float64) for path in auto.values()])
    found /= found.sum(1, keepdims=True)
    best = ranked(rows)[0]
    others = {"best": (best["method"], best["source"]), "no_transfer": (NO_TRANSFER, False)}
    compared = {
        name: compare(truth, found, _answers(folders, *which), seed=0, groups=keys).to_dict()
        for name, which in others.items()
    }
    figure = metric_intervals(truth, found, seed=0, names=["accuracy"], groups=keys)["accuracy"]
    return {"accuracy": figure.to_dict(), "best_method": best["method"], **compared}


def ranked(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each method once, with the source where it takes it; the best first."""
    once = {row["method"]: row for row in sorted(rows, key=lambda row: row["source"])}
    return sorted(once.values(), key=lambda row: (-row["accuracy"]["value"], row["method"]))


def _truth(folders: Sequence[Path]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The test's labels by draw, of all draws, and which test row each of these is."""
    truths = [np.load(folder / "truth.npy") for folder in folders]
    return truths, np.concatenate(truths), np.concatenate([np.arange(len(t)) for t in truths])


def _answers(folders: Sequence[Path], name: str, with_source: bool) -> np.ndarray:
    found = [np.load(_file(f, name, with_source).with_suffix(".npy")).astype(np.float64) for f in folders]
    answers = np.concatenate(found)
    return np.asarray(answers / answers.sum(1, keepdims=True))


def _per_draw(truth: np.ndarray, found: np.ndarray, parts: Sequence[np.ndarray]) -> Iterator[float]:
    right, start = found.argmax(1) == truth, 0
    for part in parts:
        yield right[start : start + len(part)].mean()
        start += len(part)


def _best(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The methods with the best mean accuracy over all transfers, with the source where they take it."""
    means: dict[str, list[float]] = {}
    for transfer in found:
        reached = {
            row["method"]: row["accuracy"]["value"] for row in sorted(transfer["rows"], key=lambda r: r["source"])
        }
        for name, value in reached.items():
            means.setdefault(name, []).append(value)
    return sorted(means, key=lambda name: -float(np.mean(means[name])))[:BEST]


def _write_intents(place: Path) -> None:
    """The files of the transfers between intents, from the shared data."""
    train, test = clinc.read("train.csv"), clinc.read("test.csv")
    held = sorted({domain for _, _, domain in train})[-2:]
    parts = {
        "eight": [row for row in train if row[2] not in held],
        "two": [row for row in train if row[2] in held],
        "two-test": [row for row in test if row[2] in held],
        "clinc": train,
    }
    with shared("bitext_support", "support.csv").open(encoding="utf-8", newline="") as stream:
        support = [(row["instruction"], row["intent"], row["category"]) for row in csv.DictReader(stream)]
    order = np.random.default_rng(0).permutation(len(support))
    parts["support-test"] = [support[i] for i in order[:TEST]]
    parts["support"] = [support[i] for i in order[TEST:]]
    for name, rows in parts.items():
        with (place / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("text", "intent"), *((text, intent) for text, intent, _ in rows)])
