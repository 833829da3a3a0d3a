"""The metrics of written answers, each as sums over examples and a function of those sums, as in `metrics`.

What an example adds to BLEU, chrF and TER is counted by sacrebleu; only the function of the sums is written here, for
many resamples at once, so that the paired bootstrap is that of corpus scores (Koehn 2004) and not of mean sentences.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from transfuse.errors import DataError
from transfuse.evaluation import sandbox
from transfuse.evaluation.metrics import Metric

CHAR_ORDER, WORD_ORDER, BETA = 6, 2, 2
"""chrF++: character n-grams to 6, word n-grams to 2, recall counts twice (Popović 2017)."""
BLEU_ORDER = 4

CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff]")
UNSPACED = re.compile(f"{CHINESE.pattern}|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Characters of scripts without spaces between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer."""
PLACEHOLDER = re.compile(
    r"\{\{[^{}]+\}\}"  # {{Order Number}}
    r"|\{[^{}\s]*\}"  # {0}, {name}
    r"|%\(\w+\)[-#0 +]*\d*(?:\.\d+)?[a-zA-Z]"  # %(count)d
    r"|%(?:\d+\$)?[-#0+]*\d*(?:\.\d+)?[sdifgxr](?![A-Za-z])"  # %s, %1$s
    r"|%\d{1,2}(?!\d)"  # %1
    r"|</?[A-Za-z][^<>]*>"  # <a href="...">
)
NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")


@dataclasses.dataclass(frozen=True)
class Expected:
    """What an answer is judged by.

    Args:
        request: the text that was asked.
        answers: the accepted answers, one or more; an empty string means that no answer is right.
        check: where answers are programs, what is run behind request and answer; empty for none.
    """

    request: str
    answers: tuple[str, ...]
    check: str = ""


def as_expected(
    requests: Sequence[str], answers: Sequence[str | Sequence[str]], checks: Sequence[str] | None = None
) -> np.ndarray:
    """Requests with their accepted answers, and with checks where there are some, as an array [N] of `Expected`."""
    out = np.empty(len(requests), dtype=object)
    for i, (request, accepted) in enumerate(zip(requests, answers, strict=True)):
        known = (accepted,) if isinstance(accepted, str) else tuple(accepted)
        out[i] = Expected(request, known, "" if checks is None else checks[i])
    return out


def as_answers(texts: Sequence[str]) -> np.ndarray:
    """Answers as an array [N] of strings (of Python's own, so that their length is free)."""
    out = np.empty(len(texts), dtype=object)
    out[:] = texts
    return out


@functools.cache
def _counter(name: str, tokenize: str = "13a") -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    if name == "bleu":
        return BLEU(tokenize=tokenize)
    return CHRF(char_order=CHAR_ORDER, word_order=WORD_ORDER, beta=BETA) if name == "chrf" else TER()


