"""Escalating from the pages, and the restricted area where two people decide."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from labeling.actions.escalations import escalate, set_permission
from labeling.models import (
    Claim,
    Dataset,
    Escalation,
    EscalationEvent,
    EscalationEventKind,
    Exposure,
    Image,
    Person,
    Quarantine,
    Verdict,
)
from tests.reviewer.conftest import first_claim, text
from tests.reviewer.test_focus import NEXT, VERDICTS, ask, entry, held, send


def authorised(name: str) -> Person:
    person = Person.objects.create(username=name)
    set_permission(person=person, escalations=True)
    return person


@pytest.fixture
def rita(db: None) -> Person:
    return authorised("rita")


@pytest.fixture
def as_rita(rita: Person, browse: Callable[[Person], Client]) -> Client:
    return browse(rita)


@pytest.fixture
def as_raul(db: None, browse: Callable[[Person], Client]) -> Client:
    return browse(authorised("raul"))


@pytest.fixture
def case(pictures: Dataset, teammate: Person) -> Escalation:
    """A case that `teammate` made of the first image of `looks`."""
    image = pictures.images.order_by("pk")[0]
    # The files of this dataset are written by the test; the hash of the row is not theirs.
    escalate(dataset=pictures, images=[image.pk], person=teammate, key=uuid4(), note="left edge")
    return Escalation.objects.get()


# ---- escalating


def test_e_in_focus_mode_takes_the_image_away_and_counts_the_view(
    pictures: Dataset, teammate: Person, as_teammate: Client, as_owner: Client
) -> None:
    item = first_claim(pictures, teammate).item
    sent = entry(item, "escalate", note="see the sign", seconds="3.2", shown_suggestion="neutral")

    [result] = send(as_teammate, sent)
    assert (result["status"], result["words"]) == (200, "Escalated: it is out of sight.")
    [again] = send(as_teammate, sent)

    assert again["status"] == 200
    verdict = Verdict.everything.get()
    assert (verdict.kind, verdict.seconds, str(verdict.key)) == ("escalate", 3.2, sent["key"])
    assert EscalationEvent.objects.get().note == "see the sign"
    assert not Claim.everything.filter(item=item).exists()
    assert Exposure.objects.get(person=teammate).views == 1
    assert item.pk not in [one["item"] for one in held(as_teammate) + held(as_owner)]


def test_whoever_has_it_in_hand_is_told_to_let_it_go(pictures: Dataset, as_teammate: Client, as_owner: Client) -> None:
    mine = held(as_teammate)
    image = Image.objects.get(pk=mine[1]["image"])
    as_owner.post("/d/looks/escalate/", {"image": image.pk, "confirmed": "1", "key": uuid4()})

    answer = ask(as_teammate, NEXT, {"decided": [], "held": [one["item"] for one in mine]}).json()

    assert answer["gone"] == [mine[1]["item"]]
    decided = {"verdicts": [{"item": mine[0]["item"], "decision": "keep", "key": str(uuid4())}]}
    answer = ask(as_teammate, VERDICTS, decided | {"held": [one["item"] for one in mine]}).json()
    assert (answer["results"][0]["status"], answer["gone"]) == (200, [mine[1]["item"]])
    [refused] = send(as_teammate, {"item": mine[1]["item"], "decision": "keep", "key": str(uuid4())})
    assert refused["status"] == 410
    assert "no longer in the queue" in refused["why"]


def test_an_escalation_that_comes_late_is_heard_all_the_same(
    pictures: Dataset, teammate: Person, owner: Person, as_teammate: Client
) -> None:
    item = first_claim(pictures, teammate).item
    escalate(dataset=pictures, images=[item.image_id], person=owner, key=uuid4())
    [result] = send(as_teammate, entry(item, "escalate"))
    assert result["status"] == 200
    assert set(EscalationEvent.objects.values_list("person__username", flat=True)) == {"owner", "teammate"}


def test_z_after_e_is_refused_with_words(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    key = uuid4()
    send(as_teammate, entry(first_claim(pictures, teammate).item, "escalate", key))

    [refused] = send(as_teammate, {"decision": "undo", "undoes": str(key), "key": str(uuid4())})
    assert refused["status"] == 409
    assert "only two authorised people release it" in refused["why"]
    page = text(as_teammate.post("/d/looks/review/undo/", {"key": uuid4()}, follow=True))
    assert "only two authorised people release it" in page
    assert Quarantine.objects.count() == 1


def test_a_plain_form_asks_once_and_then_does_it(pictures: Dataset, as_teammate: Client) -> None:
    images = list(pictures.images.order_by("pk")[:2])
    question = text(as_teammate.get(f"/d/looks/escalate/?image={images[0].pk}&back=/d/looks/review/"))
    assert f"Escalate image {images[0].pk}?" in question
    assert "<img" not in question.split("<main")[1]
    assert not Quarantine.objects.exists()
    # The selection of the explorer comes as a form, and is asked about too.
    assert "Escalate 2 images?" in text(as_teammate.post("/d/looks/escalate/", {"image": [one.pk for one in images]}))
    assert not Quarantine.objects.exists()

    sent = {
        "image": [one.pk for one in images],
        "confirmed": "1",
        "key": uuid4(),
        "note": "n",
        "back": "/d/looks/review/",
    }
    done = as_teammate.post("/d/looks/escalate/", sent, follow=True)

    assert done.redirect_chain == [("/d/looks/review/", 302)]
    assert "2 images are out of sight" in text(done)
    assert Quarantine.objects.count() == 2


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example/", "/d/looks/\\evil", "/d/other/", ""])
def test_it_leads_back_only_into_the_dataset(pictures: Dataset, as_teammate: Client, back: str) -> None:
    sent = {"image": pictures.images.order_by("pk")[0].pk, "confirmed": "1", "key": uuid4(), "back": back}
    assert as_teammate.post("/d/looks/escalate/", sent).headers["Location"] == "/d/looks/images/"


@pytest.mark.parametrize("sent", [{}, {"image": "x"}, {"image": "1", "key": "no key"}])
def test_a_request_that_names_nothing_escalates_nothing(pictures: Dataset, as_teammate: Client, sent: Any) -> None:
    said = text(as_teammate.post("/d/looks/escalate/", sent | {"confirmed": "1"}, follow=True))
    assert "Nothing was escalated" in said or "Nothing to escalate" in said
    assert not Quarantine.objects.exists()


def test_every_page_with_an_image_offers_it(pictures: Dataset, as_owner: Client) -> None:
    image = pictures.images.order_by("pk")[0]
    assert f"/d/looks/escalate/?image={image.pk}" in text(as_owner.get(f"/d/looks/images/{image.pk}/"))
    assert 'formaction="/d/looks/escalate/"' in text(as_owner.get("/d/looks/images/"))
    as_owner.post("/d/looks/review/claim/")
    assert 'data-keys="e"' in text(as_owner.get("/d/looks/review/"))


# ---- the restricted area


def test_for_all_others_there_is_no_such_page(case: Escalation, as_teammate: Client, as_owner: Client) -> None:
    boss = Person.objects.create(username="boss", is_superuser=True)
    as_boss = Client()
    as_boss.force_login(boss)
    for client in (as_teammate, as_owner, as_boss):
        for url in ("/escalations/", f"/escalations/{case.pk}/"):
            assert client.get(url).status_code == 404
        assert client.post(f"/escalations/{case.pk}/look/", {"reason": "curious"}).status_code == 404
        assert "/escalations/" not in text(client.get("/"))


def test_the_list_names_cases_without_a_preview_and_is_logged(case: Escalation, as_rita: Client) -> None:
    page = text(as_rita.get("/escalations/"))

    assert "<img" not in page.split("<main")[1]
    for words in (f"Case {case.pk}", case.sha256[:12], "looks", "teammate", "left edge", "waits for two people"):
        assert words in page
    assert "/escalations/" in text(as_rita.get("/"))
    event = EscalationEvent.objects.get(kind=EscalationEventKind.LISTED)
    assert (event.person is not None and event.person.username, event.escalation) == ("rita", None)


def test_a_case_shows_its_history_and_its_log_and_no_image(case: Escalation, as_rita: Client) -> None:
    page = text(as_rita.get(f"/escalations/{case.pk}/"))
    assert "<img" not in page.split("<main")[1]
    for words in (case.sha256, "left edge", "teammate: escalate", "opened the case", "rita"):
        assert words in page
    assert as_rita.get("/escalations/999/").status_code == 404


def test_a_look_takes_a_reason_is_logged_first_and_is_kept_by_no_cache(
    pictures: Dataset, teammate: Person, as_rita: Client
) -> None:
    image = _with_true_hash(pictures)
    escalate(dataset=pictures, images=[image.pk], person=teammate, key=uuid4())
    case = Escalation.objects.get()

    refused = text(as_rita.post(f"/escalations/{case.pk}/look/", {"reason": ""}, follow=True))
    assert "Say why you look at it" in refused
    assert not case.events.filter(kind=EscalationEventKind.LOOKED).exists()

    response = as_rita.post(f"/escalations/{case.pk}/look/", {"reason": "to decide"})

    assert response.content == (Path(image.root.path) / image.path).read_bytes()
    assert response.headers["Cache-Control"] == "private, no-store"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert case.events.get(kind=EscalationEventKind.LOOKED).note == "to decide"
    assert as_rita.get(f"/escalations/{case.pk}/look/").status_code == 405


def test_a_file_that_is_not_what_was_escalated_is_not_shown(case: Escalation, as_rita: Client) -> None:
    said = text(as_rita.post(f"/escalations/{case.pk}/look/", {"reason": "to decide"}, follow=True))
    assert "is not what was escalated" in said


def test_two_people_release_it_on_the_page(
    pictures: Dataset, case: Escalation, as_rita: Client, as_raul: Client, as_teammate: Client
) -> None:
    image = Quarantine.objects.get().image_id
    vote = {"vote": "release", "note": "a drawing"}
    first = text(as_rita.post(f"/escalations/{case.pk}/vote/", vote | {"key": uuid4()}, follow=True))
    assert "A second authorised person has to agree" in first
    again = text(as_rita.post(f"/escalations/{case.pk}/vote/", vote | {"key": uuid4()}, follow=True))
    assert "You have said so already" in again
    assert as_teammate.get(f"/d/looks/images/{image}/").status_code == 404

    done = text(as_raul.post(f"/escalations/{case.pk}/vote/", vote | {"key": uuid4()}, follow=True))

    assert "Two people agree: it is released" in done
    assert as_teammate.get(f"/d/looks/images/{image}/").status_code == 200


def test_a_legal_hold_is_begun_and_ended_with_a_reason(case: Escalation, as_rita: Client) -> None:
    url = f"/escalations/{case.pk}/hold/"
    assert "Expected a reason" in text(as_rita.post(url, {"hold": "on", "key": uuid4()}, follow=True))
    assert "nothing of it is removed" in text(
        as_rita.post(url, {"hold": "on", "note": "asked by the police", "key": uuid4()}, follow=True)
    )
    case.refresh_from_db()
    assert case.legal_hold
    as_rita.post(url, {"hold": "off", "note": "closed", "key": uuid4()})
    case.refresh_from_db()
    assert not case.legal_hold


def test_the_case_file_has_hashes_facts_and_the_log_and_no_image_unless_asked(
    pictures: Dataset, teammate: Person, as_rita: Client
) -> None:
    image = _with_true_hash(pictures)
    escalate(dataset=pictures, images=[image.pk], person=teammate, key=uuid4(), note="left edge")
    case = Escalation.objects.get()
    url = f"/escalations/{case.pk}/file/"

    plain = zipfile.ZipFile(io.BytesIO(as_rita.post(url, {"reason": "for the police"}).content))
    assert plain.namelist() == ["case.json"]
    facts = json.loads(plain.read("case.json"))
    assert facts["sha256"] == image.sha256
    assert [one["path"] for one in facts["images"]] == [image.path]
    assert [(one["kind"], one["person"], one["note"]) for one in facts["log"]] == [
        ("escalated", "teammate", "left edge"),
        ("exported", "rita", "for the police"),
    ]
    assert [one["kind"] for one in facts["images"][0]["verdicts"]] == ["escalate"]

    assert "Expected a reason" in text(as_rita.post(url, {"image": "1"}, follow=True))
    whole = zipfile.ZipFile(io.BytesIO(as_rita.post(url, {"image": "1", "reason": "for the police"}).content))
    assert whole.namelist() == ["case.json", f"{image.sha256}.jpeg"]
    assert whole.read(f"{image.sha256}.jpeg") == (Path(image.root.path) / image.path).read_bytes()
    assert case.events.filter(kind=EscalationEventKind.EXPORTED_IMAGE).count() == 1


def test_lists_of_kept_and_of_all_cases(case: Escalation, as_rita: Client, as_raul: Client) -> None:
    for client in (as_rita, as_raul):
        client.post(f"/escalations/{case.pk}/vote/", {"vote": "keep", "key": uuid4()})
    assert f"Case {case.pk}" not in text(as_rita.get("/escalations/"))
    for show in ("kept", "all"):
        assert f"Case {case.pk}" in text(as_rita.get(f"/escalations/?show={show}"))
    Escalation.objects.update(retain_until=timezone.now() - timedelta(days=1), purged_at=timezone.now())
    assert "purged" in text(as_rita.get("/escalations/?show=kept"))


def test_more_cases_than_a_page_holds(pictures: Dataset, as_rita: Client) -> None:
    Escalation.objects.bulk_create(
        Escalation(sha256=f"{number:064x}", retain_until=timezone.now()) for number in range(60)
    )
    first = text(as_rita.get("/escalations/"))
    assert "Older cases" in first
    assert "60 wait" in first
    last = min(Escalation.objects.order_by("-pk").values_list("pk", flat=True)[:50])
    assert "Older cases" not in text(as_rita.get(f"/escalations/?before={last}"))


def _with_true_hash(dataset: Dataset) -> Image:
    """An image of the dataset whose row has the hash of its file; the trigger allows no change, so it is a new row."""
    like = dataset.images.select_related("root").order_by("pk")[0]
    file = Path(like.root.path) / like.path
    copy = file.with_name("true.jpg")
    copy.write_bytes(file.read_bytes())
    names = [field.name for field in Image._meta.concrete_fields if field.name not in {"id", "path", "sha256"}]
    return Image.objects.create(
        **{name: getattr(like, name) for name in names},
        path="true.jpg",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )
