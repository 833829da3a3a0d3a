"""What a role takes over of another model's layers: merged with what it has learnt itself; refused where none fit."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pytest
import torch
import toy

from transfuse.backbones import adapters
from transfuse.engine.fit import Engine
from transfuse.engine.trunk import Trunk
from transfuse.errors import RecipeError
from transfuse.fitted import load
from transfuse.fitted.model import known
from transfuse.teams.beginnings import Blend
from transfuse.teams.pupils import pupil_of
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.training import saved, train

ROWS = [
    (text, label, f"{label}!", f"{label}?")
    for text, label in zip(*(getattr(toy.examples(24, seed=1), side) for side in ("texts", "labels")), strict=True)
]
MORE = "epochs: 1, batch_size: 8, train_layers: 1"
METHODS = {
    ("writes", "lora"): f"{{lora: {{rank: 2, {MORE}}}}}",
    ("writes", "finetune"): f"{{finetune: {{{MORE}}}}}",
    ("chooses", "lora"): f"{{lora: {{rank: 2, layer: 2, {MORE}}}}}",
    ("chooses", "finetune"): f"{{finetune: {{layer: 2, {MORE}}}}}",
}
OUTPUT = {"writes": ("reply", "{reply: text}", ", max_new_tokens: 4"), "chooses": ("kind", "{kind: labels}", "")}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transfuse.teams.training.precision.choose", lambda *_: {"precision": "fp32"})
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "kind", "reply", "other"), *ROWS])
    return tmp_path


def team(here, *roles: str) -> TeamRecipe:
    name = roles[-1].split(":")[0].strip()
    text = f'backbone: "{toy.backbone("taught").folder}"\nroles:\n{"".join(roles)}\nprotocol: {{pipeline: [{name}]}}\n'
    return TeamRecipe.from_text(text, here, "team.yaml")


def role(name: str, output: str, method: str, more: str = "", extra: str = "") -> str:
    return (
        f"  {name}: {{input: [request], output: {output}, train: {{data: rows.csv, method: {method}{more}}}{extra}}}\n"
    )


def changes(path) -> dict[str, torch.Tensor]:
    """What a path's trained layers have beyond the backbone's, by weight."""
    before = dict(path.backbone.segment(path.cut, path.cut + len(path.trained.layers)).layers.named_parameters())
    plain = path.trained.layers
    if path.adapter:
        copy = path.backbone.segment(path.cut, path.cut + len(plain), own=True, states=True)
        adapters.add(copy, path.adapter, seed=0)
        with torch.no_grad():
            for name, parameter in copy.model.named_parameters():
                if name in adapters.tensors(path.trained):
                    parameter.copy_(adapters.tensors(path.trained)[name])
        plain = torch.nn.ModuleList(adapters.merged(layer) for layer in copy.layers)
    return {name: (p - before[name]).detach() for name, p in plain.named_parameters()}


def fitted(pupil, source):
    return Engine(Trunk(pupil.backbone, "fp32", 64), len(pupil.labels)).fit(pupil.job(pupil.rows, source, 0))


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_the_change_is_the_mean_of_both(here, kind, name):
    """Of layers and of adapters' products; and what is merged with its equal stays what it is."""
    field, output, extra = OUTPUT[kind]
    method = METHODS[kind, name]
    backbone = known(toy.backbone("taught"))
    own = pupil_of(field, team(here, role(field, output, method, extra=extra)), backbone)
    foreign = role("other", "{other: text}", METHODS["writes", name], extra=", max_new_tokens: 4")
    other = fitted(pupil_of("other", team(here, foreign), backbone), None)
    if name == "lora":
        with torch.no_grad():
            for parameter in adapters.tensors(other.trained).values():
                parameter += 0.1
    alone, both = fitted(own, None), fitted(own, Blend(other))
    expected = {weight: (change + changes(other)[weight]) / 2 for weight, change in changes(alone).items()}
    assert max(float(change.abs().max()) for change in expected.values()) > 1e-4
    torch.testing.assert_close(changes(both), expected, atol=1e-6, rtol=1e-4)
    same = fitted(own, Blend(alone))
    torch.testing.assert_close(changes(same), changes(alone), atol=1e-6, rtol=1e-4)
    texts = own.rows.texts[:4]
    saved(own, both, {}).save(here / "kept")
    again = load(here / "kept")
    assert list(again.predict(texts)) == list(saved(own, both, {}).predict(texts))
    torch.testing.assert_close(changes(again.path), changes(both), atol=1e-6, rtol=1e-4)


def test_another_role_merged_has_its_verdict(here):
    first = role("reply", "{reply: text}", METHODS["writes", "lora"], extra=", max_new_tokens: 4")
    sources = ", sources: [{role: reply, how: merge}, {role: reply}]"
    second = role("other", "{other: text}", METHODS["writes", "lora"], sources, ", max_new_tokens: 4")
    made = train(team(here, first, second), here / "out")
    found = made["roles"]["other"]["sources"]
    assert list(found) == ["role reply merged", "role reply"]
    assert all(entry["verdict"] in ("helps", "no evidence", "hurts") for entry in found.values())


@pytest.mark.parametrize(
    ("path", "method", "said"),
    [
        ({"adapter": None}, METHODS["writes", "lora"], "'lora' cannot be merged with layers 1 to 2 of another model"),
        (
            {"adapter": {"kind": "lora"}},
            "{lora: {rank: 2, train_layers: 2}}",
            "'lora' trains layers 0 to 2, and the other model has layers 1 to 2\nExpected: the same layers of both",
        ),
        (
            {"adapter": {"kind": "dora"}},
            METHODS["writes", "lora"],
            "adapters of the kinds dora and lora cannot be merged\nExpected: lora for both",
        ),
        (
            {"adapter": None, "states": False},
            METHODS["writes", "finetune"],
            "'finetune' trains layers 1 to 2, and the other model has layers 1 to 2 and the embeddings",
        ),
    ],
)
def test_what_cannot_be_merged(here, path, method, said):
    recipe = team(here, role("reply", "{reply: text}", method, extra=", max_new_tokens: 4"))
    pupil = pupil_of("reply", recipe, known(toy.backbone("taught")))
    trained = SimpleNamespace(layers=[None], takes_states=path.pop("states", True))
    with pytest.raises(RecipeError) as error:
        pupil.job(pupil.rows, Blend(SimpleNamespace(cut=1, trained=trained, **path)), 0)
    assert "team.yaml, line 3, key 'roles.reply.train': " in str(error.value)
    assert said in str(error.value)
    assert "Set train_layers: 1 of 'lora', or" in str(error.value) or "0 to 2" not in said


def test_rows_and_traces_cannot_be_merged(here):
    sources = ", sources: [{data: rows.csv, how: merge}]"
    with pytest.raises(RecipeError, match=r"found how: merge of data\. Expected: a model or a role"):
        team(here, role("reply", "{reply: text}", METHODS["writes", "lora"], sources))
