"""A dataset at a glance: counts, where labels and model disagree, and who reviewed what."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Max, Q, QuerySet

from labeling.models import (
    NO_DECISIONS,
    SPLITS,
    Dataset,
    Image,
    IssueKind,
    ItemState,
    LabelIssue,
    ReviewItem,
    Run,
    RunKind,
    RunRefusal,
    RunState,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)
from labeling.queries.queue import classes_of


@dataclass(frozen=True)
class DatasetCard:
    """One dataset on the first page."""

    dataset: Dataset
    images: int
    scored: int
    suspected: int
    suspected_settled: int
    refused: int
    last_run: Run | None

    @property
    def suspected_open(self) -> int:
        return self.suspected - self.suspected_settled


@dataclass(frozen=True)
class SplitRow:
    """Images of one split by given class; `excluded` of them were taken out by a verdict."""

    split: str
    by_class: tuple[int, ...]
    excluded: int

    @property
    def images(self) -> int:
        return sum(self.by_class)


@dataclass(frozen=True)
class MatrixCell:
    """Items with this given and this suggested label; `heat` 0..5 compares it with the other disagreements."""

    given: TaxonomyClass
    suggested: TaxonomyClass
    items: int
    open: int
    heat: int

    @property
    def agrees(self) -> bool:
        return self.given.pk == self.suggested.pk


@dataclass(frozen=True)
class MatrixRow:
    given: TaxonomyClass
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class ReviewerRow:
    name: str
    verdicts: int
    changed: int
    last_at: datetime | None


@dataclass(frozen=True)
class IssueCount:
    """Images with an issue of one kind, and how many of them are still open."""

    kind: str
    label: str
    images: int
    open: int


@dataclass(frozen=True)
class Overview:
    classes: tuple[TaxonomyClass, ...]
    images: int
    excluded: int
    relabelled: int
    splits: tuple[SplitRow, ...]
    totals: SplitRow
    items: int
    settled: int
    suspected: int
    suspected_settled: int
    unsure: int
    disputed: int
    matrix: tuple[MatrixRow, ...]
    kinds: tuple[tuple[str, int], ...]
    reviewers: tuple[ReviewerRow, ...]
    ranked_by: Run | None
    issues: tuple[IssueCount, ...]

    @property
    def confusions(self) -> list[dict[str, Any]]:
        """Of the last ranking's run: `given`, `true`, `share` with `low` and `high`, and about how many images."""
        return list(self.ranked_by.summary.get("confusions", ())) if self.ranked_by else []

    @property
    def suspected_open(self) -> int:
        return self.suspected - self.suspected_settled


def overview(dataset: Dataset) -> Overview:
    """Everything on the overview page but the runs; nine SQL queries whatever the size."""
    classes = classes_of(dataset)
    splits = _splits(dataset, classes)
    totals = SplitRow(
        "all",
        tuple(sum(row.by_class[place] for row in splits) for place in range(len(classes))),
        sum(row.excluded for row in splits),
    )
    items = ReviewItem.objects.filter(dataset=dataset).aggregate(
        items=Count("pk"),
        settled=Count("pk", filter=Q(state=ItemState.SETTLED)),
        doubted=Count("pk", filter=Q(suspected=True)),
        doubted_settled=Count("pk", filter=Q(suspected=True, state=ItemState.SETTLED)),
        unsure=Count("pk", filter=Q(state=ItemState.UNSURE)),
        disputed=Count("pk", filter=Q(state=ItemState.DISPUTED)),
    )
    kinds, reviewers = _verdicts(dataset)
    return Overview(
        classes=tuple(classes),
        images=totals.images,
        excluded=totals.excluded,
        relabelled=Image.objects.filter(dataset=dataset, excluded=False)
        .exclude(current_class=F("given_class"))
        .count(),
        splits=splits,
        totals=totals,
        matrix=_matrix(dataset, classes),
        kinds=kinds,
        reviewers=reviewers,
        ranked_by=dataset.runs.filter(kind__in=(RunKind.FIND_ISSUES, RunKind.RERANK), state=RunState.DONE)
        .order_by("-id")
        .first(),
        issues=_issues(dataset),
        items=items["items"],
        settled=items["settled"],
        suspected=items["doubted"],
        suspected_settled=items["doubted_settled"],
        unsure=items["unsure"],
        disputed=items["disputed"],
    )


def dataset_cards(datasets: QuerySet[Dataset]) -> list[DatasetCard]:
    """The first page; five SQL queries for any number of datasets."""
    found = list(datasets)
    keys = [dataset.pk for dataset in found]
    images = dict(Image.objects.filter(dataset__in=keys).values_list("dataset").annotate(images=Count("pk")).order_by())
    items = {
        row["dataset"]: row
        for row in ReviewItem.objects.filter(dataset__in=keys)
        .values("dataset")
        .annotate(
            scored=Count("pk"),
            doubted=Count("pk", filter=Q(suspected=True)),
            settled=Count("pk", filter=Q(suspected=True, state=ItemState.SETTLED)),
        )
        .order_by()
    }
    refused = dict(
        RunRefusal.objects.filter(run__dataset__in=keys, run__kind=RunKind.IMPORT)
        .values_list("run__dataset")
        .annotate(files=Count("path", distinct=True))
        .order_by()
    )
    newest = (
        Run.objects.filter(dataset__in=keys).values("dataset").annotate(newest=Max("pk")).values("newest").order_by()
    )
    runs = {run.dataset_id: run for run in Run.objects.filter(pk__in=newest)}
    nothing = {"scored": 0, "doubted": 0, "settled": 0}
    return [
        DatasetCard(
            dataset=dataset,
            images=images.get(dataset.pk, 0),
            scored=items.get(dataset.pk, nothing)["scored"],
            suspected=items.get(dataset.pk, nothing)["doubted"],
            suspected_settled=items.get(dataset.pk, nothing)["settled"],
            refused=refused.get(dataset.pk, 0),
            last_run=runs.get(dataset.pk),
        )
        for dataset in found
    ]


