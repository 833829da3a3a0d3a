"""All methods: a literal table, imported when one is used."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Protocol

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.remote.model import RemoteModel
from transfuse.engine.jobs import Job, TransferData
from transfuse.errors import RecipeError, nearest
from transfuse.tasks.writing import KINDS

METHODS = {
    "majority": "transfuse.methods.baseline.majority:Majority",
    "tfidf": "transfuse.methods.baseline.tfidf:TfidfBaseline",
    "prompt": "transfuse.methods.prompt.prompt:Prompting",
    "probe": "transfuse.methods.feature.probe:Probe",
    "discriminant": "transfuse.methods.feature.discriminant:method",
    "centroid": "transfuse.methods.feature.centroid:method",
    "knn": "transfuse.methods.feature.knn:method",
    "coral": "transfuse.methods.feature.coral:method",
    "linear_transport": "transfuse.methods.feature.coral:transport_method",
    "transport": "transfuse.methods.feature.transport:method",
    "subspace": "transfuse.methods.feature.subspace:method",
    "feda": "transfuse.methods.feature.feda:method",
    "domain_ratio": "transfuse.methods.instance.ratio:method",
    "kmm": "transfuse.methods.instance.kmm:method",
    "kliep": "transfuse.methods.instance.kliep:method",
    "ulsif": "transfuse.methods.instance.ulsif:method",
    "nearest": "transfuse.methods.instance.nearest:method",
    "tradaboost": "transfuse.methods.instance.tradaboost:method",
    "dsir": "transfuse.methods.instance.dsir:method",
    "less": "transfuse.methods.instance.gradient:Less",
    "curriculum": "transfuse.methods.instance.curriculum:Curriculum",
    "matching": "transfuse.methods.relation.matching:Matching",
    "analogy": "transfuse.methods.relation.analogy:Analogy",
    "cotuning": "transfuse.methods.relation.cotuning:CoTuning",
    "rkd": "transfuse.methods.relation.rkd:RelationalDistillation",
    "mmd": "transfuse.methods.feature.alignment:mmd",
    "dann": "transfuse.methods.feature.alignment:dann",
    "finetune": "transfuse.methods.parameter.finetune:Finetune",
    "lora": "transfuse.methods.parameter.lora:Lora",
    "dora": "transfuse.methods.parameter.lora:dora",
    "ia3": "transfuse.methods.parameter.lora:Ia3",
    "soup": "transfuse.methods.merging.merge:soup",
    "greedy_soup": "transfuse.methods.merging.merge:greedy_soup",
    "task_arithmetic": "transfuse.methods.merging.merge:task_arithmetic",
    "ties": "transfuse.methods.merging.merge:ties",
    "dare": "transfuse.methods.merging.merge:dare",
    "mixture": "transfuse.methods.merging.merge:mixture",
    "prototypical": "transfuse.methods.meta.episodes:prototypical",
    "anil": "transfuse.methods.meta.episodes:anil",
    "reptile": "transfuse.methods.meta.episodes:reptile",
    "retrieve": "transfuse.methods.meta.retrieve:Retrieval",
    "distill": "transfuse.methods.distillation.soft:Distillation",
    "mutual": "transfuse.methods.distillation.mutual:MutualDistillation",
}
"""Name in a recipe -> where the method is, for tasks whose answer is a label."""

WRITING = {
    "copy": "transfuse.methods.baseline.recall:Copy",
    "lookup": "transfuse.methods.baseline.recall:Lookup",
    "prompt": "transfuse.methods.prompt.ask:Asking",
    "finetune": "transfuse.methods.parameter.answers:AnswerFinetune",
    "lora": "transfuse.methods.parameter.answers:AnswerLora",
    "dora": "transfuse.methods.parameter.answers:answer_dora",
    "soft_prompt": "transfuse.methods.parameter.soft:SoftPrompt",
    "dsir": "transfuse.methods.instance.pairs:AnswerSelection",
    "soup": "transfuse.methods.merging.pairs:soup",
    "ties": "transfuse.methods.merging.pairs:ties",
    "span": "transfuse.methods.parameter.spans:AnswerSpans",
    "distill": "transfuse.methods.distillation.answers:AnswerDistillation",
}
"""The same for tasks whose answer is text."""

ADDED = {
    "teacher": "transfuse.methods.distillation.teacher:Teacher",
    "ensemble": "transfuse.methods.merging.ensemble:Ensemble",
}
"""What a study adds itself: each of a recipe's teachers, and what it has fitted, answering together."""

