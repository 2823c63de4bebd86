"""Background entry points: each a thin call into the pipeline, carried out by `manage.py worker`."""

import logging
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django_tasks import task

from labeling.actions.runs import dead_runs, queue_run
from labeling.errors import LabelingError, RunStopped
from labeling.models import (
    Consensus,
    Dataset,
    LabelsUsed,
    ModelVersion,
    Person,
    QueueOrder,
    Release,
    Run,
    RunKind,
    RunState,
)
from labeling.queries.alike import groups_are_behind
from labeling.queries.answers import skills_are_behind
from labeling.queries.audits import estimate_is_behind
from labeling.queries.policies import policy_in_force
from labeling.queries.ranking import ranking_is_behind

logger = logging.getLogger(__name__)
ESTIMATE_EVERY = 25
SKILLS_EVERY = 50


def start_run(*, dataset: Dataset, kind: RunKind, parameters: dict[str, Any], person: Person | None) -> Run:
    """Queue a run for the worker; an equal one that still waits is returned instead."""
    with transaction.atomic():
        run = queue_run(dataset=dataset, kind=kind, parameters=parameters, person=person)
        transaction.on_commit(lambda: carry_out.enqueue(run.pk))
    return run


def requeue_dead_runs() -> int:
    """Hand runs whose process died, and queued ones whose task was lost, to the worker again.

    A run that is handed over twice is carried out once: `carry_out` looks at its state, and a run holds its lock.
    """
    dead = [run for run in dead_runs() if run.kind in _JOBS]
    for run in dead:
        logger.warning("Run %s (%s of %s) lost its process; it goes on.", run.pk, run.kind, run.dataset)
    waiting = list(Run.objects.filter(state=RunState.QUEUED, kind__in=_JOBS))
    for run in (*dead, *waiting):
        carry_out.enqueue(run.pk)
    return len(dead) + len(waiting)


@task()
def carry_out(run_pk: int) -> str:
    """Carry out a queued run. A run that ended otherwise in the meantime is left alone."""
    run = Run.objects.select_related("dataset__taxonomy", "created_by").get(pk=run_pk)
    if run.state not in {RunState.QUEUED, RunState.RUNNING}:
        return f"run {run_pk} is {run.state} already"
    try:
        _JOBS[RunKind(run.kind)](run)
    except RunStopped as stopped:
        return str(stopped)
    except LabelingError as error:
        if run.state == RunState.QUEUED:
            # Refused before it began (nothing to do, another run in progress): the reason belongs on its page.
            Run.objects.filter(pk=run_pk, state=RunState.QUEUED).update(state=RunState.FAILED, error=str(error))
        return str(error)
    return "done"


@task()
def refresh_estimate(dataset_pk: int) -> str:
    """Estimate the remaining errors again, unless nothing was decided since the last time."""
    from labeling.pipeline.auditing import estimate_remaining

    dataset = Dataset.objects.get(pk=dataset_pk)
    if not estimate_is_behind(dataset, by=1):
        return "nothing new"
    try:
        estimate_remaining(dataset)
    except LabelingError as error:
        return str(error)
    return "done"


@task()
def prepare_neighbours(dataset_pk: int, model_pk: int) -> str:
    """Bring the sketch of a dataset's embeddings up to date, so that a page can look up nearest neighbours."""
    from labeling.pipeline.nearest import extend_sketch

    rows = extend_sketch(Dataset.objects.get(pk=dataset_pk), ModelVersion.objects.get(pk=model_pk))
    return f"{rows} rows"


def keep_ranking_fresh(dataset: Dataset, person: Person) -> None:
    """Have the open images ranked again when enough labels were decided since the last ranking."""
    if ranking_is_behind(dataset):
        start_run(dataset=dataset, kind=RunKind.RERANK, parameters={}, person=person)


@task()
def refresh_reliability(dataset_pk: int) -> str:
    """Estimate again how reliable each person is, where the consensus of a dataset asks for it."""
    from labeling.pipeline.agreement import refresh_skills

    return f"{refresh_skills(Dataset.objects.get(pk=dataset_pk))} people"


@task()
def group_arrivals(dataset_pk: int) -> str:
    """Find the near duplicates of images that came since the last time, so that they are settled together."""
    from labeling.pipeline.grouping import group_duplicates
    from labeling.pipeline.ordering import represent

    dataset = Dataset.objects.get(pk=dataset_pk)
    policy = policy_in_force(dataset)
    if policy is None or not groups_are_behind(dataset):
        return "nothing new"
    groups = group_duplicates(dataset, policy.model_version)
    represent(dataset)
    return f"{groups} groups"


def keep_groups_fresh(dataset: Dataset) -> None:
    """Have near duplicates grouped again when enough images came to triage: one, or a fifth of a percent of many."""
    if policy_in_force(dataset) is not None and groups_are_behind(dataset):
        group_arrivals.enqueue(dataset.pk)


