"""A model behind an API as a speaker: asked in its role's words, held to its contract by structured output."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.remote.conversation import TEXT, Conversation
from transfuse.backbones.remote.model import RemoteModel, Settings, open_model
from transfuse.backbones.remote.prices import dollars
from transfuse.backbones.remote.purse import Purse
from transfuse.backbones.remote.requests import Reply as Told
from transfuse.backbones.remote.retries import Patience
from transfuse.backbones.remote.writing import RemoteWriter
from transfuse.data.remote_keys import Remote
from transfuse.errors import BackboneError
from transfuse.teams.contract import Contract
from transfuse.teams.role import Asked, Lane, Reply, Speaker, raised
from transfuse.teams.safety import DATA, shown

TOGETHER, LIMIT = 16, 4096
"""Calls that are asked at once, and most tokens of what a role is given."""


@dataclasses.dataclass(eq=False)
class Consults:
    """Asks a remote model; every answer is kept, and paid once.

    Args:
        model: is asked.
        contract: of the role.
        instructions: the user's own words.
        max_new_tokens: longest answer.
        temperature: of sampling; each call has its own seed then.
    """

    model: RemoteModel
    contract: Contract
    instructions: str = ""
    max_new_tokens: int = 128
    temperature: float = 0.0
    together = TOGETHER
    spare = 1

    def __post_init__(self) -> None:
        told = " ".join(part for part in (self.instructions.strip(), self.contract.asked, DATA) if part)
        form = self.contract.form(self.max_new_tokens)
        self._decoding = Decoding(self.max_new_tokens, temperature=self.temperature, constraint=form)
        self._conversation = Conversation(told, TEXT, (), LIMIT)

    @property
    def lane(self) -> Lane:
        """Itself."""
        return self

    def answer(self, calls: Sequence[tuple[Speaker, Asked]]) -> list[Reply]:
        """What the service answers, with its tokens and its price; a refusal, or no answer, is that call's problem.

        Raises:
            OutputError: the cache cannot be written.
        """
        writer = RemoteWriter(self.model, self._conversation, self._decoding)
        requests = writer.requests([shown(asked.given) for _, asked in calls])
        if self.temperature:
            requests = [dataclasses.replace(r, seed=a.seed) for r, (_, a) in zip(requests, calls, strict=True)]
        return [self._reply(writer, told) for told in self.model.attempt(requests)]

    def _reply(self, writer: RemoteWriter, told: Told | BackboneError) -> Reply:
        if isinstance(told, BackboneError):
            return Reply("", problem=raised(told))
        why = f"was refused an answer: {self.model.reference}: {' '.join(told.text.split())[:200]}"
        return Reply(
            writer.said(told),
            read=told.input_tokens or 0,
            written=told.output_tokens or 0,
            cost=dollars(told.picodollars),
            problem=why if told.finish == "refused" else "",
        )

    def forget(self) -> None:
        """Nothing is remembered here; answers stay in the user's cache."""

    def describe(self) -> dict[str, Any]:
        """The model's name and what it is told; nobody knows its weights."""
        return {
            "consults": self.model.reference,
            "told": self._conversation.system,
            "decoding": self._decoding.to_dict(),
        }


def consulted(
    reference: str, purse: str, keys: Remote, contract: Contract, instructions: str, seconds: float, **decoding: Any
) -> Consults:
    """A remote model as a speaker.

    A call to which the service stays silent ends by its own time, so that the others of its pass are answered.

    Args:
        reference: ``openai:MODEL`` or ``google:MODEL``.
        purse: the name under which a team's calls are counted, over processes.
        keys: what the team's file says of remote models; its budget limits all that the team ever spends.
        contract, instructions: of the role.
        seconds: most time of one call: so long it is tried again, and so long the service may be silent.
        decoding: ``max_new_tokens`` and ``temperature``, where the file gives them.

    Raises:
        BackboneError: no key, no SDK, or no price.
    """
    budget = keys.budget
    settings = Settings(
        concurrency=keys.concurrency,
        requests_per_minute=keys.requests_per_minute,
        tokens_per_minute=keys.tokens_per_minute,
        timeout_seconds=min(keys.timeout_seconds, seconds),
        thinking_tokens=keys.thinking_tokens,
        patience=Patience(total=seconds),
    )
    pays = Purse.of(purse, budget.money if budget else None, budget.tokens if budget else None)
    return Consults(open_model(reference, pays, settings), contract, instructions, **decoding)
