"""A team's file: what it becomes, and what is refused, with the line."""

from __future__ import annotations

import pytest

from transfuse.errors import RecipeError
from transfuse.teams.protocols import describe
from transfuse.teams.recipe import TeamRecipe

TEXT = """version: 1
name: support_desk
backbone: "catalog:smollm2-135m-instruct"
roles:
  understand: {model: understand, output: {intent: labels}}
  write: {model: write, instructions: "Be brief.", input: [request, intent], output: {reply: text}}
  judge: {model: judge, output: {verdict: [good, bad]}}
protocol: {draft_judge_revise: {drafts: write, judge: judge, rounds: 2}}
limits: {turns: 8, tokens: 2000, seconds: 60}
on_failure: refuse
seed: 0
"""


def read(text: str = TEXT, **changes: str) -> TeamRecipe:
    lines = text.splitlines()
    for key, value in changes.items():
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
        indent = len(lines[at]) - len(lines[at].lstrip())
        lines[at] = f"{' ' * indent}{key}: {value}"
    return TeamRecipe.from_text("\n".join(lines), base=".", origin="team.yaml")


def test_the_parts_of_a_team():
    recipe = read()
    assert recipe.roles["write"].input == ("request", "intent")
    assert (recipe.limited().turns, recipe.failure().passing, recipe.failure().answer) == (8, False, None)
    assert describe(recipe.wired()) == {"draft_judge_revise": {"drafts": "write", "judge": "judge", "rounds": 2}}


def test_a_protocol_within_a_protocol():
    recipe = read(protocol="{pipeline: [understand, {route: {by: understand, to: {refund: write}, otherwise: judge}}]}")
    assert describe(recipe.wired()) == {
        "pipeline": {
            "steps": ["understand", {"route": {"by": "understand", "to": {"refund": "write"}, "otherwise": "judge"}}]
        }
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": "{pipline: [write]}"}, "line 8, key 'protocol.pipline': no protocol 'pipline'. Did you mean"),
        ({"protocol": "{pipeline: [wirte]}"}, "line 8, key 'protocol.pipeline[0]': no role 'wirte'. Did you mean 'wri"),
        ({"protocol": "[write]"}, "line 8, key 'protocol': found a list. Expected: a protocol with its settings"),
        ({"protocol": "{vote: {voter: [judge]}}"}, "key 'protocol.vote.voter': unknown setting. Did you mean 'voters'"),
        ({"protocol": "{best_of: {drafts: write}}"}, "'protocol.best_of': 'judge' is missing. Settings: drafts, judge"),
        (
            {"protocol": "{best_of: {drafts: write, judge: judge, n: 0}}"},
            "'protocol.best_of.n': found 0. Expected: a wh",
        ),
        ({"write": "{output: {reply: txt}}"}, "line 6, key 'roles.write.output': output, field 'reply': found 'txt'."),
        ({"write": "{input: [request, intnt], output: {reply: text}}"}, "'roles.write.input[1]': nobody says 'intnt'."),
        ({"write": "{outputs: {reply: text}}"}, "'roles.write.outputs': unknown key. Did you mean 'output'?"),
        ({"write": "{output: {reply: text}, instead: juge}"}, "'roles.write.instead': no role 'juge'. Did you mean"),
        ({"judge": "{output: {request: text}}"}, "'roles.judge.output': output, field 'request': what the user says"),
        ({"limits": "{turns: 0}"}, "line 9, key 'limits.turns': found 0. Expected: calls of roles, a whole number"),
        ({"on_failure": "stop"}, "line 10, key 'on_failure': found 'stop'. Expected: refuse, next (pass over who fail"),
        ({"on_failure": "{role: jugde}"}, "line 10, key 'on_failure.role': no role 'jugde'. Did you mean 'judge'?"),
        ({"seed": "-1"}, "line 11, key 'seed': found -1. Expected: a seed"),
        ({"backbone": '"catalog:smollm"'}, "line 3, key 'backbone': the catalog has no backbone 'smollm'."),
    ],
)
def test_what_is_wrong_has_its_line(changes, said):
    with pytest.raises(RecipeError) as error:
        read(**changes)
    assert said in str(error.value)
    assert str(error.value).startswith("team.yaml, line ")


def test_all_problems_at_once():
    with pytest.raises(RecipeError) as error:
        read(protocol="{vote: [judge, jude]}", on_failure="{role: nobody}")
    assert len(str(error.value).splitlines()) == 2


def test_a_role_named_like_the_user():
    with pytest.raises(RecipeError, match="key 'roles': a role named 'user'"):
        TeamRecipe.from_text("roles: {user: {output: {a: text}}}\nprotocol: {pipeline: [user]}\n", base=".")


def test_a_newer_version():
    with pytest.raises(RecipeError, match=r"version 2\. Expected: 1; a newer one needs a newer transfuse"):
        read(version="2")


def test_a_remote_model_in_a_team_needs_a_budget():
    text = """
roles: {write: {model: "openai:m", output: {reply: text}}}
protocol: {pipeline: [write]}
"""
    with pytest.raises(RecipeError, match="no budget, and 'openai:m' may cost money"):
        TeamRecipe.from_text(text, ".")
