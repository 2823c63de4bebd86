"""What is in quarantine does not exist for ordinary code.

The default manager of everything that is about an image leaves out images in quarantine, so that a list, a look-up, a
count or a job that knows nothing of quarantine cannot show or open one. Where a join reaches images by another way,
`visible` is the same condition. `everything` is the manager without it: for writing the log, for what is stored by
row number, and for the restricted pages.
"""

from typing import TypeVar

from django.apps import apps
from django.db.models import BooleanField, Exists, F, Func, Manager, Model, OuterRef, Q, QuerySet

M = TypeVar("M", bound=Model)


class _NotInQuarantine(Func):
    """Whether a key is not among those of `labeling_quarantine`.

    As SQL rather than as a subquery of the ORM, which would be built anew for every query of every page. The table is
    tiny: a condition on a key that every index holds keeps counts inside their index, and takes no join.
    """

    template = "NOT (%(expressions)s IN (SELECT %(column)s FROM labeling_quarantine WHERE %(column)s IS NOT NULL))"
    arity = 1
    output_field = BooleanField()


def visible(to_image: str = "pk") -> Q:
    """The images that are not in quarantine.

    Args:
        to_image: how a query gets to the image's key: `pk` from an image, `image` from what has one, `images__pk` from
            what has many (in the filter of an aggregate).
    """
    return Q(_NotInQuarantine(F(to_image), column="image_id"))


def visible_items(to_item: str = "pk") -> Q:
    """`visible` by the key of the review item."""
    return Q(_NotInQuarantine(F(to_item), column="item_id"))


class Everything(Manager[M]):
    """What is in quarantine too."""


class VisibleImages(Manager[M]):
    """Of images."""

    def get_queryset(self) -> QuerySet[M]:
        return super().get_queryset().filter(visible())


class OfVisibleImages(Manager[M]):
    """Of rows with an `image`."""

    def get_queryset(self) -> QuerySet[M]:
        return super().get_queryset().filter(visible("image"))


class VisibleItems(Manager[M]):
    """Of review items."""

    def get_queryset(self) -> QuerySet[M]:
        return super().get_queryset().filter(visible_items())


class OfVisibleItems(Manager[M]):
    """Of rows with an `item`."""

    def get_queryset(self) -> QuerySet[M]:
        return super().get_queryset().filter(visible_items("item"))


class VisibleRefusals(Manager[M]):
    """Of refused files: a refusal names a file by its path, so that of an image in quarantine is left out too."""

    def get_queryset(self) -> QuerySet[M]:
        hidden = apps.get_model("labeling", "Quarantine")._default_manager.filter(
            image__path=OuterRef("path"), image__dataset=OuterRef("run__dataset")
        )
        return super().get_queryset().filter(~Exists(hidden))
