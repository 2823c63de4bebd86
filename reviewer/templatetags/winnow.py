"""Chips, numbers and links as Winnow shows them."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import reverse
from django.utils import dateformat, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from labeling.models import Dataset, Image, TaxonomyClass

register = template.Library()

SHAPES = {"safe": "●", "unknown": "◐", "adult": "■", "plain": "◆"}
_IN_PAST = {
    "keep": "kept",
    "relabel": "relabelled",
    "exclude": "excluded",
    "undo": "undone",
    "ask": "sent to more people",
    "reopen": "reopened",
}
_SAFE_GROUPS = {"safe", "sfw"}


def tone(label: TaxonomyClass) -> str:
    """`adult`, `safe`, or `plain` for a class of a taxonomy that is not about harm."""
    if label.harm_rank > 0:
        return "adult"
    return "safe" if label.group.casefold() in _SAFE_GROUPS else "plain"


@register.filter(name="tone")
def tone_filter(label: TaxonomyClass) -> str:
    return tone(label)


@register.simple_tag
def given_chip(label: TaxonomyClass) -> SafeString:
    return _chip(label, "given", "given label")


@register.simple_tag
def suggested_chip(label: TaxonomyClass) -> SafeString:
    return _chip(label, "suggested", "suggested label")


def _chip(label: TaxonomyClass, kind: str, word: str) -> SafeString:
    return format_html(
        '<span class="chip chip-{} tone-{}" title="{}"><span class="shape" aria-hidden="true">{}</span> '
        '<span class="visually-hidden">{} </span>{}</span>',
        kind,
        tone(label),
        word,
        SHAPES[tone(label)],
        word,
        label.name,
    )


@register.simple_tag
def shape(label: TaxonomyClass) -> SafeString:
    return format_html('<span class="shape tone-{}" aria-hidden="true">{}</span>', tone(label), SHAPES[tone(label)])


@register.simple_tag(takes_context=True)
def key(context: dict[str, Any], own: str) -> SafeString:
    """A key as this person finds it on the keyboard; `own` is its name on Winnow's own map."""
    return format_html("<kbd>{}</kbd>", key_place(context, own).upper())


@register.simple_tag(takes_context=True)
def key_place(context: dict[str, Any], own: str) -> str:
    request = context.get("request")
    moved = getattr(request.user, "keys", {}) if request is not None else {}
    return str(moved.get(own, own))


@register.simple_tag(takes_context=True)
def moved_keys(context: dict[str, Any]) -> str:
    """Every moved key for the page's code, as `k:j,j:k`."""
    request = context.get("request")
    moved = getattr(request.user, "keys", {}) if request is not None else {}
    return ",".join(f"{own}:{place}" for own, place in sorted(moved.items()))


@register.filter
def thousands(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


@register.filter
def percent(share: float | None) -> str:
    """0..1 as a percentage; never rounded to a certainty that it is not."""
    if share is None:
        return "–"
    if 0.995 <= share < 1:
        return "> 99 %"
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


@register.filter
def percent_1(share: float | None) -> str:
    """0..1 as a percentage with one decimal, where a point more or less is what is looked for."""
    return "–" if share is None else f"{100 * share:.1f}\u00a0%"


@register.filter
def tenths(share: float) -> str:
    """0..1 as a percentage with one decimal, beside another that has the sign already."""
    return f"{100 * share:.1f}"


@register.filter
def points(difference: float) -> str:
    """A difference of two shares in points of a percent, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "\u2212")


@register.filter
def p_value(value: float) -> str:
    """The probability of a test as people write it: .031, or < .001."""
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


@register.filter
def score(number: float) -> str:
    """A score or a threshold without zeros that say nothing: 0.2, 0.995."""
    return f"{number:g}"


@register.filter
def share_of(part: int, whole: int) -> str:
    return percent(part / whole) if whole else "–"


@register.filter
def age(seconds: float) -> str:
    """Seconds in the one unit that fits: 5 min, 3 h, 2 d."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)}\u00a0{unit}"
    return f"{int(max(seconds, 0))}\u00a0s"


@register.filter
def day(moment: datetime) -> str:
    return dateformat.format(timezone.localtime(moment), "j M Y")


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds as people say them: 40 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return "–"
    total = int(timedelta(seconds=max(seconds, 0)).total_seconds())
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours}\u00a0h {minutes}\u00a0min"
    if minutes:
        return f"{minutes}\u00a0min {rest}\u00a0s"
    return f"{rest}\u00a0s" if total or seconds <= 0 else f"{seconds:.1f}\u00a0s"


@register.filter
def moment(when: datetime | None) -> str:
    """A time in the server's zone, to the minute: 21 Nov 2026, 04:13."""
    return dateformat.format(timezone.localtime(when), "j M Y, H:i") if when else "–"


@register.filter
def spaced(name: str) -> str:
    """The name of a field as people read it."""
    return name.replace("_", " ")


@register.filter
def in_words(value: object) -> str:
    """A value of a run's summary: lists in a row, numbers with thousands, and a dash for nothing."""
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        sentences = all(isinstance(part, str) and part.endswith(".") for part in value)
        between = " " if sentences else "; " if any(isinstance(part, dict) for part in value) else ", "
        return between.join(in_words(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{in_words(part)} {spaced(str(name))}" for name, part in value.items())
    return str(value)


@register.filter
def in_past(kind: str) -> str:
    """What became of images that were given this kind of verdict."""
    return _IN_PAST.get(kind, kind)


@register.filter
def byte_size(size: int) -> str:
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


@register.simple_tag
def file_url(dataset: Dataset, image: Image) -> str:
    """The image's file; the hash in the link tells a changed file from the one that a page had shown."""
    return reverse("image_file", args=[dataset.slug, image.pk]) + f"?v={image.sha256[:12]}"


@register.simple_tag
def thumbnail_url(dataset: Dataset, image: Image) -> str:
    return reverse("image_thumbnail", args=[dataset.slug, image.pk]) + f"?v={image.sha256[:12]}"


@register.simple_tag
def review_url(dataset: Dataset, **filters: object) -> str:
    """A link into the queue; empty filters are left out of it."""
    query = urlencode({name: value for name, value in filters.items() if value})
    return reverse("review", args=[dataset.slug]) + (f"?{query}" if query else "")


@register.simple_tag
def grid_url(dataset: Dataset, **filters: object) -> str:
    """A link to a confusion pair as a grid; empty filters are left out of it."""
    query = urlencode({name: value for name, value in filters.items() if value})
    return reverse("grid", args=[dataset.slug]) + (f"?{query}" if query else "")
