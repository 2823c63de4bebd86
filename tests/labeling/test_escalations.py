"""Escalation and quarantine: what happens to an image, to those like it, and who decides."""

import os
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from inference.inspection import inspect_image
from labeling.actions import escalations as actions
from labeling.actions import imports
from labeling.actions.bulk import decide_group, decide_selection, settle_page
from labeling.actions.claims import hold_claims
from labeling.actions.datasets import dataset_for_import
from labeling.actions.escalations import (
    decide_case,
    escalate,
    log_look,
    set_legal_hold,
    set_permission,
)
from labeling.actions.verdicts import record_verdict, undo_last, undo_own, undo_verdict
from labeling.errors import ClaimLost, Conflict, ExportRefused, NotAllowed, NothingToDo, WrongUsage
from labeling.exporters import targets
from labeling.models import (
    BulkKind,
    Claim,
    Dataset,
    Escalation,
    EscalationEvent,
    EscalationState,
    Image,
    ItemState,
    Person,
    Quarantine,
    ReviewItem,
    Role,
    Run,
    RunKind,
    Verdict,
    VerdictKind,
)
from labeling.pipeline import exporting, importing, scoring
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.exporting import export_release
from labeling.pipeline.grouping import group_duplicates
from labeling.pipeline.importing import ImportSummary, import_images, plan_import, thumbnail_path
from labeling.pipeline.retention import purge_escalations
from labeling.queries.bulk import bulk_actions
from labeling.queries.escalations import is_quarantined
from labeling.queries.integrity import differences
from labeling.queries.ranking import ranking
from labeling.queries.sources import source_list
from labeling.queue_filter import QueueFilter
from labeling.taxonomies import load_taxonomy
from tests.builders import add_images, make_dataset, write_class_folders
from tests.conftest import member
from tests.labeling.test_finding import register

pytestmark = pytest.mark.django_db
FIVE = load_taxonomy("five")


def run_import(root: Path, slug: str = "set") -> ImportSummary:
    return import_images(dataset_for_import(slug, FIVE), plan_import(root, FIVE, labels=None, mapping={}))


def put_away(image: Image, person: Person, note: str = "") -> Escalation:
    escalate(dataset=image.dataset, images=[image.pk], person=person, key=uuid4(), note=note)
    return Escalation.objects.get(quarantined=image.pk)


def first_item(dataset: Dataset) -> ReviewItem:
    return (
        ReviewItem.objects.select_related("image__dataset", "dataset").filter(dataset=dataset).order_by("priority")[0]
    )


def authorised(name: str) -> Person:
    person = Person.objects.create(username=name)
    set_permission(person=person, escalations=True)
    return person


@pytest.fixture
def rita(db: None) -> Person:
    """Somebody with the escalation permission, and no role anywhere."""
    return authorised("rita")


@pytest.fixture
def raul(db: None) -> Person:
    """Another one."""
    return authorised("raul")


# ---- escalating


def test_it_is_one_act_that_hides_the_image_ends_its_claims_and_keeps_its_history(
    dataset: Dataset, anna: Person, ben: Person
) -> None:
    claim = hold_claims(dataset=dataset, reviewer=ben, filters=QueueFilter(), hold=1)[0]
    record_verdict(item=claim.item, reviewer=ben, kind=VerdictKind.KEEP, label=None, key=uuid4())
    held = hold_claims(dataset=dataset, reviewer=ben, filters=QueueFilter(), hold=3)
    item = held[0].item

    done = escalate(dataset=dataset, images=[item.image_id], person=anna, key=uuid4(), note="see the left edge")

    assert (done.images, done.quarantined) == (1, 1)
    assert not Image.objects.filter(pk=item.image_id).exists()
    assert not ReviewItem.objects.filter(pk=item.pk).exists()
    assert not Claim.everything.filter(item=item).exists()
    assert item.pk not in [one.item_id for one in hold_claims(dataset=dataset, reviewer=ben, filters=QueueFilter())]
    verdict = Verdict.everything.get(image=item.image_id)
    assert (verdict.kind, verdict.reviewer) == (VerdictKind.ESCALATE, anna)
    event = EscalationEvent.objects.get()
    assert (event.kind, event.person, event.image_id, event.note) == (
        "escalated",
        anna,
        item.image_id,
        "see the left edge",
    )
    assert Image.everything.filter(pk=item.image_id).exists()
    assert list(differences()) == []


