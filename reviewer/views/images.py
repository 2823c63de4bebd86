"""Images: their files, and one with its history. `explorer` lists them."""

from pathlib import Path

from django.conf import settings
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from labeling.access import access_dataset
from labeling.importers.paths import absolute_path
from labeling.models import Image
from labeling.queries.images import image_page
from reviewer.http import PersonRequest, page_or_part

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
    context = {"access": access, "dataset": access.dataset, "page": page}
    return page_or_part(request, "images/image.html", "images/_panel.html", context)


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
