"""Fixtures that every part of the suite may use."""

import signal

import pytest
import pytest_django
from _pytest.runner import runtestprotocol
from django.db import connection

from labeling.models import Dataset, Membership, Person, Role
from labeling.queries.counts import KEEPER
from tests.builders import make_dataset

# A suite that a shell started in the background ignores interrupts, and so would everything that it starts and stops.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_REAL_PROCESSES = ("test_kill.py", "test_scoring_on_ray.py", "test_up.py")


def _may_be_tried_again(item: pytest.Item) -> bool:
    """Whether a test drives a browser, starts or kills real processes, or lets threads race in a real database."""
    racing = item.get_closest_marker("django_db")
    return (
        item.get_closest_marker("browser") is not None
        or item.path.name in _REAL_PROCESSES
        or (racing is not None and bool(racing.kwargs.get("transaction")))
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Try once more what depends on how fast other processes are; the report counts it. What fails twice is wrong."""
    if not _may_be_tried_again(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        for report in reports:
            if report.failed:
                report.outcome = "rerun"  # type: ignore[assignment]
                item.ihook.pytest_runtest_logreport(report=report)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if report.outcome == "rerun":  # type: ignore[comparison-overlap]
        return "tried again", "R", "TRIED AGAIN"
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test was tried again, so that nobody has to guess what was slow."""
    for report in terminalreporter.getreports("tried again"):
        terminalreporter.write_sep("_", f"tried again: {report.nodeid} ({report.when})")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> None:
    """PostgreSQL renews no statistics by itself: it would see tables full of rows that each test takes back, and plan
    the next test's queries for empty ones."""
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"ALTER TABLE {connection.ops.quote_name(table)} SET (autovacuum_enabled = false)")


@pytest.fixture(autouse=True)
def everything_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine any count is slow, and would be kept beyond what a test changes next."""
    KEEPER.forget()
    monkeypatch.setattr(KEEPER, "keeps", False)


@pytest.fixture
def dataset(db: None) -> Dataset:
    """Twelve ranked images of five classes in two splits; see `builders.make_dataset`."""
    return make_dataset(items=12, splits=("train", "train", "test"))


@pytest.fixture
def anna(dataset: Dataset) -> Person:
    """An annotator of the dataset."""
    return member(dataset, "anna", Role.ANNOTATOR)


@pytest.fixture
def ben(dataset: Dataset) -> Person:
    """Another annotator of the dataset."""
    return member(dataset, "ben", Role.ANNOTATOR)


def member(dataset: Dataset, name: str, role: Role) -> Person:
    person, _ = Person.objects.get_or_create(username=name)
    Membership.objects.create(dataset=dataset, person=person, role=role)
    return person
