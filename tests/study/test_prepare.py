"""From a recipe to data: what is held out stays out, whatever else is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from study.place import rows, write_csv

from transfuse.errors import DataError, RecipeError, StudyError
from transfuse.study.prepare import SealedTest, prepare
from transfuse.study.recipe import Recipe


@pytest.fixture
def prepared(tmp_path):
    """``prepared(text)`` prepares a recipe in a folder of its own, in which the test has written files."""

    def make(target: str, more: str = "", task: str = "input: text, label: label"):
        text = f"task: {{kind: classify, {task}}}\ntarget: {target}\nmethods: [tfidf]\n{more}"
        return prepare(Recipe.from_text(text, base=tmp_path))

    return make


def write(folder, name, lines, header=("text", "label")):
    return write_csv(folder / name, header, lines)


def folded(examples):
    return {" ".join(text.lower().split()) for text in examples.texts}


def test_the_test_is_held_out_first_and_stands_nowhere_else(prepared, tmp_path):
    lines = rows(100, 0)
    write(tmp_path, "d.csv", lines)
    write(tmp_path, "extra.csv", [(text.upper(),) for text, _ in lines], ("text",))
    write(tmp_path, "s.csv", [*((f"  {text} ", label) for text, label in lines[:50]), *rows(900, 1, "s")])
    data = prepared(
        "{data: d.csv, test: {rows: 30}, unlabelled: extra.csv, shots: 10}",
        "sources: [{name: s, data: s.csv}]\nallow_overlap: true",
    )
    sealed = folded(data.test.open())
    assert len(sealed) == 30
    assert len(data.unlabelled) == 70
    judging = sealed | folded(data.train)
    assert len(data.sources["s"]) == 950 - len(judging & {text for text, _ in lines[:50]})
    for part in (data.train, data.unlabelled, data.sources["s"]):
        assert not folded(part) & sealed
    copies = {finding.part: finding for finding in data.findings if finding.kind == "dropped-copies"}
    assert {"s", "unlabelled"} <= set(copies)
    assert "also stand in the test data; left out" in copies["s"].message


def test_the_test_does_not_depend_on_what_is_drawn_later(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(100, 0))
    write(tmp_path, "s.csv", rows(50, 1, "s"))
    tests = [
        prepared("{data: d.csv, test: {rows: 30}" + rest, more).test.open().texts
        for rest, more in (
            ("}", ""),
            (", shots: 5}", "seed: 7"),
            (", validation: {rows: 20}}", ""),
            ("}", "sources: [{name: s, data: s.csv}]"),
        )
    ]
    assert len(set(tests)) == 1
    assert prepared("{data: d.csv, test: {rows: 30, seed: 1}}").test.open().texts != tests[0]


def test_the_seal_breaks_once():
    data = SealedTest("rows")
    assert data.open() == "rows"
    with pytest.raises(StudyError, match="read once"):
        data.open()


def test_the_same_seed_draws_the_same_shots(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(100, 0))
    target = "{data: d.csv, test: {rows: 30}, shots: 8}"
    first, again, other = (prepared(target, more) for more in ("", "", "seed: 1"))
    assert first.train.texts == again.train.texts != other.train.texts
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert sorted(first.train.labels) == ["cold"] * 8 + ["warm"] * 8
    own = prepared("{data: d.csv, test: {rows: 30}, shots: 8, seed: 1}")
    assert own.train.texts == other.train.texts, "target.seed draws the shots where it is given"


def test_what_the_shots_leave_is_unlabelled_text(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(100, 0))
    data = prepared("{data: d.csv, test: {rows: 30}, shots: 8}")
    assert len(data.train) == 16
    assert len(data.unlabelled) == 54
    assert data.unlabelled.labels is None
    assert not set(data.train.texts) & set(data.unlabelled.texts)
    assert prepared("{data: d.csv, test: {rows: 30}}").unlabelled is None


def test_cross_validation_predicts_every_row_once_a_repeat(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(80, 0))
    data = prepared("{data: d.csv, test: {rows: 20}}", "validation: {folds: 4, repeats: 3}")
    assert (data.splits.kind, data.splits.folds, data.splits.repeats, len(data.splits.fits)) == (
        "cross-validation",
        4,
        3,
        12,
    )
    for repeat in range(3):
        left_out = np.concatenate([out for r, _, out in data.splits.fits if r == repeat])
        assert sorted(left_out) == list(range(60))
    for _, trained, left_out in data.splits.fits:
        assert not set(trained) & set(left_out)
        assert len(trained) + len(left_out) == 60


@pytest.mark.parametrize(("count", "repeats"), [(90, 2), (260, 1)])
def test_few_labels_are_cross_validated_repeatedly(prepared, tmp_path, count, repeats):
    write(tmp_path, "d.csv", rows(count, 0))
    assert prepared("{data: d.csv, test: {rows: 20}}").splits.repeats == repeats
    assert prepared("{data: d.csv, test: {rows: 20}}", "validation: {folds: 4}").splits.repeats == repeats


def test_validation_held_out_of_the_training_rows(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(100, 0))
    data = prepared("{data: d.csv, test: {rows: 30}, validation: {rows: 20}, shots: 6}")
    ((repeat, trained, validated),) = data.splits.fits
    assert (data.splits.kind, repeat, len(trained), len(validated)) == ("split", 0, 12, 20)
    assert not set(trained) & set(validated)
    sealed = set(data.test.open().texts)
    assert not {data.train.texts[i] for i in (*trained, *validated)} & sealed


def test_validation_of_its_own_file_keeps_copies_out_on_both_sides(prepared, tmp_path):
    lines, test = rows(60, 0), rows(20, 1, "t")
    write(tmp_path, "train.csv", lines)
    write(tmp_path, "test.csv", test)
    write(tmp_path, "v.csv", [lines[0], test[0], *rows(30, 2, "v")])
    data = prepared("{train: train.csv, validation: v.csv, test: test.csv}")
    ((_, trained, validated),) = data.splits.fits
    train_texts = {data.train.texts[i] for i in trained}
    texts = {data.train.texts[i] for i in validated}
    assert (len(trained), len(validated)) == (59, 31)
    assert lines[0][0] in texts
    assert lines[0][0] not in train_texts
    assert test[0][0] not in texts


def test_many_rows_are_split_once(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("transfuse.study.splitting.MOST_CROSS_VALIDATED", 50)
    write(tmp_path, "d.csv", rows(100, 0))
    data = prepared("{data: d.csv, test: {rows: 20}}")
    ((_, trained, validated),) = data.splits.fits
    assert (data.splits.kind, len(trained), len(validated)) == ("split", 64, 16)


def test_weights_reach_the_training_rows_whichever_way_is_validated(prepared, tmp_path):
    lines = [(text, label, i % 3 + 1) for i, (text, label) in enumerate(rows(80, 0))]
    weight = {text: float(value) for text, _, value in lines}
    write(tmp_path, "d.csv", lines, ("text", "label", "trust"))
    task = "input: text, label: label, weight: trust"
    for target in ("{data: d.csv, test: {rows: 20}}", "{data: d.csv, test: {rows: 20}, validation: {rows: 20}}"):
        train = prepared(target, task=task).train
        assert list(train.weights) == [weight[text] for text in train.texts]


def test_groups_stay_on_one_side(prepared, tmp_path):
    lines = [(text, label, f"g{i // 4}") for i, (text, label) in enumerate(rows(120, 0))]
    group = {text: name for text, _, name in lines}
    write(tmp_path, "d.csv", lines, ("text", "label", "author"))
    data = prepared("{data: d.csv, test: {rows: 30}, group: author}")
    held = {group[text] for text in data.test.open().texts}
    assert not held & {group[text] for text in data.train.texts}
    for _, trained, left_out in data.splits.fits:
        assert not {data.train.groups[i] for i in trained} & {data.train.groups[i] for i in left_out}


def test_few_groups_make_few_folds(prepared, tmp_path):
    lines = [(text, label, f"g{i // 25}") for i, (text, label) in enumerate(rows(100, 0))]
    write(tmp_path, "d.csv", lines, ("text", "label", "author"))
    assert prepared("{data: d.csv, test: {rows: 25}, group: author}").splits.folds == 3


def test_few_rows_a_class_make_few_folds(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(40, 0))
    assert prepared("{data: d.csv, test: {rows: 20}, shots: 3}").splits.folds == 3


def test_foreign_labels_of_a_source_are_left_out_and_told(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(60, 0))
    write(tmp_path, "s.csv", [*rows(40, 1, "s"), ("lukewarm words", "tepid")])
    data = prepared("{data: d.csv, test: {rows: 20}}", "sources: [{name: s, data: s.csv}]")
    assert len(data.sources["s"]) == 40
    assert set(data.sources["s"].labels) == {"warm", "cold"}
    (finding,) = [f for f in data.findings if f.part == "s" and f.kind == "foreign-labels"]
    assert "1 text of s.csv has labels" in finding.message
    assert "tepid" in finding.message


def test_a_source_that_shares_no_label_is_refused_by_its_line(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(60, 0))
    write(tmp_path, "s.csv", [("one", "up"), ("two", "down")])
    with pytest.raises(RecipeError, match=r"line 5.*source 's' shares no label with the target: it has down, up") as e:
        prepared("{data: d.csv, test: {rows: 20}}", "sources:\n- {name: s, data: s.csv}")
    assert "task: {label: ..., bins: ...}" in str(e.value)


def test_a_source_with_columns_and_bins_of_its_own(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(60, 0))
    lines = [(5 if label == "warm" else 1, text) for text, label in rows(40, 1, "s")] + [(3, "in no bin")]
    write(tmp_path, "s.csv", lines, ("stars", "review"))
    source = '{name: s, data: s.csv, task: {input: review, label: stars, bins: {warm: "> 3", cold: "< 3"}}}'
    data = prepared("{data: d.csv, test: {rows: 20}}", f"sources: [{source}]")
    words = dict(zip(data.sources["s"].texts, data.sources["s"].labels, strict=True))
    assert words == dict(rows(40, 1, "s"))


def test_a_source_is_shuffled_by_the_seed(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(60, 0))
    lines = sorted(rows(60, 1, "s"), key=lambda line: line[1])
    write(tmp_path, "s.csv", lines)
    target, source = "{data: d.csv, test: {rows: 20}}", "sources: [{name: s, data: s.csv}]\n"
    first, again, other = (prepared(target, source + more).sources["s"].texts for more in ("", "", "seed: 1"))
    assert first == again != other
    assert sorted(first) == sorted(text for text, _ in lines)
    assert len(set(prepared(target, source).sources["s"].labels[:20])) == 2, "the first rows are a draw from all"


@pytest.mark.parametrize("where", ["train", "source"])
def test_a_test_that_is_known_already_is_an_error_unless_allowed(prepared, tmp_path, where):
    train, test, source = rows(60, 0), rows(40, 1, "t"), rows(50, 2, "s")
    known = train if where == "train" else source
    known += test[:3]
    write(tmp_path, "train.csv", train)
    write(tmp_path, "test.csv", test)
    write(tmp_path, "s.csv", source)
    target, more = "{train: train.csv, test: test.csv}", "sources: [{name: s, data: s.csv}]\n"
    with pytest.raises(DataError, match=r"test.csv: 7.5% of the test texts .rows 1, 2, 3. also stand in") as error:
        prepared(target, more)
    assert "allow_overlap: true" in str(error.value)
    data = prepared(target, more + "allow_overlap: true")
    assert len(data.train) == 60
    assert len(data.sources["s"]) == 50
    known.remove(test[0])
    write(tmp_path, "train.csv", train)
    write(tmp_path, "s.csv", source)
    assert [f.kind for f in prepared(target, more).findings if "copies" in f.kind] == ["dropped-copies"], "5 %"


def test_one_class_is_no_task(prepared, tmp_path):
    write(tmp_path, "d.csv", [(text, "warm") for text, _ in rows(60, 0)])
    with pytest.raises(DataError, match="every row has the label 'warm'"):
        prepared("{data: d.csv, test: {rows: 20}}")


def test_parts_are_described_for_the_report(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(60, 0))
    write(tmp_path, "s.csv", rows(40, 1, "s"))
    data = prepared("{data: d.csv, test: {rows: 20}, shots: 5}", "sources: [{name: s, data: s.csv}]")
    assert [(part["name"], part["origin"], part["rows"]) for part in data.parts] == [
        ("target train", "d.csv", 10),
        ("test", "d.csv", 20),
        ("unlabelled", "d.csv", 30),
        ("s", "s.csv", 40),
    ]
    assert data.parts[0]["per_label"] == {"cold": 5, "warm": 5}


def test_a_source_with_labels_of_its_own_is_kept_for_methods_that_learn_from_it(tmp_path):
    write(tmp_path, "d.csv", rows(80, 0))
    write(tmp_path, "s.csv", [(text, {"warm": "hot", "cold": "chilly"}[label]) for text, label in rows(40, 1, "s")])
    text = (
        "task: {kind: classify, input: text, label: label}\ntarget: {data: d.csv, test: {rows: 30}}\n"
        "backbones: [x]\nsources: [{name: s, data: s.csv}]\nmethods: "
    )
    data = prepare(Recipe.from_text(text + "[probe, matching]", base=tmp_path))
    assert data.related == {"s"}
    assert set(data.sources["s"].labels) == {"hot", "chilly"}
    assert prepare(Recipe.from_text(text + "auto", base=tmp_path)).related == {"s"}
    with pytest.raises(RecipeError, match="shares no label with the target") as caught:
        prepare(Recipe.from_text(text + "[probe]", base=tmp_path))
    assert "or a method that learns from other labels: matching" in str(caught.value)


def test_labels_without_an_example_belong_to_the_task_and_others_are_refused(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(60, 0))
    known = sorted({label for _, label in rows(60, 0)})
    task = "input: text, label: label, labels: [{}]"
    data = prepared("{data: d.csv, test: {rows: 20}}", task=task.format(", ".join([*known, "never seen"])))
    assert data.task.labels == tuple(sorted([*known, "never seen"]))
    with pytest.raises(DataError, match=rf"d.csv, column 'label', row \d+: the label '{known[1]}' is not in task"):
        prepared("{data: d.csv, test: {rows: 20}}", task=task.format(f"{known[0]}, never seen"))


def judged(data):
    """Of each fit, the folded texts that it trains on and those that it validates on."""
    texts = [" ".join(text.lower().split()) for text in data.train.texts]
    return [({texts[i] for i in t}, {texts[i] for i in v}) for _, t, v in data.splits.fits]


def counts(data):
    """Of each finding of copies that were left out, its part, its kind, and how many they were."""
    found = [f for f in data.findings if f.kind.startswith("dropped-") and f.kind.endswith("copies")]
    return {(f.part, f.kind): len(f.rows) for f in found}


@pytest.mark.parametrize("target", ["{data: d.csv, test: t.csv, validation: {rows: 40}}", "{data: d.csv, test: t.csv}"])
def test_copies_of_drawn_validation_rows_are_not_learnt(prepared, tmp_path, monkeypatch, target):
    monkeypatch.setattr("transfuse.study.splitting.MOST_CROSS_VALIDATED", 50)
    lines = rows(100, 0)
    write(tmp_path, "d.csv", [*lines, *((f" {text.upper()}", label) for text, label in lines)])
    write(tmp_path, "t.csv", rows(20, 1, "t"))
    data = prepared(target)
    ((learnt, validated),) = judged(data)
    assert len(validated) == 40
    assert not learnt & validated
    assert len(data.train) == 160
    assert counts(data) == {("train", "dropped-validation-copies"): 40}
    (finding,) = [f for f in data.findings if f.kind == "dropped-validation-copies"]
    assert finding.message.startswith("40 texts of d.csv also stand in the validation data; left out: rows ")
    assert "d.csv 中有 40 条文本也出现在验证数据中，已剔除" in finding.said("zh")


@pytest.mark.parametrize("validation", ["", ", validation: v.csv", ", validation: {rows: 20}"])
def test_what_judges_stands_in_no_source(prepared, tmp_path, validation):
    lines, test, own = rows(60, 0), rows(40, 1, "t"), rows(20, 3, "v")
    for name, part in (("d", lines), ("t", test), ("v", own)):
        write(tmp_path, f"{name}.csv", part)
    source = [*rows(50, 2, "s"), *((text.upper(), label) for text, label in (*test[:2], *lines[:30], *own[:5]))]
    write(tmp_path, "s.csv", source)
    data = prepared("{data: d.csv, test: t.csv" + validation + "}", "sources: [{name: s, data: s.csv}]")
    known = folded(data.sources["s"])
    assert not known & (folded(data.train) | folded(data.test.open()))
    held = {"": 0, ", validation: v.csv": 5}.get(validation)
    found = counts(data)
    assert found.pop(("s", "dropped-copies")) == 2
    if held is not None:
        assert found.pop(("s", "dropped-validation-copies"), 0) == held
    assert sum(found.values()) == 30, "each is left out once"
    assert len(known) == 55 - (held or 0)
    (told,) = [f for f in data.findings if f.kind == "dropped-labelled-copies"]
    assert "of s.csv also stand in the target's labelled data; left out: rows 53, " in told.message
    assert "条文本也出现在目标的有标签数据中，已剔除" in told.said("zh")


def test_a_source_that_is_the_target_again_is_refused(prepared, tmp_path):
    write(tmp_path, "d.csv", rows(60, 0))
    write(tmp_path, "t.csv", rows(20, 1, "t"))
    with pytest.raises(DataError, match=r"d.csv: every row of source 's' also stands in the target's data") as error:
        prepared("{data: d.csv, test: t.csv}", "sources: [{name: s, data: d.csv}]")
    assert "Choose other data, or leave the source out." in str(error.value)


def test_a_teacher_is_asked_about_no_text_that_judges(prepared, tmp_path):
    lines = rows(60, 0)
    write(tmp_path, "d.csv", lines)
    write(tmp_path, "t.csv", rows(20, 1, "t"))
    write(tmp_path, "more.csv", [*((text,) for text, _ in (*lines[:9], *rows(30, 2, "m")))], ("text",))
    target = "{data: d.csv, test: t.csv, unlabelled: more.csv}"
    assert len(prepared(target).unlabelled) == 39
    data = prepared(target, "sources: [{name: big, model: runs/big}]")
    assert len(data.unlabelled) == 30
    assert counts(data) == {("unlabelled", "dropped-labelled-copies"): 9}


@pytest.mark.parametrize("group", ["", ", group: author"])
def test_copies_of_a_text_are_never_on_both_sides_of_a_fold(prepared, tmp_path, group):
    lines = [(*row, f"author {i // 4}") for i, row in enumerate(rows(40, 0))]
    lines += [(text.upper(), label, f"another {i}") for i, (text, label, _) in enumerate(lines[::3])]
    write(tmp_path, "d.csv", lines, ("text", "label", "author"))
    write(tmp_path, "t.csv", rows(20, 1, "t"))
    data = prepared("{train: d.csv, test: t.csv" + group + "}")
    keys = [" ".join(text.lower().split()) for text in data.train.texts]
    for _, train, validation in data.splits.fits:
        assert not {keys[i] for i in train} & {keys[i] for i in validation}
        if group:
            authors = data.train.groups
            assert not {authors[i] for i in train} & {authors[i] for i in validation}


def test_a_label_of_copies_alone_is_dealt_as_it_is(prepared, tmp_path):
    write(tmp_path, "d.csv", [*rows(20, 0), ("the same", "rare"), ("The  same", "rare")])
    write(tmp_path, "t.csv", [*rows(20, 1, "t"), ("another", "rare")])
    data = prepared("{train: d.csv, test: t.csv}")
    assert len(data.train) == 22
    assert all("rare" in {data.train.labels[i] for i in train} for _, train, _ in data.splits.fits)
