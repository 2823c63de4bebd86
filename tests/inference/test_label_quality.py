"""Label quality: low = likely wrong."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import ArrayRefused, InferenceError
from inference.label_quality import METHODS, label_quality, suspected

PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]], dtype=np.float32)
LABELS = np.array([0, 1, 2, 1])


@pytest.mark.parametrize("method", METHODS)
def test_a_label_that_the_model_disagrees_with_scores_lower(method: str) -> None:
    scores = label_quality(LABELS, PROBABILITIES, method=method)
    assert scores.shape == (4,)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores[1] == scores.min()
    assert scores[0] == scores.max()


def test_the_default_is_the_given_labels_own_probability() -> None:
    np.testing.assert_allclose(label_quality(LABELS, PROBABILITIES), [0.9, 0.1, 0.5, 0.4], atol=1e-6)


def test_the_margin_is_half_at_a_tie() -> None:
    scores = label_quality(LABELS, PROBABILITIES, method="normalized_margin")
    np.testing.assert_allclose(scores, [0.9, 0.1, 0.6, 0.5], atol=1e-6)


def test_labels_that_another_class_beats_are_suspected_and_ties_are_not() -> None:
    labels = np.array([0, 1, 2] * 20)
    probabilities = np.full((60, 3), 0.1)
    probabilities[np.arange(60), labels] = 0.8
    probabilities[4] = [0.45, 0.1, 0.45]  # labelled 1
    probabilities[6] = [0.45, 0.45, 0.1]  # labelled 0
    assert np.flatnonzero(suspected(labels, probabilities)).tolist() == [4]


def test_classes_without_a_label_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([1, 4], 200)
    probabilities = np.full((200, 6), 0.02)
    probabilities[np.arange(200), labels] = 0.9
    labels[:5] = 5 - labels[:5]
    flagged = suspected(labels, probabilities)
    assert flagged[:5].all()
    assert flagged.sum() == 5
    assert (np.argsort(label_quality(labels, probabilities), kind="stable")[:5] < 5).all()


def test_a_row_with_all_its_mass_on_absent_classes_is_suspected() -> None:
    labels = np.array([0, 1] * 20)
    probabilities = np.zeros((40, 3))
    probabilities[np.arange(40), labels] = 1
    probabilities[7] = [0, 0, 1]
    assert np.flatnonzero(suspected(labels, probabilities)).tolist() == [7]


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[0.5, 0.5], [np.nan, 1.0]], "row 1"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.6]], "row 1"),
        ([0, 1], [[0.5, 0.5], [-0.5, 1.5]], "row 1"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "labels 0 to 1"),
        ([-1, 1], [[0.5, 0.5], [0.5, 0.5]], "labels 0 to 1"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], r"\(2,\)"),
        ([0, 0], [[1.0], [1.0]], "two classes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(labels: list[int], probabilities: list[list[float]], message: str) -> None:
    for score in (label_quality, suspected):
        with pytest.raises(ArrayRefused, match=message) as caught:
            score(np.array(labels), np.array(probabilities))
        assert isinstance(caught.value, InferenceError)
        assert isinstance(caught.value, ValueError)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ArrayRefused, match="self_confidence"):
        label_quality(LABELS, PROBABILITIES, method="guess")


def test_nothing_in_nothing_out() -> None:
    empty = np.empty((0, 3), dtype=np.float32)
    assert label_quality(np.array([], int), empty).shape == (0,)
    assert suspected(np.array([], int), empty).shape == (0,)
