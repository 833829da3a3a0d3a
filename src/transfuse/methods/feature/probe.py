"""The probe: every layer and pooling of a frozen backbone from one pass, a logistic head on the best."""

from __future__ import annotations

from collections.abc import Sequence

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Rows, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.bounds import refuse
from transfuse.methods.rows import evidence, label_names, source_rows, target_rows
from transfuse.tasks.classify import Classify

GRID = (0.003, 0.01, 0.1, 1.0)


EVIDENCE = 512
"""Source rows that are enough to choose a layer, to start a head, and to standardise the features of trained layers."""


class Probe:
    """Logistic regression on standardised pooled states: min Σ w CE(W z, y) + ‖W‖² / 2C (Alain and Bengio 2016).

    Choose it first: it costs one pass, cannot forget, and tells which layer knows the task. Sources join the target's
    rows with weights, so that all source rows together count as much as ``1 / target_share`` times the target's, and
    choose the layer, once for all folds.
    """

    family, reads, uses_sources, counterpart = "feature", "any", True, None
    uses_related, weighs, alone = False, True, None

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        layers: int | Sequence[int] | None = None,
        poolings: str | Sequence[str] | None = None,
        template: str = "auto",
        c: float | None = None,
        label_words: bool = True,
        source_limit: int = 1024,
        target_share: float = 0.25,
    ) -> Job:
        """Choose the readout, then fit the head.

        Args:
            layers: the layer or layers to try (0 is the embeddings' output); 1 and above by default.
            poolings: ``mean``, ``first`` or ``last`` among those that suit the backbone; all of them by default.
            template: ``auto`` (the task's template for decoders, none for encoders), ``none``, ``task`` or ``both``.
            c: inverse strength of the penalty; by default chosen by cross-validation, with a source 0.003.
            label_words: add each label's word as a row of its class (encoders only).
            source_limit: most rows of each source.
            target_share: what the target's rows together count, as a share of what the source's rows count.
        """
        assert backbone is not None
        some_layers = (layers,) if isinstance(layers, int) else tuple(layers or ())
        some_poolings = (poolings,) if isinstance(poolings, str) else tuple(poolings or ())
        check_readout(backbone, some_layers, some_poolings)
        rows = joined(task, data, source_limit, target_share)
        names = label_names(task) if label_words and not backbone.decoder else None
        fitted_on = Rows.join(rows, names) if names is not None else rows
        some = source_rows(task, data.sources, min(EVIDENCE, source_limit))
        grid = GRID if some is None else GRID[:1]  # with a source there are rows enough for the strongest penalty
        return Job(
            (
                ChooseReadout(some or evidence(rows), some_layers, some_poolings, templates(task, backbone, template)),
                FitHead(fitted_on, grid if c is None else (c,)),
            ),
            0 if some is None else 1,
            seed,
        )


def joined(task: Classify, data: TransferData, source_limit: int, target_share: float) -> Rows:
    """Target rows, and source rows where there are some, weighted against each other."""
    refuse(target_share=target_share)
    source = source_rows(task, data.sources, source_limit)
    if source is None:
        return target_rows(task, data.target)
    return Rows.join(target_rows(task, data.target, total=target_share * float(source.weights.sum())), source)


def check_readout(backbone: Backbone, layers: Sequence[int], poolings: Sequence[str]) -> None:
    """Refuse layers and poolings that the backbone does not have.

    Raises:
        RecipeError: the message names the setting's value and what the backbone has.
    """
    for layer in layers:
        if not isinstance(layer, int) or not 0 <= layer <= backbone.layers:
            raise RecipeError(
                f"layer {layer!r}: {backbone.reference} has none of that number",
                expected=f"0 (the embeddings' output) to {backbone.layers}",
                remedy="Correct the setting.",
            )
    for pooling in poolings:
        if pooling not in backbone.poolings:
            raise RecipeError(
                f"pooling '{pooling}': not for {backbone.reference}",
                expected=f"{' or '.join(backbone.poolings)}, which suit this backbone",
                remedy="Correct the setting, or leave it out.",
            )


def templates(task: Classify, backbone: Backbone, template: str) -> tuple[str | None, ...]:
    """The templates that a setting means: None is the bare text."""
    options: dict[str, tuple[str | None, ...]] = {
        "auto": (task.shown(),) if backbone.decoder else (None,),
        "none": (None,),
        "task": (task.shown(),),
        "both": (None, task.shown()),
    }
    if template not in options:
        raise RecipeError(
            f"template: '{template}'", expected=f"one of {', '.join(options)}", remedy="Correct the setting."
        )
    return options[template]
