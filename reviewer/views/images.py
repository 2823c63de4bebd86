"""Images: their files, one with its history, and lists."""

from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from labeling.access import access_dataset
from labeling.importers.paths import absolute_path
from labeling.models import SPLITS, Image
from labeling.queries.images import ImageFilter, image_list, image_page
from labeling.queries.queue import classes_of
from labeling.queue_filter import storable
from reviewer.http import PersonRequest, row_number

# The format is the one that the importer found in the bytes, never the file's name.
_CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
}


@require_safe
def image_file(request: PersonRequest, slug: str, pk: int) -> FileResponse:
    """The source file, read in place."""
    access = access_dataset(request.user, slug)
    image = get_object_or_404(Image.objects.select_related("root"), dataset=access.dataset, pk=pk)
    try:
        path = absolute_path(image.root.path, image.path)
    except ValueError as error:
        raise Http404(str(error)) from error
    return _serve(path, _CONTENT_TYPES.get(image.format.upper(), "application/octet-stream"))


@require_safe
def image_thumbnail(request: PersonRequest, slug: str, pk: int) -> FileResponse:
    access = access_dataset(request.user, slug)
    image = get_object_or_404(Image.objects.only("sha256"), dataset=access.dataset, pk=pk)
    return _serve(settings.THUMBNAILS_ROOT / image.sha256[:2] / f"{image.sha256}.jpg", "image/jpeg")


@require_safe
def image(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """One image with everything that is known of it."""
    access = access_dataset(request.user, slug)
    try:
        page = image_page(access.dataset, pk)
    except Image.DoesNotExist as error:
        raise Http404("No such image.") from error
    return render(request, "images/image.html", {"access": access, "dataset": access.dataset, "page": page})


@require_safe
def images(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    filters = ImageFilter(
        split=storable(request.GET.get("split", "")),
        label=storable(request.GET.get("label", "")),
        show=request.GET.get("show", ""),
        after=row_number(request.GET.get("after", "")),
    )
    return render(
        request,
        "images/list.html",
        {
            "access": access,
            "dataset": access.dataset,
            "filters": filters,
            "query": urlencode(filters.query()),
            "classes": classes_of(access.dataset),
            "splits": SPLITS,
            "found": image_list(access.dataset, filters),
        },
    )


def _serve(path: Path, content_type: str) -> FileResponse:
    """A file of untrusted bytes: the browser shows it as the named type or not at all, and runs nothing in it.

    Links carry the hash of the bytes, so what was seen once is not asked for again.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise Http404(f"The file cannot be read: {error.strerror}.") from error
    response = FileResponse(file, content_type=content_type)
    response.headers["Content-Disposition"] = "inline"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response
