"""Cases as the restricted pages show them, and what other code may ask about quarantine."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labeling.actions.escalations import CaseStanding, fold_case
from labeling.models import (
    Dataset,
    Escalation,
    EscalationEvent,
    EscalationEventKind,
    EscalationState,
    Image,
    Prediction,
    ReleaseEntry,
    Verdict,
)

SHOWN = 50


@dataclass(frozen=True)
class CaseRow:
    """One case in the list. `escalated` is the first event: who, when, and their note; `images` how many it has."""

    case: Escalation
    standing: CaseStanding
    escalated: EscalationEvent | None
    datasets: tuple[str, ...]
    images: int


@dataclass(frozen=True)
class CaseList:
    """A page of cases, newest first; `next_before` leads to the next one. `waiting` are open, on all pages."""

    rows: tuple[CaseRow, ...]
    next_before: int | None
    waiting: int
    every: int


@dataclass(frozen=True)
class CaseImage:
    """One image of a case with its verdicts in order."""

    image: Image
    verdicts: tuple[Verdict, ...]
    releases: tuple[str, ...]


@dataclass(frozen=True)
class CasePage:
    """A case: its images, and everything that was ever done about it, newest first."""

    case: Escalation
    standing: CaseStanding
    escalated: tuple[EscalationEvent, ...]
    images: tuple[CaseImage, ...]
    log: tuple[EscalationEvent, ...]

    @property
    def said(self) -> tuple[tuple[str, bool], ...]:
        """Who said what in the round that is open: name → for releasing it."""
        names = {event.person_id: event.person.username for event in self.log if event.person}
        return tuple((names[who], release) for who, release in self.standing.votes)

    @property
    def first(self) -> CaseImage | None:
        return next(iter(self.images), None)


def is_quarantined(sha256: str) -> bool:
    """Whether bytes are in quarantine: for what comes in without an image, such as a request to the API."""
    return Escalation.objects.filter(sha256=sha256).exclude(state=EscalationState.RELEASED).exists()


def images_in_quarantine() -> Iterator[Image]:
    """Every image in quarantine."""
    return Image.everything.filter(quarantine__isnull=False).order_by("-pk").iterator()


def case_list(*, show: str = "", before: int = 0) -> CaseList:
    """A page of cases; five SQL queries.

    Args:
        show: a state, or empty for any.
        before: the last case of the page before; 0 for the first page.
    """
    cases = Escalation.objects.prefetch_related("events__person").order_by("-id")
    if show:
        cases = cases.filter(state=show)
    found = list((cases.filter(pk__lt=before) if before else cases)[: SHOWN + 1])
    page = found[:SHOWN]
    named: dict[str, list[str]] = {}
    # Of released cases the images are in no quarantine any more: the bytes name them.
    same = Image.everything.filter(sha256__in=[case.sha256 for case in page], dataset__in=_every_dataset())
    for sha256, slug in same.order_by("dataset__slug").values_list("sha256", "dataset__slug"):
        named.setdefault(sha256, []).append(slug)
    rows = []
    for case in page:
        events = list(case.events.all())
        escalated = next((event for event in events if event.kind == EscalationEventKind.ESCALATED), None)
        slugs = named.get(case.sha256, [])
        rows.append(CaseRow(case, fold_case(events), escalated, tuple(dict.fromkeys(slugs)), len(slugs)))
    return CaseList(
        tuple(rows),
        page[-1].pk if len(found) > SHOWN else None,
        Escalation.objects.filter(state=EscalationState.OPEN).count(),
        Escalation.objects.count(),
    )


def case_page(pk: int) -> CasePage:
    """One case; a handful of SQL queries for each of its images.

    Raises:
        Escalation.DoesNotExist: there is no such case.
    """
    case = Escalation.objects.get(pk=pk)
    log = list(case.events.select_related("person", "image").order_by("id"))
    standing = fold_case(log)
    same = Image.everything.filter(sha256=case.sha256, dataset__in=_every_dataset())
    images = tuple(
        CaseImage(image, _verdicts(image), _releases(image))
        for image in same.select_related("dataset", "root", "source", "given_class", "current_class").order_by("pk")
    )
    return CasePage(
        case=case,
        standing=standing,
        escalated=tuple(event for event in log if event.kind == EscalationEventKind.ESCALATED),
        images=images,
        log=tuple(reversed(log)),
    )


def case_facts(page: CasePage) -> dict[str, Any]:
    """A case as its file has it: hashes, what is known of each image, and the whole log; no pixel of the image."""
    case = page.case
    return {
        "case": case.pk,
        "sha256": case.sha256,
        "state": page.standing.state,
        "legal_hold": page.standing.legal_hold,
        "opened_at": _moment(case.opened_at),
        "retain_until": _moment(case.retain_until),
        "purged_at": _moment(case.purged_at),
        "images": [_image_facts(one) for one in page.images],
        "log": [
            {
                "at": _moment(event.created_at),
                "kind": event.kind,
                "person": event.person.username if event.person else None,
                "image": event.image_id,
                "note": event.note,
            }
            for event in reversed(page.log)
        ],
    }


def _image_facts(one: CaseImage) -> dict[str, Any]:
    image = one.image
    names = ("width", "height", "format", "mode", "byte_size", "pixel_sha256", "brightness", "contrast", "entropy")
    return {
        "image": image.pk,
        "dataset": image.dataset.slug,
        "folder": image.root.path,
        "path": image.path,
        "source": image.source.name if image.source else None,
        "imported_at": _moment(image.imported_at),
        **{name: getattr(image, name) for name in names},
        "phash": f"{image.phash & (1 << 64) - 1:016x}",
        "dhash": f"{image.dhash & (1 << 64) - 1:016x}",
        "given_label": image.given_class.name,
        "current_label": image.current_class.name,
        "excluded": image.excluded,
        "releases": list(one.releases),
        "predictions": [
            {"model": str(row.model_version), "profile": row.profile, "winner": row.predicted_index,
             "confidence": row.confidence}
            for row in Prediction.everything.filter(image=image).select_related("model_version").order_by("pk")
        ],
        "verdicts": [
            {
                "at": _moment(verdict.created_at),
                "person": verdict.reviewer.username,
                "kind": verdict.kind,
                "label": verdict.label.name if verdict.label else None,
                "undoes": verdict.undoes_id,
                "verdict": verdict.pk,
            }
            for verdict in one.verdicts
        ],
    }  # fmt: skip


def _verdicts(image: Image) -> tuple[Verdict, ...]:
    return tuple(Verdict.everything.filter(image=image).select_related("reviewer", "label").order_by("id"))


def _releases(image: Image) -> tuple[str, ...]:
    entries = ReleaseEntry.everything.filter(image=image).select_related("release").order_by("release")
    return tuple(entry.release.version for entry in entries)


def _every_dataset() -> list[int]:
    """Named one by one, as the index on bytes begins with the dataset."""
    return list(Dataset.objects.values_list("pk", flat=True))


def _moment(when: datetime | None) -> str | None:
    return when.isoformat(timespec="seconds") if when else None
