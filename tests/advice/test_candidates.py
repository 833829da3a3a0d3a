"""Which candidates a study has, what they are called, and what each is measured against."""

from __future__ import annotations

import pytest

from transfuse.advice.candidates import LONGEST_ID, Candidate, automatic_of, counterparts, expand, short
from transfuse.methods.catalogue import of_kind

SIZES = {"enc": 20, "dec": 100, "x/bert": 1, "y/bert": 1}


def made(methods=None, backbones=("enc", "dec"), sources=()):
    return expand(methods, backbones, sources, lambda reference: reference == "dec", SIZES.__getitem__)


def ids(candidates):
    return [candidate.id for candidate in candidates]


def test_auto_without_a_backbone_is_the_baselines():
    assert ids(made(backbones=())) == ["majority", "tfidf"]


def test_auto_prompts_decoders_only_and_tries_the_cheap_first():
    found = ids(made())
    assert {"probe@enc", "probe@dec", "finetune@enc", "lora@dec", "prompt@dec~shots=8", "prompt@dec~shots=0"} < set(
        found
    )
    assert not any(name.startswith("prompt@enc") for name in found)
    assert found.index("probe@dec") < found.index("finetune@enc") < found.index("lora@enc")


@pytest.mark.parametrize("kind", ["classify", "generate", "translate", "answer", "code"])
def test_auto_knows_every_method_in_the_end(kind):
    assert {name for name, _, _ in automatic_of(kind, more=True)} == set(of_kind(kind))


def test_more_follows_what_is_tried_first_and_needs_what_it_learns_from():
    def tried(sources, related=(), more=True):
        return expand(None, ["enc"], sources, lambda _: False, SIZES.__getitem__, related=related, more=more)

    first, all_of_it = ids(tried(["a"], more=False)), ids(tried(["a"]))
    assert all_of_it[: len(first)] == first
    assert {"coral@enc+a", "mmd@enc+a", "anil@enc+a", "matching@enc+a", "knn@enc", "knn@enc+a"} <= set(all_of_it)
    assert len(all_of_it) == len(set(all_of_it))
    assert not {"coral@enc", "anil@enc", "curriculum@enc"} & set(ids(tried([])))
    others = ids(tried(["a", "b"], related=["b"]))
    assert {"anil@enc+b", "matching@enc+b", "coral@enc+a"} <= set(others)
    assert not {"coral@enc+b", "matching@enc+b~2"} & set(others)


def test_each_source_alone_all_together_and_none():
    found = ids(made([("probe", {})], ["enc"], ["a", "b"]))
    assert found == ["tfidf", "probe@enc", "probe@enc+a", "probe@enc+b", "probe@enc+a+b"]
    assert ids(made([("probe", {})], ["enc"], ["a"])) == ["tfidf", "probe@enc", "probe@enc+a"]


def test_methods_that_use_no_source_stand_once():
    assert ids(made([("prompt", {}), ("majority", {})], sources=["a"])) == ["tfidf", "prompt@dec", "majority"]


def test_the_baseline_is_always_there_as_it_is_meant():
    assert ids(made([("probe", {})], ["enc"])) == ["tfidf", "probe@enc"]
    assert ids(made([("probe", {}), ("tfidf", {})], ["enc"])) == ["probe@enc", "tfidf"]
    found = made([("tfidf", {"c": 1.0}), ("probe", {})], ["enc"])
    plain = next(c for c in found if c.method == "tfidf" and not c.settings)
    assert ("no transfer", plain.id) in counterparts(found[-1], found)


def test_of_the_backbones_that_train_the_larger_comes_first():
    assert ids(made([("probe", {}), ("finetune", {})]))[1:] == [
        "probe@enc",
        "probe@dec",
        "finetune@dec",
        "finetune@enc",
    ]


def test_ids_differ_and_are_file_names():
    methods = [
        ("probe", {}),
        ("probe", {"layers": 1}),
        ("probe", {"layers": 1}),
        ("probe", {"template": "a/b: {text}"}),
    ]
    found = ids(made(methods, ["enc"]))
    assert len(set(found)) == 5
    assert found[1:4] == ["probe@enc", "probe@enc~layers=1", "probe@enc~layers=1~2"]
    assert all("/" not in name and ":" not in name for name in found)


