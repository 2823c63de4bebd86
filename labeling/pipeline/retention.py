"""After its retention date our copies of an escalated image go; its hash and its log stay."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from labeling.actions.escalations import record_purge
from labeling.errors import LabelingError
from labeling.importers.paths import absolute_path
from labeling.models import Escalation, EscalationState, Image
from labeling.pipeline.importing import thumbnail_path


@dataclass(frozen=True)
class PurgeSummary:
    """`purged` cases lost `files` of ours; `held` are past their date and under legal hold, `waiting` before it."""

    purged: int
    files: int
    held: int
    waiting: int


def purge_escalations() -> PurgeSummary:
    """Remove our copies of every case past its retention date that is under no legal hold; repeatable.

    Ours are the thumbnail, uploads below the media folder, and exports below the exports folder. A shard that holds
    the image goes whole; the release can be exported again. Files in source folders are never touched. The images stay
    in quarantine, and the same bytes go there again when they come.

    Raises:
        LabelingError: a file cannot be removed; what is done so far is noted, and the same call goes on.
    """
    now = timezone.now()
    standing = Escalation.objects.exclude(state=EscalationState.RELEASED).filter(purged_at__isnull=True)
    due = standing.filter(retain_until__lte=now)
    purged = files = 0
    for case in due.filter(legal_hold=False).order_by("pk"):
        removed = 0
        for path in _our_copies(case):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise LabelingError(
                    f"A copy of case {case.pk} cannot be removed: {error.strerror}. Give this process the right to "
                    "change the files of WINNOW_HOME, and run the same again."
                ) from error
            removed += 1
        # Noted last: a purge that died before this is done again, and finds less to do.
        record_purge(
            case=case, note=f"{removed} files were removed; the retention date was {case.retain_until:%Y-%m-%d}."
        )
        purged, files = purged + 1, files + removed
    return PurgeSummary(
        purged, files, due.filter(legal_hold=True).count(), standing.filter(retain_until__gt=now).count()
    )


def _our_copies(case: Escalation) -> Iterator[Path]:
    """The files of this case that Winnow made; those that are there."""
    thumbnail = thumbnail_path(case.sha256)
    if thumbnail.exists():
        yield thumbnail
    yield from _exported(Path(settings.EXPORTS_ROOT), case.sha256)
    media = Path(settings.MEDIA_ROOT).resolve()
    for image in Image.everything.filter(quarantine__escalation=case).select_related("root"):
        with suppress(ValueError):
            path = absolute_path(image.root.path, image.path).resolve()
            if path.is_relative_to(media) and path.exists():
                yield path


def _exported(exports: Path, sha256: str) -> Iterator[Path]:
    """Files below the exports folder that hold these bytes: images that are called so, and shards that name them."""
    for pattern in (f"*/*/*/{sha256}.*", f"*/*/*/.{sha256}.*"):
        yield from sorted(exports.glob(pattern))
    for pattern in ("*/*.tar", "*/*.tfrecord", "*/.*.tar.partial", "*/.*.tfrecord.partial"):
        yield from (path for path in sorted(exports.glob(pattern)) if _mentions(path, sha256.encode()))


def _mentions(path: Path, text: bytes) -> bool:
    before = b""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if text in before + block:
                return True
            before = block[-len(text) :]
    return False
