"""A team on labelled rows: its figures by hand, its roles', its baselines', and what is asked once only."""

from __future__ import annotations

import json

import pytest
from teams.desk import INTENTS, desk, role
from teams.models import chooses, write_team, writes

from transfuse.errors import DataError, TeamError, UsageError
from transfuse.teams import OnFailure, Reply, Role, Team, protocol
from transfuse.teams.baselines import lookup, one_model, untrained_roles
from transfuse.teams.decoders import Picks, Writes
from transfuse.teams.evaluation import evaluate
from transfuse.teams.labelled import LabelledRows
from transfuse.teams.recipe import TeamRecipe

COUNT = 40
INTENT = [INTENTS[i % 3] for i in range(COUNT)]
ROWS = LabelledRows(
    tuple(f"request {i} about {intent}" for i, intent in enumerate(INTENT)),
    {
        "intent": tuple(INTENT),
        "reply": tuple(f"We see to the {intent}, number {i}." for i, intent in enumerate(INTENT)),
    },
    tuple(range(1, COUNT + 1)),
    "rows.csv",
)


def good(given):
    """A trained writer: it uses the intent, fails for a seven, and counts its tokens."""
    if "request 7 " in given["request"]:
        raise RuntimeError("no seven")
    number = given["request"].split()[1]
    return Reply(f"We see to the {given.get('intent', 'matter')}, number {number}.", read=10, written=5)


def poor(given):
    return "What do you want?"


GOOD = role("write", good, input=["request", "intent"], price=(100.0, 1000.0))
POOR = role("write", poor, input=["request", "intent"])
BLIND = role("understand", lambda given: "other", {"intent": INTENTS}, input=["request"])


def alone(function, name="model"):
    return Team(name, [role("model", function)], protocol("pipeline", steps=["model"]))


@pytest.fixture(scope="module")
def report():
    baselines = {"one model": alone(poor), "itself": desk(GOOD)}
    return evaluate(desk(GOOD), ROWS, baselines=baselines, untrained={"write": POOR, "understand": BLIND})


def test_figures_of_the_team_by_hand(report):
    assert (report["rows"], report["judged"], report["field"], report["metric"]) == (40, 40, "reply", "chrf")
    team, *others = report["figures"]
    assert [other["name"] for other in others] == ["one model", "itself", "untrained"]
    assert team["outcomes"] == {"answered": 39, "stood_in": 0, "refused": 1}
    assert team["answered"]["value"] == pytest.approx(39 / 40)
    assert set(team["metrics"]) == {"chrf", "numbers", "repetition"}
    assert team["metrics"]["numbers"]["value"] == pytest.approx(39 / 40), "the refusal kept no number"
    assert team["metrics"]["chrf"]["low"] < team["metrics"]["chrf"]["value"] < 100
    assert team["tokens"]["value"] == pytest.approx(15 * 39 / 40)
    assert team["cost"]["value"] == pytest.approx((10 * 100 + 5 * 1000) / 1e6 * 39 / 40)
    assert json.loads(json.dumps(report)) == report


