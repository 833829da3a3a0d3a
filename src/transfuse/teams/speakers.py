"""Who speaks for a role with a model: a fitted model that chooses a label, a decoder that writes, anything fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.fitted import FittedModel, FittedWriter
from transfuse.fitted.head import HeadPath
from transfuse.fitted.paths import log_softmax
from transfuse.fitted.writer import WriterPath
from transfuse.teams.contract import Contract
from transfuse.teams.message import seed_of
from transfuse.teams.role import Asked, Lane, Reply, Speaker
from transfuse.teams.safety import shown
from transfuse.teams.trunk import SharedTrunk

TOGETHER = 64
"""Most calls of a pass; a backbone splits it into batches of its own."""


class Trunks:
    """The lanes of roles that choose labels: one for each backbone."""

    def __init__(self) -> None:
        self._lanes: dict[str, _TrunkLane] = {}

    def lane(self, path: HeadPath) -> Lane:
        """The lane of a path's backbone, that knows the path from now on."""
        revision = path.backbone.revision
        if revision not in self._lanes:
            self._lanes[revision] = _TrunkLane(SharedTrunk(path.backbone))
        self._lanes[revision].trunk.add(path)
        return self._lanes[revision]


@dataclasses.dataclass(eq=False)
class _TrunkLane:
    """Roles that branch from one trunk."""

    trunk: SharedTrunk
    together = TOGETHER
    spare = 1

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        speakers = [speaker for speaker, _ in calls if isinstance(speaker, Chooses)]
        assert len(speakers) == len(calls)
        texts = [one.text(asked) for one, (_, asked) in zip(speakers, calls, strict=True)]
        paths = [one.model.path for one in speakers if isinstance(one.model.path, HeadPath)]
        found = self.trunk.log_probabilities(paths, texts)
        lengths = [self._read(path, text) for path, text in zip(paths, texts, strict=True)]
        return [one.reply(row, read) for one, row, read in zip(speakers, found, lengths, strict=True)]

    def _read(self, path: HeadPath, text: str) -> int:
        return len(self.trunk.backbone.tokens([text], path.template, path.limit)[0])

    def forget(self) -> None:
        self.trunk.forget()


@dataclasses.dataclass(eq=False)
class Chooses:
    """A fitted model that chooses a label.

    Args:
        model: the fitted model.
        field: the name of the label in the role's contract.
        trunks: of the team; None lets the model read by itself.
    """

    model: FittedModel
    field: str
    trunks: Trunks | None = None
    together = TOGETHER
    spare = 1

    def __post_init__(self) -> None:
        path = self.model.path
        shared = self.trunks is not None and SharedTrunk.suits(path)
        self._lane: Lane = self.trunks.lane(path) if shared and self.trunks else self  # type: ignore[arg-type]

    @property
    def lane(self) -> Lane:
        """The trunk, where the model branches from one."""
        return self._lane

    def text(self, asked: Asked) -> str:
        """What the model reads."""
        backbone = getattr(self.model.path, "backbone", None)
        return shown(asked.given, None if backbone is None else backbone.tokenizer)

    def reply(self, log_probabilities: np.ndarray, read: int = 0) -> Reply:
        """The likeliest label, with the log-probabilities [C] of all."""
        labels = self.model.labels
        scores = {label: float(value) for label, value in zip(labels, log_probabilities, strict=True)}
        return Reply({self.field: labels[int(log_probabilities.argmax())]}, scores, read=read)

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        """As a lane of its own: what the model says of each text."""
        found = self.model.path.log_probabilities([self.text(asked) for _, asked in calls])
        return [self.reply(row) for row in found]

    def forget(self) -> None:
        """Nothing is remembered."""

    def describe(self) -> dict[str, Any]:
        """The model's manifest, whose files have hashes."""
        return {"fitted": identity_of(self.model)}


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

    Cost: one pass over the prompt for each label.
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
        path, count = self.path, len(self.labels)
        writer = path.writer("fp32")
        texts = [shown(asked.given, path.backbone.tokenizer) for _, asked in calls]
        ends = path.backbone.replies(path.form, self.labels, path.backbone.max_tokens // 2)
        room = path.backbone.max_tokens - max(map(len, ends))
        prompts = path.backbone.requests(path.form, texts, min(path.limit, room))
        likely = writer.likelihoods(
            [prompt for prompt in prompts for _ in ends], [end for _ in prompts for end in ends]
        )
        out = []
        for number, (_, asked) in enumerate(calls):
            own = likely[number * count : (number + 1) * count]
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


@dataclasses.dataclass(eq=False)
class Recalls:
    """Any other fitted model whose answers are text: a lookup, a span of a passage."""

    model: FittedWriter
    together = TOGETHER
    spare = 1

    @property
    def lane(self) -> Lane:
        """Itself."""
        return self

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        """What the model says."""
        return [Reply(text) for text in self.model.predict([shown(asked.given) for _, asked in calls])]

    def forget(self) -> None:
        """Nothing is remembered."""

    def describe(self) -> dict[str, Any]:
        """The model's manifest."""
        return {"fitted": identity_of(self.model)}


def decoder(path: WriterPath, contract: Contract, identity: Mapping[str, Any]) -> Writes | Picks:
    """A decoder as a speaker: one that picks where its contract is one field of labels, else one that writes."""
    return (Picks if contract.labelled else Writes)(path, contract, identity)


def identity_of(model: FittedModel | FittedWriter) -> dict[str, Any]:
    """What decides a fitted model's answers: its task, path and backbone's content, and its own numbers."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(model.path.tensors().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).tobytes())
    revision = model.backbone.get("revision", "")
    return {"path": model.path.describe(), "backbone": revision, "numbers": digest.hexdigest()}
