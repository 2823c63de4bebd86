"""The explorer and the grid through their URLs: who may do what, and what a bad request gets."""

import csv
import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from labeling.actions.claims import hold_claims
from labeling.models import (
    BulkAction,
    Claim,
    Dataset,
    Image,
    ItemState,
    Person,
    ReviewItem,
    Verdict,
)
from labeling.queue_filter import QueueFilter
from tests.builders import add_images, rank_images
from tests.reviewer.conftest import text

IMAGES, ACT = "/d/looks/images/", "/d/looks/images/act/"
GRID, PAIR = "/d/looks/review/grid/", "given=drawings&suggested=hentai&size=24"


def keys(dataset: Dataset, count: int) -> list[int]:
    return list(dataset.images.order_by("pk").values_list("pk", flat=True)[:count])


def send(client: Client, decision: str, query: str = "", **values: Any) -> str:
    sent = {"decision": decision, "scope": "selected", "key": str(uuid4())} | values
    return text(client.post(f"{ACT}{query}", sent, follow=True))


def test_a_selection_is_decided_and_taken_back_on_the_page(pictures: Dataset, as_teammate: Client) -> None:
    page = send(as_teammate, "relabel:sexy", "?split=train", image=keys(pictures, 2))
    assert "Saved: 2 images of a selection relabelled to sexy" in page
    assert "<option selected>train</option>" in page
    revert = re.search(r'action="(/d/looks/bulk/\d+/revert/)"', page)
    assert revert
    assert "Taken back: 2 verdicts" in text(as_teammate.post(revert[1], {"key": str(uuid4())}, follow=True))
    assert not ReviewItem.objects.filter(state=ItemState.SETTLED).exists()


def test_all_that_match_are_decided_by_an_engineer_alone(
    pictures: Dataset, as_owner: Client, as_teammate: Client
) -> None:
    matching = {"decision": "exclude", "scope": "matching", "key": str(uuid4())}
    assert as_teammate.post(f"{ACT}?split=test", matching).status_code == 403
    assert "3 images of a selection excluded" in send(as_owner, "exclude", "?split=test", scope="matching", expected=3)
    assert set(Image.objects.filter(excluded=True).values_list("split", flat=True)) == {"test"}


def test_more_that_match_than_were_shown_change_nothing(pictures: Dataset, as_owner: Client) -> None:
    assert "3 images match by now, not the 2 you saw" in send(
        as_owner, "exclude", "?split=test", scope="matching", expected=2
    )
    assert not Verdict.objects.exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"decision": "exclude"}, "Select images first"),
        ({"decision": "relabel:nothing", "image": [1]}, "nothing that can be done"),
        ({"decision": "undo", "image": [1]}, "nothing that can be done"),
        ({"decision": "exclude", "image": ["x", "9" * 30]}, "Nothing was changed"),
        ({"decision": "exclude", "image": [1], "key": "no key"}, "Nothing was changed"),
        ({"decision": "exclude", "image": [1], "scope": "everything"}, "Nothing was changed"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    as_teammate: Client, values: dict[str, Any], said: str
) -> None:
    assert said in send(as_teammate, **values)
    assert not Verdict.objects.exists()


def test_images_of_another_dataset_are_out_of_reach(pictures: Dataset, as_owner: Client) -> None:
    other = Dataset.objects.create(slug="other", title="Other", taxonomy=pictures.taxonomy)
    stranger = add_images(other, 1, start=500)[0]
    send(as_owner, "exclude", image=[stranger.pk])
    assert not Image.objects.get(pk=stranger.pk).excluded
    assert f"Image {stranger.pk}" not in text(as_owner.get(f"{IMAGES}?image={stranger.pk}"))


def test_images_go_first_in_the_queue_and_back(pictures: Dataset, as_teammate: Client) -> None:
    last = ReviewItem.objects.order_by("-priority")[0]
    assert "1 image is now first in the queue" in send(as_teammate, "first", image=[last.image_id])
    assert ReviewItem.objects.order_by("priority")[0] == last
    assert "1 image is back at its place" in send(as_teammate, "back", image=[last.image_id])
    assert ReviewItem.objects.order_by("-priority")[0] == last


def test_an_outsider_finds_none_of_it(pictures: Dataset, as_outsider: Client) -> None:
    for url in (IMAGES, f"{IMAGES}count/", f"{IMAGES}list.csv", GRID):
        assert as_outsider.get(url).status_code == 404
    for url in (ACT, f"{GRID}claim/", f"{GRID}settle/", f"{GRID}leave/"):
        assert as_outsider.post(url).status_code == 404


def test_the_list_comes_as_a_file(pictures: Dataset, as_teammate: Client) -> None:
    answer = as_teammate.get(f"{IMAGES}list.csv?split=test")
    rows = list(csv.DictReader(b"".join(answer.streaming_content).decode().splitlines()))  # type: ignore[attr-defined]
    assert [row["split"] for row in rows] == ["test"] * 3
    assert rows[0]["path"] == "img_0002.jpg"
    assert (rows[0]["given_label"], rows[0]["suggested_label"]) == ("neutral", "porn")
    assert float(rows[0]["risk"]) > 0.5
    assert answer.headers["Content-Disposition"] == 'attachment; filename="looks-images.csv"'


