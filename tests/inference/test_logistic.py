"""The classifier of all folds at once is scikit-learn's, found on another way."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from inference import logistic


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1,200 handwritten digits of 64 pixels, of which some never change; ten classes; four folds."""
    pixels, labels = load_digits(return_X_y=True)
    return pixels[:1200].astype(np.float32), labels[:1200].astype(np.int64), (np.arange(1200) % 4).astype(np.int8)


@pytest.mark.parametrize("whitened", [True, False])
def test_it_finds_what_scikit_learn_finds(whitened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not whitened:
        monkeypatch.setattr(logistic, "MAX_WHITENED", 10)
    features, labels, fold = digits()
    weights = 1.0 + (np.arange(1200) % 3 == 0)
    scaling = logistic.measure_scaling(features, np.ones(1200, dtype=bool))
    fitted = logistic.fit_folds(features, scaling, labels, fold, weights, folds=4, n_classes=10)
    answer = logistic.held_out_probabilities(features, scaling, fitted, fold)
    assert fitted.finished.all()
    spread = features.std(axis=0)
    standardised = (features - features.mean(axis=0)) / np.where(spread == 0, 1, spread)
    for number in range(4):
        learn = fold != number
        theirs = LogisticRegression(C=1 / (logistic.PENALTY * weights[learn].sum()), tol=1e-7, max_iter=1000)
        theirs.fit(standardised[learn], labels[learn], sample_weight=weights[learn])
        np.testing.assert_allclose(answer[~learn], theirs.predict_proba(standardised[~learn]), atol=3e-3)


def test_whitened_it_needs_a_fraction_of_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that nearly repeat each other, as embeddings' do, are what slows other optimisers down."""
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(800, 6)) @ rng.normal(size=(6, 80)) + 0.1 * rng.normal(size=(800, 80))).astype("f4")
    labels = (features[:, 0] > 0).astype(np.int64) + (features[:, 1] > 1)
    fold = (np.arange(800) % 2).astype(np.int8)

    def passes() -> int:
        scaling = logistic.measure_scaling(features, np.ones(800, dtype=bool))
        return logistic.fit_folds(features, scaling, labels, fold, np.ones(800), folds=2, n_classes=3).iterations

    whitened = passes()
    monkeypatch.setattr(logistic, "MAX_WHITENED", 10)
    assert 2 * whitened < passes()


def test_from_its_own_weights_it_has_nothing_left_to_do() -> None:
    features, labels, fold = digits()
    scaling = logistic.measure_scaling(features, np.ones(1200, dtype=bool))
    first = logistic.fit_folds(features, scaling, labels, fold, np.ones(1200), folds=4, n_classes=10)
    again = logistic.fit_folds(
        features, scaling, labels, fold, np.ones(1200), folds=4, n_classes=10, start=first.weights
    )
    assert again.iterations <= 2 < first.iterations
    np.testing.assert_allclose(again.weights, first.weights, atol=1e-2)


def test_rows_without_weight_change_nothing() -> None:
    features, labels, fold = digits()
    weights = np.where(np.arange(1200) < 900, 1.0, 0.0)
    used = weights > 0
    scaling = logistic.measure_scaling(features, used)
    some = logistic.fit_folds(features, scaling, np.where(used, labels, 3), fold, weights, folds=4, n_classes=10)
    alone = logistic.fit_folds(features[:900], scaling, labels[:900], fold[:900], weights[:900], folds=4, n_classes=10)
    np.testing.assert_allclose(some.weights, alone.weights, atol=2e-3)
