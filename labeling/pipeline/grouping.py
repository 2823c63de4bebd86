"""Near-duplicate groups of a dataset: from the hashes of the import, and from embeddings where there are any."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from inference.duplicates import group_near_duplicates
from inference.types import Int64Array
from labeling.actions.imports import set_duplicate_groups
from labeling.models import Dataset, Escalation, EscalationState, ModelVersion, Prediction
from labeling.pipeline.embeddings import EmbeddingFile


def group_duplicates(dataset: Dataset, model: ModelVersion | None = None) -> int:
    """Group the dataset's near duplicates afresh and store each image's group.

    Args:
        model: whose embeddings find the crops and reworkings that hashes miss; None groups by hashes alone.

    Returns:
        the number of groups with more than one image.
    """
    rows = list(dataset.images.order_by("pk").values_list("pk", "phash", "dhash", "sha256", "pixel_sha256"))
    if not rows:
        return 0
    pks = [row[0] for row in rows]
    newest = pks[-1]
    groups = group_near_duplicates(
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.int64),
        # Rows of before the digest of the pixels have that of the bytes.
        [row[4] or row[3] for row in rows],
        _embeddings(dataset, model, pks) if model is not None else None,
    )
    sizes = np.bincount(groups, minlength=len(rows))
    centres = {pk: pks[group] if sizes[group] > 1 else None for pk, group in zip(pks, groups.tolist(), strict=True)}
    set_duplicate_groups(dataset=dataset, centres=centres, up_to=newest)
    return int((sizes > 1).sum())


def groups_to_keep_whole(dataset: Dataset, images: Int64Array, centres: Int64Array) -> Int64Array:
    """The groups that a release must not tear.

    Those that are stored, where they know every image; they may come from embeddings. Images that came since, or came
    back from quarantine, are in none: then near duplicates by hashes are sought among all, and joined to the stored
    groups. Nothing is stored.

    Args:
        images: (N,) pks of images, ascending.
        centres: (N,) pks of their stored groups' centres; their own where they are alone.

    Returns:
        (N,) int64 group numbers from 0.
    """
    _, stored = np.unique(centres, return_inverse=True)
    known_up_to = Dataset.objects.values_list("grouped_up_to", flat=True).get(pk=dataset.pk)
    if images[-1] <= known_up_to and not _came_back(dataset):
        return stored.astype(np.int64)
    hashes, digests = np.zeros((len(images), 2), dtype=np.int64), [""] * len(images)
    at = 0
    rows = dataset.images.order_by("pk").values_list("pk", "phash", "dhash", "sha256", "pixel_sha256")
    for pk, phash, dhash, sha256, pixels in rows.iterator(chunk_size=2000):
        if at < len(images) and pk == images[at]:
            hashes[at], digests[at] = (phash, dhash), pixels or sha256
            at += 1
    by_hash = group_near_duplicates(hashes[:, 0], hashes[:, 1], digests)
    # Each image is joined to its centre by hash, and to its stored group, which are numbered behind the images.
    own, count = np.arange(len(images)), len(images)
    edges = np.concatenate([own, own]), np.concatenate([by_hash, count + stored])
    joined = coo_array((np.ones(2 * count, dtype=np.int8), edges), shape=(2 * count, 2 * count))
    _, groups = connected_components(joined, directed=False)
    return np.unique(groups[:count], return_inverse=True)[1].astype(np.int64)


def _came_back(dataset: Dataset) -> bool:
    """Whether some image of the dataset was in quarantine, and so in no group, and no longer is."""
    released = Escalation.objects.filter(state=EscalationState.RELEASED).values("sha256")
    return dataset.images.filter(sha256__in=released).exists()


def _embeddings(dataset: Dataset, model: ModelVersion, pks: list[int]) -> np.ndarray:
    place = {pk: at for at, pk in enumerate(pks)}
    found = list(
        Prediction.objects.filter(image__dataset=dataset, model_version=model)
        .order_by("image_id")
        .values_list("image_id", "embedding_row")
    )
    rows = EmbeddingFile(dataset, model).rows(np.array([row[1] for row in found], dtype=np.int64))
    if len(found) == len(pks):
        return rows
    # Zeros mean: without embedding.
    every = np.zeros((len(pks), rows.shape[1]), dtype=np.float16)
    every[[place[row[0]] for row in found]] = rows
    return every