def test_an_act_that_fails_halfway_changes_nothing(dataset: Dataset, anna: Person) -> None:
    image = first_item(dataset).image
    with (
        mock.patch.object(actions, "_centre_on_another", side_effect=RuntimeError("power cut")),
        pytest.raises(RuntimeError),
    ):
        put_away(image, anna)

    assert Image.objects.filter(pk=image.pk).exists()
    assert not Verdict.everything.exists()
    assert not Escalation.objects.exists()
    assert list(differences()) == []


def test_the_same_bytes_in_any_dataset_go_with_it(dataset: Dataset, anna: Person) -> None:
    other = make_dataset("other", items=4)
    image = first_item(dataset).image
    twin = add_images(other, 1, start=50)[0]
    with connection.cursor() as cursor:
        # The trigger keeps an image's hash; identical bytes come in by an import, which is another test.
        cursor.execute(
            "DROP TRIGGER labeling_image_frozen" + (" ON labeling_image" if connection.vendor != "sqlite" else "")
        )
    Image.objects.filter(pk=twin.pk).update(sha256=image.sha256)

    case = put_away(image, anna)

    assert set(case.quarantined.values_list("image", flat=True)) == {image.pk, twin.pk}
    assert [event.kind for event in case.events.all()] == ["escalated", "found"]
    assert other.images.count() == 4


def test_a_repeated_key_escalates_once(dataset: Dataset, anna: Person) -> None:
    image, key = first_item(dataset).image, uuid4()
    for _ in range(2):
        escalate(dataset=dataset, images=[image.pk], person=anna, key=key)
    assert Verdict.everything.count() == 1
    assert EscalationEvent.objects.count() == 1


def test_somebody_else_who_escalates_it_too_is_heard(dataset: Dataset, anna: Person, ben: Person) -> None:
    image = first_item(dataset).image
    case = put_away(image, anna, "first")
    assert put_away(image, ben, "second") == case
    assert list(case.events.values_list("person__username", "note")) == [("anna", "first"), ("ben", "second")]
    assert Escalation.objects.count() == 1


def test_what_cannot_be_escalated_is_refused_with_words(dataset: Dataset, anna: Person) -> None:
    other = make_dataset("other", items=1)
    with pytest.raises(NothingToDo, match="None of these images"):
        escalate(dataset=dataset, images=[first_item(other).image_id], person=anna, key=uuid4())
    with pytest.raises(WrongUsage, match="at most 1,000 characters"):
        escalate(dataset=dataset, images=[first_item(dataset).image_id], person=anna, key=uuid4(), note="x" * 1001)
    assert not Escalation.objects.exists()


def test_the_holder_of_an_escalated_image_is_told_that_it_is_gone(dataset: Dataset, anna: Person, ben: Person) -> None:
    claim = hold_claims(dataset=dataset, reviewer=ben, filters=QueueFilter(), hold=1)[0]
    put_away(claim.item.image, anna)
    with pytest.raises(ClaimLost, match="no longer in the queue"):
        record_verdict(item=claim.item, reviewer=ben, kind=VerdictKind.KEEP, label=None, key=uuid4())
    assert not Verdict.everything.filter(reviewer=ben).exists()


# ---- taking back


