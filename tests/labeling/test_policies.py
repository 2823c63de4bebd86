"""Policies: versions, bands of stored and of new predictions, and the queue that follows the unknown band."""

import socket
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from labeling.actions import policies as actions
from labeling.actions.claims import hold_claims
from labeling.actions.policies import record_band_sample
from labeling.actions.predictions import drop_predictions_without_embedding
from labeling.actions.verdicts import record_verdict
from labeling.errors import Conflict, NothingToDo, UnknownClass, WrongUsage
from labeling.explorer_filter import ExplorerFilter
from labeling.models import (
    BandName,
    Dataset,
    Image,
    ImageBand,
    ItemState,
    Person,
    Policy,
    ReviewItem,
    Run,
    RunKind,
    RunState,
    VerdictKind,
)
from labeling.pipeline.policies import (
    Action,
    ClassRule,
    PolicyDefinition,
    apply_policy,
    band_differences,
    decide_image,
    default_definition,
    ensure_policy,
    model_for_policy,
    read_definition,
    save_policy,
)
from labeling.queries.explorer import explorer_page
from labeling.queries.policies import count_bands, newest_policy, policy_in_force
from labeling.queries.queue_part import filtered_items
from labeling.queue_filter import QueueFilter
from tests.builders import add_images, make_dataset, rank_images
from tests.labeling.test_commands import facts, run
from tests.scored import a_model, adult_scores, score_images

pytestmark = pytest.mark.django_db

SCORES = (0.01, 0.15, 0.3, 0.5, 0.7, 0.79, 0.85, 0.99)


@pytest.fixture
def scored(db: None) -> Dataset:
    """`looks`: eight images that nothing ranked, with adult scores from .01 to .99."""
    dataset = make_dataset()
    score_images(dataset, add_images(dataset, len(SCORES)), adult_scores(*SCORES))
    return dataset


def with_default(dataset: Dataset, **changes: object) -> Policy:
    """Save and apply the default policy, with changes."""
    model = model_for_policy(dataset)
    newest = newest_policy(dataset)
    definition = replace(default_definition(model), **changes)  # type: ignore[arg-type]
    policy = save_policy(dataset, definition, model, expected=newest.version if newest else 0)
    apply_policy(dataset)
    return policy


def bands(dataset: Dataset) -> list[str]:
    return list(ImageBand.objects.filter(dataset=dataset).order_by("image_id").values_list("band", flat=True))


def queued(dataset: Dataset) -> list[str]:
    items = ReviewItem.objects.filter(dataset=dataset).order_by("image_id")
    return list(items.values_list("image__banding__band", flat=True))


def test_a_default_policy_sets_harmful_classes_against_the_others(scored: Dataset) -> None:
    with_default(scored)
    assert bands(scored) == ["safe"] * 2 + ["unknown"] * 4 + ["adult"] * 2
    assert list(band_differences()) == []


def test_a_dataset_without_a_policy_gets_the_default_once(scored: Dataset) -> None:
    policy = ensure_policy(scored)
    assert (policy.version, policy.definition["safe_up_to"], policy.definition["adult_from"]) == (1, 0.2, 0.8)
    assert policy_in_force(scored) == policy
    assert ensure_policy(scored) == policy
    assert Run.objects.filter(kind=RunKind.POLICY).count() == 1


def test_unknown_images_are_queued_and_withdrawn_when_their_band_is_known(scored: Dataset) -> None:
    with_default(scored)
    assert queued(scored) == ["unknown"] * 4
    policy = with_default(scored, safe_up_to=0.6)
    assert bands(scored) == ["safe"] * 4 + ["unknown"] * 2 + ["adult"] * 2
    assert queued(scored) == ["unknown"] * 2
    summary = Run.objects.filter(kind=RunKind.POLICY).first()
    assert summary is not None
    assert summary.summary == {
        "dataset": "looks",
        "policy": policy.version,
        "safe": 4,
        "unknown": 2,
        "adult": 2,
        "changed": 2,
        "queued": 0,
        "withdrawn": 2,
    }


def test_what_somebody_judged_or_holds_stays_when_its_band_is_known(scored: Dataset) -> None:
    with_default(scored)
    lena, tom = Person.objects.create(username="lena"), Person.objects.create(username="tom")
    unknown = QueueFilter(band="unknown", order="oldest")
    mine = hold_claims(dataset=scored, reviewer=lena, filters=unknown, hold=1)[0]
    record_verdict(item=mine.item, reviewer=lena, kind=VerdictKind.KEEP, label=None, key=uuid4())
    held = hold_claims(dataset=scored, reviewer=tom, filters=unknown, hold=1)[0]
    with_default(scored, safe_up_to=0.75)
    left = set(ReviewItem.objects.filter(dataset=scored).values_list("pk", flat=True))
    assert {mine.item_id, held.item_id} <= left
    assert len(left) == 3
    assert list(band_differences()) == []


