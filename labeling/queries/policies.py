"""Policies and bands as other parts read them."""

from dataclasses import dataclass, replace

from django.db.models import Count, Exists, F, OuterRef, QuerySet

from labeling.models import BandName, BandSample, Dataset, ImageBand, ModelVersion, Policy, Prediction, TaxonomyClass
from labeling.queries.counts import KEEPER


@dataclass(frozen=True)
class BandCounts:
    """Images in each band; `age` is how many seconds ago they were counted, 0 for small datasets."""

    safe: int
    unknown: int
    adult: int
    age: float = 0.0

    @property
    def images(self) -> int:
        return self.safe + self.unknown + self.adult


def newest_policy(dataset: Dataset) -> Policy | None:
    """The version that was saved last; the bands may still be those of an earlier one."""
    return _policies(dataset).first()


def policy_in_force(dataset: Dataset) -> Policy | None:
    """The version that the stored bands are of; None where there are none yet."""
    return _policies(dataset).filter(applied_at__isnull=False).first()


def policy_versions(dataset: Dataset, *, limit: int = 50) -> list[Policy]:
    """The versions, newest first."""
    return list(_policies(dataset)[:limit])


def scoring_models(dataset: Dataset) -> list[ModelVersion]:
    """The model versions that scored images of the dataset, the newest first."""
    scored = Prediction.objects.filter(model_version=OuterRef("pk"), image__dataset=dataset)
    return list(ModelVersion.objects.filter(Exists(scored)).select_related("taxonomy").order_by("-pk"))


def class_names(model_version: ModelVersion) -> tuple[str, ...]:
    """The classes of a model's outputs, in their order."""
    classes = TaxonomyClass.objects.filter(taxonomy=model_version.taxonomy_id).order_by("index")
    return tuple(classes.values_list("name", flat=True))


def band_counts(dataset: Dataset) -> BandCounts:
    """How many images are in each band; one SQL query, or none for a while where that takes long."""

    policy = policy_in_force(dataset)
    counted = KEEPER.counted(("bands", dataset.pk, policy.pk if policy else 0), lambda: count_bands(dataset))
    return replace(counted.value, age=counted.age)


def count_bands(dataset: Dataset) -> BandCounts:
    """How many images are in each band at this moment; one SQL query."""
    rows = ImageBand.objects.filter(dataset=dataset).order_by().values_list("band")
    counts = dict(rows.annotate(images=Count("image")))
    return BandCounts(*(counts.get(band, 0) for band in (BandName.SAFE, BandName.UNKNOWN, BandName.ADULT)))


def newest_band_sample(dataset: Dataset, side: str) -> BandSample | None:
    """The sample of a side that counts: a later one takes the place of an earlier one."""
    return dataset.band_samples.filter(side=side).order_by("-id").first()


def walk_bands(dataset: Dataset) -> QuerySet[ImageBand]:
    """Every band of the dataset, for those who read all of them, in no order.

    The sum keeps planners from an index on the dataset: rows come ten times faster in the order in which they lie.
    """
    keys = dataset.images.order_by("pk").values_list("pk", flat=True)
    rows = ImageBand.objects.order_by().alias(own=F("dataset_id") + 0).filter(own=dataset.pk)
    return rows.filter(image_id__gte=keys.first() or 0, image_id__lte=keys.last() or 0)


def _policies(dataset: Dataset) -> QuerySet[Policy]:
    return dataset.policies.select_related("model_version__taxonomy", "created_by").order_by("-version")
