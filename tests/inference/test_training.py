"""Training by a recipe: it learns, what it writes answers alike in every form, and a killed one ends the same."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.errors import ArrayRefused, ModelRefused
from inference.fine_tuning import Original, original_of
from inference.head import fit_head
from inference.models.compile import MAX_DRIFT
from inference.models.declared import Declared
from inference.models.register import register_model
from inference.models.sidecar import ModelFolder
from inference.preprocess import decode, prepare
from inference.recipes import RECIPES, find_recipe, fitting_recipes
from inference.training import (
    ALSO,
    Answers,
    Choices,
    EpochFigures,
    Pictures,
    Start,
    Trained,
    TrainingProgress,
    train_by_recipe,
)
from tests.coloured import write_coloured
from tests.starter import CHECKOUT, inception_model_folder

CHANCE = Start("none")


def answers_for(recipe: str) -> Answers:
    count = RECIPES[recipe].n_classes or 5
    names = ("sfw", "nsfw") if count == 2 else tuple(f"class_{number}" for number in range(count))
    groups = tuple("safe" if number % 2 else "adult" for number in range(count))
    return Answers(names, groups, 1 if count == 2 else None)


def pictures_in(folder: Path, classes: tuple[str, ...], *, learn: int = 6, judge: int = 2) -> Pictures:
    write_coloured(folder, {"train": learn, "validation": judge}, classes)
    paths = sorted(folder.rglob("*.png"))
    return Pictures(
        paths=paths,
        sha256=[hashlib.sha256(path.read_bytes()).hexdigest() for path in paths],
        labels=np.array([classes.index(path.parent.name) for path in paths]),
        validation=np.array([path.parent.parent.name == "validation" for path in paths]),
    )


def registered(folder: Path) -> Start:
    return Start("file", original_of(ModelFolder.open(folder).sidecar, cache=CHECKOUT / "var" / "cache"))


def starter(request: pytest.FixtureRequest) -> Start:
    return registered(request.getfixturevalue("starter_folder"))


def inception(request: pytest.FixtureRequest) -> Start:
    return registered(inception_model_folder())


def chance(request: pytest.FixtureRequest) -> Start:
    return CHANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "start"),
    [
        ("binary_mobilenet", "full", starter),
        ("seven_mobilenet", "full", starter),
        ("five_vit", "trial", chance),
        ("five_inception", "full", inception),
    ],
)
def test_each_recipe_learns_and_what_it_writes_answers_alike_in_every_form(
    name: str,
    size: str,
    start: Callable[[pytest.FixtureRequest], Start],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    recipe, answers = RECIPES[name], answers_for(name)
    pictures = pictures_in(tmp_path / "pictures", answers.class_names, learn=4 if name == "five_inception" else 6)
    choices = Choices.of(recipe, epochs=2, batch_size=8, size=size)
    trained = train_by_recipe(
        recipe, start(request), pictures, answers, choices, into=tmp_path / "work", also=tuple(ALSO)
    )
    first, second = trained.epochs
    assert second.loss < first.loss
    assert trained.best_epoch in (1, 2)
    assert first.validation_loss is not None
    assert (first.validation_group_accuracy is None) == (name == "binary_mobilenet")
    assert not trained.refused

    labels = (trained.answer / "class_labels.txt").read_text().split()
    assert labels == list(answers.class_names)
    some = np.stack([prepare(decode(path), recipe.profile, (recipe.side,) * 2) for path in pictures.paths[::7]])
    np.save(tmp_path / "some.npy", some)
    done = subprocess.run(
        [sys.executable, "-m", "tests.inference.check_forms", str(trained.answer), str(tmp_path / "some.npy")],
        cwd=CHECKOUT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["shape"] == [len(some), 1 if name == "binary_mobilenet" else len(answers.class_names)]
    assert set(said["apart"]) == {"model.keras", "model.h5", "saved_model", "model.tflite"}
    assert max(said["apart"].values()) < 1e-4

    folder = register_model(
        Declared(
            path=str(trained.keras_file),
            name="trained",
            taxonomy="made-up",
            class_names=answers.class_names,
            profile=recipe.profile,
            positive_class=None if answers.positive is None else answers.class_names[answers.positive],
            embedding_layer=trained.embedding_layer,
        ),
        tmp_path / "models",
        files=trained.answer,
    )
    assert folder.sidecar.runtime == "litert"
    assert folder.sidecar.drift["max_probability"] <= MAX_DRIFT
    assert folder.sidecar.positive_class == ("nsfw" if name == "binary_mobilenet" else None)
    assert (folder.path / "files" / "model.keras").is_file()


class Killed(Exception):
    pass


def killed_at(reached: Callable[[TrainingProgress], bool]) -> Callable[[TrainingProgress], None]:
    def listen(now: TrainingProgress) -> None:
        if reached(now):
            raise Killed

    return listen


def figures(trained: Trained) -> list[EpochFigures]:
    return [replace(epoch, seconds=0) for epoch in trained.epochs]


def weights_of(trained: Trained, tmp_path: Path) -> bytes:
    """The compiled network, which holds weights and no times."""
    return (trained.answer / "model.tflite").read_bytes()


@pytest.mark.slow
def test_a_training_that_is_killed_within_and_between_epochs_ends_with_the_very_same_weights(tmp_path: Path) -> None:
    recipe, answers = RECIPES["five_vit"], answers_for("five_vit")
    pictures = pictures_in(tmp_path / "pictures", answers.class_names)
    broken = pictures.paths[3]
    choices = replace(Choices.of(recipe, epochs=3, batch_size=8, size="trial"), checkpoint_seconds=0)
    broken.write_bytes(b"no picture")

    def train(into: str, progress: Callable[[TrainingProgress], None] | None = None) -> Trained:
        return train_by_recipe(
            recipe, CHANCE, pictures, answers, choices, into=tmp_path / into, also=("tflite",), progress=progress
        )

    with pytest.raises(Killed):
        train("killed", killed_at(lambda now: now.stage == "epoch 1 of 3" and now.done >= 1))
    [work] = (tmp_path / "killed").iterdir()
    with pytest.raises(Killed):
        train("killed", killed_at(lambda now: now.epoch is not None and now.epoch.number == 2))
    assert (work / "state.npz").is_file()
    assert not (work / "answer").exists()
    again, whole = train("killed"), train("whole")
    assert figures(again) == figures(whole)
    assert again.refused == whole.refused
    assert [(one.row, one.code) for one in whole.refused] == [(3, "changed")]
    assert weights_of(again, tmp_path) == weights_of(whole, tmp_path)


@pytest.mark.slow
def test_files_that_cannot_be_used_are_named_and_left_out(tmp_path: Path) -> None:
    recipe, answers = RECIPES["five_vit"], answers_for("five_vit")
    pictures = pictures_in(tmp_path / "pictures", answers.class_names)
    first, second, third = pictures.paths[0], pictures.paths[1], pictures.paths[-1]
    first.unlink()
    second.write_bytes(b"other bytes than were released")
    third.write_bytes(b"broken, and released so")
    hashes = [*pictures.sha256[:-1], hashlib.sha256(third.read_bytes()).hexdigest()]
    heard: list[tuple[int, str]] = []

    def listen(now: TrainingProgress) -> None:
        if now.refused is not None:
            heard.append((now.refused.row, now.refused.code))

    trained = train_by_recipe(
        recipe, CHANCE, replace(pictures, sha256=hashes), answers,
        Choices.of(recipe, epochs=2, batch_size=8, size="trial"), into=tmp_path / "work", progress=listen,
    )  # fmt: skip
    last = len(pictures.paths) - 1
    assert [(one.row, one.code) for one in trained.refused] == [(0, "missing"), (1, "changed"), (last, "not_an_image")]
    assert sorted(heard) == [(one.row, one.code) for one in trained.refused]


def published(width: int, depth: int, heads: int, patches: int, seed: int = 0) -> dict[str, Any]:
    """Weights of a small transformer, named and shaped as Google publishes them."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> Any:
        return rng.normal(0, 0.15, shape).astype(np.float32)

    arrays = {
        "cls": drawn(1, 1, width),
        "embedding/kernel": drawn(16, 16, 3, width),
        "embedding/bias": drawn(width),
        "Transformer/posembed_input/pos_embedding": drawn(1, patches + 1, width),
        "Transformer/encoder_norm/scale": 1 + drawn(width),
        "Transformer/encoder_norm/bias": drawn(width),
    }
    for number in range(depth):
        at = f"Transformer/encoderblock_{number}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            arrays |= {f"{at}/{norm}/scale": 1 + drawn(width), f"{at}/{norm}/bias": drawn(width)}
        for part in ("query", "key", "value"):
            arrays[f"{at}/MultiHeadDotProductAttention_1/{part}/kernel"] = drawn(width, heads, width // heads)
            arrays[f"{at}/MultiHeadDotProductAttention_1/{part}/bias"] = drawn(heads, width // heads)
        arrays[f"{at}/MultiHeadDotProductAttention_1/out/kernel"] = drawn(heads, width // heads, width)
        arrays[f"{at}/MultiHeadDotProductAttention_1/out/bias"] = drawn(width)
        arrays |= {
            f"{at}/MlpBlock_3/Dense_0/kernel": drawn(width, 4 * width),
            f"{at}/MlpBlock_3/Dense_0/bias": drawn(4 * width),
            f"{at}/MlpBlock_3/Dense_1/kernel": drawn(4 * width, width),
            f"{at}/MlpBlock_3/Dense_1/bias": drawn(width),
        }
    return arrays


def transformer(arrays: dict[str, Any], picture: Any, depth: int) -> Any:
    """Dosovitskiy et al. 2021, equations 1 to 4, written down once more: (side, side, 3) → (width,)."""
    from scipy.special import erf, softmax

    def normed(tokens: Any, name: str) -> Any:
        mean, spread = tokens.mean(axis=1, keepdims=True), np.sqrt(tokens.var(axis=1, keepdims=True) + 1e-6)
        return (tokens - mean) / spread * arrays[f"{name}/scale"] + arrays[f"{name}/bias"]

    rows = picture.shape[0] // 16
    patches = picture.reshape(rows, 16, rows, 16, 3).swapaxes(1, 2).reshape(rows * rows, 16, 16, 3)
    tokens = np.einsum("pabc,abcw->pw", patches, arrays["embedding/kernel"]) + arrays["embedding/bias"]
    tokens = np.concatenate([arrays["cls"][0], tokens]) + arrays["Transformer/posembed_input/pos_embedding"][0]
    for number in range(depth):
        at = f"Transformer/encoderblock_{number}"
        given = normed(tokens, f"{at}/LayerNorm_0")
        attention = f"{at}/MultiHeadDotProductAttention_1"
        query, key, value = (
            np.einsum("tw,whd->thd", given, arrays[f"{attention}/{part}/kernel"]) + arrays[f"{attention}/{part}/bias"]
            for part in ("query", "key", "value")
        )
        seen = softmax(np.einsum("thd,shd->hts", query, key) / np.sqrt(query.shape[2]), axis=2)
        mixed = np.einsum("hts,shd->thd", seen, value)
        out = np.einsum("thd,hdw->tw", mixed, arrays[f"{attention}/out/kernel"])
        tokens = tokens + out + arrays[f"{attention}/out/bias"]
        hidden = normed(tokens, f"{at}/LayerNorm_2") @ arrays[f"{at}/MlpBlock_3/Dense_0/kernel"]
        hidden = hidden + arrays[f"{at}/MlpBlock_3/Dense_0/bias"]
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        tokens = tokens + hidden @ arrays[f"{at}/MlpBlock_3/Dense_1/kernel"] + arrays[f"{at}/MlpBlock_3/Dense_1/bias"]
    return normed(tokens, "Transformer/encoder_norm")[0]


TRANSFORMER = """
import sys, numpy as np
from pathlib import Path
from inference.recipes.vit import build_vit, load_published
network = build_vit(32, width=24, depth=2, heads=3)
load_published(network, Path(sys.argv[1]))
np.save(sys.argv[3], network(np.load(sys.argv[2])).numpy())
"""


@pytest.mark.slow
def test_the_transformer_of_stock_layers_computes_what_the_paper_says_with_published_weights(tmp_path: Path) -> None:
    arrays = published(24, 2, 3, 4)
    np.savez(tmp_path / "weights.npz", **arrays)
    pictures = np.random.default_rng(1).uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "pictures.npy", pictures)
    places = [str(tmp_path / name) for name in ("weights.npz", "pictures.npy", "answer.npy")]
    subprocess.run([sys.executable, "-c", TRANSFORMER, *places], cwd=CHECKOUT, check=True, capture_output=True)
    wanted = np.stack([transformer(arrays, picture, 2) for picture in pictures])
    np.testing.assert_allclose(np.load(places[2]), wanted, atol=2e-5)


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_training_with_what_to_do(tmp_path: Path) -> None:
    recipe, answers = RECIPES["five_vit"], answers_for("five_vit")
    arrays = published(48, 2, 3, 196)
    arrays["Transformer/encoder_norm/bias"][:] = np.nan
    np.savez(tmp_path / "damaged.npz", **arrays)
    start = Start("file", Original(tmp_path / "damaged.npz", "vit_half"))
    pictures = pictures_in(tmp_path / "pictures", answers.class_names, learn=2, judge=1)
    with pytest.raises(
        ModelRefused, match=r"received nan in epoch 1: .* lower learning rate \(1e-05 instead of 0.0001"
    ):
        train_by_recipe(recipe, start, pictures, answers, Choices.of(recipe, size="trial"), into=tmp_path / "work")


@pytest.mark.slow
def test_imagenet_weights_that_cannot_be_had_are_named_with_the_place_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    recipe, answers = RECIPES["five_vit"], answers_for("five_vit")
    pictures = pictures_in(tmp_path / "pictures", answers.class_names, learn=2, judge=1)
    with pytest.raises(ModelRefused, match=r"put the file ViT-B_16\.npz there") as refused:
        train_by_recipe(recipe, Start("imagenet"), pictures, answers, Choices.of(recipe), into=tmp_path / "work")
    assert str(tmp_path / "keras" / "models" / "ViT-B_16.npz") in str(refused.value)


def test_a_recipe_is_found_by_name_and_number_of_classes() -> None:
    assert [recipe.name for recipe in fitting_recipes(2)] == ["quick_head", "binary_mobilenet"]
    assert [recipe.name for recipe in fitting_recipes(5)] == ["quick_head", "five_inception", "five_vit"]
    assert [recipe.name for recipe in fitting_recipes(9)] == ["quick_head"]
    assert find_recipe("seven_mobilenet", 7).profile == "seven"
    with pytest.raises(ModelRefused, match=r"expected 2 classes .*, the taxonomy has 9: choose quick_head$"):
        find_recipe("binary_mobilenet", 9)


def test_the_recipe_of_the_tutorial_augments_as_the_tutorial_does() -> None:
    recipe = RECIPES["binary_mobilenet"]
    told = recipe.augmentation
    assert told is not None
    assert (told.rotation, told.shift, told.shear, told.zoom, told.flip) == (40, 0.2, 0.2, 0.2, True)
    assert (recipe.hidden, recipe.one_output, recipe.learning_rate, recipe.batch_size) == (1024, True, 1e-4, 32)


def test_choices_out_of_range_are_refused() -> None:
    recipe = RECIPES["five_vit"]
    for wrong in ({"epochs": 0}, {"batch_size": 4096}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}):
        with pytest.raises(ArrayRefused, match="expected 1 to 1000 epochs"):
            Choices.of(recipe, **wrong)
    with pytest.raises(ModelRefused, match="expected a size of full, tiny, trial"):
        Choices.of(recipe, size="giant")


def test_a_head_is_as_sure_as_images_that_it_never_saw_allow() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 1200)
    centres = rng.normal(0, 1, (3, 24))
    embeddings = centres[labels] + rng.normal(0, 2.0, (1200, 24))
    validation = np.arange(1200) % 3 == 0
    head = fit_head(embeddings, labels, validation, n_classes=4)
    scores = embeddings @ head.kernel + head.bias
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    assert probabilities[:, 3].max() < 1e-6, "a class without an image was predicted"
    said, right = probabilities[validation].max(axis=1), probabilities[validation].argmax(axis=1) == labels[validation]
    assert abs(said.mean() - right.mean()) < 0.03
    assert head.validation_accuracy == pytest.approx(right.mean())