def test_the_url_holds_the_open_image_and_htmx_gets_it_alone(pictures: Dataset, as_teammate: Client) -> None:
    pk = keys(pictures, 1)[0]
    assert f"<b>Image {pk}</b>" in text(as_teammate.get(f"{IMAGES}?image={pk}"))
    part = text(as_teammate.get(f"{IMAGES}{pk}/", headers={"HX-Request": "true"}))
    assert "<html" not in part
    assert "Verdicts" in part
    assert as_teammate.get(f"{IMAGES}?image={'9' * 30}&after=~&low=x&sort=x").status_code == 200


def test_a_count_can_be_asked_for_alone(pictures: Dataset, as_teammate: Client) -> None:
    assert text(as_teammate.get(f"{IMAGES}count/?split=train&path=img")).strip() == "7"


# ---- the grid ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(pictures: Dataset) -> Dataset:
    """32 items of the pair drawings → hentai."""
    rank_images(pictures, add_images(pictures, 150, start=100))
    return pictures


def shown_on(page: str) -> list[str]:
    return re.findall(r'name="shown" value="(\d+)"', page)


def test_looking_at_the_grid_claims_nothing_and_starting_claims_the_page(
    pair: Dataset, teammate: Person, as_teammate: Client
) -> None:
    assert "32 images given drawings, suggested hentai" in text(as_teammate.get(f"{GRID}?{PAIR}"))
    assert not Claim.objects.exists()
    page = text(as_teammate.post(f"{GRID}claim/?{PAIR}", follow=True))
    assert len(shown_on(page)) == page.count(" checked ") == 24
    assert set(Claim.objects.values_list("item", flat=True)) == set(map(int, shown_on(page)))


def test_settling_goes_on_after_the_last_of_the_page(pair: Dataset, as_teammate: Client) -> None:
    first = shown_on(text(as_teammate.post(f"{GRID}claim/?{PAIR}", follow=True)))
    sent = {"key": str(uuid4()), "label": "hentai", "shown": first, "selected": first[2:]}
    page = text(as_teammate.post(f"{GRID}settle/?{PAIR}", sent, follow=True))
    assert "Settled 22 as hentai, left 2 open." in page
    second = shown_on(page)
    assert (len(second), set(first) & set(second)) == (8, set())
    sent = {"key": str(uuid4()), "label": "hentai", "shown": second, "selected": second}
    after = re.search(r'settle/\?([^"]+)"', page)
    assert after
    page = text(as_teammate.post(f"{GRID}settle/?{after[1].replace('&amp;', '&')}", sent, follow=True))
    assert "Show the left ones again" in page
    assert "2 open" in page
    assert BulkAction.objects.count() == 2


def test_two_people_are_never_shown_the_same_image(pair: Dataset, as_teammate: Client, as_owner: Client) -> None:
    first = shown_on(text(as_teammate.post(f"{GRID}claim/?{PAIR}", follow=True)))
    second = shown_on(text(as_owner.post(f"{GRID}claim/?{PAIR}", follow=True)))
    assert (len(first), len(second), set(first) & set(second)) == (24, 8, set())


def test_leaving_gives_the_images_back(pair: Dataset, as_teammate: Client) -> None:
    as_teammate.post(f"{GRID}claim/?{PAIR}")
    answer = as_teammate.post(f"{GRID}leave/?{PAIR}", {"to": "focus"})
    assert answer.headers["Location"] == "/d/looks/review/?given=drawings&suggested=hentai&everything=1"
    assert not Claim.objects.exists()


def test_an_image_that_came_back_by_undo_is_not_settled_with_another_pair(
    pair: Dataset, teammate: Person, as_teammate: Client
) -> None:
    stranger = hold_claims(
        dataset=pair, reviewer=teammate, filters=QueueFilter(given="porn", suggested="sexy"), hold=1
    )[0]
    Claim.objects.filter(pk=stranger.pk).update(returned=True)
    page = text(as_teammate.post(f"{GRID}claim/?{PAIR}", follow=True))
    assert str(stranger.item_id) not in shown_on(page)


@pytest.mark.parametrize(
    "values",
    [{}, {"label": "nothing"}, {"key": "x"}, {"shown": ["x"]}, {"selected": ["9" * 40]}],
    ids=["empty", "class", "key", "shown", "selected"],
)
def test_a_broken_page_settles_nothing(pair: Dataset, as_teammate: Client, values: dict[str, Any]) -> None:
    shown = shown_on(text(as_teammate.post(f"{GRID}claim/?{PAIR}", follow=True)))
    sent = {"key": str(uuid4()), "label": "hentai", "shown": shown, "selected": shown} | values if values else {}
    assert "Nothing was settled" in text(as_teammate.post(f"{GRID}settle/?{PAIR}", sent, follow=True))
    assert not Verdict.objects.exists()


@pytest.mark.parametrize("query", ["", "given=drawings", "given=x&suggested=y", f"{PAIR}&after=1~nan", "given=%00"])
def test_a_grid_of_no_pair_offers_the_pairs(pair: Dataset, as_teammate: Client, query: str) -> None:
    assert "Pairs with suspected labels" in text(as_teammate.get(f"{GRID}?{query}"))


def test_the_grid_costs_the_same_queries_for_many_images(
    pair: Dataset, as_teammate: Client, django_assert_max_num_queries: Any
) -> None:
    as_teammate.post(f"{GRID}claim/?{PAIR}")
    with django_assert_max_num_queries(15):
        assert len(shown_on(text(as_teammate.get(f"{GRID}?{PAIR}")))) == 24