TAUGHT = ("distill",)
"""The methods that learn from teachers."""

ONLY = {"span": ("answer",)}
"""The kinds that a method serves, where it is not for all whose answer is text."""

LABELS = "classify"
"""The kind of task whose answer is a label."""

NO_TRANSFER = "tfidf"
"""The method that every candidate is measured against where the answer is a label."""


def no_transfer(kind: str) -> str:
    """The method that every candidate is measured against: it uses the target's rows alone."""
    return NO_TRANSFER if kind == LABELS else KINDS[kind].no_transfer


def of_kind(kind: str) -> dict[str, str]:
    """The methods for a kind of task, by name."""
    if kind == LABELS:
        return METHODS
    return {name: where for name, where in WRITING.items() if kind in ONLY.get(name, (kind,))}


class Method(Protocol):
    """What a method offers.

    Attributes:
        family: baseline, prompt, feature, instance, parameter, relation, distillation, merging or meta.
        reads: ``nothing``, ``any`` backbone, a ``decoder`` or an ``encoder``.
        uses_sources: whether sources with the target's labels change it.
        uses_related: whether sources with labels of their own do.
        weighs: whether it matters what the target's rows count beside each other, and not only which count.
        counterpart: the method with the same backbone that it must beat (fine-tuning: the frozen probe), or None.
        alone: the method that it is, with its default settings, where there is no source, or None.
    """

    family: str
    reads: str
    uses_sources: bool
    uses_related: bool
    weighs: bool
    counterpart: str | None

    @property
    def alone(self) -> str | None: ...

    def plan(
        self, task: Any, backbone: Backbone | RemoteModel | None, data: TransferData, seed: int, **settings: Any
    ) -> Job:
        """Describe what to do; settings are the keyword arguments after ``seed``, each with a default."""
        ...


def method(name: str, kind: str = LABELS) -> Method:
    """The method of a name, for a kind of task.

    Raises:
        RecipeError: no such method, or none for this kind; the message says why, or names the nearest one.
    """
    known = of_kind(kind) | ADDED
    if name not in known:
        raise RecipeError(
            unsuited(name, kind) or f"method '{name}' does not exist.{nearest(name, tuple(of_kind(kind)))}",
            expected=f"one of {', '.join(of_kind(kind))}",
            remedy="Correct the name; docs/methods.md says when to choose which.",
        )
    module, _, attribute = known[name].partition(":")
    found: Method = getattr(importlib.import_module(module), attribute)()
    return found


def unsuited(name: str, kind: str) -> str:
    """Why a method that exists is none for a kind of task; empty where it is, or where there is no such method."""
    if name in of_kind(kind) or name not in METHODS | WRITING:
        return ""
    if name in ONLY:
        return f"method '{name}' is for tasks of kind {', '.join(ONLY[name])} and does not suit kind '{kind}'."
    return f"method '{name}' gives {'text' if kind == LABELS else 'labels'} and does not suit tasks of kind '{kind}'."


def suits(reads: str, decoder: bool) -> bool:
    """Whether a method that reads a kind of backbone can read one."""
    return reads == "any" or reads == ("decoder" if decoder else "encoder")


def asks(about: Method) -> bool:
    """Whether a method can work with a remote model, which gives answers and nothing else."""
    return about.family == "prompt"


def settings(name: str, kind: str = LABELS) -> dict[str, Any]:
    """The settings of a method with their defaults."""
    parameters = inspect.signature(method(name, kind).plan).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
