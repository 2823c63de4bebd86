"""Policies: reading and saving them, applying one to every image, and banding what is scored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import transaction
from django.db.models import Exists, Max, OuterRef

from inference.bands import (
    BAND_ACTIONS,
    Action,
    Band,
    ClassRule,
    Decision,
    PolicyDefinition,
    bands_of,
    decide,
    policy_scores,
)
from inference.errors import ArrayRefused
from inference.risk_control import draws_of
from labeling.actions.policies import (
    CHUNK,
    NewBands,
    count_changed,
    drop_bands_without_prediction,
    hold_bands,
    move_thresholds,
    put_in_force,
    queue_unknown,
    record_policy,
    withdraw_known,
    write_bands,
)
from labeling.actions.predictions import NewPrediction, add_predictions
from labeling.actions.runs import Listener, RunReporter, running
from labeling.actions.triage import settle_known
from labeling.errors import LabelingError, NothingToDo, UnknownClass, WrongUsage, nearest
from labeling.models import (
    BandName,
    Dataset,
    ImageBand,
    ModelVersion,
    Person,
    Policy,
    Prediction,
    ReviewItem,
    Run,
    RunKind,
    TaxonomyClass,
    Verdict,
)
from labeling.pipeline.model_versions import current_model
from labeling.queries.policies import class_names, count_bands, newest_policy, policy_in_force, scoring_models

__all__ = [
    "BAND_ACTIONS",
    "Action",
    "Band",
    "BandsSummary",
    "ClassRule",
    "Decision",
    "PolicyDefinition",
    "add_banded_predictions",
    "apply_policy",
    "band_differences",
    "decide_image",
    "default_definition",
    "definition_of",
    "ensure_policy",
    "model_for_policy",
    "read_definition",
    "save_policy",
]

SAFE_UP_TO, ADULT_FROM = 0.2, 0.8
"""The thresholds of a new policy: open_nsfw's. They are a beginning; the tuner has better ones."""

AT_ONCE = 20_000
"""Up to so many images a policy is applied while the person waits; above that by the worker."""

PAGE = 50_000


@dataclass(frozen=True)
class BandsSummary:
    """What applying a policy did.

    Attributes:
        policy: the version that is now in force.
        safe, unknown, adult: images in each band.
        changed: images whose band is another one than before.
        queued, withdrawn: review items that were made for unknown images, and those taken out of the queue.
    """

    dataset: str
    policy: int
    safe: int
    unknown: int
    adult: int
    changed: int
    queued: int
    withdrawn: int


# ---- definitions -------------------------------------------------------------------------------------------------


def definition_of(policy: Policy) -> PolicyDefinition:
    return PolicyDefinition.from_json(policy.definition)


def decide_image(policy: Policy, probabilities: npt.NDArray[np.floating]) -> Decision:
    """What a policy makes of one image.

    Args:
        probabilities: (K,) by the policy's model version, in index order.
    """
    return decide(definition_of(policy), probabilities, class_names(policy.model_version))


def model_for_policy(dataset: Dataset, name: str = "") -> ModelVersion:
    """The model version that a policy decides by: the newest of this name, or that of the newest policy, or the newest
    that scored the dataset.

    Raises:
        WrongUsage: there is none.
    """
    if name:
        return current_model(name)
    policy = newest_policy(dataset)
    if policy is not None:
        return policy.model_version
    scored = scoring_models(dataset)
    if not scored:
        raise WrongUsage(
            f"A policy decides by what a model says, and none has scored {dataset.slug} yet. First run: manage.py "
            f"score {dataset.slug}, or name a model."
        )
    return scored[0]


def default_definition(model_version: ModelVersion) -> PolicyDefinition:
    """Harmful classes on one side, the others on the other, and thresholds to begin with.

    Raises:
        WrongUsage: the model's classes do not tell which are harmful.
    """
    classes = list(model_version.taxonomy.classes.order_by("index"))
    adult = tuple(known.name for known in classes if known.harm_rank > 0)
    safe = tuple(known.name for known in classes if known.harm_rank == 0)
    if not adult or not safe:
        raise WrongUsage(
            f"The classes of {model_version} do not tell a safe from an adult side "
            f"({', '.join(f'{known.name}: harm rank {known.harm_rank}' for known in classes)}). Name both."
        )
    return PolicyDefinition(safe, adult, SAFE_UP_TO, ADULT_FROM)


