"""What CLINC150 is worth to a role that understands requests from few examples: a part of `team_desk`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import desk_data
from transfuse.backbones import loading
from transfuse.backbones import precision as arithmetic
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.trunk import Trunk
from transfuse.evaluation import compare, metric_intervals
from transfuse.fitted.model import known
from transfuse.teams.pupils import LIMIT, Pupil, pupil_of
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.training import ROLES, train

MINILM = "catalog:minilm-l6"
FEW, DRAWS = 3, 3
"""Examples of each intent, and how often they are drawn."""
LAYERS = {"train_layers": 4}
WAYS: dict[str, tuple[Any, dict[str, str]]] = {
    "matching, rows of CLINC150": ("matching", {"data": "clinc.csv"}),
    "finetune, layers that learnt CLINC150": ({"finetune": LAYERS}, {"model": f"clinc/{ROLES}/understand"}),
}
"""Method of the role, and its source as the team's file names it."""


def borrowed(place: Path) -> dict[str, Any]:
    """Each way with its source and without it, on several draws: the difference on the same tests, over all draws."""
    train(_recipe(place, "clinc.csv", {"finetune": {**LAYERS, "epochs": 4}}, ()), place / "clinc")
    test = desk_data.rows()["test"]
    asked = Examples(tuple(row.request for row in test), tuple(row.intent for row in test))
    backbone = known(loading.load(MINILM))
    chosen = str(arithmetic.choose(backbone, list(asked.texts[:16]), LIMIT)["precision"])
    trunk = Trunk(backbone, chosen, LIMIT)
    told: dict[str, Any] = {}
    for way, (method, source) in WAYS.items():
        found = []
        for draw in range(DRAWS):
            file = desk_data.write_draw(place, FEW, draw)
            pupil = pupil_of("understand", _recipe(place, file.name, method, [source]), backbone)
            found.append(_with_and_without(pupil, place, Engine(trunk, 0), asked, draw))
            expected = pupil.task.encode(asked)
        sides = [np.stack([pair[i] for pair in found]) for i in (0, 1)]
        each = [
            float((pair[0].argmax(1) == expected).mean() - (pair[1].argmax(1) == expected).mean()) for pair in found
        ]
        told[way] = {
            "with": metric_intervals(expected, sides[0], seed=0, names=["accuracy"])["accuracy"].to_dict(),
            "without": metric_intervals(expected, sides[1], seed=0, names=["accuracy"])["accuracy"].to_dict(),
            "compared": compare(expected, sides[0], sides[1], seed=0).to_dict(),
            "draws": each,
        }
        print(way, told[way]["with"], told[way]["without"], each, flush=True)
    return {"shots": FEW, "rows": len(test), "source_rows": desk_data.SOURCE, "ways": told}


def _with_and_without(
    pupil: Pupil, place: Path, engine: Engine, asked: Examples, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, C] of the tests by the role that knows the source, and by the one that does not."""
    (source,) = pupil.knowledge(place / "none").values()
    paths = engine.fit_all([pupil.job(pupil.rows, known, seed) for known in (source, None)])
    first, second = (np.asarray(pupil.task.judged(engine.predict(path, asked.texts))) for path in paths)
    return first, second


def _recipe(place: Path, data: str, method: Any, sources: Sequence[dict[str, str]]) -> TeamRecipe:
    role = {
        "input": ["request"],
        "output": {"intent": "labels"},
        "train": {"data": data, "method": method, "sources": list(sources)},
    }
    plain = {"backbone": MINILM, "roles": {"understand": role}, "protocol": {"pipeline": ["understand"]}}
    return TeamRecipe.from_text(json.dumps(plain), place, "source")
