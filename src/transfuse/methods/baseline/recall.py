"""No transfer for tasks that write: the request itself, or the answer to the most similar request that is known."""

from __future__ import annotations

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.answers import Pairs, Recall
from transfuse.engine.jobs import Job, TransferData
from transfuse.fitted.recalled import CopyPath, LookupPath
from transfuse.methods.pairs import pairs_of
from transfuse.tasks.writing import Writing


def look_up(pairs: Pairs) -> LookupPath:
    """The path that answers as the known request did whose words are most like the new one's."""
    return LookupPath(pairs.texts, pairs.answers)


def copy(pairs: Pairs) -> CopyPath:
    """The path that gives the request back."""
    return CopyPath()


class Copy:
    """Gives the request back: what a text untranslated is worth; *no transfer* where a text is translated."""

    family, reads, uses_sources, counterpart = "baseline", "nothing", False, None
    uses_related, weighs, alone = False, False, None

    def plan(self, task: Writing, backbone: Backbone | None, data: TransferData, seed: int) -> Job:
        """One closed form; no settings."""
        return Job((Recall(pairs_of(data.target, target=True), copy),), 0, seed)


class Lookup:
    """Answers as the most similar known request was answered; *no transfer* where a request is answered."""

    family, reads, uses_sources, counterpart = "baseline", "nothing", False, None
    uses_related, weighs, alone = False, False, None

    def plan(self, task: Writing, backbone: Backbone | None, data: TransferData, seed: int) -> Job:
        """One closed form; no settings."""
        return Job((Recall(pairs_of(data.target, target=True), look_up),), 0, seed)