def test_a_head_refuses_embeddings_that_are_no_numbers_and_a_single_class() -> None:
    labels, nowhere = np.zeros(6, dtype=np.int64), np.zeros(6, dtype=bool)
    with pytest.raises(ArrayRefused, match="two classes or more"):
        fit_head(np.ones((6, 2)), labels, nowhere, n_classes=2)
    with pytest.raises(ArrayRefused, match="finite embeddings"):
        fit_head(np.full((6, 2), np.nan), labels, nowhere, n_classes=2)
    with pytest.raises(ArrayRefused, match="with N labels"):
        fit_head(np.ones((5, 2)), labels, nowhere, n_classes=2)


@pytest.mark.slow
def test_what_was_computed_in_16_bits_is_kept_in_32_and_learns_too(tmp_path: Path) -> None:
    recipe, answers = RECIPES["five_vit"], answers_for("five_vit")
    pictures = pictures_in(tmp_path / "pictures", answers.class_names)
    choices = replace(Choices.of(recipe, epochs=2, batch_size=8, size="trial"), mixed=True)
    trained = train_by_recipe(recipe, CHANCE, pictures, answers, choices, into=tmp_path / "work")
    assert trained.epochs[1].loss < trained.epochs[0].loss
    assert "mixed precision" in " ".join(trained.notes)
    with zipfile.ZipFile(trained.keras_file) as archive:
        assert "float16" not in archive.read("config.json").decode()


PUBLISHED_MOBILENET = """
import sys, h5py, keras
from keras.src.legacy.saving import legacy_h5_format
keras.utils.set_random_seed(0)
network = keras.applications.MobileNetV2(input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=None)
with h5py.File(sys.argv[1], "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, network)
"""


@pytest.mark.slow
def test_imagenet_weights_are_taken_from_where_the_refusal_says_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    place = tmp_path / "keras" / "models" / name
    place.parent.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", PUBLISHED_MOBILENET, str(place)], check=True, capture_output=True)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    recipe, answers = RECIPES["seven_mobilenet"], answers_for("seven_mobilenet")
    pictures = pictures_in(tmp_path / "pictures", answers.class_names, learn=2, judge=1)
    choices = Choices.of(recipe, epochs=1, batch_size=8, size="small")
    trained = train_by_recipe(recipe, Start("imagenet"), pictures, answers, choices, into=tmp_path / "work")
    assert len(trained.epochs) == 1
    assert not trained.notes
