"""Choosing thresholds: figures along the grid, errors from judged random images alone, and promises that are kept."""

from dataclasses import replace

import numpy as np
import pytest
from django.utils import timezone

from labeling.errors import NothingToDo, WrongUsage
from labeling.models import (
    BandName,
    BulkAction,
    BulkKind,
    Dataset,
    Escalation,
    Image,
    ImageBand,
    ItemState,
    Person,
    Policy,
    Quarantine,
    ReviewItem,
    Verdict,
    VerdictKind,
)
from labeling.pipeline.policies import (
    Action,
    ClassRule,
    apply_policy,
    default_definition,
    model_for_policy,
    save_policy,
)
from labeling.pipeline.thresholds import (
    ASSUMED_SECONDS,
    draw_band_sample,
    figures_at,
    propose,
    tuning_of,
)
from labeling.queries.counts import KEEPER
from labeling.queries.queue_part import filtered_items
from labeling.queue_filter import QueueFilter
from tests.builders import add_images, class_list, make_dataset, rank_images
from tests.scored import adult_scores, score_images

pytestmark = pytest.mark.django_db

COUNT = 1_000


@pytest.fixture
def even(db: None) -> Dataset:
    """`looks`: a thousand images under a default policy; the adult score of image i is i / 1000."""
    dataset = make_dataset()
    images = add_images(dataset, COUNT)
    score_images(dataset, images, adult_scores(*(np.arange(COUNT) / COUNT)))
    model = model_for_policy(dataset)
    save_policy(dataset, default_definition(model), model, expected=0)
    apply_policy(dataset)
    return dataset


def settle(dataset: Dataset, images: list[int], *, adult_above: float) -> None:
    """Settle images as people would: those with a higher score are porn, the others neutral."""
    neutral, porn = class_list(dataset)[2], class_list(dataset)[3]
    high = ImageBand.objects.filter(image__in=images, unsafe__gt=adult_above).values("image_id")
    Image.objects.filter(pk__in=images).update(current_class=neutral)
    Image.objects.filter(pk__in=high).update(current_class=porn)
    rank_images(dataset, list(Image.objects.filter(pk__in=images, item__isnull=True)))
    ReviewItem.objects.filter(image__in=images).update(state=ItemState.SETTLED)
    KEEPER.forget()


def settle_drawn(dataset: Dataset, side: str, *, adult_above: float) -> None:
    items = filtered_items(dataset, QueueFilter(check=side)).exclude(state=ItemState.SETTLED)
    settle(dataset, list(items.values_list("image_id", flat=True)), adult_above=adult_above)


def test_figures_are_counted_as_bands_are(even: Dataset) -> None:
    tuning = tuning_of(even)
    assert tuning is not None
    for low, high in ((0.2, 0.8), (0.0, 1.0), (0.123, 0.124), (0.3, 0.999), (0.7, 0.9)):
        figures = figures_at(tuning, low, high)
        safe = ImageBand.objects.filter(unsafe__lte=low).count()
        adult = ImageBand.objects.filter(adult__gte=high).count()
        assert (figures.safe.images, figures.adult.images) == (safe, adult), (low, high)
        assert figures.unknown == COUNT - safe - adult


def test_the_time_is_the_queue_times_the_median_time_of_a_verdict(even: Dataset) -> None:
    tuning = tuning_of(even)
    assert tuning is not None
    assert (tuning.seconds, tuning.seconds_measured) == (ASSUMED_SECONDS, False)
    lena = Person.objects.create(username="lena")
    images = list(Image.objects.filter(dataset=even).order_by("pk")[:20])
    Verdict.objects.bulk_create(
        Verdict(image=image, reviewer=lena, kind=VerdictKind.KEEP, seconds=2.0 + number % 3)
        for number, image in enumerate(images)
    )
    KEEPER.forget()
    timed = tuning_of(even)
    assert timed is not None
    assert (timed.seconds, timed.seconds_measured) == (3.0, True)
    figures = figures_at(timed, 0.2, 0.8)
    assert figures.seconds == figures.queue * 3


