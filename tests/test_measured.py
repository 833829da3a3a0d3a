"""Figures in the documents are those that were measured."""

import importlib
import json
import shutil
from collections import defaultdict

import numpy as np


def test_documents_show_the_kept_results():
    pages = importlib.import_module("benchmarks.page").pages()
    assert {path.name for path in pages} >= {
        "benchmarks.md",
        "gallery.md",
        "growth.svg",
        "README.md",
        "README.zh-CN.md",
    }
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python -m benchmarks page`"


def test_the_gallery_is_put_together_from_what_was_kept(tmp_path, monkeypatch):
    """Its page comes after hours of fits: that it can be written is known before."""
    gallery, page = (importlib.import_module(f"benchmarks.{name}") for name in ("gallery", "page_gallery"))
    monkeypatch.setattr(gallery, "PLACE", tmp_path)
    transfer, generator = next(iter(gallery.TRANSFERS)), np.random.default_rng(0)
    for draw in range(gallery.DRAWS):
        folder = tmp_path / f"{transfer}-minilm-l6-{draw}"
        folder.mkdir()
        truth = np.arange(40) % 2
        np.save(folder / "truth.npy", truth)
        for name, right in (("tfidf", 0.5), ("probe", 0.8), ("probe+source", 0.9)):
            answers = np.where(generator.random(40) < right, truth, 1 - truth)
            np.save(folder / f"{name}.npy", np.eye(2, dtype=np.float32)[answers] * 0.8 + 0.1)
            (folder / f"{name}.json").write_text(json.dumps({"seconds": 1.5, "commit": "abc"}))
        study = {"chosen": "probe@minilm-l6", "seconds": 60.0}
        (tmp_path / f"{transfer}-auto-{draw}.json").write_text(json.dumps(study))
        shutil.copy(folder / "probe.npy", tmp_path / f"{transfer}-auto-{draw}.npy")
    found = gallery._summary(transfer, gallery.ENCODER)
    assert [row["method"] for row in gallery.ranked(found["rows"])] == ["probe", "tfidf"]
    record = {"transfers": [found], "limit": 1024, "minutes": 2, "commits": ["abc"], "command": "c", "date": "d"}
    text = page.page(record | {"commit": "abc", "seconds": 1.0, "machine": defaultdict(str)})
    assert "| movies to Amazon | 32 × 2 |" in text
    assert "| probe | feature | yes | 0." in text
    assert "| tfidf | baseline | no | 0." in text
    assert "Fitted at abc; put together by" in text


def test_the_page_of_roles_on_one_trunk_says_what_training_and_memory_take():
    page = importlib.import_module("benchmarks.page_teams")
    answered = [
        {
            "roles": n,
            "apart": 2.0 * n,
            "together": 2.0 + n / 10,
            "memory": 1 + n / 100,
            "difference": 1e-6,
            "process": {"before_mib": 300.0, "most_mib": 400.0 + n},
        }
        for n in (1, 4, 16)
    ]
    record = {
        "kinds": {"heads": answered, "LoRA on the upper 2 of 6 layers": answered},
        "training": {"heads": {"load": 0.5, "apart": 8.0, "together": 2.5}},
        "texts": 600,
        "rows": 400,
        "trained_roles": 4,
    }
    text = "\n".join(page.team_cost(record))
    assert "| heads | 4 | 8.00 | 2.40 | 3.33 | 1.04 | 104 | 1.03 | 1e-06 |" in text
    assert "| heads | 8.0 | 2.5 | 3.20 |" in text
    drawn = page.roles_plot(record)
    assert drawn.count("<circle") == 9
    assert all(f">{name}</text>" in drawn for name in ("heads", "LoRA", "N models", "roles", "seconds"))
