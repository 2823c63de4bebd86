"""What is around an image in focus mode: its near-duplicate group, its nearest neighbours, its history."""

from collections.abc import Callable
from typing import Any

from django.urls import reverse

from labeling.models import Dataset, Image, ReviewItem, Verdict, VerdictKind
from labeling.pipeline.nearest import first_to_ask, neighbourhood
from labeling.queries.duplicates import group_of
from labeling.queries.images import image_page
from labeling.tasks import prepare_neighbours
from reviewer.focus_items import label_facts
from reviewer.templatetags.winnow import moment, percent, thumbnail_url

NEIGHBOURS = 12
_DONE = {
    VerdictKind.KEEP: "kept the given label",
    VerdictKind.EXCLUDE: "excluded the image",
    VerdictKind.UNSURE: "was unsure",
}

Facts = dict[str, Any]


def group(dataset: Dataset, item: ReviewItem) -> Facts:
    """The other images of its near-duplicate group."""
    members = group_of(item.image)
    return {"images": [_image(dataset, one, one.split) for one in members], "empty": "It has no near duplicates."}


def neighbours(dataset: Dataset, item: ReviewItem) -> Facts:
    """The images most alike in the eyes of the newest model, with their labels; asks for them where they are new."""
    found = neighbourhood(dataset, item.image, NEIGHBOURS)
    if found.model is not None and not found.ready and first_to_ask(dataset, found.model):
        prepare_neighbours.enqueue(dataset.pk, found.model.pk)
    return {
        "images": [_image(dataset, near.image, percent(max(0.0, near.similarity))) for near in found.near],
        "preparing": not found.ready,
        "empty": f"{found.model} knows no other image." if found.model else "No model has scored this image yet.",
    }


def history(dataset: Dataset, item: ReviewItem) -> Facts:
    """Every verdict on the image, newest first, and what each model predicted."""
    page = image_page(dataset, item.image_id)
    lines = [{"who": verdict.reviewer.username, "what": _in_words(verdict)} for verdict in page.verdicts]
    lines += [
        {"who": row.model, "what": f"predicted {row.label.name}, {percent(row.confidence)}"}
        for row in page.predictions
        if row.label
    ]
    return {
        "lines": lines,
        "url": reverse("image", args=[dataset.slug, item.image_id]),
        "empty": "Nobody has decided about this image, and no model has scored it.",
    }


AROUND: dict[str, tuple[str, Callable[[Dataset, ReviewItem], Facts]]] = {
    "group": ("Near duplicates", group),
    "neighbours": ("Nearest neighbours", neighbours),
    "history": ("History", history),
}


def _image(dataset: Dataset, image: Image, note: str) -> Facts:
    return {
        "image": image.pk,
        "url": reverse("image", args=[dataset.slug, image.pk]),
        "thumb": thumbnail_url(dataset, image),
        "label": label_facts(image.current_class),
        "changed": image.current_class_id != image.given_class_id,
        "excluded": image.excluded,
        "note": note,
        "shielded": image.current_class.harm_rank > 0 or image.given_class.harm_rank > 0,
    }


def _in_words(verdict: Verdict) -> str:
    if verdict.kind == VerdictKind.RELABEL and verdict.label is not None:
        what = f"relabelled to {verdict.label.name}"
    elif verdict.kind == VerdictKind.UNDO and verdict.undoes is not None:
        what = f"took back: {verdict.undoes.get_kind_display()}"
    else:
        what = _DONE.get(VerdictKind(verdict.kind), verdict.kind)
    return f"{what}, {moment(verdict.created_at)}"