def read_definition(
    model_version: ModelVersion,
    *,
    safe: Sequence[str],
    adult: Sequence[str],
    safe_up_to: float,
    adult_from: float,
    rules: Iterable[tuple[str, float, str]] = (),
) -> PolicyDefinition:
    """A definition from what a person named: classes, their aliases, or groups, which are written out.

    Args:
        rules: (class, threshold, action) each.

    Raises:
        UnknownClass: a name that the model does not have.
        WrongUsage: an unknown action, thresholds that cross, or a class on both sides.
    """
    classes = list(model_version.taxonomy.classes.order_by("index"))

    def named(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one for name in names for one in _resolve(model_version, classes, name)))

    try:
        return PolicyDefinition(
            safe=named(safe),
            adult=named(adult),
            safe_up_to=safe_up_to,
            adult_from=adult_from,
            rules=tuple(
                ClassRule(one, at, _action(action))
                for name, at, action in rules
                for one in _resolve(model_version, classes, name)
            ),
        )
    except ArrayRefused as refused:
        raise WrongUsage(str(refused)) from refused


def _resolve(model_version: ModelVersion, classes: Sequence[TaxonomyClass], name: str) -> list[str]:
    wanted = name.strip().casefold()
    for known in classes:
        if wanted in {known.name.casefold(), *(alias.casefold() for alias in known.aliases)}:
            return [known.name]
    group = [known.name for known in classes if known.group.casefold() == wanted]
    if not group:
        choices = [*(known.name for known in classes), *dict.fromkeys(known.group for known in classes)]
        raise UnknownClass(
            f"Expected a class or a group of {model_version} ({', '.join(choices)}), received {name!r}."
            f"{nearest(name, choices)}"
        )
    return group


def _action(text: str) -> Action:
    try:
        return Action(text.strip().casefold())
    except ValueError:
        raise WrongUsage(f"Expected an action of {', '.join(Action)}, received {text!r}.") from None


def save_policy(
    dataset: Dataset,
    definition: PolicyDefinition,
    model_version: ModelVersion,
    *,
    expected: int,
    note: str = "",
    person: Person | None = None,
) -> Policy:
    """Save the next version; `apply_policy` puts it in force.

    Args:
        expected: the newest version that the person knew, 0 for none.

    Raises:
        Conflict: somebody saved another version in the meantime.
        NothingToDo: it says what the newest version says.
        WrongUsage: the definition names classes that the model does not have.
    """
    names = class_names(model_version)
    unknown = [name for name in definition.names if name not in names]
    if unknown:
        raise WrongUsage(
            f"The policy names {', '.join(unknown)}; the classes of {model_version} are {', '.join(names)}."
        )
    return record_policy(
        dataset=dataset,
        model_version=model_version,
        definition=definition.as_json(),
        note=note,
        person=person,
        expected=expected,
    )


def ensure_policy(dataset: Dataset, *, person: Person | None = None, listener: Listener | None = None) -> Policy:
    """The policy in force; a dataset without one gets the default policy, in force at once.

    Raises:
        WrongUsage: no model has scored it, or the model's classes do not tell which are harmful.
    """
    if newest_policy(dataset) is None:
        model = model_for_policy(dataset)
        save_policy(dataset, default_definition(model), model, expected=0, note="The default.", person=person)
    policy = policy_in_force(dataset)
    if policy is None:
        apply_policy(dataset, person=person, listener=listener)
        policy = _newest(dataset)
    return policy


# ---- applying ----------------------------------------------------------------------------------------------------


