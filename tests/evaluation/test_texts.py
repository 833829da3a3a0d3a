"""Metrics of written answers: equal to sacrebleu's and SQuAD's, on corpora and on resamples of them."""

import dataclasses
import itertools

import numpy as np
import pytest

from transfuse.errors import DataError
from transfuse.evaluation import TEXT_METRICS, as_answers, as_expected, compare, metric_intervals, metric_of, texts
from transfuse.evaluation.texts import normalised, overlap, pass_at_k, signature

REFERENCES = [
    "The cat sat on the mat.",
    "Click {0} to save 12 files in %(folder)s.",
    "Yes",
    "A rather longer sentence, with a clause or two, ends here.",
    "No.",
]
ANSWERS = [
    "A cat is on the mat.",
    "Press {0} to store 12 files.",
    "Yes",
    "A rather long sentence with one clause ends here, here, here.",
    "Maybe not at all",
]
EXPECTED = as_expected(["Save 12 of 13 files"] * 5, REFERENCES)


@pytest.mark.parametrize(("name", "kind"), [("chrf", "CHRF"), ("bleu", "BLEU"), ("ter", "TER")])
def test_corpus_figures_are_sacrebleus(name, kind):
    metrics = pytest.importorskip("sacrebleu.metrics")
    peer = metrics.CHRF(word_order=2) if kind == "CHRF" else getattr(metrics, kind)()
    for rows in ([0, 1, 2, 3, 4], [0], [1, 1, 3], [2], [4], [2, 4]):
        own = metric_of(name)[0](EXPECTED[rows], as_answers([ANSWERS[i] for i in rows]))
        theirs = peer.corpus_score([ANSWERS[i] for i in rows], [[REFERENCES[i] for i in rows]]).score
        assert own == pytest.approx(theirs, abs=1e-9), rows


def test_chinese_bleu_counts_characters():
    metrics = pytest.importorskip("sacrebleu.metrics")
    references, answers = ["请选择一个文件", "保存更改并退出"], ["请选择文件", "保存更改后退出"]
    own = metric_of("bleu_zh")[0](as_expected(["", ""], references), as_answers(answers))
    assert own == pytest.approx(metrics.BLEU(tokenize="zh").corpus_score(answers, [references]).score)


def test_several_references_count_by_the_nearest():
    metrics = pytest.importorskip("sacrebleu.metrics")
    expected = as_expected(["", ""], [("a cat sat", "the cat sat"), ("go on", "carry on now")])
    answers = ["the cat sat", "carry on"]
    streams = [["a cat sat", "go on"], ["the cat sat", "carry on now"]]
    own = metric_of("chrf")[0](expected, as_answers(answers))
    assert own == pytest.approx(metrics.CHRF(word_order=2).corpus_score(answers, streams).score)
    assert metric_of("exact_match")[0](expected, as_answers(answers)) == 0.5


def test_squad_normalises_and_counts_words():
    assert normalised("The  Eiffel Tower!") == "eiffel tower"
    assert overlap("the Eiffel tower in Paris", "Eiffel Tower") == pytest.approx(2 * 2 / (4 + 2))
    assert overlap("", "") == 1
    assert overlap("something", "") == 0


def test_chinese_answers_are_compared_by_characters():
    assert overlap("北京市。", "北京") == pytest.approx(2 * 2 / (3 + 2))


def test_placeholders_and_numbers_that_should_stay():
    assert metric_of("placeholders")[0](EXPECTED, as_answers(ANSWERS)) == 0.5  # {0} stayed, %(folder)s did not
    assert metric_of("numbers")[0](EXPECTED, as_answers(ANSWERS)) == 1.0  # 13 is not in the reference either
    assert metric_of("placeholders")[0](EXPECTED[:1], as_answers(ANSWERS[:1])) == 1.0


def test_placeholders_by_position():
    found = texts.PLACEHOLDER.findall("%1 of %2, %1$s and %2$d, %s: 100%, 5% of it, 10 % done, 100%. 5%-10%")
    assert found == ["%1", "%2", "%1$s", "%2$d", "%s"]


