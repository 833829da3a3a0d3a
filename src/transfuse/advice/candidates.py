"""The candidates of a study: backbone x method x sources x settings."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from transfuse.backbones.remote import is_remote
from transfuse.methods.catalogue import LABELS, TAUGHT, asks, method, no_transfer, of_kind, suits

Entry = tuple[str, Mapping[str, Any], str]
"""Of an automatic choice: method, settings, and what there must be (see `AUTO`)."""

AUTO: tuple[Entry, ...] = (
    ("majority", {}, ""),
    ("tfidf", {}, ""),
    ("probe", {}, ""),
    ("prompt", {"shots": 8}, ""),
    ("prompt", {"shots": 0}, ""),
    ("matching", {}, "related"),
    ("distill", {}, "teacher"),
    ("finetune", {}, ""),
    ("cotuning", {}, "related"),
    ("soup", {}, "source"),
    ("lora", {}, ""),
    ("centroid", {}, ""),
    ("discriminant", {}, ""),
    ("feda", {}, "source"),
    ("domain_ratio", {}, "source"),
    ("prototypical", {}, "related"),
)
"""What ``methods: auto`` tries first, the most promising for their cost first: method, settings, and what there must
be: ``source``, a source with the target's labels, ``related``, one with labels of its own, ``either`` of these, or
``teacher``, one that teaches."""

MORE: tuple[Entry, ...] = (
    *((name, {}, "") for name in ("knn", "ia3", "dora")),
    *((name, {}, "source") for name in ("coral", "linear_transport", "subspace", "transport")),
    *((name, {}, "source") for name in ("ulsif", "kliep", "kmm", "nearest", "tradaboost", "dsir", "less")),
    ("matching", {}, "source"),
    ("analogy", {}, "either"),
    *((name, {}, "source") for name in ("curriculum", "greedy_soup", "task_arithmetic", "ties", "dare", "mixture")),
    *((name, {}, "either") for name in ("anil", "reptile", "retrieve")),
    *((name, {}, "source") for name in ("cotuning", "prototypical", "rkd", "mmd", "dann")),
    ("mutual", {}, ""),
)
"""What it tries once all of `AUTO` has run and there is time left, the cheap first. Beside a source's own question each
one more is a chance more that luck is chosen, and a sharper test for all (Holm): so they wait for a budget that has
room for them."""

AUTO_WRITING: tuple[Entry, ...] = (
    ("copy", {}, ""),
    ("lookup", {}, ""),
    ("prompt", {"shots": 0}, ""),
    ("prompt", {"shots": 8}, ""),
    ("prompt", {"shots": 8, "choose": "similar"}, ""),
    ("span", {}, ""),
    ("distill", {}, "teacher"),
    ("lora", {}, ""),
    ("finetune", {}, ""),
)
"""`AUTO` for tasks that write."""

MORE_WRITING: tuple[Entry, ...] = (
    ("dora", {}, ""),
    *((name, {}, "source") for name in ("dsir", "soup", "ties")),
    ("soft_prompt", {}, ""),
)
"""`MORE` for tasks that write."""

TRAINED = ("parameter", "distillation")
"""Families whose methods train layers: dear, and planned again when what is cheap has run."""

PROBE = "probe"
"""What training a backbone's parameters must beat."""

LONGEST_ID = 160
"""Bytes of an id, which is a file's name too."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One thing to try.

    Args:
        id: unique in its study, and a file name.
        family, method: of the method.
        backbone: the reference, or empty.
        sources: names of the sources that it uses.
        settings: of the method, where they differ from the defaults.
        shuffled: whether the sources' labels are shuffled: a placebo, by which a gain is tested.
        kind: of the task.
        members: of an ensemble, the candidates that it is made of, each with its weight; else none.
        added: whether it runs only as what others are measured against, since no method of the recipe names it.
    """

    id: str
    family: str
    method: str
    backbone: str
    sources: tuple[str, ...]
    settings: Mapping[str, Any]
    shuffled: bool = False
    kind: str = LABELS
    members: tuple[tuple[Candidate, float], ...] = ()
    added: bool = False

    def placebo(self) -> Candidate:
        """The same with its sources' labels shuffled."""
        members = tuple((member.placebo() if member.sources else member, weight) for member, weight in self.members)
        return dataclasses.replace(self, id=f"{self.id}~shuffled", shuffled=True, members=members)

    def to_dict(self) -> dict[str, Any]:
        """For plan.json and report.json."""
        members = [{"weight": weight, **member.to_dict()} for member, weight in self.members]
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields |= {"sources": list(self.sources), "settings": dict(self.settings), "members": members}
        usual = {"shuffled": False, "kind": LABELS, "members": [], "added": False}
        return {k: v for k, v in fields.items() if k not in usual or v != usual[k]}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Candidate:
        """What `to_dict` wrote, whatever else stands beside it."""
        known = {f.name: fields[f.name] for f in dataclasses.fields(Candidate) if f.name in fields}
        members = tuple((Candidate.from_dict(member), member["weight"]) for member in fields.get("members", ()))
        return Candidate(**{**known, "sources": tuple(fields["sources"]), "members": members})


