"""Long trainings are kept while they run, so that a kill loses minutes: they go on to the very same figures."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from transfuse.engine.hashing import take_in

EVERY = 120.0
"""Seconds of training between two checkpoints: what ends sooner is never written."""
DONE, DRAWS = "done", "draws"


class Learner(Protocol):
    """What trains (see `training.Learner`): its parameters, what it learns, and where it is."""

    pupil: Any
    parameters: list[torch.nn.Parameter]

    def kept(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Where it is, as JSON and tensors."""
        ...

    def restore(self, fields: Mapping[str, Any], named: Mapping[str, Any]) -> None:
        """Go on from what `kept` gave, the tensors as a `tree`."""
        ...


class Checkpoints:
    """Where the trainings of a study are kept; one file each, whole or not at all, gone when the training has ended.

    Args:
        folder: of the files; made when one is written.
        every: seconds between two checkpoints; by default `EVERY`.
        about: a hash of the work that trainings belong to.
        lasting: whether a training that has ended stays, since others begin where it ends.
    """

    def __init__(self, folder: Path, every: float | None = None, about: str = "", *, lasting: bool = False) -> None:
        self._folder, self._about, self._lasting = folder, about, lasting
        self._every = EVERY if every is None else every

    def within(self, about: str, *, lasting: bool = False) -> Checkpoints:
        """The same for the trainings of some work alone."""
        return Checkpoints(self._folder, self._every, about, lasting=lasting)

    def of(self, learners: Sequence[Learner], how: str) -> Checkpoint:
        """The place of a training, by what is trained and how.

        Args:
            learners: before their first step.
            how: the backbone's content and the arithmetic.
        """
        file = self._folder / f"{_key(learners, self._about + how)}.safetensors"
        return Checkpoint(file, self._every, self._lasting)


class Checkpoint:
    """One training's file.

    Args:
        file: where it is.
        every: seconds between two writings.
        lasting: whether the end is kept, too, of a training that took so long.
    """

    def __init__(self, file: Path, every: float, lasting: bool) -> None:
        self._file, self._every, self._lasting, self._last = file, every, lasting, time.monotonic()

    def resume(self, learners: Sequence[Learner]) -> int:
        """Bring learners to where the file has them; the steps that are done, 0 where there is no sound file."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._file, "pt") as kept:
                told = json.loads((kept.metadata() or {})["told"])
                tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118 - not a dict
            drawn = [(device, tensors[name]) for name, device in _generators(learners).items()]
        except (OSError, SafetensorError, KeyError, ValueError):
            return 0
        for number, (learner, fields) in enumerate(zip(learners, told["learners"], strict=True)):
            mark = f"{number}."
            own = {n.removeprefix(mark): t for n, t in tensors.items() if n.startswith(mark)}
            learner.restore(fields, tree(own))
        for device, state in drawn:
            if device.type == "cuda":
                torch.cuda.set_rng_state(state, device)
            else:
                torch.set_rng_state(state)
        return int(told[DONE])

    def keep(self, learners: Sequence[Learner], done: int) -> None:
        """Write where learners are, if it is time; a disk that refuses costs the checkpoint and not the training."""
        if time.monotonic() - self._last >= self._every:
            self._write(learners, done)

    def end(self, learners: Sequence[Learner], done: int) -> None:
        """The training has ended: what was kept of it is of no more use, unless it is lasting."""
        if self._lasting and self._file.exists():
            self._write(learners, done)
        else:
            with contextlib.suppress(OSError):
                self._file.unlink()

    def _write(self, learners: Sequence[Learner], done: int) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        told = [learner.kept() for learner in learners]
        tensors = {f"{i}.{name}": t.contiguous() for i, (_, own) in enumerate(told) for name, t in own.items()}
        for name, device in _generators(learners).items():
            tensors[name] = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
        scratch = self._file.with_suffix(".partial")
        with contextlib.suppress(OSError, SafetensorError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, scratch, {"told": json.dumps({DONE: done, "learners": [fields for fields, _ in told]})})
            scratch.replace(self._file)
        self._last = time.monotonic()


def _generators(learners: Sequence[Learner]) -> dict[str, torch.device]:
    """The generators that a training draws from, by names for their states: the CPU's, and those of its GPUs."""
    places = sorted({str(p.device) for learner in learners for p in learner.parameters if p.device.type == "cuda"})
    return {DRAWS: torch.device("cpu")} | {f"{DRAWS}.{place}": torch.device(place) for place in places}


def tree(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """``{"best.0": t}`` as ``{"best": {"0": t}}``, numbers in their order."""
    out: dict[str, Any] = {}
    for name in sorted(
        tensors, key=lambda name: [(p.isdigit(), int(p) if p.isdigit() else p) for p in name.split(".")]
    ):
        *above, last = name.split(".")
        place = out
        for part in above:
            place = place.setdefault(part, {})
        place[last] = tensors[name]
    return out


def _key(learners: Sequence[Learner], about: str) -> str:
    """A hash of all that decides what a training ends with; sums stand for the weights that it begins with."""
    digest = hashlib.sha256(about.encode())
    for learner in learners:
        pupil = learner.pupil
        sums = tuple(float(p.detach().double().sum()) for p in learner.parameters)
        take_in(digest, (pupil.rows, pupil.schedule, pupil.seed, pupil.pooling, pupil.states.lengths, sums))
    return digest.hexdigest()[:32]