def test_baselines_are_compared_on_the_same_rows(report):
    one, itself, untrained = (other["team_against_it"] for other in report["figures"][1:])
    assert (one["verdict"], untrained["verdict"], itself["verdict"]) == ("helps", "helps", "no evidence")
    assert one["difference"]["low"] > 20
    assert itself["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert itself["p"] == 1
    assert one["p"] == pytest.approx(3 / 1001), "of 1,000 exchanges none was as good, thrice for three baselines"
    worse = evaluate(alone(poor, "poor"), ROWS, baselines={"desk": desk(GOOD)}, credit=False)
    assert worse["figures"][1]["team_against_it"]["verdict"] == "hurts"
    assert worse["credit"] is None


def test_roles_have_their_own_quality(report):
    understand, write = report["roles"]
    assert understand["quality"]["intent.accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 40} | {
        "low": understand["quality"]["intent.accuracy"]["low"]
    }
    assert (write["calls"], write["failed"], write["trained"]) == (40, 1, True)
    assert write["quality"]["reply.numbers"]["value"] == pytest.approx(39 / 40)
    assert write["tokens"]["value"] > understand["tokens"]["value"] == 0


def test_what_is_shown(report):
    exchange = report["exchange"]
    assert [(m["sender"], m["receiver"], m["given"]) for m in exchange["messages"]] == [
        ("understand", "write", ["request"]),
        ("write", "team", ["request", "intent"]),
    ]
    (failure,) = report["failures"]
    assert (failure["row"], failure["outcome"]) == (8, "refused")
    assert failure["reason"] == "role 'write' raised RuntimeError: no seven"
    assert report["worst"][0]["said"].startswith("We see to the ")


def test_nothing_is_asked_twice_and_the_report_is_the_same(tmp_path):
    asked = []

    def counts(given):
        asked.append(given["request"])
        return good(given)

    def made():
        counting = role("write", counts, input=["request", "intent"])
        return evaluate(desk(counting), ROWS, untrained={"write": POOR}, folder=tmp_path, note=lambda *told: None)

    first = made()
    count = len(asked)
    assert made() == first
    assert len(asked) == count
    assert sorted(p.name.split("-")[0] for p in tmp_path.iterdir()) == ["team.sqlite", "untrained.sqlite", "write"]
    with pytest.raises(TeamError, match=r"team.sqlite: the id '1-\w+' belongs to another team"):
        evaluate(alone(poor), ROWS, folder=tmp_path)


def test_what_was_cut_off_goes_on(tmp_path):
    asked = []

    def counts(given):
        asked.append(given["request"])
        return good(given)

    def stops(name, done, of):
        assert of == COUNT
        if done > 16:
            raise KeyboardInterrupt

    team = desk(role("write", counts, input=["request", "intent"]))
    with pytest.raises(KeyboardInterrupt):
        evaluate(team, ROWS, folder=tmp_path, credit=False, note=stops)
    assert len(asked) == 32, "two waves of sixteen"
    whole = evaluate(team, ROWS, folder=tmp_path, credit=False)
    assert sorted(asked) == sorted(ROWS.requests)
    assert whole["figures"][0]["metrics"] == evaluate(team, ROWS, credit=False)["figures"][0]["metrics"]


BACKUP = role("backup", lambda given: "We see to the refund.")


@pytest.mark.parametrize("failure", [OnFailure(answer="Later."), OnFailure(role="backup")])
def test_what_stands_in_is_no_answer(failure):
    team = desk(role("write", lambda given: 1 / 0, input=["request"]), BACKUP, on_failure=failure)
    report = evaluate(team, ROWS, credit=False)
    assert report["figures"][0]["outcomes"] == {"answered": 0, "stood_in": 40, "refused": 0}
    assert report["figures"][0]["metrics"]["chrf"]["value"] == 0
    assert (report["worst"], len(report["failures"])) == ([], 20)


def test_a_team_of_labels_shows_wrong_answers_alone():
    team = desk(steps=["understand"])
    rows = LabelledRows(ROWS.requests[:4], {"intent": ("refund", "delivery", "refund", "refund")}, (1, 2, 3, 4))
    report = evaluate(team, rows, credit=False)
    assert report["metric"] == "accuracy"
    assert [(w["row"], w["expected"], w["said"]) for w in report["worst"]] == [(3, "refund", "other")]


class Reads:
    """Stands in for a classifier: the label is the first that the text names."""

    labels = ("refund", "delivery", "other")

    def predict(self, texts):
        return [next((label for label in self.labels if label in text), "other") for text in texts]


def test_teams_are_compared_by_the_score_that_was_asked_for():
    asked = {"judge": Reads(), "metric": "outcome"}
    report = evaluate(desk(GOOD), ROWS, untrained={"write": POOR}, **asked)
    assert report["metric"] == "outcome"
    team, untrained = report["figures"]
    assert 0 <= untrained["metrics"]["outcome"]["value"] < team["metrics"]["outcome"]["value"] <= 1
    (credit,) = report["credit"]["roles"]
    shares = [one["metrics"]["outcome"]["value"] for one in (team, untrained)]
    assert credit["credit"]["difference"]["value"] == pytest.approx(shares[0] - shares[1])
    with pytest.raises(UsageError, match=r"metric 'outcom'.*'outcome'"):
        evaluate(desk(GOOD), ROWS, judge=Reads(), metric="outcom")
    with pytest.raises(UsageError, match=r"metric 'outcome'[\s\S]*Give a held-out classifier"):
        evaluate(desk(GOOD), ROWS, metric="outcome")


def test_the_nearest_known_reply():
    train = LabelledRows(("my parcel is late", "money back"), {"reply": ("It comes.", "Here.")}, (1, 2), "train.csv")
    found = lookup(train, ROWS, "reply", "text", desk())
    assert found.ask("is the parcel late?").text == "It comes."
    other = lookup(LabelledRows(("a",), {"reply": ("b",)}, (1,)), ROWS, "reply", "text", desk())
    assert found.fingerprint != other.fingerprint
    for kind, known, said in (("number", "12", 12.0), ("list", "red, blue", ["red", "blue"])):
        train = LabelledRows(("how many parcels",), {"count": (known,)}, (1,), "train.csv")
        answer = lookup(train, ROWS, "count", kind, desk()).ask("how many?")
        assert (answer.outcome, answer.content) == ("answered", {"count": said})
    with pytest.raises(DataError, match=r"rows\.csv: 40 of its requests stand in rows\.csv, too"):
        lookup(ROWS, ROWS, "reply", "text", desk())
    with pytest.raises(DataError, match="no answers in a column 'reply'"):
        lookup(LabelledRows(("a",), {}, (1,)), ROWS, "reply", "text", desk())


TEAM = """
name: tiny
roles:
  understand: {model: understand, input: [request], output: {intent: labels}}
  write: {model: write, instructions: "Be kind.", input: [request, intent], output: {reply: text}}
  check: {model: sorts, input: [reply], output: {state: labels}}
protocol: {pipeline: [check, understand, write]}
"""


def test_untrained_selves_and_one_model(tmp_path):
    models = {
        "understand": chooses(("refund", "other"), 1),
        "write": writes(4, rank=2),
        "sorts": chooses(("open", "done"), 2, family="bert"),
    }
    file = write_team(tmp_path, TEAM, **models)
    team, recipe = Team.load(file), TeamRecipe.from_file(file)
    untrained, without = untrained_roles(team, recipe)
    assert list(untrained) == ["understand", "write"]
    assert without == {"check": "its backbone is no decoder that could be prompted, and the team names none"}
    assert isinstance(untrained["understand"].speaker, Picks)
    assert isinstance(untrained["write"].speaker, Writes)
    assert untrained["write"].speaker.path.trained is None
    assert untrained["write"].speaker.path.form.template.startswith("Be kind.") or "Be kind." in str(
        untrained["write"].speaker.path.form.to_dict()
    )
    assert untrained["understand"].output == team.roles["understand"].output
    asked = team.replaced(*untrained.values()).ask("the good")
    assert asked.messages[1].content["intent"] in ("refund", "other")
    single = one_model(str(tmp_path / "write"), "reply", "text", team)
    assert single.ask("the good").messages[1].sender == "model"
    labels = one_model("understand", "intent", ("refund", "other"), team, base=tmp_path)
    assert labels.ask("the good").text in ("refund", "other")


def test_a_hidden_field_is_not_shown_and_counts_in_the_fingerprint():
    seen = []
    blind = Role.of("write", lambda given: str(seen.append(dict(given))), {"reply": "text"}, hidden=("intent",))
    desk(blind).ask("a refund")
    assert seen == [{"request": "a refund"}]
    plain = Role.of("write", len, {"reply": "text"})
    assert "hidden" not in plain.describe()
    assert blind.describe()["hidden"] == ["intent"]
