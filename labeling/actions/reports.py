"""Reports of mistakes: taking them, and telling products what people decided."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from labeling.actions.bulk import send_again
from labeling.actions.filing import standing_run
from labeling.actions.put_first import put_first
from labeling.errors import WrongUsage
from labeling.models import (
    ApiToken,
    Dataset,
    Delivery,
    Image,
    IssueKind,
    ItemState,
    LabelIssue,
    Person,
    Report,
    ReportKind,
    ReviewItem,
    Run,
    RunKind,
    Webhook,
    visible,
)

MOST_TRIES = 8
_FIRST_WAIT = timedelta(seconds=30)
_AGAIN_FACTOR = 4
_MOST_WAIT = timedelta(hours=12)
_CLAIM = timedelta(minutes=2)
_TELL_AT_ONCE = 200
_NOBODY = "winnow-api"


@dataclass(frozen=True)
class TakenReport:
    """The report, and whether it was new."""

    report: Report
    new: bool


def take_report(
    *, token: ApiToken, image: Image, kind: ReportKind, reason: str = "", reference: str = ""
) -> TakenReport:
    """Put a reported image before people, with the report as its reason.

    An image that waits goes to the front of the queue. One that is settled is an appeal: one more person is asked, who
    is none of those that settled it; its label stays until they agree or a lead settles the disagreement.

    Args:
        reference: the product's own name for the report; the same one again is the same report.
    """
    dataset = image.dataset
    if reference:
        before = Report.objects.filter(token=token, reference=reference).select_related("image").first()
        if before is not None:
            return TakenReport(before, new=False)
    run = standing_run(dataset, RunKind.REPORT)
    said = f"reported as {kind.label}{f': {reason}' if reason else ''}"[:300]
    try:
        with transaction.atomic():
            item = _item_of(image, run, said)
            appeal = item.state == ItemState.SETTLED
            report = Report.objects.create(
                dataset=dataset,
                image=image,
                token=token,
                kind=kind,
                reason=reason[:500],
                reference=reference,
                appeal=appeal,
            )
            LabelIssue.objects.update_or_create(
                run=run,
                image=image,
                kind=IssueKind.REPORT,
                defaults={"reason": said, "label_quality": item.label_quality},
            )
            if appeal:
                _ask_somebody_else(dataset, item)
            put_first(dataset=dataset, images=Image.objects.filter(pk=image.pk))
    except IntegrityError:
        repeated = Report.objects.filter(token=token, reference=reference).exclude(reference="").first()
        if repeated is None:
            raise
        return TakenReport(repeated, new=False)
    return TakenReport(report, new=True)


def _item_of(image: Image, run: Run, said: str) -> ReviewItem:
    """The image's review item, made when it has none; an unsettled one is told of the report."""
    item, made = ReviewItem.objects.select_for_update().get_or_create(
        image=image,
        defaults={
            "dataset": image.dataset,
            "run": run,
            "given_class_id": image.given_class_id,
            "suggested_class_id": image.given_class_id,
            "label_quality": 1.0,
            "reason": said,
        },
    )
    if not made:
        # Booked on the reports' run, so that no change of the policy takes it out of the queue again. It speaks for
        # itself from now on: the report is about this image and not about its near duplicates.
        ReviewItem.objects.filter(pk=item.pk).update(run=run, reason=said, represented_by=None, stands_alone=True)
    return item


def _ask_somebody_else(dataset: Dataset, item: ReviewItem) -> None:
    nobody, made = Person.objects.get_or_create(username=_NOBODY, defaults={"is_active": False})
    if made:
        nobody.set_unusable_password()
        nobody.save(update_fields=["password"])
    send_again(dataset=dataset, items=ReviewItem.objects.filter(pk=item.pk), person=nobody, reopen=False, key=uuid4())


# ---- webhooks


