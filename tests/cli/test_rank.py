"""transfuse rank: tables on the terminal, all scores in a file."""

import json

import pytest

from transfuse.errors import OutputError

FOUND = {
    "recipe": "toy",
    "decisive": "knn",
    "rows": 6,
    "backbones": [
        {
            "reference": "catalog:small",
            "parameters": 22_000_000,
            "memory_mib": 84,
            "texts_per_second": 151.4,
            "licence": "Apache-2.0",
            "layers": 2,
            "readouts": [
                {
                    "layer": 2,
                    "pooling": "mean",
                    "scores": {"knn": 0.75, "probe": 0.5, "logme": -0.5, "h_score": 0.9, "gbc": -0.3, "n_leep": 0.0},
                    "z": {},
                }
            ],
            "sources": [{"name": "movies", "transfer": float("nan"), "leep": -0.5, "proxy_a": 1.9, "discrepancy": 0.1}],
        }
    ],
}


@pytest.fixture
def ranked(monkeypatch):
    monkeypatch.setattr("transfuse.study.rank.rank", lambda recipe, **_: FOUND)


def test_tables_of_backbones_and_sources(command, ranked):
    outcome = command("rank", "r.yaml", "--lang", "en")
    assert outcome.code == 0
    for word in ("small", "22", "151", "0.750", "Decides with so many rows: knn.", "movies", "–", "1.900"):
        assert word in outcome.out


def test_all_scores_go_into_a_file(command, ranked, tmp_path):
    outcome = command("rank", "r.yaml", "--out", tmp_path / "rank.json", "--lang", "zh")
    assert outcome.code == 0
    assert "骨干模型" in outcome.out
    kept = json.loads((tmp_path / "rank.json").read_text(encoding="utf-8"))
    assert kept["backbones"][0]["readouts"][0]["scores"]["knn"] == 0.75
    assert kept["backbones"][0]["sources"][0]["transfer"] is None


def test_a_page_is_written(command, ranked, tmp_path):
    assert command("rank", "r.yaml", "--html", tmp_path / "rank.html", "--lang", "zh").code == 0
    assert "哪个最有希望：toy" in (tmp_path / "rank.html").read_text(encoding="utf-8")


def test_a_missing_recipe(command):
    assert command("rank", "no.yaml").code == 3


def test_a_place_that_cannot_be_written_is_told_before_any_work(command, monkeypatch, tmp_path):
    monkeypatch.setattr("transfuse.study.rank.rank", lambda recipe, **_: pytest.fail("worked in vain"))
    (tmp_path / "file").write_text("")
    for option, place in (("--out", tmp_path), ("--html", tmp_path), ("--out", tmp_path / "file" / "x.json")):
        outcome = command("rank", "r.yaml", option, place, "--lang", "en")
        assert outcome.code == OutputError.exit_code
        assert outcome.err.startswith(f"{place}: ")
        assert "Expected: a file in a folder that can be written" in outcome.err


def test_a_folder_that_is_missing_is_made(command, ranked, tmp_path):
    assert command("rank", "r.yaml", "--out", tmp_path / "new" / "x.json").code == 0
    assert (tmp_path / "new" / "x.json").exists()
