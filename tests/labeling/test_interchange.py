"""Verdicts and labels in and out: what files say, which images they mean, and that nothing is done twice."""

import csv
import json
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command

from labeling.actions.bulk import revert_bulk_action
from labeling.errors import NotAllowed, NothingToDo, WrongUsage
from labeling.importers.decisions import names_of, read_decisions
from labeling.importers.manifests import read_manifest
from labeling.models import BulkAction, Dataset, Image, ItemState, Person, ReviewItem, Role, RunRefusal, Verdict
from labeling.pipeline.interchange import find_reviewer, import_verdicts
from labeling.queries.integrity import differences
from labeling.queries.interchange import current_labels, verdict_log
from tests.builders import add_images, make_dataset, rank_images
from tests.conftest import member

pytestmark = pytest.mark.django_db

ROWS = """path,verdict,label
img_0000.jpg,relabel,neutral
img_0001.jpg,keep,
img_0002.jpg,exclude,
img_0003.jpg,unsure,
"""


def saved(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def labels(dataset: Dataset) -> dict[str, str]:
    return dict(dataset.images.values_list("path", "current_class__name"))


def refusals() -> dict[str, str]:
    return dict(RunRefusal.objects.values_list("path", "code"))


def said(path: Path) -> list[tuple[str, str, str]]:
    return [(one.name, one.kind, one.label) for one in read_decisions(path).named]


# ---- recording


def test_a_file_becomes_verdicts_of_the_person_and_settles_images(
    dataset: Dataset, anna: Person, tmp_path: Path
) -> None:
    summary = import_verdicts(dataset, saved(tmp_path, "done.csv", ROWS), anna)
    assert (summary.recorded, summary.unchanged, summary.refused) == (4, 0, 0)
    assert labels(dataset)["img_0000.jpg"] == "neutral"
    assert dataset.images.get(path="img_0002.jpg").excluded
    states = dict(ReviewItem.objects.values_list("image__path", "state"))
    assert [states[f"img_000{number}.jpg"] for number in range(5)] == [
        "settled",
        "settled",
        "settled",
        "unsure",
        "open",
    ]
    assert set(Verdict.objects.values_list("reviewer__username", flat=True)) == {"anna"}
    assert list(differences()) == []


def test_the_same_file_again_changes_nothing(dataset: Dataset, anna: Person, tmp_path: Path) -> None:
    path = saved(tmp_path, "done.csv", ROWS)
    import_verdicts(dataset, path, anna)
    again = import_verdicts(dataset, path, anna)
    assert (again.recorded, again.unchanged) == (0, 4)
    assert Verdict.objects.count() == 4
    assert BulkAction.objects.count() == 1


def test_an_import_is_one_act_that_can_be_taken_back_and_done_again(
    dataset: Dataset, anna: Person, tmp_path: Path
) -> None:
    path = saved(tmp_path, "done.csv", ROWS)
    before = labels(dataset)
    import_verdicts(dataset, path, anna)
    revert_bulk_action(action=BulkAction.objects.get(), person=anna, key=uuid4())
    assert labels(dataset) == before
    assert not ReviewItem.objects.exclude(state=ItemState.OPEN).exists()
    assert import_verdicts(dataset, path, anna).recorded == 4


def test_a_label_alone_keeps_where_it_is_the_given_one_and_relabels_elsewhere(
    dataset: Dataset, anna: Person, tmp_path: Path
) -> None:
    import_verdicts(dataset, saved(tmp_path, "l.csv", "path,label\nimg_0000.jpg,Drawing\nimg_0001.jpg,Porn\n"), anna)
    assert list(Verdict.objects.order_by("image_id").values_list("kind", "label__name")) == [
        ("keep", None),
        ("relabel", "porn"),
    ]


def test_rows_that_mean_nothing_here_are_listed_and_the_rest_goes_on(
    dataset: Dataset, anna: Person, tmp_path: Path
) -> None:
    rows = ["nowhere.jpg,keep,", "img_0000.jpg,relabel,cats", "img_0001.jpg,kep,", "img_0002.jpg,keep,", ",keep,"]
    text = "\n".join(["path,verdict,label", *rows])
    summary = import_verdicts(dataset, saved(tmp_path, "some.csv", text), anna)
    assert (summary.recorded, summary.refused) == (1, 4)
    assert refusals() == {
        "nowhere.jpg": "unknown_path",
        "img_0000.jpg": "unknown_label",
        "img_0001.jpg": "unknown_verdict",
        "some.csv, line 6": "bad_row",
    }
    reasons = RunRefusal.objects.values_list("reason", flat=True)
    assert any("Did you mean keep" in reason for reason in reasons)
    assert all("some.csv, line" in reason for reason in reasons)


def test_the_last_decision_about_an_image_counts(dataset: Dataset, anna: Person, tmp_path: Path) -> None:
    text = "path,label\nimg_0000.jpg,porn\nimg_0000.jpg,neutral\n"
    assert import_verdicts(dataset, saved(tmp_path, "twice.csv", text), anna).recorded == 1
    assert labels(dataset)["img_0000.jpg"] == "neutral"


def test_where_two_people_are_wanted_an_imported_verdict_is_one_of_them(
    dataset: Dataset, anna: Person, ben: Person, tmp_path: Path
) -> None:
    Dataset.objects.update(verdicts_wanted=2)
    path = saved(tmp_path, "done.csv", "path,label\nimg_0000.jpg,neutral\n")
    import_verdicts(dataset, path, anna)
    item = ReviewItem.objects.get(image__path="img_0000.jpg")
    assert (item.state, item.missing) == (ItemState.OPEN, 1)
    import_verdicts(dataset, path, ben)
    item.refresh_from_db()
    assert (item.state, item.missing) == (ItemState.SETTLED, 0)
    assert labels(dataset)["img_0000.jpg"] == "neutral"
    assert list(differences()) == []


def test_only_somebody_who_may_decide_gives_verdicts(dataset: Dataset, anna: Person) -> None:
    Person.objects.create(username="outsider")
    assert find_reviewer(dataset, "anna") == anna
    with pytest.raises(WrongUsage, match="Did you mean anna"):
        find_reviewer(dataset, "ana")
    with pytest.raises(NotAllowed, match="no member of looks"):
        find_reviewer(dataset, "outsider")


def test_the_command_ends_with_1_and_lists_what_it_refused(
    dataset: Dataset, anna: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, "some.csv", "path,label\nimg_0000.jpg,neutral\nnowhere.jpg,neutral\n")
    with pytest.raises(SystemExit) as ended:
        call_command("import_verdicts", "looks", str(path), reviewer="anna", as_json=True)
    assert ended.value.code == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["recorded"], facts["refused"]) == (1, 1)
    assert facts["refusals"][0]["path"] == "nowhere.jpg"


