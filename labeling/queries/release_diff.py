"""What changed between two releases of a dataset, and who decided it.

An image is the same in both by its bytes. Everything is counted and paged by the database.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from labeling.models import SPLITS, Release, ReleaseEntry, TaxonomyClass, Verdict, VerdictKind
from labeling.queries.overview import SplitRow
from labeling.queries.queue import classes_of

RELABELLED, ADDED, REMOVED, MOVED = KINDS = ("relabelled", "added", "removed", "moved")
_PAGE = 1000
_OF_CHANGE = (
    *("image", "sha256", "image__path", "label", "split"),
    *("label_other", "split_other", "verdict", "last"),
)


@dataclass(frozen=True)
class Flow:
    """How many labels went from one class to another."""

    before: TaxonomyClass
    after: TaxonomyClass
    images: int


@dataclass(frozen=True)
class Decider:
    """How many of the changed labels a person's verdicts of one kind decided."""

    person: str
    kind: str
    images: int


@dataclass(frozen=True)
class Balance:
    """Images of a class before and after."""

    label: TaxonomyClass
    before: int
    after: int

    @property
    def gained(self) -> int:
        return self.after - self.before


@dataclass(frozen=True)
class ReleaseDiff:
    """Two releases side by side.

    Attributes:
        same: images of the same bytes, label and split in both.
        confirmed: of those with the same label, how many a verdict decided since.
        flows: the changed labels by pair of classes, most first.
        deciders: the same by who decided, most first.
        balance: by class, in index order.
        splits_before, splits_after: images by split and class.
        model_before, model_after: what the label qualities of either come from; empty without.
    """

    before: Release
    after: Release
    relabelled: int
    added: int
    removed: int
    moved: int
    same: int
    confirmed: int
    flows: tuple[Flow, ...]
    deciders: tuple[Decider, ...]
    classes: tuple[TaxonomyClass, ...]
    balance: tuple[Balance, ...]
    splits_before: tuple[SplitRow, ...]
    splits_after: tuple[SplitRow, ...]
    model_before: str
    model_after: str

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """Each kind of change with its number of images."""
        return tuple((kind, int(getattr(self, kind))) for kind in KINDS)


@dataclass(frozen=True)
class Change:
    """One image that changed; an empty label or split where the release does not have the image.

    `decision`, `by`, `at` and `why` are those of the verdict that did it; empty where none did.
    """

    kind: str
    image_id: int
    sha256: str
    path: str
    label_before: str
    label_after: str
    split_before: str
    split_after: str
    decision: str
    by: str
    at: datetime | None
    why: str


def release_diff(before: Release, after: Release) -> ReleaseDiff:
    """Count what changed from one release to another of the same dataset; seven SQL queries."""
    classes = classes_of(after.dataset)
    known = {one.pk: one for one in classes}
    tables: tuple[Counter[tuple[str, int]], ...] = (Counter(), Counter())
    flows: Counter[tuple[int, int]] = Counter()
    added = moved = same = 0
    confirmed = 0
    for split_before, label_before, split, label, images, newly_decided in _joined(before, after):
        tables[1][split, label] += images
        if label_before is None or split_before is None:
            added += images
            continue
        tables[0][split_before, label_before] += images
        flows[label_before, label] += images
        moved += images * (split_before != split)
        same += images * ((split_before, label_before) == (split, label))
        confirmed += newly_decided * (label_before == label)
    gone = _of_kind(REMOVED, before, after).values_list("split", "label").annotate(images=Count("pk")).order_by()
    removed = 0
    for split, label, images in gone:
        tables[0][split, label] += images
        removed += images
    changed = {pair: images for pair, images in flows.items() if pair[0] != pair[1]}
    of_class: tuple[Counter[int], ...] = (Counter(), Counter())
    for table, totals in zip(tables, of_class, strict=True):
        for (_, label), images in table.items():
            totals[label] += images
    return ReleaseDiff(
        before=before,
        after=after,
        relabelled=sum(changed.values()),
        added=added,
        removed=removed,
        moved=moved,
        same=same,
        confirmed=confirmed,
        flows=tuple(
            Flow(known[old], known[new], images)
            for (old, new), images in sorted(changed.items(), key=lambda one: (-one[1], one[0]))
        ),
        deciders=_deciders(before, after) if changed else (),
        classes=tuple(classes),
        balance=tuple(Balance(one, of_class[0][one.pk], of_class[1][one.pk]) for one in classes),
        splits_before=_split_rows(classes, tables[0]),
        splits_after=_split_rows(classes, tables[1]),
        model_before=_model_of(before),
        model_after=_model_of(after),
    )


def changes(
    before: Release, after: Release, kind: str, *, beyond: str = "", limit: int | None = None
) -> Iterator[Change]:
    """The images of one kind of change, by their hashes.

    Args:
        kind: one of `KINDS`.
        beyond: begin after this sha256.
        limit: at most so many; None gives all, in pages of a thousand.
    """
    names = dict(after.dataset.taxonomy.classes.values_list("pk", "name"))
    left = limit
    while left is None or left > 0:
        wanted = _PAGE if left is None else min(left, _PAGE)
        page = _page(before, after, kind, names, beyond, wanted)
        yield from page
        if len(page) < wanted:
            return
        beyond = page[-1].sha256
        left = None if left is None else left - len(page)


