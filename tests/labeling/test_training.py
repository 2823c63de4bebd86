"""Training on a release: from frozen entries to a registered model that names its release."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from django.conf import settings

from inference.models.compiled import CompiledModel
from inference.models.sidecar import ModelFolder
from inference.preprocess import decode, prepare
from labeling.actions.datasets import dataset_for_import
from labeling.actions.escalations import escalate
from labeling.errors import NothingToDo, TrainingRefused, WrongUsage
from labeling.models import Dataset, ModelVersion, Release, Role, Run, RunKind, RunState, TrainingEpoch
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.importing import import_images, plan_import
from labeling.pipeline.judging import trained_on
from labeling.pipeline.model_versions import fetch_model, model_folder
from labeling.pipeline.scoring import score
from labeling.pipeline.training import ABANDONED_AFTER_DAYS, TrainOptions, forget_abandoned, train
from labeling.queries.training import training_summary
from labeling.taxonomies import load_taxonomy
from tests.coloured import coloured_release, write_coloured
from tests.conftest import member
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


TINY = TrainOptions(size="trial", weights="none", epochs=2, batch_size=8)


@pytest.mark.slow
def test_what_is_gone_changed_or_in_quarantine_is_left_out_and_counted_and_test_is_not_touched(
    cut: tuple[Dataset, Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, release = cut
    learned = list(dataset.images.filter(split="train").order_by("pk"))
    (tmp_path / "images" / learned[0].path).unlink()
    (tmp_path / "images" / learned[1].path).write_bytes(b"something else")
    escalate(
        dataset=dataset, images=[learned[2].pk], person=member(dataset, "mo", Role.MODERATOR), key=uuid4(), note="look"
    )
    shutil.rmtree(tmp_path / "images" / "test")
    model = train(release, recipe="five_vit", options=TINY)
    summary = training_summary(model)
    assert (summary.learned_from, summary.validated_on, summary.refused, summary.in_quarantine) == (39, 25, 2, 1)
    assert set(Run.objects.get(kind=RunKind.TRAIN).refusals.values_list("path", "code")) == {
        (learned[0].path, "missing"),
        (learned[1].path, "changed"),
    }
    assert [epoch.number for epoch in summary.history] == [1, 2]
    assert summary.history[1].loss < summary.history[0].loss
    assert [note.partition(",")[0] for note in summary.notes] == ["Started from chance"]

    # A model that goes on from it has learned from the same release too.
    second = train(release, recipe="five_vit", options=replace(TINY, weights="set-five-vit", epochs=1))
    assert (second.version, second.sidecar["trained_on"]) == (2, "set 1.0")
    first_loss = TrainingEpoch.objects.get(run=second.trained_by, number=1).loss
    assert first_loss < summary.history[0].loss


@pytest.mark.slow
def test_weights_that_do_not_fit_end_the_run_with_a_reason(starter: ModelVersion, cut: tuple[Dataset, Release]) -> None:
    _, release = cut
    with pytest.raises(TrainingRefused, match=r"expected a ViT/16 of .* received a network of 2,257,984"):
        train(release, recipe="five_vit", options=replace(TINY, weights=starter.name))
    run = Run.objects.get(kind=RunKind.TRAIN)
    assert run.state == RunState.FAILED
    assert "name another model, or another size" in run.error
    with pytest.raises(TrainingRefused, match="there is none"):
        train(release, recipe="five_vit", options=replace(TINY, weights="/nowhere/model.keras"))


def test_a_head_cannot_start_from_imagenet(cut: tuple[Dataset, Release]) -> None:
    with pytest.raises(WrongUsage, match="needs a registered model whose embeddings are stored"):
        train(cut[1], recipe="quick_head", options=TrainOptions(weights="imagenet"))


def test_a_release_of_one_class_has_nothing_to_tell_apart(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_coloured(folder, {"train": 3, "test": 2}, ["drawings"])
    spec = load_taxonomy("five")
    dataset = dataset_for_import("one", spec)
    import_images(dataset, plan_import(folder, spec, labels=None, mapping={}))
    with pytest.raises(NothingToDo, match=r"images of two classes or more in train, but one 1\.0 has 1"):
        train(cut_release(dataset), recipe="five_vit", options=TINY)


def test_what_nobody_took_up_again_is_forgotten_and_what_may_still_go_on_stays(tmp_path: Path) -> None:
    long_ago = time.time() - (ABANDONED_AFTER_DAYS + 1) * 86_400
    for name in ("abandoned", "resumed", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint").write_bytes(b"weights")
    for old in ("abandoned/checkpoint", "abandoned", "resumed"):
        os.utime(tmp_path / old, (long_ago, long_ago))
    forget_abandoned(tmp_path)
    forget_abandoned(tmp_path / "not there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "resumed"]
