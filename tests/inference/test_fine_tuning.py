"""Fine-tuning: each fold by a network that never saw it, and a killed run goes on where it was."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.errors import ArrayRefused, HashMismatch, ModelRefused
from inference.fine_tuning import FineTuningProgress, Original, fine_tune, original_of, training_side
from inference.models.register import source_hash
from inference.models.sidecar import ModelFolder
from inference.train import Recipe
from inference.types import Int64Array

SIDE = 128
RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.02)

# A network for pictures of 128 pixels, with normalisation that has hardly moved, as trained networks have it.
NETWORK = f"""
import sys, keras
keras.utils.set_random_seed(0)
given = keras.Input(({SIDE}, {SIDE}, 3))
x = keras.layers.Conv2D(8, 8, strides=8)(given)
x = keras.layers.BatchNormalization(momentum=0.999)(x)
x = keras.layers.ReLU()(x)
x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
keras.Model(given, keras.layers.Dense(5, activation="softmax")(x)).save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    path = tmp_path_factory.mktemp("model") / "small.keras"
    subprocess.run([sys.executable, "-c", NETWORK, str(path)], check=True, capture_output=True)
    return Original(path, "keras_default")


def pictures(folder: Path, count: int = 48) -> tuple[list[Path], Int64Array]:
    """Noise that is redder in one class and bluer in the other; 24 pixels a side."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    paths = []
    for number, label in enumerate(labels):
        pixels = rng.integers(0, 160, (24, 24, 3))
        pixels[..., 2 * label] += 90
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return paths, labels


class Killed(Exception):
    pass


@pytest.mark.slow
def test_it_learns_without_the_fold_it_judges_and_goes_on_after_a_kill(original: Original, tmp_path: Path) -> None:
    paths, labels = pictures(tmp_path)
    paths[11].write_bytes(b"no picture")
    labels[20] = 1 - labels[20]
    groups = np.arange(48)
    groups[30] = 20  # Its near duplicate, labelled rightly.
    met: list[tuple[int, int]] = []

    def note(progress: FineTuningProgress) -> None:
        if progress.epoch is not None:
            met.append((progress.fold, progress.epoch.number))

    def killed_in_the_second_fold(progress: FineTuningProgress) -> None:
        note(progress)
        if met[-1:] == [(2, 1)]:
            raise Killed

    def run(into: str, progress: object) -> object:
        return fine_tune(
            original, paths, labels, n_classes=3, into=tmp_path / into, groups=groups, folds=2, recipe=RECIPE,
            progress=progress,  # type: ignore[arg-type]
        )  # fmt: skip

    with pytest.raises(Killed):
        run("killed", killed_in_the_second_fold)
    assert met == [(1, 1), (1, 2), (1, 3), (2, 1)]
    [folder] = (tmp_path / "killed").iterdir()
    assert (folder / "fold-0.npz").is_file()
    first_fold = (folder / "fold-0.npz").stat().st_mtime_ns
    met.clear()
    answer = run("killed", note)
    assert {fold for fold, _ in met} == {2}
    assert (folder / "fold-0.npz").stat().st_mtime_ns == first_fold
    assert not [*folder.glob("*.epochs.npz"), *folder.glob("images.f16")]
    met.clear()
    again = run("killed", note)
    assert met == []
    whole = run("whole", note)

    for one in (answer, again, whole):
        assert one.probabilities.shape == (48, 3)  # type: ignore[attr-defined]
        np.testing.assert_allclose(one.probabilities, whole.probabilities, atol=1e-3)  # type: ignore[attr-defined]
    probabilities, fold = whole.probabilities, whole.fold  # type: ignore[attr-defined]
    assert fold[20] == fold[30]
    assert whole.members == ("fine-tuned network",)  # type: ignore[attr-defined]
    assert np.flatnonzero(whole.missing).tolist() == [11]  # type: ignore[attr-defined]
    np.testing.assert_allclose(probabilities[11], [23 / 48, 25 / 48, 0], atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    judged = np.delete(np.arange(48), [11, 20])
    assert (probabilities.argmax(axis=1) == labels)[judged].mean() > 0.9
    assert probabilities[20, labels[20]] < 0.5, "the wrong label was learned by heart"
    notes = " ".join(whole.notes)  # type: ignore[attr-defined]
    assert "96×96" in notes
    assert "Classes without a label, never predicted: 2" in notes
    assert "1 images cannot be read" in notes


@pytest.mark.slow
def test_a_file_without_a_keras_network_is_refused(tmp_path: Path) -> None:
    paths, labels = pictures(tmp_path, 8)
    damaged = tmp_path / "model.keras"
    damaged.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ModelRefused, match=r"complete \.keras"):
        fine_tune(Original(damaged, "keras_default"), paths, labels, n_classes=2, into=tmp_path / "work", folds=2)


def test_a_change_of_labels_begins_anew_and_clears_what_is_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, labels = pictures(tmp_path, 8)
    model = tmp_path / "model.keras"
    model.write_bytes(b"never read here")
    into = tmp_path / "work"
    seen: list[str] = []

    def child(module: str, arguments: list[str], **_: object) -> None:
        folder = Path(arguments[0])
        seen.append(folder.name)
        with np.load(folder / "labels.npz") as arrays:
            fold = arrays["fold"]
        for number in range(2):
            rows = np.flatnonzero(fold == number)
            np.savez(folder / f"fold-{number}.npz", rows=rows, probabilities=np.full((len(rows), 2), 0.5))
        (folder / "images.json").write_text(json.dumps({"side": 96, "unread": [], "notes": []}))

    monkeypatch.setattr("inference.fine_tuning.run_module", child)
    for given in (labels, labels, 1 - labels):
        fine_tune(Original(model, "keras_default"), paths, given, n_classes=2, into=into, folds=2)
    assert len(seen) == len(set(seen)) == 2
    assert [folder.name for folder in into.iterdir()] == seen[1:]


def test_it_starts_from_the_very_file_that_was_registered(starter_folder: Path, tmp_path: Path) -> None:
    starter = ModelFolder.open(starter_folder).sidecar
    cache = starter_folder.parents[1] / "cache"
    found = original_of(starter, cache=cache)
    assert (found.catalogue_name, found.profile, found.path.suffix) == ("nsfwjs-mobilenet-v2", "nsfwjs", ".tgz")
    assert found.path.is_file()
    own = tmp_path / "own.keras"
    own.write_bytes(b"as registered")
    integrity = f"sha256-{source_hash(own)}"
    sidecar = dataclasses.replace(starter, name="own", source="file:own.keras", source_integrity=integrity)
    assert original_of(sidecar, cache=cache, path=own) == Original(own, "nsfwjs", "", "flatten_1")
    with pytest.raises(ModelRefused, match="say where it lies"):
        original_of(sidecar, cache=cache)
    own.write_bytes(b"trained on since")
    with pytest.raises(HashMismatch, match="register this one"):
        original_of(sidecar, cache=cache, path=own)


def test_small_pictures_are_trained_on_small() -> None:
    assert training_side([32] * 9, 224, resizable=True) == 96
    assert training_side([20], 224, resizable=True) == 96
    assert training_side([60, 60, 900], 224, resizable=True) == 192
    assert training_side([640, 480], 224, resizable=True) == 224
    assert training_side([32], 224, resizable=False) == 224
    assert training_side([], 224, resizable=True) == 224


def test_what_does_not_fit_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    model = tmp_path / "model.keras"
    model.write_bytes(b"never read here")
    with pytest.raises(ArrayRefused, match="as many paths"):
        fine_tune(Original(model, "gantman"), [model], np.array([0, 1]), n_classes=2, into=tmp_path / "work")
    with pytest.raises(ModelRefused, match="profile"):
        fine_tune(Original(model, "unheard-of"), [model] * 2, np.array([0, 1]), n_classes=2, into=tmp_path / "work")
    with pytest.raises(ArrayRefused, match="epochs"):
        Recipe(epochs=0)
    assert not (tmp_path / "work").exists()
