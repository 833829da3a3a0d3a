"""Figures in the documents are those that were measured."""

import importlib


def test_documents_show_the_kept_results():
    pages = importlib.import_module("benchmarks.page").pages()
    assert len(pages) == 4
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python -m benchmarks page`"