def test_it_is_not_taken_back_by_whoever_did_it(dataset: Dataset, anna: Person) -> None:
    claim = hold_claims(dataset=dataset, reviewer=anna, filters=QueueFilter(), hold=1)[0]
    kept = record_verdict(item=claim.item, reviewer=anna, kind=VerdictKind.KEEP, label=None, key=uuid4())
    key = uuid4()
    image = first_item(dataset).image
    while image.pk == kept.image_id:
        image = ReviewItem.objects.exclude(image=image.pk).select_related("image__dataset")[0].image
    escalate(dataset=dataset, images=[image.pk], person=anna, key=key)

    with pytest.raises(Conflict, match="only two authorised people release it"):
        undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    with pytest.raises(Conflict, match="only two authorised people release it"):
        undo_own(dataset=dataset, reviewer=anna, undoes=key, key=uuid4())
    with pytest.raises(Conflict, match="only two authorised people release it"):
        undo_verdict(verdict=Verdict.everything.get(key=key), reviewer=anna, key=uuid4())
    assert not Image.objects.filter(pk=image.pk).exists()
    assert undo_own(dataset=dataset, reviewer=anna, undoes=kept.key, key=uuid4()) is not None


def test_an_earlier_verdict_on_it_is_not_taken_back_either(dataset: Dataset, anna: Person, ben: Person) -> None:
    claim = hold_claims(dataset=dataset, reviewer=ben, filters=QueueFilter(), hold=1)[0]
    verdict = record_verdict(item=claim.item, reviewer=ben, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    put_away(claim.item.image, anna)
    assert undo_last(dataset=dataset, reviewer=ben, key=uuid4()) is None
    with pytest.raises(Conflict, match="no longer"):
        undo_own(dataset=dataset, reviewer=ben, undoes=verdict.key, key=uuid4())


# ---- what it leaves behind


def test_near_duplicates_that_it_stood_for_are_reviewed_on(dataset: Dataset, anna: Person) -> None:
    first, *others = list(ReviewItem.objects.select_related("image__dataset").order_by("priority")[:3])
    ReviewItem.objects.filter(pk__in=[one.pk for one in others]).update(represented_by=first, suspected=False)
    put_away(first.image, anna)

    others = [ReviewItem.objects.get(pk=one.pk) for one in others]
    assert others[0].represented_by_id is None
    assert others[0].suspected
    assert others[1].represented_by_id == others[0].pk


def test_no_group_is_named_by_it_and_no_act_tells_its_number(dataset: Dataset, anna: Person) -> None:
    images = list(Image.objects.order_by("pk")[:3])
    Image.objects.filter(pk__in=[one.pk for one in images]).update(duplicate_group=images[0])
    act = decide_group(centre=images[0], person=anna, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    assert f"group {images[0].pk}" in act.summary
    Image.objects.filter(pk__in=[one.pk for one in images]).update(excluded=True)
    put_away(images[0], anna)

    groups = set(Image.objects.filter(pk__in=[one.pk for one in images]).values_list("duplicate_group", flat=True))
    assert groups == {images[1].pk}
    [row] = bulk_actions(dataset, BulkKind.GROUP)
    assert row.summary == "3 images of the near-duplicate group excluded"


def test_bulk_actions_pass_it_over(dataset: Dataset, anna: Person) -> None:
    items = list(ReviewItem.objects.select_related("image__dataset", "suggested_class").order_by("priority")[:3])
    put_away(items[0].image, anna)
    images = Image.everything.filter(pk__in=[one.image_id for one in items])

    act = decide_selection(
        dataset=dataset,
        images=Image.objects.filter(pk__in=images.values("pk")),
        person=anna,
        kind=VerdictKind.EXCLUDE,
        label=None,
        key=uuid4(),
    )
    assert act.verdicts.count() == 2
    settled = settle_page(
        dataset=dataset,
        reviewer=anna,
        shown=[one.pk for one in items],
        selected=[items[0].pk],
        label=items[0].suggested_class,
        key=uuid4(),
    )
    assert (settled.settled, settled.lost) == (0, 1)
    assert Verdict.everything.filter(image=items[0].image_id).count() == 1


def test_lists_counts_and_failed_runs_do_not_show_it(dataset: Dataset, anna: Person) -> None:
    image = first_item(dataset).image
    source = dataset.sources.create(name="host.example")
    Image.objects.filter(pk__in=[image.pk, image.pk + 1]).update(source=source)
    run = Run.objects.create(dataset=dataset, kind=RunKind.CUT, error=f"1 image carries two labels: {image.path} (a).")
    run.refusals.create(path=image.path, code="unreadable", reason="No.")
    put_away(image, anna)

    assert image.path not in [row.path for row in ranking(dataset)]
    assert source_list(dataset).sources[0].images == 1
    run.refresh_from_db()
    assert image.path not in run.error
    assert run.refusals.count() == 0


def test_a_row_of_its_embedding_is_not_given_to_another_image(dataset: Dataset, anna: Person) -> None:
    model = register("m", dataset)
    image = Image.objects.filter(dataset=dataset).order_by("-pk")[0]
    run = Run.objects.create(dataset=dataset, kind=RunKind.SCORE)
    image.predictions.create(
        model_version=model, run=run, profile="p", probabilities=b"", predicted_index=0, confidence=1, embedding_row=7
    )
    put_away(image, anna)
    assert EmbeddingFile(dataset, model).next_row == 8


def test_scoring_opens_nothing_that_was_escalated_meanwhile(
    tmp_path: Path, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_import(write_class_folders(tmp_path / "set", {"neutral": 6}))
    dataset = Dataset.objects.get(slug="set")
    images = list(dataset.images.order_by("pk"))
    monkeypatch.setattr(scoring, "_LOOK_AGAIN", 2)
    files = scoring._files(dataset.images.all(), mock.Mock())
    assert next(files)[0][0] == images[0].pk

    put_away(images[4], anna)

    assert [key[0] for key, _ in files] == [images[place].pk for place in (1, 2, 3, 5)]


# ---- importing


def test_the_same_bytes_are_hidden_as_they_are_imported_and_never_decoded(tmp_path: Path, anna: Person) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 3})
    run_import(root)
    image = Image.objects.filter(dataset__slug="set").order_by("pk")[0]
    put_away(image, anna)
    again = tmp_path / "again" / "neutral"
    again.mkdir(parents=True)
    shutil.copy(root / image.path, again / "restored.png")
    write_class_folders(tmp_path / "again", {"neutral": 1}, first_seed=40)

    opened: list[str] = []
    real = inspect_image

    def inspect(path: Path, **named: Any) -> Any:
        opened.append(path.name)
        return real(path, **named)

    with mock.patch.object(importing, "inspect_image", inspect):
        summary = run_import(tmp_path / "again", "other")

    assert opened == ["img_000.png"]
    assert summary.added == 1
    restored = Image.everything.get(path="neutral/restored.png")
    assert not Image.objects.filter(pk=restored.pk).exists()
    assert (restored.sha256, restored.phash, restored.width) == (image.sha256, image.phash, image.width)
    assert list(differences()) == []


def test_importing_its_own_folder_again_does_not_read_it_nor_double_it(tmp_path: Path, anna: Person) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 3})
    run_import(root)
    image = Image.objects.filter(dataset__slug="set").order_by("pk")[0]
    put_away(image, anna)
    thumbnail_path(image.sha256).unlink()
    os.utime(root / image.path, (1, 1))

    summary = run_import(root)

    assert (summary.added, summary.unchanged, summary.refused) == (0, 2, 0)
    assert not thumbnail_path(image.sha256).exists()
    assert Image.everything.filter(dataset__slug="set").count() == 3