# ---- which image is meant


def test_an_image_is_found_by_its_hash_its_path_or_the_end_of_an_address(
    dataset: Dataset, anna: Person, tmp_path: Path
) -> None:
    image = dataset.images.get(path="img_0004.jpg")
    text = "\n".join(
        [
            "path,label",
            f"test/sexy/{image.sha256}.jpg,neutral",
            "https://bucket.example/some/where/img_0000.jpg?token=x,neutral",
            "/data/local-files/?d=set/img_0001.jpg,neutral",
            "/data/upload/3/1a2b3c4d-img_0002.jpg,porn",
        ]
    )
    assert import_verdicts(dataset, saved(tmp_path, "names.csv", text), anna).recorded == 4
    assert set(Verdict.objects.values_list("image__path", flat=True)) == {
        "img_0000.jpg",
        "img_0001.jpg",
        "img_0002.jpg",
        "img_0004.jpg",
    }


def test_a_name_that_could_mean_several_images_is_refused(db: None, tmp_path: Path) -> None:
    dataset = make_dataset("twins")
    first, second = add_images(dataset, 2)
    Image.objects.filter(pk=first.pk).update(path="a/same.jpg")
    Image.objects.filter(pk=second.pk).update(path="b/same.jpg")
    anna = member(dataset, "anna", Role.ANNOTATOR)
    text = "path,label\nsame.jpg,neutral\na/same.jpg,neutral\n"
    summary = import_verdicts(dataset, saved(tmp_path, "same.csv", text), anna)
    assert (summary.recorded, refusals()) == (1, {"same.jpg": "unknown_path"})


def test_the_likeliest_path_of_a_name_comes_first() -> None:
    assert names_of("s3://bucket/set/a%20b.jpg") == [
        "s3://bucket/set/a%20b.jpg",
        "bucket/set/a b.jpg",
        "set/a b.jpg",
        "a b.jpg",
    ]
    assert names_of("plain/name?.jpg")[0] == "plain/name?.jpg"


# ---- what files say


