"""Decoders as speakers: one that writes, held to its role's contract, and one that picks among labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.fitted.paths import log_softmax
from transfuse.fitted.writer import WriterPath
from transfuse.teams.contract import Contract
from transfuse.teams.message import seed_of
from transfuse.teams.role import Asked, Lane, Reply, Speaker
from transfuse.teams.safety import shown

TOGETHER = 64
"""Most calls of a pass; a backbone splits it into batches of its own."""


@dataclasses.dataclass(eq=False)
class Writes:
    """A decoder that writes, fitted or only prompted; held to the role's contract.

    Args:
        path: the decoder, the form of its prompts and its decoding.
        contract: of the role.
        identity: what tells this path from others, as JSON.
    """

    path: WriterPath
    contract: Contract
    identity: Mapping[str, Any]
    together = TOGETHER
    spare = 1

    def __post_init__(self) -> None:
        self.path.lean = True
        decoding = self.path.decoding
        form = self.contract.form(decoding.max_new_tokens)
        if form is not None:
            decoding = dataclasses.replace(decoding, constraint=form, stop=())
        self.path = self.path.with_decoding(decoding)

    @property
    def lane(self) -> Lane:
        """Itself."""
        return self

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        """Answers, their token ids, and the log-probability of each token."""
        decoding = self.path.decoding
        if decoding.temperature > 0:
            seed = seed_of(*(asked.seed for _, asked in calls))
            decoding = dataclasses.replace(decoding, seed=seed)
        path = self.path.with_decoding(decoding)
        written = path.write([shown(asked.given, path.backbone.tokenizer) for _, asked in calls])
        likely = path.writer("fp32").likelihoods(written.prompts, written.ids)
        return [
            Reply(
                written.texts[i],
                prompt_ids=tuple(map(int, written.prompts[i])),
                ids=tuple(map(int, written.ids[i])),
                log_probabilities=tuple(map(float, likely[i])),
                read=int(written.read[i]),
                written=int(written.tokens[i]),
                looped=bool(written.looped[i]),
            )
            for i in range(len(calls))
        ]

    def forget(self) -> None:
        """Nothing is remembered."""

    def describe(self) -> dict[str, Any]:
        """What the path is, and how it is decoded."""
        return {"writes": dict(self.identity), "decoding": self.path.decoding.to_dict()}


@dataclasses.dataclass(eq=False)
class Picks:
    """A decoder that picks one of the labels of the role's contract, by the likelihood of each as its answer.

    Unlike writing under a constraint it weighs the labels as wholes, and says how sure it is.

    Args:
        path: the decoder, the form of its prompts; of its decoding the temperature counts.
        contract: of the role, one field of labels.
        identity: what tells this path from others, as JSON.

    Cost: one pass over each prompt, and one over the labels behind it.
    """

    path: WriterPath
    contract: Contract
    identity: Mapping[str, Any]
    together = TOGETHER
    spare = 1

    def __post_init__(self) -> None:
        self.path.lean = True
        field = self.contract.labelled
        assert field is not None
        self.field, self.labels = field, tuple(self.contract.fields[field])

    @property
    def lane(self) -> Lane:
        """Itself."""
        return self

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        """The likeliest label of each, or one drawn by its own seed where there is a temperature."""
        path = self.path
        writer = path.writer("fp32")
        texts = [shown(asked.given, path.backbone.tokenizer) for _, asked in calls]
        ends = path.backbone.replies(path.form, self.labels, path.backbone.max_tokens // 2)
        room = path.backbone.max_tokens - max(map(len, ends))
        prompts = path.backbone.requests(path.form, texts, min(path.limit, room))
        likely = writer.choices(prompts, ends)
        out = []
        for number, (_, asked) in enumerate(calls):
            own = likely[number]
            scores = log_softmax(np.array([[row.sum() for row in own]]))[0]
            best = self._drawn(scores, asked.seed)
            out.append(
                Reply(
                    {self.field: self.labels[best]},
                    {label: float(score) for label, score in zip(self.labels, scores, strict=True)},
                    tuple(map(int, prompts[number])),
                    tuple(map(int, ends[best])),
                    tuple(map(float, own[best])),
                    read=len(prompts[number]),
                    written=len(ends[best]),
                )
            )
        return out

    def _drawn(self, scores: np.ndarray, seed: int) -> int:
        temperature = self.path.decoding.temperature
        if temperature == 0:
            return int(scores.argmax())
        shares = np.exp(log_softmax(scores[None] / temperature)[0])
        return int(np.random.default_rng(seed).choice(len(shares), p=shares / shares.sum()))

    def forget(self) -> None:
        """Nothing is remembered."""

    def describe(self) -> dict[str, Any]:
        """What the path is, and how it is decoded."""
        return {"picks": dict(self.identity), "temperature": self.path.decoding.temperature}


def decoder(path: WriterPath, contract: Contract, identity: Mapping[str, Any]) -> Writes | Picks:
    """A decoder as a speaker: one that picks where its contract is one field of labels, else one that writes."""
    return (Picks if contract.labelled else Writes)(path, contract, identity)
