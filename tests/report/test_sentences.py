"""The findings in words: they must say the right thing, in both languages, and not more than is known."""

import json

import pytest

from transfuse.report import explain


def text(report, lang="en"):
    return " ".join(explain(report, lang))


def test_says_what_was_chosen_how_good_it_is_and_what_the_source_was_worth(full):
    said = text(full)
    assert said.startswith("Chosen: finetune.smollm2-135m-instruct+movies, which trains part of the pretrained model")
    assert "accuracy 0.883 (0.867 to 0.899) on 1,500 test examples that nothing was tuned on" in said
    assert "Without transfer (TF-IDF on the target's labels alone) the figure is 0.631 (0.607 to 0.655)" in said
    assert "a difference of +0.252 (+0.226 to +0.278): it helps." in said
    assert "The source “movies” was worth +0.042 (+0.008 to +0.076) to it on validation: it helps." in said
    assert "The source “movies” helps 1 of 5 candidates, hurts 0, no evidence in 4; the chosen one uses it." in said
    assert "frozen probe of the same backbone it was worth +0.035 (−0.010 to +0.080)" in said
    assert "no evidence either way. With 64 examples a difference under 0.045 cannot be seen." in said


def test_says_why_and_what_was_barred_and_what_did_not_run(full):
    said = text(full)
    assert "mean accuracy on validation, 0.881, is the best of the 10 candidates that may be chosen" in said
    assert "Next best: probe.smollm2-135m-instruct+movies with 0.846 (0.766 to 0.926)." in said
    assert (
        "Barred from the choice: lora.minilm-l6. It hurts: −0.066 (−0.121 to −0.011) against tfidf on validation."
        in said
    )
    assert "Not run (1): lora.smollm2-135m-instruct+movies: Would take 6 min 10 s;" in said
    assert "Failed (1): lora.smollm2-135m-instruct: Loss became infinite" in said
    assert "4-fold cross-validation inside the 64 labelled target examples, 3 times over" in said


def test_what_there_was_no_time_for_is_one_sentence(full):
    late = [c for c in full["candidates"] if c["status"] == "skipped"]
    late[0].update(estimate=371.0, room=34.0)
    full["candidates"] += [{**late[0], "id": f"lora.{i}", "together": 742.0} for i in range(6)]
    said = text(full)
    assert "Not run, since 34 s of the budget were left to plan with (7): lora." in said
    assert "lora.0 (about 12 min 22 s); " in said
    assert "; … and 2 more." in said
    assert said.count("were left to plan with") == 1


def test_says_the_same_in_chinese(full):
    said = text(full, "zh")
    assert said.startswith("选定：finetune.smollm2-135m-instruct+movies")
    assert "准确率为 0.883（0.867 至 0.899）" in said
    assert "源数据“movies”对它的价值（验证集）为 +0.042（+0.008 至 +0.076）：有帮助" in said
    assert "被排除：lora.minilm-l6。有害：与 tfidf 相比为 −0.066" in said
    assert len(explain(full, "zh")) == len(explain(full, "en"))


def test_without_test_data_it_warns_that_the_figure_made_the_choice(full):
    full |= {"test": None, "no_transfer": None, "test_comparison": None, "test_rows": None}
    said = text(full)
    assert "On validation it reaches accuracy 0.881 (0.811 to 0.951). No test data were held out" in said
    assert "nothing was tuned on" not in said


def test_says_which_classes_gained_and_lost(full):
    assert "By class it is better on “positive” (+0.300). " in text(full)
    assert "worse on" not in text(full)
    assert "按类别看，它在“positive” (+0.300)上更好。" in text(full, "zh")
    full["by_label"][1] |= {"verdict": "hurts", "difference": -0.1}
    assert "By class it is worse on “negative” (−0.100)." in text(full)
    for entry in full["by_label"]:
        entry["verdict"] = "no evidence"
    assert "On no class by itself can a difference be shown." in text(full)


@pytest.mark.parametrize(
    ("verdict", "words"), [("hurts", "it hurts"), ("no evidence", "no evidence either way"), ("helps", "it helps")]
)
def test_verdict_of_the_test_comparison(full, verdict, words):
    full["test_comparison"]["verdict"] = verdict
    assert f"(+0.226 to +0.278): {words}." in text(full)


def test_a_choice_without_source_says_so_and_still_counts(full):
    full["chosen"] = "finetune.smollm2-135m-instruct"
    said = text(full)
    assert "The chosen candidate uses no source." in said
    assert "The source “movies” helps 1 of 5 candidates, hurts 0, no evidence in 4; the chosen one does not" in said
    assert "was worth +0.042" not in said
    assert "Chosen among the candidates that may be chosen" in said, "it is not the best, so that must not be claimed"


def test_no_transfer_chosen(full):
    full["chosen"] = "tfidf"
    said = text(full)
    assert "That is no transfer itself" in said
    assert "Without transfer (TF-IDF" not in said


def test_equal_means_go_to_the_cheaper(full):
    twin = json.loads(json.dumps(full["candidates"][10])) | {"id": "twin"}
    full["candidates"].append(twin)
    assert "2 candidates share the best mean accuracy on validation, 0.881, and it is the cheapest" in text(full)