def _splits(dataset: Dataset, classes: Sequence[TaxonomyClass]) -> tuple[SplitRow, ...]:
    counted = (
        Image.objects.filter(dataset=dataset)
        .values_list("split", "given_class")
        .annotate(images=Count("pk"), taken_out=Count("pk", filter=Q(excluded=True)))
        .order_by()
    )
    images: Counter[tuple[str, int]] = Counter()
    excluded: Counter[str] = Counter()
    for split, given, number, taken_out in counted:
        images[split, given] += number
        excluded[split] += taken_out
    present = [split for split in (*SPLITS, "") if any(images[split, known.pk] for known in classes)]
    return tuple(
        SplitRow(split, tuple(images[split, known.pk] for known in classes), excluded[split]) for split in present
    )


def _issues(dataset: Dataset) -> tuple[IssueCount, ...]:
    counted = (
        LabelIssue.objects.filter(run__dataset=dataset)
        .values_list("kind")
        .annotate(images=Count("image"), left=Count("image", filter=~Q(image__item__state=ItemState.SETTLED)))
        .order_by()
    )
    found = {kind: (images, left) for kind, images, left in counted}
    return tuple(IssueCount(kind.value, kind.label, *found[kind.value]) for kind in IssueKind if kind.value in found)


def _matrix(dataset: Dataset, classes: Sequence[TaxonomyClass]) -> tuple[MatrixRow, ...]:
    counted = {
        (given, suggested): (items, unsettled)
        for given, suggested, items, unsettled in ReviewItem.objects.filter(dataset=dataset)
        .values_list("image__given_class", "suggested_class")
        .annotate(items=Count("pk"), unsettled=Count("pk", filter=~Q(state=ItemState.SETTLED)))
        .order_by()
    }
    if not counted:
        return ()
    most = max((items for (given, suggested), (items, _) in counted.items() if given != suggested), default=0)

    def cell(given: TaxonomyClass, suggested: TaxonomyClass) -> MatrixCell:
        items, unsettled = counted.get((given.pk, suggested.pk), (0, 0))
        heat = 0 if given.pk == suggested.pk or not items else 1 + round(4 * items / most)
        return MatrixCell(given, suggested, items, unsettled, heat)

    return tuple(MatrixRow(given, tuple(cell(given, suggested) for suggested in classes)) for given in classes)


def _verdicts(dataset: Dataset) -> tuple[tuple[tuple[str, int], ...], tuple[ReviewerRow, ...]]:
    """Standing verdicts by kind and by person: undone ones do not count, redone ones do."""
    given: Counter[tuple[str, str]] = Counter()
    last_at: dict[str, datetime] = {}
    grouped = (
        Verdict.objects.filter(image__dataset=dataset)
        .exclude(kind__in=NO_DECISIONS)
        .values_list("reviewer__username", "kind")
        .annotate(verdicts=Count("pk"), last=Max("created_at"))
        .order_by()
    )
    for name, kind, number, last in grouped:
        given[name, kind] = number
        last_at[name] = max(last, last_at.get(name, last))
    for name, kind in _taken_back(dataset):
        given[name, kind] -= 1
    by_kind: Counter[str] = Counter()
    by_name: Counter[str] = Counter()
    for (name, kind), number in given.items():
        by_kind[kind] += number
        by_name[name] += number
    kinds = tuple((VerdictKind(kind).label, by_kind[kind]) for kind in VerdictKind.values if by_kind[kind])
    reviewers = tuple(
        ReviewerRow(
            name,
            number,
            given[name, VerdictKind.RELABEL] + given[name, VerdictKind.EXCLUDE],
            last_at.get(name),
        )
        for name, number in by_name.most_common()
    )
    return kinds, reviewers


def _taken_back(dataset: Dataset) -> list[tuple[str, str]]:
    """(reviewer, kind) of each verdict that an undo in force takes back."""
    undos = (
        Verdict.objects.filter(image__dataset=dataset, kind=VerdictKind.UNDO)
        .order_by("-id")
        .values_list("id", "undoes", "undoes__reviewer__username", "undoes__kind")
    )
    out_of_force: set[int | None] = set()
    taken: list[tuple[str, str]] = []
    # An undo can itself be undone, always by a later row: the newest is in force.
    for pk, undoes, name, kind in undos:
        if pk in out_of_force:
            continue
        out_of_force.add(undoes)
        if kind not in NO_DECISIONS:
            taken.append((name, kind))
    return taken
