"""Finding issues: embeddings and labels → out-of-sample probabilities → findings and a ranked queue."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models import Max

from inference.confident_learning import noise_report
from inference.cross_validation import Member as OutOfSampleMember
from inference.errors import ArrayRefused
from inference.image_quality import QualityColumns, quality_findings
from inference.label_quality import ADJUSTABLE, DEFAULT_METHOD, METHODS, label_quality, suspected
from inference.outliers import find_outliers
from labeling.actions.issues import (
    Finding,
    Member,
    RankedImage,
    drop_superseded_findings,
    record_members,
    record_ranking,
)
from labeling.actions.put_first import keep_first
from labeling.actions.runs import Listener, RunReporter, running
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import (
    Dataset,
    IssueKind,
    ItemState,
    Person,
    Prediction,
    Run,
    RunKind,
    RunState,
    Split,
    TaxonomyClass,
    Verdict,
)
from labeling.pipeline.grouping import group_duplicates
from labeling.pipeline.judging import (
    SURE,
    GroupOpinion,
    Judgement,
    Judges,
    ScoredImages,
    impartial_judges,
    judge,
    load_scored,
    opinion_where_never_seen,
    refuse_in_sample,
    without_in_sample,
)
from labeling.pipeline.model_versions import STARTER, current_model
from labeling.pipeline.ordering import Orderable, priorities, represent
from labeling.pipeline.quality_limits import quality_limits
from labeling.pipeline.shapes import AT_MOST

CHUNK = 1000
SHOWN_CONFUSIONS = 12
REASON_LENGTH = 300
# What products reported is no finding of a run, and stays.
FOUND_KINDS = tuple(kind for kind in IssueKind if kind != IssueKind.REPORT)
LABEL_KINDS = (IssueKind.GIVEN_LABEL, IssueKind.DUPLICATE_CONFLICT, IssueKind.SPLIT_LEAK)
_NUMBER_WORDS = {
    2: "two",
    3: "three",
    4: "four",
    5: "five",
    6: "six",
    7: "seven",
    8: "eight",
    9: "nine",
    10: "ten",
}


@dataclass(frozen=True)
class HowToFind:
    """What a ranking rests on; kept with the run, so that a re-ranking asks the same.

    Attributes:
        models: names of registered models; none means the dataset's current one.
        method: of the label quality score.
        adjusted: class-adjusted, where the method has that.
        class_map: model's class → dataset's class.
        shapes: look at the shapes of the pictures beside the models' embeddings: `always`, `never`, or `auto`, up to
            50,000 images.
        fine_tune: train the first model's backbone itself, once a fold.
        backbone: the file to start that from, for a model that Winnow did not fetch itself.
    """

    models: tuple[str, ...] = ()
    method: str = DEFAULT_METHOD
    adjusted: bool = False
    class_map: Mapping[str, str] = field(default_factory=dict)
    shapes: str = "auto"
    fine_tune: bool = False
    backbone: str = ""

    def parameters(self) -> dict[str, Any]:
        """As a run keeps it: what differs from the defaults."""
        mine, usual = asdict(self), asdict(HowToFind())
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in mine.items()
            if value != usual[name]
        }

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "HowToFind":
        known = {name: parameters[name] for name in cls.__dataclass_fields__ if name in parameters}
        return cls(**known | ({"models": tuple(known["models"])} if "models" in known else {}))


@dataclass(frozen=True)
class ClassNoiseRow:
    """The share of a given class's labels that confident learning counts for another, 0..1, with a 95 % interval."""

    label: str
    images: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class ConfusionRow:
    """A class that is given for another more than noise alone would: the share of `given`, with a 95 % interval."""

    given: str
    true: str
    estimated: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class IssuesSummary:
    """How many images were ranked, how many of them are suspected, and how they were judged."""

    dataset: str
    run: int
    model: str
    ranked: int
    suspected: int
    represented: int
    unscored: int
    groups: int
    outliers: int
    poor_quality: int
    method: str
    folds: int
    members: tuple[str, ...]
    class_noise: tuple[ClassNoiseRow, ...]
    confusions: tuple[ConfusionRow, ...]
    newest_verdict: int
    notes: tuple[str, ...]


