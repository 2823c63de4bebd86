"""manage.py export_verdicts"""

from collections.abc import Iterator
from typing import Any

from labeling.management.tables import TableCommand
from labeling.models import Dataset
from labeling.queries.interchange import VERDICT_COLUMNS, verdict_log


class Command(TableCommand):
    help = "Print every verdict of a dataset: who, when, why, and whether it stands; import_verdicts reads it."
    columns = VERDICT_COLUMNS

    def rows(self, dataset: Dataset) -> Iterator[dict[str, Any]]:
        return verdict_log(dataset)
