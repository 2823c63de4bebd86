"""The pages around the queue: what they say, and that they ask the database a fixed number of questions."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.checks import run_checks
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from labeling.actions.verdicts import record_verdict, undo_last
from labeling.models import (
    Dataset,
    Image,
    ImageRoot,
    Person,
    Release,
    Run,
    RunKind,
    RunRefusal,
    RunState,
    VerdictKind,
)
from labeling.queries.overview import overview
from labeling.tasks import carry_out
from reviewer.views import errors
from tests.builders import add_images, rank_images
from tests.reviewer.conftest import first_claim, text


@pytest.fixture
def image(pictures: Dataset) -> Image:
    return Image.objects.filter(dataset=pictures).select_related("root").order_by("pk")[0]


# ---- files


def test_an_image_is_served_from_its_place_and_can_run_nothing(image: Image, as_teammate: Client) -> None:
    response = as_teammate.get(f"/d/looks/images/{image.pk}/file?v={image.sha256[:12]}")

    assert _body(response) == (Path(image.root.path) / image.path).read_bytes()
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Content-Disposition"] == "inline"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "private, no-store"


def test_a_file_of_another_dataset_is_not_served_through_this_one(
    image: Image, as_teammate: Client, owner: Person
) -> None:
    other = Dataset.objects.create(slug="other", title="Other", taxonomy=image.dataset.taxonomy)
    root = ImageRoot.objects.create(dataset=other, path=image.root.path)
    Image.objects.filter(pk=image.pk).update(root=root)
    stranger = add_images(other, 1, start=500)[0]

    assert as_teammate.get(f"/d/looks/images/{stranger.pk}/file").status_code == 404
    assert as_teammate.get(f"/d/other/images/{stranger.pk}/file").status_code == 404


def test_a_file_that_is_gone_is_a_404(image: Image, as_teammate: Client) -> None:
    (Path(image.root.path) / image.path).unlink()

    assert as_teammate.get(f"/d/looks/images/{image.pk}/file").status_code == 404
    assert as_teammate.get(f"/d/looks/images/{image.pk}/").status_code == 200


def test_a_link_that_leaves_the_source_folder_is_not_followed(
    image: Image, as_teammate: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.jpg"
    secret.write_bytes(b"secret")
    path = Path(image.root.path) / image.path
    path.unlink()
    path.symlink_to(secret)

    assert as_teammate.get(f"/d/looks/images/{image.pk}/file").status_code == 404


def test_a_thumbnail_is_found_by_its_hash(image: Image, as_teammate: Client) -> None:
    assert as_teammate.get(f"/d/looks/images/{image.pk}/thumb").status_code == 404

    path = settings.THUMBNAILS_ROOT / image.sha256[:2] / f"{image.sha256}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((Path(image.root.path) / image.path).read_bytes())
    response = as_teammate.get(f"/d/looks/images/{image.pk}/thumb")
    assert _body(response) == path.read_bytes()
    assert response.headers["Content-Type"] == "image/jpeg"


def _body(response: Any) -> bytes:
    content = b"".join(response.streaming_content)
    response.close()
    return content


# ---- overview


def test_the_matrix_opens_the_images_of_a_pair(pictures: Dataset, as_teammate: Client) -> None:
    page = text(as_teammate.get("/d/looks/"))

    assert 'href="/d/looks/review/grid/?given=drawings&amp;suggested=hentai"' in page


def test_the_overview_counts_standing_verdicts_only(pictures: Dataset, teammate: Person) -> None:
    for kind in (VerdictKind.EXCLUDE, VerdictKind.KEEP):
        item = first_claim(pictures, teammate).item
        record_verdict(item=item, reviewer=teammate, kind=kind, label=None, key=uuid4(), seconds=None)
    undo_last(dataset=pictures, reviewer=teammate, key=uuid4())

    seen = overview(pictures)

    assert seen.kinds == (("exclude", 1),)
    assert [(row.name, row.verdicts, row.changed) for row in seen.reviewers] == [("teammate", 1, 1)]
    assert (seen.images, seen.excluded, seen.settled, seen.suspected_open) == (10, 1, 1, 9)
    assert [(row.split, row.images) for row in seen.splits] == [("train", 7), ("test", 3)]


def test_pages_cost_the_same_for_many_images(
    pictures: Dataset, as_owner: Client, django_assert_max_num_queries: Any
) -> None:
    rank_images(pictures, add_images(pictures, 200, start=100))
    for run in range(5):
        Run.objects.create(dataset=pictures, kind=RunKind.IMPORT, state=RunState.DONE, stage=str(run))
    for url, most in [("/", 9), ("/d/looks/", 21), ("/d/looks/images/", 15), ("/d/looks/releases/", 9), ("/runs/", 6)]:
        with django_assert_max_num_queries(most):
            assert as_owner.get(url).status_code == 200


def test_the_image_list_pages_by_key_and_filters(pictures: Dataset, as_teammate: Client) -> None:
    add_images(pictures, 70, start=100)

    first = text(as_teammate.get("/d/looks/images/?split=train"))
    following = re.search(r'href="(\?split=train&amp;after=\d+)"', first)

    assert following is not None
    second = text(as_teammate.get("/d/looks/images/" + following[1].replace("&amp;", "&")))
    assert not set(re.findall(r"/images/(\d+)/thumb", first)) & set(re.findall(r"/images/(\d+)/thumb", second))
    assert "No image fits" in text(as_teammate.get("/d/looks/images/?show=excluded"))


def test_an_image_page_tells_the_whole_story(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    item = first_claim(pictures, teammate).item
    record_verdict(item=item, reviewer=teammate, kind=VerdictKind.EXCLUDE, label=None, key=uuid4(), seconds=2.5)
    undo_last(dataset=pictures, reviewer=teammate, key=uuid4())

    page = text(as_teammate.get(f"/d/looks/images/{item.image_id}/"))

    assert "<b>teammate</b> excluded the image" in page
    assert "after 2.5 s" in page
    assert "took back: exclude" in page
    assert "undone by teammate" in page


# ---- runs


def test_a_run_is_polled_only_while_it_moves(pictures: Dataset, as_teammate: Client) -> None:
    run = Run.objects.create(
        dataset=pictures, kind=RunKind.SCORE, state=RunState.RUNNING, stage="scoring", done=3, total=10
    )
    url = f"/runs/{run.pk}/progress/"

    moving = as_teammate.get(url, headers={"HX-Request": "true"})
    assert f'hx-get="{url}" hx-trigger="every 1500ms"' in text(moving)
    assert "3 of 10" in text(moving)
    assert "HX-Trigger" not in moving.headers

    Run.objects.update(state=RunState.DONE, finished_at=timezone.now())
    done = as_teammate.get(url, headers={"HX-Request": "true"})
    assert "hx-get" not in text(done)
    assert done.headers["HX-Trigger"] == "run-finished"


def test_refused_files_are_listed_with_their_reason(pictures: Dataset, as_teammate: Client) -> None:
    run = Run.objects.create(dataset=pictures, kind=RunKind.IMPORT, state=RunState.DONE)
    RunRefusal.objects.create(run=run, path="a<b.jpg", code="truncated", reason="It ends in the middle.")

    page = text(as_teammate.get(f"/runs/{run.pk}/"))

    assert "a&lt;b.jpg" in page
    assert "It ends in the middle." in page
    assert "1 refused file<" in text(as_teammate.get("/d/looks/"))


def test_a_run_is_queued_by_the_buttons(pictures: Dataset, owner: Person, as_owner: Client) -> None:
    response = as_owner.post("/d/looks/find-issues/")

    assert response.headers["Location"] == "/d/looks/#runs"
    run = Run.objects.get(state=RunState.QUEUED)
    assert (run.kind, run.created_by) == (RunKind.FIND_ISSUES, owner)
    assert "Waits for a worker" in text(as_owner.get("/d/looks/"))


# ---- releases


@pytest.mark.parametrize("ratios", ["80/20", "50/50/50", "a/b/c", "0/50/50", ""])
def test_ratios_that_do_not_fit_are_explained_in_place(ratios: str, as_owner: Client) -> None:
    response = as_owner.post("/d/looks/releases/cut/", {"ratios": ratios, "note": "kept"})

    assert response.status_code == 422
    assert 'class="notice problem"' in text(response)
    assert 'value="kept"' in text(response)
    assert not Release.objects.exists()


def cut(client: Client, note: str = "") -> Run:
    """Ask for a cut, and carry it out as the worker does."""
    response = client.post("/d/looks/releases/cut/", {"ratios": "80/10/10", "note": note})
    assert response.headers["Location"] == "/d/looks/releases/"
    run = Run.objects.filter(kind=RunKind.CUT).latest("pk")
    assert "Waits for a worker" in text(client.get("/d/looks/releases/"))
    carry_out.call(run.pk)
    return run


def test_a_refused_cut_says_why_on_the_page(pictures: Dataset, as_owner: Client) -> None:
    twin = pictures.images.order_by("pk")[0]
    other = pictures.images.order_by("pk")[1]
    twin.pk, twin.path = None, "twin.jpg"
    twin.given_class = twin.current_class = other.given_class
    twin.save()

    cut(as_owner)

    assert not Release.objects.exists()
    page = text(as_owner.get("/d/looks/releases/"))
    assert "different labels on identical files" in page
    assert "twin.jpg" in page


def test_a_release_is_cut_listed_and_queued_for_export(pictures: Dataset, as_owner: Client) -> None:
    cut(as_owner, note="the first")

    release = Release.objects.get()
    page = text(as_owner.get("/d/looks/releases/"))
    assert "the first" in page
    assert release.content_hash[:12] in page

    as_owner.post(f"/d/looks/releases/{release.pk}/export/", {"export_format": "folders"})
    assert Run.objects.get(kind=RunKind.EXPORT).parameters["release"] == release.pk
    assert "Waits for a worker" in text(as_owner.get("/d/looks/releases/"))


# ---- the house


@pytest.mark.parametrize(
    "url", ["/", "/runs/", "/me/", "/d/looks/", "/d/looks/review/", "/d/looks/images/", "/d/looks/releases/", "/x"]
)
def test_pages_hold_no_inline_script_or_style_and_forbid_them(url: str, as_owner: Client) -> None:
    response = as_owner.get(url)

    page = text(response)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|hx-on", page)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["Cache-Control"] == "private, no-store"


def test_the_page_of_a_broken_server_needs_nothing_that_may_be_broken() -> None:
    request = RequestFactory().get("/")
    request.user = AnonymousUser()

    response = errors.server_error(request)

    assert response.status_code == 500
    assert "Something broke on our side" in text(response)


def test_the_theme_follows_the_person(as_owner: Client) -> None:
    as_owner.post("/me/theme/", {"theme": "light"})
    assert 'data-theme="light"' in text(as_owner.get("/"))
    assert as_owner.post("/me/theme/", {"theme": "pink"}).status_code == 422


def test_the_start_up_checks_name_what_is_missing(tmp_path: Path) -> None:
    with override_settings(WINNOW_HOME=tmp_path / "gone", STATIC_ROOT=tmp_path, WHITENOISE_USE_FINDERS=False):
        found = {message.id for message in run_checks(tags=["winnow"], include_deployment_checks=True)}

    assert found == {"winnow.E001", "winnow.W001"}
    assert not run_checks(tags=["winnow"])