def test_label_studio_gives_the_last_choice_that_was_not_cancelled(tmp_path: Path) -> None:
    def annotation(*choices: str, cancelled: bool = False) -> dict[str, Any]:
        result = [{"type": "choices", "from_name": "c", "to_name": "i", "value": {"choices": list(choices)}}]
        return {"id": 1, "was_cancelled": cancelled, "result": result, "completed_by": 1}

    items = [
        {"data": {"image": "a.jpg"}, "annotations": [annotation("porn"), annotation("neutral")]},
        {"data": {"picture": "b.jpg"}, "annotations": [annotation("porn"), annotation("sexy", cancelled=True)]},
        {"data": {"image": "none.jpg"}, "annotations": []},
        {"data": {"image": "two.jpg"}, "annotations": [annotation("porn", "sexy")]},
        {"image": "min.jpg", "choice": "drawings", "annotator": 1},
        "nonsense",
    ]
    found = read_decisions(saved(tmp_path, "export.json", json.dumps(items)))
    assert [(one.name, one.label) for one in found.named] == [
        ("a.jpg", "neutral"),
        ("b.jpg", "porn"),
        ("min.jpg", "drawings"),
    ]
    assert [refusal.path for refusal in found.refusals] == ["two.jpg", "export.json, item 6"]


def test_cvats_class_folders_are_read_from_the_names_in_the_zip_alone(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
        archive.writestr("neutral/neutral_img_0000.jpg", b"not opened")
        archive.writestr("porn/img_0001.jpg", b"")
    assert said(tmp_path / "job.zip") == [("img_0000.jpg", "", "neutral"), ("img_0001.jpg", "", "porn")]


def test_cvats_lists_number_the_classes_of_synsets(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    saved(folder, "synsets.txt", "neutral\nporn\n")
    saved(folder, "train.txt", "set/a b.jpg 1\nc.jpg 0\nd.jpg 7\n")
    assert said(folder) == [("set/a b.jpg", "", "porn"), ("c.jpg", "", "neutral")]
    assert [refusal.code for refusal in read_decisions(folder).refusals] == ["bad_row"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("x.csv", "image,label\na,b\n", "Expected the columns path"),
        ("x.csv", "", "Expected the columns path"),
        ("x.json", "{}", "Label Studio"),
        ("x.zip", "no zip", "not a zip"),
        ("x.txt", "", "Expected a file ending in"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_what_was_expected(
    name: str, text: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(WrongUsage, match=problem):
        read_decisions(saved(tmp_path, name, text))


def test_a_file_that_is_not_there_or_empty_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="no file"):
        read_decisions(tmp_path / "gone.csv")
    with pytest.raises(NothingToDo, match="no decision"):
        read_decisions(saved(tmp_path, "empty.csv", "path,label\n"))


# ---- out, and in again


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_log_of_verdicts_makes_the_same_labels_in_another_copy_of_the_dataset(
    form: str, dataset: Dataset, anna: Person, ben: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_verdicts(dataset, saved(tmp_path, "done.csv", ROWS), anna)
    revert_bulk_action(action=BulkAction.objects.get(), person=ben, key=uuid4())
    import_verdicts(dataset, saved(tmp_path, "more.csv", "path,label\nimg_0005.jpg,porn\nimg_0006.jpg,hentai\n"), ben)
    call_command("export_verdicts", "looks", format=form)
    log = saved(tmp_path, f"log.{form}", capsys.readouterr().out)
    assert sum(1 for _ in verdict_log(dataset)) == 10  # four, four undos, two
    copy = make_dataset("copy")
    rank_images(copy, add_images(copy, 12))
    reader = member(copy, "reader", Role.ANNOTATOR)
    assert import_verdicts(copy, log, reader).recorded == 2
    assert labels(copy) == labels(dataset)
    assert import_verdicts(dataset, log, ben).unchanged == 2


def test_the_labels_go_out_with_who_decided_them_and_in_again_as_a_manifest(
    dataset: Dataset, anna: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_verdicts(dataset, saved(tmp_path, "done.csv", ROWS), anna)
    call_command("export_labels", "looks")
    manifest = saved(tmp_path, "labels.csv", capsys.readouterr().out)
    rows = {row["path"]: row for row in csv.DictReader(manifest.read_text().splitlines())}
    assert len(rows) == 12
    again = read_manifest(manifest, tmp_path)
    assert {record.stored_path: record.label for record in again.records} == labels(dataset)
    assert rows["img_0000.jpg"]["label"] == "neutral"
    assert (rows["img_0000.jpg"]["given_label"], rows["img_0000.jpg"]["decided_by"]) == ("drawings", "anna")
    assert (rows["img_0002.jpg"]["excluded"], rows["img_0004.jpg"]["decided_by"]) == ("1", "")
    assert {path: row["label"] for path, row in rows.items()} == labels(dataset)
    assert [row["path"] for row in current_labels(dataset)] == sorted(rows)
