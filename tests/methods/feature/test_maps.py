"""Maps from the source's features to the target's: moments, other packages, and the case without a shift."""

import dataclasses

import numpy as np
import pytest

from transfuse.engine.jobs import Evidence, Side
from transfuse.methods.catalogue import method
from transfuse.methods.closed import joint_head
from transfuse.methods.feature.centroid import centroid_head, centroids
from transfuse.methods.feature.coral import coral, linear_transport, moments
from transfuse.methods.feature.discriminant import discriminant
from transfuse.methods.feature.feda import augmented
from transfuse.methods.feature.subspace import principal, subspace_alignment
from transfuse.methods.feature.transport import transported


def cloud(count, seed, scale=1.0, shift=0.0):
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(5, 5)) * scale
    return generator.normal(size=(count, 5)) @ mixing + shift


@pytest.mark.parametrize("map_", [coral, linear_transport])
def test_mapped_rows_have_the_targets_moments(map_):
    """Exactly those that are shrunk; of many rows in a round cloud also the plain ones."""
    source, target = cloud(200, 0), cloud(150, 1, scale=2.0, shift=3.0)[:, ::-1]
    (mean, covariance), (wanted, shape) = moments(source), moments(target)
    mapped = map_(source, target)
    matrix = np.linalg.solve(source[:5] - mean, mapped[:5] - wanted)
    np.testing.assert_allclose(mapped.mean(0), wanted, atol=1e-8)
    np.testing.assert_allclose(matrix.T @ covariance @ matrix, shape, atol=1e-6)
    generator = np.random.default_rng(0)
    source, target = generator.normal(size=(4000, 5)), generator.normal(size=(4000, 5)) * [1, 2, 1, 3, 1]
    target[:, 0] += 0.5 * target[:, 1]
    np.testing.assert_allclose(np.cov(map_(source, target).T), np.cov(target.T), atol=0.1)


@pytest.mark.parametrize("map_", [coral, linear_transport])
def test_without_a_shift_nothing_moves(map_):
    source = cloud(60, 0)
    np.testing.assert_allclose(map_(source, source.copy()), source, atol=1e-8)


def test_linear_transport_is_that_of_pot():
    ot = pytest.importorskip("ot")
    source, target = cloud(50, 0), cloud(40, 1, 2.0, 1.0)
    (mean, covariance), (wanted, shape) = moments(source), moments(target)
    matrix, offset = ot.gaussian.bures_wasserstein_mapping(mean, wanted, covariance, shape)
    np.testing.assert_allclose(linear_transport(source, target), source @ matrix + offset, atol=1e-8)


def test_fewer_rows_than_dimensions_are_no_error():
    source, target = np.random.default_rng(0).normal(size=(2, 6, 40))
    for map_ in (coral, linear_transport):
        assert np.isfinite(map_(source, target)).all()


def test_transport_brings_rows_to_their_partners():
    pytest.importorskip("ot")
    source = cloud(20, 0)
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_allclose(transported(source, source[order] + 0.01, regularisation=1e-3), source, atol=0.1)
    far = transported(source, cloud(30, 1), regularisation=1e4)
    np.testing.assert_allclose(far, np.tile(cloud(30, 1).mean(0), (20, 1)), atol=1e-2)


def test_transport_is_that_of_pot():
    ot = pytest.importorskip("ot")
    source, target = cloud(12, 0), cloud(15, 1, 1.5)
    cost = ot.dist(source, target)
    plan = ot.sinkhorn(ot.unif(12), ot.unif(15), cost / cost.mean(), 0.1)
    expected = plan @ target / plan.sum(1, keepdims=True)
    np.testing.assert_allclose(transported(source, target, regularisation=0.1), expected, atol=1e-6)


def test_subspace_alignment_by_its_formula():
    source, target = cloud(30, 0), cloud(25, 1, 2.0, 1.0)
    found, mean, directions = subspace_alignment(source, target, components=2)
    ours, theirs = principal(source, 2), principal(target, 2)
    np.testing.assert_allclose(found, (source - source.mean(0)) @ ours @ ours.T @ theirs)
    np.testing.assert_allclose(mean, target.mean(0))
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-12)
    same, mean, directions = subspace_alignment(source, source, components=3)
    np.testing.assert_allclose(same, (source - mean) @ directions, atol=1e-10)