SENTENCES = {
    "Russian": "быстрая лиса прыгает через ленивую собаку",
    "Greek": "η γρήγορη αλεπού πηδάει πάνω από",
    "Arabic": "الثعلب السريع يقفز فوق الكلب الكسول",
    "Hebrew": "השועל המהיר קופץ מעל הכלב",
    "Korean": "빠른 여우가 게으른 개를 뛰어넘는다",
    "Hindi": "तेज़ लोमड़ी आलसी कुत्ते के ऊपर कूदती है",
    "Galician": "o raposo rápido salta por riba do can preguiceiro, á mañá",
}


@pytest.mark.parametrize("language", list(SENTENCES))
def test_words_of_every_script(language):
    sentence = SENTENCES[language]
    assert texts.words(sentence.upper()) == sentence.replace(",", "").split()
    expected = as_expected([""], [sentence])
    assert metric_of("rouge_1")[0](expected, as_answers([sentence])) == 1
    assert metric_of("rouge_l")[0](expected, as_answers([sentence.split()[0]])) < 1
    looping = as_answers([f"{sentence} " * 9])
    assert metric_of("repetition")[0](expected, looping) > 0.8
    assert metric_of("distinct_2")[0](expected, looping) < 0.2


def test_words_are_the_same_however_their_accents_are_written():
    assert texts.words("ma\u00f1\u00e1") == texts.words("man\u0303a\u0301")


def test_scripts_without_spaces_are_read_by_characters():
    assert len(texts.words("你好吗 OK")) == 4
    assert len(texts.words("สวัสดี")) == 6


def test_words_of_ascii_are_those_of_rouge_score():
    peer = pytest.importorskip("rouge_score.tokenizers").DefaultTokenizer(use_stemmer=False)
    letters = np.array([chr(i) for i in range(128)])
    for seed in range(50):
        text = "".join(np.random.default_rng(seed).choice(letters, 200))
        assert texts.words(text) == peer.tokenize(text)


def test_a_loop_is_repetition():
    expected = as_expected([""] * 2, ["x", "x"])
    assert metric_of("repetition")[0](expected[:1], as_answers(["one two three four five"])) == 0
    assert metric_of("repetition")[0](expected[:1], as_answers(["go on and on " * 20])) > 0.9
    assert metric_of("distinct_2")[0](expected[:1], as_answers(["go on go on go on"])) == pytest.approx(2 / 5)


def test_rouge_is_the_mean_over_examples():
    peer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    theirs = np.mean([peer.score(r, a)["rougeL"].fmeasure for r, a in zip(REFERENCES, ANSWERS, strict=True)])
    assert metric_of("rouge_l")[0](EXPECTED, as_answers(ANSWERS)) == pytest.approx(theirs)


def test_intervals_hold_the_figure_and_the_perfect_answer_is_best():
    found = metric_intervals(EXPECTED, as_answers(ANSWERS), seed=0, names=list(TEXT_METRICS))
    assert list(found) == list(TEXT_METRICS)
    for name, interval in found.items():
        assert interval.low <= interval.value <= interval.high
        perfect = metric_of(name)[0](EXPECTED, as_answers(REFERENCES))
        worse = perfect - interval.value if TEXT_METRICS[name][1] else interval.value - perfect
        assert worse >= -1e-9 or name == "distinct_2"


def test_paired_bootstrap_resamples_corpus_scores():
    better, worse = as_answers(REFERENCES * 8), as_answers(ANSWERS * 8)
    expected = np.concatenate([EXPECTED] * 8)
    for metric in ("chrf", "bleu", "ter"):
        found = compare(expected, better, worse, metric=metric, seed=0)
        assert found.verdict == "helps"
        assert found.mcnemar is None
    assert compare(expected, worse, worse, metric="chrf", seed=0).difference.value == 0


