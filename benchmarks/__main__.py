"""python -m benchmarks [NAME ...]: measure, keep the results, write docs/benchmarks.md."""

from __future__ import annotations

import importlib
import os
import sys

NAMES = (
    "reviews",
    "intents",
    "chinese",
    "kill",
    "ranking",
    "unseen",
    "meta",
    "harm",
    "gallery",
    "translate",
    "replies",
    "questions",
    "programs",
    "distill",
    "remote",
    "team_faults",
    "team_cost",
    "team_desk",
    "team_sums",
    "speed",
    "growth",
    "profile",
)


def main(names: list[str]) -> None:
    """Run the named benchmarks (all by default) one after another, then write the page."""
    os.environ["TRANSFUSE_ACTIVATIONS_GIB"] = "0"  # every study computes all that it needs, as a first one would
    for name in names or NAMES:
        if name not in (*NAMES, "page"):
            raise SystemExit(f"no benchmark '{name}'; there are {', '.join((*NAMES, 'page'))}")
        if name != "page":
            importlib.import_module(f"benchmarks.{name}").run()
    importlib.import_module("benchmarks.page").run()


if __name__ == "__main__":
    main(sys.argv[1:])
