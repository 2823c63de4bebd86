"""The policy of a dataset: its bands, what other thresholds would do, and the versions so far."""

from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, DatasetAccess, access_dataset
from labeling.errors import Conflict, LabelingError, RunInProgress, WrongUsage
from labeling.models import Dataset, ModelVersion, RunKind
from labeling.pipeline.policies import (
    AT_ONCE,
    BAND_ACTIONS,
    Action,
    apply_policy,
    default_definition,
    definition_of,
    model_for_policy,
    save_policy,
)
from labeling.pipeline.thresholds import (
    GRID,
    LEAST_TIMED,
    Figures,
    Proposal,
    Tuning,
    draw_band_sample,
    figures_at,
    propose,
    tuning_of,
)
from labeling.queries.policies import class_names, newest_policy, policy_versions, scoring_models
from labeling.queries.runs import latest_run_of
from labeling.tasks import start_run
from reviewer.charts import BandHistogram, band_histogram
from reviewer.http import PersonRequest, go_to, row_number
from reviewer.policy_form import BandSampleForm, PolicyDraft, PromiseForm, number

_SIDES = (("safe", "safe side"), ("", "neither"), ("adult", "adult side"))


@require_safe
def policy(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    model = _model(access.dataset, request.GET.get("model", ""))
    draft = _draft_of(access.dataset, model) if model else None
    if draft is not None:
        draft = replace(
            draft,
            safe_up_to=request.GET.get("safe_up_to", "") or draft.safe_up_to,
            adult_from=request.GET.get("adult_from", "") or draft.adult_from,
        )
    return _page(request, access, model, draft)


@require_POST
def save(request: PersonRequest, slug: str) -> HttpResponse:
    """Save the next version and put it in force: at once, or by the worker where there are many images."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    dataset, here = access.dataset, reverse("policy", args=[slug])
    model = _model(dataset, request.POST.get("model", ""))
    if model is None:
        return go_to(request, here, notice="No model has scored this dataset yet, so there is nothing to decide by.")
    draft = PolicyDraft.sent(request.POST, class_names(model))
    if "look" in request.POST:
        # Without JavaScript: the figures of what is in the form, and nothing else.
        return _page(request, access, model, draft)
    try:
        saved = save_policy(
            dataset,
            draft.definition(model),
            model,
            expected=draft.expected,
            note=draft.note,
            person=request.user,
        )
    except Conflict as conflict:
        # Saving it once more is then a decision, made with the other version in sight.
        newest = newest_policy(dataset)
        again = replace(draft, expected=newest.version if newest else 0)
        return _page(request, access, model, again, problem=str(conflict), status=409)
    except LabelingError as error:
        return _page(request, access, model, draft, problem=str(error), status=400)
    if not dataset.images.order_by()[AT_ONCE : AT_ONCE + 1].exists():
        try:
            applied = apply_policy(dataset, person=request.user)
        except RunInProgress:
            pass
        else:
            counts = f"{applied.safe:,} safe, {applied.unknown:,} unknown, {applied.adult:,} adult"
            done = f"Version {applied.policy} is in force: {counts}. {applied.changed:,} images changed their band."
            return go_to(request, here, notice=done)
    start_run(dataset=dataset, kind=RunKind.POLICY, parameters={}, person=request.user)
    return go_to(request, here, notice=f"Version {saved.version} is saved, and is being applied.")


@require_POST
def sample(request: PersonRequest, slug: str) -> HttpResponse:
    """Draw images of a side for people to judge blind."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    here = reverse("policy", args=[slug]) + "#evidence"
    form = BandSampleForm(request.POST)
    if not form.is_valid():
        return go_to(request, here, notice=form.first_error())
    try:
        drawn = draw_band_sample(access.dataset, **form.cleaned_data, person=request.user)
    except LabelingError as error:
        return go_to(request, here, notice=str(error))
    return go_to(request, here, notice=f"{drawn.drawn:,} images of the {drawn.side} side are drawn to be judged blind.")


def _page(
    request: PersonRequest,
    access: DatasetAccess,
    model: ModelVersion | None,
    draft: PolicyDraft | None,
    *,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    dataset = access.dataset
    tuning = tuning_of(dataset)
    low, high = _thresholds(draft, tuning)
    promise = PromiseForm(request.GET if "most_adult" in request.GET else None)
    proposal, refused = _proposal(dataset, promise, low, high) if tuning else (None, "")
    chart: BandHistogram | None = band_histogram(tuning, low, high) if tuning else None
    figures: Figures | None = figures_at(tuning, low, high) if tuning else None
    versions = policy_versions(dataset)
    context: dict[str, Any] = {
        "access": access,
        "dataset": dataset,
        "draft": draft,
        "model": model,
        "models": scoring_models(dataset),
        "classes": list(model.taxonomy.classes.order_by("index")) if model else [],
        "sides": _SIDES,
        "actions": list(Action),
        "band_actions": [(band.value, action.value) for band, action in BAND_ACTIONS.items()],
        "tuning": tuning,
        "tuning_json": tuning.as_json() if tuning else None,
        "least_timed": LEAST_TIMED,
        "step": 1 / GRID,
        "low": low,
        "high": high,
        "figures": figures,
        "chart": chart,
        "promise": promise if promise.is_bound else PromiseForm(),
        "proposal": proposal,
        "proposed": _proposed(proposal, low, high),
        "refused": refused,
        "versions": versions,
        "newest": versions[0] if versions else None,
        "in_force": tuning.policy if tuning else None,
        "progress": latest_run_of(dataset, RunKind.POLICY),
        "problem": problem,
    }
    return render(request, "policy/page.html", context, status=status)


def _model(dataset: Dataset, key: str) -> ModelVersion | None:
    """The model that the page is about: the one that is asked for, or the policy's; None where nothing is scored."""
    chosen = [model for model in scoring_models(dataset) if model.pk == row_number(key)]
    if chosen:
        return chosen[0]
    try:
        return model_for_policy(dataset)
    except WrongUsage:
        return None


def _draft_of(dataset: Dataset, model: ModelVersion) -> PolicyDraft:
    """The newest version as a form, or for a first one or another taxonomy what to begin with."""
    newest, names = newest_policy(dataset), class_names(model)
    expected = newest.version if newest else 0
    if newest is not None and newest.model_version.taxonomy_id == model.taxonomy_id:
        return PolicyDraft.of(definition_of(newest), names, expected)
    try:
        return PolicyDraft.of(default_definition(model), names, expected)
    except WrongUsage:
        return PolicyDraft("0.2", "0.8", dict.fromkeys(names, ""), (), "", expected)


def _thresholds(draft: PolicyDraft | None, tuning: Tuning | None) -> tuple[float, float]:
    """Those of the draft if they are two that can be, else those in force."""
    try:
        if draft is not None:
            low, high = number(draft.safe_up_to, ""), number(draft.adult_from, "")
            if 0 <= low < high <= 1:
                return low, high
    except WrongUsage:
        pass
    definition = definition_of(tuning.policy) if tuning else None
    return (definition.safe_up_to, definition.adult_from) if definition else (0.2, 0.8)


def _proposal(dataset: Dataset, form: PromiseForm, low: float, high: float) -> tuple[Proposal | None, str]:
    if not form.is_bound:
        return None, ""
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        return None, f"{form.fields[field].label}: {errors[0]}"
    asked = form.cleaned_data
    try:
        return (
            propose(
                dataset,
                most_adult=asked["most_adult"] / 100,
                most_safe=asked["most_safe"] / 100,
                confidence=asked["sure"] / 100,
                safe_up_to=low,
                adult_from=high,
            ),
            "",
        )
    except LabelingError as error:
        return None, str(error)


def _proposed(proposal: Proposal | None, low: float, high: float) -> tuple[float, float] | None:
    """Thresholds to take over: what is proposed, or else what is looked at; None where they would cross."""
    if proposal is None or (proposal.safe.threshold is None and proposal.adult.threshold is None):
        return None
    safe = low if proposal.safe.threshold is None else proposal.safe.threshold
    adult = high if proposal.adult.threshold is None else proposal.adult.threshold
    return (safe, adult) if safe < adult else None
