"""HumanEval with smollm2-135m-instruct, before and after it has read functions of Python's standard library."""

from __future__ import annotations

import ast
import gzip
import json
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.arms import Arm, answered, figures
from benchmarks.common import keep, shared
from transfuse.tasks.writing import Writing

SMOLLM = "catalog:smollm2-135m-instruct"
LEARNT, LONGEST = 400, 700
"""Functions that are learnt from, and most characters of the end of one."""
OVERLAP = 8
"""A function that shares so many words in a row with a problem or its solution is left out."""
RECIPE = """
task: {kind: code, input: prompt, output: completion, tests: test, entry: entry_point, run_code: true,
       metric: chrf, max_tokens: 400, max_new_tokens: 256}
target: {data: functions.jsonl, test: problems.jsonl}
backbones: ["catalog:smollm2-135m-instruct"]
methods: [lookup]
validation: {folds: 2}
"""
ARMS = {"before": Arm("prompt", {"shots": 0}), "after": Arm("lora", {"epochs": 1})}


def run() -> None:
    """Both, into one result; the programs are run in the sandbox."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        problems = _problems()
        functions, left_out = _functions(problems)
        for name, rows in (("problems", problems), ("functions", functions)):
            (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        found, seconds, asked = answered(RECIPE, place, ARMS, {}, SMOLLM)
    answers = {arm: found[arm]["test"] for arm in ARMS}
    told = figures(Writing("code", runs=True), asked["test"], answers, ("pass_1", "chrf"), {"after": "before"})
    keep(
        "programs",
        "python -m benchmarks programs",
        started,
        **told,
        seconds_of=seconds,
        learnt=len(functions),
        left_out=left_out,
    )


def _problems() -> list[dict[str, str]]:
    with gzip.open(shared("humaneval", "HumanEval.jsonl.gz"), "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    keys = {"prompt": "prompt", "completion": "canonical_solution", "test": "test", "entry_point": "entry_point"}
    return [{new: row[old] for new, old in keys.items()} for row in rows]


def _functions(problems: list[dict[str, str]]) -> tuple[list[dict[str, str]], int]:
    """Functions with docstrings of the installed standard library, and how many overlap with a problem."""
    known = {gram for row in problems for gram in _grams(row["prompt"] + row["completion"])}
    names = {row["entry_point"] for row in problems}
    every = [row for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")) for row in _of(path)]
    new = [row for row in every if row["entry_point"] not in names and not known & _grams(row["completion"])]
    chosen = np.random.default_rng(0).permutation(len(new))[:LEARNT]
    return [new[i] for i in sorted(chosen)], len(every) - len(new)


def _of(path: Path) -> Iterator[dict[str, str]]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef) or not ast.get_docstring(node) or len(node.body) < 2:
            continue
        first = node.body[0].end_lineno or 0
        prompt, completion = "".join(lines[node.lineno - 1 : first]), "".join(lines[first : node.end_lineno])
        if completion.strip() and len(completion) <= LONGEST and len(prompt) <= 2 * LONGEST:
            yield {"prompt": prompt, "completion": completion, "entry_point": node.name}


def _grams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + OVERLAP]) for i in range(len(words) - OVERLAP + 1)}
