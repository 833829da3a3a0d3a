"""Invented reports: a realistic full one, one with nothing in it, and one with many labels and candidates."""

import math

import pytest

from transfuse.data import Finding

RECIPE = """version: 1
name: reviews
task: {kind: classify, input: text, label: rating, bins: {negative: "< -0.5", positive: "> 0.5"}}
target:
  data: "catalog:vader-amazon-reviews"
  test: {rows: 1500, seed: 0}
  shots: 32
sources:
  - {name: movies, data: "catalog:vader-movie-reviews"}
backbones: ["catalog:minilm-l6", "catalog:smollm2-135m-instruct"]
methods: auto
budget: {minutes: 8}
seed: 0
"""


def figure(value, half):
    return {"value": value, "low": value - half, "high": min(1.0, value + half)}


def against(kind, other, value, half, n=64, mcnemar=None):
    low, high = value - half, value + half
    verdict = "helps" if low > 0 else "hurts" if high < 0 else "no evidence"
    difference = {"value": value, "low": low, "high": high}
    entry = {"kind": kind, "against": other, "split": "validation", "n": n, "difference": difference}
    return entry | {"verdict": verdict, "mcnemar": mcnemar, "detectable": half}


def candidate(
    identity, family, method, backbone, sources, value, half, fit, predict, parameters, memory, transfer, **more
):
    done = {
        "id": identity,
        "family": family,
        "method": method,
        "backbone": backbone,
        "sources": sources,
        "settings": more.get("settings", {}),
        "status": "done",
        "reason": "",
        "validation": {"accuracy": figure(value, half), "macro_f1": figure(value - 0.004, half)},
        "transfer": transfer,
        "seconds": {"fit": fit, "predict_per_1000": predict},
        "peak_memory_mib": memory,
        "trainable_parameters": parameters,
    }
    return done


def not_run(identity, family, method, backbone, sources, status, reason):
    head = {"id": identity, "family": family, "method": method, "backbone": backbone, "sources": sources}
    return head | {"settings": {}, "status": status, "reason": reason, "validation": {}, "transfer": []}


def candidates():
    small, large, base = "catalog:minilm-l6", "catalog:smollm2-135m-instruct", "tfidf"
    none = "no transfer"
    probe_small, probe_large = "probe.minilm-l6", "probe.smollm2-135m-instruct"
    tuned, tuned_source = "finetune.smollm2-135m-instruct", "finetune.smollm2-135m-instruct+movies"
    return [
        candidate("majority", "baseline", "majority", None, [], 0.5, 0.12, 0.001, 0.002, 0, 310, [
            against(none, base, -0.13, 0.11)]),
        candidate(base, "baseline", "tfidf", None, [], 0.628, 0.115, 0.04, 0.03, 1_842, 322, []),
        candidate("tfidf+movies", "instance", "tfidf", None, ["movies"], 0.641, 0.11, 1.9, 0.05, 30_112, 402, [
            against(none, base, 0.013, 0.08), against("without source", base, 0.013, 0.08)]),
        candidate(probe_small, "feature", "probe", small, [], 0.752, 0.10, 3.1, 2.4, 770, 611, [
            against(none, base, 0.124, 0.11)], settings={"layer": 6, "pooling": "mean", "C": 1.0}),
        candidate(probe_small + "+movies", "feature", "probe", small, ["movies"], 0.726, 0.10, 27.5, 2.4, 770, 640, [
            against(none, base, 0.098, 0.12), against("without source", probe_small, -0.026, 0.05)]),
        candidate("finetune.minilm-l6+movies", "parameter", "finetune", small, ["movies"], 0.781, 0.095, 41, 2.5,
                  3_550_850, 905, [
            against(none, base, 0.153, 0.11), against("without source", probe_small, 0.029, 0.06),
            against("frozen probe", probe_small + "+movies", 0.055, 0.05)], settings={"train_layers": 2}),
        candidate("prompt.smollm2-135m-instruct", "prompt", "prompt", large, [], 0.815, 0.09, 6.4, 38, 0, 1_240, [
            against(none, base, 0.187, 0.12)], settings={"shots": 8, "calibrate": True}),
        candidate(probe_large, "feature", "probe", large, [], 0.832, 0.085, 24, 21, 1_154, 1_180, [
            against(none, base, 0.204, 0.12)], settings={"layer": 20, "pooling": "last", "template": True}),
        candidate(probe_large + "+movies", "feature", "probe", large, ["movies"], 0.846, 0.08, 66, 21, 1_154, 1_262, [
            against(none, base, 0.218, 0.12), against("without source", probe_large, 0.014, 0.05)]),
        candidate(tuned, "parameter", "finetune", large, [], 0.839, 0.085, 58, 22, 21_241_730, 2_230, [
            against(none, base, 0.211, 0.12), against("frozen probe", probe_large, 0.007, 0.06)],
            settings={"train_layers": 6, "learning_rate": 0.0001, "epochs": 8, "head": "linear"}),
        candidate(tuned_source, "parameter", "finetune", large, ["movies"], 0.881, 0.07, 148, 22, 21_241_730, 2_410, [
            against(none, base, 0.253, 0.12), against("without source", tuned, 0.042, 0.034),
            against("frozen probe", probe_large + "+movies", 0.035, 0.045)],
            settings={"train_layers": 6, "learning_rate": 0.0001, "epochs": 2, "source_rows": 2000, "weight": 4}),
        candidate("lora.minilm-l6", "parameter", "lora", small, [], 0.562, 0.12, 35, 2.6, 221_184, 1_020, [
            against(none, base, -0.066, 0.055)], settings={"rank": 8, "alpha": 16}),
        not_run("lora.smollm2-135m-instruct+movies", "parameter", "lora", large, ["movies"], "skipped",
                "Would take 6 min 10 s; 2 min 4 s of the budget were left."),
        not_run("lora.smollm2-135m-instruct", "parameter", "lora", large, [], "failed",
                "Loss became infinite in step 12 <lr=0.1>; the other candidates went on."),
    ]  # fmt: skip


