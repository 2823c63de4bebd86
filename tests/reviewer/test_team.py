"""The team and adjudication pages, redo, and blind images of the share."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from labeling.actions.claims import hold_claims
from labeling.actions.datasets import set_shares
from labeling.actions.verdicts import record_verdict
from labeling.models import (
    BulkAction,
    Claim,
    Dataset,
    GoldenAnswer,
    GoldenImage,
    Image,
    ItemState,
    Membership,
    Person,
    ReviewItem,
    Role,
    Verdict,
    VerdictKind,
)
from labeling.queries.integrity import differences
from labeling.queue_filter import QueueFilter
from tests.conftest import member
from tests.reviewer.conftest import first_claim, text

HTMX = {"HX-Request": "true"}


@pytest.fixture
def second(pictures: Dataset) -> Person:
    """Another annotator."""
    return member(pictures, "second", Role.ANNOTATOR)


def decide(dataset: Dataset, person: Person, kind: VerdictKind, number: int = 1) -> list[ReviewItem]:
    """Give that many verdicts on what the person is shown."""
    dataset.refresh_from_db()
    items = []
    for _ in range(number):
        claim = hold_claims(dataset=dataset, reviewer=person, filters=QueueFilter(), hold=1)[0]
        record_verdict(item=claim.item, reviewer=person, kind=kind, label=None, key=uuid4(), seconds=3)
        items.append(claim.item)
    return items


def dispute(dataset: Dataset, one: Person, other: Person) -> ReviewItem:
    Dataset.objects.filter(pk=dataset.pk).update(verdicts_wanted=2)
    (item,) = decide(dataset, one, VerdictKind.KEEP)
    decide(dataset, other, VerdictKind.EXCLUDE)
    item.refresh_from_db()
    assert item.state == ItemState.DISPUTED
    return item


def test_the_team_page_shows_people_claims_and_agreement(
    pictures: Dataset, teammate: Person, second: Person, as_owner: Client, django_assert_max_num_queries: Any
) -> None:
    dispute(pictures, teammate, second)
    claim = first_claim(pictures, teammate)
    with django_assert_max_num_queries(45):
        page = text(as_owner.get("/d/looks/team/"))
    assert "Adjudicate 1 disputed, 0 unsure" in page
    assert f"Release image {claim.item.image_id} from teammate" in page
    assert "Krippendorff’s alpha" in page
    assert "second and teammate" in page or "teammate and second" in page
    assert "3.0 s" in page


@pytest.mark.parametrize(
    "url",
    ["team/", "team/rule/", "team/shares/", "team/again/", "team/golden/", "team/claims/1/release/"],
)
def test_an_annotator_is_told_that_the_team_page_is_for_leads_and_an_outsider_finds_nothing(
    url: str, pictures: Dataset, as_teammate: Client, as_outsider: Client
) -> None:
    for client, status in ((as_teammate, 403), (as_outsider, 404)):
        send = client.get if url == "team/" else client.post
        assert send(f"/d/looks/{url}").status_code == status


def test_a_lead_releases_a_claim(pictures: Dataset, teammate: Person, as_owner: Client) -> None:
    claim = first_claim(pictures, teammate)
    page = text(as_owner.post(f"/d/looks/team/claims/{claim.pk}/release/", follow=True))
    assert f"Image {claim.item.image_id} is no longer held by teammate." in page
    assert not Claim.objects.filter(pk=claim.pk).exists()
    again = text(as_owner.post(f"/d/looks/team/claims/{claim.pk}/release/", follow=True))
    assert "This claim has ended already." in again


def test_a_claim_of_another_dataset_is_not_released_through_this_one(
    pictures: Dataset, teammate: Person, as_owner: Client
) -> None:
    claim = first_claim(pictures, teammate)
    elsewhere = Dataset.objects.create(slug="elsewhere", title="Elsewhere", taxonomy=pictures.taxonomy)
    Membership.objects.create(dataset=elsewhere, person=Person.objects.get(username="owner"), role=Role.ML)
    as_owner.post(f"/d/elsewhere/team/claims/{claim.pk}/release/")
    assert Claim.objects.filter(pk=claim.pk).exists()


def test_a_lead_sets_the_rule_and_a_nonsense_rule_is_refused(pictures: Dataset, as_owner: Client) -> None:
    fields = {"key": str(uuid4()), "verdicts_wanted": "2", "consensus": "unanimous"}
    assert "What is settled stays settled." in text(as_owner.post("/d/looks/team/rule/", fields, follow=True))
    pictures.refresh_from_db()
    assert (pictures.verdicts_wanted, pictures.consensus) == (2, "unanimous")
    for wrong in ({"verdicts_wanted": "0"}, {"verdicts_wanted": "10"}, {"consensus": "coin"}, {"key": "x"}):
        page = text(as_owner.post("/d/looks/team/rule/", fields | wrong, follow=True))
        assert "Nothing was changed" in page
    pictures.refresh_from_db()
    assert pictures.verdicts_wanted == 2


def test_a_lead_sets_what_is_mixed_in(pictures: Dataset, as_owner: Client) -> None:
    as_owner.post("/d/looks/team/shares/", {"blind_share": "12.5", "golden_rate": "3"})
    pictures.refresh_from_db()
    assert (pictures.blind_share, pictures.golden_rate) == (0.125, 0.03)
    page = text(as_owner.post("/d/looks/team/shares/", {"blind_share": "120", "golden_rate": "3"}, follow=True))
    assert "Nothing was changed: blind_share" in page


def test_golden_images_are_pasted_or_sent_as_a_file_and_removed(pictures: Dataset, as_owner: Client) -> None:
    page = text(as_owner.post("/d/looks/team/golden/", {"rows": "path,label\nimg_0000.jpg,porn\nx,porn"}, follow=True))
    assert "1 golden images were set. 1 rows were refused. x: no images of looks have this path" in page
    sent = SimpleUploadedFile("golden.csv", b"\xef\xbb\xbfpath,label\nimg_0001.jpg,exclude\n")
    as_owner.post("/d/looks/team/golden/", {"file": sent})
    assert GoldenImage.objects.count() == 2
    assert "Nothing was changed: Expected a first line" in text(
        as_owner.post("/d/looks/team/golden/", {"rows": ""}, follow=True)
    )
    image = GoldenImage.objects.first()
    assert image is not None
    as_owner.post(f"/d/looks/team/golden/{image.image_id}/remove/")
    assert GoldenImage.objects.count() == 1


def test_a_golden_image_looks_like_any_other_in_the_review_page(
    pictures: Dataset, teammate: Person, as_teammate: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reviewer.views.review.HOLD", 6)  # of the ten that there are
    image = Image.objects.get(path="img_0009.jpg")
    GoldenImage.objects.create(dataset=pictures, image=image, label=image.given_class)
    set_shares(dataset=pictures, blind_share=0, golden_rate=1)
    page = text(as_teammate.post("/d/looks/review/claim/", headers=HTMX))
    assert f'id="shown" src="/d/looks/images/{image.pk}/file' in page
    assert "golden" not in page.casefold()
    claim = Claim.objects.get(reviewer=teammate, golden=True)
    answered = as_teammate.post(
        f"/d/looks/review/{claim.item_id}/verdict/", {"decision": "keep", "key": str(uuid4())}, headers=HTMX
    )
    assert "✓ given label kept" in text(answered)
    assert GoldenAnswer.objects.get().right
    assert not Verdict.objects.exists()


def test_an_image_of_the_blind_share_gives_nothing_away(pictures: Dataset, as_teammate: Client) -> None:
    set_shares(dataset=pictures, blind_share=1, golden_rate=0)
    page = text(as_teammate.post("/d/looks/review/claim/", headers=HTMX))
    assert "which class is it?" in page
    assert "labelled drawings" not in page
    assert "shown_suggestion" not in page
    item = ReviewItem.objects.order_by("priority")[0]
    as_teammate.post(
        f"/d/looks/review/{item.pk}/verdict/", {"decision": "relabel:hentai", "key": str(uuid4())}, headers=HTMX
    )
    verdict = Verdict.objects.get()
    assert (verdict.blind, verdict.hidden_suggestion_id) == (True, item.suggested_class_id)


def test_a_lead_makes_a_senior_who_may_adjudicate(
    pictures: Dataset, teammate: Person, as_owner: Client, as_teammate: Client
) -> None:
    assert as_teammate.get("/d/looks/adjudicate/").status_code == 403
    as_owner.post(f"/d/looks/team/people/{teammate.pk}/senior/", {"senior": "1"})
    assert as_teammate.get("/d/looks/adjudicate/").status_code == 200
    assert 'href="/d/looks/adjudicate/"' in text(as_teammate.get("/d/looks/"))
    as_owner.post(f"/d/looks/team/people/{teammate.pk}/senior/")
    assert as_teammate.get("/d/looks/adjudicate/").status_code == 403


def test_adjudication_shows_who_said_what_and_one_key_settles(
    pictures: Dataset, teammate: Person, second: Person, as_owner: Client
) -> None:
    item = dispute(pictures, teammate, second)
    page = text(as_owner.get("/d/looks/adjudicate/"))
    assert "People disagree" in page
    assert f'src="/d/looks/images/{item.image_id}/file' in page
    for said in ('<th scope="row">teammate</th>', '<th scope="row">second</th>', "exclude"):
        assert said in page
    assert 'value="exclude" data-keys="x"' in page
    done = as_owner.post(
        f"/d/looks/adjudicate/{item.pk}/", {"decision": "relabel:porn", "key": str(uuid4())}, follow=True
    )
    assert f"Settled image {item.image_id}: porn." in text(done)
    assert "Nobody disagrees" in text(done)
    item.refresh_from_db()
    assert (item.state, Image.objects.get(pk=item.image_id).current_class.name) == (ItemState.SETTLED, "porn")
    undone = text(as_owner.post("/d/looks/adjudicate/undo/", {"key": str(uuid4())}, follow=True))
    assert f"Undone: image {item.image_id}." in undone
    assert "People disagree" in undone
    assert not list(differences())


def test_a_nonsense_adjudication_is_refused_in_words(
    pictures: Dataset, teammate: Person, second: Person, as_owner: Client
) -> None:
    item = dispute(pictures, teammate, second)
    for fields in ({"decision": "relabel:cats", "key": str(uuid4())}, {"decision": "keep", "key": "x"}, {}):
        assert "Not saved" in text(as_owner.post(f"/d/looks/adjudicate/{item.pk}/", fields, follow=True))
    as_owner.post(f"/d/looks/adjudicate/{item.pk}/", {"decision": "keep", "key": str(uuid4())})
    late = as_owner.post(f"/d/looks/adjudicate/{item.pk}/", {"decision": "exclude", "key": str(uuid4())}, follow=True)
    assert "settled in the meantime; nothing was changed" in text(late)


def test_not_now_leads_to_the_next_disagreement(pictures: Dataset, teammate: Person, as_owner: Client) -> None:
    one, other = decide(pictures, teammate, VerdictKind.UNSURE, 2)
    page = text(as_owner.get("/d/looks/adjudicate/"))
    assert f"/d/looks/adjudicate/{one.pk}/" in page
    assert f'href="?after={one.pk}"' in page
    assert f"/d/looks/adjudicate/{other.pk}/" in text(as_owner.get(f"/d/looks/adjudicate/?after={one.pk}"))
    assert as_owner.get("/d/looks/adjudicate/?after=nonsense").status_code == 200


def test_a_lead_takes_a_persons_work_back_and_brings_it_again(
    pictures: Dataset, teammate: Person, as_owner: Client
) -> None:
    decide(pictures, teammate, VerdictKind.EXCLUDE, 3)
    since = timezone.localtime(timezone.now() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    url = f"/d/looks/team/people/{teammate.pk}/revert/"
    page = text(as_owner.post(url, {"since": since, "key": str(uuid4())}, follow=True))
    assert "Taken back: 3 verdicts of teammate." in page
    assert not Image.objects.filter(excluded=True).exists()
    act = BulkAction.objects.get()
    assert "Take back 3" in page
    again = as_owner.post(f"/d/looks/bulk/{act.pk}/revert/", {"key": str(uuid4())}, follow=True)
    assert again.redirect_chain[-1][0] == "/d/looks/team/"
    assert Image.objects.filter(excluded=True).count() == 3
    assert "Nothing was changed: since" in text(as_owner.post(url, {"since": "soon", "key": str(uuid4())}, follow=True))


def test_settled_images_are_reviewed_again_by_filter(
    pictures: Dataset, owner: Person, teammate: Person, as_owner: Client
) -> None:
    decide(pictures, teammate, VerdictKind.EXCLUDE, 2)
    decide(pictures, owner, VerdictKind.KEEP, 2)
    fields = {"key": str(uuid4()), "how": "second", "person": "teammate", "kind": "exclude"}
    page = text(as_owner.post("/d/looks/team/again/", fields, follow=True))
    assert "Done: sent 2 images to one more person." in page
    assert ReviewItem.objects.filter(state=ItemState.OPEN, missing=1).count() == 2
    fields = {"key": str(uuid4()), "how": "reopen", "current": "neutral", "split": "test"}
    assert "Done: reopened 1 image" in text(as_owner.post("/d/looks/team/again/", fields, follow=True))
    none = {"key": str(uuid4()), "how": "reopen", "person": "teammate"}
    assert "Nothing was changed: None of these" in text(as_owner.post("/d/looks/team/again/", none, follow=True))
    assert "Nothing was changed: person" in text(
        as_owner.post("/d/looks/team/again/", none | {"person": "outsider"}, follow=True)
    )


def test_redo_puts_back_what_was_undone(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    (item,) = decide(pictures, teammate, VerdictKind.EXCLUDE)
    as_teammate.post("/d/looks/review/undo/", {"key": str(uuid4())}, headers=HTMX)
    page = text(as_teammate.post("/d/looks/review/redo/", {"key": str(uuid4())}, headers=HTMX))
    assert "Put back: your verdict stands again" in page
    assert Image.objects.get(pk=item.image_id).excluded
    assert "nothing to put back" in text(as_teammate.post("/d/looks/review/redo/", {"key": str(uuid4())}, headers=HTMX))
    assert "Not saved: key" in text(as_teammate.post("/d/looks/review/redo/", {}, headers=HTMX))


def test_the_overview_leads_to_what_people_disagree_about(
    pictures: Dataset, teammate: Person, second: Person, as_owner: Client
) -> None:
    assert "disputed" not in text(as_owner.get("/d/looks/"))
    dispute(pictures, teammate, second)
    page = text(as_owner.get("/d/looks/"))
    assert '<dt>disputed</dt><dd><a href="/d/looks/adjudicate/">1</a></dd>' in page
