"""What a model learned from: which images it cannot judge impartially."""

from dataclasses import dataclass

from django.db.models import Q, QuerySet

from labeling.models import Dataset, Image, ModelVersion, Release, ReleaseEntry, Split


@dataclass(frozen=True)
class Lesson:
    """One thing that a sidecar names: a dataset, or a release of it (None: no such release is known here)."""

    dataset: str
    release: Release | None


def lessons(model: ModelVersion) -> tuple[Lesson, ...]:
    """What the sidecar says that the model learned from: "slug" or "slug 1.0", several with commas between."""
    found = []
    for part in str(model.sidecar.get("trained_on", "")).split(","):
        slug, _, version = part.strip().partition(" ")
        major, dot, minor = version.partition(".")
        release = None
        if dot and major.isdecimal() and minor.isdecimal():
            release = Release.objects.filter(dataset__slug=slug, major=int(major), minor=int(minor)).first()
        found.append(Lesson(slug, release))
    return tuple(found)


def learned_images(model: ModelVersion, dataset: Dataset) -> QuerySet[Image]:
    """The images of the dataset that the model learned from: what it says about them is in-sample.

    Of a release that is known those are the images of its training split, whatever dataset they are in, by their bytes,
    and their near duplicates. Of a dataset without a known release it is every image.
    """
    everything = dataset.images.all()
    learned = Q(pk__in=[])
    for one in lessons(model):
        if one.release is not None:
            entries = ReleaseEntry.everything.filter(release=one.release, split=Split.TRAIN)
            learned |= Q(sha256__in=entries.values("sha256"))
            groups = entries.filter(image__duplicate_group__isnull=False).values("image__duplicate_group")
            learned |= Q(duplicate_group__in=groups)
        elif one.dataset == dataset.slug:
            return everything
    return everything.filter(learned)


def looked_at(model: ModelVersion, release: Release) -> bool:
    """Whether the model was trained on this release, so that its validation split told it when to stop."""
    return any(one.release == release for one in lessons(model))
