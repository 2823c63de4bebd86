"""The confident joint, its flags and the intervals on noise and confusions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint, get_confident_thresholds
from cleanlab.filter import find_label_issues

from inference.confident_learning import confident_joint, flagged, noise_report
from inference.errors import ArrayRefused

NOISE = np.array(
    [[0.90, 0.08, 0.02, 0.00], [0.02, 0.95, 0.03, 0.00], [0.00, 0.01, 0.98, 0.01], [0.05, 0.05, 0.05, 0.85]]
)
"""Rows are true classes, columns the classes that people give."""


def random_set(seed: int, *, images: int, classes: int, given: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(given, p=rng.dirichlet(np.full(given, 2.0)), size=images)
    probabilities = rng.dirichlet(np.full(classes, 2 / classes), size=images) + np.eye(classes)[labels] * rng.random(
        (images, 1)
    )
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


SETS = [
    random_set(seed, images=images, classes=classes, given=given)
    for seed, (images, classes, given) in enumerate(
        [(500, 5, 5), (60, 2, 2), (300, 6, 4), (2000, 120, 120), (40, 12, 12), (9, 3, 3), (1500, 3, 3), (200, 2, 2)]
    )
]


def drawn(seed: int, images: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, labels given by `NOISE`, and the probabilities of a model that knows `NOISE` and nearly sees the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, p=[0.4, 0.3, 0.2, 0.1], size=images)
    labels = (rng.random((images, 1)) > NOISE[truth].cumsum(axis=1)).sum(axis=1)
    probabilities = NOISE[truth] + rng.random((images, 4)) * 0.01
    return truth, labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("labels", "probabilities"), SETS)
def test_the_counts_and_the_flags_are_cleanlabs_own(labels: np.ndarray, probabilities: np.ndarray) -> None:
    joint = confident_joint(labels, probabilities)
    np.testing.assert_allclose(joint.thresholds, get_confident_thresholds(labels, probabilities), atol=1e-12)
    counts = joint.counts.copy()
    np.fill_diagonal(counts, counts.diagonal().clip(min=1))
    np.testing.assert_array_equal(counts, compute_confident_joint(labels, probabilities, calibrate=False))
    np.testing.assert_array_equal(joint.calibrated, compute_confident_joint(labels, probabilities))
    assert (joint.calibrated.sum(axis=1) == joint.label_counts).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cleanlab warns of classes with one image.
        wanted = find_label_issues(labels, probabilities, n_jobs=1)
    np.testing.assert_array_equal(flagged(labels, probabilities), wanted)
    if len(labels) > 100:
        assert wanted.any()


def test_of_equal_margins_as_many_are_flagged_as_cleanlab_flags() -> None:
    labels = np.array([0, 1] * 30)
    probabilities = np.where(labels[:, None] == [0, 1], 0.8, 0.2)
    probabilities[:20] = [0.3, 0.7]
    probabilities[20:24] = [0.7, 0.3]
    wanted = find_label_issues(labels, probabilities, n_jobs=1)
    ours = flagged(labels, probabilities)
    assert 0 < ours.sum() == wanted.sum()
    assert ours[:24].sum() == ours.sum()


def test_a_set_of_one_class_or_without_images_has_no_flags() -> None:
    probabilities = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert not flagged(np.array([0, 0]), probabilities).any()
    assert flagged(np.array([], int), np.empty((0, 3))).shape == (0,)
    report = noise_report(np.array([], int), np.empty((0, 3)))
    assert [(one.low, one.high, one.confident) for one in report.classes] == [(0.0, 1.0, 0)] * 3
    assert report.confusions == ()


def test_the_most_certain_confusion_comes_first_with_its_direction() -> None:
    _, labels, probabilities = drawn(0, images=8000)
    report = noise_report(labels, probabilities)
    # P(true 0 | given 1) = .4·.08 / (.4·.08 + .3·.95 + .2·.01 + .1·.05) = .099; class 3 is given to few.
    first = report.confusions[0]
    assert (first.given, first.true, first.systematic) == (1, 0, True)
    assert first.low < 0.0988 < first.high
    lows = [pair.low for pair in report.confusions]
    assert lows == sorted(lows, reverse=True)
    rare = next(pair for pair in report.confusions if (pair.given, pair.true) == (0, 3))
    assert not rare.systematic
    assert all(one.low <= one.share <= one.high for one in report.classes)


def test_the_interval_holds_the_true_share_as_often_as_it_says() -> None:
    prior = np.array([0.4, 0.3, 0.2, 0.1])
    joint = (prior[:, None] * NOISE).T
    truth_given = joint / joint.sum(axis=1, keepdims=True)
    held = {"class": 0, "pair": 0}
    asked = {"class": 0, "pair": 0}
    for seed in range(150):
        _, labels, probabilities = drawn(seed)
        report = noise_report(labels, probabilities)
        for one in report.classes:
            asked["class"] += 1
            held["class"] += one.low <= 1 - truth_given[one.label, one.label] <= one.high
        found = {(pair.given, pair.true): pair for pair in report.confusions}
        for given, true in [(1, 0), (2, 1), (2, 0), (0, 1)]:
            asked["pair"] += 1
            pair = found[given, true]
            held["pair"] += pair.low <= truth_given[given, true] <= pair.high
    for kind, count in held.items():
        assert 0.925 <= count / asked[kind] <= 0.975, kind


def test_near_duplicates_widen_the_interval_as_if_each_group_were_one_image() -> None:
    _, labels, probabilities = drawn(0, images=500)
    alone = noise_report(labels, probabilities).classes[1]
    repeated = np.repeat(labels, 4), np.repeat(probabilities, 4, axis=0)
    careless = noise_report(*repeated).classes[1]
    grouped = noise_report(*repeated, groups=np.repeat(np.arange(500), 4)).classes[1]
    assert careless.high - careless.low < 0.7 * (alone.high - alone.low)
    np.testing.assert_allclose([grouped.low, grouped.high], [alone.low, alone.high], atol=1e-9)


def test_hundreds_of_classes_are_reported() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(300, size=6000)
    probabilities = np.full((6000, 300), 0.001)
    probabilities[np.arange(6000), np.where(rng.random(6000) < 0.1, labels // 2, labels)] = 0.701
    report = noise_report(labels, probabilities)
    assert len(report.classes) == 300
    assert all(pair.true == pair.given // 2 for pair in report.confusions)


def test_wrong_groups_and_confidences_are_refused() -> None:
    labels, probabilities = SETS[0]
    with pytest.raises(ArrayRefused, match="groups"):
        noise_report(labels, probabilities, groups=np.arange(3))
    for confidence in (0.0, 1.0, float("nan")):
        with pytest.raises(ArrayRefused, match="between 0 and 1"):
            noise_report(labels, probabilities, confidence=confidence)