def add_webhook(*, dataset: Dataset, url: str, person: Person | None) -> Webhook:
    """Have an address told of the decisions on reported images.

    Raises:
        WrongUsage: the dataset tells this address already.
    """
    try:
        with transaction.atomic():
            return Webhook.objects.create(dataset=dataset, url=url, created_by=person)
    except IntegrityError as error:
        raise WrongUsage("This address is told already; stop it first to begin anew.") from error


def stop_webhook(*, webhook: Webhook) -> None:
    """Tell the address nothing more; what waits for it is given up."""
    with transaction.atomic():
        Webhook.objects.filter(pk=webhook.pk, stopped_at=None).update(stopped_at=timezone.now())
        Delivery.objects.filter(webhook=webhook, next_try_at__isnull=False).update(
            next_try_at=None, last_error="The webhook was stopped."
        )


def queue_decisions() -> int:
    """Write a message to each webhook for every reported image that people have settled, or settled otherwise since.

    Returns:
        how many reports were answered.
    """
    changed = Q(told_at=None) | ~Q(told_excluded=F("image__excluded")) | ~Q(told_class=F("image__current_class"))
    settled = (
        Report.objects.filter(changed, image__item__state=ItemState.SETTLED)
        .select_related("image__current_class", "dataset")
        .order_by("pk")
    )
    answered = 0
    for report in settled[:_TELL_AT_ONCE]:
        with transaction.atomic():
            now, image = timezone.now(), report.image
            # Another worker may answer it at this moment; the count says who was first.
            mine = Report.objects.filter(pk=report.pk, told_at=report.told_at).update(
                told_at=now, told_class=image.current_class, told_excluded=image.excluded
            )
            if mine:
                body = json.dumps(_message(report, again=report.told_at is not None))
                Delivery.objects.bulk_create(
                    Delivery(webhook=webhook, report=report, body=body, next_try_at=now)
                    for webhook in report.dataset.webhooks.filter(stopped_at=None)
                )
                answered += 1
    return answered


def _message(report: Report, *, again: bool) -> dict[str, Any]:
    image = report.image
    label = image.current_class
    harmful = label.harm_rank > 0
    agrees = None if image.excluded else harmful == (report.kind == ReportKind.FALSE_NEGATIVE)
    return {
        "event": "decision_changed" if again else "decision",
        "report": report.pk,
        "reference": report.reference,
        "kind": report.kind,
        "dataset": report.dataset.slug,
        "image": image.pk,
        "sha256": image.sha256,
        "label": None if image.excluded else label.name,
        "group": None if image.excluded else label.group,
        "excluded": image.excluded,
        "report_was_right": agrees,
    }


def claim_due(*, limit: int = 20) -> list[Delivery]:
    """Take messages that are due, so that no other worker sends them; each must be booked by `book_try`.

    Those about images in quarantine wait. A worker that dies with them loses them to the next after two minutes.
    """
    now = timezone.now()
    waiting = Delivery.objects.filter(visible("report__image"), next_try_at__lte=now)
    due = waiting.select_related("webhook").order_by("next_try_at")[:limit]
    return [
        delivery
        for delivery in due
        if Delivery.objects.filter(pk=delivery.pk, next_try_at=delivery.next_try_at).update(next_try_at=now + _CLAIM)
    ]


def book_try(*, delivery: Delivery, status: int | None, error: str = "", final: bool = False) -> None:
    """Note how sending a message went, and when it is tried again.

    Args:
        status: of the answer; None where there was none.
        final: it never will be better, so it is not tried again.
    """
    now = timezone.now()
    delivered = status is not None and 200 <= status < 300
    tries = delivery.tries + 1
    wait = min(_MOST_WAIT, _FIRST_WAIT * _AGAIN_FACTOR**delivery.tries)
    again = None if delivered or final or tries >= MOST_TRIES else now + wait
    with transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk).update(
            tries=tries,
            last_status=status,
            last_error="" if delivered else error[:300],
            delivered_at=now if delivered else None,
            next_try_at=again,
        )