def _page(
    before: Release, after: Release, kind: str, names: Mapping[int, str], beyond: str, limit: int
) -> list[Change]:
    other = _entries(before if kind != REMOVED else after).filter(sha256=OuterRef("sha256"))
    found = (
        _of_kind(kind, before, after)
        .filter(sha256__gt=beyond)
        .annotate(
            label_other=Subquery(other.values("label")),
            split_other=Subquery(other.values("split")),
            last=Subquery(_last_of_image(after)),
        )
        .order_by("sha256")
        .values_list(*_OF_CHANGE)
    )[:limit]
    rows = list(found)
    decided_by = [None if kind in {ADDED, MOVED} else row[8] if kind == REMOVED else row[7] or row[8] for row in rows]
    verdicts = Verdict.objects.select_related("reviewer", "bulk", "shown_suggestion").in_bulk(
        [pk for pk in decided_by if pk is not None]
    )
    page = []
    for (image, sha256, path, label, split, label_other, split_other, _, _), pk in zip(rows, decided_by, strict=True):
        mine, others = (names[label], split), (names.get(label_other, ""), split_other or "")
        old, new = (mine, ("", "")) if kind == REMOVED else (others, mine)
        verdict = verdicts.get(pk) if pk is not None else None
        page.append(
            Change(
                kind=kind,
                image_id=image,
                sha256=sha256,
                path=path,
                label_before=old[0],
                label_after=new[0],
                split_before=old[1],
                split_after=new[1],
                decision=str(verdict.kind) if verdict else "",
                by=verdict.reviewer.username if verdict else "",
                at=verdict.created_at if verdict else None,
                why=_why(verdict) if verdict else "",
            )
        )
    return page


def _why(verdict: Verdict) -> str:
    """What the person acted upon: the bulk action, or what they were shown."""
    if verdict.bulk is not None:
        return verdict.bulk.summary
    if verdict.shown_suggestion is None:
        return "decided without seeing a suggestion" if verdict.blind else ""
    quality = f", label quality {verdict.shown_quality:.2f}" if verdict.shown_quality is not None else ""
    return f"was shown the suggestion {verdict.shown_suggestion.name}{quality}"


def _of_kind(kind: str, before: Release, after: Release) -> QuerySet[ReleaseEntry]:
    """The entries that a kind of change is about: of `before` where they are gone, of `after` otherwise."""
    there, other = (before, after) if kind == REMOVED else (after, before)
    same = _entries(other).filter(sha256=OuterRef("sha256"))
    if kind in {ADDED, REMOVED}:
        return _entries(there).filter(~Exists(same))
    column = "label" if kind == RELABELLED else "split"
    return _entries(there).filter(Exists(same.exclude(**{column: OuterRef(column)})))


def _entries(release: Release) -> QuerySet[ReleaseEntry]:
    return ReleaseEntry.objects.filter(release=release)


def _joined(before: Release, after: Release) -> list[tuple[str | None, int | None, str, int, int, int]]:
    """(split and label before, split and label after) → images, and how many of them another verdict decided since.

    One join along the index of hashes; the ORM can only look each row up once a column.
    """
    query = """
        SELECT a.split, a.label_id, b.split, b.label_id, COUNT(*),
            SUM(CASE WHEN a.id IS NOT NULL AND b.verdict_id IS NOT NULL
                AND (a.verdict_id IS NULL OR a.verdict_id <> b.verdict_id) THEN 1 ELSE 0 END)
        FROM labeling_releaseentry b LEFT JOIN labeling_releaseentry a
            ON a.release_id = %s AND a.sha256 = b.sha256
            AND a.image_id NOT IN (SELECT image_id FROM labeling_quarantine)
        WHERE b.release_id = %s AND b.image_id NOT IN (SELECT image_id FROM labeling_quarantine)
        GROUP BY 1, 2, 3, 4
    """
    with connection.cursor() as cursor:
        cursor.execute(query, [before.pk, after.pk])
        return list(cursor.fetchall())


def _deciders(before: Release, after: Release) -> tuple[Decider, ...]:
    deciding = (
        _of_kind(RELABELLED, before, after)
        .annotate(deciding=Coalesce(F("verdict"), Subquery(_last_of_image(after))))
        .filter(deciding__isnull=False)
        .values("deciding")
    )
    counted = (
        Verdict.objects.filter(pk__in=deciding)
        .values_list("reviewer__username", "kind")
        .annotate(images=Count("pk"))
        .order_by("-images", "reviewer__username", "kind")
    )
    return tuple(Decider(person, kind, images) for person, kind, images in counted)


def _last_of_image(release: Release) -> QuerySet[Verdict, Any]:
    """The pk of the newest verdict on an entry's image that a release knew of.

    It is what brought a label back for which no verdict decides: an undo, after which the given label stands again.
    """
    log = Verdict.objects.filter(image=OuterRef("image"), pk__lte=_last_verdict(release))
    return log.exclude(kind=VerdictKind.ESCALATE).order_by("-pk").values("pk")[:1]


def _last_verdict(release: Release) -> int:
    """The newest verdict that the cut of a release knew of."""
    known = (release.cut_run.summary or {}).get("last_verdict") if release.cut_run else None
    if isinstance(known, int):
        return known
    of_dataset = Verdict.objects.filter(image__dataset=release.dataset, created_at__lte=release.created_at)
    newest = of_dataset.order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0


def _model_of(release: Release) -> str:
    return str((release.issues_run.summary or {}).get("model", "")) if release.issues_run else ""


def _split_rows(classes: list[TaxonomyClass], table: Counter[tuple[str, int]]) -> tuple[SplitRow, ...]:
    return tuple(SplitRow(split, tuple(table[split, one.pk] for one in classes), 0) for split in SPLITS)
