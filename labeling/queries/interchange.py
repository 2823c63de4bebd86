"""Verdicts and labels as other programs read them."""

from collections.abc import Iterator
from typing import Any

from labeling.actions.standing import fold, standing_verdicts, standings_of
from labeling.models import Dataset, ItemState, Verdict, VerdictKind
from labeling.queries.bulk import summaries

VERDICT_COLUMNS = (
    "path",
    "verdict",
    "label",
    "stands",
    "reviewer",
    "at",
    "reason",
    "seconds",
    "shown_label",
    "shown_quality",
    "blind",
    "sha256",
    "number",
    "undoes",
)
LABEL_COLUMNS = (
    "path",
    "label",
    "split",
    "source",
    "given_label",
    "excluded",
    "state",
    "decision",
    "decided_by",
    "decided_at",
    "sha256",
)
_IMAGES_AT_ONCE = 1000


def verdict_log(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Every verdict of the dataset, image by image in the order of the import, each image's in the order of the log.

    `stands` says whether it was not taken back. Escalations are not among them: their log is restricted.
    """
    keys = list(dataset.images.filter(verdicts__isnull=False).order_by("pk").values_list("pk", flat=True).distinct())
    for start in range(0, len(keys), _IMAGES_AT_ONCE):
        log = list(
            Verdict.objects.filter(image__in=keys[start : start + _IMAGES_AT_ONCE])
            .select_related("image", "reviewer", "label", "shown_suggestion", "bulk")
            .order_by("image_id", "id")
        )
        reasons = summaries(verdict.bulk.summary for verdict in log if verdict.bulk)
        stands = {verdict.pk for verdict in standing_verdicts(sorted(log, key=lambda verdict: verdict.pk))}
        for verdict in log:
            if verdict.kind == VerdictKind.ESCALATE:
                continue
            yield {
                "path": verdict.image.path,
                "verdict": verdict.kind,
                "label": verdict.label.name if verdict.label else "",
                "stands": int(verdict.pk in stands),
                "reviewer": verdict.reviewer.username,
                "at": verdict.created_at.isoformat(timespec="seconds"),
                "reason": reasons[verdict.bulk.summary] if verdict.bulk else "",
                "seconds": verdict.seconds,
                "shown_label": verdict.shown_suggestion.name if verdict.shown_suggestion else "",
                "shown_quality": verdict.shown_quality,
                "blind": int(verdict.blind),
                "sha256": verdict.image.sha256,
                "number": verdict.pk,
                "undoes": verdict.undoes_id,
            }


def current_labels(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Every image with its current label and how it came about; `import_images --labels` reads it too."""
    standings = standings_of(dataset)
    names = dict(dataset.taxonomy.classes.values_list("pk", "name"))
    people: dict[int, str] = {}
    rows = dataset.images.order_by("pk").values_list("pk", "path", "split", "source__name", "given_class_id", "sha256")
    for pk, path, split, source, given, digest in rows.iterator(chunk_size=2000):
        standing = standings.get(pk) or fold(given, ())
        deciding = standing.deciding
        if deciding and deciding.reviewer_id not in people:
            people[deciding.reviewer_id] = deciding.reviewer.username
        yield {
            "path": path,
            "label": names[standing.current_class_id],
            "split": split,
            "source": source or "",
            "given_label": names[given],
            "excluded": int(standing.excluded),
            "state": ItemState(standing.state).value,
            "decision": deciding.kind if deciding else "",
            "decided_by": people[deciding.reviewer_id] if deciding else "",
            "decided_at": deciding.created_at.isoformat(timespec="seconds") if deciding else "",
            "sha256": digest,
        }
