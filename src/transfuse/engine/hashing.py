"""The hash of a description: equal for descriptions of the same work."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

import numpy as np


def take_in(digest: Any, value: Any) -> None:
    """Feed a value into a hash: field by field, arrays by their bytes, functions by name and by what they hold.

    Paths of fitted models count by their description and their numbers.
    """
    if dataclasses.is_dataclass(value):
        digest.update(type(value).__name__.encode())
        for field in dataclasses.fields(value):
            take_in(digest, getattr(value, field.name))
    elif isinstance(value, np.ndarray):
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, tuple):
        digest.update(f"({len(value)}".encode())
        for item in value:
            take_in(digest, item)
    elif isinstance(value, functools.partial):
        take_in(digest, (value.func, value.args, tuple(sorted(value.keywords.items()))))
    elif inspect.isfunction(value):
        held = tuple(cell.cell_contents for cell in value.__closure__ or ())
        take_in(digest, (value.__module__, value.__qualname__, held))
    elif hasattr(value, "describe") and hasattr(value, "tensors"):  # the path of a fitted model
        digest.update(repr(value.describe()).encode())
        for name, tensor in sorted(value.tensors().items()):
            take_in(digest, (name, tensor.detach().float().cpu().numpy()))
    else:
        digest.update(repr(value).encode() + b";")
