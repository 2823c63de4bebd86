"""The diff of two releases says what the verdict log between them says."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.actions.escalations import escalate
from labeling.actions.standing import fold
from labeling.actions.verdicts import record_verdict, undo_verdict
from labeling.errors import NothingToDo
from labeling.models import Claim, Dataset, Image, ItemState, Person, Release, Role, Verdict, VerdictKind
from labeling.pipeline.cutting import cut_release
from labeling.queries.release_diff import ADDED, KINDS, MOVED, RELABELLED, REMOVED, Change, changes, release_diff
from tests.builders import add_images, class_list, make_dataset, rank_images
from tests.conftest import member

pytestmark = pytest.mark.django_db


def decide(image: Image, person: Person, kind: VerdictKind, label: str = "") -> Verdict:
    named = {one.name: one for one in class_list(image.dataset)}
    return record_verdict(item=image.item, reviewer=person, kind=kind, label=named.get(label), key=uuid4())


def take_back(verdict: Verdict) -> None:
    """By who gave it; the claim that comes with it is given up."""
    undo_verdict(verdict=verdict, reviewer=verdict.reviewer, key=uuid4())
    Claim.objects.filter(item__image=verdict.image).delete()


def listed(before: Release, after: Release, kind: str) -> dict[str, Change]:
    return {change.path: change for change in changes(before, after, kind)}


def test_a_changed_label_says_from_what_to_what_by_whom_when_and_why(dataset: Dataset, anna: Person) -> None:
    before = cut_release(dataset)
    image = dataset.images.order_by("pk")[0]
    verdict = decide(image, anna, VerdictKind.RELABEL, "porn")
    after = cut_release(dataset)
    [change] = changes(before, after, RELABELLED)
    assert (change.path, change.label_before, change.label_after) == (image.path, "drawings", "porn")
    assert (change.decision, change.by, change.at) == ("relabel", "anna", verdict.created_at)
    diff = release_diff(before, after)
    assert [(flow.before.name, flow.after.name, flow.images) for flow in diff.flows] == [("drawings", "porn", 1)]
    assert [(one.person, one.kind, one.images) for one in diff.deciders] == [("anna", "relabel", 1)]
    assert {one.label.name: one.gained for one in diff.balance if one.gained} == {"drawings": -1, "porn": 1}
    assert (diff.same, diff.confirmed) == (11, 0)


def test_a_label_that_an_undo_brought_back_is_the_undos(dataset: Dataset, anna: Person, ben: Person) -> None:
    image = dataset.images.order_by("pk")[0]
    verdict = decide(image, anna, VerdictKind.RELABEL, "porn")
    before = cut_release(dataset)
    take_back(verdict)
    after = cut_release(dataset)
    decide(image, ben, VerdictKind.RELABEL, "sexy")  # after the cut, so it is not what happened between them
    [change] = changes(before, after, RELABELLED)
    assert (change.label_before, change.label_after, change.decision, change.by) == ("porn", "drawings", "undo", "anna")
    assert [(one.person, one.kind) for one in release_diff(before, after).deciders] == [("anna", "undo")]


def test_images_are_added_and_removed_with_the_reason(dataset: Dataset, anna: Person) -> None:
    before = cut_release(dataset)
    gone = dataset.images.order_by("pk")[0]
    decide(gone, anna, VerdictKind.EXCLUDE)
    [new] = add_images(dataset, 1, splits=("test",), start=700)
    after = cut_release(dataset)
    [removed] = changes(before, after, REMOVED)
    assert (removed.path, removed.label_before, removed.label_after) == (gone.path, "drawings", "")
    assert (removed.split_before, removed.decision, removed.by) == ("train", "exclude", "anna")
    [added] = changes(before, after, ADDED)
    assert (added.path, added.split_before, added.split_after, added.by) == (new.path, "", "test", "")
    diff = release_diff(before, after)
    assert dict(diff.counts) == {"relabelled": 0, "added": 1, "removed": 1, "moved": 0}
    assert [row.images for row in diff.splits_before] == [8, 0, 4]
    assert [row.images for row in diff.splits_after] == [7, 0, 5]


def test_a_moved_image_is_named_with_both_splits(dataset: Dataset) -> None:
    """Nothing of Winnow moves one; a release of an earlier version of it might have."""
    before = cut_release(dataset)
    image = dataset.images.filter(split="train").order_by("pk")[0]
    add_images(dataset, 1, splits=("train",), start=700)
    after = cut_release(dataset)
    with transaction.atomic():
        after.entries.filter(image=image).delete()
        after.entries.create(image=image, sha256=image.sha256, split="test", label=image.given_class)
        [change] = changes(before, after, MOVED)
    assert (change.path, change.split_before, change.split_after) == (image.path, "train", "test")
    assert release_diff(before, after).moved == 1


def test_the_model_before_and_after_is_named(dataset: Dataset, anna: Person) -> None:
    before = cut_release(dataset)
    images = add_images(dataset, 1, splits=("train",), start=700)
    ranked = rank_images(dataset, images)
    run = ranked[0].run
    run.summary = {"model": "newer v2"}
    run.save()
    diff = release_diff(before, cut_release(dataset))
    assert (diff.model_before, diff.model_after) == ("nsfwjs-mobilenet-v2 v1", "newer v2")


def test_what_is_in_quarantine_is_on_no_side(dataset: Dataset, anna: Person) -> None:
    before = cut_release(dataset)
    image = dataset.images.order_by("pk")[0]
    decide(image, anna, VerdictKind.RELABEL, "porn")
    after = cut_release(dataset)
    escalate(dataset=dataset, images=[image.pk], person=anna, key=uuid4())
    diff = release_diff(before, after)
    assert dict(diff.counts) == dict.fromkeys(KINDS, 0)
    assert diff.deciders == ()
    assert not [change for kind in KINDS for change in changes(before, after, kind)]


def test_pages_go_on_where_the_last_one_ended(dataset: Dataset, anna: Person) -> None:
    before = cut_release(dataset)
    for image in dataset.images.all():
        decide(image, anna, VerdictKind.RELABEL, "porn" if image.given_class.name != "porn" else "sexy")
    after = cut_release(dataset)
    whole = list(changes(before, after, RELABELLED))
    assert len(whole) == 12
    first = list(changes(before, after, RELABELLED, limit=5))
    rest = list(changes(before, after, RELABELLED, beyond=first[-1].sha256, limit=100))
    assert first + rest == whole


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_diff_is_the_verdict_log_between_two_releases(data: st.DataObject) -> None:
    with transaction.atomic():
        dataset = make_dataset("log", items=8, splits=("train", "test"))
        people = [member(dataset, name, Role.ANNOTATOR) for name in ("one", "two")]
        labels = [one.name for one in class_list(dataset)]
        releases, bounds = [], []
        for _ in range(2):
            for _ in range(data.draw(st.integers(1, 14))):
                _happen(data, dataset, people, labels)
            try:
                releases.append(cut_release(dataset))
            except NothingToDo:
                transaction.set_rollback(True)
                return
            bounds.append(Verdict.objects.order_by("-pk").values_list("pk", flat=True).first() or 0)
        before, after = releases
        states = [_by_the_log(dataset, bound) for bound in bounds]
        relabelled = {
            path: (states[0][path], states[1][path])
            for path in states[0].keys() & states[1].keys()
            if states[0][path] != states[1][path]
        }
        found = listed(before, after, RELABELLED)
        assert {path: (one.label_before, one.label_after) for path, one in found.items()} == relabelled
        assert listed(before, after, ADDED).keys() == states[1].keys() - states[0].keys()
        assert listed(before, after, REMOVED).keys() == states[0].keys() - states[1].keys()
        for path, one in {**found, **listed(before, after, REMOVED)}.items():
            log = Verdict.objects.filter(image__path=path, pk__gt=bounds[0], pk__lte=bounds[1])
            assert (one.by, one.decision, one.at) in {
                (verdict.reviewer.username, verdict.kind, verdict.created_at) for verdict in log
            }
        diff = release_diff(before, after)
        assert (diff.relabelled, diff.same) == (len(relabelled), len(states[0].keys() & states[1]) - len(relabelled))
        assert {(flow.before.name, flow.after.name): flow.images for flow in diff.flows} == Counter(relabelled.values())
        assert sum(one.images for one in diff.deciders) == diff.relabelled
        transaction.set_rollback(True)


def _happen(data: st.DataObject, dataset: Dataset, people: list[Person], labels: list[str]) -> None:
    image = data.draw(st.sampled_from(list(dataset.images.select_related("item").order_by("pk"))))
    standing = list(Verdict.objects.filter(image=image, undone_by=None).exclude(kind=VerdictKind.UNDO))
    takes_back: bool = data.draw(st.booleans())
    if standing and takes_back:
        take_back(standing[-1])
    elif image.item.state == ItemState.OPEN:
        kind = data.draw(st.sampled_from([VerdictKind.KEEP, VerdictKind.EXCLUDE, VerdictKind.RELABEL]))
        others = [label for label in labels if label != image.given_class.name]
        label = data.draw(st.sampled_from(others)) if kind == VerdictKind.RELABEL else ""
        decide(image, data.draw(st.sampled_from(people)), kind, label)


def _by_the_log(dataset: Dataset, bound: int) -> dict[str, str]:
    """Path → label of what belongs into a release after this verdict, by folding the log afresh."""
    names = {one.pk: one.name for one in class_list(dataset)}
    found = {}
    for image in dataset.images.all():
        standing = fold(image.given_class_id, Verdict.objects.filter(image=image, pk__lte=bound).order_by("pk"))
        if not standing.excluded:
            found[image.path] = names[standing.current_class_id]
    return found


# ---- the command


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("diff_releases", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_it_in_words_in_json_and_in_a_file(dataset: Dataset, anna: Person, tmp_path: Path) -> None:
    cut_release(dataset)
    image = dataset.images.order_by("pk")[0]
    decide(image, anna, VerdictKind.RELABEL, "porn")
    decide(dataset.images.order_by("pk")[1], anna, VerdictKind.KEEP)
    cut_release(dataset)
    said = command("looks", "1.0", "1.1")
    assert "1 relabelled, 0 added, 0 removed, 0 moved, 11 the same" in said
    assert "1 from drawings to porn" in said
    assert "1 by anna (relabel)" in said
    assert "1 labels confirmed" in said
    facts: dict[str, Any] = json.loads(command("looks", "1.0", "1.1", "--json").splitlines()[-1])
    assert facts["labels"] == [["drawings", "porn", 1]]
    assert facts["classes"]["porn"] == [2, 3]
    for name in ("changes.csv", "changes.jsonl"):
        command("looks", "1.0", "1.1", "--changes", str(tmp_path / name))
    with (tmp_path / "changes.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["path"], row["kind"], row["by"]) == (image.path, "relabelled", "anna")
    assert json.loads((tmp_path / "changes.jsonl").read_text())["label_after"] == "porn"
    with pytest.raises(CommandError, match="cannot be written"):
        command("looks", "1.0", "1.1", "--changes", str(tmp_path / "changes.csv"))
    with pytest.raises(CommandError, match=r"no release '9\.9'"):
        command("looks", "1.0", "9.9")