def test_settled_images_do_not_wait(even: Dataset) -> None:
    unknown = ImageBand.objects.filter(band=BandName.UNKNOWN).values_list("image_id", flat=True)
    settle(even, list(unknown[:50]), adult_above=0.5)
    tuning = tuning_of(even)
    assert tuning is not None
    figures = figures_at(tuning, 0.2, 0.8)
    assert (figures.unknown, figures.queue) == (len(unknown), len(unknown) - 50)


def test_errors_are_not_known_before_somebody_judged_random_images(even: Dataset) -> None:
    tuning = tuning_of(even)
    assert tuning is not None
    figures = figures_at(tuning, 0.2, 0.8)
    assert (figures.safe.errors, figures.safe.low, figures.adult.high) == (None, None, None)
    # The riskiest ones are judged first, as a queue would: that tells nothing of the others.
    worst = ImageBand.objects.filter(band=BandName.SAFE).order_by("-draw").values_list("image_id", flat=True)[:50]
    settle(even, list(worst), adult_above=0.1)
    tuning = tuning_of(even)
    assert tuning is not None
    assert figures_at(tuning, 0.2, 0.8).safe.reviewed == 0


def test_expected_errors_come_from_the_drawn_images_with_an_interval(even: Dataset) -> None:
    draw_band_sample(even, side="safe", threshold=0.4, wanted=200)
    settle_drawn(even, "safe", adult_above=0.3)
    tuning = tuning_of(even)
    assert tuning is not None
    at = figures_at(tuning, 0.4, 0.8).safe
    true = ImageBand.objects.filter(unsafe__gt=0.3, unsafe__lte=0.4).count()
    assert at.reviewed == 200
    assert at.low is not None
    assert at.high is not None
    assert at.low < true < at.high
    assert figures_at(tuning, 0.25, 0.8).safe.wrong == 0
    assert tuning.safe.left_to_judge == 0


def test_who_is_unsure_counts_against_a_side(even: Dataset) -> None:
    draw_band_sample(even, side="safe", threshold=0.4, wanted=10)
    settle_drawn(even, "safe", adult_above=2)
    one = filtered_items(even, QueueFilter(check="safe")).first()
    assert one is not None
    ReviewItem.objects.filter(pk=one.pk).update(state=ItemState.UNSURE)
    tuning = tuning_of(even)
    assert tuning is not None
    assert (tuning.safe.reviewed[400], tuning.safe.wrong[400]) == (10, 1)


def test_what_was_escalated_counts_against_the_safe_side(even: Dataset) -> None:
    draw_band_sample(even, side="safe", threshold=0.4, wanted=10)
    settle_drawn(even, "safe", adult_above=2)
    one = filtered_items(even, QueueFilter(check="safe")).first()
    assert one is not None
    case = Escalation.objects.create(sha256=one.image.sha256, retain_until=timezone.now())
    Quarantine.objects.create(image=one.image, item=one, escalation=case)
    tuning = tuning_of(even)
    assert tuning is not None
    assert (tuning.safe.reviewed[400], tuning.safe.wrong[400]) == (10, 1)


def test_a_decision_about_a_source_is_no_judgement(even: Dataset) -> None:
    draw_band_sample(even, side="safe", threshold=0.4, wanted=10)
    settle_drawn(even, "safe", adult_above=2)
    first = filtered_items(even, QueueFilter(check="safe")).order_by("image__banding__draw").first()
    assert first is not None
    lena = Person.objects.create(username="lena")
    KEEPER.forget()
    bulk = BulkAction.objects.create(dataset=even, kind=BulkKind.SOURCE, person=lena, summary="kept")
    Verdict.objects.create(image=first.image, reviewer=lena, kind=VerdictKind.KEEP, bulk=bulk, alone=True)
    tuning = tuning_of(even)
    assert tuning is not None
    assert tuning.safe.reviewed[400] == 0


def test_images_that_came_after_the_draw_do_not_undo_it(even: Dataset) -> None:
    draw_band_sample(even, side="safe", threshold=0.4, wanted=50)
    settle_drawn(even, "safe", adult_above=2)
    policy = Policy.objects.get()
    score_images(even, add_images(even, 300, start=5_000), adult_scores(*[0.1] * 300), policy.model_version)
    tuning = tuning_of(even)
    assert tuning is not None
    assert tuning.safe.reviewed[400] == 50


