"""Ranking before training: all backbones, layers and sources, from data that the test is no part of."""

import json
import math

import pytest

from transfuse.errors import RecipeError
from transfuse.study import prepare
from transfuse.study.rank import rank


@pytest.fixture(scope="module")
def ranked(place):
    from study.place import recipe_text

    from transfuse.study.recipe import Recipe

    sources = "[{name: more, data: source.csv}, {name: less, data: other.csv}]"
    return rank(Recipe.from_text(recipe_text(sources=sources), base=place))


def test_every_backbone_is_there_with_what_it_costs(ranked):
    assert {entry["reference"] for entry in ranked["backbones"]} == {"enc", "dec"}
    for entry in ranked["backbones"]:
        assert entry["parameters"] > 0
        assert entry["texts_per_second"] > 0
        assert {"licence", "memory_mib", "layers"} <= set(entry)


def test_the_best_readout_comes_first_and_is_calibrated(ranked):
    key = ranked["decisive"]
    assert key == "probe"  # twelve rows a class
    best = [entry["readouts"][0] for entry in ranked["backbones"]]
    assert best[0]["scores"][key] >= best[1]["scores"][key]
    for entry in ranked["backbones"]:
        scores = [readout["scores"][key] for readout in entry["readouts"]]
        assert scores == sorted(scores, reverse=True)
        assert all(set(readout["z"]) == set(readout["scores"]) for readout in entry["readouts"])
        assert set(entry["readouts"][0]["scores"]) - set(entry["readouts"][1]["scores"]) == {"n_leep"}
        assert entry["readouts"][0]["z"][key] > 0
        assert all(1 <= readout["layer"] <= entry["layers"] for readout in entry["readouts"])


def test_sources_are_judged_at_the_best_readout(ranked):
    for entry in ranked["backbones"]:
        assert {source["name"] for source in entry["sources"]} == {"more", "less"}
        for source in entry["sources"]:
            assert 0 <= source["transfer"] <= 1
            assert source["leep"] <= 0
            assert set(source["z"]) == {"transfer", "leep"}
    json.dumps(ranked)


def test_the_decisive_score_is_that_of_the_rows_that_are_read(place, monkeypatch):
    """Eight rows of the rarest class among many: three of them are read, and neighbours decide, of backbones, too."""
    from study.place import recipe_text, rows, write_csv

    from transfuse.study import rank as module
    from transfuse.study.recipe import Recipe

    lines = [row for row in rows(160, 5, "u") if row[1] == "warm"] + rows(16, 6, "v")
    write_csv(place / "uneven.csv", ("text", "label"), lines)
    write_csv(place / "few.csv", ("text", "label"), rows(20, 8, "w"))
    monkeypatch.setattr(module, "MOST_ROWS", 30)
    text = recipe_text("[probe]", "", target="{train: uneven.csv, test: few.csv}", backbones="[enc]")
    found = rank(Recipe.from_text(text, base=place))
    assert found["decisive"] == "knn"
    assert found["rows"] == 30
    scores = [readout["scores"]["knn"] for readout in found["backbones"][0]["readouts"]]
    assert scores == sorted(scores, reverse=True)


def test_rows_that_validate_are_not_read(place):
    from study.place import recipe_text, rows, write_csv

    from transfuse.study.recipe import Recipe

    for name, count, seed in (("two", 2, 11), ("judge", 60, 12), ("last", 20, 13)):
        write_csv(place / f"{name}.csv", ("text", "label"), rows(count, seed, name[0]))
    target = "{train: two.csv, validation: judge.csv, test: last.csv}"
    text = recipe_text("[probe]", "", target=target, backbones="[enc]", validation="")
    found = rank(Recipe.from_text(text, base=place))
    assert found["rows"] == 2
    assert found["decisive"] == "knn"


def test_a_source_with_labels_of_its_own_has_no_accuracy(place):
    from study.place import recipe_text, rows, write_csv

    from transfuse.study.recipe import Recipe

    lines = [(text, {"warm": "hot", "cold": "chilly"}[label]) for text, label in rows(60, 5, "r")]
    write_csv(place / "related.csv", ("text", "label"), lines)
    found = rank(
        Recipe.from_text(recipe_text("[matching]", "[{name: r, data: related.csv}]", backbones="[enc]"), place)
    )
    (source,) = found["backbones"][0]["sources"]
    assert math.isnan(source["transfer"])
    assert math.isfinite(source["leep"])


def test_the_test_stays_sealed(recipe, monkeypatch):
    opened = []
    monkeypatch.setattr(prepare.SealedTest, "open", lambda self: opened.append(self))
    rank(recipe(backbones="[enc]"))
    assert opened == []


def test_without_a_backbone_there_is_nothing_to_rank(recipe):
    with pytest.raises(RecipeError, match="no backbones"):
        rank(recipe("[tfidf]", backbones=""))
