"""Promoting: a model version becomes the one that a dataset works with, and everything that rests on it follows."""

from dataclasses import asdict, dataclass

from labeling.actions.promotions import record_promotion, record_rollback
from labeling.actions.runs import Listener, RunReporter, running, when_free
from labeling.errors import WrongUsage
from labeling.models import Dataset, ModelVersion, Person, Promotion, Run, RunKind
from labeling.pipeline.finding import HowToFind, find_issues, last_finding
from labeling.pipeline.judging import class_map_of, impartial_judges
from labeling.pipeline.model_versions import STARTER, has_network, reference_to
from labeling.pipeline.scoring import score, unscored


@dataclass(frozen=True)
class PromotionSummary:
    """`model` is current from now on, `replaced` was it before; empty for the starter model."""

    dataset: str
    run: int
    model: str
    replaced: str
    scored: int
    suspected: int


def promote(
    model_version: ModelVersion,
    dataset: Dataset,
    *,
    reason: str = "",
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> PromotionSummary:
    """Score what the model has not seen, make it the dataset's model, and find issues anew with it, as a run.

    The model that it replaces stays registered with all that it said; `roll_back` returns to it at once. A model that
    learned from this dataset ranks with embeddings that did not, and has its say about the images that it never saw
    (see `finding.find_issues`). Policies name their own model and do not change.

    Raises:
        WrongUsage: the model's classes mean nothing in this dataset.
    """
    mapped = class_map_of(model_version, dataset)
    if not mapped.by_class and not mapped.by_group:
        raise WrongUsage(
            f"{model_version} has the classes of {model_version.taxonomy}, of which not all mean a class or a group of "
            f"{dataset.taxonomy}; it cannot be the model of {dataset.slug}."
        )
    with running(
        dataset=dataset,
        kind=RunKind.PROMOTE,
        parameters={"model": model_version.pk, "reason": reason},
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        person = reporter.run.created_by
        scored = score_what_is_missing(dataset, model_version, reporter)
        event = record_promotion(dataset=dataset, model_version=model_version, person=person, reason=reason)
        how = how_again(dataset)
        found = when_free(reporter, lambda follow: find_issues(dataset, how, person=person, listener=follow))
        summary = PromotionSummary(
            dataset=dataset.slug,
            run=reporter.run.pk,
            model=str(model_version),
            replaced=str(event.replaced or ""),
            scored=scored,
            suspected=found.suspected,
        )
        reporter.run.summary = asdict(summary)
    return summary


def score_what_is_missing(dataset: Dataset, current: ModelVersion, reporter: RunReporter) -> int:
    """Score with the model, and with the one whose embeddings rank where that one has learned from the labels.

    Returns:
        how many images the model had not seen.

    Raises:
        NothingToDo: see `judging.impartial_judges`.
    """
    scored = _score_missing(current, dataset, reporter)
    for judge in impartial_judges(dataset, current, STARTER).models:
        _score_missing(judge, dataset, reporter)
    return scored


def _score_missing(model_version: ModelVersion, dataset: Dataset, reporter: RunReporter) -> int:
    """How many images this scored."""
    if not has_network(model_version) or not unscored(dataset.images.all(), model_version).exists():
        return 0
    model, person = reference_to(model_version), reporter.run.created_by
    return when_free(reporter, lambda follow: score(dataset, model=model, person=person, listener=follow)).scored


def roll_back(dataset: Dataset, *, person: Person | None = None) -> Promotion:
    """Return to the model before the newest promotion that stands. Its predictions are there still; issues are found
    anew by whoever calls this.

    Raises:
        NothingToDo: no promotion stands.
    """
    return record_rollback(dataset=dataset, person=person)


def how_again(dataset: Dataset) -> HowToFind:
    """As the last ranking was found, but with the dataset's current model, and without training anew for hours."""
    last = last_finding(dataset)
    if last is None:
        return HowToFind()
    before = HowToFind.of(last.parameters)
    return HowToFind(method=before.method, adjusted=before.adjusted, shapes=before.shapes)
