"""Bands: what a policy makes of probabilities."""

import json
from dataclasses import replace

import numpy as np
import pytest

from inference.bands import Action, Band, ClassRule, PolicyDefinition, bands_of, decide, policy_scores
from inference.errors import ArrayRefused

FIVE = ("drawings", "hentai", "neutral", "porn", "sexy")
GROUPS = PolicyDefinition(
    safe=("drawings", "neutral"), adult=("hentai", "porn", "sexy"), safe_up_to=0.2, adult_from=0.8
)
FLASK = PolicyDefinition(safe=("neutral",), adult=("porn", "sexy"), safe_up_to=0.1, adult_from=0.7)
TRUST = replace(
    GROUPS,
    rules=(
        ClassRule("sexy", 0.5, Action.REVIEW),
        ClassRule("porn", 0.85, Action.BLUR),
        ClassRule("hentai", 0.85, Action.BLUR),
    ),
)


@pytest.mark.parametrize(
    ("row", "band", "action"),
    [
        ((0.1, 0.0, 0.85, 0.05, 0.0), Band.SAFE, Action.ALLOW),
        ((0.3, 0.1, 0.2, 0.2, 0.2), Band.UNKNOWN, Action.REVIEW),
        ((0.0, 0.3, 0.1, 0.3, 0.3), Band.ADULT, Action.BLOCK),
    ],
)
def test_it_sorts_by_two_thresholds(row: tuple[float, ...], band: Band, action: Action) -> None:
    decision = decide(GROUPS, np.array(row, dtype=np.float32), FIVE)
    assert (decision.band, decision.action) == (band, action)


def test_a_class_on_neither_side_leaves_an_image_unknown() -> None:
    """NSFW-FLASK's client: adult is porn + sexy, safe is neutral; hentai is neither."""
    decision = decide(FLASK, np.array([0.0, 1.0, 0.0, 0.0, 0.0]), FIVE)
    assert decision.band == Band.UNKNOWN
    assert decision.scores == {"unsafe": 1.0, "adult": 0.0}


def test_the_thresholds_belong_to_the_bands() -> None:
    binary = PolicyDefinition(safe=("sfw",), adult=("nsfw",), safe_up_to=0.25, adult_from=0.75)
    at_safe, at_adult = np.array([0.75, 0.25]), np.array([0.25, 0.75])
    assert decide(binary, at_safe, ("sfw", "nsfw")).band == Band.SAFE
    assert decide(binary, at_adult, ("sfw", "nsfw")).band == Band.ADULT


def test_a_rule_takes_the_place_of_the_bands_action() -> None:
    decision = decide(TRUST, np.array([0.0, 0.0, 0.05, 0.9, 0.05]), FIVE)
    assert (decision.band, decision.action) == (Band.ADULT, Action.BLUR)
    assert decision.reasons[-1] == "porn at or above 0.85: blur"


def test_what_people_are_asked_to_look_at_is_unknown() -> None:
    decision = decide(TRUST, np.array([0.0, 0.0, 0.05, 0.05, 0.9]), FIVE)
    assert (decision.band, decision.action) == (Band.UNKNOWN, Action.REVIEW)


def test_one_image_is_decided_as_many_are() -> None:
    rows = np.random.default_rng(3).dirichlet(np.full(5, 0.3), 500).astype(np.float32)
    for definition in (GROUPS, FLASK, TRUST):
        together = bands_of(policy_scores(definition, rows, FIVE), definition).tolist()
        assert together == [decide(definition, row, FIVE).band.value for row in rows]
        assert set(together) == {"safe", "unknown", "adult"}


def test_no_rounding_makes_an_image_safe_and_adult() -> None:
    thin = replace(GROUPS, safe_up_to=0.5, adult_from=np.nextafter(0.5, 1))
    rows = np.array([[0.25, 0.25, 0.25, 0.25, 0.0], [0.2500001, 0.25, 0.25, 0.25, 0.0000001]], dtype=np.float32)
    scores = policy_scores(thin, rows, FIVE)
    assert (scores.unsafe >= scores.adult).all()
    assert not ((scores.unsafe <= thin.safe_up_to) & (scores.adult >= thin.adult_from)).any()


def test_a_definition_survives_json() -> None:
    assert PolicyDefinition.from_json(json.loads(json.dumps(TRUST.as_json()))) == TRUST


def test_only_sums_and_review_rules_change_scores() -> None:
    assert TRUST.scores_like(replace(TRUST, safe_up_to=0.01, rules=TRUST.rules[:1]))
    assert not TRUST.scores_like(GROUPS)
    assert not GROUPS.scores_like(FLASK)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"safe_up_to": 0.9}, "cross"),
        ({"safe_up_to": 0.8}, "cross"),
        ({"safe_up_to": float("nan")}, "from 0 to 1"),
        ({"adult_from": 1.5}, "from 0 to 1"),
        ({"safe": ()}, "safe side, received none"),
        ({"safe": ("neutral", "sexy")}, "received sexy on both"),
        ({"rules": (ClassRule("porn", -1, Action.BLUR),)}, "rule for porn"),
    ],
)
def test_it_refuses_a_definition_that_does_not_hold(change: dict[str, object], says: str) -> None:
    with pytest.raises(ArrayRefused, match=says):
        replace(GROUPS, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{}, {**GROUPS.as_json(), "rules": [{"class": "porn"}]}, {"safe": 3}, []])
def test_it_refuses_what_is_no_policy(given: object) -> None:
    with pytest.raises(ArrayRefused, match="policy with the keys"):
        PolicyDefinition.from_json(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "names", "says"),
    [
        (np.ones((1, 5)) / 5, FIVE, "shape"),
        (np.ones(4) / 4, FIVE, "shape"),
        (np.array([np.nan, 0, 0, 0, 1]), FIVE, "NaN"),
        (np.array([2.0, 0, 0, 0, 0]), FIVE, "from 0 to 1"),
        (np.array([0.5, 0.5]), ("sfw", "nsfw"), "the model does not have"),
    ],
)
def test_it_refuses_probabilities_that_do_not_fit(
    row: np.ndarray[tuple[int, ...], np.dtype[np.float64]], names: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ArrayRefused, match=says):
        decide(GROUPS, row, names)


def test_a_rule_holds_for_one_image_where_it_holds_for_many() -> None:
    rule = replace(GROUPS, rules=(ClassRule("sexy", 0.9, Action.REVIEW),))
    row = np.array([0.0, 0.0, 0.1, 0.0, 0.9], dtype=np.float32)
    held = bool(policy_scores(rule, row[np.newaxis], FIVE).held[0])
    assert held == (len(decide(rule, row, FIVE).reasons) == 2)


def test_a_threshold_means_the_number_that_it_says() -> None:
    """.2 as float32 is .200000003, and .9 is .899999976."""
    row = np.array([0.0, 0.0, 0.8, 0.2, 0.0], dtype=np.float32)
    assert decide(GROUPS, row, FIVE).band == Band.SAFE
    exact = replace(GROUPS, adult_from=0.9)
    assert decide(exact, np.array([0.0, 0.0, 0.1, 0.9, 0.0], dtype=np.float32), FIVE).band == Band.ADULT
