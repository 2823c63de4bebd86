"""What garbage, races, full disks and kills must not do: each of these was found by attacking Winnow from outside."""

import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import numpy as np
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from labeling.actions.claims import hold_claims
from labeling.actions.datasets import dataset_for_import
from labeling.actions.standing import Standing, each_standing
from labeling.actions.verdicts import record_verdict
from labeling.errors import LabelingError, UnknownTaxonomy
from labeling.models import (
    Dataset,
    ModelVersion,
    Person,
    Prediction,
    Role,
    Run,
    RunKind,
    RunRefusal,
    RunState,
    VerdictKind,
)
from labeling.pipeline import cutting
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.exporting import export_release
from labeling.pipeline.importing import ImportSummary, import_images, plan_import
from labeling.pipeline.preparing import needs_ranking
from labeling.queue_filter import QueueFilter
from labeling.tasks import requeue_dead_runs
from labeling.taxonomies import load_taxonomy
from tests.builders import add_images, make_dataset, rank_images, write_class_folders, write_picture
from tests.conftest import member

pytestmark = pytest.mark.django_db
FIVE = load_taxonomy("five")
posix = pytest.mark.skipif(os.name == "nt", reason="such files are a matter of POSIX")


def run_import(root: Path, *, slug: str = "set", labels: Path | None = None) -> ImportSummary:
    plan = plan_import(root, FIVE, labels=labels, mapping={})
    return import_images(dataset_for_import(slug, FIVE), plan)


def refusals(summary: ImportSummary) -> dict[str, str]:
    return dict(RunRefusal.objects.filter(run=summary.run).values_list("path", "code"))


def run(*arguments: str) -> tuple[int, str]:
    """The exit code and what was said, of a command in this process."""
    out = io.StringIO()
    try:
        call_command(*arguments, stdout=out)
    except CommandError as error:
        return error.returncode, str(error)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def command(home: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command in a process and a home of its own."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=os.environ
        | {"DJANGO_SETTINGS_MODULE": "reviewer.settings", "WINNOW_HOME": str(home), "DATABASE_URL": ""}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


# --- importing -------------------------------------------------------------------------------------------------


def test_identical_files_that_are_read_at_the_same_moment_are_all_imported(tmp_path: Path) -> None:
    # Two threads that write the thumbnail of the same bytes must not take each other's partial file away.
    folder = tmp_path / "set" / "neutral"
    for number in range(24):
        first = write_picture(folder / f"img_{number:02}_0.png", seed=number)
        for copy in range(1, 16):
            shutil.copy(first, folder / f"img_{number:02}_{copy:02}.png")
    with mock.patch("os.cpu_count", return_value=8):
        summary = run_import(tmp_path / "set")
    assert refusals(summary) == {}
    assert summary.added == 24 * 16


def test_a_place_for_thumbnails_that_cannot_be_written_stops_the_import_and_never_blames_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same as a full disk: it refused every image as one that "cannot be read", and ended with code 1.
    root = write_class_folders(tmp_path / "set", {"neutral": 3})
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(settings, "THUMBNAILS_ROOT", tmp_path / "file" / "thumbnails")
    with pytest.raises(LabelingError, match=re.escape(str(tmp_path / "file"))):
        run_import(root)
    assert not RunRefusal.objects.exists()
    assert Run.objects.get().state == RunState.FAILED


@pytest.mark.parametrize(
    "broken",
    [
        '{"path": "neutral/a\\u0000b.png", "label": "neutral"}',
        '{"path": "neutral/\\ud800.png", "label": "neutral"}',
        '{"path": "neutral/img_001.png", "label": "neu\\ud800tral"}',
        '{"path": "neutral/img_001.png", "label": "neutral\\u0000"}',
        '{"path": "neutral/img_001.png", "label": "neutral", "split": "tr\\u0000"}',
    ],
    ids=["NUL in a path", "lone surrogate in a path", "lone surrogate in a label", "NUL in a label", "NUL in a split"],
)
def test_a_row_that_no_database_can_hold_is_refused_and_the_rest_goes_on(tmp_path: Path, broken: str) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 2})
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"path": "neutral/img_000.png", "label": "neutral"}\n' + broken + "\n", encoding="utf-8")
    summary = run_import(root, labels=labels)
    assert (summary.added, summary.refused) == (1, 1)


