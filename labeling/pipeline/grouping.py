"""Near-duplicate groups of a dataset: from the hashes of the import, and from embeddings where there are any."""

import numpy as np

from inference.duplicates import group_near_duplicates
from labeling.actions.imports import set_duplicate_groups
from labeling.models import Dataset, ModelVersion, Prediction
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
