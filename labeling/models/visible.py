"""What is in quarantine does not exist for ordinary code.

The default manager of everything that is about an image leaves out images in quarantine, so that a list, a look-up, a
count or a job that knows nothing of quarantine cannot show or open one. Where a join reaches images by another way,
`visible` is the same condition. `everything` is the manager without it: for writing the log, for what is stored by
row number, and for the restricted pages.
"""

from typing import Any, ClassVar, TypeVar

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


class _Hiding(Manager[M]):
    """Leaves out the rows about images in quarantine."""

    condition: ClassVar[Q]

    def get_queryset(self) -> QuerySet[M]:
        # To put the condition together takes as long as a small query; it is done once a model.
        prototype = _PROTOTYPES.get((self.model, self._db))
        if prototype is None:
            prototype = _PROTOTYPES[self.model, self._db] = super().get_queryset().filter(self.condition)
        return prototype.all()


_PROTOTYPES: dict[tuple[type[Model], str | None], QuerySet[Any]] = {}


class VisibleImages(_Hiding[M]):
    """Of images."""

    condition = visible()


class OfVisibleImages(_Hiding[M]):
    """Of rows with an `image`."""

    condition = visible("image")


class VisibleItems(_Hiding[M]):
    """Of review items."""

    condition = visible_items()


class OfVisibleItems(_Hiding[M]):
    """Of rows with an `item`."""

    condition = visible_items("item")


class VisibleRefusals(Manager[M]):
    """Of refused files: a refusal names a file by its path, so that of an image in quarantine is left out too."""

    def get_queryset(self) -> QuerySet[M]:
        hidden = apps.get_model("labeling", "Quarantine")._default_manager.filter(
            image__path=OuterRef("path"), image__dataset=OuterRef("run__dataset")
        )
        return super().get_queryset().filter(~Exists(hidden))
