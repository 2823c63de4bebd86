"""Counting what a person sees in focus mode, and what their comfort settings make of the queue."""

from dataclasses import replace

from labeling.actions.wellness import count_view
from labeling.models import Person, ReviewItem
from labeling.queries.wellness import ComfortSettings, exposure_today, minutes_without_pause
from labeling.queue_filter import QueueFilter


def count_seen(person: Person, item: ReviewItem, comfort: ComfortSettings) -> None:
    """Count that the person has decided or passed over an item, which they saw for that."""
    labels = (item.image.given_class, item.suggested_class)
    count_view(person=person, sensitive=any(comfort.shields(label) for label in labels))


def within_cap(person: Person, filters: QueueFilter, comfort: ComfortSettings) -> QueueFilter:
    """The same part of the queue; once the person's daily cap is reached, without its sensitive images."""
    if not exposure_today(person, comfort).reached:
        return filters
    return replace(filters, below_rank=max(1, comfort.shield_from_rank))


def notice_for(person: Person, comfort: ComfortSettings) -> str:
    """What to tell the person now, in one sentence; empty when there is nothing to tell."""
    today = exposure_today(person, comfort)
    if today.reached:
        return (
            f"You have seen {today.sensitive_views:,} sensitive images today, which is your limit. "
            "Until tomorrow you are offered harmless ones only."
        )
    minutes = minutes_without_pause(person) if comfort.break_minutes else 0
    if comfort.break_minutes and minutes >= comfort.break_minutes:
        return f"You have worked for {minutes} minutes without a break. Ten minutes away do good."
    return ""
