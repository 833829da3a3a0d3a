"""The path of an answer that stands in its passage: an encoder, and a head that marks where it begins and ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import BATCH_TOKENS, Backbone
from transfuse.backbones.passages import Windows, windows
from transfuse.backbones.tokens import States, batches
from transfuse.data.shapes import apart
from transfuse.evaluation import as_answers
from transfuse.fitted import difference
from transfuse.fitted.paths import Loader


@dataclasses.dataclass(frozen=True)
class Marking:
    """How answers are looked for.

    Args:
        limit: most tokens of a question with a piece of its passage.
        overlap: tokens that two pieces of one passage share.
        longest: most tokens of an answer.
        none: whether a question may have no answer; else the best span is taken whatever it scores.
    """

    limit: int
    overlap: int
    longest: int
    none: bool

    def windows(self, backbone: Backbone, texts: Sequence[str]) -> Windows:
        """Questions with their passages, as `shapes.about` puts them together, as the backbone reads them."""
        questions, passages = zip(*(apart(text) for text in texts), strict=True) if texts else ((), ())
        return windows(backbone.tokenizer, questions, passages, min(self.limit, backbone.max_tokens), self.overlap)


class SpanPath:
    """Marks answers in passages (Devlin et al. 2019, section 4.2).

    Args:
        loader: gives the encoder when it is needed.
        marking: how answers are looked for.
        cut: the freezing point.
        trained: layers ``cut`` to the last after training.
        weight, bias: of the head, float32 [2, D] and [2]: scores of a token as an answer's first and its last.
    """

    kind = "span"

    def __init__(
        self, loader: Loader, *, marking: Marking, cut: int, trained: Segment, weight: torch.Tensor, bias: torch.Tensor
    ) -> None:
        self._loader = loader
        self.marking, self.cut, self.trained, self.weight, self.bias = marking, cut, trained, weight, bias

    @property
    def backbone(self) -> Backbone:
        """The encoder, loaded now if it was not yet."""
        return self._loader()

    @property
    def trainable_parameters(self) -> int:
        """Numbers that differ from the backbone's, and the head's."""
        return difference.count(self.trained, None) + self.weight.numel() + self.bias.numel()

    def answers(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Answers to N questions, object [N]: pieces of their passages, or nothing."""
        found = self.marking.windows(self.backbone, texts)
        best: list[tuple[float, str]] = [(-np.inf, "")] * len(texts)
        empty = np.full(len(texts), np.inf)
        passages = [apart(text)[1] for text in texts]
        for window, scores in zip(*self._scores(found, precision), strict=True):
            owner = int(found.owner[window])
            empty[owner] = min(empty[owner], float(scores[0].sum()))
            score, start, stop = _best(scores, int(found.first[window]), found.places[window], self.marking.longest)
            if score > best[owner][0]:
                best[owner] = (score, passages[owner][start:stop])
        chosen = [
            "" if self.marking.none and nothing > score else text
            for (score, text), nothing in zip(best, empty, strict=True)
        ]
        return as_answers(chosen)

    @torch.inference_mode()
    def _scores(self, found: Windows, precision: str) -> tuple[list[int], list[np.ndarray]]:
        """Windows, and for each the scores [T, 2] of its tokens."""
        backbone = self.backbone
        rows = [list(row) for row in found.tokens]
        if not rows:
            return [], []
        at, scores = [], []
        for chosen in batches(np.array([len(row) for row in rows]), BATCH_TOKENS):
            some = [rows[i] for i in chosen]
            states = States.of(backbone.states(some, self.cut, precision), some)
            values, mask = (x.to(backbone.device) for x in states.batch(range(len(some))))
            with torch.autocast(backbone.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                hidden = self.trained(values.float(), mask)
            marked = torch.nn.functional.linear(backbone.normed(hidden), self.weight, self.bias).cpu().numpy()
            at += chosen.tolist()
            scores += [row[: len(tokens)] for row, tokens in zip(marked, some, strict=True)]
        return at, scores

    def describe(self) -> dict[str, Any]:
        """Everything but the numbers."""
        layer = self.cut + len(self.trained.layers)
        return {
            "kind": self.kind,
            "marking": dataclasses.asdict(self.marking),
            **difference.described(self.cut, layer, self.trained, None),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """The trained layers under ``difference.``, the head under ``head.``."""
        head = {"head.weight": self.weight.contiguous().cpu(), "head.bias": self.bias.contiguous().cpu()}
        return {**difference.tensors(self.trained, None), **head}

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> SpanPath:
        """From `describe` and `tensors`; loads the backbone."""
        assert loader is not None
        backbone = loader()
        return SpanPath(
            loader,
            marking=Marking(**fields["marking"]),
            cut=fields["cut"],
            trained=difference.restored(fields, tensors, backbone),
            weight=tensors["head.weight"].to(backbone.device),
            bias=tensors["head.bias"].to(backbone.device),
        )


def _best(scores: np.ndarray, first: int, places: np.ndarray, longest: int) -> tuple[float, int, int]:
    """The score of the best span of a piece of a passage, and its characters; -inf where the piece is empty."""
    if not len(places):
        return -np.inf, 0, 0
    begin, end = (scores[first : first + len(places), side] for side in (0, 1))
    spans = begin[:, None] + end[None, :]
    allowed = np.triu(np.ones_like(spans, dtype=bool)) & ~np.triu(np.ones_like(spans, dtype=bool), longest)
    spans = np.where(allowed, spans, -np.inf)
    i, j = np.unravel_index(int(spans.argmax()), spans.shape)
    return float(spans[i, j]), int(places[i, 0]), int(places[j, 1])
