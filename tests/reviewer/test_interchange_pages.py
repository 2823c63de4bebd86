"""The page for verdicts in and out: uploading a file, taking it back, and downloads."""

import csv
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from labeling.models import Dataset, Person, Run, RunKind, Verdict
from labeling.tasks import carry_out
from tests.reviewer.conftest import text

PAGE, BRING = "/d/looks/interchange/", "/d/looks/interchange/verdicts/"


def upload(
    name: str = "done.csv", content: str = "path,label\nimg_0000.jpg,neutral\nnowhere.jpg,porn\n"
) -> dict[str, Any]:
    return {"file": SimpleUploadedFile(name, content.encode()), "reviewer": "teammate"}


def finish(run: Run) -> None:
    assert carry_out.func(run.pk) == "done"


def test_an_uploaded_file_becomes_verdicts_that_can_be_taken_back(
    pictures: Dataset, teammate: Person, as_owner: Client
) -> None:
    assert "Waits for a worker" in text(as_owner.post(BRING, upload(), follow=True))
    run = Run.objects.get(kind=RunKind.VERDICTS)
    assert Path(run.parameters["path"]).read_text().startswith("path,label")
    finish(run)
    page = text(as_owner.get(PAGE))
    assert "1 verdicts of teammate" in page
    assert "1 rows were refused" in page
    assert "1 verdict from done.csv" in page
    assert "Take back 1" in page
    verdict = Verdict.objects.get()
    assert (verdict.reviewer, verdict.kind) == (teammate, "relabel")


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (upload("done.exe"), "Expected a file ending in"),
        ({"reviewer": "teammate"}, "Nothing was imported. File"),
        ({**upload(), "reviewer": "somebody"}, "There is nobody called"),
        ({**upload(), "reviewer": "outsider"}, "no member of looks"),
    ],
)
def test_what_cannot_be_imported_is_said_and_nothing_is_started(
    sent: dict[str, Any], problem: str, pictures: Dataset, teammate: Person, outsider: Person, as_owner: Client
) -> None:
    assert problem in text(as_owner.post(BRING, sent, follow=True))
    assert not Run.objects.filter(kind=RunKind.VERDICTS).exists()


def test_only_an_engineer_brings_verdicts_or_takes_them_along(pictures: Dataset, as_teammate: Client) -> None:
    assert as_teammate.post(BRING, upload()).status_code == 403
    assert as_teammate.get(PAGE + "verdicts.csv").status_code == 403
    assert "An ML engineer" in text(as_teammate.get(PAGE))


@pytest.mark.parametrize(("what", "rows"), [("verdicts", 1), ("labels", 10)])
def test_verdicts_and_labels_are_downloaded_as_they_stand(
    what: str, rows: int, pictures: Dataset, teammate: Person, as_owner: Client
) -> None:
    as_owner.post(BRING, upload())
    finish(Run.objects.get(kind=RunKind.VERDICTS))
    answer = as_owner.get(f"{PAGE}{what}.csv")
    content = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    found = {row["path"]: row for row in csv.DictReader(content.splitlines())}
    assert len(found) == rows
    assert found["img_0000.jpg"]["label"] == "neutral"
    assert f"looks-{what}.csv" in answer.headers["Content-Disposition"]
    assert as_owner.get(f"{PAGE}{what}.xml").status_code == 404
