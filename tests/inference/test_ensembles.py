"""Members joined by evidence: better than the best, and unharmed by a weak one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from inference.calibration import fit_temperature
from inference.ensembles import combine
from inference.errors import ArrayRefused
from inference.label_quality import label_quality

IMAGES, CLASSES = 3000, 5


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


class Scene:
    """Labels with 10 % errors, and members that see the truth through noise of their own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.truth = self.rng.choice(CLASSES, p=[0.4, 0.3, 0.15, 0.1, 0.05], size=IMAGES)
        self.wrong = self.rng.random(IMAGES) < 0.1
        moved = (self.truth + self.rng.integers(1, CLASSES, size=IMAGES)) % CLASSES
        self.labels = np.where(self.wrong, moved, self.truth)

    def member(self, strength: float) -> np.ndarray:
        return softmax(self.rng.normal(size=(IMAGES, CLASSES)) + strength * np.eye(CLASSES)[self.truth])

    def precision(self, probabilities: np.ndarray) -> float:
        return float(average_precision_score(self.wrong, 1 - label_quality(self.labels, probabilities)))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.fixture(scope="module")
def good(scene: Scene) -> list[np.ndarray]:
    return [scene.member(3.0), scene.member(2.8)]


def weak_members(scene: Scene, good: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shuffled = good.copy()
    half = rng.random(IMAGES) < 0.5
    shuffled[half] = rng.permutation(good[half])
    renamed = good[:, [1, 0, 2, 4, 3]]
    votes = np.stack([rng.multinomial(10, row) for row in 0.3 * good + 0.7 / CLASSES]) / 10
    return {
        "half of the images shuffled": shuffled,
        "classes exchanged": renamed,
        "the labels' frequencies": np.tile(np.bincount(scene.labels) / IMAGES, (IMAGES, 1)),
        "ten noisy votes, many of them 0": votes,
        "overconfident noise": softmax(4 * rng.normal(size=(IMAGES, CLASSES))),
        "uniform": np.full((IMAGES, CLASSES), 1 / CLASSES),
    }


def test_two_good_members_beat_either_by_far(scene: Scene, good: list[np.ndarray]) -> None:
    joint = combine(scene.labels, good, names=["a", "b"])
    assert scene.precision(joint.probabilities) >= max(map(scene.precision, good)) + 0.02
    assert joint.probabilities.dtype == np.float32
    np.testing.assert_allclose(joint.probabilities.sum(axis=1), 1, atol=1e-5)
    assert [member.name for member in joint.members] == ["a", "b"]
    first, second = joint.members
    assert min(first.weight, second.weight) > 0.3
    assert (first.weight > second.weight) == (first.log_loss < second.log_loss)
    assert sum(member.weight for member in joint.members) == pytest.approx(1)
    assert joint.log_loss < min(first.log_loss, second.log_loss) - 0.1


def test_a_weak_member_gets_no_weight_where_a_mean_would_fall_below_the_best(
    scene: Scene, good: list[np.ndarray]
) -> None:
    best = scene.precision(good[0])
    losses = []
    for name, weak in weak_members(scene, good[1]).items():
        joint = combine(scene.labels, [weak, good[0]])
        assert [member.weight for member in joint.members] == [0, 1], name
        assert scene.precision(joint.probabilities) >= best - 1e-6, name
        losses.append(best - scene.precision((weak + good[0]) / 2))
        both = combine(scene.labels, [good[0], weak, good[1]])
        assert both.members[1].weight == 0, name
        assert scene.precision(both.probabilities) >= best + 0.02, name
    assert max(losses) > 0.05


def test_sharpness_decides_nothing(scene: Scene, good: list[np.ndarray]) -> None:
    wanted = combine(scene.labels, good)
    for power in (0.2, 3.0):
        other = good[1] ** power
        other /= other.sum(axis=1, keepdims=True)
        joint = combine(scene.labels, [good[0], other])
        assert joint.members[1].temperature == pytest.approx(power * wanted.members[1].temperature, rel=1e-3)
        np.testing.assert_allclose(joint.probabilities, wanted.probabilities, atol=0.01)


def test_of_two_equal_members_the_first_is_kept_as_it_came(scene: Scene, good: list[np.ndarray]) -> None:
    joint = combine(scene.labels, [good[0], good[0].copy()])
    assert [member.weight for member in joint.members] == [1, 0]
    np.testing.assert_allclose(joint.probabilities, good[0], atol=1e-7)


def test_a_single_member_is_left_as_it_is(scene: Scene, good: list[np.ndarray]) -> None:
    joint = combine(scene.labels, good[:1])
    np.testing.assert_allclose(joint.probabilities, good[0], atol=1e-7)
    assert joint.members[0].weight == 1
    assert joint.notes == ()


def test_unlabelled_images_are_judged_and_tell_nothing(scene: Scene, good: list[np.ndarray]) -> None:
    labels = scene.labels.copy()
    labels[::3] = -1
    joint = combine(labels, good)
    known = labels >= 0
    alone = combine(labels[known], [member[known] for member in good])
    np.testing.assert_allclose(joint.probabilities[known], alone.probabilities, atol=1e-6)
    assert joint.probabilities.shape == (IMAGES, CLASSES)


def test_members_that_know_nothing_weigh_the_same_and_that_is_said(scene: Scene) -> None:
    rng = np.random.default_rng(2)
    joint = combine(scene.labels, [rng.dirichlet(np.ones(CLASSES), IMAGES) for _ in range(2)])
    assert [member.weight for member in joint.members] == [0.5, 0.5]
    assert "No member says more" in joint.notes[0]
    nothing = combine(np.full(4, -1), [np.full((4, 2), 0.5)] * 2)
    assert "No image has a label" in nothing.notes[0]
    assert np.isnan(nothing.log_loss)
    assert combine(np.array([], int), [np.empty((0, 3))] * 2).probabilities.shape == (0, 3)


@pytest.mark.parametrize(
    ("members", "names", "message"),
    [
        ([], None, "one member or more"),
        ([np.full((4, 2), 0.5), np.full((4, 3), 1 / 3)], None, "one shape"),
        ([np.full((4, 2), 0.5), np.full((4, 2), 0.7)], ["a", "b"], "b: expected probabilities"),
        ([np.full((4, 2), 0.5)], ["a", "b"], "a name for each of 1"),
        ([np.full((3, 2), 0.5)], None, "whole numbers as labels"),
    ],
)
def test_members_that_do_not_fit_are_refused(members: list[np.ndarray], names: list[str] | None, message: str) -> None:
    with pytest.raises(ArrayRefused, match=message):
        combine(np.array([0, 1, 0, 1]), members, names=names)


def test_the_temperature_is_the_one_that_made_the_model_overconfident(scene: Scene) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(20000, 4)) * 2
    labels = (rng.random((20000, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1)
    for temperature in (0.25, 1.0, 3.0):
        assert fit_temperature(labels, temperature * logits) == pytest.approx(temperature, rel=0.05)
    assert fit_temperature(labels, np.zeros((20000, 4))) == 1
    assert fit_temperature(labels, np.eye(4)[labels]) == pytest.approx(1 / 20)
    assert fit_temperature(labels, -np.eye(4)[labels]) == pytest.approx(20)
