"""The explorer lists the images that pass every filter, in every order, and never walks a whole dataset for a page."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from labeling.actions.bulk import decide_selection
from labeling.explorer_filter import ExplorerFilter
from labeling.models import (
    Dataset,
    Image,
    ItemState,
    LabelIssue,
    ModelVersion,
    Person,
    Prediction,
    ReviewItem,
    Run,
    Source,
    TaxonomyClass,
    VerdictKind,
)
from labeling.queries import explorer
from labeling.queries.counts import CountKeeper
from labeling.queries.explorer import ExplorerPage, ImageCount, Place, count_images, explorer_page, matching_images
from tests.builders import add_images, class_list, rank_images

ORDERS = ("newest", "path", "quality", "risk")


@pytest.fixture
def many(dataset: Dataset) -> Dataset:
    """150 images: 12 and 128 ranked ones and 10 that are not; predictions, one source, some issues."""
    rank_images(dataset, add_images(dataset, 128, splits=("train", "validation", "test"), start=100), suspected=False)
    add_images(dataset, 10, start=900)
    run = Run.objects.get(pk=ReviewItem.objects.values_list("run", flat=True)[0])
    model = ModelVersion.objects.create(
        name="m", taxonomy=dataset.taxonomy, folder="m", sha256="0", profile="p", embedding_size=1, sidecar={}
    )
    Prediction.objects.bulk_create(
        Prediction(
            image=image,
            model_version=model,
            run=run,
            profile="p",
            probabilities=b"",
            predicted_index=image.pk % 5,
            confidence=0.9,
            embedding_row=row,
        )
        for row, image in enumerate(Image.objects.order_by("pk")[:140])
    )
    source = Source.objects.create(dataset=dataset, name="example.org")
    Image.objects.filter(pk__in=list(Image.objects.order_by("pk").values_list("pk", flat=True)[::3])).update(
        source=source
    )
    LabelIssue.objects.bulk_create(
        LabelIssue(run=run, image=image, kind="outlier", reason="far") for image in Image.objects.order_by("-pk")[20:90]
    )
    return dataset


def every_page(dataset: Dataset, filters: ExplorerFilter) -> list[Image]:
    found: list[Image] = []
    after: Place | None = None
    for _ in range(100):
        page = explorer_page(dataset, filters, after)
        found += page.images
        if page.next_place is None:
            return found
        # As the URL carries it.
        after = Place.parse(str(page.next_place), filters.sort)
    raise AssertionError("expected the pages to end")


def load(dataset: Dataset) -> list[Image]:
    images = Image.objects.filter(dataset=dataset).select_related(
        "given_class", "current_class", "source", "item__suggested_class"
    )
    return list(images.prefetch_related("predictions", "issues", "verdicts__reviewer"))


def by_hand(dataset: Dataset, images: list[Image], filters: ExplorerFilter) -> set[int]:
    """What Python finds when it looks at each image."""
    classes = class_list(dataset)
    return {image.pk for image in images if _passes(image, classes, filters)}


def _passes(image: Image, classes: list[TaxonomyClass], filters: ExplorerFilter) -> bool:
    item: ReviewItem | None = getattr(image, "item", None)
    predicted = next((said.predicted_index for said in image.predictions.all()), None)
    suggested = item.suggested_class if item else None
    shown = {
        "": True,
        "changed": image.current_class_id != image.given_class_id,
        "excluded": image.excluded,
        "suggestion": suggested is not None and suggested != image.current_class,
        "prediction": predicted is not None and predicted != image.current_class.index,
    }
    deciders = {verdict.reviewer.username for verdict in image.verdicts.all()}
    equal = [
        (filters.split, image.split),
        (filters.label, image.current_class.name),
        (filters.given, image.given_class.name),
        (filters.suggested, suggested and suggested.name),
        (filters.predicted, predicted is not None and classes[predicted].name),
        (filters.state, item.state if item else "unranked"),
        (filters.source, image.source and image.source.name),
    ]
    return (
        all(not wanted or wanted == has for wanted, has in equal)
        and shown.get(filters.show, False)
        and (not filters.by or filters.by in deciders)
        and (not filters.issue or filters.issue in {issue.kind for issue in image.issues.all()})
        and filters.path.lower() in image.path.lower()
        and (filters.low is None or (item is not None and item.label_quality >= filters.low))
        and (filters.high is None or (item is not None and item.label_quality <= filters.high))
        and (filters.sort not in {"quality", "risk"} or item is not None)
    )


FILTERS: list[dict[str, Any]] = [
    {},
    {"split": "test"},
    {"label": "drawings", "split": "train"},
    {"given": "neutral", "suggested": "porn"},
    {"predicted": "hentai"},
    {"show": "prediction", "split": "validation"},
    {"show": "suggestion"},
    {"show": "changed"},
    {"show": "excluded"},
    {"state": "unranked"},
    {"state": "settled", "by": "anna"},
    {"source": "example.org", "low": 0.2, "high": 0.7},
    {"issue": "outlier", "split": "test"},
    {"path": "IMG_01"},
    {"given": "no such class"},
    {"source": "nowhere"},
    {"by": "nobody"},
    {"issue": "no such issue"},
    {"show": "no such thing"},
]


@pytest.mark.parametrize("few", [0, 2_500], ids=["by walking an order", "among the few of a filter"])
@pytest.mark.parametrize("sort", ORDERS)
def test_each_filter_finds_what_looking_at_each_image_finds(
    many: Dataset, anna: Person, monkeypatch: pytest.MonkeyPatch, few: int, sort: str
) -> None:
    monkeypatch.setattr(explorer, "_FEW", few)
    monkeypatch.setattr(explorer, "PAGE", 25)
    monkeypatch.setattr(explorer, "_STEPS", (7, 30, 40))
    for count, kind in ((9, VerdictKind.EXCLUDE), (20, VerdictKind.RELABEL)):
        decide_selection(
            dataset=many,
            images=Image.objects.filter(pk__in=Image.objects.order_by("-pk").values("pk")[10 : 10 + count]),
            person=anna,
            kind=kind,
            label=class_list(many)[4] if kind == VerdictKind.RELABEL else None,
            key=uuid4(),
        )
    images = load(many)
    for chosen in FILTERS:
        filters = ExplorerFilter(**chosen, sort=sort)
        found = [image.pk for image in every_page(many, filters)]
        assert len(found) == len(set(found)), chosen
        assert set(found) == by_hand(many, images, filters), chosen
        assert set(matching_images(many, filters).values_list("pk", flat=True)) == set(found), chosen
        assert count_images(many, filters) == ImageCount(len(found), exact=True), chosen


@pytest.mark.parametrize("few", [0, 2_500])
def test_each_order_is_kept_across_pages_and_through_ties(
    many: Dataset, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(explorer, "_FEW", few)
    monkeypatch.setattr(explorer, "PAGE", 10)
    ReviewItem.objects.filter(pk__in=ReviewItem.objects.values("pk")[:60]).update(label_quality=0.5, risk=0.5)
    keys = {
        "newest": lambda image: -image.pk,
        "path": lambda image: (image.path, image.pk),
        "quality": lambda image: (image.item.label_quality, image.pk),
        "risk": lambda image: (-image.item.risk, image.pk),
    }
    for sort, key in keys.items():
        found = every_page(many, ExplorerFilter(split="train", sort=sort))
        assert found == sorted(found, key=key)
        assert len(found) > 30


def test_a_page_looks_at_a_bounded_number_of_images_and_says_so(many: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "_FEW", 0)
    monkeypatch.setattr(explorer, "_STEPS", (10, 20))
    page = explorer_page(many, ExplorerFilter(path="img_0000.jpg"), None)
    assert (page.images, page.cut_short, page.looked_at, page.count) == ((), True, 30, None)
    assert [image.path for image in every_page(many, ExplorerFilter(path="img_0000.jpg"))] == ["img_0000.jpg"]


def test_a_large_count_stops(many: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "COUNT_TO", 20)
    monkeypatch.setattr(explorer, "PAGE", 10)
    monkeypatch.setattr(explorer, "_FEW", 0)
    assert explorer_page(many, ExplorerFilter(split="train"), None).count == ImageCount(20, exact=False)
    assert count_images(many, ExplorerFilter(split="train", path="img")) == ImageCount(20, exact=False)


def test_a_page_costs_the_same_queries_for_many_images(many: Dataset) -> None:
    filters = ExplorerFilter(split="train", label="drawings", sort="quality")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page: ExplorerPage = explorer_page(many, filters, None)
        assert page.images
        return len(captured)

    before = queries()
    rank_images(many, add_images(many, 400, start=2000))
    assert queries() == before <= 6


@pytest.mark.parametrize("text", ["", "x", "-3", "1~2", "9" * 30, "~", "1~nan"])
def test_what_is_no_place_is_the_start(text: str) -> None:
    assert Place.parse(text, "newest") is None
    assert Place.parse(text if text != "1~2" else "1~7", "quality") is None


def test_a_filter_survives_its_own_link() -> None:
    filters = ExplorerFilter(split="test", low=0.25, sort="risk", path="a&b")
    assert ExplorerFilter.from_query(filters.query()) == filters
    assert ExplorerFilter.from_query({"low": "much", "sort": "odd"}) == ExplorerFilter()
    assert not replace(ExplorerFilter(), sort="path").narrows


def test_a_slow_count_is_kept_for_a_while_and_a_quick_one_is_not() -> None:
    now = [0.0]
    keeper = CountKeeper(lambda: now[0])
    taken = {"seconds": 0.001, "times": 0}

    def count() -> int:
        taken["times"] += 1
        now[0] += taken["seconds"]
        return int(taken["times"])

    assert [keeper.counted("a", count).value for _ in range(2)] == [1, 2]
    taken["seconds"] = 0.1
    assert keeper.counted("a", count).value == 3
    now[0] += 19
    assert (keeper.counted("a", count).value, round(keeper.counted("a", count).age)) == (3, 19)
    now[0] += 2
    assert keeper.counted("a", count).value == 4
    keeper.forget()
    assert keeper.counted("a", count).value == 5


def test_items_of_a_ranking_carry_the_given_label_of_their_image(many: Dataset) -> None:
    assert all(item.given_class_id == item.image.given_class_id for item in many.items.select_related("image"))
    assert many.items.filter(state=ItemState.OPEN).count() == 140
