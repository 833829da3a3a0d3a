"""A teacher by its name: a fitted model's folder, or a backbone that is prompted with the task of another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transfuse.backbones import loading
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.remote import is_remote
from transfuse.backbones.remote.model import RemoteModel, Settings, open_model
from transfuse.backbones.remote.purse import Purse
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Job, TransferData
from transfuse.engine.trunk import Trunk
from transfuse.errors import ModelError, UsageError
from transfuse.fitted import FittedModel, FittedWriter, artifact, model
from transfuse.fitted.answering import order_of
from transfuse.fitted.cascade import Teacher
from transfuse.methods.catalogue import method
from transfuse.tasks import Task
from transfuse.tasks.classify import Classify

Model = FittedModel | FittedWriter


def model_place(name: str | Path) -> Path | None:
    """The folder of a fitted model, given it or the folder of the run that made it; None where there is none."""
    return next((p for p in (Path(name), Path(name) / "model") if (p / artifact.MANIFEST).exists()), None)


def as_model(name: str | Path | Model) -> Model:
    """A fitted model, or the one in a folder.

    Raises:
        ModelError: no fitted model there.
    """
    if isinstance(name, FittedModel | FittedWriter):
        return name
    return model.load(model_place(name) or Path(name))


def teacher_of(
    name: str | Path | Model,
    task: Task,
    examples: Examples | None = None,
    shots: int = 8,
    seed: int = 0,
    purse: Purse | None = None,
) -> Teacher:
    """A teacher for a task.

    Args:
        name: a fitted model or its folder; else a backbone's reference, which is prompted with the task.
        task: that it must answer.
        examples: labelled rows that a prompt shows; None shows none.
        shots: so many of them.
        seed: of the draw.
        purse: what a remote model is paid from.

    Raises:
        UsageError: a remote model without a budget; examples for a fitted model, which would not see them.
        ModelError: a model of another kind of task, or without some of the labels.
        BackboneError: a backbone that cannot be loaded or asked.
    """
    place = model_place(name) if isinstance(name, str | Path) else None
    if examples is not None and (place is not None or not isinstance(name, str | Path)):
        raise UsageError(
            f"--examples with {place or 'a fitted model'}, which is no prompt",
            expected="examples for a backbone alone, which is shown them",
            remedy="Leave out --examples.",
        )
    if isinstance(name, FittedModel | FittedWriter):
        found, said = name, name.method
    elif place is not None:
        found, said = model.load(place), str(name)
    else:
        found, said = _prompted(str(name), task, examples, shots, seed, purse), str(name)
    if isinstance(found.task, Classify) != isinstance(task, Classify) or found.task.kind != task.kind:
        raise ModelError(
            f"{said} answers tasks of kind {found.task.kind}",
            expected=f"a teacher for tasks of kind {task.kind}, which the student answers",
            remedy="Name another teacher, or a student for its task.",
        )
    if isinstance(task, Classify):
        order_of(found.labels, task.labels, said)
    return Teacher(said, given=found, places=[] if place is None else [place])


def _prompted(
    reference: str, task: Task, examples: Examples | None, shots: int, seed: int, purse: Purse | None
) -> Model:
    """A backbone that is shown some examples before each text, as a model like any other."""
    if is_remote(reference):
        return _remote(reference, task, examples, shots, seed, purse)
    backbone, fields = backbone_of(reference)
    if not backbone.decoder:
        raise ModelError(
            f"{reference} is an encoder, and cannot be asked",
            expected="a decoder's reference, or the folder of a fitted model",
            remedy="Fit it on labelled rows first (`transfuse run`), then name its folder.",
        )
    job = _shown(backbone, task, examples, shots, seed)
    path = Engine(Trunk(backbone, "fp32", task.max_tokens), len(task.labels)).fit(job)
    return _as_model(task, path, fields)


def _remote(reference: str, task: Task, examples: Examples | None, shots: int, seed: int, purse: Purse | None) -> Model:
    """A model behind an API, asked in the same way and paid from a purse."""
    if purse is None:
        raise UsageError(
            f"{reference} may cost money",
            expected="a budget that is never exceeded",
            remedy="Add --money DOLLARS, --tokens NUMBER, or both.",
        )
    remote = open_model(reference, purse, Settings())
    path = Engine(None, len(task.labels), remote=remote).fit(_shown(remote, task, examples, shots, seed))
    unknown = {"revision": "", "licence": "", "family": "remote", "layers": 0}
    return _as_model(task, path, {"reference": reference, "resolved": reference, **unknown})


def _shown(backbone: Backbone | RemoteModel, task: Task, examples: Examples | None, shots: int, seed: int) -> Job:
    rows = examples if examples is not None and len(examples) else Examples((), ())
    shown = shots if len(rows) else 0
    return method("prompt", task.kind).plan(task, backbone, TransferData(rows), seed, shots=shown)


def _as_model(task: Task, path: Any, fields: dict[str, Any]) -> Model:
    kind: Any = FittedModel if isinstance(task, Classify) else FittedWriter
    made: Model = kind(task, path, method="prompt", backbone=fields)
    return made


def backbone_of(reference: str) -> tuple[Backbone, dict[str, Any]]:
    """A backbone, and what a manifest says of it."""
    where = loading.resolved(reference)
    backbone = loading.load(where)
    fields = {
        "reference": reference,
        "resolved": where if ":" in where else str(Path(where).resolve()),
        "revision": backbone.revision,
        "licence": backbone.licence,
        "family": backbone.family,
        "layers": backbone.layers,
    }
    return backbone, fields
