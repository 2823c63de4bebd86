"""Focus mode as the page's own code asks for it: items as JSON, and an outbox of decisions answered one by one."""

import json
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from labeling.models import (
    Claim,
    Dataset,
    Image,
    ImageRoot,
    ItemState,
    ModelVersion,
    Person,
    Prediction,
    ReviewItem,
    Run,
    Skip,
    Verdict,
)
from labeling.pipeline.auditing import draw_audit
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.nearest import extend_sketch
from reviewer.focus_items import HOLD
from reviewer.views.focus import MOST_VERDICTS
from tests.builders import add_images, make_dataset, rank_images
from tests.reviewer.conftest import first_claim, text

NEXT, VERDICTS, BACK = (f"/d/looks/review/{name}/" for name in ("next", "verdicts", "take-back"))


def ask(client: Client, url: str, body: Any = None, **headers: str) -> Any:
    return client.post(url, json.dumps(body or {}), content_type="application/json", headers=headers)


def send(client: Client, *entries: dict[str, Any]) -> list[dict[str, Any]]:
    response = ask(client, VERDICTS, {"verdicts": list(entries)})
    assert response.status_code == 200, response.content
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def entry(item: ReviewItem, decision: str, key: UUID | None = None, **more: Any) -> dict[str, Any]:
    return {"item": item.pk, "decision": decision, "key": str(key or uuid4()), **more}


def held(client: Client, url: str = NEXT, decided: list[int] | None = None) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = ask(client, url, {"decided": decided or []}).json()["items"]
    return items


def test_it_holds_what_is_shown_and_some_more(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    items = held(as_teammate)

    worst = list(ReviewItem.objects.order_by("priority").values_list("pk", flat=True)[:HOLD])
    assert [item["item"] for item in items] == worst
    assert Claim.objects.filter(reviewer=teammate).count() == HOLD
    first = ReviewItem.objects.get(pk=worst[0])
    assert items[0]["src"].startswith(f"/d/looks/images/{first.image_id}/file?v=")
    assert (items[0]["given"]["name"], items[0]["suggested"]["name"]) == ("drawings", "hentai")
    assert (items[0]["reason"], items[0]["quality"]) == (first.reason, first.label_quality)


def test_asking_again_renews_the_leases(as_teammate: Client) -> None:
    held(as_teammate)
    Claim.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=5))

    held(as_teammate)

    assert all(claim.lease_expires_at > timezone.now() + timedelta(seconds=60) for claim in Claim.objects.all())


@pytest.fixture
def six_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviewer.views.focus.HOLD", 6)


@pytest.mark.usefixtures("six_at_once")
def test_items_whose_verdicts_are_on_their_way_stay_held_and_make_room_for_others(as_teammate: Client) -> None:
    first, second = (item["item"] for item in held(as_teammate)[:2])

    after = held(as_teammate, decided=[first, second])

    assert len(after) == 6
    assert not {first, second} & {item["item"] for item in after}
    assert Claim.objects.count() == 8


@pytest.mark.usefixtures("six_at_once")
def test_what_the_page_knows_is_not_told_again(as_teammate: Client) -> None:
    first, second, third, *_ = (item["item"] for item in held(as_teammate))
    asked = {"decided": [first], "known": [second, third]}

    items = ask(as_teammate, NEXT, asked).json()["items"]

    assert items[:2] == [{"item": second}, {"item": third}]
    assert len(items) == 6
    assert all(item["src"] and item["given"] for item in items[2:])


def test_the_next_items_cost_less_while_the_page_knows_some(
    as_teammate: Client, django_assert_max_num_queries: Any
) -> None:
    known = [item["item"] for item in held(as_teammate)]
    with django_assert_max_num_queries(16):
        ask(as_teammate, NEXT, {"decided": [], "known": known, "held": known})


def test_the_next_items_cost_a_constant_number_of_queries(
    as_teammate: Client, django_assert_max_num_queries: Any
) -> None:
    held(as_teammate)
    with django_assert_max_num_queries(26):
        assert len(held(as_teammate)) == HOLD