def test_a_ranked_image_keeps_its_item_whatever_its_band(dataset: Dataset) -> None:
    images = list(Image.objects.filter(dataset=dataset).order_by("pk"))
    score_images(dataset, images, adult_scores(*[0.5] * 12))
    before = list(ReviewItem.objects.order_by("pk").values())
    with_default(dataset)
    with_default(dataset, safe_up_to=0.7)
    assert list(ReviewItem.objects.order_by("pk").values()) == before
    assert set(bands(dataset)) == {"safe"}


def test_only_the_unknown_band_is_triaged_in_the_order_that_is_asked_for(scored: Dataset) -> None:
    with_default(scored)
    lena = Person.objects.create(username="lena")

    def first(order: str) -> float:
        claims = hold_claims(dataset=scored, reviewer=lena, filters=QueueFilter(band="unknown", order=order), hold=1)
        score = ImageBand.objects.get(image=claims[0].item.image_id).unsafe
        claims[0].delete()
        return score

    assert first("oldest") == pytest.approx(0.3)
    assert first("riskiest") == pytest.approx(0.79)
    assert filtered_items(scored, QueueFilter(band="unknown")).count() == 4
    assert not filtered_items(scored, QueueFilter()).exists()
    assert QueueFilter.from_query(QueueFilter(band="unknown", order="oldest").query()).order == "oldest"


def test_a_near_duplicate_in_another_band_does_not_hide_an_unknown_image(scored: Dataset) -> None:
    with_default(scored)
    rank_images(scored, list(Image.objects.filter(dataset=scored, item__isnull=True)))
    safe = ReviewItem.objects.get(image__banding__unsafe__lt=0.02)
    unknown = list(ReviewItem.objects.filter(image__banding__band="unknown").order_by("pk"))
    ReviewItem.objects.filter(pk=unknown[0].pk).update(represented_by=safe)
    ReviewItem.objects.filter(pk=unknown[2].pk).update(represented_by=unknown[1])
    shown = filtered_items(scored, QueueFilter(band="unknown")).order_by("pk").values_list("pk", flat=True)
    assert list(shown) == [unknown[0].pk, unknown[1].pk, unknown[3].pk]


def test_new_scores_are_banded_and_queued_as_they_are_written(scored: Dataset) -> None:
    policy = with_default(scored)
    more = add_images(scored, 3, start=100)
    score_images(scored, more, adult_scores(0.05, 0.5, 0.95), policy.model_version)
    assert bands(scored)[-3:] == ["safe", "unknown", "adult"]
    assert ReviewItem.objects.filter(image=more[1]).exists()
    assert list(band_differences()) == []


def test_another_model_writes_no_bands(scored: Dataset) -> None:
    with_default(scored)
    before = bands(scored)
    images = list(Image.objects.filter(dataset=scored).order_by("pk"))
    score_images(scored, images, adult_scores(*[0.5] * 8), a_model(scored, "other"))
    assert bands(scored) == before
    model = a_model(scored, "other")
    save_policy(scored, default_definition(model), model, expected=1)
    apply_policy(scored)
    assert set(bands(scored)) == {"unknown"}


def test_a_prediction_that_is_dropped_takes_its_band_along(scored: Dataset) -> None:
    policy = with_default(scored)
    drop_predictions_without_embedding(dataset=scored, model_version=policy.model_version, rows=6)
    assert len(bands(scored)) == 6
    apply_policy(scored)
    assert list(band_differences()) == []


def test_other_sums_are_added_up_anew_and_keep_each_images_draw(scored: Dataset) -> None:
    with_default(scored)
    draws = dict(ImageBand.objects.values_list("image_id", "draw"))
    model = model_for_policy(scored)
    flask = read_definition(model, safe=["drawings"], adult=["porn", "Sexy"], safe_up_to=0.2, adult_from=0.8)
    save_policy(scored, flask, model, expected=1)
    apply_policy(scored)
    assert bands(scored) == ["unknown"] * 6 + ["adult"] * 2
    assert dict(ImageBand.objects.values_list("image_id", "draw")) == draws
    assert list(band_differences()) == []


def test_a_model_of_another_taxonomy_decides_by_its_own_classes(db: None) -> None:
    dataset = make_dataset(taxonomy="binary")
    images = add_images(dataset, 3)
    five = a_model(make_dataset("five"))
    score_images(dataset, images, adult_scores(0.1, 0.5, 0.9), five)
    policy = ensure_policy(dataset)
    assert policy.definition["adult"] == ["hentai", "porn", "sexy"]
    assert bands(dataset) == ["safe", "unknown", "adult"]
    item = ReviewItem.objects.get(dataset=dataset)
    assert item.suggested_class_id == item.given_class_id
    assert list(band_differences()) == []


