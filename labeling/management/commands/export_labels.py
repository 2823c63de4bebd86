"""manage.py export_labels"""

from collections.abc import Iterator
from typing import Any

from labeling.management.tables import TableCommand
from labeling.models import Dataset
from labeling.queries.interchange import LABEL_COLUMNS, current_labels


class Command(TableCommand):
    help = "Print every image of a dataset with its current label and how that came about."
    columns = LABEL_COLUMNS

    def rows(self, dataset: Dataset) -> Iterator[dict[str, Any]]:
        return current_labels(dataset)