def keep_skills_fresh(dataset: Dataset) -> None:
    """Have people's reliability estimated again when enough verdicts came since; only Dawid–Skene reads it."""
    if dataset.consensus == Consensus.DAWID_SKENE and skills_are_behind(dataset, by=SKILLS_EVERY):
        refresh_reliability.enqueue(dataset.pk)


def keep_estimate_fresh(dataset: Dataset, *, audit: bool) -> None:
    """Have the estimate computed again when enough was decided since: after each audit verdict, or each 25th other."""
    if estimate_is_behind(dataset, by=1 if audit else ESTIMATE_EVERY):
        refresh_estimate.enqueue(dataset.pk)


# The web process imports this module to queue jobs; only the worker pays for what the jobs need.
def _score(run: Run) -> None:
    from labeling.pipeline.scoring import ReleasePart, score

    part = ReleasePart.of(run.parameters)
    score(run.dataset, model=run.parameters.get("model"), part=part, person=run.created_by, queued=run)


def _find_issues(run: Run) -> None:
    from labeling.pipeline.finding import HowToFind, find_issues

    find_issues(run.dataset, HowToFind.of(run.parameters), person=run.created_by, queued=run)


def _rerank(run: Run) -> None:
    from labeling.pipeline.finding import rerank

    rerank(run.dataset, person=run.created_by, queued=run)


def _draw_audit(run: Run) -> None:
    from labeling.pipeline.auditing import draw_audit

    draw_audit(
        run.dataset,
        half_width=run.parameters["half_width"],
        extend=run.parameters["extend"],
        person=run.created_by,
        queued=run,
    )


def _reorder(run: Run) -> None:
    from labeling.pipeline.ordering import reorder

    reorder(run.dataset, QueueOrder(run.parameters["order"]), person=run.created_by, queued=run)


def _export(run: Run) -> None:
    from labeling.pipeline.exporting import export_again

    export_again(run)


def _cut(run: Run) -> None:
    from labeling.pipeline.cutting import cut_release

    train, validation, test = run.parameters["ratios"]
    cut_release(
        run.dataset,
        ratios=(train, validation, test),
        note=run.parameters["note"],
        leave_out_conflicts=run.parameters["leave_out_conflicts"],
        person=run.created_by,
        queued=run,
    )


def _apply_policy(run: Run) -> None:
    from labeling.pipeline.policies import apply_policy

    apply_policy(run.dataset, person=run.created_by, queued=run)


def _evaluate(run: Run) -> None:
    from labeling.pipeline.evaluating import evaluate

    asked = run.parameters
    evaluate(
        ModelVersion.objects.select_related("taxonomy").get(pk=asked["model"]),
        Release.objects.select_related("dataset__taxonomy").get(pk=asked["release"]),
        split=asked["split"],
        labels=LabelsUsed(asked["labels"]),
        class_map=asked["class_map"],
        person=run.created_by,
        queued=run,
    )


def _train(run: Run) -> None:
    from labeling.pipeline.training import TrainOptions, train

    release = Release.objects.select_related("dataset__taxonomy").get(pk=run.parameters["release"])
    train(
        release,
        recipe=run.parameters["recipe"],
        options=TrainOptions.of(run.parameters),
        person=run.created_by,
        queued=run,
    )


def _import_verdicts(run: Run) -> None:
    from labeling.pipeline.interchange import import_verdicts

    asked = run.parameters
    reviewer = Person.objects.get(pk=asked["reviewer"])
    path = Path(asked["path"])
    import_verdicts(run.dataset, path, reviewer, name=asked["name"], person=run.created_by, queued=run)
    keep_ranking_fresh(run.dataset, run.created_by or reviewer)
    keep_estimate_fresh(run.dataset, audit=False)
    keep_skills_fresh(run.dataset)
    if path.is_relative_to(settings.UPLOADS_ROOT):
        path.unlink(missing_ok=True)


def _promote(run: Run) -> None:
    from labeling.pipeline.promoting import promote

    model = ModelVersion.objects.select_related("taxonomy").get(pk=run.parameters["model"])
    promote(model, run.dataset, reason=run.parameters["reason"], person=run.created_by, queued=run)


def _loop(run: Run) -> None:
    from labeling.pipeline.looping import LoopOptions, run_loop

    run_loop(run.dataset, LoopOptions.of(run.parameters), person=run.created_by, queued=run)


_JOBS = {
    RunKind.SCORE: _score,
    RunKind.FIND_ISSUES: _find_issues,
    RunKind.RERANK: _rerank,
    RunKind.REORDER: _reorder,
    RunKind.AUDIT: _draw_audit,
    RunKind.CUT: _cut,
    RunKind.EXPORT: _export,
    RunKind.POLICY: _apply_policy,
    RunKind.EVALUATE: _evaluate,
    RunKind.VERDICTS: _import_verdicts,
    RunKind.TRAIN: _train,
    RunKind.PROMOTE: _promote,
    RunKind.LOOP: _loop,
}