def test_a_source_that_no_database_can_hold_does_not_stop_the_rest(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 2})
    labels = tmp_path / "labels.jsonl"
    rows = [
        {"path": "neutral/img_000.png", "label": "neutral"},
        {"path": "neutral/img_001.png", "label": "neutral", "source": "host\ud800\0"},
    ]
    labels.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert run_import(root, labels=labels).added >= 1


def test_a_huge_field_in_a_csv_costs_its_row_and_not_the_import(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 2})
    labels = tmp_path / "labels.csv"
    labels.write_text(f"path,label\nneutral/img_000.png,neutral\nneutral/img_001.png,{'n' * 200_000}\n")
    summary = run_import(root, labels=labels)
    assert (summary.added, summary.refused) == (1, 1)


@posix
def test_a_pipe_named_in_a_manifest_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 1})
    os.mkfifo(root / "neutral" / "pipe.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nneutral/img_000.png,neutral\nneutral/pipe.png,neutral\n")
    # Held open here, and let go after a while, so that a reader which waits is a failure and not a hang.
    writer = os.open(root / "neutral" / "pipe.png", os.O_RDWR)
    release = threading.Timer(3, os.close, (writer,))
    release.start()
    try:
        summary = run_import(root, labels=labels)
    finally:
        release.join()
    assert refusals(summary) == {"neutral/pipe.png": "not_a_file"}
    assert summary.added == 1


@posix
def test_absolute_paths_in_a_manifest_may_go_through_a_linked_root(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "real", {"neutral": 1})
    link = tmp_path / "link"
    link.symlink_to(root)
    labels = tmp_path / "labels.csv"
    labels.write_text(f"path,label\n{link}/neutral/img_000.png,neutral\n")
    assert run_import(link, labels=labels).added == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_source_folder_whose_own_name_is_not_utf8_is_imported(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    write_class_folders(root, {"neutral": 1})
    summary = run_import(root)
    assert summary.added == 1
    image = Dataset.objects.get().images.select_related("root").get()
    assert image.path == "neutral/img_000.png"


@posix
def test_a_path_too_long_for_an_index_does_not_stop_the_rest(tmp_path: Path) -> None:
    # PostgreSQL's b-tree holds 2,704 bytes; the letters must not compress.
    root = write_class_folders(tmp_path / "set", {"neutral": 1})
    chance = np.random.default_rng(0)
    before = Path.cwd()
    try:
        os.chdir(root / "neutral")
        for _ in range(12):
            part = "".join(chance.choice(list("abcdefghijklmnopqrstuvwxyz0123456789"), 250))
            Path(part).mkdir()
            os.chdir(part)
        shutil.copy(root / "neutral" / "img_000.png", "deep.png")
    finally:
        os.chdir(before)
    assert run_import(root).added >= 1


def test_a_first_import_that_could_use_nothing_leaves_the_name_free(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 1})
    assert run("import_images", str(root), "--dataset", "set", "--taxonomy", "seven")[0] == 2
    code, said = run("import_images", str(root), "--dataset", "set", "--taxonomy", "five")
    assert (code, said) == (0, "set: 1 added, 0 already there, 0 refused.\n")


