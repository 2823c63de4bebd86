"""Figures of a model on believed labels: by hand where that is short, else by scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as reference

from inference.errors import ArrayRefused
from inference.metrics import by_group, calibration, mcnemar, measure, worst_first


def some_answers(count: int = 400, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(3)
    labels = chance.integers(0, classes, count)
    scores = chance.dirichlet(np.ones(classes), count)
    scores[np.arange(count), labels] += 0.35
    return labels, scores / scores.sum(axis=1, keepdims=True)


def test_precision_recall_f1_and_the_matrix_are_those_of_scikit_learn() -> None:
    labels, probabilities = some_answers()
    found = measure(labels, probabilities)
    answers = probabilities.argmax(axis=1)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(labels, answers, average="weighted")
    assert (found.precision, found.recall, found.f1) == pytest.approx((precision, recall, f1))
    assert found.accuracy.point == pytest.approx(reference.accuracy_score(labels, answers))
    assert np.array_equal(found.confusion, reference.confusion_matrix(labels, answers))
    each = reference.precision_recall_fscore_support(labels, answers, average=None)
    assert [row.precision for row in found.classes] == pytest.approx(each[0])
    assert [row.recall.point for row in found.classes if row.recall] == pytest.approx(each[1])
    assert [row.f1 for row in found.classes] == pytest.approx(each[2])


def test_a_recall_has_wilsons_interval_and_a_class_without_images_has_none() -> None:
    labels = np.zeros(10, dtype=np.int64)
    probabilities = np.tile([0.9, 0.05, 0.05], (10, 1))
    probabilities[:2] = [0.1, 0.9, 0.0]
    found = measure(labels, probabilities)
    recall = found.classes[0].recall
    assert recall is not None
    # Wilson 1927 for 8 of 10, as in Newcombe 1998.
    expected = binomtest(8, 10).proportion_ci(method="wilson")
    assert (recall.point, recall.low, recall.high) == pytest.approx((0.8, expected.low, expected.high))
    assert found.classes[1].recall is None
    assert found.classes[1].precision == 0
    assert (found.classes[2].recall, found.classes[2].precision, found.classes[2].f1) == (None, None, None)


def test_an_image_of_a_harmful_class_that_is_called_harmless_is_missed_and_another_harmful_class_is_no_miss() -> None:
    labels = np.array([1, 1, 1, 2, 0])
    answers = np.array([0, 2, 1, 0, 1])
    found = measure(labels, np.eye(3)[answers], harmful=np.array([False, True, True]))
    assert (found.missed_images, found.classes[1].missed_images, found.classes[2].missed_images) == (2, 1, 1)
    assert found.missed is not None
    assert found.missed.point == pytest.approx(2 / 4)
    assert found.classes[0].missed is None


def test_a_model_that_is_as_often_right_as_it_says_has_no_calibration_error() -> None:
    right = np.repeat([True, True, True, False], 50)
    assert calibration(right, np.full(200, 0.75)).error == pytest.approx(0, abs=1e-12)
    assert calibration(right, np.full(200, 0.95)).error == pytest.approx(0.2)
    mixed = calibration(np.array([True, False]), np.array([1.0, 0.0]))
    assert mixed.error == 0
    assert (mixed.bins[0].images, mixed.bins[-1].images) == (1, 1)
    assert mixed.bins[3].accuracy is None


def test_a_bin_holds_its_upper_edge_and_every_image_is_in_one() -> None:
    found = calibration(np.ones(3, dtype=bool), np.array([0.2, 0.2000001, 1.0]), bins=5)
    assert [one.images for one in found.bins] == [1, 1, 0, 0, 1]


def test_groups_are_the_sums_of_their_classes() -> None:
    labels, rows = by_group(
        np.array([0, 3]), np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]), np.array([0, 1, 0, 1])
    )
    assert labels.tolist() == [0, 1]
    assert rows == pytest.approx(np.array([[0.4, 0.6], [0.8, 0.2]]))


def test_harm_called_harmless_comes_first_then_what_the_model_was_surest_of() -> None:
    labels = np.array([0, 1, 2, 2, 1, 0])
    probabilities = np.array(
        [
            [0.0, 1.0, 0.0],  # harmless, called harmful, very sure
            [0.6, 0.4, 0.0],  # rank 1 missed
            [0.5, 0.1, 0.4],  # rank 2 missed
            [0.0, 0.9, 0.1],  # harm taken for other harm
            [0.0, 1.0, 0.0],  # right
            [0.9, 0.1, 0.0],  # right
        ]
    )
    assert worst_first(labels, probabilities, np.array([0, 1, 2])).tolist() == [2, 1, 0, 3]


def test_mcnemar_is_the_exact_binomial_test_of_the_images_on_which_two_models_differ() -> None:
    first = np.array([True] * 30 + [True] * 12 + [False] * 3 + [False] * 5)
    second = np.array([True] * 30 + [False] * 12 + [True] * 3 + [False] * 5)
    found = mcnemar(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (30, 12, 3, 5)
    # 2 · P(X ≤ 3 | 15, ½) = 2 · 576 / 32768
    assert found.p_value == pytest.approx(2 * 576 / 32768)
    assert found.difference.point == pytest.approx(9 / 50)
    assert 0 < found.difference.low < 9 / 50 < found.difference.high


def test_models_that_never_differ_are_not_told_apart() -> None:
    same = np.array([True, False, True])
    assert mcnemar(same, same).p_value == 1
    assert mcnemar(same, same).difference.low < 0 < mcnemar(same, same).difference.high


def test_nothing_to_measure_and_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArrayRefused, match="one image or more"):
        measure(np.zeros(0, dtype=np.int64), np.zeros((0, 3)))
    with pytest.raises(ArrayRefused, match=r"expected \(3,\) truth values"):
        measure(np.array([0]), np.array([[1.0, 0, 0]]), harmful=np.array([True]))
    with pytest.raises(ArrayRefused, match="same images"):
        mcnemar(np.array([True]), np.array([True, False]))
