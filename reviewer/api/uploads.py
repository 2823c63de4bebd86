"""Pictures out of requests, through memory only."""

from io import BytesIO
from typing import Any

from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest

from reviewer.api.problems import Problem

FIELD = "image"
MULTIPART = "multipart/form-data"


class MemoryUpload(FileUploadHandler):
    """Keeps files in memory whatever their size; how much a request may hold is decided before it is read."""

    chunk_size = 1 << 18

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._parts: list[bytes] = []

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._parts.append(raw_data)

    def file_complete(self, file_size: int) -> InMemoryUploadedFile:
        whole = b"".join(self._parts)
        self._parts = []
        return InMemoryUploadedFile(
            BytesIO(whole), self.field_name, self.file_name or "", self.content_type or "", file_size, self.charset
        )


def read_form(request: HttpRequest) -> None:
    """Parse the form of the request into memory; without a body this does nothing.

    Raises:
        Problem: 415 for a body that is no form.
    """
    kind = (request.content_type or "").lower()
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if length and kind != MULTIPART:
        raise Problem(
            415,
            "unsupported_media_type",
            f"Expected {MULTIPART} with the file in the field {FIELD}, received {kind or 'a body without a type'}.",
        )
    if length:
        request.upload_handlers = [MemoryUpload(request)]
        request.FILES  # noqa: B018  (parsing happens here)


def sent_picture(request: HttpRequest) -> bytes:
    """The bytes of the one picture in the field `image`.

    Raises:
        Problem: no body or one that is no form, no file in it, or more than one.
    """
    read_form(request)
    names = list(request.FILES)
    files = [file for name in names for file in request.FILES.getlist(name)]
    if len(files) > 1:
        raise Problem(400, "two_images", f"Expected one file in the field {FIELD}, received {len(files)} files.")
    if names != [FIELD]:
        received = f"a file in the field {names[0]}" if names else "no file"
        raise Problem(400, "no_image", f"Expected one file in the field {FIELD} of a form, received {received}.")
    return content(files[0])


def content(file: UploadedFile[Any]) -> bytes:
    whole: bytes = file.read()
    file.close()
    return whole