# --- taxonomies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "../../escaped"},
        {"name": "a/b"},
        {"name": "a\\b"},
        {"name": ".."},
        {"name": "."},
        {"name": "two\nlines"},
        {"name": "nul\0"},
        {"name": "n" * 101},
        {"name": "a", "group": "g" * 101},
        {"name": "a", "harm_rank": 32_768},
    ],
    ids=lambda entry: repr(entry)[:24],
)
def test_a_class_that_cannot_be_a_folder_or_a_row_is_refused_with_its_taxonomy(
    tmp_path: Path, entry: dict[str, Any]
) -> None:
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"classes": [entry, {"name": "other"}]}))
    with pytest.raises(UnknownTaxonomy):
        load_taxonomy(str(file))


# --- runs ------------------------------------------------------------------------------------------------------


def test_a_queued_run_whose_task_was_lost_is_handed_to_the_worker_again(db: None) -> None:
    # A worker that is killed between taking the task and beginning the run leaves the run queued for ever.
    dataset = make_dataset("lost")
    Run.objects.create(dataset=dataset, kind=RunKind.SCORE, state=RunState.QUEUED)
    assert requeue_dead_runs() == 1


def model_version(dataset: Dataset) -> ModelVersion:
    return ModelVersion.objects.create(
        name="small",
        taxonomy=dataset.taxonomy,
        folder="small",
        sha256="0" * 64,
        profile="p",
        embedding_size=4,
        sidecar={},
    )


def predict(dataset: Dataset, version: ModelVersion, by: Run) -> None:
    for row, image in enumerate(dataset.images.filter(predictions__isnull=True).order_by("pk")):
        Prediction.objects.create(
            image=image,
            model_version=version,
            run=by,
            profile="p",
            probabilities=b"\0" * 20,
            predicted_index=0,
            confidence=0.5,
            embedding_row=row,
        )


def test_images_scored_by_an_adopted_run_are_ranked_although_the_run_is_older_than_the_ranking(db: None) -> None:
    dataset = make_dataset("set")
    version = model_version(dataset)
    scoring = Run.objects.create(dataset=dataset, kind=RunKind.SCORE, state=RunState.RUNNING)
    first = add_images(dataset, 4)
    predict(dataset, version, scoring)
    rank_images(dataset, first)
    assert not needs_ranking(dataset)
    # The scoring died before the ranking, and goes on under its old number.
    add_images(dataset, 2, start=4)
    predict(dataset, version, scoring)
    assert needs_ranking(dataset)


def test_embeddings_are_readable_after_a_write_that_was_cut_short(db: None) -> None:
    dataset = make_dataset("torn")
    file = EmbeddingFile(dataset, model_version(dataset))
    rows = np.arange(12, dtype=np.float16).reshape(3, 4)
    file.append(rows)
    with file.path.open("ab") as torn:
        torn.write(b"\x01\x02\x03")
    assert np.array_equal(file.rows(np.array([0, 2])), rows[[0, 2]])


def test_lost_embeddings_are_named_with_what_to_do(db: None) -> None:
    dataset = make_dataset("gone")
    file = EmbeddingFile(dataset, model_version(dataset))
    file.append(np.zeros((3, 4), dtype=np.float16))
    with file.path.open("r+b") as cut:
        cut.truncate(10)
    with pytest.raises(LabelingError, match="score"):
        file.rows(np.array([0, 2]))
    file.path.unlink()
    with pytest.raises(LabelingError, match="score"):
        file.rows(np.array([0, 2]))


# --- releases --------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_verdict_during_a_cut_never_gives_an_entry_a_label_that_its_verdict_does_not_give() -> None:
    dataset = make_dataset("busy", items=6)
    anna = member(dataset, "anna", Role.ANNOTATOR)
    claim = hold_claims(dataset=dataset, reviewer=anna, filters=QueueFilter(), hold=1)[0]
    threads = []

    def relabel() -> None:
        try:
            record_verdict(
                item=claim.item,
                reviewer=anna,
                kind=VerdictKind.RELABEL,
                label=claim.item.suggested_class,
                key=uuid4(),
            )
        finally:
            connection.close()

    def meanwhile(of: Dataset, *, up_to: int) -> Iterator[tuple[int, Standing]]:
        # Whoever cuts in one transaction makes the reviewer wait; the cut then holds the label of before.
        thread = threading.Thread(target=relabel)
        threads.append(thread)
        thread.start()
        thread.join(timeout=2)
        return each_standing(of, up_to=up_to)

    with mock.patch.object(cutting, "each_standing", meanwhile):
        release = cut_release(dataset)
    for thread in threads:
        thread.join()
    for entry in release.entries.select_related("verdict", "image"):
        decided = entry.verdict.label_id if entry.verdict is not None else entry.image.given_class_id
        assert entry.label_id == decided