def find_issues(
    dataset: Dataset,
    how: HowToFind | None = None,
    *,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> IssuesSummary:
    """Rank every scored image by how likely its label is wrong, judged only by what never learned from it.

    Raises:
        NothingToDo: nothing is scored yet.
        WrongUsage: the labels do not allow a judgement (one class only, say), or a model learned from these labels.
    """
    how = how or HowToFind()
    judges = _judges(dataset, how)
    with running(
        dataset=dataset,
        kind=RunKind.FIND_ISSUES,
        parameters=how.parameters(),
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        summary = _find(dataset, how, judges, reporter, again=False)
        reporter.run.summary = asdict(summary)
    return summary


def rerank(
    dataset: Dataset,
    *,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> IssuesSummary:
    """Rank the open images again with the labels as they are now, as the last `find_issues` did.

    Duplicates, outliers and image quality do not depend on labels and stay as they were found.

    Raises:
        NothingToDo: issues were never found.
    """
    last = last_finding(dataset)
    if last is None:
        raise NothingToDo(f"Nothing of {dataset.slug} is ranked yet; first run: manage.py find_issues {dataset.slug}")
    # Training anew after every few verdicts would take hours; the light members are what follows the labels.
    how = replace(HowToFind.of(last.parameters), fine_tune=False)
    judges = _judges(dataset, how)
    with running(
        dataset=dataset,
        kind=RunKind.RERANK,
        parameters=how.parameters(),
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        summary = _find(dataset, how, judges, reporter, again=True)
        reporter.run.summary = asdict(summary)
    return summary


def last_finding(dataset: Dataset) -> Run | None:
    """The last `find_issues` run that ended well."""
    return dataset.runs.filter(kind=RunKind.FIND_ISSUES, state=RunState.DONE).order_by("-id").first()


def _judges(dataset: Dataset, how: HowToFind) -> Judges:
    if how.method not in METHODS:
        raise WrongUsage(f"Expected a method of {', '.join(METHODS)}, received {how.method!r}.")
    if how.adjusted and how.method not in ADJUSTABLE:
        raise WrongUsage(f"Only {' and '.join(ADJUSTABLE)} can be class-adjusted, not {how.method}.")
    if how.models:
        judges = Judges(tuple(current_model(name) for name in how.models))
        refuse_in_sample(dataset, judges.models)
    else:
        judges = impartial_judges(dataset, current_model(None, dataset), STARTER)
    if len({model.pk for model in judges.models}) < len(judges.models):
        raise WrongUsage(f"Each model is named once, received {', '.join(how.models)}.")
    for model in judges.models:
        if not Prediction.objects.filter(image__dataset=dataset, model_version=model).exists():
            raise NothingToDo(
                f"No image of {dataset.slug} is scored by {model} yet; first run: manage.py score {dataset.slug}"
                + (f" --model {model.name}" if how.models else "")
            )
    return judges


def _find(dataset: Dataset, how: HowToFind, judges: Judges, reporter: RunReporter, *, again: bool) -> IssuesSummary:
    models = judges.models
    newest = Verdict.objects.filter(image__dataset=dataset).aggregate(newest=Max("pk"))["newest"] or 0
    classes = list(dataset.taxonomy.classes.order_by("index"))
    groups = 0
    if not again:
        reporter.stage("grouping near duplicates")
        groups = group_duplicates(dataset, models[0])

    def report(done: int, total: int) -> None:
        reporter.run.total = total
        reporter.advance(done - reporter.run.done)

    images = Prediction.objects.filter(image__dataset=dataset, model_version=models[0]).count()
    shapes = how.shapes == "always" or (how.shapes == "auto" and images <= AT_MOST)
    if shapes:
        reporter.stage("looking at shapes")
    scored = without_in_sample(dataset, models, load_scored(dataset, models, classes, shapes=shapes, progress=report))
    further: list[OutOfSampleMember] = []
    if judges.learned is not None:
        opinion = opinion_where_never_seen(dataset, judges.learned, classes, scored)
        further += [opinion] if opinion is not None else []
    tuning_notes: tuple[str, ...] = ()
    if how.fine_tune:
        from labeling.pipeline.tuning import fine_tuned_member

        member, tuning_notes = fine_tuned_member(dataset, models[0], classes, scored, reporter, backbone=how.backbone)
        further.append(member)
    reporter.stage("cross-validating", len(scored.embeddings))
    try:
        judged = judge(
            dataset,
            models,
            classes,
            scored,
            class_map=how.class_map,
            further=further,
            again=again,
            progress=report,
        )
        kept = scored.ranked
        probabilities, label = judged.probabilities[kept], scored.label[kept]
        quality = label_quality(label, probabilities, method=how.method, adjusted=how.adjusted)
        noise = noise_report(label, probabilities, groups=scored.groups[kept])
        wrong = suspected(label, probabilities)
    except ArrayRefused as refused:
        raise WrongUsage(f"The labels of {dataset.slug} cannot be judged: {refused}") from refused
    found: dict[int, list[Finding]] = _group_findings(classes, scored)
    outliers = poor = 0
    if not again:
        reporter.stage("looking for outliers")
        outliers = _outlier_findings(scored, found)
        poor = _quality_findings(dataset, found)
    ranked = _rank(dataset, classes, scored, judged, found, quality, wrong)
    if again:
        open_ones = set(dataset.items.exclude(state=ItemState.SETTLED).values_list("image_id", flat=True).iterator())
        ranked = [one for one in ranked if one.image_id in open_ones]
    reporter.stage("writing the queue", len(ranked))
    for start in range(0, len(ranked), CHUNK):
        part = ranked[start : start + CHUNK]
        record_ranking(dataset=dataset, run=reporter.run, ranked=part)
        reporter.advance(len(part))
    record_members(
        run=reporter.run,
        members=[
            Member(one.name, one.weight, one.temperature, one.model_version.pk if one.model_version else None)
            for one in judged.members
        ],
    )
    drop_superseded_findings(dataset=dataset, run=reporter.run, kinds=LABEL_KINDS if again else FOUND_KINDS)
    keep_first(dataset=dataset, suspected_anew=True)
    represented = represent(dataset)
    names = [known.name for known in classes]
    return IssuesSummary(
        dataset=dataset.slug,
        run=reporter.run.pk,
        model=" and ".join(map(str, models)),
        ranked=len(ranked),
        suspected=sum(one.suspected for one in ranked),
        represented=represented,
        unscored=dataset.images.filter(excluded=False).count() - len(kept),
        groups=groups,
        outliers=outliers,
        poor_quality=poor,
        method=how.method + (", class-adjusted" if how.adjusted else ""),
        folds=judged.folds,
        members=tuple(f"{one.name} ({one.weight:.2f})" for one in judged.members),
        class_noise=tuple(
            ClassNoiseRow(names[row.label], row.images, row.share, row.low, row.high)
            for row in noise.classes
            if row.confident
        ),
        confusions=tuple(
            ConfusionRow(names[row.given], names[row.true], row.estimated, row.share, row.low, row.high)
            for row in noise.confusions
            if row.systematic
        )[:SHOWN_CONFUSIONS],
        newest_verdict=newest,
        notes=(*judged.notes, *tuning_notes),
    )


def _rank(
    dataset: Dataset,
    classes: Sequence[TaxonomyClass],
    scored: ScoredImages,
    judged: Judgement,
    found: Mapping[int, list[Finding]],
    quality: npt.NDArray[np.float64],
    wrong: npt.NDArray[np.bool_],
) -> list[RankedImage]:
    """The images of the dataset in the order of its queue; `quality` and `wrong` are theirs alone."""
    kept = scored.ranked
    label, probabilities = scored.label[kept], judged.probabilities[kept]
    top = probabilities.argmax(axis=1)
    pks = [scored.pks[at] for at in kept.tolist()]
    doubted = wrong | np.array(
        [any(one.kind == IssueKind.DUPLICATE_CONFLICT for one in found.get(pk, ())) for pk in pks], dtype=np.bool_
    )
    ranks = np.array([known.harm_rank for known in classes], dtype=np.int64)
    risk = 1 - probabilities[np.arange(len(kept)), label].astype(np.float64)
    evaluation = {Split.VALIDATION, Split.TEST}
    place = priorities(
        dataset.queue_order,
        Orderable(
            label_quality=quality,
            risk=risk,
            suspected=doubted,
            evaluation=np.array([scored.splits[at] in evaluation for at in kept.tolist()], dtype=np.bool_),
            given_rank=ranks[label],
            suggested_rank=ranks[top],
        ),
    )
    ranked = []
    for row, (at, pk) in enumerate(zip(kept.tolist(), pks, strict=True)):
        given, suggested = classes[label[row]], classes[top[row]]
        parts = [
            _reason(given.name, suggested.name, float(probabilities[row, top[row]]), judged.folds)
            if not judged.missing[at]
            else f"labelled {given.name}; no model has seen this image",
            *_group_reasons(given, at, judged.group_opinions),
        ]
        findings = list(found.get(pk, ()))
        if wrong[row]:
            findings.insert(0, Finding(IssueKind.GIVEN_LABEL, " · ".join(parts)[:REASON_LENGTH]))
        ranked.append(
            RankedImage(
                image_id=pk,
                fold=int(judged.fold[at]),
                probabilities=probabilities[row].astype("<f4").tobytes(),
                label_quality=float(quality[row]),
                suspected=bool(doubted[row]),
                suggested_class_id=suggested.pk,
                reason=" · ".join([*parts, *(finding.reason for finding in found.get(pk, ()))])[:REASON_LENGTH],
                findings=tuple(findings),
                priority=float(place[row]),
                risk=float(risk[row]),
            )
        )
    ranked.sort(key=lambda one: (one.priority, one.image_id))
    return ranked


def _reason(given: str, suggested: str, probability: float, folds: int) -> str:
    judge = f"{_NUMBER_WORDS.get(folds, str(folds))}-fold model"
    # Never "100 %": the model is not certain, its number was rounded.
    percent = min(99, round(100 * probability))
    if given == suggested:
        return f"labelled {given}; {judge} agrees, {percent} %"
    return f"labelled {given}; {judge} says {suggested}, {percent} %"


def _group_reasons(given: TaxonomyClass, at: int, opinions: Sequence[GroupOpinion]) -> list[str]:
    """Where a model that knows the groups only is sure of another group than the label's."""
    return [
        f"{one.model} says {one.group[at]} (by group), {min(99, round(100 * float(one.probability[at])))} %"
        for one in opinions
        if one.group[at] not in {None, given.group} and one.probability[at] > SURE
    ]


def _group_findings(classes: Sequence[TaxonomyClass], scored: ScoredImages) -> dict[int, list[Finding]]:
    """What near-duplicate groups tell about their members: two labels, or two splits."""
    members: dict[int, list[int]] = defaultdict(list)
    for row in scored.ranked.tolist():
        members[int(scored.groups[row])].append(row)
    findings: dict[int, list[Finding]] = defaultdict(list)
    for rows in members.values():
        if len(rows) < 2:
            continue
        labels = sorted({classes[scored.label[row]].name for row in rows})
        splits = sorted({scored.splits[row] for row in rows} - {""})
        what = _likeness(scored, rows)
        for row in rows:
            if len(labels) > 1:
                reason = f"{what} labelled {' and '.join(labels)}"
                findings[scored.pks[row]].append(Finding(IssueKind.DUPLICATE_CONFLICT, reason[:REASON_LENGTH]))
            if len(splits) > 1:
                reason = f"{what} in {' and '.join(splits)}"
                findings[scored.pks[row]].append(Finding(IssueKind.SPLIT_LEAK, reason[:REASON_LENGTH]))
    return findings


def _likeness(scored: ScoredImages, rows: Sequence[int]) -> str:
    if len({scored.sha256[row] for row in rows}) == 1:
        return "identical files"
    if len({scored.pixel_sha256[row] or row for row in rows}) == 1:
        return "identical pixels in other files"
    return "near duplicates"


def _outlier_findings(scored: ScoredImages, found: dict[int, list[Finding]]) -> int:
    """Images far from all others in embedding space, by the first model's embeddings; how many."""
    kept = scored.ranked
    outliers = find_outliers(scored.embeddings[0][kept], scored.groups[kept])
    typical = float(np.nanmedian(outliers.distance)) if np.isfinite(outliers.distance).any() else 0.0
    for row in np.flatnonzero(outliers.is_outlier).tolist():
        times = float(outliers.distance[row]) / max(typical, 1e-9)
        reason = f"off-topic? {times:.1f} times the usual distance to the images most like it"
        found[scored.pks[int(kept[row])]].append(Finding(IssueKind.OUTLIER, reason))
    return int(outliers.is_outlier.sum())


def _quality_findings(dataset: Dataset, found: dict[int, list[Finding]]) -> int:
    """Images whose figures are beyond the dataset's thresholds; how many."""
    rows = list(
        dataset.images.filter(excluded=False)
        .order_by("pk")
        .values_list("pk", "brightness", "contrast", "sharpness", "entropy", "width", "height")
    )
    if not rows:
        return 0
    columns = [np.array([row[place] for row in rows]) for place in range(1, 7)]
    reasons: dict[int, list[str]] = defaultdict(list)
    for one in quality_findings(QualityColumns(*columns), quality_limits(dataset)):
        reasons[rows[one.index][0]].append(one.reason)
    for pk, said in reasons.items():
        found[pk].append(Finding(IssueKind.IMAGE_QUALITY, "; ".join(said)[:REASON_LENGTH]))
    return len(reasons)


__all__ = [
    "ADJUSTABLE",
    "DEFAULT_METHOD",
    "METHODS",
    "HowToFind",
    "IssuesSummary",
    "find_issues",
    "last_finding",
    "rerank",
]
