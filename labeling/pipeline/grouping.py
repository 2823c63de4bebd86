"""Near-duplicate groups of a dataset, from the hashes of the import."""

import numpy as np

from inference.duplicates import group_near_duplicates
from labeling.actions.imports import set_duplicate_groups
from labeling.models import Dataset


def group_duplicates(dataset: Dataset) -> int:
    """Group the dataset's near duplicates afresh and store each image's group.

    Returns:
        the number of groups with more than one image.
    """
    rows = list(dataset.images.order_by("pk").values_list("pk", "phash", "dhash", "sha256"))
    if not rows:
        return 0
    pks = [row[0] for row in rows]
    groups = group_near_duplicates(
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.int64),
        [row[3] for row in rows],
    )
    sizes = np.bincount(groups, minlength=len(rows))
    centres = {pk: pks[group] if sizes[group] > 1 else None for pk, group in zip(pks, groups.tolist(), strict=True)}
    set_duplicate_groups(dataset=dataset, centres=centres)
    return int((sizes > 1).sum())
