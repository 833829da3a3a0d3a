"""The classification task: numbers of labels, words of labels, the default template."""

import numpy as np
import pytest

from transfuse.errors import DataError
from transfuse.tasks.classify import Classify


def test_labels_keep_their_order():
    task = Classify(labels=("b", "a", "ü 漢"))
    assert task.encode(["a", "ü 漢", "b", "a"]).tolist() == [1, 2, 0, 1]
    assert task.encode([]).dtype == np.int64


def test_an_unknown_label_names_the_nearest():
    with pytest.raises(DataError) as error:
        Classify(labels=("positive", "negative")).encode(["positive", "negativ"])
    assert "label 'negativ' is not one of the task's labels. Did you mean 'negative'?" in str(error.value)
    assert "Expected: positive, negative" in str(error.value)


def test_words_are_the_labels_made_readable():
    task = Classify(labels=("card_arrival", "top-up", "neg"), words={"neg": "bad"})
    assert [task.word(label) for label in task.labels] == ["card arrival", "top up", "bad"]


def test_a_word_for_no_label_is_refused():
    with pytest.raises(DataError, match=r"task\.words: 'postive' is no label\. Did you mean 'positive'\?"):
        Classify(labels=("positive", "negative"), words={"postive": "good"})


def test_the_default_template_names_the_columns_and_not_the_answers():
    assert Classify(labels=("bad", "good")).shown() == "Text: {text}\nLabel:"
    named = Classify(labels=("bad", "good"), input="customer_review", label="rating")
    assert named.shown() == "Customer review: {text}\nRating:"


def test_the_template_of_the_recipe_wins():
    assert Classify(labels=("a", "b"), template="Say {text} =", input="x").shown() == "Say {text} ="


def test_it_survives_a_manifest():
    task = Classify(labels=("a", "ü"), template="{text}?", words={"a": "ay"}, metric="macro_f1", max_tokens=64)
    assert Classify.from_dict({**task.to_dict(), "bins": "a key of others"}) == task
