"""Figures in the documents are those that were measured."""

import importlib
import json
import shutil
from collections import defaultdict

import numpy as np


def test_documents_show_the_kept_results():
    pages = importlib.import_module("benchmarks.page").pages()
    assert len(pages) == 5
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
