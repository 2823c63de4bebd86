"""Golden labels from a CSV: which class is right for which image. No Django here."""

import csv
from collections.abc import Iterable

from labeling.errors import NothingToDo, WrongUsage

COLUMNS = ("path", "label")


def read_golden(lines: Iterable[str]) -> dict[str, str]:
    """Path → label of a CSV with the columns `path` and `label`; of a path named twice the last counts.

    Raises:
        WrongUsage: a column is missing, or it is no CSV.
        NothingToDo: it has no rows.
    """
    reader = csv.DictReader(lines, skipinitialspace=True)
    try:
        names = {(name or "").strip().lstrip("\ufeff").casefold(): name for name in reader.fieldnames or []}
        if missing := [column for column in COLUMNS if column not in names]:
            raise WrongUsage(
                f"Expected a first line with the columns path and label, received {', '.join(names) or 'nothing'}; "
                f"{' and '.join(missing)} is missing."
            )
        rows = [(row[names["path"]] or "", row[names["label"]] or "") for row in reader]
    except csv.Error as error:
        raise WrongUsage(f"Expected a CSV with the columns path and label: {error}.") from error
    labels = {path.strip(): label.strip() for path, label in rows if path.strip()}
    if not labels:
        raise NothingToDo("There is no row below the line path,label.")
    return labels
