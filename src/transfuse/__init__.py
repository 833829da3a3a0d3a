"""transfuse compares every way to transfer what language models know to a task, and hands over the one that works.

    study = transfuse.run("reviews.yaml")
    study.leaderboard                          # one row a candidate
    study.model.predict(["Arrived broken."])

The public names load when they are first used: importing this package imports nothing heavy.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transfuse import errors as errors
    from transfuse.fitted import Cascade as Cascade
    from transfuse.fitted import Embedder as Embedder
    from transfuse.fitted import load as load
    from transfuse.fitted.shrinking import shrink as shrink
    from transfuse.study.cascade import cascade as cascade
    from transfuse.study.distill import distill as distill
    from transfuse.study.estimator import TransferClassifier as TransferClassifier
    from transfuse.study.recipe import Recipe as Recipe
    from transfuse.study.run import run as run
    from transfuse.teams import Team as Team

# Read when torch is loaded: threads that wait must sleep. Beside another busy process spinning costs ten times; the
# thousand turns before they sleep gain a tenth on an idle machine and cost about as much on a busy one (docs/log.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if os.environ["OMP_WAIT_POLICY"].upper() == "PASSIVE":
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# What torch keeps for each shape of a product it has seen; texts have many lengths, and memory must not grow with them.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
os.environ.setdefault("LRU_CACHE_CAPACITY", "128")

__version__ = "0.1.0"

__all__ = [
    "Cascade",
    "Embedder",
    "Recipe",
    "Team",
    "TransferClassifier",
    "__version__",
    "cascade",
    "distill",
    "errors",
    "load",
    "run",
    "shrink",
]

# Public name -> where it lives: "module:attribute", or a module alone.
_PUBLIC = {
    "Cascade": "transfuse.fitted:Cascade",
    "Embedder": "transfuse.fitted:Embedder",
    "Recipe": "transfuse.study.recipe:Recipe",
    "Team": "transfuse.teams:Team",
    "TransferClassifier": "transfuse.study.estimator:TransferClassifier",
    "cascade": "transfuse.study.cascade:cascade",
    "distill": "transfuse.study.distill:distill",
    "errors": "transfuse.errors",
    "load": "transfuse.fitted:load",
    "run": "transfuse.study.run:run",
    "shrink": "transfuse.fitted.shrinking:shrink",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'transfuse' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = importlib.import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
