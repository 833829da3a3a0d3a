"""A role that learns: its rows, its task, what it may start from, and the job that trains it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfuse.backbones import loading
from transfuse.backbones.form import Form
from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.engine.answers import Ask, Start, Write
from transfuse.engine.jobs import Job, Rows, TransferData
from transfuse.errors import RecipeError, nearest
from transfuse.fitted.head import HeadPath
from transfuse.fitted.model import known, load
from transfuse.fitted.writer import WriterPath
from transfuse.methods.catalogue import LABELS, method, of_kind, settings, suits
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import Writing
from transfuse.teams.beginnings import Blend, Place, copied, merged
from transfuse.teams.building import MAX_NEW_TOKENS, fitted_folder, prompted
from transfuse.teams.contract import REQUEST, Contract
from transfuse.teams.recipe import RoleSection, TeamRecipe
from transfuse.teams.role_rows import kinds_of, labelled, played
from transfuse.teams.sections import SourceSection, TrainSection
from transfuse.teams.speakers import identity_of

LIMIT = 512
"""Most tokens of what a role reads."""
TEMPLATE = "{text}\nAnswer:"
"""How every role that chooses a label shows a text to a decoder: one template, so that a text is read once."""
WRITES = "generate"
DEFAULT = {LABELS: "probe", WRITES: "lora"}


@dataclasses.dataclass(frozen=True)
class Pupil:
    """A role that learns.

    Args:
        name: of the role.
        section: what the file says.
        backbone: it is trained on.
        place: where the backbone is, for a manifest.
        task: what it is asked, as methods know it.
        contract: of what it says.
        rows: what it reads and should say.
        method: the method's name.
        settings: of the method.
        form: how a request is shown to it; None where it chooses labels.
        inputs: the kind of each field that it is given.
        output: the kind of each field that it says, as the file has it.
        base: what paths are relative to.
        where: its line in the team's file.
    """

    name: str
    section: TrainSection
    backbone: Backbone
    place: Mapping[str, Any]
    task: Classify | Writing
    contract: Contract
    rows: Examples
    method: str
    settings: Mapping[str, Any]
    form: Form | None
    inputs: Mapping[str, Any]
    output: Mapping[str, Any]
    base: Path
    where: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels; empty where it writes."""
        return self.task.labels

    @property
    def identity(self) -> dict[str, Any]:
        """What decides what it is trained to, what it takes from other roles of the team aside."""
        return {
            "backbone": self.backbone.revision,
            "task": self.task.to_dict(),
            "rows": self.rows.fingerprint(),
            "method": [self.method, dict(self.settings)],
            "form": None if self.form is None else self.form.to_dict(),
            "sources": [[source.model_dump(), self._content(source)] for source in self.section.sources],
        }

    def knowledge(self, roles: Path) -> dict[str, Examples | Start | Blend]:
        """What it may start from, by name: rows of another domain, or the layers of another model.

        Args:
            roles: the folder of the team's roles that are trained already.
        """
        found: dict[str, Examples | Start | Blend] = {}
        for source in self.section.sources:
            known = found[source.told] = self._known(source, roles)
            foreign = self._foreign(known)
            if foreign and not method(self.method, self.task.kind).uses_related:
                learn = [name for name in of_kind(self.task.kind) if method(name, self.task.kind).uses_related]
                raise RecipeError(
                    f"{self.where}: {source.told} has the label '{foreign[0]}', and '{self.method}' learns from rows "
                    f"with the role's own labels alone: {', '.join(self.labels)}",
                    expected=f"a method that learns from other labels, too: {', '.join(learn)}",
                    remedy="Choose one, or name a model that has learnt these rows: {model: FOLDER}.",
                )
        return found

    def _foreign(self, source: Examples | Start | Blend | None) -> list[str]:
        """Labels of a source that the role does not have."""
        labels = source.labels if isinstance(source, Examples) else None
        return sorted(set(labels or ()) - set(self.labels)) if self.labels else []

    def job(self, rows: Examples, source: Examples | Start | Blend | None, seed: int) -> Job:
        """The job that trains it on some of its rows.

        Raises:
            RecipeError: a setting of the wrong kind, or layers that the method cannot go on with.
        """
        known = {"source": source} if isinstance(source, Examples) else {}
        data = TransferData(rows, related=known) if self._foreign(source) else TransferData(rows, known)
        try:
            job = method(self.method, self.task.kind).plan(self.task, self.backbone, data, seed, **self.settings)
        except TypeError as error:
            raise RecipeError(f"{self.where}: method '{self.method}': a setting of the wrong kind: {error}") from error
        trains = self.form is None or any(isinstance(stage, Write) for stage in job.stages)
        stages = [self._own(stage) for stage in job.stages] if trains else list(job.stages)
        if isinstance(source, Start | Blend):
            place = Place(self.method, self.backbone.layers, self.form is not None, self.where)
            stages = (copied if isinstance(source, Start) else merged)(source.path, stages, place)
        return dataclasses.replace(job, stages=tuple(stages))

    def _own(self, stage: Any) -> Any:
        """A stage with this role's number of classes, or in this role's form."""
        if self.form is not None:
            if isinstance(stage, Write):
                held = stage.held and (stage.held[0], self.form)
                return dataclasses.replace(
                    stage, parts=tuple((pairs, self.form) for pairs, _ in stage.parts), held=held
                )
            if isinstance(stage, Ask):
                stop = dict.fromkeys((*stage.decoding.stop, *(("\n\n",) if self.form.special else ())))
                return dataclasses.replace(
                    stage, form=self.form, decoding=dataclasses.replace(stage.decoding, stop=tuple(stop))
                )
            return stage
        named = {
            field.name: dataclasses.replace(value, classes=len(self.labels))
            for field in dataclasses.fields(stage)
            if isinstance(value := getattr(stage, field.name), Rows) and value.classes is None
        }
        return dataclasses.replace(stage, **named) if named else stage

    def _content(self, source: SourceSection) -> Any:
        """What a source outside the team holds, as far as a change of it must be seen."""
        if source.data:
            return self._rows(source).fingerprint()
        if source.traces:
            return self._played(source.traces).fingerprint()
        return None if source.role else identity_of(load(self._folder(source, Path())))

    def _known(self, source: SourceSection, roles: Path) -> Examples | Start | Blend:
        if source.data:
            return self._rows(source)
        if source.traces:
            return self._played(source.traces)
        model: Any = load(self._folder(source, roles))
        if source.how == "distill":
            said = model.predict(self.rows.texts)
            return Examples(self.rows.texts, tuple(said), origin=source.told)
        path = model.path
        if not isinstance(path, HeadPath | WriterPath) or path.trained is None:
            raise RecipeError(
                f"{self.where}: {source.told} has no trained layers to {source.how} (method '{model.method}')",
                expected="a model of finetune, lora or the like",
                remedy="Write `how: distill`.",
            )
        if path.backbone.revision != self.backbone.revision:
            raise RecipeError(
                f"{self.where}: {source.told} has layers of another backbone",
                expected="one backbone for both",
                remedy="Write `how: distill`, which needs no common layers.",
            )
        return Start(path) if source.how == "copy" else Blend(path)

    def _played(self, file: str) -> Examples:
        return played(self.base / file, self.name, tuple(self.inputs), self.contract, self.backbone.tokenizer)

    def _rows(self, source: SourceSection) -> Examples:
        return labelled(source.data or "", self.base, self.inputs, self.output, self.backbone.tokenizer)[0]

    def _folder(self, source: SourceSection, roles: Path) -> Path:
        place = roles / source.role if source.role else self.base / (source.model or "")
        folder = fitted_folder(place)
        if folder is None:
            raise RecipeError(f"{self.where}: no fitted model in {place}", expected="its folder, or that of its run")
        return folder


