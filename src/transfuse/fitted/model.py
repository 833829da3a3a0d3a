"""A fitted model: its manifest, its prediction, its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse import tasks
from transfuse.backbones import loading
from transfuse.backbones.form import template_hash
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.int8 import INT8
from transfuse.errors import ModelError
from transfuse.fitted import artifact, trial
from transfuse.fitted.base import Fitted
from transfuse.fitted.parts import parts, refuse_what_is_no_text
from transfuse.fitted.paths import Loader, build, energy
from transfuse.fitted.paths import Path as PredictionPath
from transfuse.fitted.trial import Trial
from transfuse.fitted.written import FittedWriter
from transfuse.tasks.classify import Classify

PRECISIONS = ("fp32", "bf16", INT8)

WITH_LOGITS = ("head", "tfidf")
"""Kinds of path whose logits are more than logarithms of probabilities."""


class FittedModel(Fitted[Classify, PredictionPath]):
    """What a method returns: it predicts, saves, loads, and makes a bundle that plain libraries load.

    See `Fitted` for the arguments.

    Attributes:
        labels: the classes, in the order of the columns of `predict_proba`.
        manifest: all of it as JSON.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of the probabilities' columns."""
        return self.task.labels

    def predict_proba(self, texts: Sequence[str], *, precision: str = "fp32") -> np.ndarray:
        """Probabilities of the classes.

        Args:
            texts: N texts.
            precision: ``fp32``; ``bf16``, which is faster on some processors and agrees to about two digits; or
                ``int8``, which is faster still, needs the extra ``onnx`` and agrees less. `fastest` tries them.

        Returns:
            float64 [N, C], columns in the order of ``labels``; [0, C] for no texts.

        Raises:
            ModelError: an item is not a string, or a precision that this kind of model does not have.
            BackboneError: int8 where it does not work.
        """
        self._refuse_precision(precision)
        refuse_what_is_no_text(texts)
        if not len(texts):
            return np.empty((0, len(self.labels)))
        found = [self.path.log_probabilities(part, precision) for part in parts(texts)]
        probabilities: np.ndarray = np.exp(np.concatenate(found))
        return probabilities

    def predict(self, texts: Sequence[str], *, precision: str = "fp32") -> list[str]:
        """The most probable class of each text."""
        probabilities = self.predict_proba(texts, precision=precision)
        return [self.labels[i] for i in probabilities.argmax(1)] if len(probabilities) else []

    def confidence(self, texts: Sequence[str], *, precision: str = "fp32") -> np.ndarray:
        """How sure the model is that a text belongs to any of its classes: the largest logit, float64 [N].

        Choose a threshold on texts of your own; below it a text is out of scope. For a head on features of unit length
        it is the similarity to the nearest class, which tells foreign texts better than the largest probability does,
        since probabilities forget how far all classes are (Vaze et al. 2022).

        Raises:
            ModelError: an item is not a string, or a precision that this kind of model does not have.
        """
        self._refuse_precision(precision)
        refuse_what_is_no_text(texts)
        if not len(texts):
            return np.empty(0)
        return np.concatenate([self.path.logits(part, precision).max(1) for part in parts(texts)])

    def energy(self, texts: Sequence[str], *, precision: str = "fp32") -> np.ndarray:
        """How well a text fits all classes together: log Σ_c exp(logit_c), float64 [N] (see `paths.energy`).

        Like `confidence` it is low for a text that belongs to no class; a text between two classes keeps its score. Of
        an ensemble it is the mean of its members', by their weights.

        Raises:
            ModelError: a model whose scores are probabilities (a majority, a prompt, a remote model), the energy of
                which is the same for every text; an item that is not a string; or a precision that it does not have.

        Reference: Liu, Wang, Owens and Li 2020.
        """
        self._refuse_precision(precision)
        refuse_what_is_no_text(texts)
        found = [_energy(self.path, part, precision) for part in parts(texts)] if len(texts) else []
        return np.concatenate(found) if found else np.empty(0)

    def fastest(self, texts: Sequence[str]) -> Trial:
        """The precision in which this machine answers fastest, tried on some hundred real texts: see `Trial`.

        Cost: three passes over the texts in each precision; int8 takes ten seconds more when it is first tried.
        """
        refuse_what_is_no_text(texts)
        return trial.fastest(trial.trials(self.path, texts))

    def _refuse_precision(self, precision: str) -> None:
        fitting = PRECISIONS[: {"prompt": 2, "retrieved": 2, "remote_labels": 1}.get(self.path.kind, 3)]
        if precision not in fitting:
            raise ModelError(f"precision '{precision}'", expected=" or ".join(fitting) + f" for {self.method}")

    def bundle(self, folder: str | Path) -> Path:
        """Write a folder that plain transformers or sentence-transformers loads, with predict.py that shows how.

        Raises:
            ModelError: the model has no backbone.
            OutputError: the place cannot be written.
        """
        from transfuse.fitted.bundle import write

        return write(self, Path(folder))