def test_a_queue_of_decisions_is_carried_out_in_order(pictures: Dataset, as_teammate: Client) -> None:
    items = [ReviewItem.objects.get(pk=item["item"]) for item in held(as_teammate)]

    results = send(
        as_teammate,
        entry(items[0], "relabel:porn", seconds="1.25", shown_suggestion="hentai", shown_quality="0.5"),
        entry(items[1], "keep"),
        entry(items[2], "exclude"),
        entry(items[3], "unsure"),
        entry(items[4], "skip"),
    )

    assert [result["status"] for result in results] == [200] * 5
    assert results[0]["words"] == "Saved: porn."
    assert list(Verdict.objects.values_list("image_id", "kind")) == [
        (items[0].image_id, "relabel"),
        (items[1].image_id, "keep"),
        (items[2].image_id, "exclude"),
        (items[3].image_id, "unsure"),
    ]
    first = Verdict.objects.all()[0]
    assert (first.seconds, first.shown_quality) == (1.25, 0.5)
    assert Skip.objects.get().item == items[4]


def test_a_decision_that_comes_again_is_answered_with_its_first_result(pictures: Dataset, as_teammate: Client) -> None:
    item = ReviewItem.objects.get(pk=held(as_teammate)[0]["item"])
    sent = entry(item, "exclude")

    first, again = send(as_teammate, sent), send(as_teammate, sent)

    assert first == again
    assert Verdict.objects.count() == 1


def test_a_key_that_was_used_for_something_else_is_a_conflict(pictures: Dataset, as_teammate: Client) -> None:
    item, other = (ReviewItem.objects.get(pk=one["item"]) for one in held(as_teammate)[:2])
    key = uuid4()

    results = send(as_teammate, entry(item, "exclude", key), entry(other, "exclude", key))

    assert [result["status"] for result in results] == [200, 409]
    assert "already used for another decision" in results[1]["why"]


def test_a_decision_on_what_somebody_else_holds_is_refused_and_the_rest_is_saved(
    pictures: Dataset, owner: Person, as_teammate: Client
) -> None:
    theirs = first_claim(pictures, owner).item
    mine = ReviewItem.objects.get(pk=held(as_teammate)[0]["item"])

    results = send(as_teammate, entry(theirs, "exclude"), entry(mine, "exclude"))

    assert [result["status"] for result in results] == [409, 200]
    assert "Somebody else has taken this image" in results[0]["why"]
    assert Verdict.objects.get().image_id == mine.image_id


def test_a_decision_after_its_lease_counts_until_somebody_else_took_the_item(
    pictures: Dataset, owner: Person, as_teammate: Client
) -> None:
    first, second = (ReviewItem.objects.get(pk=item["item"]) for item in held(as_teammate)[:2])
    Claim.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert [result["status"] for result in send(as_teammate, entry(first, "exclude"))] == [200]

    assert first_claim(pictures, owner).item == second
    [late] = send(as_teammate, entry(second, "exclude"))

    assert late["status"] == 409


@pytest.mark.parametrize("decision", ["relabel:cats", "relabel:nsfw", "relabel:", "", "quarantine", None, 7])
def test_a_decision_that_is_none_or_of_another_taxonomy_is_refused_in_words(
    decision: Any, pictures: Dataset, as_teammate: Client
) -> None:
    make_dataset("other", taxonomy="binary")
    item = ReviewItem.objects.get(pk=held(as_teammate)[0]["item"])

    [result] = send(as_teammate, {"item": item.pk, "decision": decision, "key": str(uuid4())})

    assert result["status"] == 422
    assert result["why"]
    assert not Verdict.objects.exists()


def test_an_item_of_another_dataset_or_of_none_is_not_there(pictures: Dataset, as_teammate: Client) -> None:
    foreign = rank_images(other := make_dataset("other"), add_images(other, 1))[0]

    results = send(as_teammate, entry(foreign, "exclude"), {"item": "1; --", "decision": "skip", "key": str(uuid4())})

    assert [result["status"] for result in results] == [410, 410]
    assert not Verdict.objects.exists()