def test_a_new_sample_goes_on_where_the_last_one_ended(even: Dataset) -> None:
    first = draw_band_sample(even, side="safe", threshold=0.4, wanted=50)
    settle_drawn(even, "safe", adult_above=2)
    second = draw_band_sample(even, side="safe", threshold=0.4, wanted=50)
    assert second.cut > first.cut
    settle_drawn(even, "safe", adult_above=2)
    tuning = tuning_of(even)
    assert tuning is not None
    assert tuning.safe.reviewed[400] == 100


def test_it_says_how_many_more_to_review_and_where(even: Dataset) -> None:
    proposal = propose(even, most_adult=0.02, most_safe=0.02)
    assert proposal.safe.threshold is None
    assert proposal.safe.need is not None
    assert (proposal.safe.need.more, proposal.safe.need.threshold) == (149, 0.2)
    assert proposal.safe.need.available == ImageBand.objects.filter(unsafe__lte=0.2).count()
    draw_band_sample(even, side="safe", threshold=0.2, wanted=149)
    settle_drawn(even, "safe", adult_above=2)
    again = propose(even, most_adult=0.02, most_safe=0.02)
    assert again.safe.threshold is not None
    assert again.safe.threshold >= 0.2
    assert again.safe.at_most is not None
    assert again.safe.at_most <= 0.02


def test_it_proposes_the_widest_thresholds_that_keep_both_promises(even: Dataset) -> None:
    for side, threshold in (("safe", 0.5), ("adult", 0.5)):
        draw_band_sample(even, side=side, threshold=threshold, wanted=500)
        settle_drawn(even, side, adult_above=0.45)
    proposal = propose(even, most_adult=0.02, most_safe=0.02)
    assert proposal.safe.threshold is not None
    assert proposal.adult.threshold is not None
    assert 0.4 < proposal.safe.threshold < 0.47
    assert 0.43 < proposal.adult.threshold <= 0.46
    assert proposal.safe.threshold < proposal.adult.threshold
    assert proposal.safe.images == ImageBand.objects.filter(unsafe__lte=proposal.safe.threshold).count()


def test_where_too_many_are_wrong_a_more_careful_threshold_is_looked_for(even: Dataset) -> None:
    draw_band_sample(even, side="safe", threshold=0.5, wanted=200)
    settle_drawn(even, "safe", adult_above=0.2)
    need = propose(even, most_adult=0.005, most_safe=0.02, safe_up_to=0.5).safe.need
    assert need is not None
    assert need.more is not None
    assert need.threshold <= 0.25
    settle_drawn(even, "safe", adult_above=-1)
    settle(even, list(Image.objects.filter(dataset=even).values_list("pk", flat=True)), adult_above=-1)
    hopeless = propose(even, most_adult=0.005, most_safe=0.02).safe
    assert hopeless.threshold is None


def test_rules_that_hold_images_keep_them_out_of_every_figure(even: Dataset) -> None:
    model = model_for_policy(even)
    held = replace(default_definition(model), rules=(ClassRule("porn", 0.9, Action.REVIEW),))
    save_policy(even, held, model, expected=1)
    apply_policy(even)
    tuning = tuning_of(even)
    assert tuning is not None
    assert tuning.held == ImageBand.objects.filter(held=True).count() == 100
    assert figures_at(tuning, 0.2, 0.8).adult.images == 100
    assert figures_at(tuning, 0.2, 0.95).adult.images == 0


def test_it_refuses_what_cannot_be_drawn_or_promised(even: Dataset) -> None:
    with pytest.raises(WrongUsage, match="side of safe, adult"):
        draw_band_sample(even, side="unknown", threshold=0.2, wanted=5)
    with pytest.raises(WrongUsage, match="number of images"):
        draw_band_sample(even, side="safe", threshold=0.2, wanted=0)
    with pytest.raises(WrongUsage, match="allowed share"):
        propose(even, most_adult=0, most_safe=0.02)
    other = make_dataset("other")
    assert tuning_of(other) is None
    with pytest.raises(NothingToDo, match="in force yet"):
        propose(other, most_adult=0.01, most_safe=0.01)
    with pytest.raises(NothingToDo, match="no sides"):
        draw_band_sample(other, side="safe", threshold=0.2, wanted=5)
