"""python -m benchmarks.peers.one WORK SIDE: run one side of a work once, in this process; print its figures."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import warnings


def main(work: str, side: str) -> None:
    """The last line of the standard output is the result."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch

    from benchmarks.peers.clock import memory_mib

    found = importlib.import_module(f"benchmarks.peers.{work}").SIDES[side]()
    print("\n" + json.dumps({"memory_mib": memory_mib(), "threads": torch.get_num_threads(), **found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