def test_an_undo_names_the_decision_that_it_takes_back(pictures: Dataset, as_teammate: Client) -> None:
    first, second = (ReviewItem.objects.get(pk=one["item"]) for one in held(as_teammate)[:2])
    key, undo = uuid4(), {"decision": "undo", "key": str(uuid4())}

    results = send(as_teammate, entry(first, "exclude", key), entry(second, "exclude"), {**undo, "undoes": str(key)})
    again = send(as_teammate, {**undo, "undoes": str(key)})

    assert [result["status"] for result in results] == [200] * 3
    assert again[0]["status"] == 200
    assert [one.kind for one in Verdict.objects.all()] == ["exclude", "exclude", "undo"]
    assert ReviewItem.objects.get(pk=first.pk).state == ItemState.OPEN
    assert held(as_teammate)[0]["item"] == first.pk, "what was taken back comes first"


def test_an_undo_of_what_never_arrived_changes_nothing(
    pictures: Dataset, owner: Person, as_owner: Client, as_teammate: Client
) -> None:
    theirs, key = ReviewItem.objects.get(pk=held(as_owner)[0]["item"]), uuid4()
    send(as_owner, entry(theirs, "exclude", key))

    [unknown] = send(as_teammate, {"decision": "undo", "key": str(uuid4()), "undoes": str(uuid4())})
    [other_person] = send(as_teammate, {"decision": "undo", "key": str(uuid4()), "undoes": str(key)})
    [nonsense] = send(as_teammate, {"decision": "undo", "key": str(uuid4()), "undoes": "x"})

    assert [unknown["status"], other_person["status"], nonsense["status"]] == [200, 200, 422]
    assert [one.kind for one in Verdict.objects.all()] == ["exclude"]


def test_an_undo_of_what_was_taken_back_already_is_a_conflict(pictures: Dataset, as_teammate: Client) -> None:
    item, key = ReviewItem.objects.get(pk=held(as_teammate)[0]["item"]), uuid4()
    send(as_teammate, entry(item, "exclude", key))

    results = [
        send(as_teammate, {"decision": "undo", "key": str(uuid4()), "undoes": str(key)})[0]["status"] for _ in range(2)
    ]

    assert results == [200, 409]


def test_the_last_verdict_of_yesterday_is_taken_back_and_shown(pictures: Dataset, as_teammate: Client) -> None:
    assert ask(as_teammate, BACK, {"key": str(uuid4())}).status_code == 409
    item = ReviewItem.objects.get(pk=held(as_teammate)[3]["item"])
    send(as_teammate, entry(item, "exclude"))
    key = str(uuid4())

    for _ in range(2):
        response = ask(as_teammate, BACK, {"key": key})
        assert response.json()["items"][0]["item"] == item.pk
    assert Verdict.objects.count() == 2


def test_somebody_signed_out_is_told_so_and_nothing_is_saved(pictures: Dataset, client: Client) -> None:
    item = ReviewItem.objects.all()[0]

    for url in (NEXT, VERDICTS, BACK):
        response = ask(client, url, {"verdicts": [entry(item, "exclude")]})
        assert (response.status_code, response.json()["why"]) == (401, "You are signed out.")
    assert not Verdict.objects.exists()


def test_what_one_person_decided_is_not_saved_for_the_next_one_at_this_browser(
    teammate: Person, owner: Person, as_owner: Client
) -> None:
    item = ReviewItem.objects.all()[0]

    refused = ask(as_owner, VERDICTS, {"verdicts": [entry(item, "exclude")]}, **{"X-Winnow-Person": str(teammate.pk)})
    taken = ask(as_owner, VERDICTS, {"verdicts": [entry(item, "exclude")]}, **{"X-Winnow-Person": str(owner.pk)})

    assert (refused.status_code, refused.json()["why"]) == (401, "You are signed in as owner now.")
    assert taken.status_code == 200


