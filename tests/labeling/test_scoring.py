"""Scoring and finding issues with the real starter model on real files."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from PIL import Image as Picture

from inference.models.sidecar import ModelFolder
from labeling.actions.datasets import dataset_for_import
from labeling.demo_images import write_demo_images
from labeling.errors import LabelingError, NothingToDo, WrongUsage
from labeling.models import (
    Dataset,
    FoldPrediction,
    Image,
    IssueKind,
    ItemState,
    LabelIssue,
    Prediction,
    ReviewItem,
    Run,
    RunKind,
    RunRefusal,
    RunState,
)
from labeling.pipeline import scoring
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.evaluating import evaluate
from labeling.pipeline.finding import find_issues
from labeling.pipeline.importing import import_images, plan_import
from labeling.pipeline.model_versions import current_model, fetch_model, register_folder
from labeling.pipeline.scoring import score
from labeling.queries.ranking import ranking
from labeling.taxonomies import load_taxonomy
from tests.builders import make_dataset, write_class_folders
from tests.starter import starter_model_folder

pytestmark = pytest.mark.django_db
FIVE = load_taxonomy("five")


@pytest.fixture
def starter(db: None) -> None:
    """The starter model, registered in this home."""
    target = settings.MODELS_ROOT / starter_model_folder().name
    if not target.exists():
        shutil.copytree(starter_model_folder(), target)
    fetch_model("nsfwjs-mobilenet-v2")


def import_folder(root: Path, slug: str = "set") -> Dataset:
    dataset = dataset_for_import(slug, FIVE)
    import_images(dataset, plan_import(root, FIVE, labels=None, mapping={}))
    return dataset


def probabilities(image: Image) -> np.ndarray:
    return np.frombuffer(Prediction.objects.get(image=image).probabilities, dtype="<f4")


def test_every_image_gets_a_prediction_and_an_embedding(starter: None, tmp_path: Path) -> None:
    dataset = import_folder(write_class_folders(tmp_path / "set", {"drawings": 5, "neutral": 4}))
    summary = score(dataset)
    assert (summary.scored, summary.already, summary.refused) == (9, 0, 0)
    predictions = list(Prediction.objects.select_related("model_version").order_by("image_id"))
    assert {prediction.profile for prediction in predictions} == {"nsfwjs"}
    for prediction in predictions:
        vector = np.frombuffer(prediction.probabilities, dtype="<f4")
        assert vector.shape == (5,)
        assert vector.sum() == pytest.approx(1, abs=1e-3)
        assert prediction.predicted_index == vector.argmax()
    numbers = np.array([prediction.embedding_row for prediction in predictions])
    rows = EmbeddingFile(dataset, predictions[0].model_version).rows(numbers)
    assert rows.shape == (9, 1280)
    assert len({row.tobytes() for row in rows}) == 9


def test_scoring_again_does_nothing_and_scores_only_what_is_new(starter: None, tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"drawings": 3})
    dataset = import_folder(root)
    score(dataset)
    assert (score(dataset).scored, score(dataset).already) == (0, 3)
    write_class_folders(tmp_path / "set", {"neutral": 2}, first_seed=50)
    import_folder(root)
    assert (score(dataset).scored, Prediction.objects.count()) == (2, 5)


def test_identical_bytes_are_scored_once(starter: None, tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"drawings": 1})
    shutil.copy(root / "drawings" / "img_000.png", root / "drawings" / "twin.png")
    dataset = import_folder(root)
    assert score(dataset).scored == 2
    assert len(set(Prediction.objects.values_list("embedding_row", flat=True))) == 1


def test_a_file_that_is_gone_is_refused_its_twin_is_scored_and_the_rest_goes_on(starter: None, tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"drawings": 3})
    shutil.copy(root / "drawings" / "img_000.png", root / "drawings" / "twin.png")
    dataset = import_folder(root)
    (root / "drawings" / "img_000.png").unlink()
    (root / "drawings" / "img_001.png").unlink()
    summary = score(dataset)
    assert (summary.scored, summary.refused) == (2, 2)
    assert set(RunRefusal.objects.filter(run=summary.run).values_list("path", flat=True)) == {
        "drawings/img_000.png",
        "drawings/img_001.png",
    }
    assert Prediction.objects.filter(image__path="drawings/twin.png").exists()


def test_a_dataset_without_images_or_scores_says_what_to_do_first(starter: None) -> None:
    empty = make_dataset("empty")
    with pytest.raises(NothingToDo, match="import some first"):
        score(empty)
    with pytest.raises(NothingToDo, match=r"manage\.py score empty"):
        find_issues(empty)


def test_an_evaluation_scores_the_images_of_its_split_first_and_no_others(starter: None, tmp_path: Path) -> None:
    counts = {"train/drawings": 2, "train/neutral": 2, "test/drawings": 2, "test/neutral": 3}
    dataset = import_folder(write_class_folders(tmp_path / "set", counts))
    found = evaluate(current_model(), cut_release(dataset))
    assert (found.images, found.unscored) == (5, 0)
    assert set(Prediction.objects.values_list("image__split", flat=True)) == {"test"}
    kinds = list(dataset.runs.order_by("id").values_list("kind", "state"))
    assert kinds[-2:] == [(RunKind.EVALUATE, RunState.DONE), (RunKind.SCORE, RunState.DONE)]
    assert score(dataset).scored == 4


def test_a_file_that_cannot_be_read_any_more_is_left_out_of_an_evaluation_and_counted(
    starter: None, tmp_path: Path
) -> None:
    root = write_class_folders(tmp_path / "set", {"test/drawings": 2, "test/neutral": 2})
    dataset = import_folder(root)
    release = cut_release(dataset)
    (root / "test" / "drawings" / "img_000.png").unlink()
    found = evaluate(current_model(), release)
    assert (found.images, found.unscored) == (3, 1)


def test_a_model_that_is_not_there_names_the_command_that_brings_it(db: None) -> None:
    with pytest.raises(WrongUsage, match=r"manage\.py fetch_model nsfwjs-mobilenet-v2"):
        current_model()
    with pytest.raises(WrongUsage, match="no model 'other'"):
        current_model("other")


def test_a_model_whose_classes_are_not_those_of_its_taxonomy_is_refused(db: None) -> None:
    folder = ModelFolder.open(starter_model_folder())
    contradicting = replace(folder, sidecar=replace(folder.sidecar, taxonomy="binary"))
    with pytest.raises(WrongUsage, match="porn, sexy, but the taxonomy binary has sfw, nsfw"):
        register_folder(contradicting)


def test_labels_of_one_class_only_cannot_be_judged(starter: None, tmp_path: Path) -> None:
    dataset = import_folder(write_class_folders(tmp_path / "set", {"drawings": 8}))
    score(dataset)
    with pytest.raises(WrongUsage, match="cannot be judged"):
        find_issues(dataset)
    assert not ReviewItem.objects.exists()


@pytest.mark.slow
def test_the_demo_ranks_95_percent_of_the_planted_errors_within_the_first_8_and_queues_them_so(
    starter: None, tmp_path: Path
) -> None:
    truth = write_demo_images(tmp_path / "images")
    dataset = import_folder(truth.folder)
    score(dataset)
    summary = find_issues(dataset)
    assert (summary.ranked, summary.folds) == (640, 5)

    ranked = list(ranking(dataset))
    wrong = {row.path for row in truth.rows if row.is_error}
    for order in (ranked, list(ranking(dataset, as_queued=True))):
        early = {row.path for row in order[: round(0.08 * len(ranked))]}
        assert len(wrong & early) >= 0.95 * len(wrong)
    assert [row.label_quality for row in ranked] == sorted(row.label_quality for row in ranked)
    assert ranked[0].reasons[0].startswith(f"labelled {ranked[0].given_label}; five-fold model says")

    # A near-duplicate group lies in one fold, so that no image is judged by a model that saw its copy.
    folds: dict[int | None, set[int]] = {}
    for group, fold in FoldPrediction.objects.filter(image__duplicate_group__isnull=False).values_list(
        "image__duplicate_group", "fold"
    ):
        folds.setdefault(group, set()).add(fold)
    assert len(folds) >= 5
    assert all(len(of_group) == 1 for of_group in folds.values())
    assert LabelIssue.objects.filter(kind=IssueKind.DUPLICATE_CONFLICT).exists()

    # Ranking again keeps what people settled, and leaves one set of findings.
    ReviewItem.objects.filter(image__path=ranked[0].path).update(state=ItemState.SETTLED)
    find_issues(dataset)
    assert ReviewItem.objects.get(image__path=ranked[0].path).state == ItemState.SETTLED
    assert FoldPrediction.objects.count() == 640
    assert LabelIssue.objects.values("run").distinct().count() == 1


def test_an_embedding_row_that_no_prediction_names_is_overwritten(starter: None, tmp_path: Path) -> None:
    dataset = import_folder(write_class_folders(tmp_path / "set", {"drawings": 2}))
    file = EmbeddingFile(dataset, current_model())
    file.append(np.ones((3, 1280), dtype=np.float16))  # as a process that died before its commit
    score(dataset)
    rows = sorted(Prediction.objects.values_list("embedding_row", flat=True))
    assert rows == [0, 1]
    assert not (EmbeddingFile(dataset, current_model()).rows(np.array(rows)) == 1).all(axis=1).any()


@pytest.mark.skipif(os.name == "nt", reason="the system has no limit on the size of files")
def test_a_full_disk_ends_the_run_in_one_line_and_loses_nothing(
    starter: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(settings, "EMBEDDINGS_ROOT", tmp_path / "embeddings")
    dataset = import_folder(write_class_folders(tmp_path / "set", {"drawings": 9}))
    room = 6 * 1280 * 2  # The first chunk fits, of the second one only the half.
    real_write = EmbeddingFile._write
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_with_little_room(file: EmbeddingFile, content: bytes) -> None:
        # Only around this write: the database has to be written too.
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            real_write(file, content)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(scoring, "CHUNK", 4)
    monkeypatch.setattr(EmbeddingFile, "_write", write_with_little_room)
    with pytest.raises(LabelingError, match=r"written to .+\.f16: File too large.+manage\.py score set") as full:
        score(dataset)
    assert "\n" not in str(full.value)
    assert EmbeddingFile(dataset, current_model()).path.stat().st_size == room
    assert Run.objects.filter(kind=RunKind.SCORE).get().state == RunState.FAILED
    kept = {image.path: probabilities(image).tobytes() for image in Image.objects.exclude(predictions=None)}
    assert len(kept) == 4

    monkeypatch.setattr(EmbeddingFile, "_write", real_write)
    assert (score(dataset).scored, score(dataset).already) == (5, 9)
    assert all(probabilities(Image.objects.get(path=path)).tobytes() == old for path, old in kept.items())
    rows = list(Prediction.objects.order_by("image").values_list("embedding_row", flat=True))
    assert rows == list(range(9))
    assert EmbeddingFile(dataset, current_model()).rows(np.array(rows)).any(axis=1).all()


def test_the_sidecar_is_kept_with_the_registered_model(starter: None) -> None:
    sidecar = current_model().sidecar
    assert sidecar["class_names"] == ["drawings", "hentai", "neutral", "porn", "sexy"]
    assert sidecar["profile"] == "nsfwjs"
    assert json.dumps(sidecar)


def test_an_image_that_broke_after_its_import_is_a_refusal_of_the_run(starter: None, tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"drawings": 2})
    dataset = import_folder(root)
    (root / "drawings" / "img_000.png").write_bytes(b"\x89PNG")
    summary = score(dataset)
    assert (summary.scored, summary.refused) == (1, 1)
    with Picture.open(root / "drawings" / "img_001.png") as whole:
        assert whole.size == (64, 48)