def test_augmented_rows_by_hand():
    a, b = augmented(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    assert a.tolist() == [[1, 2, 1, 2, 0, 0]]
    assert b.tolist() == [[3, 4, 0, 0, 3, 4]]


def test_discriminant_is_the_nearest_mean_where_the_spread_is_the_same_everywhere():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 2], 500)
    x = generator.normal(size=(1000, 3)) + np.where(labels == 0, 1.0, -1.0)[:, None]
    head = discriminant(x, labels, 3, np.ones(1000))
    test = generator.normal(size=(200, 3)) * 2
    means = np.stack([x[labels == c].mean(0) for c in (0, 2)])
    nearest = np.array([0, 2])[((test[:, None] - means) ** 2).sum(2).argmin(1)]
    assert (head.logits(test).argmax(1) == nearest).mean() > 0.97
    assert (head.logits(test)[:, 1] < -10).all()  # no row


def test_discriminant_is_that_of_scikit_learn():
    from sklearn.covariance import LedoitWolf
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x = cloud(60, 0)
    labels = np.arange(60) % 3
    x[labels == 1] += 2.0
    within = x - np.stack([x[labels == c].mean(0) for c in range(3)])[labels]
    shrunk = LedoitWolf(assume_centered=True).fit(within).covariance_

    class Fixed(LedoitWolf):
        def fit(self, X, y=None):
            self.covariance_ = shrunk
            return self

    theirs = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Fixed()).fit(x, labels)
    mine, expected = discriminant(x, labels, 3, np.ones(60)).logits(x), theirs.decision_function(x)
    np.testing.assert_allclose(mine - mine[:, :1], expected - expected[:, :1], rtol=1e-3, atol=1e-3)


def test_centroids_by_hand():
    x = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    names = np.array([[0.0, -1.0], [1.0, 0.0]])
    found, counts = centroids(x, np.array([0, 0, 1]), 2, names, kappa=2.0)
    np.testing.assert_allclose(found, [[0.25, -0.25], [2.6 / 3, 0.8 / 3]])
    assert counts.tolist() == [4, 3]
    plain, _ = centroids(x, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(plain, [[0.5, 0.5], [0.6, 0.8]])


def test_a_centroid_head_names_the_most_similar():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(4, 8)) * 3
    labels = np.arange(40) % 4
    x = means[labels] + generator.normal(size=(40, 8))
    head = centroid_head(x, labels, 5)
    logits = head.logits(means)
    assert logits.argmax(1).tolist() == [0, 1, 2, 3]
    assert (logits[:, 4] < -10).all()
    named = centroid_head(np.empty((0, 8)), np.empty(0, np.int64), 4, means)
    assert named.logits(means).argmax(1).tolist() == [0, 1, 2, 3]


def drawn(classes=4, rows=10, width=8, seed=0):
    """Rows of classes whose means lie apart, their labels, and the means."""
    generator = np.random.default_rng(seed)
    means, labels = generator.normal(size=(classes, width)) * 3, np.arange(classes * rows) % classes
    return means[labels] + generator.normal(size=(classes * rows, width)), labels, means


def as_logits(head, test):
    """Up to what all classes share."""
    logits = head.logits(test)
    return logits - logits.mean(1, keepdims=True)


HEADS = {
    "centroid": lambda x, y, w: centroid_head(x, y, 4, weights=w),
    "named": lambda x, y, w: centroid_head(x, y, 4, drawn()[2], weights=w, kappa=2.0),
    "discriminant": lambda x, y, w: discriminant(x, y, 4, w),
}


@pytest.mark.parametrize("solve", HEADS.values(), ids=HEADS)
def test_wrong_rows_of_little_weight_do_little_and_the_scale_of_weights_nothing(solve):
    x, labels, means = drawn()
    both, turned = np.concatenate([x, x]), np.concatenate([labels, (labels + 1) % 4])
    light, even = (np.repeat([1.0, other], 40) for other in (1e-9, 1.0))
    clean, found, mixed = solve(x, labels, np.ones(40)), solve(both, turned, light), solve(both, turned, even)
    assert np.abs(as_logits(mixed, means) - as_logits(clean, means)).max() > 1
    if solve is HEADS["centroid"]:  # a name counts rows of mean weight, the covariance's shrinkage rows as such
        np.testing.assert_allclose(as_logits(found, means), as_logits(clean, means), atol=1e-3)
    assert found.logits(means).argmax(1).tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(solve(both, turned, 7 * light).logits(means), found.logits(means), atol=1e-3)


@pytest.mark.parametrize("name", ["centroid", "discriminant", "knn"])
def test_the_targets_share_is_heard(name):
    """A source of wrong labels: the target's rows win where they count a hundred times as much."""
    found = evidence()
    wrong = dataclasses.replace(found, source=dataclasses.replace(found.source, labels=1 - found.source.labels))
    right = [
        (method(name).solve(wrong, share)[0].logits(found.target.x).argmax(1) == found.target.labels).mean()
        for share in (0.01, 100.0)
    ]
    assert right[0] < 0.3
    assert right[1] > 0.8