def test_a_dataset_that_was_deleted_is_gone_as_it_is_for_an_outsider(
    pictures: Dataset, as_teammate: Client, as_outsider: Client
) -> None:
    held(as_teammate)
    foreign = ask(as_outsider, NEXT)
    for rows in (Claim.objects, ReviewItem.objects, Image.objects, ImageRoot.objects, Run.objects):
        rows.all().delete()
    pictures.delete()

    gone = ask(as_teammate, VERDICTS, {"verdicts": [{"item": 1, "decision": "keep", "key": str(uuid4())}]})

    assert gone.status_code == foreign.status_code == 410
    assert gone.json() == foreign.json() == {"why": "No such dataset."}


@pytest.mark.parametrize(
    "body", ["", "x", "[]", "{}", '{"verdicts": []}', '{"verdicts": [1]}', '{"verdicts": {"item": 1}}']
)
def test_a_body_that_cannot_be_read_is_refused(body: str, as_teammate: Client) -> None:
    response = as_teammate.post(VERDICTS, body, content_type="application/json")

    assert response.status_code == 400
    assert "Reload the page" in response.json()["why"]


def test_more_verdicts_than_a_page_sends_are_refused(as_teammate: Client) -> None:
    item = ReviewItem.objects.all()[0]
    many = [entry(item, "skip") for _ in range(MOST_VERDICTS + 1)]
    assert ask(as_teammate, VERDICTS, {"verdicts": many}).status_code == 400
    assert ask(as_teammate, NEXT, {"decided": ["1"]}).status_code == 400


def test_a_token_of_another_site_saves_nothing(teammate: Person, pictures: Dataset) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(teammate)
    assert ask(client, VERDICTS, {"verdicts": [entry(ReviewItem.objects.all()[0], "exclude")]}).status_code == 403
    assert not Verdict.objects.exists()


@pytest.fixture
def audited(pictures: Dataset) -> Dataset:
    draw_audit(pictures, half_width=0.2)
    return pictures


def test_a_blind_item_comes_without_anything_that_tells(audited: Dataset, as_teammate: Client) -> None:
    items = held(as_teammate, NEXT + "?audit=1")

    assert len(items) == HOLD
    for item in items:
        assert item.keys() == {
            *("item", "image", "src", "thumb", "width", "height", "shielded", "second_look", "blind"),
        }
    assert {item["shielded"] for item in items} == {True}
    page = text(as_teammate.get("/d/looks/review/?audit=1"))
    assert "five-fold model" not in page
    around = as_teammate.get(f"/d/looks/review/{items[0]['item']}/history/?audit=1")
    assert (around.status_code, "blind" in around.json()["why"]) == (403, True)


def test_a_blind_answer_is_kept_as_blind_and_does_not_tell_whether_it_agreed(
    audited: Dataset, as_teammate: Client
) -> None:
    item = ReviewItem.objects.get(pk=held(as_teammate, NEXT + "?audit=1")[0]["item"])

    [result] = send(as_teammate, entry(item, f"relabel:{item.image.given_class.name}", blind=True))

    assert result["words"] == "Saved."
    verdict = Verdict.objects.get()
    assert (verdict.kind, verdict.blind, verdict.shown_suggestion) == ("keep", True, None)


