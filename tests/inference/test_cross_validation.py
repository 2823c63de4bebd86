"""Out-of-sample probabilities: nothing predicted by what has seen it, and honest with few labels."""

from __future__ import annotations

import numpy as np
import pytest

from inference.cross_validation import (
    LINEAR,
    OWN_OPINION,
    VOTE,
    Member,
    OutOfSample,
    out_of_sample,
    scoring_model_opinion,
)
from inference.errors import ArrayRefused, InSample, NotEnoughLabels
from inference.label_quality import label_quality
from inference.types import Float32Array, Int64Array


def clusters(counts: list[int], *, seed: int = 0, apart: float = 4.0) -> tuple[Float32Array, Int64Array]:
    """Embeddings of classes that lie apart, as after a ReLU: none is negative."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(counts), 32)) * apart
    labels = np.repeat(np.arange(len(counts)), counts)
    embeddings = np.maximum(centres[labels] + rng.normal(size=(len(labels), 32)), 0).astype(np.float32)
    order = rng.permutation(len(labels))
    return embeddings[order], labels[order]


def check(answer: OutOfSample, count: int, classes: int) -> None:
    assert answer.probabilities.shape == (count, classes)
    assert answer.probabilities.dtype == np.float32
    assert answer.fold.shape == (count,)
    assert answer.fold.dtype == np.int8
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1, atol=1e-5)
    assert answer.probabilities.min() >= 0


def test_it_ranks_planted_errors_first() -> None:
    embeddings, truth = clusters([150, 150])
    wrong = np.random.default_rng(1).choice(300, 18, replace=False)
    labels = truth.copy()
    labels[wrong] = 1 - labels[wrong]
    answer = out_of_sample(embeddings.astype(np.float16), labels, n_classes=2)
    check(answer, 300, 2)
    assert answer.notes == ()
    worst = np.argsort(label_quality(labels, answer.probabilities))[:36]
    assert len(set(worst.tolist()) & set(wrong.tolist())) == 18


def test_no_image_is_predicted_by_a_classifier_that_learned_it() -> None:
    """Embeddings that say nothing: only a classifier that has seen an image can do better than chance on it."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(200, 400)).astype(np.float32)
    labels = rng.integers(0, 2, 200)
    answer = out_of_sample(embeddings, labels, n_classes=2)
    assert abs((answer.probabilities.argmax(axis=1) == labels).mean() - 0.5) < 0.15


def test_near_duplicates_stay_in_one_fold() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(100, 400)).astype(np.float32).repeat(2, axis=0)
    labels = rng.integers(0, 2, 100).repeat(2)
    groups = np.arange(100).repeat(2)
    answer = out_of_sample(embeddings, labels, n_classes=2, groups=groups)
    assert (answer.fold[::2] == answer.fold[1::2]).all()
    grouped = (answer.probabilities.argmax(axis=1) == labels).mean()
    leaking = (out_of_sample(embeddings, labels, n_classes=2).probabilities.argmax(axis=1) == labels).mean()
    assert grouped < 0.65 < leaking


def test_it_is_the_same_for_the_same_seed_and_tells_its_progress() -> None:
    embeddings, labels = clusters([40, 40, 40])
    told: list[tuple[int, int]] = []
    first = out_of_sample(embeddings, labels, n_classes=3, progress=lambda done, of: told.append((done, of)))
    second = out_of_sample(embeddings, labels, n_classes=3)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert told == [(1, 1)]
    assert np.bincount(first.fold).tolist() == [24] * 5


def test_it_does_not_change_the_callers_embeddings() -> None:
    embeddings, labels = clusters([20, 20])
    before = embeddings.copy()
    out_of_sample(embeddings, labels, n_classes=2)
    np.testing.assert_array_equal(embeddings, before)


def test_a_class_without_labels_gets_no_probability_and_is_noted() -> None:
    embeddings, labels = clusters([30, 30])
    answer = out_of_sample(embeddings, labels, n_classes=3, class_names=("drawings", "neutral", "sexy"))
    check(answer, 60, 3)
    assert not answer.probabilities[:, 2].any()
    assert "sexy" in answer.notes[0]


def test_a_class_with_a_single_image_gets_its_prior_and_is_noted() -> None:
    embeddings, labels = clusters([40, 40, 1])
    answer = out_of_sample(embeddings, labels, n_classes=3)
    check(answer, 81, 3)
    assert answer.probabilities[labels == 2, 2] == pytest.approx(1 / 81, rel=1e-3)
    assert any("too few" in note for note in answer.notes)


def test_unlabelled_images_are_predicted_but_not_learned_from() -> None:
    embeddings, truth = clusters([60, 60])
    labels = truth.copy()
    labels[:30] = -1
    answer = out_of_sample(embeddings, labels, n_classes=2)
    check(answer, 120, 2)
    assert (answer.probabilities[:30].argmax(axis=1) == truth[:30]).mean() > 0.9
    assert any("30 images" in note for note in answer.notes)


def test_fewer_groups_than_folds_make_fewer_folds() -> None:
    embeddings, labels = clusters([2, 2])
    answer = out_of_sample(embeddings, labels, n_classes=2)
    check(answer, 4, 2)
    assert any("instead of 5" in note for note in answer.notes)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [-1, -1, -1, -1], [-1, 1, 1, 1]])
def test_one_class_alone_is_refused(labels: list[int]) -> None:
    with pytest.raises(NotEnoughLabels, match="two classes"):
        out_of_sample(np.ones((4, 8), np.float32), np.array(labels), n_classes=2)


def test_one_group_alone_is_refused() -> None:
    with pytest.raises(NotEnoughLabels, match="groups"):
        out_of_sample(np.ones((4, 8), np.float32), np.array([0, 1, 0, 1]), n_classes=2, groups=np.zeros(4, int))