def apply_policy(
    dataset: Dataset,
    *,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> BandsSummary:
    """Make the newest version the one in force: band every scored image, and queue what became unknown.

    The bands change for readers all at once. Killed and started again, it ends as if it had not been.

    Raises:
        NothingToDo: the dataset has no policy.
    """
    _newest(dataset)
    with running(
        dataset=dataset, kind=RunKind.POLICY, parameters={}, person=person, queued=queued, listener=listener
    ) as reporter:
        policy = _newest(dataset)
        changed = _band_all(dataset, policy, reporter)
        queued_items, withdrawn = _bring_queue_up_to_date(dataset, policy, reporter)
        counts = count_bands(dataset)
        summary = BandsSummary(
            dataset.slug,
            policy.version,
            counts.safe,
            counts.unknown,
            counts.adult,
            changed,
            queued_items,
            withdrawn,
        )
        reporter.run.summary = asdict(summary)
    return summary


def _newest(dataset: Dataset) -> Policy:
    policy = newest_policy(dataset)
    if policy is None:
        raise NothingToDo(f"{dataset.slug} has no policy yet; save one with: manage.py set_policy {dataset.slug}")
    return policy


def _band_all(dataset: Dataset, policy: Policy, reporter: RunReporter) -> int:
    """Write the bands of a policy and put it in force, in one transaction; how many images changed their band."""
    before = policy_in_force(dataset)
    definition = definition_of(policy)
    if (
        before is None
        or before.model_version_id != policy.model_version_id
        or not definition_of(before).scores_like(definition)
    ):
        return _score_all(dataset, policy, definition, reporter, before)
    reporter.stage("moving the thresholds")
    with transaction.atomic():
        hold_bands(dataset)
        changed = move_thresholds(
            dataset=dataset,
            safe_up_to=definition.safe_up_to,
            adult_from=definition.adult_from,
            advance=reporter.advance,
        )
        put_in_force(policy=policy)
    return changed


def _score_all(
    dataset: Dataset, policy: Policy, definition: PolicyDefinition, reporter: RunReporter, before: Policy | None
) -> int:
    """Compute every image's scores from its probabilities, then write them and the bands in one transaction.

    Without a policy in force `before`, nobody reads the bands yet: they are written a page at a time, so that others
    can write in between.
    """
    newest = Prediction.everything.aggregate(newest=Max("pk"))["newest"] or 0
    stored = Prediction.everything.filter(image__dataset=dataset, model_version=policy.model_version)
    reporter.stage("adding up probabilities", stored.count())
    pages: list[NewBands] = []
    changed = 0
    for page in _pages(dataset, policy.model_version):
        bands = _banded(policy, definition, page)
        changed += count_changed(dataset=dataset, bands=bands)
        if before is None:
            write_bands(dataset=dataset, bands=bands)
        else:
            pages.append(bands)
        reporter.advance(len(page))
    reporter.stage("writing bands", sum(map(len, pages)))
    with transaction.atomic():
        hold_bands(dataset)
        # What was scored while the others were added up; nobody scores more until this ends.
        late = stored.filter(pk__gt=newest).values_list("image_id", "probabilities")
        pages.append(_banded(policy, definition, [(image, bytes(vector)) for image, vector in late]))
        for bands in pages:
            write_bands(dataset=dataset, bands=bands)
            reporter.advance(len(bands))
        if before is None or before.model_version_id != policy.model_version_id:
            drop_bands_without_prediction(dataset=dataset, model_version=policy.model_version)
        put_in_force(policy=policy)
    return changed


def _pages(dataset: Dataset, model_version: ModelVersion) -> Iterator[list[tuple[int, bytes]]]:
    """(image, probabilities) of every image that the model scored, a page at a time in the order of the images."""
    last = 0
    # Of an image in quarantine too: its band has to be right when it is released. No pixel is looked at.
    scored = Prediction.everything.filter(model_version=model_version, image__dataset=dataset).order_by("image_id")
    while page := list(scored.filter(image_id__gt=last).values_list("image_id", "probabilities")[:PAGE]):
        last = page[-1][0]
        yield [(image, bytes(vector)) for image, vector in page]


def _banded(policy: Policy, definition: PolicyDefinition, page: Sequence[tuple[int, bytes]]) -> NewBands:
    names = class_names(policy.model_version)
    wrong = [image for image, vector in page if len(vector) != 4 * len(names)]
    if wrong:
        raise LabelingError(
            f"Expected {len(names)} stored probabilities an image by {policy.model_version}, received another number "
            f"for image {wrong[0]}. Score it again."
        )
    vectors = np.frombuffer(b"".join(vector for _, vector in page), dtype="<f4").reshape(-1, len(names))
    scores = policy_scores(definition, vectors, names)
    keys = np.array([image for image, _ in page], dtype=np.int64)
    return NewBands(keys, scores.unsafe, scores.adult, scores.held, bands_of(scores, definition), draws_of(keys))


def _bring_queue_up_to_date(dataset: Dataset, policy: Policy, reporter: RunReporter) -> tuple[int, int]:
    reporter.stage("queueing unknown images")
    queued, after = 0, 0
    more: int | None = 0
    while more is not None:
        found, more = queue_unknown(dataset=dataset, model_version=policy.model_version, run=reporter.run, after=after)
        queued, after = queued + found, more or 0
        reporter.advance(found)
    reporter.stage("settling what was decided before")
    reporter.advance(settle_known(dataset=dataset))
    reporter.stage("withdrawing known images")
    withdrawn = 0
    while found := withdraw_known(dataset=dataset):
        withdrawn += found
        reporter.advance(found)
    return queued, withdrawn


# ---- what is scored ----------------------------------------------------------------------------------------------


def add_banded_predictions(*, run: Run, model_version: ModelVersion, predictions: Sequence[NewPrediction]) -> None:
    """Add a chunk of predictions of images of the run's dataset, with their bands where a policy decides by this model
    version; what is unknown is queued. All or nothing.
    """
    with transaction.atomic():
        add_predictions(run=run, model_version=model_version, predictions=predictions)
        if policy_in_force(run.dataset) is None:
            return
        hold_bands(run.dataset)
        policy = policy_in_force(run.dataset)
        if policy is None or policy.model_version_id != model_version.pk:
            return
        page = [(new.image_id, new.probabilities) for new in predictions]
        write_bands(dataset=run.dataset, bands=_banded(policy, definition_of(policy), page))
        images = [image for image, _ in page]
        for start in range(0, len(images), CHUNK):
            part = images[start : start + CHUNK]
            queue_unknown(dataset=run.dataset, model_version=model_version, run=run, images=part)
            settle_known(dataset=run.dataset, images=part)


# ---- integrity ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BandDifference:
    """One stored value that is not what it should be."""

    where: str
    expected: str
    received: str


def band_differences() -> Iterator[BandDifference]:
    """Every band, score or draw that is not what the policy in force makes of the probabilities, and every unknown
    image that nobody has decided and that does not wait in the queue.
    """
    for dataset in Dataset.objects.order_by("pk"):
        policy = policy_in_force(dataset)
        if policy is not None:
            yield from _differences_of(dataset, policy)


def _differences_of(dataset: Dataset, policy: Policy) -> Iterator[BandDifference]:
    definition = definition_of(policy)
    seen = 0
    columns = ("unsafe", "adult", "held", "band", "draw")
    for page in _pages(dataset, policy.model_version):
        bands = _banded(policy, definition, page)
        seen += len(bands)
        rows = ImageBand.everything.filter(image_id__gte=page[0][0], image_id__lte=page[-1][0], dataset=dataset)
        stored: dict[int, Any] = {row[0]: row[1:] for row in rows.values_list("image_id", *columns)}
        expected = zip(*(getattr(bands, column).tolist() for column in columns), strict=True)
        for image, row in zip(bands.image_id.tolist(), expected, strict=True):
            if stored.get(image) != row:
                yield BandDifference(
                    f"band of image {image}",
                    f"{', '.join(map(str, row))} by policy {policy.version}",
                    f"{', '.join(map(str, stored.get(image, ['nothing'])))} is stored",
                )
    all_rows = ImageBand.everything.filter(dataset=dataset).count()
    if all_rows > seen:
        yield BandDifference(
            f"bands of {dataset.slug}", f"{seen} by the predictions of {policy.model_version}", f"{all_rows} are stored"
        )
    unqueued = ImageBand.objects.filter(
        ~Exists(ReviewItem.objects.filter(image=OuterRef("image_id"))),
        ~Exists(Verdict.objects.filter(image=OuterRef("image_id"))),
        dataset=dataset,
        band=BandName.UNKNOWN,
        image__excluded=False,
    )
    for image in unqueued.values_list("image_id", flat=True).iterator():
        yield BandDifference(f"image {image}", "a review item, as its band is unknown", "none")