def _energy(path: Any, texts: Sequence[str], precision: str) -> np.ndarray:
    """Of a path with a head, or the weighted mean of several."""
    if path.kind == "ensemble":
        each = [_energy(member, texts, precision) for member in path.members]
        return np.average(each, axis=0, weights=path.weights)
    if path.kind not in WITH_LOGITS:
        raise ModelError(
            f"energy: a path of kind '{path.kind}' has no logits of its own",
            expected="a model with a head, such as of tfidf, probe, finetune or lora",
            remedy="Use confidence, which every model has.",
        )
    return energy(path.logits(texts, precision))


def load(folder: str | Path) -> FittedModel | FittedWriter:
    """Load a fitted model from the folder that ``save`` wrote.

    The backbone is loaded when a prediction first needs it, and refused if its content is not what the model was
    fitted on.

    Raises:
        ModelError: no manifest, a newer format, a damaged file, or a backbone that has changed.
    """
    folder = Path(folder)
    manifest, tensors = artifact.read(folder)
    card = folder / artifact.CARD
    try:
        template = manifest["path"].get("chat_template", "")
        loader = _loader(manifest["backbone"], folder, template) if manifest["backbone"] else None
        task = tasks.from_dict(manifest["task"])
        kind: Any = FittedModel if isinstance(task, Classify) else FittedWriter
        fitted: FittedModel | FittedWriter = kind(
            task,
            build(manifest["path"], tensors, loader),
            method=manifest["method"],
            backbone=manifest["backbone"],
            made=manifest["made"],
            card=card.read_text(encoding="utf-8") if card.exists() else "",
        )
        return fitted
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / artifact.MANIFEST}: not as transfuse wrote it: {type(error).__name__} {error}",
            expected="the manifest that belongs to the tensors beside it",
            remedy="Copy the folder again, or fit the model again.",
        ) from error


_LOADED: dict[tuple[str, str], Backbone] = {}
"""The backbones of this process by content and chat template, so that several fitted models share one; with an empty
template, for those that show requests by none, any of the content."""


def _loader(fields: dict[str, Any], folder: Path, template: str) -> Loader:
    """Gives the backbone of a manifest with the content that the model was fitted on, and with its chat template."""

    def loader() -> Backbone:
        revision = fields["revision"]
        if (revision, template) not in _LOADED:
            backbone = loading.load(fields["resolved"], base=folder, unsafe=fields.get("unsafe", False))
            if backbone.revision != revision:
                raise ModelError(
                    f"{folder}: the backbone {fields['reference']} has changed since the model was fitted "
                    f"(content {backbone.revision[:12]}, not {revision[:12]})",
                    expected="the same weights and tokenizer",
                    remedy="Bring back the backbone's folder, or fit the model again.",
                )
            found = template_hash(backbone.tokenizer)
            if template not in ("", found):
                raise ModelError(
                    f"{folder}: the chat template of the backbone {fields['reference']} has changed since the model "
                    f"was fitted (content {found[:12] or 'none'}, not {template[:12]})",
                    expected="the same chat template",
                    remedy="Bring back tokenizer_config.json and chat_template.jinja, or fit the model again.",
                )
            known(backbone)
        return _LOADED[revision, template]

    return loader


def remember(backbone: Backbone) -> Loader:
    """A loader for a backbone that is loaded already; models loaded later in this process share it."""
    content, template = backbone.revision, template_hash(backbone.tokenizer)
    _LOADED[content, template] = _LOADED[content, ""] = backbone
    return lambda: _LOADED[content, template]


def known(backbone: Backbone) -> Backbone:
    """The backbone of this content that the process has loaded already, else this one, which it knows from now on."""
    first = _LOADED.setdefault((backbone.revision, template_hash(backbone.tokenizer)), backbone)
    _LOADED.setdefault((backbone.revision, ""), first)
    return first
