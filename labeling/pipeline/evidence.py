"""The bytes of an escalated image, for those who may decide about it; read only when they ask."""

import hashlib

from labeling.errors import LabelingError
from labeling.importers.paths import absolute_path
from labeling.models import Image


def evidence_of(image: Image) -> bytes:
    """The file of an image, read in place and checked to be what was escalated; never decoded.

    Raises:
        LabelingError: it is gone, cannot be read, or holds other bytes by now.
    """
    try:
        content = absolute_path(image.root.path, image.path).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it leads out of its source folder"
        raise LabelingError(
            f"The file of image {image.pk} cannot be read: {why}. Restore it from a backup to see it; its hash and its "
            "log are kept."
        ) from error
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise LabelingError(
            f"The file of image {image.pk} is not what was escalated: its bytes have another hash by now. Restore it "
            "from a backup to see it."
        )
    return content
