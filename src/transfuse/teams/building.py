"""From a team's file to a team: models are loaded, each backbone once, and contracts are held against them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from transfuse.backbones import loading
from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import TEXT
from transfuse.data.remote_keys import Remote
from transfuse.data.remote_names import is_remote
from transfuse.errors import RecipeError, TeamError
from transfuse.fitted import FittedModel, FittedWriter
from transfuse.fitted.artifact import MANIFEST
from transfuse.fitted.model import known, load
from transfuse.fitted.writer import WriterPath
from transfuse.teams.consults import consulted
from transfuse.teams.contract import Contract
from transfuse.teams.decoders import Picks, Writes, decoder
from transfuse.teams.recipe import RoleSection, TeamRecipe
from transfuse.teams.role import Role, Speaker
from transfuse.teams.safety import DATA
from transfuse.teams.speakers import Chooses, Recalls, Trunks, identity_of
from transfuse.teams.team import Team

MAX_NEW_TOKENS = 128
"""Of an answer, where the file says nothing."""


def build(recipe: TeamRecipe) -> Team:
    """The team of a file, ready to answer.

    Raises:
        RecipeError: a role without a model, or a contract that its model cannot keep.
        ModelError, BackboneError, AssetError: a model cannot be loaded.
    """
    shared: dict[str, Backbone] = {}
    trunks = Trunks()
    roles = [_role(name, section, recipe, shared, trunks) for name, section in recipe.roles.items()]
    protocol = recipe.wired()
    assert protocol is not None
    return Team(recipe.name, roles, protocol, limits=recipe.limited(), on_failure=recipe.failure(), seed=recipe.seed)


def _role(name: str, section: RoleSection, recipe: TeamRecipe, shared: dict[str, Backbone], trunks: Trunks) -> Role:
    reference = section.model or recipe.backbone
    if reference is None:
        raise RecipeError(
            f"{recipe.at('roles', name)}: no model, and the team has no backbone",
            expected="`model: FOLDER` of a fitted model, or `backbone:` for the whole team",
            remedy="Name one.",
        )
    folder = fitted_folder(recipe.base / reference) if section.model and ":" not in reference else None
    if folder is None and ":" not in reference and not (recipe.base / reference / "config.json").exists():
        raise RecipeError(
            f"{recipe.at('roles', name, 'model') if section.model else recipe.at('backbone')}: no model in {reference}",
            expected="a fitted model's folder, the folder of a backbone, catalog:NAME or hub:OWNER/NAME[@REVISION]",
            remedy="Correct the path; fit the model first, where a recipe makes it.",
        )
    try:
        if folder is not None:
            speaker, contract = _fitted(section, load(folder), trunks)
        else:
            contract = Contract.of(section.output, where="output")
            if is_remote(reference):
                keys, decoding = recipe.remote or Remote(), _decoding(section)
                seconds = section.seconds or recipe.limits.seconds / 2
                speaker = consulted(reference, recipe.purse, keys, contract, section.instructions, seconds, **decoding)
            else:
                backbone = _backbone(reference, recipe.base, shared)
                speaker = prompted(backbone, contract, section.instructions, **_decoding(section))
    except TeamError as error:
        raise RecipeError(
            f"{recipe.at('roles', name)}: {error.found}", expected=error.expected, remedy=error.remedy
        ) from error
    return Role(
        name,
        speaker,
        contract,
        section.input,
        seconds=section.seconds,
        price=(section.price.read, section.price.written),
        instead=section.instead,
    )


def fitted_folder(place: Path) -> Path | None:
    """The folder of a fitted model, given it or the folder of the run that made it; None where it is none."""
    return next((folder for folder in (place, place / "model") if (folder / MANIFEST).exists()), None)


def prompted(
    backbone: Backbone,
    contract: Contract,
    instructions: str = "",
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    temperature: float = 0.0,
) -> Writes | Picks:
    """A decoder that is only told what to do, held to a contract.

    Args:
        backbone: a decoder.
        contract: of what it says.
        instructions: the user's own words.
        max_new_tokens: longest answer.
        temperature: of sampling; 0 takes the likeliest token.

    Raises:
        BackboneError: an encoder.
    """
    told = " ".join(part for part in (instructions.strip(), contract.asked, DATA) if part)
    if getattr(backbone.tokenizer, "chat_template", None):
        form, stop = Form.chat(backbone.tokenizer, (), told), ()
    else:
        template = f"{told.replace(TEXT, '{ text }')}\n\n{TEXT}\n{next(iter(contract.fields)).capitalize()}:"
        form, stop = Form.plain(template), ("\n\n",)  # type: ignore[assignment]
    decoding = Decoding(max_new_tokens, temperature=temperature, stop=stop)
    limit = backbone.max_tokens
    identity = {"backbone": backbone.revision, "form": form.to_dict()}
    return decoder(WriterPath(lambda: backbone, form=form, decoding=decoding, limit=limit), contract, identity)


def _fitted(section: RoleSection, model: FittedModel | FittedWriter, trunks: Trunks) -> tuple[Speaker, Contract]:
    contract = Contract.of(section.output, labels=model.labels, where="output")
    for key in ("instructions", "temperature", "max_new_tokens"):
        if getattr(section, key) and not isinstance(model.path, WriterPath):
            raise TeamError(
                f"{key}: a model of method '{model.method}' has no decoder that they could be for",
                expected="a model that writes, or none of them",
                remedy="Leave it out.",
            )
    if isinstance(model, FittedModel):
        field = contract.labelled
        if field is None or set(contract.fields[field]) != set(model.labels):
            raise TeamError(
                f"output says {contract.to_dict()}, and its model chooses one of {', '.join(model.labels)}",
                expected=f"one field of these labels, such as {{{field or 'label'}: labels}}",
            )
        return Chooses(model, field, trunks), contract
    if not isinstance(model.path, WriterPath):
        return Recalls(model, contract), contract
    form = told(model.path.form, model.path.backbone.tokenizer, section.instructions)
    path = model.path.with_form(form).with_decoding(dataclasses.replace(model.path.decoding, **_decoding(section)))
    return decoder(path, contract, {**identity_of(model), "instructions": section.instructions}), contract


def told(form: Form, tokenizer: Any, instructions: str) -> Form:
    """A fitted model's form with instructions before everything, unless it was fitted with them."""
    instructions = instructions.strip()
    if not instructions or instructions in form.prefix + form.template:
        return form
    if not form.special and not form.prefix.count("\n\n") and getattr(tokenizer, "chat_template", None):
        return Form.chat(tokenizer, (), instructions)
    return dataclasses.replace(form, prefix=f"{instructions}\n\n{form.prefix}")


def _decoding(section: RoleSection) -> dict[str, Any]:
    """The settings of decoding that the file gives."""
    given = {"temperature": section.temperature, "max_new_tokens": section.max_new_tokens}
    return {name: value for name, value in given.items() if value is not None}


def _backbone(reference: str, base: Path, shared: dict[str, Backbone]) -> Backbone:
    if reference not in shared:
        shared[reference] = known(loading.load(reference, base=base))
    return shared[reference]
