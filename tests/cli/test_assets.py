"""transfuse assets: the catalog on the command line."""

from __future__ import annotations

import pytest

from transfuse import data


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRANSFUSE_CACHE", str(tmp_path))


def test_the_list_has_every_asset_and_fits_the_terminal(command):
    outcome = command("assets", "list")
    assert outcome.code == 0
    for name in data.catalog.told():
        assert f"\n{name} " in outcome.out
    assert max(len(line) for line in outcome.out.splitlines()) <= 80
    assert "yes" not in outcome.out


def test_where_says_what_to_do_and_then_where(command):
    missing = command("assets", "where", "minilm-l6")
    assert missing.code == 5
    assert "Remedy: Run `transfuse assets pull minilm-l6`." in missing.err
    folder = data.entry("minilm-l6").folder()
    folder.mkdir(parents=True)
    assert command("assets", "where", "catalog:minilm-l6").out == f"{folder}\n"
    assert "yes" in command("assets", "list").out


def test_a_typo_is_told_before_anything_is_fetched(command, monkeypatch):
    pulled = []
    monkeypatch.setattr(data, "pull", lambda name, **_: pulled.append(name))
    outcome = command("assets", "pull", "minilm-l6", "vader-nit")
    assert (outcome.code, pulled) == (5, [])
    assert "Did you mean 'vader-nyt'?" in outcome.err


def test_pull_prints_the_folders_and_passes_the_consent(command, monkeypatch, tmp_path):
    asked = []

    def pull(name, *, progress, accept_terms):
        asked.append((name, accept_terms))
        progress(name, 10, 100)
        return tmp_path / name

    monkeypatch.setattr(data, "pull", pull)
    outcome = command("assets", "pull", "minilm-l6", "catalog:vader-nyt", "--accept-terms")
    assert outcome.code == 0
    assert outcome.out == f"minilm-l6: {tmp_path / 'minilm-l6'}\nvader-nyt: {tmp_path / 'vader-nyt'}\n"
    assert asked == [("minilm-l6", True), ("vader-nyt", True)]
