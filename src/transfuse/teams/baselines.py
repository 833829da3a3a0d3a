"""What a team is held against: one model end to end, the nearest known answer, its roles before they were trained."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfuse.backbones import loading
from transfuse.backbones.huggingface import Backbone
from transfuse.errors import DataError
from transfuse.fitted.model import known
from transfuse.fitted.recalled import LookupPath
from transfuse.fitted.writer import WriterPath
from transfuse.teams.building import MAX_NEW_TOKENS, build, fitted_folder, prompted
from transfuse.teams.contract import REQUEST, Contract, Kind
from transfuse.teams.decoders import Picks, Writes
from transfuse.teams.labelled import LabelledRows
from transfuse.teams.protocols import protocol
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.role import Role
from transfuse.teams.speakers import Chooses, Recalls
from transfuse.teams.team import Team

MODEL, LOOKUP = "model", "lookup"
"""Names of the roles of the baselines."""


def one_model(reference: str, field: str, kind: Kind, like: Team, base: Path | None = None) -> Team:
    """One model that answers alone, as a team of one role with the limits of another team.

    Args:
        reference: a fitted model's folder, or that of its run; a backbone is prompted without instructions.
        field: what it says.
        kind: of the field.
        like: the team that it is held against.
        base: of a relative path; None for the working folder.

    Raises:
        RecipeError: no model there, or one that cannot say the field.
    """
    output = {field: list(kind) if isinstance(kind, tuple) else kind}
    fields = {
        "name": MODEL,
        "roles": {MODEL: {"model": reference, "input": [REQUEST], "output": output}},
        "protocol": {"pipeline": [MODEL]},
        "limits": {"turns": 1, "seconds": like.limits.seconds},
        "seed": like.seed,
    }
    return build(TeamRecipe.from_text(json.dumps(fields), base or Path.cwd(), origin=f"baseline {reference}"))


def lookup(train: LabelledRows, rows: LabelledRows, field: str, kind: Kind, like: Team) -> Team:
    """The answer to the known request whose words are most like those of the new one.

    Args:
        train: known requests with their answers.
        rows: those that will be asked.
        field: what is answered.
        kind: of the field.
        like: the team that it is held against.

    Raises:
        DataError: no known answers, or requests that will be asked among those that are known.
    """
    both = set(train.requests) & set(rows.requests)
    if both:
        raise DataError(
            f"{train.origin}: {len(both)} of its requests stand in {rows.origin}, too, such as '{min(both):.60}'",
            expected="rows that are not asked",
            remedy="Split the rows first; what is looked up would be the right answer itself.",
        )
    pairs = [(q, a) for q, a in zip(train.requests, train.fields.get(field, ()), strict=False) if a]
    if not pairs:
        raise DataError(f"{train.origin}: no answers in a column '{field}'", expected="requests with their answers")
    path = LookupPath(*zip(*pairs, strict=True))
    output = {field: list(kind) if isinstance(kind, tuple) else kind}
    identity = {"lookup": hashlib.sha256(json.dumps(pairs).encode()).hexdigest()}
    role = Role.of(LOOKUP, _Nearest(path, Contract.of(output), identity), output, input=[REQUEST])
    return Team(LOOKUP, [role], protocol("pipeline", steps=[LOOKUP]), limits=like.limits, seed=like.seed)


@dataclasses.dataclass
class _Nearest:
    """A lookup as a function; its name holds the hash of what it knows, so that it is part of a fingerprint."""

    path: LookupPath
    contract: Contract
    identity: Mapping[str, str]

    def __post_init__(self) -> None:
        self.__qualname__ = json.dumps(dict(self.identity))

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Any] | str:
        return self.contract.of_column(str(self.path.answers([given[REQUEST]])[0]))


def untrained_roles(team: Team, recipe: TeamRecipe) -> tuple[dict[str, Role], dict[str, str]]:
    """The untrained self of each role that has a fitted model: its bare backbone, prompted with the same words.

    A model whose backbone is no decoder cannot be prompted; the team's ``backbone`` then stands in, where it has one.

    Args:
        team: the team of the recipe.
        recipe: the file, that says which roles are fitted, and what they are told.

    Returns:
        untrained roles by name, and for each fitted role that has none the reason.
    """
    found: dict[str, Role] = {}
    without: dict[str, str] = {}
    for name, section in recipe.roles.items():
        if section.model is None or ":" in section.model or fitted_folder(recipe.base / section.model) is None:
            continue
        role = team.roles[name]
        backbone = _bare(role, recipe)
        if backbone is None:
            without[name] = "its backbone is no decoder that could be prompted, and the team names none"
            continue
        decoding = getattr(getattr(role.speaker, "path", None), "decoding", None)
        speaker = prompted(
            backbone,
            role.output,
            section.instructions,
            max_new_tokens=section.max_new_tokens or (decoding.max_new_tokens if decoding else MAX_NEW_TOKENS),
            temperature=decoding.temperature if decoding else section.temperature or 0.0,
        )
        found[name] = dataclasses.replace(role, speaker=speaker)
    return found, without


def _bare(role: Role, recipe: TeamRecipe) -> Backbone | None:
    """The decoder that a role's model was made from, else the team's; None where neither is one."""
    speaker = role.speaker
    path: Any = None
    if isinstance(speaker, Chooses | Recalls):
        path = speaker.model.path
    elif isinstance(speaker, Writes | Picks):
        path = speaker.path
    own = getattr(path, "backbone", None)
    if own is not None and (own.decoder or isinstance(path, WriterPath)):
        return known(own)
    if recipe.backbone is None:
        return None
    other = known(loading.load(recipe.backbone, base=recipe.base))
    return other if other.decoder else None
