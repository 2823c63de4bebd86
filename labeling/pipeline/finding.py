"""Finding issues: embeddings and labels → out-of-sample probabilities → a ranked queue."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from inference.cross_validation import OutOfSample, out_of_sample
from inference.errors import ArrayRefused
from inference.label_quality import label_quality, suspected
from labeling.actions.issues import Finding, RankedImage, drop_superseded_findings, record_ranking
from labeling.actions.runs import Listener, RunReporter, running
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import (
    Dataset,
    IssueKind,
    ModelVersion,
    Person,
    Prediction,
    Run,
    RunKind,
    Split,
    TaxonomyClass,
)
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.model_versions import current_model
from labeling.pipeline.ordering import Orderable, priorities, represent

CHUNK = 1000
FOLDS = 5
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
class IssuesSummary:
    """How many images were ranked, how many of them are suspected, and how they were judged."""

    dataset: str
    run: int
    model: str
    ranked: int
    suspected: int
    unscored: int
    folds: int
    members: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Scored:
    """The scored images of a dataset in the order of their keys; `label` is the class index of the current label."""

    pks: list[int]
    paths: list[str]
    splits: list[str]
    groups: list[int]
    label: npt.NDArray[np.int64]
    embeddings: npt.NDArray[np.float16]


def find_issues(
    dataset: Dataset,
    *,
    model: str | None = None,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> IssuesSummary:
    """Rank every scored image by how likely its label is wrong, judged only by folds that never saw it.

    Raises:
        NothingToDo: nothing is scored yet.
        WrongUsage: the labels do not allow a judgement (one class only, say).
    """
    model_version = current_model(model)
    if not Prediction.objects.filter(image__dataset=dataset, model_version=model_version).exists():
        raise NothingToDo(
            f"No image of {dataset.slug} is scored by {model_version} yet; first run: manage.py score {dataset.slug}"
        )
    with running(
        dataset=dataset,
        kind=RunKind.FIND_ISSUES,
        parameters={"model": model} if model else {},
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        summary = _find(dataset, model_version, reporter)
        reporter.run.summary = asdict(summary)
    return summary


def _find(dataset: Dataset, model_version: ModelVersion, reporter: RunReporter) -> IssuesSummary:
    classes = list(dataset.taxonomy.classes.order_by("index"))
    scored = _load(dataset, model_version, classes)
    reporter.stage("cross-validating", FOLDS)

    def report(done: int, total: int) -> None:
        reporter.run.total = total
        reporter.advance(done - reporter.run.done)

    try:
        judged = out_of_sample(
            scored.embeddings,
            scored.label,
            n_classes=len(classes),
            groups=np.array(scored.groups, dtype=np.int64),
            folds=FOLDS,
            class_names=[known.name for known in classes],
            progress=report,
        )
    except ArrayRefused as refused:
        raise WrongUsage(f"The labels of {dataset.slug} cannot be judged: {refused}") from refused
    quality = label_quality(scored.label, judged.probabilities)
    ranked = _rank(dataset, classes, scored, judged, quality)
    reporter.stage("writing the queue", len(ranked))
    for start in range(0, len(ranked), CHUNK):
        part = ranked[start : start + CHUNK]
        record_ranking(dataset=dataset, run=reporter.run, ranked=part)
        reporter.advance(len(part))
    drop_superseded_findings(dataset=dataset, run=reporter.run)
    represent(dataset)
    return IssuesSummary(
        dataset=dataset.slug,
        run=reporter.run.pk,
        model=str(model_version),
        ranked=len(ranked),
        suspected=sum(one.suspected for one in ranked),
        unscored=dataset.images.filter(excluded=False).count() - len(ranked),
        folds=len(set(judged.fold.tolist())),
        members=tuple(judged.members),
        notes=tuple(judged.notes),
    )


def _load(dataset: Dataset, model_version: ModelVersion, classes: Sequence[TaxonomyClass]) -> _Scored:
    index_of = {known.pk: known.index for known in classes}
    rows = list(
        Prediction.objects.filter(image__dataset=dataset, model_version=model_version, image__excluded=False)
        .order_by("image_id")
        .values_list(
            "image_id",
            "image__path",
            "image__split",
            "image__duplicate_group_id",
            "image__current_class_id",
            "embedding_row",
        )
    )
    numbers = np.array([row[5] for row in rows], dtype=np.int64)
    return _Scored(
        pks=[row[0] for row in rows],
        paths=[row[1] for row in rows],
        splits=[row[2] for row in rows],
        groups=[row[3] or row[0] for row in rows],
        label=np.array([index_of[row[4]] for row in rows], dtype=np.int64),
        embeddings=EmbeddingFile(dataset, model_version).rows(numbers),
    )


def _rank(
    dataset: Dataset,
    classes: Sequence[TaxonomyClass],
    scored: _Scored,
    judged: OutOfSample,
    quality: npt.NDArray[np.float64],
) -> list[RankedImage]:
    wrong = suspected(scored.label, judged.probabilities)
    top = judged.probabilities.argmax(axis=1)
    conflicts = _group_findings(classes, scored)
    doubted = wrong | np.array(
        [any(f.kind == IssueKind.DUPLICATE_CONFLICT for f in conflicts.get(pk, ())) for pk in scored.pks],
        dtype=np.bool_,
    )
    ranks = np.array([known.harm_rank for known in classes], dtype=np.int64)
    folds = len(set(judged.fold.tolist()))
    ranked = []
    place = priorities(
        dataset.queue_order,
        Orderable(
            label_quality=quality,
            suspected=doubted,
            evaluation=np.array([split in {Split.VALIDATION, Split.TEST} for split in scored.splits], dtype=np.bool_),
            given_rank=ranks[scored.label],
            suggested_rank=ranks[top],
        ),
    )
    for row, pk in enumerate(scored.pks):
        given, suggested = classes[scored.label[row]], classes[top[row]]
        reason = _reason(given.name, suggested.name, float(judged.probabilities[row, top[row]]), folds)
        findings = list(conflicts.get(pk, ()))
        if wrong[row]:
            findings.insert(0, Finding(IssueKind.GIVEN_LABEL, reason))
        ranked.append(
            RankedImage(
                image_id=pk,
                fold=int(judged.fold[row]),
                probabilities=judged.probabilities[row].astype("<f4").tobytes(),
                label_quality=float(quality[row]),
                suspected=bool(doubted[row]),
                suggested_class_id=suggested.pk,
                reason=" · ".join([reason, *(finding.reason for finding in conflicts.get(pk, ()))])[:300],
                findings=tuple(findings),
                priority=float(place[row]),
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


def _group_findings(classes: Sequence[TaxonomyClass], scored: _Scored) -> dict[int, list[Finding]]:
    """What near-duplicate groups tell about their members: two labels, or two splits."""
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(scored.groups):
        members[group].append(row)
    findings: dict[int, list[Finding]] = defaultdict(list)
    for rows in members.values():
        if len(rows) < 2:
            continue
        labels = sorted({classes[scored.label[row]].name for row in rows})
        splits = sorted({scored.splits[row] for row in rows} - {""})
        for row in rows:
            if len(labels) > 1:
                reason = f"near duplicates labelled {' and '.join(labels)}"
                findings[scored.pks[row]].append(Finding(IssueKind.DUPLICATE_CONFLICT, reason))
            if len(splits) > 1:
                reason = f"near duplicates in {' and '.join(splits)}"
                findings[scored.pks[row]].append(Finding(IssueKind.SPLIT_LEAK, reason))
    return dict(findings)
