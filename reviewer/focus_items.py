"""Review items as the page's own code gets them: everything that it shows, and nothing that a blind review hides."""

from collections.abc import Sequence
from typing import Any

from django.urls import reverse
from django.utils import timezone

from labeling.models import Dataset, Image, TaxonomyClass, Verdict, VerdictKind
from labeling.queries.alike import DecidedBefore
from labeling.queries.queue import QueueProgress, ShownItem
from reviewer.exposure import Care
from reviewer.templatetags.winnow import SHAPES, age, day, file_url, thumbnail_url, tone

HOLD = 10
"""What is shown, the five after it, whose images the browser loads and decodes meanwhile, and four more.

The page asks again when only the first six are left: one question for four decisions instead of one for each.
"""


def item_facts(dataset: Dataset, shown: ShownItem, *, aged: bool = False) -> dict[str, Any]:
    """One item for the page's code; a blind one without label, suggestion, reason, path and near duplicates.

    Args:
        aged: with how long the image waits, as triage wants to know.
    """
    image = shown.image
    facts: dict[str, Any] = {
        "item": shown.item.pk,
        "image": image.pk,
        "src": file_url(dataset, image),
        "thumb": thumbnail_url(dataset, image),
        "width": image.width,
        "height": image.height,
        "shielded": shown.shielded,
        "second_look": shown.second_look,
        "blind": shown.blind,
    }
    if shown.blind:
        return facts
    return facts | {
        "path": image.path,
        "given": label_facts(shown.given),
        "suggested": label_facts(shown.suggested),
        "reason": shown.item.reason,
        "quality": shown.item.label_quality,
        "split": image.split,
        "near_duplicates": shown.near_duplicates,
        "represents": shown.represents,
        "represented": [
            {
                "image": one.pk,
                "thumb": thumbnail_url(dataset, one),
                "url": reverse("image", args=[dataset.slug, one.pk]),
                "given": one.given_class.name,
            }
            for one in shown.represented
        ],
        "details": reverse("image", args=[dataset.slug, image.pk]),
        "before": before_in_words(shown.before) if shown.before else "",
        "waits": waits_in_words(dataset, image) if aged else "",
    }


def held_facts(dataset: Dataset, shown: Sequence[ShownItem], *, aged: bool = False) -> list[dict[str, Any]]:
    return [item_facts(dataset, one, aged=aged) for one in shown]


def before_in_words(before: DecidedBefore) -> str:
    """What people decided on one that is alike, as one sentence."""
    what = "The same file" if before.same_file else "A near duplicate"
    answer = before.label.name if before.label else "excluded"
    otherwise = f"; {before.others} other{'s' if before.others > 1 else ''} decided otherwise" if before.others else ""
    return f"{what} was decided before: {answer}, by {before.by} on {day(before.at)}{otherwise}."


def waits_in_words(dataset: Dataset, image: Image) -> str:
    """How long an image has been waiting, and whether that is longer than the dataset wants."""
    waited = (timezone.now() - image.imported_at).total_seconds()
    overdue = f", more than the {dataset.triage_hours} h wanted" if waited > 3600 * dataset.triage_hours else ""
    return f"waits {age(waited)}{overdue}"


def label_facts(label: TaxonomyClass) -> dict[str, str]:
    return {"name": label.name, "tone": tone(label), "shape": SHAPES[tone(label)]}


def progress_facts(progress: QueueProgress, care: Care) -> dict[str, int | str | bool | None]:
    return {
        "settled": progress.settled,
        "total": progress.total,
        "an_hour": progress.an_hour,
        "notice": care.notice,
        "capped": care.today.reached,
    }


def in_words(saved: Verdict) -> str:
    """What a saved verdict has done, without a word that would tell about a blind image."""
    others = saved.bulk.verdicts.count() - 1 if saved.bulk else 0
    too = f", with {others} near duplicate{'s' if others > 1 else ''}" if others else ""
    if saved.blind and saved.kind != VerdictKind.UNSURE:
        return "Saved."
    if saved.kind == VerdictKind.RELABEL and saved.label is not None:
        return f"Saved: {saved.label.name}{too}."
    words = {
        VerdictKind.KEEP: f"Saved: given label kept{too}.",
        VerdictKind.EXCLUDE: f"Saved: excluded from the dataset{too}.",
        VerdictKind.UNSURE: "Saved: goes to a second person.",
    }
    return words.get(VerdictKind(saved.kind), "Saved.")