def test_less_is_better(full):
    full["metric"] = "log_loss"
    for k, candidate in enumerate(full["candidates"]):
        if candidate["status"] == "done":
            candidate["validation"]["log_loss"] = {"value": 0.9 - 0.01 * k, "low": 0.1, "high": 1}
    best = max(k for k, candidate in enumerate(full["candidates"]) if candidate["status"] == "done")
    full["barred"] = []
    full["chosen"] = full["candidates"][best]["id"]
    assert f"validation, {0.9 - 0.01 * best:.3f}, is the best of the 12" in text(full)


def test_strict_gate_and_many_barred(crowded):
    crowded["gate"] = "strict"
    said = text(crowded)
    assert "The recipe's gate is strict" in said
    assert said.count("Barred from the choice:") == 5
    assert "… and 3 more." in said


def test_two_sources_name_the_one_that_the_counterpart_lacks(full):
    chosen = full["candidates"][10]
    chosen["sources"] = ["movies", "tweets"]
    full["candidates"][9]["sources"] = ["movies"]
    said = text(full)
    assert "The source “tweets” was worth" in said
    assert "The source “movies” was worth" not in said


def test_each_source_has_a_sentence_of_its_own(full):
    """One harms, one helps, and both together do neither."""
    entry = json.loads(json.dumps(full["candidates"][10]["transfer"][1]))
    for name, verdict in (("flip", "hurts"), ("flip", "no evidence"), ("both", "no evidence")):
        candidate = json.loads(json.dumps(full["candidates"][10]))
        sources = ["flip"] if name == "flip" else ["flip", "movies"]
        candidate |= {"id": f"{name}-{verdict}", "sources": sources, "transfer": [entry | {"verdict": verdict}]}
        full["candidates"].append(candidate)
    said = text(full)
    assert "The source “flip” helps 0 of 2 candidates, hurts 1, no evidence in 1; the chosen one does not" in said
    assert "The source “movies” helps 1 of 5 candidates, hurts 0, no evidence in 4; the chosen one uses it." in said
    assert "The source “flip and movies” helps 0 of 1" in said
    assert "源数据“flip”在 2 个候选中：对 0 个有帮助，对 1 个有害，1 个证据不足；选定的候选不使用它" in text(full, "zh")


def test_a_source_that_is_shown_to_hurt_bars_in_words(full):
    harm = {"sources": ["flip"], "hurts": 5, "count": 6}
    full["barred"].append({"id": "finetune.minilm-l6+movies", "reason": "hurts: source flip", "harm": harm})
    said = text(full)
    assert "Its source “flip” is shown to hurt: 5 of 6 candidates, and it helps none." in said
    assert "使用它的 6 个候选中 5 个有害" in text(full, "zh")


def test_beside_a_model_that_is_no_transfer_a_candidate_is_worse_and_does_not_hurt(full):
    chosen, barred = full["candidates"][10], full["candidates"][11]
    chosen["transfer"][2]["verdict"] = "hurts"
    barred["transfer"][0] |= {"kind": "frozen probe", "against": "probe.minilm-l6"}
    said = text(full)
    assert (
        "frozen probe of the same backbone it was worth +0.035 (−0.010 to +0.080) on validation: it is worse." in said
    )
    assert "Barred from the choice: lora.minilm-l6. It is worse than probe.minilm-l6: −0.066" in said
    assert "被排除：lora.minilm-l6。比 probe.minilm-l6 差：−0.066" in text(full, "zh")


@pytest.mark.parametrize(
    ("why", "words"), [("time", "No time was left for its placebo"), ("failed", "(labels shuffled) failed")]
)
def test_a_placebo_that_is_missing_is_told(full, why, words):
    assert "placebo" not in text(full)
    full["candidates"][10]["no_placebo"] = why
    assert words in text(full)
    assert "安慰剂" in text(full, "zh")


def test_what_yields_and_what_was_added_is_told_and_not_counted(full):
    full["candidates"][8]["yields_to"] = "probe.smollm2-135m-instruct"
    full["candidates"][3]["added"] = True
    said = text(full)
    assert "is the best of the 9 candidates that may be chosen" in said
    assert "yielding to the same without, since their gain may be luck: probe.smollm2-135m-instruct+movies." in said
    assert "Run although the recipe does not name it, as what others must beat: probe.minilm-l6." in said


def test_what_another_stands_for_is_told(full):
    full["candidates"][7]["yields_to"] = full["candidates"][8]["id"]
    name, other = full["candidates"][8]["id"], full["candidates"][7]["id"]
    assert full["candidates"][8]["sources"]
    assert f"By the log loss, which tells more on few rows, {name} stands for: {other}." in text(full)
    assert f"{name} 代表：{other}。" in text(full, "zh")


def test_what_cannot_name_labels_is_told_in_one_sentence(full):
    full["barred"] = [{"id": c["id"], "reason": "", "cannot_name": ["x"]} for c in full["candidates"][:2]]
    names = [c["id"] for c in full["candidates"][:2]]
    assert f"Cannot name the labels that have no example, and so cannot be chosen: {' and '.join(names)}." in text(full)
    assert "不能说出没有例子的标签" in text(full, "zh")


def test_nothing_to_say(minimal):
    assert explain(minimal, "en") == ["Nothing was chosen: no candidate may be chosen from this study."]
    assert explain({}, "zh") == ["没有选出任何方案：本次研究中没有可选的候选。"]
    assert explain({"chosen": "x", "candidates": [{"id": "x"}]}, "en")[0] == "Chosen: x."
