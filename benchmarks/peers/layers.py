"""What a probe over all layers and poolings needs, against one layer, and against a pass for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.peers import data
from benchmarks.peers.clock import timed

WORK = "states of 256 sentences for a probe, smollm2-135m-instruct"
NAME, COUNT = "smollm2-135m-instruct", 256


def encoded(which: str) -> dict[str, Any]:
    """The last layer and one pooling; all layers and poolings from one pass; or a pass a layer."""
    from transfuse.backbones import loading, precision

    (texts, _), _ = data.sentiment("vader-amazon-reviews", COUNT, 2)
    backbone = loading.load(f"catalog:{NAME}")
    arithmetic = str(precision.choose(backbone, texts[:16], 256)["precision"])
    tokens = backbone.tokens(texts, None, 256)
    every = range(1, backbone.layers + 1)
    poolings = backbone.poolings

    def work() -> None:
        wanted: Sequence[Sequence[int]] = [list(every)]
        if which == "one":
            backbone.poolings, wanted = poolings[:1], [[backbone.layers]]
        elif which == "passes":
            wanted = [[layer] for layer in every]
        for layers in wanted:
            backbone.features(tokens, layers, arithmetic)

    seconds, _ = timed(work)
    return {"seconds": seconds, "layers": len(every), "poolings": len(poolings)}


SIDES = {
    "all layers and poolings, one pass": lambda: encoded("all"),
    "the last layer, one pooling": lambda: encoded("one"),
    "all layers and poolings, a pass a layer": lambda: encoded("passes"),
}
