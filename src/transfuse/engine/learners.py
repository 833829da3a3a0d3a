"""Layers that learn answers, and the paths that give them: of decoders, encoders that mark, and remote models."""

from __future__ import annotations

import dataclasses

import numpy as np

from transfuse.backbones.form import template_hash
from transfuse.backbones.packing import packs
from transfuse.backbones.remote.model import RemoteModel
from transfuse.engine.across import across
from transfuse.engine.answers import Ask, Consult, Explore, Pairs, Prefer, Write
from transfuse.engine.branch import Branch, grow
from transfuse.engine.jobs import Rows
from transfuse.engine.lessons import foretold
from transfuse.engine.preferences import Preferences, likelihoods
from transfuse.engine.spans import Answer, Mark, Spans
from transfuse.engine.training import Pupil
from transfuse.engine.trunk import Trunk
from transfuse.engine.write import MICRO_TOKENS, Answers, Held
from transfuse.fitted.model import remember
from transfuse.fitted.recalled import LookupPath
from transfuse.fitted.remote import Asked, RemoteLabelsPath, RemoteWriterPath
from transfuse.fitted.spans import SpanPath
from transfuse.fitted.writer import WriterPath


def writing(stage: Write, branch: Branch, trunk: Trunk, seed: int) -> Pupil:
    """Layers that learn to write answers, over the cached prefix."""
    pairs = Pairs.join(*(pairs for pairs, _ in stage.parts))
    branch.layer = trunk.backbone.layers
    segment = grow(branch, trunk.backbone, stage.layers, stage.adapter, seed, states=True)
    answers = Answers.of(stage.parts, trunk.backbone, trunk.limit, stage.limit)
    if stage.lessons is not None:
        ((_, form),) = stage.parts
        read = foretold if stage.lessons.match == "same" else across
        taught = read(stage.lessons, answers, form, trunk.backbone, trunk.limit, stage.limit)
        answers = dataclasses.replace(answers, taught=taught)
    if stage.pack and packs(trunk.backbone, segment):
        answers = dataclasses.replace(answers, pack=min(stage.pack, MICRO_TOKENS))
    elif stage.pack:
        trunk.unpacked = True
    states = trunk.states_of(answers.inputs, branch.cut)
    held = None
    if stage.held is not None:
        apart = Answers.of((stage.held,), trunk.backbone, trunk.limit, stage.limit)
        held = Held(apart, trunk.states_of(apart.inputs, branch.cut), stage.patience)
    rows = _rows(pairs, pairs.weights)
    return Pupil(segment, None, "", states, rows, stage.schedule, seed, answers=answers, held=held)


def preferring(stage: Prefer, branch: Branch, trunk: Trunk, seed: int) -> Pupil:
    """Adapters that learn which of two answers is better, over the cached prefix; the reference has no adapter."""
    backbone = trunk.backbone
    branch.layer = backbone.layers
    segment = grow(branch, backbone, stage.layers, stage.adapter, seed, states=True)
    sides = [(better, form) for better, _, form in stage.parts] + [(worse, form) for _, worse, form in stage.parts]
    answers = Answers.of(sides, backbone, trunk.limit, stage.limit)
    states = trunk.states_of(answers.inputs, branch.cut)
    plain = backbone.segment(branch.cut, branch.layer, states=True)
    reference = likelihoods(backbone, plain, answers, states, trunk.precision)
    better = Pairs.join(*(better for better, _, _ in stage.parts))
    rows = _rows(better, better.weights)
    preferences = Preferences(answers, reference, stage.beta)
    return Pupil(segment, None, "", states, rows, stage.schedule, seed, answers=preferences)


def asked(stage: Ask, branch: Branch, trunk: Trunk) -> WriterPath:
    """A decoder that writes, with the layers that the branch has trained where it has some."""
    return WriterPath(
        remember(trunk.backbone),
        form=stage.form,
        decoding=stage.decoding,
        limit=trunk.limit,
        cut=branch.cut if branch.segment is not None else 0,
        trained=branch.segment,
        adapter=branch.adapter,
        memory=None if stage.memory is None else LookupPath(stage.memory.texts, stage.memory.answers),
        shots=stage.shots,
        spread=stage.spread,
        chat_template="" if stage.form.special else template_hash(trunk.backbone.tokenizer),
    )


def written(stage: Explore, branch: Branch, trunk: Trunk, seed: int) -> Write:
    """What a round of on-policy distillation learns: answers that the student has drawn, as its teacher sees them."""
    ((_, form),) = stage.write.parts
    decoding = dataclasses.replace(stage.decoding, seed=seed)
    path = asked(Ask(form, decoding), branch, trunk)
    answers = path.write(stage.requests, trunk.precision).texts
    kept = [i for i, answer in enumerate(answers) if answer.strip()]
    own = tuple(stage.requests[i] for i in kept), tuple(answers[i] for i in kept)
    pairs = Pairs(*own, np.ones(len(kept)), np.zeros(len(kept), dtype=bool))
    assert stage.write.lessons is not None
    lessons = dataclasses.replace(stage.write.lessons, pairs=pairs)
    return dataclasses.replace(stage.write, parts=((pairs, form),), lessons=lessons)


def consulted(stage: Consult, model: RemoteModel | None) -> RemoteLabelsPath | RemoteWriterPath:
    """A remote model that is asked which label word is the answer, or for an answer in words."""
    assert model is not None
    if stage.decoding is None:
        return RemoteLabelsPath(Asked.of(model), conversation=stage.conversation, words=stage.words)
    return RemoteWriterPath(
        Asked.of(model),
        conversation=stage.conversation,
        decoding=stage.decoding,
        memory=None if stage.memory is None else LookupPath(stage.memory.texts, stage.memory.answers),
        shots=stage.shots,
        spread=stage.spread,
    )


def marking(stage: Mark, branch: Branch, trunk: Trunk, seed: int) -> Pupil:
    """Layers and a head that learn to mark answers in passages, over the cached prefix."""
    backbone = trunk.backbone
    branch.layer = backbone.layers
    segment = grow(branch, backbone, stage.layers, None, seed, states=True)
    found = stage.marking.windows(backbone, stage.pairs.texts)
    spans = Spans(found, stage.pairs, branch.marks or backbone.width)
    branch.marks = spans.head
    states = trunk.states_of(found.tokens, branch.cut)
    rows = _rows(stage.pairs.take(found.owner), spans.weights)
    return Pupil(segment, None, "", states, rows, stage.schedule, seed, answers=spans)


def marked(stage: Answer, branch: Branch, trunk: Trunk) -> SpanPath:
    """An encoder that marks answers, with the layers and the head that the branch has trained."""
    assert branch.segment is not None
    assert branch.marks is not None
    weight, bias = (p.detach().clone() for p in (branch.marks.weight, branch.marks.bias))
    return SpanPath(
        remember(trunk.backbone),
        marking=stage.marking,
        cut=branch.cut,
        trained=branch.segment,
        weight=weight,
        bias=bias,
    )


def _rows(pairs: Pairs, weights: np.ndarray) -> Rows:
    return Rows(pairs.texts, np.zeros(len(pairs), dtype=np.int64), weights, pairs.target, 1)
