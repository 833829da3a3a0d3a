"""Roles learn from labelled data: over one trunk, once, and what each transfer is worth is told."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
import toy

from transfuse.data.examples import Examples
from transfuse.engine.answers import Start
from transfuse.engine.fit import Engine
from transfuse.engine.trunk import Trunk
from transfuse.errors import DataError, RecipeError
from transfuse.fitted import load
from transfuse.fitted.artifact import MANIFEST
from transfuse.fitted.model import known
from transfuse.teams import Team, Traces
from transfuse.teams.pupils import Pupil, pupil_of
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.role_rows import split
from transfuse.teams.training import HELD, TRAININGS, placed, train

ROWS = [
    (text, label, "yes" if text.endswith(("1", "3", "5", "7", "9")) else "no", f"{label}!")
    for text, label in zip(*(getattr(toy.examples(24, seed=1), side) for side in ("texts", "labels")), strict=True)
]


@pytest.fixture
def here(tmp_path):
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "kind", "odd", "reply"), *ROWS])
    return tmp_path


def recipe(here, roles: str, backbone: str = "taught", steps: str = "kind") -> TeamRecipe:
    text = f'backbone: "{toy.backbone(backbone).folder}"\nroles:\n{roles}\nprotocol: {{pipeline: [{steps}]}}\n'
    return TeamRecipe.from_text(text, here, "team.yaml")


def role(name: str, output: str, method: str, more: str = "", extra: str = "") -> str:
    train = f"{{data: rows.csv, method: {method}{more}}}"
    return f"  {name}: {{input: [request], output: {output}, train: {train}{extra}}}\n"


PROBE = "{probe: {layers: [1, 2], c: 0.1}}"
LORA = "{lora: {rank: 2, epochs: 1, batch_size: 8, train_layers: 1}}"
KIND, ODD = role("kind", "{kind: labels}", PROBE), role("odd", "{odd: ['yes', 'no']}", PROBE)
REPLY = role("reply", "{reply: text}", LORA, extra=", max_new_tokens: 4, instructions: 'Be brief.'")


@pytest.fixture
def counted(monkeypatch):
    """Texts that went through the first layer of the backbone."""
    monkeypatch.setattr("transfuse.teams.training.precision.choose", lambda *_: {"precision": "fp32"})
    layer = known(toy.backbone("taught")).base().layers[0]
    seen = [0]
    hook = layer.register_forward_hook(lambda _m, given, _o: seen.__setitem__(0, seen[0] + len(given[0])))
    yield seen
    hook.remove()


def test_heads_of_one_trunk_cost_one_pass(here, counted):
    train(recipe(here, KIND), here / "one")
    alone, counted[0] = counted[0], 0
    train(recipe(here, KIND + ODD), here / "two")
    assert alone == len(ROWS)
    assert counted[0] == alone, "the second head costs no pass"


def test_the_trained_team_answers_and_is_not_trained_again(here, counted):
    made = train(recipe(here, KIND + REPLY, steps="kind, reply"), here / "out")
    assert (made["roles"]["kind"]["method"], made["roles"]["reply"]["rows"]) == ("probe", 24)
    team = Team.load(here / "out" / "team.yaml")
    answer = team.ask(ROWS[0][0])
    assert answer.outcome == "answered"
    known = load(here / "out" / "roles" / "kind")
    texts = [row[0] for row in ROWS]
    assert np.mean([a == b for a, b in zip(known.predict(texts), [row[1] for row in ROWS], strict=True)]) > 0.8
    before = {path: path.stat().st_mtime_ns for path in (here / "out" / "roles").rglob("*") if path.is_file()}
    counted[0] = 0
    train(recipe(here, KIND + REPLY, steps="kind, reply"), here / "out")
    assert counted[0] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    other = role("kind", "{kind: labels}", "{probe: {layers: [2], c: 0.1}}")
    train(recipe(here, other + REPLY, steps="kind, reply"), here / "out")
    changed = {path.parent.name for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert changed == {"kind"}, "the role whose settings have changed, and no other"


def test_what_was_cut_off_goes_on(here, monkeypatch):
    """Killed before the last step: verdicts are not made again, and the training goes on to the same numbers."""
    monkeypatch.setattr("transfuse.engine.checkpoints.EVERY", 0.0)
    monkeypatch.setattr("transfuse.teams.training.precision.choose", lambda *_: {"precision": "fp32"})
    with (here / "more.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "again"), *((f"once more: {row[0]}", row[3]) for row in ROWS)])
    with (here / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "reply", "again"), *((row[0], row[3], row[3]) for row in ROWS)])
    sources = ", sources: [{data: more.csv}, {role: reply}]"
    team = recipe(here, REPLY + role("again", "{again: text}", LORA, sources, ", max_new_tokens: 4"), steps="again")
    whole = train(team, here / "whole")
    steps, limit = [0], [10**9]

    def tick(_share):
        steps[0] += 1
        if steps[0] == limit[0]:
            raise KeyboardInterrupt

    begun = Engine.__init__
    monkeypatch.setattr(Engine, "__init__", lambda self, *args, **more: begun(self, *args, tick=tick, **more))
    train(team, here / "counted")
    count, steps[0] = steps[0], 0
    limit[0] = count - 1
    with pytest.raises(KeyboardInterrupt):
        train(team, here / "out")
    assert {file.suffix for file in (here / "out" / TRAININGS).iterdir()} == {".json", ".safetensors"}
    steps[0] = 0
    assert train(team, here / "out") == whole
    assert steps[0] == 1, "the last step alone is left"
    assert not (here / "out" / TRAININGS).exists()
    own, other = (load(here / place / "roles" / "again").path.tensors() for place in ("out", "whole"))
    for name in own:
        torch.testing.assert_close(own[name], other[name], rtol=0, atol=0)


def test_another_seed_trains_anew(here):
    first = train(recipe(here, KIND), here / "out")
    manifest = here / "out" / "roles" / "kind" / MANIFEST
    key = json.loads(manifest.read_text())["made"]["key"]
    team = recipe(here, KIND).model_copy(update={"seed": 1})
    assert train(team, here / "out") == first
    assert json.loads(manifest.read_text())["made"]["key"] != key


def test_a_role_writes_in_the_form_that_it_was_trained_in(here):
    train(recipe(here, REPLY, steps="reply"), here / "out")
    model = load(here / "out" / "roles" / "reply")
    speaker = Team.load(here / "out" / "team.yaml").roles["reply"].speaker
    assert speaker.path.form == model.path.form
    assert "Be brief." in model.path.form.prefix + model.path.form.template


def test_a_role_that_is_only_shown_examples_keeps_them(here):
    train(recipe(here, role("reply", "{reply: text}", "{prompt: {shots: 2}}"), steps="reply"), here / "out")
    form = load(here / "out" / "roles" / "reply").path.form
    assert form.prefix.count("!") == 2
    assert Team.load(here / "out" / "team.yaml").roles["reply"].speaker.path.form == form


def test_the_new_file_names_what_the_old_one_named(here):
    text = f'backbone: "{toy.backbone("taught").folder}"\nroles:\n{KIND}\nprotocol: {{pipeline: [kind]}}\n'
    text += "learn: {selects: numbers, grades: [equals, {classifier: models/kind, label: good}]}\n"
    made = placed(TeamRecipe.from_text(text, here, "team.yaml"), {"kind": "roles/kind"}, {"kind"})
    assert made["learn"]["grades"][1]["classifier"] == str(here / "models" / "kind")
    assert (made["roles"]["kind"]["model"], "train" in made["roles"]["kind"]) == ("roles/kind", False)


def test_each_transfer_has_its_verdict(here):
    """Rows of another file, a teacher's traces and another role's adapter, each against nothing."""
    Team.load(write(here)).ask_all([row[0] for row in ROWS[:6]], Traces(here / "traces.sqlite"))
    sources = (
        ", sources: [{data: more.csv, name: more}, {traces: traces.sqlite}, {role: reply}, {role: reply, how: distill}]"
    )
    second = role("again", "{again: text}", LORA, sources, ", max_new_tokens: 4")
    with (here / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "reply", "again"), *((row[0], row[3], row[3]) for row in ROWS)])
    with (here / "more.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "again"), *((f"once more: {row[0]}", row[3]) for row in ROWS)])
    made = train(recipe(here, REPLY + second, steps="again"), here / "out")
    found = made["roles"]["again"]["sources"]
    assert list(found) == ["more", "traces traces.sqlite", "role reply", "role reply distilled"]
    assert all(entry["verdict"] in ("helps", "no evidence", "hurts") for entry in found.values())
    best = max(found, key=lambda source: found[source]["difference"]["value"])
    worth = found[best]["difference"]["value"]
    assert made["roles"]["again"]["uses"] == (best if worth > 0 else None)
    assert json.loads((here / "out" / "training.json").read_text())["roles"] == made["roles"]


def test_no_source_is_judged_on_texts_that_it_holds(here, monkeypatch):
    """The role's own file as a source, and what another role says of the role's rows; in the end both are whole."""
    learnt, whole = [], Pupil.job

    def job(pupil, rows, source, seed):
        learnt.append((rows.texts, source))
        return whole(pupil, rows, source, seed)

    monkeypatch.setattr(Pupil, "job", job)
    sources = ", sources: [{data: rows.csv}, {role: odd, how: distill}]"
    second = role("again", "{odd: ['yes', 'no']}", PROBE, sources)
    train(recipe(here, ODD + second, steps="again"), here / "out")
    judged = [(set(texts), set(source.texts)) for texts, source in learnt if len(texts) < len(ROWS) and source]
    assert len(judged) == 2
    for texts, source in judged:
        assert source == texts, "the fifth that is held out is in neither"


def test_verdicts_on_several_sources_are_adjusted_for_each_other(here):
    source = ", sources: [" + ", ".join(f"{{data: rows.csv, name: s{i}}}" for i in range(3)) + "]"
    made = train(recipe(here, role("kind", "{kind: labels}", PROBE, source)), here / "out")
    alone = train(recipe(here, role("kind", "{kind: labels}", PROBE, ", sources: [{data: rows.csv}]")), here / "one")
    p = [entry["p"] for entry in made["roles"]["kind"]["sources"].values()]
    (single,) = (entry["p"] for entry in alone["roles"]["kind"]["sources"].values())
    assert p == pytest.approx([min(3 * single, 1)] * 3)


def test_a_source_of_which_nothing_is_left(here):
    texts, held = (set(part.texts) for part in split(Examples(tuple(row[0] for row in ROWS)), HELD, 0))
    with (here / "few.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "kind"), *((row[0], row[1]) for row in ROWS if row[0] in held)])
    assert texts
    with pytest.raises(DataError, match=r"all texts of the source 'data few\.csv' are among the 5 rows held out"):
        train(recipe(here, role("kind", "{kind: labels}", PROBE, ", sources: [{data: few.csv}]")), here / "out")


def test_rows_with_other_labels_are_learnt_by_the_methods_that_can(here):
    """The labels of the source are none of the role's; its rows reach the method, and others refuse them."""
    with (here / "other.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "kind"), *((f"{row[0]}.", f"{row[1]} {row[2]}") for row in ROWS)])
    source = ", sources: [{data: other.csv, name: other}]"
    made = train(recipe(here, role("kind", "{kind: labels}", "{matching: {epochs: 1}}", source)), here / "out")
    assert made["roles"]["kind"]["sources"]["other"]["verdict"] in ("helps", "no evidence", "hurts")
    pupil = pupil_of("kind", recipe(here, role("kind", "{kind: labels}", "matching", source)), toy.backbone("taught"))
    (known,) = pupil.knowledge(here / "out" / "roles").values()
    alone, taught = (len(pupil.job(pupil.rows, source, 0).stages) for source in (None, known))
    assert taught > alone
    with pytest.raises(RecipeError, match=r"other has the label '.+ no', and 'probe' learns[\s\S]*: .*matching"):
        train(recipe(here, role("kind", "{kind: labels}", PROBE, source)), here / "out")


@pytest.mark.parametrize("kind", ["writes", "chooses"])
def test_a_copied_adapter_is_where_training_begins(here, kind):
    """With a rate of nothing, what starts from another role's adapter ends as that adapter."""
    still = "{lora: {rank: 2, epochs: 1, batch_size: 8, train_layers: 1, learning_rate: 0.0, layer: 2}}"
    if kind == "writes":
        first, second = (
            REPLY,
            role("again", "{reply: text}", still.replace(", layer: 2", ""), extra=", max_new_tokens: 4"),
        )
    else:
        first = role("odd", "{odd: ['yes', 'no']}", LORA.replace("}}", ", layer: 2}}"))
        second = role("again", "{kind: labels}", still)
    team = recipe(here, first + second, steps="again")
    train(recipe(here, first, steps="reply" if kind == "writes" else "odd"), here / "out")
    source = load(here / "out" / "roles" / ("reply" if kind == "writes" else "odd"))
    pupil = pupil_of("again", team, known(toy.backbone("taught")))
    path = Engine(Trunk(pupil.backbone, "fp32", 64), 0).fit(pupil.job(pupil.rows, Start(source.path), 0))
    names = [name for name in source.path.tensors() if "lora" in name]
    assert names
    for name in names:
        torch.testing.assert_close(path.tensors()[name], source.path.tensors()[name])


def write(here):
    """A team whose role `again` is played by a prompted model."""
    file = here / "before.yaml"
    file.write_text(
        f'backbone: "{toy.backbone("taught").folder}"\n'
        "roles: {again: {input: [request], output: {again: text}, max_new_tokens: 3}}\n"
        "protocol: {pipeline: [again]}\n"
    )
    return file


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (
            role("kind", "{kind: labels}", "lorra"),
            "line 3, key 'roles.kind.train.method': no method 'lorra' for a role",
        ),
        (
            role("kind", "{kind: labels}", "{probe: {layer: 1}}"),
            "key 'roles.kind.train.method.probe.layer': unknown se",
        ),
        (role("kind", "{kind: labels}", PROBE, ", sources: [{role: kind}]"), "'kind' does not train"),
        (role("kind", "{kind: labels}", PROBE, ", sources: [{}]"), "found none of them. Expected: a source"),
        ("  kind: {input: [request], output: {kind: [a, b]}}\n", "no role has `train`"),
        ("  kind: {output: {kind: labels}, train: {data: rows.csv}}\n", "no `input`"),
    ],
)
def test_what_is_refused(here, roles, said):
    with pytest.raises(RecipeError) as error:
        train(recipe(here, roles), here / "out")
    assert said in str(error.value)


def test_rows_that_cannot_be_used(here):
    with pytest.raises(DataError, match="no column 'reply2'"):
        train(recipe(here, role("kind", "{reply2: text}", LORA)), here / "out")
    with pytest.raises(DataError, match=r"rows\.csv, row 1, field 'kind': found 'warm'"):
        train(recipe(here, role("kind", "{kind: [cold, hot]}", PROBE)), here / "out")