def full_report():
    test = {"accuracy": (0.883, 0.016), "macro_f1": (0.881, 0.016), "mcc": (0.764, 0.032), "log_loss": (0.297, 0.03)}
    plain = {"accuracy": (0.631, 0.024), "macro_f1": (0.629, 0.024), "mcc": (0.262, 0.05), "log_loss": (0.655, 0.01)}
    bins = [(0.53, 40, 0.55), (0.6, 81, 0.58), (0.67, 96, 0.7), (0.73, 102, 0.69), (0.8, 131, 0.76)]
    bins += [(0.86, 210, 0.84), (0.93, 330, 0.91), (0.98, 510, 0.965)]
    texts = [
        ("This phone is the bomb <script>alert(1)</script> & I'd buy it again at twice the price.", "positive", 0.991),
        ("I was prepared to hate it, and for the first week I did.", "positive", 0.984),
        (
            "It works great, if by great you mean that it turns on. " + "Then it turns itself off again. " * 25,
            "negative",
            0.971,
        ),
        ("电池只用了两天就坏了，客服倒是很热情。", "negative", 0.957),
    ]
    machine = {"cpu": "Intel Xeon 2.1 GHz", "cores": 2, "memory_gib": 24.0, "os": "Linux 6.1", "python": "3.11.9"}
    machine |= {"torch": "2.13.0", "transformers": "5.23.0", "transfuse": "0.1.0", "device": "cpu", "precision": "bf16"}
    other = {"positive": "negative", "negative": "positive"}
    negative_positive = {"negative": 32, "positive": 32}
    parts = [
        ("target train", "catalog:vader-amazon-reviews", 64, negative_positive),
        ("unlabelled", "catalog:vader-amazon-reviews", 1_411, None),
        ("test", "catalog:vader-amazon-reviews", 1_500, {"negative": 561, "positive": 939}),
        ("movies", "catalog:vader-movie-reviews", 9_204, {"negative": 4_410, "positive": 4_794}),
    ]
    findings = [
        ("leak", "info", "3 texts stand in the test set too and were dropped.", "movies", [17, 2_204, 9_113]),
        ("near-duplicate", "warning", "11 texts are nearly equal to a test text.", "movies", list(range(40, 600, 51))),
        ("truncated", "warning", "0.4 % of the texts are longer than 256 tokens and will be cut.", "target train", []),
    ]
    return {
        "schema": 1,
        "name": "reviews",
        "task": {"kind": "classify", "labels": ["negative", "positive"], "input": "text", "label": "rating"},
        "metric": "accuracy",
        "seed": 0,
        "machine": machine,
        "created": "2026-11-21 21:43",
        "recipe": RECIPE,
        "command": "transfuse run examples/reviews.yaml --out runs/reviews",
        "data": {
            "parts": [dict(zip(("name", "origin", "rows", "per_label"), part, strict=True)) for part in parts],
            "findings": [
                *(dict(zip(("kind", "level", "message", "part", "rows"), f, strict=True)) for f in findings),
                Finding("empty", "warning", "movies", {"origin": "movies.csv", "count": 2}, (3, 9)).to_dict(),
            ],
        },
        "validation": {"kind": "cross-validation", "folds": 4, "repeats": 3, "n": 64},
        "budget": {"minutes": 8, "spent_seconds": 431.2},
        "plan": {"precision": "bf16, 1.9 times as fast as fp32 here", "folds": 4, "skipped": ["lora, two candidates"]},
        "candidates": candidates(),
        "chosen": "finetune.smollm2-135m-instruct+movies",
        "gate": "default",
        "barred": [{"id": "lora.minilm-l6", "reason": "hurts"}, {"id": "majority", "reason": "hurts"}],
        "test": {name: figure(*pair) for name, pair in test.items()},
        "no_transfer": {name: figure(*pair) for name, pair in plain.items()},
        "by_label": [
            {"label": label, "n": n, "chosen": a, "no_transfer": b, "difference": a - b, "p": p, "verdict": verdict}
            for label, n, a, b, p, verdict in (
                ("positive", 900, 0.9, 0.6, 0.0, "helps"),
                ("negative", 600, 0.8, 0.79, 0.5, "no evidence"),
            )
        ],
        "test_comparison": {"difference": figure(0.252, 0.026), "verdict": "helps", "n": 1500, "mcnemar": 1e-60},
        "test_rows": 1500,
        "confusion": {"labels": ["negative", "positive"], "matrix": [[478, 83], [92, 847]]},
        "mistakes": [
            {"text": t, "label": other[p], "predicted": p, "probability": s, "row": 7 * i}
            for i, (t, p, s) in enumerate(texts, start=3)
        ],
        "calibration": [
            {"low": c - 0.03, "high": c + 0.03, "n": n, "confidence": c, "accuracy": a} for c, n, a in bins
        ],
        "assets": [
            {"reference": "catalog:smollm2-135m-instruct", "hash": "sha256:" + "5f0c" * 16, "licence": "Apache-2.0"},
            {"reference": "catalog:vader-amazon-reviews", "hash": "sha256:" + "a17e" * 16, "licence": "MIT"},
        ],
        "seconds": 431.2,
    }  # fmt: skip


