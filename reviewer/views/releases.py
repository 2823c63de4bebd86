"""Releases: cutting, listing and exporting them."""

from threading import BoundedSemaphore

from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, DatasetAccess, access_dataset
from labeling.errors import LabelingError
from labeling.exporters.formats import FORMATS
from labeling.models import Release, RunKind
from labeling.pipeline.exporting import DOWNLOADS, read_label_map, zip_release
from labeling.queries import releases as queries
from labeling.queries.counts import KEEPER
from labeling.queries.queue import classes_of
from labeling.queries.release_diff import RELABELLED, changes, release_diff
from labeling.tasks import start_run
from reviewer.forms import ExportForm, ReleaseForm
from reviewer.http import Counted, PersonRequest, go_to

# A URL list needs an address that only its user knows: the command asks for it.
EXPORTS = tuple(name for name in FORMATS if name != "urls")
# Each holds one of the web server's threads until its last byte is sent; the pages need the others.
MOST_DOWNLOADS = 4
_CHANGES = 100
_UNDER_WAY = BoundedSemaphore(MOST_DOWNLOADS)


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
    """Have a worker write the release below WINNOW_HOME."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    release = get_object_or_404(Release, dataset=access.dataset, pk=pk)
    page = reverse("releases", args=[slug])
    form = ExportForm(classes_of(access.dataset), EXPORTS, request.POST)
    if not form.is_valid():
        return go_to(request, page, notice=f"Nothing was exported: {next(iter(form.errors.values()))[0]}")
    parameters = {"release": release.pk, **form.cleaned_data}
    try:
        start_run(dataset=access.dataset, kind=RunKind.EXPORT, parameters=parameters, person=request.user)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    return redirect(page + f"#release-{release.pk}")


@require_safe
def diff(request: PersonRequest, slug: str, before: str, after: str) -> HttpResponse:
    """What changed between two releases, and who decided it."""
    access = access_dataset(request.user, slug)
    pair = queries.release_pair(access.dataset, before, after)
    if pair is None:
        raise Http404("No such release.")
    # Neither changes any more, and at a million images it takes seconds to count.
    found = KEEPER.counted(("diff", pair[0].pk, pair[1].pk), lambda: release_diff(*pair)).value
    counts = dict(found.counts)
    asked = request.GET.get("show", "")
    kind = asked if asked in counts else next((one for one, images in found.counts if images), RELABELLED)
    beyond = request.GET.get("after", "")[:64]
    listed = list(changes(*pair, kind, beyond=beyond, limit=_CHANGES + 1)) if counts[kind] else []
    context = {
        "access": access,
        "dataset": access.dataset,
        "diff": found,
        "kind": kind,
        "listed": listed[:_CHANGES],
        "next_after": listed[_CHANGES - 1].sha256 if len(listed) > _CHANGES else None,
        "versions": [release.version for release in access.dataset.releases.all()],
    }
    return render(request, "releases/diff.html", context)


@require_safe
def compare(request: PersonRequest, slug: str) -> HttpResponse:
    """From the two versions that a form names to the page of their diff."""
    access = access_dataset(request.user, slug)
    before, after = request.GET.get("before", ""), request.GET.get("after", "")
    if queries.release_pair(access.dataset, before, after) is None:
        return go_to(request, reverse("releases", args=[slug]), notice="Choose two releases that there are.")
    return redirect("release_diff", slug, before, after)


@require_safe
def download(request: PersonRequest, slug: str, pk: int) -> HttpResponseBase:
    """The release as a zip, written while it is sent; its length is known, so the browser shows how far it is."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    release = get_object_or_404(Release.objects.select_related("dataset__taxonomy"), dataset=access.dataset, pk=pk)
    page = reverse("releases", args=[slug])
    form = ExportForm(classes_of(access.dataset), DOWNLOADS, request.GET)
    if not form.is_valid():
        return go_to(request, page, notice=f"Nothing was sent: {next(iter(form.errors.values()))[0]}")
    if not _UNDER_WAY.acquire(blocking=False):
        return go_to(request, page, notice=f"{MOST_DOWNLOADS} downloads are under way. Try again when one has ended.")
    try:
        labels = form.cleaned_data["labels"]
        label_map = read_label_map(access.dataset, labels) if labels else None
        found = zip_release(release, form.cleaned_data["export_format"], label_map=label_map)
    except BaseException:
        _UNDER_WAY.release()
        raise
    response = StreamingHttpResponse(Counted(found.blocks, _UNDER_WAY), content_type="application/zip")
    response.headers["Content-Length"] = str(found.size)
    response.headers["Content-Disposition"] = f'attachment; filename="{found.name}"'
    return response


def _page(
    request: PersonRequest, access: DatasetAccess, form: ReleaseForm, *, refused: str = "", status: int = 200
) -> HttpResponse:
    found = queries.releases(access.dataset)
    context = {
        "access": access,
        "dataset": access.dataset,
        "form": form,
        "found": found,
        "exports": ExportForm(found.classes, EXPORTS),
        "downloads": ExportForm(found.classes, DOWNLOADS),
    }
    return render(request, "releases/list.html", context, status=status)
