"""The loop and the model that a dataset works with: promoting, rolling back, and what the rounds were worth."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, access_dataset
from labeling.errors import LabelingError
from labeling.models import ModelVersion, RunKind
from labeling.pipeline.looping import RULE, LoopOptions
from labeling.pipeline.model_versions import STARTER
from labeling.pipeline.promoting import how_again, roll_back
from labeling.queries.loops import loop_rounds
from labeling.queries.promotions import promoted_model, promotion_history
from labeling.queries.runs import latest_run_of
from labeling.tasks import start_run
from reviewer import charts
from reviewer.forms import LoopForm
from reviewer.http import PersonRequest, go_to, row_number


@require_safe
def loop(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    dataset = access.dataset
    rounds = loop_rounds(dataset)
    context = {
        "access": access,
        "dataset": dataset,
        "form": LoopForm(classes=dataset.taxonomy.classes.count()),
        "rule": RULE,
        "rounds": rounds[::-1],
        "chart": charts.rounds(rounds),
        "current": promoted_model(dataset) or STARTER,
        "history": promotion_history(dataset),
        "models": ModelVersion.objects.order_by("-pk"),
        "progress": latest_run_of(dataset, RunKind.LOOP),
        "promoting": latest_run_of(dataset, RunKind.PROMOTE),
    }
    return render(request, "loop/page.html", context)


@require_POST
def start(request: PersonRequest, slug: str) -> HttpResponse:
    """Have a worker do one round."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    page = reverse("loop", args=[slug])
    form = LoopForm(request.POST, classes=access.dataset.taxonomy.classes.count())
    if not form.is_valid():
        return go_to(request, page, notice=form.first_error())
    options = LoopOptions(
        recipe=form.cleaned_data["recipe"], leave_out_conflicts=form.cleaned_data["leave_out_conflicts"]
    )
    start_run(dataset=access.dataset, kind=RunKind.LOOP, parameters=options.parameters(), person=request.user)
    return go_to(request, page + "#rounds")


@require_POST
def promote(request: PersonRequest, slug: str) -> HttpResponse:
    """Have a worker promote a model version: it scores what is missing, and finds issues anew."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    model = get_object_or_404(ModelVersion, pk=row_number(request.POST.get("model", "")))
    parameters = {"model": model.pk, "reason": f"by {request.user.username}"}
    start_run(dataset=access.dataset, kind=RunKind.PROMOTE, parameters=parameters, person=request.user)
    return go_to(request, reverse("loop", args=[slug]) + "#current")


@require_POST
def rollback(request: PersonRequest, slug: str) -> HttpResponse:
    """Return to the model before the last promotion, at once; a worker finds issues anew."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    page = reverse("loop", args=[slug]) + "#current"
    try:
        event = roll_back(access.dataset, person=request.user)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    how = how_again(access.dataset).parameters()
    start_run(dataset=access.dataset, kind=RunKind.FIND_ISSUES, parameters=how, person=request.user)
    return go_to(request, page, notice=f"{access.dataset.slug} works with {event.model_version or STARTER} again.")
