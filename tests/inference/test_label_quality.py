"""Label quality: low = likely wrong."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import average_precision_score

from inference.confident_learning import flagged
from inference.errors import ArrayRefused, InferenceError
from inference.judged import CHUNK_VALUES
from inference.label_quality import ADJUSTABLE, METHODS, label_quality, suspected

PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]], dtype=np.float32)
LABELS = np.array([0, 1, 2, 1])
CLEANLABS = [("self_confidence", False), ("normalized_margin", False), ("confidence_weighted_entropy", False)]
CLEANLABS += [(method, True) for method in ADJUSTABLE]


def random_judgement(
    seed: int, *, images: int = 400, classes: int = 5, given: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the first `given` classes only, and probabilities that agree with most of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(given or classes, size=images)
    probabilities = rng.dirichlet(np.full(classes, 0.5), size=images) + np.eye(classes)[labels] * rng.random(
        (images, 1)
    )
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_label_that_the_model_disagrees_with_scores_lower(method: str) -> None:
    scores = label_quality(LABELS, PROBABILITIES, method=method)
    assert scores.shape == (4,)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores[1] == scores.min()
    assert scores[0] == scores.max()


def test_self_confidence_is_the_given_labels_own_probability() -> None:
    scores = label_quality(LABELS, PROBABILITIES, method="self_confidence")
    np.testing.assert_allclose(scores, [0.9, 0.1, 0.5, 0.4], atol=1e-6)


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


@pytest.mark.parametrize(("method", "adjusted"), CLEANLABS)
@pytest.mark.parametrize(
    "judgement",
    [
        random_judgement(0),
        random_judgement(1, classes=2),
        random_judgement(2, classes=7, given=5),
        random_judgement(3, classes=130, images=300),
        (np.array([0, 1, 0, 1]), np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [1.0, 0.0]])),
        (np.array([0, 0, 2]), np.array([[0.4, 0.4, 0.2], [0.0, 0.0, 1.0], [0.2, 0.4, 0.4]])),
    ],
    ids=["five classes", "two classes", "two classes without labels", "many classes", "ties", "ties and certainty"],
)
def test_the_scores_are_cleanlabs_own(method: str, adjusted: bool, judgement: tuple[np.ndarray, np.ndarray]) -> None:
    wanted = get_label_quality_scores(*judgement, method=method, adjust_pred_probs=adjusted)
    np.testing.assert_allclose(label_quality(*judgement, method=method, adjusted=adjusted), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_scores_do_not_depend_on_where_a_chunk_ends(method: str) -> None:
    labels, probabilities = random_judgement(4, images=CHUNK_VALUES // 5 + 1000)
    whole = label_quality(labels, probabilities, method=method)
    order = np.random.default_rng(0).permutation(len(labels))
    np.testing.assert_allclose(
        label_quality(labels[order], probabilities[order], method=method), whole[order], rtol=1e-9
    )


def test_adjusting_is_refused_where_no_such_score_exists() -> None:
    for method in set(METHODS) - set(ADJUSTABLE):
        with pytest.raises(ArrayRefused, match="normalized_margin for class-adjusted"):
            label_quality(LABELS, PROBABILITIES, method=method, adjusted=True)


@pytest.mark.parametrize("power", [0.2, 4.0])
def test_the_default_order_is_the_same_for_a_sharper_or_softer_model(power: float) -> None:
    labels, probabilities = random_judgement(5)
    probabilities = 0.95 * probabilities + 0.05 / 5
    other = probabilities**power
    other /= other.sum(axis=1, keepdims=True)
    wanted = label_quality(labels, probabilities)
    np.testing.assert_allclose(label_quality(labels, other), wanted, rtol=1e-4)
    changed = label_quality(labels, other, method="self_confidence").argsort()
    assert (changed != label_quality(labels, probabilities, method="self_confidence").argsort()).any()


def test_the_default_sees_wrong_classes_images_of_no_class_and_hard_classes() -> None:
    """Twice: once most errors are swapped classes, once images that fit none; no single score leads in both."""
    for odd_share in (0.0, 0.8):
        labels, probabilities, wrong = noisy_set(odd_share)
        ours = average_precision_score(wrong, 1 - label_quality(labels, probabilities))
        theirs = [
            average_precision_score(
                wrong, 1 - get_label_quality_scores(labels, probabilities, method=method, adjust_pred_probs=adjusted)
            )
            for method, adjusted in CLEANLABS
        ]
        assert ours >= max(theirs)


def noisy_set(odd_share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """3,000 images of six classes by a model that is unsure of two of them; 10 % errors, some of them odd images."""
    rng = np.random.default_rng(0)
    truth = rng.integers(6, size=3000)
    wrong = rng.random(3000) < 0.1
    odd = wrong & (rng.random(3000) < odd_share)
    labels = np.where(wrong, (truth + rng.integers(1, 6, size=3000)) % 6, truth)
    strength = np.where(truth < 2, 2.0, 4.0) * rng.gamma(4, 0.25, size=3000)
    logits = rng.normal(size=(3000, 6))
    logits[np.arange(3000), np.where(odd, rng.integers(6, size=3000), truth)] += np.where(odd, 0.0, strength)
    logits[np.arange(3000), labels] += np.where(odd, 0.7, 0.0)
    probabilities = np.exp(logits)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True), wrong


def test_certain_models_give_finite_scores_and_the_right_order() -> None:
    labels = np.array([0, 1, 2] * 50)
    probabilities = np.eye(3)[labels]
    probabilities[7] = [0, 0, 1]  # given 1
    probabilities[9] = [0.2, 0.8, 0]  # given 0
    scores = label_quality(labels, probabilities)
    assert np.isfinite(scores).all()
    assert set(np.argsort(scores)[:2]) == {7, 9}


def test_what_confident_learning_flags_is_suspected() -> None:
    for seed in range(5):
        labels, probabilities = random_judgement(seed, given=4)
        flags = flagged(labels, probabilities)
        assert flags.any()
        assert suspected(labels, probabilities)[flags].all()