def test_repeating_an_export_with_a_missing_source_says_the_same_again(tmp_path: Path) -> None:
    # Also what a run meets that was killed between the rename and the end.
    root = write_class_folders(tmp_path / "set", {"train/neutral": 3})
    run_import(root)
    dataset = Dataset.objects.get()
    release = cut_release(dataset)
    (root / "train" / "neutral" / "img_001.png").unlink()
    first = export_release(release, tmp_path / "out")
    assert (first.written, len(first.missing)) == (2, 1)
    again = export_release(release, tmp_path / "out")
    assert (again.written, [one.original_path for one in again.missing]) == (2, ["train/neutral/img_001.png"])


def test_an_export_into_a_source_folder_is_refused(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"train/neutral": 3})
    run_import(root)
    release = cut_release(Dataset.objects.get())
    with pytest.raises(LabelingError, match="source"):
        export_release(release, root / "out")
    assert sorted(path.name for path in root.iterdir()) == ["train"]


# --- the command line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("add_person", ""),
        ("add_person", "n" * 200),
        ("cut_release", "looks", "--note", "n" * 501),
    ],
    ids=["empty name", "long name", "long note"],
)
def test_a_value_out_of_range_is_wrong_usage(dataset: Dataset, arguments: tuple[str, ...]) -> None:
    people = Person.objects.count()
    code, said = run(*arguments)
    assert code == 2
    assert said
    assert Person.objects.count() == people
    assert not dataset.releases.exists()


@pytest.mark.parametrize(
    "arguments", [("list_issues", "looks", "--limit", "-1"), ("up", "--port", "70000"), ("up", "--port", "-1")]
)
def test_a_number_out_of_range_is_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = command(tmp_path / "home", *arguments)
    assert ended.returncode == 2
    assert "expected a whole number" in ended.stderr


def test_a_crash_is_not_mistaken_for_done_with_some_refused(tmp_path: Path) -> None:
    # 1 means: done, some files refused. Python's own exit code for a traceback is 1 as well.
    unreachable = "postgresql://nobody:nothing@127.0.0.1:1/none"
    ended = command(tmp_path / "home", "check_integrity", "--json", DATABASE_URL=unreachable)
    assert ended.returncode not in {0, 1}
    assert "DATABASE_URL" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["home #1", "home?x=1", "50%25 home", "h@me:1"])
def test_the_database_lies_in_its_home_whatever_the_home_is_called(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    ended = command(home, "check_integrity", LOG_LEVEL="ERROR")
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    with sqlite3.connect(home / "winnow.sqlite3") as database, suppress(StopIteration):
        assert database.execute("SELECT count(*) FROM labeling_image").fetchone() == (0,)


def test_a_home_that_cannot_be_one_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am a file")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        ended = command(home, "check_integrity")
        assert ended.returncode not in {0, 1}
        assert "WINNOW_HOME" in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("LOG_LEVEL", "loud"), ("TZ", "Mars/Olympus"), ("DATABASE_URL", "gopher://x")]
)
def test_a_wrong_setting_is_refused_by_its_name(tmp_path: Path, name: str, value: str) -> None:
    ended = command(tmp_path / "home", "check_integrity", **{name: value})
    assert ended.returncode != 0
    assert f"{name} must be" in ended.stderr
