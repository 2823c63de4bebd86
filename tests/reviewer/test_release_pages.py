"""The pages of releases: formats to export, and a download that is written while it is sent."""

import io
import zipfile
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from labeling.actions.verdicts import Shown, record_verdict
from labeling.models import Dataset, Person, Release, Run, RunKind, RunState, VerdictKind
from labeling.pipeline.cutting import cut_release
from labeling.tasks import carry_out
from reviewer.views import releases as views
from tests.builders import add_images
from tests.reviewer.conftest import text


@pytest.fixture
def release(pictures: Dataset) -> Release:
    """Its images have no bytes that fit: builders invent their hashes."""
    return cut_release(pictures)


@pytest.fixture(autouse=True)
def one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that is closed by hand would close the test's own connection, with its transaction."""
    monkeypatch.setattr(BaseDatabaseWrapper, "close_if_unusable_or_obsolete", lambda self: None)


def download(client: Client, release: Release, **query: str) -> Any:
    return client.get(f"/d/looks/releases/{release.pk}/download/", {"export_format": "folders"} | query)


def test_a_download_says_its_length_and_name_and_is_that_long(release: Release, as_owner: Client) -> None:
    response = download(as_owner, release, labels="binary")
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["Content-Disposition"] == 'attachment; filename="looks-1.0-folders-binary.zip"'
    content = b"".join(response.streaming_content)
    response.close()
    assert len(content) == int(response.headers["Content-Length"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.read("class_labels.txt") == b"sfw\nnsfw\n"
        assert archive.read("winnow.json").count(b"changed_source") == 10


def test_a_manifest_is_a_download_too(release: Release, as_owner: Client) -> None:
    response = download(as_owner, release, export_format="jsonl")
    with zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content))) as archive:
        assert "manifest.jsonl" in archive.namelist()
    response.close()


def test_only_engineers_download_and_only_what_goes_into_a_zip(
    release: Release, as_owner: Client, as_teammate: Client
) -> None:
    assert download(as_teammate, release).status_code == 403
    for query in ({"export_format": "webdataset"}, {"labels": "seven"}, {"export_format": ""}):
        assert "Nothing was sent" in text(download(as_owner, release, **query, follow="") and as_owner.get("/d/looks/"))


def test_a_fifth_download_waits_and_places_are_free_again_however_one_ends(release: Release, as_owner: Client) -> None:
    under_way = [download(as_owner, release) for _ in range(views.MOST_DOWNLOADS)]
    next(under_way[0].streaming_content)
    assert download(as_owner, release).status_code == 302
    assert "4 downloads are under way" in text(as_owner.get("/d/looks/releases/"))
    for response in under_way:
        response.close()
        response.close()
    again = download(as_owner, release)
    assert again.status_code == 200
    again.close()


def test_an_export_is_queued_in_the_format_that_was_chosen(
    release: Release, as_owner: Client, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = tmp_path_factory.mktemp("home") / "exports"
    monkeypatch.setattr(settings, "EXPORTS_ROOT", exports)
    page = text(as_owner.get("/d/looks/releases/"))
    assert all(name in page for name in ("TFRecord shards", "WebDataset tar files", "mapped to binary"))
    chosen = {"export_format": "csv", "labels": "binary"}
    as_owner.post(f"/d/looks/releases/{release.pk}/export/", chosen)
    run = Run.objects.get(kind=RunKind.EXPORT)
    assert run.parameters == {"release": release.pk, **chosen}
    carry_out.call(run.pk)
    run.refresh_from_db()
    assert run.state == RunState.DONE
    assert run.summary["target"] == str(exports / "looks-1.0-csv-binary")
    assert (exports / "looks-1.0-csv-binary" / "manifest.csv").exists()
    as_owner.post(f"/d/looks/releases/{release.pk}/export/", {"export_format": "urls"})
    assert "Nothing was exported" in text(as_owner.get("/d/looks/releases/"))


def test_the_diff_page_says_what_changed_by_whom_and_why(
    release: Release, as_owner: Client, teammate: Person, django_assert_max_num_queries: Any
) -> None:
    image = release.entries.order_by("pk")[0].image
    sexy = release.dataset.taxonomy.classes.get(name="sexy")
    shown = Shown(suggestion_id=sexy.pk, quality=0.02)
    record_verdict(item=image.item, reviewer=teammate, kind=VerdictKind.RELABEL, label=sexy, key=uuid4(), shown=shown)
    add_images(release.dataset, 1, splits=("test",), start=700)
    cut_release(release.dataset)
    assert "/d/looks/releases/1.0..1.1/" in text(as_owner.get("/d/looks/releases/"))
    with django_assert_max_num_queries(20):
        page = text(as_owner.get("/d/looks/releases/1.0..1.1/"))
    assert image.path in page
    assert "teammate" in page
    assert "was shown the suggestion sexy, label quality 0.02" in page
    assert "img_0700.jpg" in text(as_owner.get("/d/looks/releases/1.0..1.1/?show=added"))
    assert as_owner.get("/d/looks/releases/1.0..9.9/").status_code == 404
    compared = as_owner.get("/d/looks/releases/compare/?before=1.1&after=1.0")
    assert compared.headers["Location"] == "/d/looks/releases/1.1..1.0/"
    assert "img_0700.jpg" in text(as_owner.get("/d/looks/releases/1.1..1.0/?show=removed"))


def test_a_class_that_a_split_has_none_of_is_named(release: Release, as_owner: Client) -> None:
    assert "no image in validation" in text(as_owner.get("/d/looks/releases/"))
