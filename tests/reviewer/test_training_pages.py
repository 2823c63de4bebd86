"""The pages around training: the form, the learning curve, the models and their files."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from labeling.actions.training import NewEpoch, add_epoch
from labeling.models import Dataset, ModelVersion, Person, Release, Run, RunKind, RunState, TrainingEpoch
from labeling.pipeline.cutting import cut_release
from labeling.queries.training import epochs_of
from reviewer.learning_chart import best_epoch, learning_chart
from tests.builders import make_dataset
from tests.reviewer.conftest import text
from tests.scored import a_model


@pytest.fixture
def release(pictures: Dataset) -> Release:
    return cut_release(pictures)


def trained(release: Release, *, state: RunState = RunState.DONE) -> Run:
    """A run that has trained three epochs, of which the second was the best."""
    run = Run.objects.create(dataset=release.dataset, kind=RunKind.TRAIN, state=state, parameters={})
    for number, (loss, judged) in enumerate([(1.2, 1.1), (0.8, 0.7), (0.5, 0.9)], 1):
        add_epoch(run=run, epoch=NewEpoch(number, loss, 0.5, judged, 0.625, 0.75, 2.0))
    return run


def a_trained_model(release: Release) -> ModelVersion:
    model = a_model(release.dataset, "looks-five-vit", folder="looks-five-vit-0123")
    model.release, model.trained_by = release, trained(release)
    model.sidecar = {"trained_on": "looks 1.0", "class_names": ["drawings", "hentai"], "licence": "MIT"}
    model.save()
    return model


def test_the_form_offers_the_recipes_that_fit_and_queues_a_run(
    release: Release, owner: Person, as_owner: Client
) -> None:
    assert f'href="/d/looks/releases/{release.pk}/train/"' in text(as_owner.get("/d/looks/releases/"))
    page = text(as_owner.get(f"/d/looks/releases/{release.pk}/train/"))
    assert "five_inception" in page
    assert "binary_mobilenet" not in page

    sent = {"recipe": "five_vit", "epochs": "3", "seed": "7", "also": ["h5", "tflite"], "weights": "none"}
    response = as_owner.post(f"/d/looks/releases/{release.pk}/train/start/", sent)
    run = Run.objects.get(kind=RunKind.TRAIN)
    assert response.headers["Location"] == f"/runs/{run.pk}/"
    assert (run.state, run.created_by) == (RunState.QUEUED, owner)
    assert {name: run.parameters[name] for name in ("recipe", "epochs", "seed", "also", "weights", "release")} == {
        "recipe": "five_vit", "epochs": 3, "seed": 7, "also": ["h5", "tflite"], "weights": "none",
        "release": release.pk,
    }  # fmt: skip
    assert "The first epoch has not ended yet" in text(as_owner.get(f"/runs/{run.pk}/"))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"recipe": "seven_mobilenet"}, "Select a valid choice"),
        ({"recipe": "five_vit", "epochs": "0"}, "greater than or equal to 1"),
        ({"recipe": "five_inception", "size": "tiny"}, "expected a size of full"),
        ({"recipe": "quick_head", "weights": "imagenet"}, "needs a registered model"),
    ],
)
def test_what_cannot_end_well_is_explained_in_place(
    sent: dict[str, Any], said: str, release: Release, as_owner: Client
) -> None:
    response = as_owner.post(f"/d/looks/releases/{release.pk}/train/start/", {"seed": "0", **sent})
    assert response.status_code == 422
    assert said in text(response)
    assert not Run.objects.filter(kind=RunKind.TRAIN).exists()


def test_only_an_engineer_trains_and_takes_files(release: Release, as_teammate: Client, as_outsider: Client) -> None:
    model = a_trained_model(release)
    for url in (f"/d/looks/releases/{release.pk}/train/", f"/d/looks/models/{model.pk}/files/sidecar.json"):
        assert as_teammate.get(url).status_code == 403
        assert as_outsider.get(url).status_code == 404
    assert as_teammate.post(f"/d/looks/releases/{release.pk}/train/start/").status_code == 403
    assert as_teammate.get("/d/looks/models/").status_code == 200
    assert as_outsider.get(f"/d/looks/models/{model.pk}/").status_code == 404


def test_the_page_of_a_run_draws_how_a_model_learns_and_asks_again_while_it_does(
    release: Release, as_teammate: Client
) -> None:
    run = trained(release, state=RunState.RUNNING)
    page = text(as_teammate.get(f"/runs/{run.pk}/"))
    assert f'hx-get="/runs/{run.pk}/epochs/"' in page
    assert "the dot is epoch 2, whose weights are kept" in page
    assert '<th scope="row" class="number">3</th><td class="number line">0.5000</td>' in page

    part = text(as_teammate.get(f"/runs/{run.pk}/epochs/", headers={"HX-Request": "true"}))
    assert "<html" not in part
    assert part.count("<polyline") == 2
    Run.objects.filter(pk=run.pk).update(state=RunState.DONE)
    assert "hx-get" not in text(as_teammate.get(f"/runs/{run.pk}/epochs/", headers={"HX-Request": "true"}))
    assert as_teammate.get(f"/runs/{run.pk}/epochs/").headers["Location"] == f"/runs/{run.pk}/"


def test_an_epoch_that_is_told_twice_is_there_once_and_unchanged(release: Release) -> None:
    run = trained(release)
    add_epoch(run=run, epoch=NewEpoch(2, 9.9, 0.1, 9.9, 0.1, None, 1.0))
    assert [epoch.loss for epoch in TrainingEpoch.objects.filter(run=run)] == [1.2, 0.8, 0.5]


def test_a_chart_marks_the_epoch_with_the_least_validation_loss(release: Release) -> None:
    rows = epochs_of(trained(release))
    assert best_epoch(rows).number == 2
    chart = learning_chart(rows)
    assert chart is not None
    assert [float(point.split(",")[0]) for point in chart.learned.split()] == [48.0, 258.0, 468.0]
    assert chart.levels[0].at == chart.ground
    assert f"{chart.best_x},{chart.best_y}" in chart.judged.split()
    assert learning_chart(rows[:1]) is None


@pytest.fixture
def model_with_files(release: Release) -> ModelVersion:
    model = a_trained_model(release)
    folder = Path(settings.MODELS_ROOT) / model.folder
    (folder / "files" / "saved_model" / "variables").mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(b"compiled")
    (folder / "files" / "model.keras").write_bytes(b"network")
    (folder / "files" / "facts.json").write_text("{}")
    (folder / "files" / "saved_model" / "variables" / "variables.index").write_bytes(b"index")
    return model


def taken(client: Client, model: ModelVersion, name: str) -> tuple[str, bytes]:
    """How a file is handed out, and its content."""
    response: Any = client.get(f"/d/looks/models/{model.pk}/files/{name}")
    content = b"".join(response.streaming_content)
    response.close()
    return response.headers["Content-Disposition"], content


def test_a_model_is_listed_with_what_it_was_trained_on(
    model_with_files: ModelVersion, release: Release, as_owner: Client
) -> None:
    page = text(as_owner.get("/d/looks/models/"))
    assert "looks-five-vit v1" in page
    assert "looks 1.0" in page
    assert f'href="/d/looks/releases/{release.pk}/train/"' in page
    one = text(as_owner.get(f"/d/looks/models/{model_with_files.pk}/"))
    assert "drawings, hentai" in one
    assert "whose weights are kept" in one
    assert "facts.json" not in one
    for name in ("facts.json", "..", "model.h5"):
        assert as_owner.get(f"/d/looks/models/{model_with_files.pk}/files/{name}").status_code == 404


def test_a_file_of_a_model_is_handed_out_whole(model_with_files: ModelVersion, as_owner: Client) -> None:
    how, content = taken(as_owner, model_with_files, "model.keras")
    assert how == 'attachment; filename="model.keras"'
    assert content == b"network"


def test_a_folder_of_a_model_is_handed_out_as_a_zip(model_with_files: ModelVersion, as_owner: Client) -> None:
    _, content = taken(as_owner, model_with_files, "saved_model.zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["saved_model/variables/variables.index"]


def test_a_model_of_another_dataset_is_not_known_here(release: Release, as_owner: Client) -> None:
    other = make_dataset("other", items=4)
    model = a_trained_model(release)
    model.release = cut_release(other)
    model.save()
    assert "looks-five-vit" not in text(as_owner.get("/d/looks/models/"))
    assert as_owner.get(f"/d/looks/models/{model.pk}/").status_code == 404