def crowded_report():
    """40 candidates, 150 labels, no test of calibration: what a large study on intents gives."""
    labels = [f"intent number {k}" for k in range(150)]
    matrix = [[30 if i == j else (3 if (i * 7 + 1) % 150 == j else 0) for j in range(150)] for i in range(150)]
    families = ["baseline", "prompt", "feature", "instance", "parameter", "distillation", "merging", "meta", "relation"]
    many = []
    for k in range(40):
        value, seconds = 0.6 + 0.3 * math.sin(k) ** 2, 10 ** (k % 9 / 3)
        identity, family = f"method-{k}.backbone-{k % 5}", families[k % 9]
        many.append(
            candidate(
                identity,
                family,
                f"method-{k}",
                "hub:some/backbone",
                [],
                value,
                0.02,
                seconds,
                seconds / 5,
                10**k % 977,
                100 * k,
                [against("no transfer", "method-0.backbone-0", value - 0.6, 0.03)],
            )
        )
    per_label = dict.fromkeys(labels, 10)
    report = {
        "schema": 1,
        "name": "intents",
        "metric": "accuracy",
        "seed": 3,
        "candidates": many,
        "chosen": many[11]["id"],
    }
    report["data"] = {"parts": [{"name": "target train", "origin": "train.csv", "rows": 1500, "per_label": per_label}]}
    report["confusion"] = {"labels": labels, "matrix": matrix}
    report["test"] = {"accuracy": figure(0.9, 0.01)}
    report["barred"] = [{"id": f"method-{k}.backbone-{k % 5}"} for k in range(20, 28)]
    return report | {"test_rows": 4500}


def minimal_report():
    """The least that a study without test data and without anything to choose may write."""
    return {"schema": 1, "name": "nothing", "candidates": [], "chosen": None, "test": None, "no_transfer": None}


@pytest.fixture
def full():
    return full_report()


@pytest.fixture
def crowded():
    return crowded_report()


@pytest.fixture
def minimal():
    return minimal_report()