def expand(
    methods: Sequence[tuple[str, Mapping[str, Any]]] | None,
    backbones: Sequence[str],
    sources: Sequence[str],
    is_decoder: Callable[[str], bool],
    parameters: Callable[[str], int],
    related: Collection[str] = (),
    kind: str = LABELS,
    teachers: Mapping[str, str] = types.MappingProxyType({}),
    more: bool = False,
) -> list[Candidate]:
    """All candidates: each method with each backbone that suits it, without sources, with each, and with all.

    The no-transfer baseline with its default settings is always among them, since everything is measured against it; so
    is the frozen probe of what is trained, where the recipe names no probe.

    Args:
        methods: (name, settings) pairs, or None for `AUTO`.
        backbones: references.
        sources: names.
        related: the names of those with labels of their own.
        is_decoder: whether a backbone is a decoder.
        parameters: the size of a backbone: of those that are trained, the larger one promises more and comes first.
        kind: of the task.
        teachers: the backbones of those sources that teach, by name; each stands among the candidates itself.
        more: whether `AUTO` is followed by `MORE`.
    """
    data = [source for source in sources if source not in teachers]
    have = {"", *("related" if source in related else "source" for source in data), *(["teacher"] if teachers else [])}
    wanted = _automatic(kind, have | ({"either"} if data else set()), more=more) if methods is None else methods
    added = _unnamed(wanted, kind)
    found: list[Candidate] = []
    for name, settings in [*((name, {}) for name in added), *wanted]:
        about = method(name, kind)
        own = name in added and not settings
        fitting: Sequence[str] = [""]
        if about.reads != "nothing":
            fitting = [b for b in backbones if (asks(about) if is_remote(b) else suits(about.reads, is_decoder(b)))]
        if about.family in TRAINED:
            fitting = sorted(fitting, key=parameters, reverse=True)
        usable = [s for s in data if (about.uses_related if s in related else about.uses_sources)]
        if name in TAUGHT:
            usable = list(teachers)
        several = len(usable) > 1 and (kind == LABELS or name not in TAUGHT)  # texts have no mean
        mixes: list[tuple[str, ...]] = [(), *((s,) for s in usable), *((tuple(usable),) if several else ())]
        if usable and not settings and (about.alone, {}) in wanted:
            mixes = mixes[1:]  # that candidate is there already
        for backbone in fitting:
            for mix in _order(mixes, about.family):
                label = name + (f"@{short(backbone, backbones)}" if backbone else "") + "".join(f"+{s}" for s in mix)
                found.append(Candidate(label, about.family, name, backbone, mix, dict(settings), kind=kind, added=own))
    first = 1 + max((i for i, c in enumerate(found) if c.family == "baseline"), default=-1)
    found[first:first] = [
        Candidate(f"teacher+{name}", "distillation", "teacher", backbone, (name,), {}, kind=kind)
        for name, backbone in teachers.items()
    ]
    return _with_unique_ids(found)


def _unnamed(wanted: Sequence[tuple[str, Mapping[str, Any]]], kind: str) -> list[str]:
    """The methods that run beside the wanted ones, as what these must beat."""
    out = [] if any(name == no_transfer(kind) and not settings for name, settings in wanted) else [no_transfer(kind)]
    about = [method(name, kind) for name, _ in wanted]
    trains = any(one.counterpart == PROBE and one.family in TRAINED for one in about)
    return [*out, PROBE] if trains and PROBE not in [name for name, _ in wanted] else out


def automatic_of(kind: str, *, more: bool = False) -> tuple[Entry, ...]:
    """What ``methods: auto`` means for a kind of task, at once or with what follows where there is time."""
    first, then = (AUTO, MORE) if kind == LABELS else (AUTO_WRITING, MORE_WRITING)
    return tuple(entry for entry in (*first, *(then if more else ())) if entry[0] in of_kind(kind))


