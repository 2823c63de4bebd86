"""Values as the pages show them."""

from datetime import UTC, datetime

import pytest

from reviewer.templatetags.winnow import duration, in_past, in_words, moment, spaced


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        ([], "–"),
        (0, "0"),
        (12345, "12,345"),
        (True, "yes"),
        (["one member", "another"], "one member, another"),
        (["A sentence.", "Another."], "A sentence. Another."),
        ({"near_duplicates": 1200}, "1,200 near duplicates"),
        (0.060931899, "0.0609"),
        ([{"share": 0.25, "images": 3}, {"share": 0.5, "images": 1}], "0.25 share, 3 images; 0.5 share, 1 images"),
        ("text", "text"),
    ],
)
def test_a_summary_value_is_shown_in_words(value: object, shown: str) -> None:
    assert in_words(value) == shown


def test_names_verdicts_times_and_durations_read_as_people_write_them() -> None:
    assert spaced("near_duplicate_groups") == "near duplicate groups"
    assert (in_past("relabel"), in_past("unsure")) == ("relabelled", "unsure")
    assert moment(datetime(2026, 11, 21, 4, 13, tzinfo=UTC)) == "21 Nov 2026, 04:13"
    assert duration(200) == "3\u00a0min 20\u00a0s"
