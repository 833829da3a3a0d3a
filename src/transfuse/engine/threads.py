"""Small linear algebra on one thread: two would wait for each other longer than they work."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any


@functools.cache
def _controller() -> Any:
    import sklearn.linear_model  # noqa: F401  # loads SciPy's own BLAS, so that the controller finds it too
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """A block in which NumPy's and SciPy's BLAS use one thread; torch keeps its own.

    OpenBLAS spins while it waits: beside another busy process a decomposition of
    256 rows took 1.6 s instead of 0.01 s.
    """
    context: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return context