def _automatic(kind: str, have: Collection[str], *, more: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """What of it the data allow, each once."""
    found = [(name, settings) for name, settings, needs in automatic_of(kind, more=more) if needs in have]
    return [entry for i, entry in enumerate(found) if entry not in found[:i]]


def _order(mixes: list[tuple[str, ...]], family: str) -> list[tuple[str, ...]]:
    """What is trained is tried with its sources first, if the budget has room for both; the other then comes along."""
    return [*mixes[1:], mixes[0]] if family in TRAINED and len(mixes) > 1 else mixes


def short(reference: str, others: Sequence[str] = ()) -> str:
    """A backbone's name without where it comes from; the whole reference where two would read alike."""
    names = [r.partition("@")[0].rstrip("/").replace(":", "/").rpartition("/")[2] for r in (reference, *others)]
    alike = len({r for r, n in zip(others, names[1:], strict=True) if n == names[0]}) > 1
    return _file_name(reference if alike else names[0])


def _file_name(text: str) -> str:
    return _safe(text).strip("-.")


def _safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)


def _with_unique_ids(candidates: list[Candidate]) -> list[Candidate]:
    """Candidates that differ in their settings alone get these into their ids."""
    out: list[Candidate] = []
    for candidate in candidates:
        alike = [c for c in candidates if c.id == candidate.id]
        identifier = candidate.id
        if len(alike) > 1 and candidate.settings:
            told = ",".join(f"{k}={_safe(str(v))}" for k, v in candidate.settings.items())
            identifier = f"{candidate.id}~{told}"
        base = identifier = identifier.encode()[:LONGEST_ID].decode(errors="ignore")
        number = 2
        while any(c.id == identifier for c in out):
            identifier, number = f"{base}~{number}", number + 1
        out.append(dataclasses.replace(candidate, id=identifier))
    return out


def _asks_alone(candidate: Candidate) -> bool:
    return candidate.method == "prompt" and candidate.settings.get("shots") == 0


NEVER_MEMBERS = ("baseline", "prompt")
"""Families whose candidates are in no ensemble: they know too little, or cost a pass over a prompt for each text."""


def may_be_member(candidate: Candidate, backbone: str, sources: tuple[str, ...]) -> bool:
    """Whether a candidate may be in the ensemble of a backbone with some sources: it uses just these, or none."""
    single = not candidate.members and candidate.family not in NEVER_MEMBERS and candidate.method != "teacher"
    return single and candidate.backbone == backbone and candidate.sources in ((), sources)


def spoken_for(candidate: Candidate, ensembles: Sequence[Candidate]) -> str:
    """The id of the ensemble that was made of candidates like this one and has its sources; empty for none.

    One with more sources does not speak for it: what a source does is not the luck of a mean.
    """
    own = (e for e in ensembles if e.sources == candidate.sources)
    return next((e.id for e in own if may_be_member(candidate, e.backbone, e.sources)), "")


def counterparts(candidate: Candidate, candidates: Sequence[Candidate]) -> list[tuple[str, str]]:
    """What a candidate must beat: (kind, id) pairs among the candidates.

    ``no transfer``: what the target's rows alone can do; ``without source``: the same candidate without its sources, or
    what it is then;
    ``frozen probe`` or ``simpler method``: what its method must beat, of the same backbone with the same sources;
    ``zero-shot``: the same backbone asked without an example;
    ``teacher``: the teacher of a student.
    """
    pairs = []
    about = method(candidate.method, candidate.kind)
    asks = candidate.kind != LABELS  # a prompt knows no sources, and is what a model that writes must beat
    for other in candidates:
        if other.id == candidate.id:
            continue
        same = other.method == candidate.method or (other.method == about.alone and not candidate.settings)
        if other.method == no_transfer(candidate.kind) and not other.settings and candidate.family != "baseline":
            pairs.append(("no transfer", other.id))
        alike = same and other.backbone == candidate.backbone and other.settings == candidate.settings
        if candidate.sources and alike and not other.sources:
            pairs.append(("without source", other.id))
        if (
            other.method == about.counterpart
            and other.backbone == candidate.backbone
            and (other.sources == candidate.sources or asks or (candidate.method in TAUGHT and not other.sources))
            and not _asks_alone(other)
        ):
            pairs.append(("frozen probe" if other.method == PROBE else "simpler method", other.id))
        if other.method == "teacher" and other.sources == candidate.sources and not candidate.shuffled:
            pairs.append(("teacher", other.id))
        if _asks_alone(other) and other.backbone == candidate.backbone and not candidate.shuffled:
            pairs.append(("zero-shot", other.id))
    return list({kind: (kind, identifier) for kind, identifier in reversed(pairs)}.values())[::-1]