def test_a_rule_that_asks_for_people_makes_an_image_unknown(scored: Dataset) -> None:
    policy = with_default(scored, rules=(ClassRule("porn", 0.9, Action.REVIEW),))
    assert bands(scored)[-2:] == ["adult", "unknown"]
    assert decide_image(policy, adult_scores(0.99)[0]).action == Action.REVIEW
    with_default(scored, rules=(ClassRule("porn", 0.9, Action.BLUR),))
    assert bands(scored)[-2:] == ["adult", "adult"]


def test_moving_a_threshold_reads_no_probabilities(scored: Dataset) -> None:
    with_default(scored)
    with CaptureQueriesContext(connection) as queries:
        with_default(scored, adult_from=0.6)
    assert not [query for query in queries if "probabilities" in query["sql"]]
    assert count_bands(scored).adult == 4


def test_bands_change_all_at_once_or_not_at_all(scored: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with_default(scored)
    before = bands(scored)
    definition = replace(default_definition(model_for_policy(scored)), safe_up_to=0.75)
    save_policy(scored, definition, model_for_policy(scored), expected=1)
    monkeypatch.setattr("labeling.pipeline.policies.put_in_force", lambda policy: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        apply_policy(scored)
    assert bands(scored) == before
    in_force = policy_in_force(scored)
    assert in_force is not None
    assert in_force.version == 1
    monkeypatch.undo()
    apply_policy(scored)
    assert bands(scored) != before
    assert list(band_differences()) == []


def test_two_people_who_save_at_once_lose_nothing(scored: Dataset) -> None:
    with_default(scored)
    model = model_for_policy(scored)
    mine = replace(default_definition(model), safe_up_to=0.1)
    theirs = replace(default_definition(model), safe_up_to=0.3)
    save_policy(scored, theirs, model, expected=1, person=Person.objects.create(username="tom"))
    with pytest.raises(Conflict, match=r"Version 2 was saved by tom in the meantime; yours was made from version 1"):
        save_policy(scored, mine, model, expected=1)
    assert [policy.definition["safe_up_to"] for policy in Policy.objects.order_by("version")] == [0.2, 0.3]


def test_two_versions_of_one_number_cannot_be_stored(scored: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both read the same newest version; the database lets one in."""
    first = with_default(scored)
    model = model_for_policy(scored)
    seen = iter([first, *[None] * 9])
    real = newest_policy
    monkeypatch.setattr(actions, "newest_policy", lambda dataset: next(seen) or real(dataset))
    theirs = replace(default_definition(model), safe_up_to=0.3)
    Policy.objects.create(dataset=scored, version=2, model_version=model, definition=theirs.as_json())
    with pytest.raises(Conflict, match="Version 2 was saved"):
        save_policy(scored, replace(theirs, safe_up_to=0.1), model, expected=1)


def test_a_version_is_never_changed(scored: Dataset) -> None:
    policy = with_default(scored)
    with pytest.raises((DatabaseError, IntegrityError), match="never changed"), transaction.atomic():
        Policy.objects.filter(pk=policy.pk).update(note="other")
    with pytest.raises(NothingToDo, match="version 1 says the same"):
        save_policy(scored, default_definition(policy.model_version), policy.model_version, expected=1)


def test_what_cannot_be_meant_is_refused(scored: Dataset) -> None:
    model = model_for_policy(scored)
    safe, adult = ["neutral"], ["porn"]
    with pytest.raises(WrongUsage, match="cross"):
        read_definition(model, safe=safe, adult=adult, safe_up_to=0.8, adult_from=0.2)
    with pytest.raises(UnknownClass, match=r"received 'neutrl'\. Did you mean neutral"):
        read_definition(model, safe=["neutrl"], adult=["porn"], safe_up_to=0.2, adult_from=0.8)
    with pytest.raises(WrongUsage, match="received sexy on both"):
        read_definition(model, safe=["neutral", "sexy"], adult=["adult"], safe_up_to=0.2, adult_from=0.8)
    with pytest.raises(WrongUsage, match="action of allow, blur, review, block"):
        read_definition(model, safe=safe, adult=adult, safe_up_to=0.2, adult_from=0.8, rules=[("porn", 0.5, "burn")])
    with pytest.raises(WrongUsage, match="names hate"):
        save_policy(scored, PolicyDefinition(("neutral",), ("hate",), 0.2, 0.8), model, expected=0)


def test_without_a_model_there_is_nothing_to_decide_by(dataset: Dataset) -> None:
    with pytest.raises(WrongUsage, match="none has scored looks yet"):
        model_for_policy(dataset)
    with pytest.raises(NothingToDo, match="has no policy yet"):
        apply_policy(dataset)


def test_a_run_that_was_killed_is_adopted(scored: Dataset) -> None:
    model = model_for_policy(scored)
    save_policy(scored, default_definition(model), model, expected=0)
    dead = Run.objects.create(
        dataset=scored, kind=RunKind.POLICY, state=RunState.RUNNING, host=socket.gethostname(), parameters={}
    )
    apply_policy(scored)
    dead.refresh_from_db()
    assert dead.state == RunState.DONE
    assert count_bands(scored).images == len(SCORES)


def test_the_explorer_lists_a_band(scored: Dataset) -> None:
    with_default(scored)
    page = explorer_page(scored, ExplorerFilter(band="adult"), None)
    assert [image.path for image in page.images] == ["img_0007.jpg", "img_0006.jpg"]
    assert not explorer_page(scored, ExplorerFilter(band="nothing"), None).images


def test_integrity_reports_a_band_that_is_not_the_policys(scored: Dataset) -> None:
    with_default(scored)
    image = ImageBand.objects.filter(band="safe").first()
    assert image is not None
    ImageBand.objects.filter(pk=image.pk).update(band="adult")
    ReviewItem.objects.filter(image__banding__band="unknown").first().delete()  # type: ignore[union-attr]
    assert next(one.where for one in band_differences()) == f"band of image {image.pk}"
    assert len(list(band_differences())) == 2
    assert run("check_integrity")[0] == 2


def test_a_sample_of_a_side_is_random_blind_and_can_be_judged(scored: Dataset) -> None:
    policy = with_default(scored)
    drawing = Run.objects.create(dataset=scored, kind=RunKind.BAND_SAMPLE, state=RunState.DONE)
    sample = record_band_sample(
        dataset=scored, policy=policy, run=drawing, side=BandName.SAFE, threshold=0.75, wanted=3, person=None
    )
    assert sample.drawn == 3
    filters = QueueFilter(check="safe")
    assert filters.blind
    items = filtered_items(scored, filters)
    draws = sorted(ImageBand.objects.filter(unsafe__lte=0.75).values_list("draw", flat=True))
    assert sorted(items.values_list("image__banding__draw", flat=True)) == draws[:3]
    lena = Person.objects.create(username="lena")
    claim = hold_claims(dataset=scored, reviewer=lena, filters=filters, hold=1)[0]
    assert ImageBand.objects.get(image=claim.item.image_id).draw == draws[0]
    with_default(scored, safe_up_to=0.78)  # a change of the policy withdraws nothing that was drawn
    assert filtered_items(scored, filters).count() == 3
    ReviewItem.objects.update(state=ItemState.SETTLED)
    rank_images(scored, list(Image.objects.filter(dataset=scored, item__isnull=True)))
    ReviewItem.objects.update(state=ItemState.SETTLED)
    with pytest.raises(NothingToDo, match="nothing was drawn"):
        record_band_sample(
            dataset=scored, policy=policy, run=drawing, side=BandName.SAFE, threshold=0.75, wanted=3, person=None
        )


def test_the_commands_set_and_show_a_policy(scored: Dataset) -> None:
    set_it = ("set_policy", "looks", "--safe", "safe", "--adult", "adult", "--adult-from", "0.9")
    summary = facts(*set_it, "--rule", "porn:0.85:blur", "--note", "first")
    assert summary["bands"] == {"safe": 2, "unknown": 5, "adult": 1}
    assert summary["definition"]["rules"] == [{"class": "porn", "at": 0.85, "action": "blur"}]
    shown = facts("show_policy", "looks")
    assert shown["bands"] == {"safe": 2, "unknown": 5, "adult": 1}
    assert shown["definition"]["safe"] == ["drawings", "neutral"]
    assert facts("set_policy", "looks", "--safe-up-to", "0.4")["policy"] == 2
    assert facts("show_policy", "looks", "--policy", "1")["note"] == "first"
    assert facts("show_policy", "looks")["definition"]["rules"] == shown["definition"]["rules"]
    assert "safe up to 0.4" in run("show_policy", "looks")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--safe-up-to", "0.9"), "cross"),
        (("--safe-up-to", "x"), "a number from 0 to 1"),
        (("--rule", "porn"), "CLASS:THRESHOLD:ACTION"),
        (("--rule", "hate:0.5:blur"), "received 'hate'"),
        (("--model", "nothing"), "There is no model"),
        (("--expect", "3"), "has no policy yet"),
    ],
)
def test_the_command_says_what_it_cannot_use(scored: Dataset, arguments: tuple[str, ...], says: str) -> None:
    code, said = run("set_policy", "looks", *arguments)
    assert code == 2 or "Error" in said
    assert says in said
    assert not Policy.objects.filter(applied_at__isnull=False).exists()
