"""Teachers of tasks that write: a prompted decoder writes answers and reasons, its student learns both."""

import pytest
import toy
from study.place import write_csv

import transfuse
from transfuse.study.recipe import Recipe


@pytest.mark.parametrize("teacher", ["dec", "stranger"])
def test_a_decoder_teaches_what_it_writes_and_why(place, tmp_path, teacher):
    """Token by token, too, also one whose tokens are others."""
    pairs = [(f"{word} {i}", f"{word.upper()} {i}") for i, word in enumerate(("red", "blue", "rose", "navy") * 10)]
    write_csv(tmp_path / "pairs.csv", ("text", "answer"), pairs)
    (tmp_path / "dec").symlink_to(place / "dec")
    (tmp_path / "stranger").symlink_to(toy.backbone("stranger").reference)
    text = f"""
task: {{kind: generate, input: text, output: answer, max_new_tokens: 6}}
target: {{data: pairs.csv, test: {{rows: 10, seed: 0}}, shots: 12}}
sources: [{{name: big, teacher: {teacher}, rationales: true}}]
backbones: [dec]
methods: [lookup, {{distill: {{epochs: 1}}}}]
validation: {{folds: 2, repeats: 1}}
"""
    study = transfuse.run(Recipe.from_text(text, base=tmp_path), out=tmp_path / "out")
    found = {c["id"]: c for c in study.report["candidates"]}
    assert found["distill@dec+big"]["status"] == "done", found["distill@dec+big"]["reason"]
    assert found["teacher+big"]["status"] == "done"
    assert {t["kind"] for t in found["distill@dec+big"]["transfer"]} >= {"teacher", "no transfer"}
    kept = list((tmp_path / "out" / "teachers").rglob("*.npy"))
    assert any(path.parent.name != "teachers" for path in kept), "what it foretells is kept, too"
