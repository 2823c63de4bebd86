"""Releases: cutting, listing and exporting them."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, DatasetAccess, access_dataset
from labeling.errors import LabelingError
from labeling.models import Release, RunKind
from labeling.queries import releases as queries
from labeling.tasks import start_run
from reviewer.forms import ReleaseForm
from reviewer.http import PersonRequest, go_to


@require_safe
def releases(request: PersonRequest, slug: str) -> HttpResponse:
    return _page(request, access_dataset(request.user, slug), ReleaseForm())


@require_POST
def cut(request: PersonRequest, slug: str) -> HttpResponse:
    """Have a worker cut a release: at a hundred thousand images that takes longer than a request may."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    form = ReleaseForm(request.POST)
    if not form.is_valid():
        return _page(request, access, form, status=422)
    parameters = {
        "ratios": list(form.cleaned_data["ratios"]),
        "note": form.cleaned_data["note"],
        "leave_out_conflicts": form.cleaned_data["leave_out_conflicts"],
    }
    start_run(dataset=access.dataset, kind=RunKind.CUT, parameters=parameters, person=request.user)
    return redirect("releases", slug)


@require_POST
def export(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Have a worker write the release as class folders."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    release = get_object_or_404(Release, dataset=access.dataset, pk=pk)
    page = reverse("releases", args=[slug])
    try:
        start_run(dataset=access.dataset, kind=RunKind.EXPORT, parameters={"release": release.pk}, person=request.user)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    return redirect(page + f"#release-{release.pk}")


def _page(
    request: PersonRequest, access: DatasetAccess, form: ReleaseForm, *, refused: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "access": access,
        "dataset": access.dataset,
        "form": form,
        "found": queries.releases(access.dataset),
    }
    return render(request, "releases/list.html", context, status=status)