def _counts(counter: Any, expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """sacrebleu's own statistics of each example, float64 [N, K]; of several references it takes the nearest."""
    found = [
        counter._extract_corpus_statistics([answer], [[accepted] for accepted in one.answers])[0]
        for one, answer in zip(expected, answers, strict=True)
    ]
    return np.array(found, dtype=np.float64)


def chrf_statistics(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """float64 [N, 24]: for each of the 8 orders n-grams of the answer, of the reference, and of both."""
    return _counts(_counter("chrf"), expected, answers)


def bleu_statistics(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """float64 [N, 10]: lengths of answer and reference, n-grams found for 4 orders, n-grams in all."""
    return _counts(_counter("bleu"), expected, answers)


def bleu_zh_statistics(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The same with Chinese characters as words."""
    return _counts(_counter("bleu", "zh"), expected, answers)


def ter_statistics(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """float64 [N, 2]: edits, and the length of the reference in words."""
    return _counts(_counter("ter"), expected, answers)


def words(text: str) -> list[str]:
    """Words in lower case: letters, digits and their marks; where a script has no spaces, each of its characters."""
    spaced = UNSPACED.sub(lambda m: f" {ord(m[0])} ", unicodedata.normalize("NFC", text.lower()))
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in spaced).split()


class _Words:
    def tokenize(self, text: str) -> list[str]:
        return words(text)


@functools.cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=_Words())


def rouge_statistics(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """float64 [N, 4]: F of ROUGE-1, ROUGE-2 and ROUGE-L against the best reference, and 1."""
    out = np.ones((len(answers), 4))
    for i, (one, answer) in enumerate(zip(expected, answers, strict=True)):
        scores = [_rouge().score(accepted, answer) for accepted in one.answers]
        out[i, :3] = [max(s[name].fmeasure for s in scores) for name in ("rouge1", "rouge2", "rougeL")]
    return out


def normalised(text: str) -> str:
    """SQuAD's form of an answer: lower case, no punctuation, no articles, single spaces (Rajpurkar et al. 2016)."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    if CHINESE.search(text):
        text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def overlap(answer: str, reference: str) -> float:
    """F1 of the words that both share, each Chinese character being a word; 1 where both are empty."""
    own, other = (CHINESE.sub(r" \g<0> ", normalised(text)).split() for text in (answer, reference))
    if not own or not other:
        return float(own == other)
    same = sum((Counter(own) & Counter(other)).values())
    return 2 * same / (len(own) + len(other))


def answer_statistics(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """float64 [N, 3]: SQuAD's exact match and F1 against the best reference, and 1."""
    out = np.ones((len(answers), 3))
    for i, (one, answer) in enumerate(zip(expected, answers, strict=True)):
        out[i, 0] = max(normalised(answer) == normalised(accepted) for accepted in one.answers)
        out[i, 1] = max(overlap(answer, accepted) for accepted in one.answers)
    return out


@functools.lru_cache(maxsize=1 << 16)
def passes(program: str) -> bool:
    """Whether a program comes to its end in the sandbox; each is run once.

    Raises:
        TransfuseError: nothing here can contain it.
    """
    return sandbox.run(program).passed


def program_statistics(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """float64 [N, 2]: whether request, answer and check, one behind the other, come to their end; and 1."""
    out = np.ones((len(answers), 2))
    for i, (one, answer) in enumerate(zip(expected, answers, strict=True)):
        out[i, 0] = passes(f"{one.request}{answer}\n{one.check}\n")
    return out


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that one of k programs passes, from c of n that did: 1 - C(n - c, k) / C(n, k), without bias.

    Args:
        n: programs that were written for a problem.
        c: of these, that passed.
        k: at most n.

    Raises:
        DataError: k over n, or c over n.

    Reference: Chen et al. 2021, section 2.1.

    Example:
        >>> round(pass_at_k(10, 3, 1), 3), round(pass_at_k(10, 3, 5), 3)
        (0.3, 0.917)
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise DataError(f"pass@{k} of {c} in {n}", expected="at most as many as were written")
    return 1.0 if n - c < k else 1.0 - math.comb(n - c, k) / math.comb(n, k)


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def _kept(wanted: Sequence[str], text: str, pattern: re.Pattern[str]) -> tuple[int, int]:
    asked, found = Counter(wanted), Counter(pattern.findall(text))
    return sum((asked & found).values()), sum(asked.values())


def surface_statistics(expected: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """float64 [N, 8], in pairs: distinct pairs of words, distinct fours, placeholders kept, numbers kept; each of all.

    Placeholders are those of the first reference, numbers those that stand in the request and in the first reference:
    a number that a right answer leaves out is not missing.
    """
    out = np.zeros((len(answers), 8))
    for i, (one, answer) in enumerate(zip(expected, answers, strict=True)):
        tokens = words(answer)
        for at, n in ((0, 2), (2, 4)):
            grams = _grams(tokens, n)
            out[i, at : at + 2] = len(set(grams)), len(grams)
        first = one.answers[0]
        out[i, 4:6] = _kept(PLACEHOLDER.findall(first), answer, PLACEHOLDER)
        shared = Counter(NUMBER.findall(one.request)) & Counter(NUMBER.findall(first))
        out[i, 6:8] = _kept(list(shared.elements()), answer, NUMBER)
    return out


def _chrf(sums: np.ndarray) -> np.ndarray:
    """F_β of the mean precision and the mean recall over the orders that occur on both sides, 0..100."""
    own, other, both = (sums[..., k::3] for k in range(3))
    occurs = (own > 0) & (other > 0)
    orders = np.maximum(occurs.sum(-1), 1)
    precision, recall = (
        np.where(occurs, both / np.maximum(whole, 1e-16), 0.0).sum(-1) / orders for whole in (own, other)
    )
    below = BETA**2 * precision + recall
    return np.asarray(100 * np.where(below > 0, (1 + BETA**2) * precision * recall / np.maximum(below, 1e-30), 0.0))


def _bleu(sums: np.ndarray) -> np.ndarray:
    """Brevity penalty times the geometric mean of the precisions, 0..100; orders without a hit count 1/2, 1/4, ..."""
    own, other = sums[..., 0], sums[..., 1]
    hits, total = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    missed = np.cumsum((hits == 0) & (total > 0), -1)
    share = np.where(hits > 0, hits, 0.5**missed) / np.maximum(total, 1e-30)
    known = (total > 0).all(-1) & (hits > 0).any(-1)
    logs = np.log(np.where(total > 0, share, 1.0)).mean(-1)
    penalty = np.where(own < other, np.exp(1 - other / np.maximum(own, 1e-30)), 1.0)
    return np.asarray(np.where(known, 100 * penalty * np.exp(logs), 0.0))


def _ter(sums: np.ndarray) -> np.ndarray:
    edits, length = sums[..., 0], sums[..., 1]
    return np.asarray(100 * np.where(length > 0, edits / np.maximum(length, 1e-30), (edits > 0).astype(float)))


def _mean_of(column: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: np.asarray(sums[..., column] / sums[..., -1])


def _share_of(pair: int, empty: float) -> Callable[[np.ndarray], np.ndarray]:
    """The first of a pair over the second; ``empty`` where there is nothing to count."""

    def share(sums: np.ndarray) -> np.ndarray:
        part, whole = sums[..., 2 * pair], sums[..., 2 * pair + 1]
        return np.asarray(np.where(whole > 0, part / np.maximum(whole, 1e-30), empty))

    return share


def _repetition(sums: np.ndarray) -> np.ndarray:
    return np.asarray(1 - _share_of(1, 1.0)(sums))


TEXT_METRICS: dict[str, tuple[Metric, bool]] = {
    "chrf": (Metric(chrf_statistics, _chrf), True),
    "bleu": (Metric(bleu_statistics, _bleu), True),
    "bleu_zh": (Metric(bleu_zh_statistics, _bleu), True),
    "ter": (Metric(ter_statistics, _ter), False),
    "rouge_1": (Metric(rouge_statistics, _mean_of(0)), True),
    "rouge_2": (Metric(rouge_statistics, _mean_of(1)), True),
    "rouge_l": (Metric(rouge_statistics, _mean_of(2)), True),
    "exact_match": (Metric(answer_statistics, _mean_of(0)), True),
    "f1": (Metric(answer_statistics, _mean_of(1)), True),
    "pass_1": (Metric(program_statistics, _mean_of(0)), True),
    "placeholders": (Metric(surface_statistics, _share_of(2, 1.0)), True),
    "numbers": (Metric(surface_statistics, _share_of(3, 1.0)), True),
    "distinct_2": (Metric(surface_statistics, _share_of(0, 1.0)), True),
    "repetition": (Metric(surface_statistics, _repetition), False),
}
"""name -> (function, greater is better).

``chrf`` (chrF++), ``bleu``, ``bleu_zh`` (Chinese characters as words) and ``ter`` are corpus figures as sacrebleu gives
them, 0..100. The others are shares: ROUGE's F, SQuAD's exact match and F1, programs that pass their tests (``pass_1``,
run in `sandbox`), placeholders and numbers that are kept, distinct pairs of words within an answer, and repeated fours
(Welleck et al. 2020)."""

HUNDREDS = ("chrf", "bleu", "bleu_zh", "ter")
"""Metrics on a scale to 100."""


def signature(name: str) -> str:
    """sacrebleu's signature of a metric, which says how it was counted; empty for metrics of other origin."""
    counter = {"chrf": ("chrf",), "bleu": ("bleu",), "bleu_zh": ("bleu", "zh"), "ter": ("ter",)}.get(name)
    if counter is None:
        return ""
    metric = _counter(*counter)
    metric.corpus_score(["a"], [["a"]])  # the number of references is a part of the signature
    return str(metric.get_signature())