def pupil_of(name: str, recipe: TeamRecipe, backbone: Backbone) -> Pupil:
    """A role of a team's file with its rows, ready to be trained.

    Raises:
        RecipeError: a method or a setting that the role cannot have; key and line are named.
        DataError: rows that cannot be used.
    """
    role, where = recipe.roles[name], recipe.at("roles", name, "train")
    section = role.train
    assert section is not None
    inputs = inputs_of(name, recipe)
    rows, contract = labelled(section.data, recipe.base, inputs, role.output, backbone.tokenizer)
    task, form = _task(role, contract, backbone)
    chosen, given = section.chosen(DEFAULT[task.kind])
    _check(chosen, given, task.kind, backbone, recipe, ("roles", name, "train", "method"))
    place = place_of(recipe, name, backbone)
    return Pupil(
        name,
        section,
        backbone,
        place,
        task,
        contract,
        rows,
        chosen,
        given,
        form,
        inputs,
        role.output,
        recipe.base,
        where,
    )


def inputs_of(name: str, recipe: TeamRecipe) -> dict[str, Any]:
    """The kind of each field that a role is given, in order.

    Raises:
        RecipeError: its file does not say which fields these are.
    """
    role = recipe.roles[name]
    if role.input is None:
        raise RecipeError(
            f"{recipe.at('roles', name)}: no `input`",
            expected="the fields that it is given, in order, which are columns of its data: input: [request]",
        )
    kinds = kinds_of({other: one.output for other, one in recipe.roles.items()})
    return {field: kinds[field] for field in role.input}


