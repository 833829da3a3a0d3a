"""What is decided before the fits, and again between them, and obeyed by every resume: plan.json."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import transfuse
from transfuse.advice.candidates import Candidate, expand
from transfuse.advice.planner import Planned, plan
from transfuse.backbones.form import Form
from transfuse.backbones.remote import is_remote
from transfuse.engine.cost import MOST_CALLS, Cost, Prices, cost, price
from transfuse.engine.ledger import Ledger
from transfuse.engine.writing_cost import price_writing
from transfuse.errors import OutputError, RecipeError
from transfuse.methods.catalogue import method
from transfuse.study.ensembles import MOST
from transfuse.study.prepare import StudyData
from transfuse.study.ranked import by_evidence, leader
from transfuse.study.recipe import Recipe
from transfuse.study.remotes import Outlook
from transfuse.study.settings import place, wanted
from transfuse.study.teaching import RECORD
from transfuse.study.workshop import Workshop
from transfuse.tasks.writing import Writing

AFTER = 6.0
"""Seconds for what follows the fits: comparison, saving, the report."""


def decide(recipe: Recipe, data: StudyData, workshop: Workshop, ledger: Ledger) -> dict[str, Any]:
    """Expand the candidates, time a few batches of each backbone, take what fits, and write plan.json.

    Raises:
        RecipeError: a method that needs a backbone without one, or with none that suits it.
    """
    import torch

    candidates = _candidates(recipe, data, workshop, ledger)
    judge = workshop.backbone(recipe.task.similarity or "")  # what cannot be loaded is told now, and not after the fits
    if judge is not None:
        judge.segment(0, 1)
    for reference in workshop.remotes.named:  # a missing key is told now
        workshop.remotes.of(reference)
    _refuse_unused(recipe, candidates)
    prices = _time(candidates, data, workshop)
    planned = _plan(candidates, prices, recipe, data, workshop, ledger)
    decided = {
        "recipe": recipe.fingerprint(),
        "data": data.fingerprint,
        "transfuse": transfuse.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": workshop.precisions,
        "resolved": workshop.resolved,
        **_decisions(prices, planned, settled=False),
        **workshop.remotes.plan(),
    }
    ledger.keep_plan(decided)
    return decided


def _candidates(
    recipe: Recipe, data: StudyData, workshop: Workshop, ledger: Ledger, *, more: bool = False
) -> list[Candidate]:
    """What the recipe means; with ``more``, also what ``methods: auto`` tries when all else has run."""
    loaded = {reference: workshop.backbone(reference) for reference in recipe.backbones}
    writes = isinstance(data.task, Writing)
    return expand(
        wanted(recipe),
        recipe.backbones,
        [s.name for s in recipe.sources],
        is_decoder=lambda reference: bool((b := loaded[reference]) and b.decoder and (writes or not b.crosses)),
        parameters=lambda reference: b.parameters if (b := loaded[reference]) else 0,
        related=data.related,
        kind=data.task.kind,
        teachers={name: told["backbone"] for name, told in (ledger.read(RECORD) or {}).items()},
        more=more,
    )


def decide_again(
    decided: Mapping[str, Any], recipe: Recipe, data: StudyData, workshop: Workshop, ledger: Ledger
) -> tuple[dict[str, Any], list[str]]:
    """Plan once more what has not run, in the time that is really left; plan.json says when nothing more is to decide.

    Other work on the machine, or on its neighbours, makes a timing too long and never too short: batches are timed
    again, some minutes later, and the shorter time counts. They are not where even half of every estimate would be too
    long. What trains a backbone whose frozen probe another's has beaten waits for that other's (see `by_evidence`).
    Where everything has run and `methods: auto` knows more (`MORE`), what of it there is time for is planned, once.

    Returns:
        The plan, and the ids of the candidates that are to run now. It is marked as made ``again``: what it takes runs
        before anything more is decided, after a kill, too.
    """
    planned = obey(decided, workshop)
    waiting = [p for p in planned if ledger.read(p.candidate.id) is None]
    prices = {reference: Prices(**fields) for reference, fields in decided["prices"].items()}
    left = _left(recipe, ledger)
    if any(p.seconds / 2 < left for p in waiting):
        for reference, again in _time([p.candidate for p in waiting], data, workshop, calls=1).items():
            prices[reference] = _lower(prices[reference], again)
    done = [p.candidate.id for p in planned if p not in waiting]
    candidates = by_evidence([p.candidate for p in planned], data, ledger, recipe.seed)
    planned.sort(key=lambda p: candidates.index(p.candidate))
    renewed = {p.candidate.id: p for p in _plan(candidates, prices, recipe, data, workshop, ledger, done)}
    now = [p.candidate.id for p in renewed.values() if p.room is None]
    planned = [renewed.get(p.candidate.id, p) for p in planned]
    if isinstance(recipe.methods, str) and all(p.barred for p in waiting) and not decided.get("widened"):
        known = [p.candidate.id for p in planned]
        rest = [c for c in _candidates(recipe, data, workshop, ledger, more=True) if c.id not in known]
        kept = _afterwards([p.candidate for p in planned], data, ledger, recipe.seed)
        added = _plan([*candidates, *rest], prices, recipe, data, workshop, ledger, known, kept)
        planned += [p for p in added if p.room is None]
        now = [p.candidate.id for p in added if p.room is None]
        decided = {**decided, "widened": True}
    decided = {**decided, **_decisions(prices, planned, settled=not now), **workshop.remotes.plan(), "again": True}
    ledger.keep_plan(decided)
    return decided, now


def _afterwards(done: Sequence[Candidate], data: StudyData, ledger: Ledger, seed: int) -> float:
    """Seconds that the choice may need of those that have run: an ensemble's members once more, and its placebo.

    No placebo where the best so far uses no source: what is chosen then hardly does. Whether it does is not asked of
    tasks that write, some of which would run programs for the answer; and these have no ensembles.
    """
    records = [(c, ledger.read(c.id) or {}) for c in done]
    took = [(c, record["seconds"]["fit"]) for c, record in records if record.get("seconds")]
    placebo = sorted((seconds for c, seconds in took if c.sources), reverse=True)[:MOST]
    if isinstance(data.task, Writing):
        return float(sum(placebo[:1]))
    members = sorted((seconds / len(data.splits.fits) for _, seconds in took), reverse=True)[:MOST]
    best = leader([c for c, _ in took], data, ledger, seed)
    return float(sum(members) + (sum(placebo) if best is not None and best.sources else 0.0))


def _decisions(prices: Mapping[str, Prices], planned: Sequence[Planned], *, settled: bool) -> dict[str, Any]:
    return {
        "prices": {r: {k: float(f"{v:.4g}") for k, v in vars(p).items()} for r, p in prices.items()},
        "candidates": [p.to_dict() for p in planned],
        "settled": settled,
    }


def _lower(a: Prices, b: Prices) -> Prices:
    return Prices(**{name: min(value, getattr(b, name)) for name, value in vars(a).items()})


def _left(recipe: Recipe, ledger: Ledger) -> float:
    return recipe.budget.minutes * 60 - ledger.seconds - AFTER


def _time(
    candidates: Sequence[Candidate], data: StudyData, workshop: Workshop, calls: int = MOST_CALLS
) -> dict[str, Prices]:
    """The prices of every backbone that some candidate reads."""
    prices = {}
    for reference in dict.fromkeys(c.backbone for c in candidates if c.backbone):
        if is_remote(reference):
            continue
        backbone = workshop.backbone(reference)
        template = data.task.shown() if backbone and backbone.decoder else None
        trunk = workshop.trunk(reference)
        prices[reference] = price(trunk, data.train.texts, max(len(data.task.labels), 2), template, calls)
        if isinstance(data.task, Writing) and backbone and backbone.decoder:
            form = Form.plain(data.task.shown())
            prices[reference] = price_writing(prices[reference], trunk, data.train, form, calls)
    return prices


def _plan(
    candidates: Sequence[Candidate],
    prices: Mapping[str, Prices],
    recipe: Recipe,
    data: StudyData,
    workshop: Workshop,
    ledger: Ledger,
    done: Sequence[str] = (),
    kept: float = 0.0,
) -> list[Planned]:
    """The planner's decisions at these prices, in the time that is left.

    Args:
        done: ids of those that have run.
        kept: seconds to be left for what follows.
    """
    whole = np.arange(len(data.train))
    each = max(len(left_out) for _, _, left_out in data.splits.fits)
    fits = len(data.splits.fits)
    costs = {c.id: _cost(c, recipe, workshop, whole, prices, each) for c in candidates}
    outlooks = outlooks_of([c for c in candidates if c.id not in done], data, workshop)
    barred = workshop.remotes.barred(candidates, outlooks, done)
    costs |= {name: Cost({}, 0.0, outlook.seconds / fits, answer=outlook.each) for name, outlook in outlooks.items()}
    finals = {c.id: costs[c.id].each + _test_seconds(c, costs[c.id], prices, len(data.test)) for c in candidates}
    fitting = [c for c in candidates if c.id not in barred]
    found = {p.candidate.id: p for p in plan(fitting, costs, fits, finals, _left(recipe, ledger) - kept, done)}
    found |= {c.id: Planned(c, outlooks[c.id].seconds, 0.0, barred=barred[c.id]) for c in candidates if c.id in barred}
    return [found[c.id] for c in candidates if c.id in found]


def outlooks_of(candidates: Sequence[Candidate], data: StudyData, workshop: Workshop) -> dict[str, Outlook]:
    """What the candidates of remote models will cost, by id; none of those that cannot even be planned."""
    found = {}
    for candidate in candidates:
        if is_remote(candidate.backbone):
            with contextlib.suppress(RecipeError):
                requests, texts = workshop.requests(candidate)
                found[candidate.id] = workshop.remotes.outlook(candidate, requests, texts, len(data.test))
    return found


def obey(decided: Mapping[str, Any], workshop: Workshop) -> list[Planned]:
    """Set the workshop up as a plan says; its candidates."""
    import torch

    torch.set_num_threads(decided["threads"])
    workshop.precisions = dict(decided["precision"])
    workshop.resolved = dict(decided["resolved"])
    workshop.remotes.obey(decided)
    return [Planned.from_dict(fields) for fields in decided["candidates"]]


def check_owner(decided: Mapping[str, Any], recipe: Recipe, data: StudyData, folder: Path) -> None:
    """Refuse a folder whose plan was made for another recipe or other data.

    Raises:
        OutputError: what differs.
    """
    for key, now, what in (
        ("recipe", recipe.fingerprint(), "another recipe"),
        ("data", data.fingerprint, "other data: a file has changed since"),
        ("transfuse", transfuse.__version__, f"transfuse {decided.get('transfuse')}"),
    ):
        if decided.get(key) != now:
            raise OutputError(
                f"{folder}: holds the results of {what}",
                expected=f"an empty folder, or one that a study of {recipe.origin} began",
                remedy="Choose another folder with --out, or start again with --fresh, which keeps the old results.",
            )


def _refuse_unused(recipe: Recipe, candidates: list[Candidate]) -> None:
    """Each method that the recipe names must have led to a candidate."""
    if isinstance(recipe.methods, str):
        return
    for index, named in enumerate(recipe.methods):
        if named.name not in {c.method for c in candidates}:
            only = "an encoder only" if method(named.name, recipe.task.kind).reads == "decoder" else "a decoder only"
            only = "remote models only" if all(map(is_remote, recipe.backbones)) else only
            kinds = only if recipe.backbones else "no backbone"
            raise RecipeError(
                f"{recipe.at('methods', index)}: '{named.name}' has nothing to work with: the recipe names {kinds}",
                expected="a backbone that suits the method (`prompt` needs a decoder, `span` an encoder)",
                remedy="Add one to `backbones`, or remove the method.",
            )


def _cost(
    candidate: Candidate,
    recipe: Recipe,
    workshop: Workshop,
    whole: np.ndarray,
    prices: Mapping[str, Prices],
    validation: int,
) -> Cost:
    """What a candidate costs: nothing where it cannot even be planned, for it will fail at once and be reported."""
    try:
        job = workshop.job(candidate, whole)
    except RecipeError as error:
        if isinstance(recipe.methods, str):
            return Cost({}, 0.0, 0.0)
        at = place(recipe, candidate.method, candidate.settings)
        raise RecipeError(f"{at}: {error.found}", expected=error.expected, remedy=error.remedy) from error
    except Exception:  # noqa: BLE001 - the same happens when it is fitted, and is reported there
        return Cost({}, 0.0, 0.0)
    if is_remote(candidate.backbone):
        return Cost({}, 0.0, 0.0)  # what it takes is forecast
    return cost(job, workshop.backbone(candidate.backbone), prices.get(candidate.backbone), validation)


def _test_seconds(candidate: Candidate, cost: Cost, prices: Mapping[str, Prices], rows: int) -> float:
    if not candidate.backbone:
        return 0.1
    if is_remote(candidate.backbone):
        return rows * cost.answer
    p = prices[candidate.backbone]
    return rows * (p.tokens * cost.depth * p.forward + cost.answer)


def machine(precisions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the study ran on."""
    import os

    import psutil
    import torch

    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "precision": {r: p["precision"] for r, p in precisions.items()},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": importlib.metadata.version("transformers"),
        "transfuse": transfuse.__version__,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def now() -> str:
    """The time, for the report."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z")
