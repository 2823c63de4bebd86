"""From a folder to a filled queue in one call: import, score, find issues; each step only where something is new."""

from collections.abc import Callable
from pathlib import Path

from django.db.models import Exists, OuterRef

from labeling.actions.datasets import dataset_for_import
from labeling.actions.runs import Listener
from labeling.models import Dataset, Prediction, ReviewItem, RunKind, RunState
from labeling.pipeline.finding import find_issues
from labeling.pipeline.importing import import_images, plan_import
from labeling.pipeline.model_versions import STARTER, fetch_model
from labeling.pipeline.scoring import score
from labeling.taxonomies import TaxonomySpec


def prepare_dataset(
    slug: str,
    source: Path,
    spec: TaxonomySpec,
    *,
    say: Callable[[str], None],
    listener: Listener | None = None,
) -> Dataset:
    """Import `source` into the dataset, score what is not scored, and rank what is not ranked."""
    plan = plan_import(source, spec, labels=None, mapping={})
    dataset = dataset_for_import(slug, spec)
    say(f"Importing {source} into the dataset {slug} …")
    imported = import_images(dataset, plan, listener=listener)
    say(f"{imported.added:,} images added, {imported.unchanged:,} already there, {imported.refused:,} refused.")
    model_version = fetch_model(STARTER, progress=say)
    scored = Prediction.objects.filter(image__dataset=dataset, model_version=model_version)
    refused_before = dataset.runs.filter(kind=RunKind.SCORE, state=RunState.DONE).first()
    unreadable = refused_before.refusals.count() if refused_before else 0
    if dataset.images.count() - scored.count() > unreadable:
        say(f"Scoring with {model_version} …")
        score(dataset, listener=listener)
    if needs_ranking(dataset):
        say("Finding wrong labels …")
        found = find_issues(dataset, listener=listener)
        say(f"{found.ranked:,} images ranked, {found.suspected:,} of them suspected.")
    return dataset


def needs_ranking(dataset: Dataset) -> bool:
    """Whether a scored image is not in the last finished ranking, or there is no ranking."""
    last = dataset.runs.filter(kind=RunKind.FIND_ISSUES, state=RunState.DONE).first()
    if last is None:
        return True
    ranked = ReviewItem.objects.filter(image=OuterRef("image"), run=last)
    return Prediction.objects.filter(~Exists(ranked), image__dataset=dataset, image__excluded=False).exists()
