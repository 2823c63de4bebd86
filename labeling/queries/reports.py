"""What products reported, and what they were told."""

from labeling.models import Dataset, Delivery, Report, visible


def newest_reports(dataset: Dataset, *, limit: int = 50) -> list[Report]:
    """One SQL query."""
    return list(dataset.reports.select_related("token", "told_class").order_by("-pk")[:limit])


def newest_deliveries(dataset: Dataset, *, limit: int = 50) -> list[Delivery]:
    """One SQL query."""
    sent = Delivery.objects.filter(visible("report__image"), webhook__dataset=dataset)
    return list(sent.select_related("webhook").order_by("-pk")[:limit])
