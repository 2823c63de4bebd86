"""Images: their files, and one with its history. `explorer` lists them."""

from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.http import FileResponse, Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from labeling.access import REVIEWERS, access_dataset
from labeling.importers.paths import absolute_path
from labeling.models import Image
from labeling.queries.images import image_page
from reviewer.http import PersonRequest, page_or_part

R = TypeVar("R", bound=HttpResponseBase)

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
    return _serve(path, content_type_of(image))


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
    may_escalate = access.role in REVIEWERS or access.is_engineer
    context = {"access": access, "dataset": access.dataset, "page": page, "may_escalate": may_escalate}
    return page_or_part(request, "images/image.html", "images/_panel.html", context)


def _serve(path: Path, content_type: str) -> FileResponse:
    try:
        file = path.open("rb")
    except OSError as error:
        raise Http404(f"The file cannot be read: {error.strerror}.") from error
    return as_untrusted(FileResponse(file, content_type=content_type))


def content_type_of(image: Image) -> str:
    return _CONTENT_TYPES.get(image.format.upper(), "application/octet-stream")


def as_untrusted(response: R) -> R:
    """An answer of untrusted bytes: the browser shows it as the named type or not at all, and runs nothing in it.

    No cache may keep it (PrivateByDefault says so): once an image is in quarantine, nobody has it any more.
    """
    response.headers["Content-Disposition"] = "inline"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    return response