def test_long_settings_and_names_make_no_file_name_that_is_too_long():
    long = [("prompt", {"template": "很长的模板" * 60 + str(n) + "{text}"}) for n in range(2)]
    found = ids(made(long, ["dec"]))
    assert len(set(found)) == 3
    assert all(len(name.encode()) <= LONGEST_ID + 4 for name in found)
    assert len(ids(made([("probe", {})], ["enc"], ["s" * 300]))[-1].encode()) <= LONGEST_ID


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("catalog:minilm-l6", "minilm-l6"),
        ("hub:google-bert/bert-base-uncased@86b5e0", "bert-base-uncased"),
        ("models/mine/", "mine"),
        ("../a b", "a-b"),
    ],
)
def test_short_names(reference, name):
    assert short(reference) == name


def test_backbones_that_read_alike_keep_their_whole_reference():
    assert ids(made([("probe", {})], ["x/bert", "y/bert"])) == ["tfidf", "probe@x-bert", "probe@y-bert"]


def test_what_a_decoder_says_unasked_is_a_counterpart_of_all_that_it_does():
    found = made([("prompt", {"shots": 8}), ("prompt", {"shots": 0}), ("probe", {}), ("finetune", {})], ["dec"], ["a"])
    zero = "prompt@dec~shots=0"
    kinds = {c.id: dict(counterparts(c, found)) for c in found}
    assert {c for c, known in kinds.items() if known.get("zero-shot") == zero} == {
        *("prompt@dec~shots=8", "probe@dec", "probe@dec+a", "finetune@dec", "finetune@dec+a"),
    }
    assert "zero-shot" not in kinds[zero]


def test_what_is_no_probe_is_a_simpler_method():
    found = made([("matching", {}), ("centroid", {}), ("prompt", {"shots": 0})], ["enc", "dec"], ["a"])
    by_id = {c.id: c for c in found}
    assert dict(counterparts(by_id["matching@enc+a"], found))["simpler method"] == "centroid@enc+a"
    assert "frozen probe" not in dict(counterparts(by_id["matching@enc+a"], found))


def test_counterparts_by_kind():
    found = made([("probe", {}), ("finetune", {}), ("finetune", {"epochs": 1}), ("majority", {})], ["enc"], ["a", "b"])
    by_id = {candidate.id: candidate for candidate in found}

    def against(identifier):
        return dict(counterparts(by_id[identifier], found))

    assert against("tfidf") == against("majority") == {}
    assert against("probe@enc") == {"no transfer": "tfidf"}
    assert against("probe@enc+a") == {"no transfer": "tfidf", "without source": "probe@enc"}
    assert against("finetune@enc") == {"no transfer": "tfidf", "frozen probe": "probe@enc"}
    assert against("finetune@enc+a+b") == {
        "no transfer": "tfidf",
        "without source": "finetune@enc",
        "frozen probe": "probe@enc+a+b",
    }
    assert against("finetune@enc+a~epochs=1")["without source"] == "finetune@enc~epochs=1", "the same settings"


def test_what_is_another_method_without_a_source_stands_with_its_sources_alone():
    found = made([("finetune", {}), ("soup", {}), ("ties", {"keep": 0.5})], ("enc",), ("movies",))
    assert "soup@enc" not in ids(found)
    assert "ties@enc" in ids(found)  # its settings are its own
    (soup,) = (c for c in found if c.id == "soup@enc+movies")
    assert dict(counterparts(soup, found))["without source"] == "finetune@enc"
    alone = made([("soup", {})], ("enc",), ("movies",))
    (soup,) = (c for c in alone if c.id == "soup@enc+movies")
    assert dict(counterparts(soup, alone))["without source"] == "soup@enc"


def test_what_is_trained_stands_beside_the_frozen_probe_though_nobody_named_it():
    """With the same sources; a probe of any settings that is named is one, and what trains nothing needs none."""
    found = made([("finetune", {"epochs": 1})], ["enc"], ["a"])
    assert ids(found) == ["tfidf", "probe@enc", "probe@enc+a", "finetune@enc+a", "finetune@enc"]
    assert [c.added for c in found] == [True, True, True, False, False]
    assert dict(counterparts(found[3], found))["frozen probe"] == "probe@enc+a"
    assert Candidate.from_dict(found[1].to_dict()) == found[1]
    named = made([("tfidf", {}), ("probe", {"layers": 1}), ("lora", {})], ["enc"])
    assert not any(c.added for c in named)
    assert ids(made([("centroid", {})], ["enc"])) == ["tfidf", "centroid@enc"]
    written = expand([("lora", {})], ["dec"], [], lambda b: True, SIZES.__getitem__, kind="generate")
    assert "probe@dec" not in ids(written)
