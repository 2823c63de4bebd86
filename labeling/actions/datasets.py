"""Datasets and the taxonomies that they are made under."""

from django.db import transaction
from django.db.models import Max
from django.utils.text import slugify

from labeling.errors import UnknownDataset, WrongUsage, nearest
from labeling.models import Dataset, Image, Taxonomy, TaxonomyClass
from labeling.taxonomies import TaxonomySpec


def register_taxonomy(spec: TaxonomySpec) -> Taxonomy:
    """The stored version of this class list, added as the next version of its slug when it is new."""
    with transaction.atomic():
        known = Taxonomy.objects.filter(slug=spec.slug, content_hash=spec.content_hash).first()
        if known is not None:
            return known
        last = Taxonomy.objects.filter(slug=spec.slug).aggregate(last=Max("version"))["last"] or 0
        taxonomy = Taxonomy.objects.create(
            slug=spec.slug, version=last + 1, title=spec.title, content_hash=spec.content_hash
        )
        TaxonomyClass.objects.bulk_create(
            TaxonomyClass(
                taxonomy=taxonomy,
                index=index,
                name=known_class.name,
                group=known_class.group,
                harm_rank=known_class.harm_rank,
                guideline=known_class.guideline,
                aliases=list(known_class.aliases),
            )
            for index, known_class in enumerate(spec.classes)
        )
        return taxonomy


def find_dataset(slug: str) -> Dataset:
    """The dataset of this slug.

    Raises:
        UnknownDataset: with the nearest slugs and the command that makes one.
    """
    dataset = Dataset.objects.select_related("taxonomy").filter(slug=slug).first()
    if dataset is None:
        known = list(Dataset.objects.values_list("slug", flat=True))
        raise UnknownDataset(
            f"There is no dataset {slug!r} (there is {', '.join(known) or 'none yet'}).{nearest(slug, known)} "
            "Make one with: manage.py import_images FOLDER --dataset SLUG --taxonomy SLUG"
        )
    return dataset


def set_shares(*, dataset: Dataset, blind_share: float, golden_rate: float) -> None:
    """Which share of the images is shown blind, and before which share a golden one is shown; from the next claim on.

    Raises:
        WrongUsage: a share outside 0..1.
    """
    for name, share in (("blind share", blind_share), ("golden rate", golden_rate)):
        if not 0 <= share <= 1:
            raise WrongUsage(f"Expected a {name} from 0 to 1, received {share:g}.")
    with transaction.atomic():
        Dataset.objects.filter(pk=dataset.pk).update(blind_share=blind_share, golden_rate=golden_rate)
    dataset.blind_share, dataset.golden_rate = blind_share, golden_rate


def dataset_for_import(slug: str, spec: TaxonomySpec) -> Dataset:
    """The dataset to import into, made when it is new.

    Raises:
        WrongUsage: the slug is not one, or the dataset exists under another taxonomy.
    """
    if slugify(slug) != slug or len(slug) > 60:
        raise WrongUsage(
            f"The dataset name {slug!r} must be lower-case letters, digits and hyphens, at most 60; "
            f"for example {slugify(slug)[:60] or 'my-images'}."
        )
    with transaction.atomic():
        taxonomy = register_taxonomy(spec)
        dataset, _ = Dataset.objects.select_related("taxonomy").get_or_create(
            slug=slug, defaults={"title": slug.replace("-", " ").capitalize(), "taxonomy": taxonomy}
        )
        if dataset.taxonomy_id != taxonomy.pk and not Image.everything.filter(dataset=dataset).exists():
            # An import that could use nothing leaves the name, but nothing that depends on its taxonomy.
            dataset.taxonomy = taxonomy
            dataset.save(update_fields=["taxonomy"])
        if dataset.taxonomy_id != taxonomy.pk:
            raise WrongUsage(
                f"The dataset {slug} has the taxonomy {dataset.taxonomy}, not {taxonomy}. "
                "Import into another dataset, or with the taxonomy that it has."
            )
        return dataset