@pytest.mark.parametrize(("name", "kind"), [("chrf", "CHRF"), ("bleu", "BLEU"), ("ter", "TER")])
def test_the_p_value_of_the_paired_bootstrap_is_sacrebleus(name, kind):
    """On the same resamples; one system is a little better than the other, so that the value is not the least."""
    import sacrebleu.metrics
    from sacrebleu.significance import Result, _paired_bs_test

    metric = getattr(sacrebleu.metrics, kind)(**({"word_order": 2} if kind == "CHRF" else {}))
    own = ANSWERS * 6
    other = [a if i % 4 else a.replace("the", "that").replace("is", "lies") for i, a in enumerate(ANSWERS * 6)]
    references = [REFERENCES * 6]
    known = {name: (metric._extract_corpus_statistics(other, references), metric.corpus_score(other, references))}
    _, theirs = _paired_bs_test(known, "own", own, references, {name: metric}, 1000, seed=3)
    assert isinstance(theirs[name], Result)
    expected = np.concatenate([EXPECTED] * 6)
    found = compare(expected, as_answers(own), as_answers(other), metric=name, seed=3)
    assert found.paired_p == pytest.approx(theirs[name].p_value)
    assert 0.002 < found.paired_p < 1
    assert compare(expected, as_answers(own), as_answers(own), metric=name, seed=3).paired_p == 1
    groups = np.arange(30) // 5
    assert compare(expected, as_answers(own), as_answers(other), metric=name, seed=3, groups=groups).paired_p is None


def test_repeats_are_averaged():
    one = metric_intervals(EXPECTED, as_answers(ANSWERS), seed=0, names=["chrf"])["chrf"].value
    two = metric_intervals(EXPECTED, np.stack([as_answers(ANSWERS), as_answers(REFERENCES)]), seed=0, names=["chrf"])
    assert two["chrf"].value == pytest.approx((one + 100) / 2)


def test_bad_input_names_what_is_wrong():
    with pytest.raises(DataError, match="one answer each"):
        metric_of("chrf")[0](EXPECTED[:2], as_answers(ANSWERS))
    with pytest.raises(DataError, match="Answer 1: None"):
        metric_of("chrf")[0](EXPECTED[:2], as_answers(["x", None]))


def test_signatures_say_how_it_was_counted():
    assert "nw:2" in signature("chrf")
    assert "tok:zh" in signature("bleu_zh")
    assert signature("f1") == ""


def test_pass_at_k_is_unbiased():
    """Equal to the mean over all ways to draw k of n."""
    for n, c, k in ((5, 2, 1), (5, 2, 3), (6, 0, 2), (4, 4, 2), (7, 3, 5)):
        draws = list(itertools.combinations(range(n), k))
        passed = np.mean([any(i < c for i in draw) for draw in draws])
        assert pass_at_k(n, c, k) == pytest.approx(passed)
    with pytest.raises(DataError, match="pass@3"):
        pass_at_k(2, 1, 3)


def test_programs_are_judged_by_their_tests(monkeypatch):
    ran = []
    monkeypatch.setattr(texts.sandbox, "run", lambda program: ran.append(program) or Ended("return 3" in program))
    texts.passes.cache_clear()
    check = "def check(f): assert f() == 3\ncheck(three)"
    expected = as_expected(["def three():\n"] * 2, ["    return 3"] * 2, [check] * 2)
    answers = as_answers(["    return 3", "    return 4"])
    assert metric_of("pass_1")[0](expected, answers) == 0.5
    assert metric_of("pass_1")[0](expected, answers) == 0.5
    assert ran == [f"def three():\n    return {n}\n{check}\n" for n in (3, 4)]
    texts.passes.cache_clear()


@dataclasses.dataclass
class Ended:
    passed: bool


@pytest.mark.parametrize("answer", ["right", "wrong"])
def test_a_share_without_spread_has_the_exact_bound(answer):
    """Of 20 answers that are all right, or all wrong, the share in the population can still be otherwise."""
    expected = as_expected(["q"] * 20, ["right"] * 20)
    found = metric_intervals(expected, as_answers([answer] * 20), seed=0, names=["exact_match"])["exact_match"]
    bound = 0.025 ** (1 / 20)
    assert (found.low, found.high) == pytest.approx((bound, 1.0) if answer == "right" else (0.0, 1 - bound))