def place_of(recipe: TeamRecipe, name: str, backbone: Backbone | None = None) -> dict[str, Any]:
    """Where the backbone of a role is, for the manifest of a model that is fitted on it.

    Args:
        recipe: of the team.
        name: of the role.
        backbone: it is fitted on; None for that of the role's fitted model, or of its reference.
    """
    reference = recipe.roles[name].model or recipe.backbone or ""
    folder = None if ":" in reference else fitted_folder(recipe.base / reference)
    if folder is not None:
        return dict(load(folder).backbone)
    backbone = backbone or known(loading.load(reference, base=recipe.base))
    resolved = loading.resolved(reference)
    return {
        "reference": reference,
        "resolved": resolved if ":" in resolved else str((recipe.base / resolved).resolve()),
        "revision": backbone.revision,
        "licence": backbone.licence,
        "family": backbone.family,
    }


def _task(role: RoleSection, contract: Contract, backbone: Backbone) -> tuple[Classify | Writing, Form | None]:
    """What a role is asked, as methods know it; where it writes, also the form of its prompts, as if only prompted."""
    field = contract.labelled
    if field is not None:
        labels = tuple(str(label) for label in contract.fields[field])
        return Classify(labels, template=TEMPLATE, max_tokens=LIMIT, input=REQUEST, label=field), None
    most = role.max_new_tokens or MAX_NEW_TOKENS
    task = Writing(WRITES, max_tokens=LIMIT, max_new_tokens=most, input=REQUEST, label=next(iter(contract.fields)))
    return task, prompted(backbone, contract, role.instructions).path.form


def _check(
    name: str, given: Mapping[str, Any], kind: str, backbone: Backbone, recipe: TeamRecipe, path: tuple[str, ...]
) -> None:
    """Refuse a method that is none for this kind of role or backbone, and settings that it does not have."""
    if name not in of_kind(kind):
        raise RecipeError(
            f"{recipe.at(*path)}: no method '{name}' for a role that {'chooses' if kind == LABELS else 'writes'}."
            f"{nearest(name, tuple(of_kind(kind)))}",
            expected=f"one of {', '.join(of_kind(kind))}",
        )
    reads = method(name, kind).reads
    if reads != "nothing" and not suits(reads, backbone.decoder):
        raise RecipeError(f"{recipe.at(*path)}: '{name}' reads a {reads}", expected=f"a {reads} as the role's backbone")
    allowed = settings(name, kind)
    for key in given:
        if key not in allowed:
            raise RecipeError(
                f"{recipe.at(*path, name, key)}: unknown setting.{nearest(key, tuple(allowed))}",
                expected=f"settings of {name}: {', '.join(allowed)}",
            )
