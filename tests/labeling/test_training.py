"""Training on a release: from frozen entries to a registered model that names its release."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from inference.models.compiled import CompiledModel
from inference.models.sidecar import ModelFolder
from inference.preprocess import decode, prepare
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import Dataset, ModelVersion, Release, Run, RunKind, RunState, TrainingEpoch
from labeling.pipeline.judging import trained_on
from labeling.pipeline.model_versions import fetch_model, model_folder
from labeling.pipeline.scoring import score
from labeling.pipeline.training import TrainOptions, train
from labeling.queries.training import training_summary
from tests.coloured import coloured_release
from tests.starter import CHECKOUT, starter_model_folder

pytestmark = pytest.mark.django_db


@pytest.fixture
def starter(db: None) -> ModelVersion:
    """The starter model in this home, with the package that it came from."""
    target = settings.MODELS_ROOT / starter_model_folder().name
    if not target.exists():
        shutil.copytree(starter_model_folder(), target)
    cache = Path(settings.WINNOW_HOME) / "cache"
    if not cache.exists() and (CHECKOUT / "var" / "cache").exists():
        shutil.copytree(CHECKOUT / "var" / "cache", cache)
    return fetch_model("nsfwjs-mobilenet-v2")


@pytest.fixture
def cut(tmp_path: Path, db: None) -> tuple[Dataset, Release]:
    return coloured_release(tmp_path / "images", {"train": 8, "validation": 5, "test": 2})


@pytest.mark.slow
def test_a_quick_head_becomes_a_registered_model_that_names_its_release_and_scores_images(
    starter: ModelVersion, cut: tuple[Dataset, Release], tmp_path: Path
) -> None:
    dataset, release = cut
    score(dataset)
    model = train(release, recipe="quick_head", options=TrainOptions(also=("h5", "tflite", "savedmodel")))
    assert (model.name, model.version, model.release, model.profile) == ("set-quick-head", 1, release, "nsfwjs")
    assert model.sidecar["trained_on"] == "set 1.0"
    assert trained_on(model, dataset)
    assert model.sidecar["drift"]["max_probability"] <= 1e-3
    run = Run.objects.get(kind=RunKind.TRAIN)
    assert (run.state, run.model_version) == (RunState.DONE, model)
    assert (run.summary["learned_from"], run.summary["validated_on"]) == (40, 25)
    [epoch] = TrainingEpoch.objects.filter(run=run)
    assert epoch.validation_accuracy == 1
    assert epoch.validation_loss is not None
    assert epoch.validation_loss < 0.2

    folder = model_folder(model)
    assert {path.name for path in (folder / "files").iterdir()} == {
        "model.keras", "model.h5", "model.tflite", "saved_model", "class_labels.txt", "facts.json"
    }  # fmt: skip
    compiled = CompiledModel.open(ModelFolder.open(folder))
    names = model.sidecar["class_names"]
    never_seen = sorted((tmp_path / "images" / "test").rglob("*.png"))
    probabilities, _ = compiled.predict(
        np.stack([prepare(decode(path), model.profile, (224, 224)) for path in never_seen])
    )
    said = [names[winner] for winner in probabilities.argmax(axis=1)]
    assert np.mean([one == path.parent.name for one, path in zip(said, never_seen, strict=True)]) >= 0.7
    assert not list((Path(settings.WINNOW_HOME) / "training").glob("quick_head-*"))
    assert json.loads(json.dumps(training_summary(model).history[0].number)) == 1


def test_a_head_without_stored_embeddings_is_refused_with_the_command_that_stores_them(
    starter: ModelVersion, cut: tuple[Dataset, Release]
) -> None:
    _, release = cut
    with pytest.raises(NothingToDo, match=r"manage\.py score set --model nsfwjs-mobilenet-v2"):
        train(release, recipe="quick_head")


def test_a_recipe_that_does_not_fit_is_refused_before_anything_starts(cut: tuple[Dataset, Release]) -> None:
    _, release = cut
    with pytest.raises(WrongUsage, match=r"expected 7 classes .* has 5: choose quick_head, five_inception, five_vit"):
        train(release, recipe="seven_mobilenet")
    with pytest.raises(WrongUsage, match="received 'best': for 5 classes choose quick_head"):
        train(release, recipe="best")
    with pytest.raises(WrongUsage, match="formats of h5, savedmodel, tflite, received pickle"):
        train(release, recipe="five_vit", options=TrainOptions(also=("pickle",)))
    with pytest.raises(WrongUsage, match="size of full, tiny, trial"):
        train(release, recipe="five_vit", options=TrainOptions(size="huge"))
    with pytest.raises(WrongUsage, match="There is no model 'elsewhere'"):
        train(release, recipe="five_inception", options=TrainOptions(weights="elsewhere"))
    assert not Run.objects.filter(kind=RunKind.TRAIN).exists()
