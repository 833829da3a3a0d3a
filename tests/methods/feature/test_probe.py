"""The probe: what it reads, how sources are weighed, what it refuses."""

import numpy as np
import pytest
import toy

from transfuse.data.examples import Examples
from transfuse.engine.jobs import Rows, TransferData
from transfuse.engine.logistic import fit_head
from transfuse.errors import RecipeError
from transfuse.fitted.paths import log_softmax
from transfuse.methods.catalogue import method
from transfuse.methods.rows import evidence, label_names
from transfuse.tasks.classify import Classify

TARGET, SOURCE, TEST = toy.examples(20, seed=1), toy.examples(60, seed=2), toy.examples(80, seed=3)


def planned(kind="encoder", extra=None, task=toy.TASK, **settings):
    return method("probe").plan(task, toy.backbone(kind), TransferData(TARGET, extra or {}), 0, **settings)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_it_learns_well(bench, kind):
    assert bench.accuracy(bench.path("probe", kind, toy.examples(60, seed=1)), TEST) > 0.8


def test_one_readout_and_penalty_is_a_logistic_regression_on_that_layer(bench):
    path = bench.path("probe", "encoder", TARGET, layers=2, poolings="first", c=0.3, label_words=False)
    backbone = toy.backbone("encoder")
    tokens = backbone.tokens([*TARGET.texts, *TEST.texts], None, bench.limit)
    x = backbone.features(tokens, [2])[:, 0, backbone.poolings.index("first")]
    head = fit_head(x[:20], toy.TASK.encode(TARGET.labels), 2, c=0.3)
    assert (path.layer, path.pooling, path.trained) == (2, "first", None)
    np.testing.assert_allclose(path.log_probabilities(TEST.texts), log_softmax(head.logits(x[20:])), atol=1e-4)


def test_target_rows_count_as_the_share_says():
    for share in (0.25, 0.5, 2.0):
        rows = planned(extra={"a": SOURCE, "b": SOURCE.take(range(10))}, target_share=share).stages[1].rows
        assert rows.weights[rows.target].sum() == pytest.approx(share * 70)
        named = rows.weights[~rows.target]
        assert named.tolist() == [1.0] * 72  # 70 source rows and the two labels' words
    limited = planned(extra={"a": SOURCE}, source_limit=7, label_words=False).stages[1].rows
    assert (~limited.target).sum() == 7


def test_of_many_rows_some_of_each_class_choose_the_layer():
    labels = np.array([0] * 3000 + [1] * 990 + [2] * 10)
    many = Rows(tuple(map(str, range(4000))), labels, np.ones(4000), np.ones(4000, dtype=bool))
    some = evidence(many, 400)
    assert np.bincount(some.labels).tolist() == [300, 99, 2]
    assert some.texts[:3] == ("0", "1", "2")
    assert some.texts[300] == "3000"
    assert evidence(some, 401) is some


def test_labels_give_a_row_of_their_own_where_they_are_words():
    rows = planned().stages[1].rows
    assert rows.texts[20:] == ("warm", "cold")
    assert rows.labels[20:].tolist() == [0, 1]
    assert not rows.target[20:].any()
    assert len(planned(label_words=False).stages[1].rows) == 20
    assert len(planned("decoder").stages[1].rows) == 20
    assert label_names(Classify(labels=("1", "2"))) is None
    assert label_names(Classify(labels=("1", "2"), words={"1": "bad", "2": "good"})).texts == ("bad", "good")
    assert label_names(Classify(labels=("坏", "top_up"))).texts == ("坏", "top up")


def test_label_words_are_texts_of_their_classes(bench):
    """Rows that say nothing of the labels' words, and the words all the same in the right classes."""
    bench.task = Classify(labels=("ruby red", "navy blue"))
    few = Examples(("navy 1", "ruby 2"), bench.task.labels)
    named, bare = (bench.path("probe", "encoder", few, label_words=w, c=1.0) for w in (True, False))
    assert named.log_probabilities(["ruby red", "navy blue"]).argmax(1).tolist() == [0, 1]
    assert bare.log_probabilities(["ruby red", "navy blue"]).argmax(1).tolist() != [0, 1]


def test_templates():
    shown = toy.TASK.shown()
    for kind, setting, expected in [
        ("encoder", "auto", (None,)),
        ("decoder", "auto", (shown,)),
        ("decoder", "none", (None,)),
        ("encoder", "task", (shown,)),
        ("encoder", "both", (None, shown)),
    ]:
        assert planned(kind, template=setting).stages[0].templates == expected


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("encoder", {"template": "autp"}, "template: 'autp'"),
        ("encoder", {"layers": [1, 4]}, "Expected: 0 (the embeddings' output) to 3"),
        ("encoder", {"poolings": ["cls"]}, "Expected: mean or first, which suit this backbone"),
        ("decoder", {"poolings": "first"}, "Expected: last or mean, which suit this backbone"),
        ("encoder", {"target_share": 0.0, "extra": {"a": SOURCE}}, "target_share: 0.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(kind, settings, message):
    with pytest.raises(RecipeError) as error:
        planned(kind, **settings)
    assert message in str(error.value)


def test_a_layer_that_says_nothing_is_not_chosen(bench):
    """The first token of an encoder is the same for all texts before the first layer: its error is chance, not NaN."""
    path = bench.path("probe", "encoder", toy.examples(40, seed=1), layers=[0, 3], poolings="first")
    assert path.layer == 3