def test_the_page_starts_with_what_is_held_already(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    item = first_claim(pictures, teammate).item
    page = as_teammate.get("/d/looks/review/").content.decode()
    embedded = json.loads(unescape(page.split('data-held="')[1].split('"')[0]))
    assert embedded[0]["item"] == item.pk


def test_a_label_that_looks_like_markup_stays_text(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    ReviewItem.objects.update(reason="</script><img src=x onerror=alert(1)>")
    first_claim(pictures, teammate)
    assert "<img src=x" not in as_teammate.get("/d/looks/review/").content.decode()


def around(client: Client, item: ReviewItem, what: str) -> Any:
    response = client.get(f"/d/looks/review/{item.pk}/{what}/")
    assert response.status_code == 200
    return response.json()


def test_the_near_duplicates_of_an_image_come_with_their_labels(pictures: Dataset, as_teammate: Client) -> None:
    one, other, *_ = ReviewItem.objects.select_related("image__current_class")
    assert around(as_teammate, one, "group")["images"] == []
    Image.objects.filter(pk__in=[one.image_id, other.image_id]).update(duplicate_group=one.image_id)

    [image] = around(as_teammate, one, "group")["images"]

    assert (image["image"], image["label"]["name"]) == (other.image_id, other.image.current_class.name)


def test_the_history_tells_every_verdict_newest_first(pictures: Dataset, as_teammate: Client) -> None:
    item, key = ReviewItem.objects.get(pk=held(as_teammate)[0]["item"]), uuid4()
    assert "Nobody has decided" in around(as_teammate, item, "history")["empty"]
    send(as_teammate, entry(item, "relabel:porn", key), {"decision": "undo", "key": str(uuid4()), "undoes": str(key)})

    lines = around(as_teammate, item, "history")["lines"]

    assert [line["who"] for line in lines] == ["teammate"] * 2
    assert lines[0]["what"].startswith("took back: relabel")
    assert lines[1]["what"].startswith("relabelled to porn")


@pytest.fixture
def embedded(pictures: Dataset) -> ModelVersion:
    """A model for which the images lie on a quarter circle, in the order of their numbers."""
    model = ModelVersion.objects.create(
        name="circle",
        taxonomy=pictures.taxonomy,
        folder="x",
        sha256="0" * 64,
        profile="p",
        embedding_size=8,
        sidecar={},
    )
    images = list(Image.objects.filter(dataset=pictures).order_by("pk"))
    angles = np.linspace(0, np.pi / 2, len(images))
    rows = np.zeros((len(images), 8), dtype=np.float16)
    rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)
    EmbeddingFile(pictures, model).append(rows)
    run = Run.objects.create(dataset=pictures, kind="score")
    Prediction.objects.bulk_create(
        Prediction(
            image=image,
            model_version=model,
            run=run,
            profile="p",
            probabilities=b"",
            predicted_index=0,
            confidence=0.5,
            embedding_row=row,
        )
        for row, image in enumerate(images)
    )
    return model


def test_neighbours_are_the_nearest_first_once_the_sketch_is_there(
    pictures: Dataset, embedded: ModelVersion, as_teammate: Client
) -> None:
    items = list(ReviewItem.objects.order_by("image_id"))
    before = around(as_teammate, items[0], "neighbours")
    assert (before["images"], before["preparing"]) == ([], True)

    assert extend_sketch(pictures, embedded) == len(items)

    after = around(as_teammate, items[0], "neighbours")
    assert not after["preparing"]
    assert [image["image"] for image in after["images"]] == [item.image_id for item in items[1:]]


def test_neighbours_leave_out_the_images_own_duplicates(
    pictures: Dataset, embedded: ModelVersion, as_teammate: Client
) -> None:
    items = list(ReviewItem.objects.order_by("image_id"))
    Image.objects.filter(pk__in=[items[0].image_id, items[1].image_id]).update(duplicate_group=items[0].image_id)
    extend_sketch(pictures, embedded)

    assert around(as_teammate, items[0], "neighbours")["images"][0]["image"] == items[2].image_id


def test_an_image_without_a_prediction_has_no_neighbours_and_says_so(pictures: Dataset, as_teammate: Client) -> None:
    found = around(as_teammate, ReviewItem.objects.all()[0], "neighbours")
    assert (found["preparing"], found["empty"]) == (False, "No model has scored this image yet.")


def test_the_sketch_grows_with_the_embeddings_and_mends_a_torn_end(pictures: Dataset, embedded: ModelVersion) -> None:
    extend_sketch(pictures, embedded)
    path = EmbeddingFile(pictures, embedded).path.with_suffix(".sketch")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])

    assert extend_sketch(pictures, embedded) == 10

    assert path.read_bytes() == whole


def test_an_outsider_learns_nothing_about_what_is_around(
    pictures: Dataset, as_outsider: Client, browse: Callable[[Person], Client]
) -> None:
    item = ReviewItem.objects.all()[0]
    for what in ("group", "neighbours", "history"):
        assert as_outsider.get(f"/d/looks/review/{item.pk}/{what}/").status_code == 410
