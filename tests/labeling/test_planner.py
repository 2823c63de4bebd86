"""PostgreSQL plans by what it believes about the tables; a long job sees to it that this is not far off."""

import pytest
from django.db import connection

from labeling.actions.planner import inform_planner
from labeling.actions.runs import running
from labeling.models import Dataset, Image, RunKind
from tests.builders import add_images, make_dataset

pytestmark = pytest.mark.django_db
postgresql = pytest.mark.skipif("postgresql" not in connection.vendor, reason="SQLite's planner needs no statistics")


def believed_rows(model: type[Image]) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)", [model._meta.db_table])
        return int(cursor.fetchone()[0])


def believe_it_is_empty() -> None:
    """As after the statistics of rows that somebody had not committed yet."""
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {Image._meta.db_table}")


@postgresql
def test_what_is_far_off_is_counted_again_and_the_rest_left_alone() -> None:
    believe_it_is_empty()
    dataset = make_dataset()
    add_images(dataset, 300)
    assert believed_rows(Image) < 300
    assert Image._meta.db_table in inform_planner()
    assert believed_rows(Image) >= 300
    assert Image._meta.db_table not in inform_planner()


@postgresql
def test_a_run_tells_the_planner_between_its_stages() -> None:
    believe_it_is_empty()
    dataset = make_dataset()
    with running(dataset=dataset, kind=RunKind.IMPORT, parameters={}) as reporter:
        add_images(dataset, 300)
        reporter.stage("another")
        assert believed_rows(Image) >= 300


@pytest.mark.skipif("postgresql" in connection.vendor, reason="of SQLite")
def test_sqlite_is_not_asked(dataset: Dataset, django_assert_num_queries: pytest.FixtureRequest) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert inform_planner() == []
