"""Golden images, blind shares and what is measured with them; and the two commands."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from labeling.actions.claims import hold_claims
from labeling.actions.datasets import set_shares
from labeling.actions.golden import remove_golden, set_golden
from labeling.actions.verdicts import record_verdict, redo_last, undo_last
from labeling.errors import ClaimLost, WrongUsage
from labeling.models import (
    Claim,
    Dataset,
    GoldenAnswer,
    GoldenImage,
    Image,
    ItemState,
    Person,
    ReviewerSkill,
    ReviewItem,
    Verdict,
    VerdictKind,
)
from labeling.pipeline.agreement import measure_agreement, refresh_skills
from labeling.queries.integrity import differences
from labeling.queue_filter import QueueFilter
from tests.builders import class_list, make_dataset

ALL = QueueFilter()


def golden(dataset: Dataset, label: str = "porn", places: slice = slice(5, 7)) -> list[Image]:
    images = list(Image.objects.filter(dataset=dataset).order_by("pk"))[places]
    set_golden(dataset=dataset, labels={image.path: label for image in images}, person=None)
    return images


def answer(claim: Claim, kind: VerdictKind, label: str = "", **more: Any) -> Verdict:
    known = next((one for one in class_list(claim.item.dataset) if one.name == label), None)
    return record_verdict(
        item=claim.item, reviewer=claim.reviewer, kind=kind, label=known, key=uuid4(), seconds=2.0, **more
    )


def hold(dataset: Dataset, person: Person, number: int = 1, **filters: Any) -> list[Claim]:
    dataset.refresh_from_db()
    return hold_claims(dataset=dataset, reviewer=person, filters=QueueFilter(**filters), hold=number)


def test_a_golden_image_goes_before_an_image_of_the_queue_at_the_wanted_rate(dataset: Dataset, anna: Person) -> None:
    images = golden(dataset)
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    claims = hold(dataset, anna, 4)
    assert claims[0].golden
    assert {claim.item.image_id for claim in claims if claim.golden} == {image.pk for image in images}
    assert len(claims) - 2 == len([claim for claim in claims if not claim.golden]) > 0
    set_shares(dataset=dataset, blind_share=0, golden_rate=0)
    Claim.objects.all().delete()
    assert not any(claim.golden for claim in hold(dataset, anna, 6))


def test_its_answer_changes_no_label_and_measures_the_person(dataset: Dataset, anna: Person) -> None:
    golden(dataset)
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    right, wrong = (claim for claim in hold(dataset, anna, 4) if claim.golden)
    saved = answer(right, VerdictKind.RELABEL, "porn")
    assert saved._state.adding, "it is not in the log"
    assert (saved.kind, saved.label) == ("relabel", class_list(dataset)[3])
    answer(wrong, VerdictKind.EXCLUDE)
    assert not Verdict.objects.exists()
    assert list(GoldenAnswer.objects.order_by("id").values_list("right", flat=True)) == [True, False]
    assert ReviewItem.objects.get(pk=right.item_id).state == ItemState.OPEN
    (person,) = measure_agreement(dataset).people
    assert (person.golden.point, person.golden.observations) == (0.5, 2)
    assert person.golden.low is not None
    assert person.golden.low < 0.5
    assert not list(differences())


def test_each_person_is_asked_a_golden_image_once_and_others_too(dataset: Dataset, anna: Person, ben: Person) -> None:
    golden(dataset)
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    for claim in [claim for claim in hold(dataset, anna, 4) if claim.golden]:
        answer(claim, VerdictKind.KEEP)
    assert not any(claim.golden for claim in hold(dataset, anna, 8))
    assert sum(claim.golden for claim in hold(dataset, ben, 4)) == 2


def test_a_repeated_answer_is_the_first_one(dataset: Dataset, anna: Person) -> None:
    golden(dataset)
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    claim, key = hold(dataset, anna)[0], uuid4()
    for _ in range(2):
        record_verdict(item=claim.item, reviewer=anna, kind=VerdictKind.EXCLUDE, label=None, key=key)
    assert GoldenAnswer.objects.count() == 1


def test_undo_and_redo_do_not_tell_a_golden_image_from_another(dataset: Dataset, anna: Person) -> None:
    golden(dataset)
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    claim = hold(dataset, anna)[0]
    answer(claim, VerdictKind.EXCLUDE)
    undone = undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert undone is not None
    assert hold(dataset, anna)[0].item == claim.item
    assert measure_agreement(dataset).people == ()
    assert redo_last(dataset=dataset, reviewer=anna, key=uuid4()) is not None
    assert GoldenAnswer.objects.get().taken_back_at is None
    assert hold(dataset, anna)[0].item != claim.item


def test_golden_images_look_like_the_part_of_the_queue_and_are_no_part_of_the_audit(
    dataset: Dataset, anna: Person
) -> None:
    images = golden(dataset, places=slice(8, 12))
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    asked = [claim.item.image for claim in hold(dataset, anna, 2, split="test") if claim.golden]
    assert asked
    assert {image.split for image in asked} == {"test"} < {image.split for image in images}
    assert not hold(dataset, anna, 4, audit=True)


def test_who_has_seen_an_image_in_the_queue_is_not_asked_it_as_golden(dataset: Dataset, anna: Person) -> None:
    images = golden(dataset, places=slice(0, 1))
    answer(hold(dataset, anna)[0], VerdictKind.KEEP)
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    assert images[0].pk not in {claim.item.image_id for claim in hold(dataset, anna, 4)}


def test_a_golden_image_that_is_one_no_more_is_not_asked(dataset: Dataset, anna: Person) -> None:
    first, second = golden(dataset)
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    hold(dataset, anna, 4)
    assert remove_golden(dataset=dataset, image=first)
    assert {claim.item.image_id for claim in hold(dataset, anna, 4) if claim.golden} == {second.pk}


def test_rows_that_name_no_image_or_no_class_are_refused_and_the_others_used(dataset: Dataset) -> None:
    done = set_golden(
        dataset=dataset,
        labels={"img_0000.jpg": "Drawing", "img_0001.jpg": "exclude", "img_0002.jpg": "cats", "nowhere.jpg": "porn"},
        person=None,
    )
    assert (done.golden, done.refused) == (2, 2)
    assert [path for path, _ in done.refusals] == ["img_0002.jpg", "nowhere.jpg"]
    assert "received 'cats'" in done.refusals[0][1]
    labels = GoldenImage.objects.order_by("image__path").values_list("label__name", flat=True)
    assert list(labels) == ["drawings", None]


def test_the_blind_share_is_the_same_images_for_a_person_every_time(dataset: Dataset, anna: Person) -> None:
    set_shares(dataset=dataset, blind_share=0.5, golden_rate=0)
    first = {claim.item_id: claim.blind for claim in hold(dataset, anna, 12)}
    Claim.objects.all().delete()
    assert {claim.item_id: claim.blind for claim in hold(dataset, anna, 12)} == first
    assert set(first.values()) == {True, False}


def test_a_blind_verdict_keeps_what_was_hidden_and_steering_is_measured(dataset: Dataset, anna: Person) -> None:
    set_shares(dataset=dataset, blind_share=0.5, golden_rate=0)
    for claim in hold(dataset, anna, 12):
        follow = not claim.blind
        label = claim.item.suggested_class.name if follow else claim.item.image.given_class.name
        saved = answer(claim, VerdictKind.RELABEL, label)
        assert saved.blind == claim.blind
        assert (saved.shown_suggestion_id is None) == claim.blind
        assert saved.hidden_suggestion_id == (claim.item.suggested_class_id if claim.blind else None)
    steering = measure_agreement(dataset).steering
    assert steering.hidden.point == 0
    assert steering.shown.point == 1
    assert steering.difference.low is not None
    assert steering.difference.low > 0
    assert steering.hidden.observations + steering.shown.observations <= 12


def test_shares_outside_nought_to_one_are_refused(dataset: Dataset) -> None:
    with pytest.raises(WrongUsage, match=r"blind share from 0 to 1, received 1\.5"):
        set_shares(dataset=dataset, blind_share=1.5, golden_rate=0)


def judged_by_both(dataset: Dataset, anna: Person, ben: Person) -> None:
    """Eight images; ben differs on two of them."""
    Dataset.objects.filter(pk=dataset.pk).update(verdicts_wanted=2)
    for person in (anna, ben):
        for number, claim in enumerate(hold(dataset, person, 8)):
            differs = person == ben and number < 2
            answer(claim, VerdictKind.EXCLUDE if differs else VerdictKind.KEEP)


def test_agreement_is_measured_by_person_class_and_pair(dataset: Dataset, anna: Person, ben: Person) -> None:
    judged_by_both(dataset, anna, ben)
    found = measure_agreement(dataset)
    assert (found.answers, found.compared) == (16, 8)
    assert found.alpha.point == pytest.approx(0.7, abs=0.05)
    assert found.alpha.low is not None
    assert found.alpha.point is not None
    assert found.alpha.low < found.alpha.point
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.images) == ("anna", "ben", 8)
    assert [(row.name, row.agreement.point, row.seconds) for row in found.people] == [
        ("anna", 0.75, 2.0),
        ("ben", 0.75, 2.0),
    ]
    assert sum(row.answers for row in found.classes) == 16


def test_what_was_taken_back_and_put_back_is_measured_as_it_stands(dataset: Dataset, anna: Person, ben: Person) -> None:
    judged_by_both(dataset, anna, ben)
    undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert (measure_agreement(dataset).answers, measure_agreement(dataset).compared) == (15, 7)
    redo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert measure_agreement(dataset).compared == 8


def test_reliability_is_estimated_from_agreement_and_golden_images(dataset: Dataset, anna: Person, ben: Person) -> None:
    judged_by_both(dataset, anna, ben)
    golden(dataset, places=slice(10, 12), label="exclude")
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    for person, kind in ((anna, VerdictKind.EXCLUDE), (ben, VerdictKind.KEEP)):
        for claim in [claim for claim in hold(dataset, person, 2) if claim.golden]:
            answer(claim, kind)
    assert refresh_skills(dataset) == 2
    skills = {skill.person_id: skill.confusion for skill in ReviewerSkill.objects.all()}
    assert skills[anna.pk]["0"]["0"] > skills[ben.pk]["0"]["0"]
    assert all(sum(row.values()) == pytest.approx(1, abs=1e-4) for row in skills[anna.pk].values())


def test_the_command_measures(dataset: Dataset, anna: Person, ben: Person, capsys: pytest.CaptureFixture[str]) -> None:
    judged_by_both(dataset, anna, ben)
    call_command("agreement", "looks", "--refresh-skills")
    said = capsys.readouterr().out
    assert "looks: 16 verdicts, 8 images judged by several people." in said
    assert "anna and ben: Cohen's kappa" in said
    call_command("agreement", "looks", "--json", "--last", "5")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["answers"] == 5
    assert ReviewerSkill.objects.count() == 2


def test_the_command_sets_golden_images_and_tells_what_it_refused(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "golden.csv"
    file.write_text("path,label\nimg_0000.jpg,porn\nimg_0099.jpg,porn\n")
    with pytest.raises(SystemExit) as ended:
        call_command("set_golden", "looks", str(file))
    assert ended.value.code == 1
    assert "1 golden images set, 1 rows refused" in capsys.readouterr().out
    file.write_text("image,class\na,b\n")
    with pytest.raises(CommandError, match="columns path and label, received image, class"):
        call_command("set_golden", "looks", str(file))
    file.write_text("path,label\n")
    with pytest.raises(CommandError, match="no row below"):
        call_command("set_golden", "looks", str(file))
    with pytest.raises(CommandError, match="Expected a CSV in UTF-8"):
        call_command("set_golden", "looks", str(tmp_path / "none.csv"))


def test_a_dataset_without_verdicts_measures_nothing(db: None) -> None:
    found = measure_agreement(make_dataset("empty"))
    assert (found.answers, found.compared, found.alpha.point, found.people) == (0, 0, None, ())
    assert refresh_skills(Dataset.objects.get(slug="empty")) == 0


def test_a_golden_claim_does_not_take_the_slot_of_the_queue(dataset: Dataset, anna: Person, ben: Person) -> None:
    golden(dataset, places=slice(0, 1))
    set_shares(dataset=dataset, blind_share=0, golden_rate=1)
    # The golden image is open in the queue as well: who gets it there decides it, who is asked it as golden does not.
    item = ReviewItem.objects.order_by("priority")[0]
    Claim.objects.create(item=item, reviewer=ben, golden=True, lease_expires_at="2099-01-01T00:00:00Z")
    mine = hold(dataset, anna)[0]
    assert mine.item == item
    assert not mine.golden
    answer(mine, VerdictKind.EXCLUDE)
    answered = Claim.objects.select_related("item__image", "item__dataset", "reviewer").get(reviewer=ben)
    answer(answered, VerdictKind.KEEP)
    assert Image.objects.get(pk=item.image_id).excluded
    with pytest.raises(ClaimLost):
        answer(answered, VerdictKind.KEEP)
