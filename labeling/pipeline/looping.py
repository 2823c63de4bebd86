"""The loop: find → (people review) → cut → train → evaluate → promote when better. Each step is a run of its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.db.models import F

from labeling.actions.runs import Listener, RunReporter, running, when_free
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import (
    NO_DECISIONS,
    Dataset,
    Evaluation,
    Level,
    ModelVersion,
    Person,
    Release,
    Run,
    RunKind,
    RunState,
    Verdict,
)
from labeling.pipeline.cutting import DEFAULT_RATIOS, cut_release
from labeling.pipeline.evaluating import compare, evaluate
from labeling.pipeline.finding import find_issues
from labeling.pipeline.judging import class_map_of
from labeling.pipeline.model_versions import current_model, reference_to
from labeling.pipeline.promoting import how_again, promote, score_what_is_missing
from labeling.pipeline.training import RECIPES, TrainOptions, train

STEPS = ("find", "cut", "train", "evaluate", "promote")
ALPHA = 0.05
RULE = (
    "A model is promoted when it has more of the test images right than the current one, by more than chance "
    "(McNemar's exact test, p < .05), calls no more harm harmless, and neither has learned from a test image."
)


@dataclass(frozen=True)
class LoopOptions:
    """What a loop is to do.

    Attributes:
        recipe: which model to train.
        epochs: None: as the recipe has it.
        weights: where training starts; empty: as the recipe has it.
        ratios: of the release, for images without a split.
        leave_out_conflicts: leave out identical files with two labels instead of refusing the cut.
    """

    recipe: str = "quick_head"
    epochs: int | None = None
    weights: str = ""
    ratios: tuple[int, int, int] = DEFAULT_RATIOS
    leave_out_conflicts: bool = False

    def parameters(self) -> dict[str, Any]:
        """As a run keeps it."""
        return asdict(self) | {"ratios": list(self.ratios)}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "LoopOptions":
        """What `parameters` wrote."""
        known = {one.name: parameters[one.name] for one in fields(cls) if one.name in parameters}
        train_part, validation, test = known.get("ratios", DEFAULT_RATIOS)
        return cls(**known | {"ratios": (train_part, validation, test)})


def run_loop(
    dataset: Dataset,
    options: LoopOptions | None = None,
    *,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """One round: score and rank what came new, cut a release of what people decided so far, train on it, measure the
    new model and the current one on its test split, and promote the new one when it is better (`RULE`).

    What a round came to is kept with its run after each step, so that a killed loop goes on with the step in which it
    stopped; the steps are runs themselves, and go on where they were. Without a new decision the last release is used,
    and a round that would only repeat the last one is refused.

    Returns:
        the summary of the run: release, models, accuracies with their intervals, what was promoted, and why (not).

    Raises:
        WrongUsage: an unknown recipe.
        NothingToDo: no release can be cut, or there is no test split, or nothing changed since the last round.
    """
    options = options or LoopOptions()
    if options.recipe not in RECIPES:
        raise WrongUsage(f"Expected a recipe of {', '.join(RECIPES)}, received {options.recipe!r}.")
    with running(
        dataset=dataset,
        kind=RunKind.LOOP,
        parameters=options.parameters(),
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        for step, work in zip(STEPS, (_find, _cut, _train, _evaluate, _promote), strict=True):
            if step not in reporter.run.summary.get("steps", ()):
                found = work(dataset, options, reporter)
                steps = [*reporter.run.summary.get("steps", ()), step]
                _keep(reporter, {**found, "steps": steps})
    return dict(reporter.run.summary)


def _keep(reporter: RunReporter, found: Mapping[str, Any]) -> None:
    """Write what a step came to at once: a loop that is killed in the next one has it."""
    reporter.run.summary = {**reporter.run.summary, **found}
    reporter.run.save(update_fields=["summary"])


def _find(dataset: Dataset, options: LoopOptions, reporter: RunReporter) -> dict[str, Any]:
    current = current_model(None, dataset)
    score_what_is_missing(dataset, current, reporter)
    person, how = reporter.run.created_by, how_again(dataset)
    found = when_free(reporter, lambda follow: find_issues(dataset, how, person=person, listener=follow))
    return {"current": reference_to(current), "suspected": found.suspected}


def _cut(dataset: Dataset, options: LoopOptions, reporter: RunReporter) -> dict[str, Any]:
    reviewed = Verdict.objects.filter(image__dataset=dataset).exclude(kind__in=NO_DECISIONS)
    count = reviewed.values("image").distinct().count()
    changed = dataset.images.filter(excluded=False).exclude(current_class=F("given_class")).count()
    try:
        release = when_free(
            reporter,
            lambda follow: cut_release(
                dataset,
                ratios=options.ratios,
                note="Cut by the loop.",
                leave_out_conflicts=options.leave_out_conflicts,
                person=reporter.run.created_by,
                listener=follow,
            ),
        )
    except NothingToDo:
        last = dataset.releases.first()
        if last is None:
            raise
        release = last
        _refuse_repetition(dataset, options, release, reporter)
    if not release.entries.filter(split="test").exists():
        raise NothingToDo(
            f"Release {release.version} of {dataset.slug} has no image in test, so no model can be measured on it. "
            "Give images a test split, or cut with other ratios."
        )
    return {"release": release.version, "reviewed": count, "corrected": changed, "images": release.entries.count()}


def _refuse_repetition(dataset: Dataset, options: LoopOptions, release: Release, reporter: RunReporter) -> None:
    """A second training of the same recipe on the same release would only repeat the first."""
    rounds = dataset.runs.filter(kind=RunKind.LOOP, state=RunState.DONE).exclude(pk=reporter.run.pk)
    for before in rounds:
        if before.summary.get("release") == release.version and before.parameters == options.parameters():
            raise NothingToDo(
                f"Nothing was decided since the loop's last round on release {release.version} with {options.recipe}. "
                "Review some images first, or name another recipe."
            )


def _train(dataset: Dataset, options: LoopOptions, reporter: RunReporter) -> dict[str, Any]:
    release, person = _release(dataset, reporter), reporter.run.created_by
    asked = TrainOptions(epochs=options.epochs, weights=options.weights)
    # Of this round: one that ended before a killed loop could write it down, or that another worker finished.
    trainings = dataset.runs.filter(
        kind=RunKind.TRAIN, state=RunState.DONE, created_at__gte=reporter.run.created_at, model_version__release=release
    )

    def step(follow: Listener) -> ModelVersion:
        done = trainings.filter(parameters__recipe=options.recipe).first()
        if done is not None:
            return done.model_version
        return train(release, recipe=options.recipe, options=asked, person=person, listener=follow)

    return {"model": reference_to(when_free(reporter, step))}


def _evaluate(dataset: Dataset, options: LoopOptions, reporter: RunReporter) -> dict[str, Any]:
    release, person = _release(dataset, reporter), reporter.run.created_by
    new, current = (current_model(reporter.run.summary[name]) for name in ("model", "current"))
    measured = when_free(reporter, lambda follow: evaluate(new, release, person=person, listener=follow))
    found = {"evaluation": measured.pk, "accuracy": _accuracy(measured)}
    mapped = class_map_of(current, dataset)
    if not mapped.by_class and not mapped.by_group:
        return found | {"evaluation_of_current": None, "accuracy_of_current": {}}
    before = when_free(reporter, lambda follow: evaluate(current, release, person=person, listener=follow))
    return found | {"evaluation_of_current": before.pk, "accuracy_of_current": _accuracy(before)}


def _accuracy(evaluation: Evaluation) -> dict[str, Any]:
    """By class where the model knows them, and by group where that is another level; each with its interval."""
    return {level: evaluation.figures[level]["accuracy"] for level in Level.values if level in evaluation.figures}


def _promote(dataset: Dataset, options: LoopOptions, reporter: RunReporter) -> dict[str, Any]:
    summary = reporter.run.summary
    evaluations = Evaluation.objects.select_related("model_version__taxonomy", "release__dataset__taxonomy")
    new = evaluations.get(pk=summary["evaluation"])
    if summary["evaluation_of_current"] is None:
        better, why = True, f"{summary['current']} knows no class or group of this dataset."
    else:
        better, why = is_better(new, evaluations.get(pk=summary["evaluation_of_current"]))
    if better:
        person = reporter.run.created_by
        when_free(
            reporter,
            lambda follow: promote(new.model_version, dataset, reason=why, person=person, listener=follow),
        )
    return {"promoted": better, "why": why}


def is_better(new: Evaluation, current: Evaluation) -> tuple[bool, str]:
    """`RULE`, and what it says here, in words."""
    if new.model_version_id == current.model_version_id:
        return False, f"{new.model_version} is the current model."
    if new.in_sample or current.in_sample:
        return False, "Not comparable: one of the models has learned from images of the test split."
    found = compare(new, current)
    test = found.test
    figures = (
        f"{100 * test.difference.point:+.1f} points on {found.images:,} test images by {found.level.label}, "
        f"McNemar p {'< 0.001' if test.p_value < 0.001 else f'= {test.p_value:.2g}'}"
    )
    if test.only_first <= test.only_second:
        return False, f"Not better: {figures}."
    if test.p_value >= ALPHA:
        return False, f"It may be chance: {figures}. Promote it by hand if you know better."
    missed, before = (one.figures.get(Level.GROUP) or one.figures[one.level] for one in (new, current))
    if missed["missed_images"] > before["missed_images"]:
        more = f"{missed['missed_images']:,} against {before['missed_images']:,}"
        return False, f"It calls more harm harmless ({more}), though {figures}."
    return True, f"Better: {figures}."


def _release(dataset: Dataset, reporter: RunReporter) -> Release:
    major, minor = reporter.run.summary["release"].split(".")
    return dataset.releases.select_related("dataset__taxonomy").get(major=major, minor=minor)
