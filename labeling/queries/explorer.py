"""The explorer: images of a dataset by any combination of filters, in any order, a page at a time.

No page walks the whole dataset, whatever is asked. A filter that few images pass gives those images through its
index, and the rest is decided among them. Otherwise the order's own index is walked from where the last page ended,
and after `LOOK_AT_MOST` images the page shows what it has and says how far it looked.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, QuerySet, Value

from labeling.explorer_filter import ExplorerFilter
from labeling.models import (
    Dataset,
    Image,
    ImageBand,
    IssueKind,
    LabelIssue,
    ModelVersion,
    Person,
    Prediction,
    ReviewItem,
    Source,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)
from labeling.queries.counts import KEEPER

PAGE = 60
COUNT_TO = 10_000
LOOK_AT_MOST = 6_000
_FEW = 2_500
_STEPS = (400, 1_600, 2_000, 2_000)
_COUNT_LOOK_AT_MOST = 100_000


class Place(NamedTuple):
    """Where a page ended in its order: the value sorted by (None for the newest) and the image."""

    value: float | str | None
    image_id: int

    def __str__(self) -> str:
        return f"{self.image_id}" if self.value is None else f"{self.image_id}~{self.value}"

    @classmethod
    def parse(cls, text: str, sort: str) -> "Place | None":
        """The place that a URL names in this order; None for none and for what is no place."""
        key, _, value = text.partition("~")
        if not key.isdecimal() or len(key) > 18 or (sort == "newest") == bool(value):
            return None
        if sort == "newest":
            return cls(None, int(key))
        if sort == "path":
            return cls(value.replace("\0", "\ufffd"), int(key))
        try:
            number = float(value)
        except ValueError:
            return None
        return cls(number, int(key)) if 0 <= number <= 1 else None


@dataclass(frozen=True)
class ImageCount:
    """How many images match. Not `exact`: at least so many, more were not counted."""

    images: int
    exact: bool


@dataclass(frozen=True)
class ExplorerPage:
    """A page of images. `count` is None where counting would cost more than the page; `count_images` does it.

    `looked_at` images were looked through without filling the page when `cut_short`.
    """

    images: tuple[Image, ...]
    count: ImageCount | None
    next_place: Place | None
    cut_short: bool
    looked_at: int


@dataclass(frozen=True)
class _Condition:
    """One filter: what holds of an image, and if there is an index for it, the keys of those images.

    `in_order` says that the index gives them by key, so that newest-first can walk it.
    """

    holds: Q | Exists
    keys: QuerySet[Any] | None = None
    name: str = "pk"
    in_order: bool = True

    def first_keys(self, most: int) -> list[int]:
        return list(self.keys.values_list(self.name, flat=True)[:most]) if self.keys is not None else []

    def count_to(self, most: int) -> int:
        """How many keys there are, looking no further than `most`."""
        return self.keys.order_by().values_list(self.name)[:most].count() if self.keys is not None else 0


class _Among(Func):
    """Whether a key is one of some thousands, which go to the database as one parameter: each one costs time."""

    output_field = BooleanField()
    template, arg_joiner = "%(expressions)s))", " IN (SELECT value FROM json_each("

    def __init__(self, key: str, keys: Sequence[int]) -> None:
        super().__init__(F(key), Value(json.dumps(keys)))

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        joiner = " = ANY(ARRAY(SELECT json_array_elements_text("
        return self.as_sql(compiler, connection, template="%(expressions)s::json)::bigint))", arg_joiner=joiner)


@dataclass(frozen=True)
class _Order:
    """An order as an index that can be walked: rows, the key of the image, the value, and the direction of each."""

    rows: Callable[[Dataset], QuerySet[Any]]
    key: str
    value: str | None
    value_of_image: str | None
    down: bool

    def walk(self, rows: QuerySet[Any], after: Place | None, most: int) -> list[Place]:
        key, value = self.key, self.value
        if value is None:
            if after is not None:
                rows = rows.filter(**{f"{key}__lt": after.image_id})
            return [Place(None, pk) for pk in rows.order_by(f"-{key}").values_list(key, flat=True)[:most]]
        if after is not None:
            beyond, up_to = ("lt", "lte") if self.down else ("gt", "gte")
            tied = Q(**{value: after.value, f"{key}__gt": after.image_id})
            # The second condition says nothing new; it lets the index start at the place.
            rows = rows.filter(Q(**{f"{value}__{beyond}": after.value}) | tied, **{f"{value}__{up_to}": after.value})
        ordered = rows.order_by(f"-{value}" if self.down else value, key)
        return [Place(at, pk) for at, pk in ordered.values_list(value, key)[:most]]

    def sort_key(self, place: Place) -> tuple[Any, ...]:
        if self.value is None:
            return (-place.image_id,)
        value: Any = place.value
        return (-value if self.down else value, place.image_id)


def _images(dataset: Dataset) -> QuerySet[Any]:
    return Image.objects.filter(dataset=dataset)


def _items(dataset: Dataset) -> QuerySet[Any]:
    return ReviewItem.objects.filter(dataset=dataset)


_ORDERS: dict[str, _Order] = {
    "newest": _Order(_images, "pk", None, None, down=True),
    "path": _Order(_images, "pk", "path", "path", down=False),
    "quality": _Order(_items, "image_id", "label_quality", "item__label_quality", down=False),
    "risk": _Order(_items, "image_id", "risk", "item__risk", down=True),
}


def explorer_page(dataset: Dataset, filters: ExplorerFilter, after: Place | None) -> ExplorerPage:
    """The images that come after `after`; at most two SQL queries a filter and ten more, whatever the size."""
    order = _ORDERS[filters.sort]
    conditions = _conditions(dataset, filters)
    few, walked = _rarest(conditions)
    count: ImageCount | None
    if few is not None:
        places = _places_among(dataset, few, conditions, order)
        count = ImageCount(len(places), exact=True)
        left = [place for place in places if after is None or order.sort_key(place) > order.sort_key(after)]
        found, more, looked_at, cut_short = left[:PAGE], len(left) > PAGE, len(few), False
        last = found[-1] if found else None
    else:
        rows, order = _rows_to_walk(dataset, order, walked)
        found, last, more, looked_at, cut_short = _walk(dataset, rows, order, conditions, after)
        whole = after is None and not more
        count = ImageCount(len(found), exact=True) if whole else _cheap_count(dataset, conditions)
    images = _in_order([place.image_id for place in found])
    return ExplorerPage(images, count, last if more else None, cut_short, looked_at)


def count_images(dataset: Dataset, filters: ExplorerFilter) -> ImageCount:
    """How many images match, exactly up to `COUNT_TO`; gives up after looking through `_COUNT_LOOK_AT_MOST`."""
    conditions = _conditions(dataset, filters)
    few, walked = _rarest(conditions)
    order = _ORDERS["newest"]
    if few is not None:
        return ImageCount(len(_places_among(dataset, few, conditions, order)), exact=True)
    cheap = _cheap_count(dataset, conditions)
    if cheap is not None:
        return cheap
    rows, order = _rows_to_walk(dataset, order, walked)
    images = looked_at = 0
    place: Place | None = None
    while looked_at < _COUNT_LOOK_AT_MOST:
        window = order.walk(rows, place, 4 * _STEPS[-1])
        images += len(_that_hold(dataset, [at.image_id for at in window], conditions))
        looked_at += len(window)
        if images > COUNT_TO:
            return ImageCount(COUNT_TO, exact=False)
        if len(window) < 4 * _STEPS[-1]:
            return ImageCount(images, exact=True)
        place = window[-1]
    return ImageCount(images, exact=False)


def matching_images(dataset: Dataset, filters: ExplorerFilter) -> QuerySet[Image]:
    """Every image that matches, in no order: for what is done to all of them, and for the list as a file."""
    images = Image.objects.filter(dataset=dataset)
    for condition in _conditions(dataset, filters):
        images = images.filter(condition.holds)
    return images


def newest_model(dataset: Dataset) -> ModelVersion | None:
    """The newest model version that scored the dataset, as far as its last ranked image tells; three SQL queries."""
    ranked = ReviewItem.objects.filter(dataset=dataset).order_by("-label_quality", "-image")
    image = ranked.values_list("image", flat=True).first()
    # Sorted here: asked to sort by model, a planner walks all predictions of a model to find those of one image.
    scored_by = list(Prediction.objects.filter(image=image).order_by().values_list("model_version", flat=True))
    return ModelVersion.objects.filter(pk=max(scored_by)).first() if scored_by else None


def _rarest(conditions: Sequence[_Condition]) -> tuple[list[int] | None, _Condition | None]:
    """The images of the rarest filter if they are few; else the filter whose index is best walked."""
    walked: _Condition | None = None
    for condition in conditions:
        if condition.keys is None:
            continue
        if condition.count_to(_FEW + 1) <= _FEW:
            return condition.first_keys(_FEW), None
        # Conditions come in the order of how much they usually leave.
        if walked is None and condition.in_order:
            walked = condition
    return None, walked


def _rows_to_walk(dataset: Dataset, order: _Order, walked: _Condition | None) -> tuple[QuerySet[Any], _Order]:
    if order.value is None and walked is not None and walked.keys is not None:
        return walked.keys, _Order(_images, walked.name, None, None, down=True)
    return order.rows(dataset), order


def _walk(
    dataset: Dataset, rows: QuerySet[Any], order: _Order, conditions: Sequence[_Condition], after: Place | None
) -> tuple[list[Place], Place | None, bool, int, bool]:
    """(found, where the next page starts, whether there may be more, looked at, stopped before the page was full)."""
    found: list[Place] = []
    looked_at = 0
    steps: Iterator[int] = iter(_STEPS if conditions else (PAGE + 1,))
    for step in steps:
        window = order.walk(rows, after, step)
        held = _that_hold(dataset, [place.image_id for place in window], conditions)
        # An index over findings may name an image twice.
        found += [place for place in dict.fromkeys(window) if place.image_id in held]
        looked_at += len(window)
        if len(found) > PAGE:
            return found[:PAGE], found[PAGE - 1], True, looked_at, False
        if len(window) < step:
            return found, None, False, looked_at, False
        after = window[-1]
    return found, after, True, looked_at, True


def _that_hold(dataset: Dataset, keys: Sequence[int], conditions: Sequence[_Condition]) -> set[int]:
    if not conditions:
        return set(keys)
    return set(_those_that_hold(dataset, keys, conditions).order_by().values_list("pk", flat=True))


def _those_that_hold(dataset: Dataset, keys: Sequence[int], conditions: Sequence[_Condition]) -> QuerySet[Image]:
    images = Image.objects.filter(_Among("pk", keys), dataset=dataset)
    for condition in conditions:
        images = images.filter(condition.holds)
    return images


def _places_among(
    dataset: Dataset, keys: Sequence[int], conditions: Sequence[_Condition], order: _Order
) -> list[Place]:
    images = _those_that_hold(dataset, keys, conditions)
    if order.value_of_image is None:
        places = [Place(None, pk) for pk in images.order_by().values_list("pk", flat=True)]
    else:
        images = images.filter(**{f"{order.value_of_image}__isnull": False})
        places = [Place(value, pk) for pk, value in images.order_by().values_list("pk", order.value_of_image)]
    return sorted(places, key=order.sort_key)


def _cheap_count(dataset: Dataset, conditions: Sequence[_Condition]) -> ImageCount | None:
    """The count where one index has it; None where images would have to be looked at."""
    if not conditions:
        count = KEEPER.counted(("images", dataset.pk), lambda: _images(dataset).count())
        return ImageCount(count.value, exact=True)
    if len(conditions) > 1 or conditions[0].keys is None or not conditions[0].in_order:
        return None
    images = conditions[0].count_to(COUNT_TO + 1)
    return ImageCount(min(images, COUNT_TO), exact=images <= COUNT_TO)


def _in_order(keys: Sequence[int]) -> tuple[Image, ...]:
    images = Image.objects.select_related("given_class", "current_class", "item__suggested_class").in_bulk(list(keys))
    # An image may have gone since its key was read.
    return tuple(images[key] for key in keys if key in images)


def _conditions(dataset: Dataset, filters: ExplorerFilter) -> list[_Condition]:
    """The filters that are set, those first that usually leave the fewest images."""
    named: list[tuple[str, Callable[[Dataset, ExplorerFilter], _Condition]]] = [
        (filters.by, _by),
        (filters.source, _source),
        (filters.issue, _issue),
        (filters.band, _band),
        (filters.show, _show),
        (filters.state, _state),
        (filters.predicted, _predicted),
        (filters.suggested, _suggested),
        (filters.given, _given),
        (filters.label, _label),
        (filters.split, _split),
        (filters.path, _path),
    ]
    conditions = [make(dataset, filters) for value, make in named if value]
    if filters.low is not None or filters.high is not None:
        conditions.append(_quality(dataset, filters))
    if filters.sort in {"quality", "risk"}:
        conditions.append(_Condition(Q(item__isnull=False)))
    return conditions


def _class_key(dataset: Dataset, name: str) -> int:
    known = TaxonomyClass.objects.filter(taxonomy_id=dataset.taxonomy_id, name=name)
    return known.values_list("pk", flat=True).first() or 0


def _split(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    split = "" if filters.split == "none" else filters.split
    return _Condition(Q(split=split), _images(dataset).filter(split=split))


def _label(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    holds = Q(current_class=_class_key(dataset, filters.label))
    return _Condition(holds, _images(dataset).filter(holds))


def _given(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    holds = Q(given_class=_class_key(dataset, filters.given))
    return _Condition(holds, _images(dataset).filter(holds))


def _suggested(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    key = _class_key(dataset, filters.suggested)
    return _Condition(Q(item__suggested_class=key), _items(dataset).filter(suggested_class=key), "image_id")


def _predicted(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    model = newest_model(dataset)
    index = (
        TaxonomyClass.objects.filter(taxonomy_id=model.taxonomy_id, name=filters.predicted)
        .values_list("index", flat=True)
        .first()
        if model
        else None
    )
    if model is None or index is None:
        return _nothing()
    said = Prediction.objects.filter(model_version=model, predicted_index=index)
    return _Condition(Exists(said.filter(image=OuterRef("pk"))), said, "image_id")


def _show(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    if filters.show == "changed":
        changed = ~Q(current_class=F("given_class"))
        return _Condition(changed, _images(dataset).filter(changed))
    if filters.show == "excluded":
        return _Condition(Q(excluded=True), _images(dataset).filter(excluded=True))
    if filters.show == "suggestion":
        return _Condition(Q(item__isnull=False) & ~Q(current_class=F("item__suggested_class")))
    model = newest_model(dataset) if filters.show == "prediction" else None
    if model is None or model.taxonomy_id != dataset.taxonomy_id:
        return _nothing()
    said = Prediction.objects.filter(model_version=model, image=OuterRef("pk"))
    return _Condition(Exists(said.exclude(predicted_index=OuterRef("current_class__index"))))


def _state(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    if filters.state == "unranked":
        return _Condition(Q(item__isnull=True))
    return _Condition(Q(item__state=filters.state), _items(dataset).filter(state=filters.state), "image_id")


def _by(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    person = Person.objects.filter(username=filters.by).values_list("pk", flat=True).first()
    if person is None:
        return _nothing()
    given = Verdict.objects.filter(reviewer=person).exclude(kind=VerdictKind.UNDO)
    standing = given.filter(undone_by__isnull=True, image=OuterRef("pk"))
    return _Condition(Exists(standing), given.order_by("-id"), "image_id", in_order=False)


def _source(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    source = Source.objects.filter(dataset=dataset, name=filters.source).values_list("pk", flat=True).first()
    if source is None:
        return _nothing()
    return _Condition(Q(source=source), Image.objects.filter(source=source))


def _issue(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    if filters.issue not in IssueKind.values:
        return _nothing()
    found = LabelIssue.objects.filter(kind=filters.issue)
    return _Condition(Exists(found.filter(image=OuterRef("pk"))), found, "image_id")


def _band(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    banded = ImageBand.objects.filter(dataset=dataset, band=filters.band)
    return _Condition(Q(banding__band=filters.band), banded, "image_id")


def _quality(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    bounds = {"label_quality__gte": filters.low, "label_quality__lte": filters.high}
    given = {name: value for name, value in bounds.items() if value is not None}
    return _Condition(
        Q(**{f"item__{name}": value for name, value in given.items()}),
        _items(dataset).filter(**given),
        "image_id",
        in_order=False,
    )


def _path(dataset: Dataset, filters: ExplorerFilter) -> _Condition:
    return _Condition(Q(path__icontains=filters.path))


def _nothing() -> _Condition:
    return _Condition(Q(pk__in=[]), Image.objects.none())
