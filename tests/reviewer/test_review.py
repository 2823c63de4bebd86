"""Focus mode through its URLs, with htmx and without."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from labeling.models import Claim, Dataset, ItemState, Person, ReviewItem, Skip, TaxonomyClass, Verdict
from tests.reviewer.conftest import first_claim, text

HTMX = {"HX-Request": "true"}


def _decide(client: Client, item: ReviewItem, decision: str, key: UUID | None = None, **more: Any) -> Any:
    query = more.pop("query", "")
    fields = {"decision": decision, "key": str(key or uuid4()), **more}
    return client.post(f"/d/looks/review/{item.pk}/verdict/{query}", fields, headers=HTMX)


def test_looking_at_the_page_claims_nothing(as_teammate: Client) -> None:
    response = as_teammate.get("/d/looks/review/")

    assert "Start reviewing" in text(response)
    assert "10 images to review" in text(response)
    assert not Claim.objects.exists()


def test_starting_shows_the_worst_image_and_fetches_no_other(pictures: Dataset, as_teammate: Client) -> None:
    response = as_teammate.post("/d/looks/review/claim/", headers=HTMX)

    worst = list(ReviewItem.objects.order_by("label_quality")[:3])
    page = text(response)
    assert f'id="shown" src="/d/looks/images/{worst[0].image_id}/file' in page
    for following in worst[1:]:
        assert f'<img src="/d/looks/images/{following.image_id}/file' not in page
    assert worst[0].reason in page


def test_htmx_gets_the_fragment_and_everybody_else_the_page(as_teammate: Client) -> None:
    fragment = as_teammate.get("/d/looks/review/", headers=HTMX)
    page = as_teammate.get("/d/looks/review/")
    restored = as_teammate.get("/d/looks/review/", headers={**HTMX, "HX-History-Restore-Request": "true"})

    assert text(fragment).startswith('<div id="focus"')
    assert text(page).startswith("<!doctype html>")
    assert text(restored).startswith("<!doctype html>")
    assert "HX-Request" in fragment.headers["Vary"]


def test_a_class_button_relabels_and_shows_the_next_image(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    item = first_claim(pictures, teammate).item

    response = _decide(as_teammate, item, "relabel:porn", seconds="1.5")

    item.refresh_from_db()
    assert (item.state, item.image.current_class.name) == (ItemState.SETTLED, "porn")
    assert Verdict.objects.get().seconds == 1.5
    assert "✓ porn" in text(response)
    assert f"/d/looks/review/{item.pk}/" not in text(response)
    assert "<b>1</b> of 10" in text(response)


@pytest.mark.parametrize(
    ("decision", "state", "excluded"),
    [("keep", ItemState.SETTLED, False), ("exclude", ItemState.SETTLED, True), ("unsure", ItemState.UNSURE, False)],
)
def test_the_other_buttons(
    decision: str, state: ItemState, excluded: bool, pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    item = first_claim(pictures, teammate).item

    _decide(as_teammate, item, decision)

    item.refresh_from_db()
    assert (item.state, item.image.excluded) == (state, excluded)
    assert item.image.current_class_id == item.image.given_class_id


def test_the_button_of_the_given_class_keeps_and_that_of_the_suggestion_accepts(
    pictures: Dataset, as_teammate: Client
) -> None:
    page = text(as_teammate.post("/d/looks/review/claim/", headers=HTMX))

    # The worst image was given class 1, drawings; suggested is class 2.
    assert 'value="keep" data-keys="1 k"' in page
    assert 'value="relabel:hentai" data-keys="2 enter"' in page


def test_sending_a_verdict_again_changes_nothing_and_goes_on(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    item, key = first_claim(pictures, teammate).item, uuid4()

    _decide(as_teammate, item, "exclude", key)
    again = _decide(as_teammate, item, "exclude", key)

    assert Verdict.objects.count() == 1
    assert "not saved" not in text(again)


def test_a_verdict_on_what_somebody_else_holds_is_refused_in_words_with_the_next_image(
    pictures: Dataset, owner: Person, as_teammate: Client
) -> None:
    item = first_claim(pictures, owner).item

    response = _decide(as_teammate, item, "exclude")

    assert response.status_code == 200
    assert not Verdict.objects.exists()
    assert 'role="alert"><b>Somebody else has taken this image' in text(response)
    assert 'id="shown"' in text(response)


def test_a_class_that_is_none_is_refused_in_words(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    item = first_claim(pictures, teammate).item

    response = _decide(as_teammate, item, "relabel:cats")

    assert not Verdict.objects.exists()
    assert "received &#x27;cats&#x27;" in text(response)


@pytest.mark.parametrize("seconds", ["", "NaN", "-3", "1e99", "soon"])
def test_a_clock_that_talks_nonsense_does_not_cost_the_verdict(
    seconds: str, pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    _decide(as_teammate, first_claim(pictures, teammate).item, "exclude", seconds=seconds)

    assert Verdict.objects.get().seconds is None


def test_without_javascript_a_verdict_redirects_and_keeps_the_filter(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    item = first_claim(pictures, teammate, split="train").item

    response = as_teammate.post(
        f"/d/looks/review/{item.pk}/verdict/?split=train", {"decision": "exclude", "key": str(uuid4())}
    )

    assert response.headers["Location"] == "/d/looks/review/?split=train"
    page = text(as_teammate.get(response.headers["Location"]))
    assert "Saved: excluded from the dataset." in page
    assert 'id="shown"' in page
    assert "in <b>train</b>" in page


def test_without_javascript_a_refusal_is_told_after_the_redirect(
    pictures: Dataset, owner: Person, as_teammate: Client
) -> None:
    item = first_claim(pictures, owner).item

    response = as_teammate.post(
        f"/d/looks/review/{item.pk}/verdict/", {"decision": "exclude", "key": str(uuid4())}, follow=True
    )

    assert "your verdict was not recorded" in text(response)


def test_undo_brings_the_image_back(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    item = first_claim(pictures, teammate).item
    _decide(as_teammate, item, "exclude")

    response = as_teammate.post("/d/looks/review/undo/", {"key": str(uuid4())}, headers=HTMX)

    assert f'id="shown" src="/d/looks/images/{item.image_id}/file' in text(response)
    item.refresh_from_db()
    assert (item.state, item.image.excluded) == (ItemState.OPEN, False)


def test_undo_says_when_there_is_nothing_to_undo(as_teammate: Client) -> None:
    response = as_teammate.post("/d/looks/review/undo/", {"key": str(uuid4())}, headers=HTMX)

    assert "There is nothing to undo" in text(response)


def test_skip_offers_the_next_image_and_records_no_verdict(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    item = first_claim(pictures, teammate).item

    response = as_teammate.post(f"/d/looks/review/{item.pk}/skip/", headers=HTMX)

    assert Skip.objects.filter(item=item).exists()
    assert not Verdict.objects.exists()
    assert f"/d/looks/review/{item.pk}/" not in text(response)


def test_leaving_gives_the_claims_back(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    first_claim(pictures, teammate)

    response = as_teammate.post("/d/looks/review/leave/", headers=HTMX)

    assert response.headers["HX-Redirect"] == "/d/looks/"
    assert not Claim.objects.exists()


def test_an_empty_part_says_where_to_go_on(pictures: Dataset, as_teammate: Client) -> None:
    ReviewItem.objects.filter(image__split="test").update(state=ItemState.SETTLED)
    ReviewItem.objects.filter(image__split="train", image__path="img_0000.jpg").update(suspected=False)

    page = text(as_teammate.post("/d/looks/review/claim/?split=test", headers=HTMX))

    assert "Nothing suspicious is left in <em>test</em>" in page
    assert "6 suspected in train →" in page


def test_what_the_run_did_not_suspect_can_be_gone_through_too(pictures: Dataset, as_teammate: Client) -> None:
    ReviewItem.objects.update(suspected=False)

    page = text(as_teammate.post("/d/looks/review/claim/", headers=HTMX))
    assert 'href="/d/looks/review/?everything=1">Go on through the rest, ranked (10) →' in page

    assert 'id="shown"' in text(as_teammate.post("/d/looks/review/claim/?everything=1", headers=HTMX))


def test_images_that_others_hold_are_not_called_reviewed(pictures: Dataset, owner: Person, as_teammate: Client) -> None:
    ReviewItem.objects.filter(image__split="test").update(suspected=False)
    ReviewItem.objects.exclude(image__path__in=["img_0000.jpg", "img_0001.jpg"]).update(suspected=False)
    first_claim(pictures, owner)

    page = text(as_teammate.post("/d/looks/review/claim/", headers=HTMX))

    assert "Nothing for you right now" in page
    assert "2 images of this part are still open, but others hold them" in page


def test_harmful_classes_are_shielded_and_harmless_ones_are_not(pictures: Dataset, as_teammate: Client) -> None:
    drawings, _, neutral = TaxonomyClass.objects.filter(taxonomy=pictures.taxonomy).order_by("index")[:3]
    page = text(as_teammate.post("/d/looks/review/claim/", headers=HTMX))
    assert 'class="picture shielded"' in page, "suggested is hentai"

    assert drawings.harm_rank == neutral.harm_rank == 0
    ReviewItem.objects.filter(image__given_class=drawings).update(suggested_class=neutral)
    page = text(as_teammate.get("/d/looks/review/"))
    assert 'class="picture "' in page


def test_the_shield_follows_the_person(as_teammate: Client, teammate: Person) -> None:
    assert 'data-shield="on"' in text(as_teammate.get("/d/looks/review/"))

    assert as_teammate.post("/me/shield/", {}, headers=HTMX).status_code == 204

    assert 'data-shield="off"' in text(as_teammate.get("/d/looks/review/"))


def test_the_next_image_costs_a_constant_number_of_queries(
    pictures: Dataset, teammate: Person, as_teammate: Client, django_assert_max_num_queries: Any
) -> None:
    first_claim(pictures, teammate)
    with django_assert_max_num_queries(16):
        as_teammate.get("/d/looks/review/", headers=HTMX)
