"""Refitting after new verdicts: the same answer as a fit from nothing, and never a wrong one from a stale file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference import cross_validation, logistic, neighbours
from inference.cross_validation import out_of_sample, refit
from inference.label_quality import label_quality
from inference.types import Float32Array, Int64Array


@pytest.fixture
def noisy() -> tuple[Float32Array, Int64Array, Int64Array]:
    """Overlapping clusters of three classes, their truth, and labels of which a fifth are wrong."""
    rng = np.random.default_rng(0)
    truth = np.arange(600) % 3
    embeddings = np.abs(rng.normal(size=(3, 24))[truth] * 1.2 + rng.normal(size=(600, 24))).astype(np.float32)
    labels = np.where(rng.random(600) < 0.2, (truth + rng.integers(1, 3, 600)) % 3, truth)
    return embeddings, truth, labels


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The label-free steps that were computed, as they happen."""
    calls: list[str] = []
    for module, name in ((logistic, "measure_scaling"), (neighbours, "find_neighbours")):
        original = getattr(module, name)

        def called(*given: object, name: str = name, original: object = original, **named: object) -> object:
            calls.append(name)
            return original(*given, **named)  # type: ignore[operator]

        monkeypatch.setattr(module, name, called)
    return calls


def test_it_answers_as_a_fit_from_nothing_does_in_fewer_passes(
    noisy: tuple[Float32Array, Int64Array, Int64Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, truth, labels = noisy
    state = tmp_path / "fit.npz"
    passes: list[int] = []
    fit_folds = logistic.fit_folds

    def watched(*given: object, **named: object) -> logistic.FoldWeights:
        fitted = fit_folds(*given, **named)  # type: ignore[arg-type]
        passes.append(fitted.iterations)
        return fitted

    monkeypatch.setattr(logistic, "fit_folds", watched)
    first = out_of_sample(embeddings, labels, n_classes=3, state=state)
    repaired = labels.copy()
    worst = np.argsort(label_quality(labels, first.probabilities))[:2]
    repaired[worst] = truth[worst]
    calls = counted(monkeypatch)
    again = refit(embeddings, repaired, n_classes=3, state=state)
    assert calls == []
    np.testing.assert_array_equal(again.fold, first.fold)
    monkeypatch.setattr(cross_validation, "stratify_groups", lambda *_, **__: first.fold)
    afresh = out_of_sample(embeddings, repaired, n_classes=3)
    np.testing.assert_allclose(again.probabilities, afresh.probabilities, atol=5e-3)
    assert passes[1] < passes[2]


def test_re_ranking_finds_the_remaining_errors_earlier_than_the_first_order(tmp_path: Path) -> None:
    """Half of class 0 is labelled 1, so the model believes it; each repair makes it doubt the rest."""
    rng = np.random.default_rng(3)
    truth = np.repeat([0, 0, 1, 2], 100)
    embeddings = np.abs(rng.normal(size=(3, 12))[truth] * 2 + rng.normal(size=(400, 12))).astype(np.float32)
    wrong = (truth == 0) & (rng.random(400) < 0.55)
    given = np.where(wrong, 1, truth)
    state = tmp_path / "fit.npz"
    first = label_quality(given, out_of_sample(embeddings, given, n_classes=3, state=state).probabilities)
    static = wrong[np.argsort(first)][:120].sum()
    labels, seen = given.copy(), np.zeros(400, dtype=bool)
    quality = first
    for _ in range(12):
        batch = np.argsort(np.where(seen, np.inf, quality))[:10]
        seen[batch], labels[batch] = True, truth[batch]
        judged = refit(embeddings, labels, n_classes=3, state=state)
        quality = label_quality(labels, judged.probabilities)
    assert wrong[seen].sum() >= static + 10


def test_a_missing_a_torn_and_a_foreign_state_are_left_alone(
    noisy: tuple[Float32Array, Int64Array, Int64Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, _, labels = noisy
    state = tmp_path / "fit.npz"
    expected = out_of_sample(embeddings, labels, n_classes=3).probabilities
    calls = counted(monkeypatch)

    def answer() -> Float32Array:
        return refit(embeddings, labels, n_classes=3, state=state).probabilities

    np.testing.assert_array_equal(answer(), expected)
    whole = state.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no archive", whole[:2000] + bytes(600) + whole[2600:]):
        state.write_bytes(content)
        calls.clear()
        np.testing.assert_allclose(answer(), expected, atol=1e-6)
        assert calls == ["measure_scaling", "find_neighbours"]
    out_of_sample(embeddings[::-1], labels, n_classes=3, state=state)
    calls.clear()
    np.testing.assert_array_equal(answer(), expected)
    assert calls == ["measure_scaling", "find_neighbours"]
    calls.clear()
    answer()
    assert calls == []


def test_other_groups_make_other_folds(noisy: tuple[Float32Array, Int64Array, Int64Array], tmp_path: Path) -> None:
    embeddings, _, labels = noisy
    state = tmp_path / "fit.npz"
    out_of_sample(embeddings, labels, n_classes=3, state=state)
    pairs = np.arange(600) // 2
    again = refit(embeddings, labels, n_classes=3, state=state, groups=pairs)
    assert (again.fold[::2] == again.fold[1::2]).all()
