"""Known requests that are shown before a new one: the most similar ones, or those that are also unlike each other."""

import numpy as np
import pytest

from transfuse.fitted.recalled import LookupPath

TEXTS = [
    "the red car is fast",
    "The red car is fast",
    "the red car is quick",
    "the red car is so quick",
    "blue car",
    "a red house",
    "the weather",
    "???",
]
KNOWN = LookupPath(TEXTS, [str(i) for i in range(len(TEXTS))])
QUERY = ["the red car"]


def test_the_most_similar_stand_last_and_none_stands_twice():
    (found,) = KNOWN.nearest(QUERY, 3)
    similar = np.asarray((KNOWN._vectorizer.transform(QUERY) @ KNOWN._rows.T).todense())[0]
    shown = [similar[int(answer)] for _, answer in found]
    assert shown == sorted(shown)
    assert shown[-1] == similar.max()
    assert len({text.casefold() for text, _ in found}) == 3


@pytest.mark.parametrize("spread", [0.2, 0.5, 0.8])
def test_those_unlike_each_other_are_the_search_of_maximal_marginal_relevance(spread):
    rows = KNOWN._rows
    similar = np.asarray((KNOWN._vectorizer.transform(QUERY) @ rows.T).todense())[0]
    among = np.asarray((rows @ rows.T).todense())
    left, chosen = [0, 2, 3, 4, 5, 6, 7], []
    while len(chosen) < 4:
        gains = {
            i: (1 - spread) * similar[i] - spread * max((among[i, j] for j in chosen), default=0.0)
            for i in left
            if i not in chosen
        }
        chosen.append(max(sorted(gains, key=lambda i: -similar[i]), key=gains.__getitem__))
    (found,) = KNOWN.nearest(QUERY, 4, spread)
    assert [answer for _, answer in found[::-1]] == [str(i) for i in chosen]


def test_more_are_asked_for_than_there_are():
    (found,) = KNOWN.nearest(QUERY, 50, 0.5)
    assert len(found) == 7
    assert LookupPath(["?"], ["x"]).nearest(QUERY, 2, 0.5) in ([[]], [[("?", "x")]])
