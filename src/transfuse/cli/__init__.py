"""The command line. Each command is one file; what a command needs is imported when it runs, not before."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; docs/errors.md lists the codes.

    Args:
        arguments: what follows ``transfuse``; None takes it from the process.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transfuse.cli.guard import guarded

    return guarded(list(sys.argv[1:] if arguments is None else arguments))