def test_weighted_centroids_by_hand():
    x = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found, counts = centroids(x, np.array([0, 0, 1]), 2, np.eye(2), weights=np.array([3.0, 1.0, 0.5]), kappa=2.0)
    np.testing.assert_allclose(found, [[5 / 6, 1 / 6], [0.3 / 2.5, 2.4 / 2.5]])
    assert counts.tolist() == [6, 2.5]


def test_a_row_of_weight_two_is_two_rows():
    """In the covariance within classes, too, but for its shrinkage, which is slight with many rows."""
    x, labels, means = drawn(rows=1000)
    weights = np.where(np.abs(x - means[labels])[:, 0] > 1, 6.0, 1.0)
    twice = np.repeat(np.arange(len(x)), weights.astype(int))
    a, b = discriminant(x, labels, 4, weights), discriminant(x[twice], labels[twice], 4, np.ones(len(twice)))
    plain = discriminant(x, labels, 4, np.ones(len(x)))
    apart = [np.abs(as_logits(one, means) - as_logits(b, means)).max() for one in (a, plain)]
    assert apart[0] < 0.1 * apart[1]


def test_one_row_a_class_is_the_nearest_row():
    x, _, means = drawn(rows=1)
    for rows, labels in ((x, np.arange(4)), (np.concatenate([x, x]), np.arange(8) % 4)):
        logits = discriminant(rows, labels, 4, np.ones(len(rows))).logits(means)
        assert logits.argmax(1).tolist() == ((means[:, None] - x) ** 2).sum(2).argmin(1).tolist() == [0, 1, 2, 3]
    same = discriminant(np.tile(x[:1], (4, 1)), np.array([0, 0, 0, 1]), 2, np.ones(4)).logits(means)
    np.testing.assert_allclose(same - same[:, :1], np.tile([0, -np.log(3)], (4, 1)), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_of_one_class_leave_the_words_of_the_others(rows):
    """Words near their class, and rows of class 0 alone: all classes are told, that one too."""
    generator = np.random.default_rng(0)
    _, _, means = drawn(classes=10, width=32)
    means = means + generator.normal(size=32)
    names, test = means + generator.normal(size=means.shape), np.repeat(means, 20, axis=0)
    test = test + generator.normal(size=test.shape)
    x = means[:1] + generator.normal(size=(rows, 32))
    right = centroid_head(x, np.zeros(rows, np.int64), 10, names).logits(test).argmax(1) == np.arange(200) // 20
    assert right[:20].mean() > 0.9
    assert right[20:].mean() > 0.8


def evidence(shift=0.0):
    generator = np.random.default_rng(0)
    labels = np.arange(80) % 2
    x = (generator.normal(size=(80, 6)) + 1.5 * labels[:, None]).astype(np.float32)
    target = Side(x[:20] + np.float32(shift), labels[:20], np.ones(20), tuple(f"t{i}" for i in range(20)))
    source = Side(x[20:], labels[20:], np.ones(60), tuple(f"s{i}" for i in range(60)))
    nothing = np.empty((0, 6), np.float32)
    return Evidence(target, source, target.x, target.texts, nothing, nothing, 2, 0)


@pytest.mark.parametrize("name", ["coral", "linear_transport", "transport", "subspace"])
def test_heads_know_the_target_after_a_shift(name):
    """Rows that are left where they are teach nothing of a target that lies elsewhere, under the small C."""
    if name == "transport":
        pytest.importorskip("ot")
    found = evidence(shift=4.0)
    head, weights = method(name).solve(found, 0.25)
    assert weights is None
    assert (head.logits(found.target.x).argmax(1) == found.target.labels).mean() > 0.9
    plain = joint_head(found, found.source.x, found.source.weights, 0.25)
    assert (plain.logits(found.target.x).argmax(1) == found.target.labels).mean() < 0.6


def test_the_targets_head_is_what_is_common_and_its_own():
    found = evidence(shift=4.0)
    head, _ = method("feda").solve(found, 4.0)
    source, target = augmented(found.source.x, found.target.x)
    wide = dataclasses.replace(found, target=dataclasses.replace(found.target, x=target))
    whole = joint_head(wide, source, found.source.weights, 4.0)
    np.testing.assert_allclose(head.logits(found.target.x), whole.logits(target), atol=1e-4)
    assert (head.logits(found.target.x).argmax(1) == found.target.labels).mean() > 0.8