# ---- releases and exports


@pytest.fixture
def released(tmp_path: Path, anna: Person) -> Any:
    """A dataset of real files with a release, and one of its images."""
    run_import(write_class_folders(tmp_path / "set", {"train/neutral": 4, "test/sexy": 2}))
    dataset = Dataset.objects.get(slug="set")
    return dataset, cut_release(dataset), dataset.images.order_by("pk")[0]


def test_an_export_leaves_it_out_and_says_so(released: Any, tmp_path: Path, anna: Person) -> None:
    _, release, image = released
    put_away(image, anna)
    summary = export_release(release, tmp_path / "out")

    assert summary.written == 5
    assert [one.code for one in summary.missing] == ["in_quarantine"]
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "out").iterdir() if path.is_file())
    names = [path.name for path in (tmp_path / "out").rglob("*")]
    assert image.sha256 not in written + " ".join(names)
    assert image.path not in written + "".join(one.original_path + one.reason for one in summary.missing)
    assert list(differences()) == []


def test_a_copy_that_a_killed_export_had_made_is_removed(released: Any, tmp_path: Path, anna: Person) -> None:
    _, release, image = released
    with (
        mock.patch.object(targets.FolderTarget, "commit", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        export_release(release, tmp_path / "out")
    assert list(tmp_path.rglob(f"{image.sha256}.*"))
    put_away(image, anna)
    export_release(release, tmp_path / "out")
    assert not list(tmp_path.glob(f"**/{image.sha256}.*"))


def test_a_folder_that_was_exported_before_is_named_as_still_holding_it(
    released: Any, tmp_path: Path, anna: Person
) -> None:
    _, release, image = released
    export_release(release, tmp_path / "out")
    put_away(image, anna)
    with pytest.raises(ExportRefused, match="still holds it"):
        export_release(release, tmp_path / "out")


def test_an_escalation_during_an_export_keeps_it_from_being_put_in_place(
    released: Any, tmp_path: Path, anna: Person
) -> None:
    _, release, image = released
    real = exporting._rows

    def rows(*of: Any) -> Any:
        yield from list(real(*of))
        put_away(image, anna)

    with mock.patch.object(exporting, "_rows", rows), pytest.raises(ExportRefused, match="while it was exported"):
        export_release(release, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export_release(release, tmp_path / "out").written == 5
    assert not list(tmp_path.glob(f"**/{image.sha256}.*"))


def test_a_new_release_counts_it_and_does_not_name_it(released: Any, anna: Person) -> None:
    dataset, _, image = released
    put_away(image, anna)
    release = cut_release(dataset)
    assert release.left_out["in quarantine"] == 1
    assert not release.entries.model.everything.filter(release=release, image=image).exists()


# ---- deciding


def test_two_different_people_release_it_back_to_where_it_was(
    dataset: Dataset, anna: Person, rita: Person, raul: Person
) -> None:
    item = first_item(dataset)
    case = put_away(item.image, anna)
    decide_case(case=case, person=rita, release=True, note="a drawing", key=uuid4())
    assert Quarantine.objects.exists()
    with pytest.raises(Conflict, match="a second authorised person"):
        decide_case(case=case, person=rita, release=True, note="", key=uuid4())
    decided = decide_case(case=case, person=raul, release=True, note="", key=uuid4())

    assert decided.state == EscalationState.RELEASED
    assert ReviewItem.objects.get(pk=item.pk).state == ItemState.OPEN
    assert item.pk in [
        one.item_id for one in hold_claims(dataset=dataset, reviewer=anna, filters=QueueFilter(), hold=12)
    ]
    assert list(differences()) == []
    with pytest.raises(Conflict, match="released already"):
        decide_case(case=case, person=rita, release=False, note="", key=uuid4())


def test_a_disagreement_stays_open_until_two_say_the_same(
    dataset: Dataset, anna: Person, rita: Person, raul: Person
) -> None:
    case = put_away(first_item(dataset).image, anna)
    decide_case(case=case, person=rita, release=True, note="", key=uuid4())
    assert decide_case(case=case, person=raul, release=False, note="", key=uuid4()).state == EscalationState.OPEN
    assert decide_case(case=case, person=rita, release=False, note="", key=uuid4()).state == EscalationState.KEPT
    assert Quarantine.objects.count() == 1
    # Kept is not for ever, but the round before does not count for the next.
    assert decide_case(case=case, person=raul, release=True, note="", key=uuid4()).state == EscalationState.KEPT
    assert decide_case(case=case, person=rita, release=True, note="", key=uuid4()).state == EscalationState.RELEASED
    assert list(differences()) == []


def test_whoever_escalated_it_may_be_one_of_the_two_but_never_both(
    dataset: Dataset, rita: Person, raul: Person
) -> None:
    case = put_away(first_item(dataset).image, rita)
    assert decide_case(case=case, person=rita, release=False, note="", key=uuid4()).state == EscalationState.OPEN
    assert decide_case(case=case, person=raul, release=False, note="", key=uuid4()).state == EscalationState.KEPT


def test_nobody_without_the_permission_decides_or_looks_not_even_a_superuser(dataset: Dataset, anna: Person) -> None:
    image = first_item(dataset).image
    case = put_away(image, anna)
    boss = Person.objects.create(username="boss", is_superuser=True)
    for person in (anna, boss):
        with pytest.raises(NotAllowed):
            decide_case(case=case, person=person, release=True, note="", key=uuid4())
        with pytest.raises(NotAllowed):
            set_legal_hold(case=case, person=person, on=True, note="because", key=uuid4())
        with pytest.raises(NotAllowed):
            log_look(case=case, person=person, image=image, reason="curious")
    assert case.events.count() == 1


def test_a_permission_that_was_withdrawn_counts_at_once(dataset: Dataset, anna: Person, rita: Person) -> None:
    case = put_away(first_item(dataset).image, anna)
    set_permission(person=Person.objects.get(pk=rita.pk), escalations=False)
    with pytest.raises(NotAllowed):
        decide_case(case=case, person=rita, release=True, note="", key=uuid4())
    assert list(EscalationEvent.objects.filter(escalation=None).values_list("kind", flat=True)) == [
        "granted",
        "withdrawn",
    ]


def test_a_released_image_can_be_escalated_again_as_a_case_of_its_own(
    dataset: Dataset, anna: Person, rita: Person, raul: Person
) -> None:
    image = first_item(dataset).image
    case = put_away(image, anna)
    for person in (rita, raul):
        decide_case(case=case, person=person, release=True, note="", key=uuid4())
    assert not is_quarantined(image.sha256)
    assert put_away(image, anna) != case
    assert is_quarantined(image.sha256)
    assert list(differences()) == []


def test_a_settled_image_is_settled_again_after_its_release(
    dataset: Dataset, anna: Person, rita: Person, raul: Person
) -> None:
    claim = hold_claims(dataset=dataset, reviewer=anna, filters=QueueFilter(), hold=1)[0]
    record_verdict(item=claim.item, reviewer=anna, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    case = put_away(claim.item.image, anna)
    for person in (rita, raul):
        decide_case(case=case, person=person, release=True, note="", key=uuid4())
    assert ReviewItem.objects.get(pk=claim.item_id).state == ItemState.SETTLED
    assert Image.objects.get(pk=claim.item.image_id).excluded
    assert list(differences()) == []


def test_the_log_cannot_be_changed(dataset: Dataset, anna: Person) -> None:
    put_away(first_item(dataset).image, anna)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        EscalationEvent.objects.update(note="nothing happened")


# ---- retention


def test_our_copies_go_after_the_date_and_never_those_of_a_source_folder(tmp_path: Path, anna: Person) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 3})
    run_import(root)
    image = Image.objects.filter(dataset__slug="set").order_by("pk")[0]
    case = put_away(image, anna)
    days = timedelta(days=settings.ESCALATION_RETENTION_DAYS)
    assert abs(case.retain_until - (timezone.now() + days)) < timedelta(minutes=1)
    assert purge_escalations().waiting == 1
    assert thumbnail_path(image.sha256).exists()
    Escalation.objects.update(retain_until=timezone.now() - timedelta(days=1))

    summary = purge_escalations()

    assert (summary.purged, summary.files) == (1, 1)
    assert not thumbnail_path(image.sha256).exists()
    assert (root / image.path).exists()
    assert is_quarantined(image.sha256)
    assert list(differences()) == []
    assert purge_escalations().purged == 0


def test_an_upload_and_an_export_of_ours_go_with_it(
    tmp_path: Path, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = Path(settings.MEDIA_ROOT) / "uploads"
    run_import(write_class_folders(media / "set", {"neutral": 2}))
    dataset = Dataset.objects.get(slug="set")
    image = dataset.images.order_by("pk")[0]
    monkeypatch.setattr(settings, "EXPORTS_ROOT", tmp_path / "exports")
    release = cut_release(dataset, ratios=(100, 0, 0))
    export_release(release, tmp_path / "exports" / "set-1.0")
    for shards in ("tfrecord", "webdataset"):
        export_release(release, tmp_path / "exports" / f"set-1.0-{shards}", export_format=shards)
    put_away(image, anna)
    Escalation.objects.update(retain_until=timezone.now())

    assert purge_escalations().files == 5
    assert not list((tmp_path / "exports").rglob("train-*"))
    assert not (media / "set" / image.path).exists()
    assert not list((tmp_path / "exports").rglob(f"{image.sha256}*"))
    shutil.rmtree(media)


def test_a_legal_hold_keeps_them(dataset: Dataset, anna: Person, rita: Person) -> None:
    case = put_away(first_item(dataset).image, anna)
    with pytest.raises(WrongUsage, match="Expected a reason"):
        set_legal_hold(case=case, person=rita, on=True, note=" ", key=uuid4())
    set_legal_hold(case=case, person=rita, on=True, note="asked by the police", key=uuid4())
    with pytest.raises(Conflict, match="already"):
        set_legal_hold(case=case, person=rita, on=True, note="again", key=uuid4())
    Escalation.objects.update(retain_until=timezone.now() - timedelta(days=1))
    assert (purge_escalations().purged, purge_escalations().held) == (0, 1)
    set_legal_hold(case=case, person=rita, on=False, note="closed", key=uuid4())
    assert purge_escalations().purged == 1
    assert list(differences()) == []


# ---- integrity and races


def test_check_integrity_finds_a_case_and_a_quarantine_that_do_not_follow_from_the_log(
    dataset: Dataset, anna: Person
) -> None:
    image = first_item(dataset).image
    put_away(image, anna)
    Escalation.objects.update(state=EscalationState.KEPT)
    assert [one.where for one in differences()] == [f"case {Escalation.objects.get().pk}"]
    Escalation.objects.update(state=EscalationState.OPEN)
    Quarantine.objects.all().delete()
    found = list(differences())
    assert len(found) == 1
    assert image.path not in f"{found}"


@pytest.mark.django_db(transaction=True)
def test_of_two_who_release_at_the_same_moment_both_are_counted(anna: Person, dataset: Dataset) -> None:
    case = put_away(first_item(dataset).image, anna)
    together = threading.Barrier(2)
    errors: list[Exception] = []

    def release(person: Person) -> None:
        together.wait()
        try:
            decide_case(case=case, person=person, release=True, note="", key=uuid4())
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=release, args=[authorised(name)]) for name in ("rita", "raul")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    case.refresh_from_db()
    assert case.state == EscalationState.RELEASED
    assert not Quarantine.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_import_and_an_escalation_of_the_same_bytes_never_overlook_each_other(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 2})
    run_import(root)
    image = Image.objects.filter(dataset__slug="set").order_by("pk")[0]
    zoe = member(image.dataset, "zoe", Role.ANNOTATOR)
    again = tmp_path / "again" / "neutral"
    again.mkdir(parents=True)
    shutil.copy(root / image.path, again / "copy.png")
    real = actions.quarantine_known_bytes
    threads: list[threading.Thread] = []

    def escalating() -> None:
        try:
            put_away(image, zoe)
        finally:
            connection.close()

    def meanwhile(added: Any) -> int:
        found = real(added)
        thread = threading.Thread(target=escalating)
        threads.append(thread)
        thread.start()
        time.sleep(0.3)
        return found

    with mock.patch.object(imports, "quarantine_known_bytes", meanwhile):
        run_import(tmp_path / "again", "other")
    for thread in threads:
        thread.join()
    assert Quarantine.objects.count() == 2
    assert list(differences()) == []


def test_images_of_a_group_are_grouped_without_it(dataset: Dataset, anna: Person) -> None:
    image = first_item(dataset).image
    put_away(image, anna)
    group_duplicates(dataset)
    assert Image.everything.get(pk=image.pk).duplicate_group is None


def test_ranked_again_its_row_stays(dataset: Dataset, anna: Person) -> None:
    item = first_item(dataset)
    put_away(item.image, anna)
    ReviewItem.objects.filter(dataset=dataset).update(priority=5)
    assert ReviewItem.everything.get(pk=item.pk).priority == item.priority