def test_an_image_without_an_embedding_gets_the_classes_shares_and_is_marked() -> None:
    embeddings, labels = clusters([30, 60])
    broken = embeddings.copy()
    broken[13] = np.nan
    broken[40, 2] = np.inf
    answer = out_of_sample(broken, labels, n_classes=2)
    check(answer, 90, 2)
    assert np.flatnonzero(answer.missing).tolist() == [13, 40]
    np.testing.assert_allclose(answer.probabilities[[13, 40]], [[1 / 3, 2 / 3]] * 2, atol=1e-6)
    assert any("2 images have no usable embedding" in note for note in answer.notes)
    assert (answer.probabilities.argmax(axis=1) == labels)[~answer.missing].mean() > 0.95


def test_embeddings_of_no_image_at_all_are_refused() -> None:
    with pytest.raises(ArrayRefused, match="score the images"):
        out_of_sample(np.full((20, 8), np.nan), np.arange(20) % 2, n_classes=2)


def test_an_image_that_one_model_could_not_embed_is_judged_by_the_other() -> None:
    embeddings, labels = clusters([40, 40])
    broken = embeddings.copy()
    broken[5] = np.nan
    answer = out_of_sample([broken, embeddings], labels, n_classes=2)
    assert not answer.missing.any()
    assert answer.probabilities[5, labels[5]] > 0.7
    assert answer.members == (f"{LINEAR} 1", f"{VOTE} 1", f"{LINEAR} 2", f"{VOTE} 2")


def test_each_members_probabilities_come_along_and_the_better_one_counts_more() -> None:
    """The classes differ in one column of many: near and far say little, a linear classifier finds it."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    embeddings = np.abs(rng.normal(size=(400, 60))).astype(np.float32)
    embeddings[:, 7] += 3 * labels
    answer = out_of_sample(embeddings, labels, n_classes=2)
    linear, voted = (one.probabilities for one in answer.opinions)
    assert (linear.argmax(axis=1) == labels).mean() > (voted.argmax(axis=1) == labels).mean() + 0.05
    weight = np.linalg.lstsq((linear - voted)[:, :1], (answer.probabilities - voted)[:, 0])[0][0]
    assert weight > 0.8


def test_members_are_combined_by_what_the_caller_names() -> None:
    embeddings, labels = clusters([20, 20])
    answer = out_of_sample(embeddings, labels, n_classes=2, combine=lambda members, _: members[1].probabilities)
    np.testing.assert_array_equal(answer.probabilities, answer.opinions[1].probabilities)


def test_the_scoring_models_opinion_counts_in_the_datasets_classes() -> None:
    """Five classes of a model, of which the dataset knows two; embeddings that say nothing."""
    labels = np.arange(200) % 2
    said = np.full((200, 5), 0.025)
    said[np.arange(200), np.where(labels == 1, 3, 0)] = 0.9
    said[7] = [0, 1, 0, 0, 0]
    own = scoring_model_opinion(said, [0, None, 0, 1, 1], n_classes=2, trained_on_these=False)
    np.testing.assert_allclose(
        own.probabilities[[0, 1]], [[0.925 / 0.975, 0.05 / 0.975], [0.05 / 0.975, 0.925 / 0.975]]
    )
    assert np.isnan(own.probabilities[7]).all()
    embeddings = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    answer = out_of_sample(embeddings, labels, n_classes=2, further=[own])
    check(answer, 200, 2)
    assert answer.members == (LINEAR, VOTE, OWN_OPINION)
    assert (answer.probabilities.argmax(axis=1) == labels).mean() > 0.98


def test_a_model_that_was_trained_on_the_images_has_no_say() -> None:
    with pytest.raises(InSample, match="trained on them"):
        scoring_model_opinion(np.full((4, 2), 0.5), None, n_classes=2, trained_on_these=True)


def test_an_opinion_that_does_not_fit_is_refused() -> None:
    embeddings, labels = clusters([20, 20])
    with pytest.raises(ArrayRefused, match="class map"):
        scoring_model_opinion(np.full((4, 3), 1 / 3), None, n_classes=2, trained_on_these=False)
    with pytest.raises(ArrayRefused, match=r"0\.\.1"):
        scoring_model_opinion(np.full((4, 2), 0.5), [0, 2], n_classes=2, trained_on_these=False)
    with pytest.raises(ArrayRefused, match="sum to 1"):
        out_of_sample(embeddings, labels, n_classes=2, further=[Member("odd", np.ones((40, 2), np.float32))])
    with pytest.raises(ArrayRefused, match=r"\(40, 2\)"):
        out_of_sample(embeddings, labels, n_classes=2, further=[Member("odd", np.ones((40, 3), np.float32))])


def test_arrays_that_do_not_fit_are_refused() -> None:
    embeddings, labels = clusters([10, 10])
    with pytest.raises(ArrayRefused, match="as many"):
        out_of_sample(embeddings, labels[:-1], n_classes=2)
    with pytest.raises(ArrayRefused, match="labels -1 to 1"):
        out_of_sample(embeddings, labels + 1, n_classes=2)
    with pytest.raises(ArrayRefused, match="float"):
        out_of_sample(labels, labels, n_classes=2)  # type: ignore[arg-type]


def test_images_that_all_look_the_same_get_the_classes_shares_and_a_note() -> None:
    answer = out_of_sample(np.full((40, 8), 0.3, np.float32), np.arange(40) % 4 // 3, n_classes=2)
    check(answer, 40, 2)
    np.testing.assert_allclose(answer.probabilities[:, 0], 0.75, atol=0.02)
    assert any("look the same" in note for note in answer.notes)
