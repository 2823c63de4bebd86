"""Counting what a person sees in focus mode, and what their comfort settings make of the queue."""

from dataclasses import dataclass, replace
from functools import cached_property

from labeling.actions.wellness import count_view
from labeling.models import Person, ReviewItem
from labeling.queries.counts import KEEPER
from labeling.queries.wellness import (
    ComfortSettings,
    ExposureToday,
    comfort_of,
    exposure_today,
    minutes_without_pause,
)
from labeling.queue_filter import QueueFilter

_MINUTES_SECONDS = 30.0


@dataclass
class Care:
    """What is known of one person's comfort and exposure while one request is answered; each thing is asked once.

    Count what was seen before asking for anything that follows from today's exposure.
    """

    person: Person

    @cached_property
    def comfort(self) -> ComfortSettings:
        return comfort_of(self.person)

    @cached_property
    def today(self) -> ExposureToday:
        return exposure_today(self.person, self.comfort)

    def count_seen(self, item: ReviewItem) -> None:
        """Count that the person has decided or passed over an item, which they saw for that."""
        labels = (item.image.given_class, item.suggested_class)
        count_view(person=self.person, sensitive=any(self.comfort.shields(label) for label in labels))

    def apply(self, filters: QueueFilter) -> QueueFilter:
        """The same part of the queue as this person works on it.

        Once their daily cap is reached, without its sensitive images; with harmless ones in between, if they wish so.
        """
        sensitive = max(1, self.comfort.shield_from_rank)
        if self.today.reached:
            return replace(filters, below_rank=sensitive)
        return replace(filters, mixed_from_rank=sensitive) if self.comfort.interleave else filters

    @cached_property
    def notice(self) -> str:
        """What to tell the person now, in one sentence; empty when there is nothing to tell."""
        if self.today.reached:
            return (
                f"You have seen {self.today.sensitive_views:,} sensitive images today, which is your limit. "
                "Until tomorrow you are offered harmless ones only."
            )
        if not self.comfort.break_minutes:
            return ""
        minutes = KEEPER.counted(
            ("minutes", self.person.pk), lambda: minutes_without_pause(self.person), keep=_MINUTES_SECONDS
        ).value
        if minutes >= self.comfort.break_minutes:
            return f"You have worked for {minutes} minutes without a break. Ten minutes away do good."
        return ""
