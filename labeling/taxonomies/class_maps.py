"""How the classes of one taxonomy map onto those of another: by name or alias, else by group.

A model of five classes says something about a dataset of two or of seven, but not the same thing. Where each of its
classes means one class of the dataset, probabilities are added up class by class. Where only the groups correspond
(`adult` and `nsfw`, say), the model can tell the groups apart and nothing within them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labeling.errors import UnknownClass
from labeling.taxonomies import ClassSpec

_SAME_GROUP = ({"safe", "sfw", "neutral", "clean"}, {"adult", "nsfw", "unsafe", "explicit"})


@dataclass(frozen=True)
class ClassMap:
    """What each of a model's classes means in a dataset's taxonomy.

    Attributes:
        classes: the dataset's class index for each of the model's classes; None where it has no one counterpart.
        groups: the dataset's group for each of the model's classes; None where that is unknown too.
    """

    classes: tuple[int | None, ...]
    groups: tuple[str | None, ...]

    @property
    def by_class(self) -> bool:
        """Whether every class of the model has a counterpart."""
        return None not in self.classes

    @property
    def by_group(self) -> bool:
        """Whether every class of the model lies in a known group of the dataset, of which there are several."""
        return None not in self.groups and len(set(self.groups)) > 1


def map_classes(
    model: Sequence[ClassSpec], dataset: Sequence[ClassSpec], explicit: Mapping[str, str] | None = None
) -> ClassMap:
    """Map a model's classes onto a dataset's.

    In this order: what `explicit` says; the same name or alias; a group of the dataset that holds one class only.

    Args:
        explicit: model's class → dataset's class, both by name or alias.

    Raises:
        UnknownClass: `explicit` names a class that is in neither taxonomy.
    """
    said = {
        _find(model, one, "the model"): _find(dataset, other, "the dataset") for one, other in (explicit or {}).items()
    }
    classes: list[int | None] = []
    groups: list[str | None] = []
    for place, one in enumerate(model):
        found = said.get(place)
        if found is None:
            found = _by_name(one, dataset)
        group = dataset[found].group if found is not None else _group(one, dataset)
        if found is None and group is not None:
            members = [at for at, other in enumerate(dataset) if other.group == group]
            found = members[0] if len(members) == 1 else None
        classes.append(found)
        groups.append(group)
    return ClassMap(tuple(classes), tuple(groups))


def _find(classes: Sequence[ClassSpec], label: str, of: str) -> int:
    for place, known in enumerate(classes):
        if label.strip().casefold() in {name.casefold() for name in (known.name, *known.aliases)}:
            return place
    raise UnknownClass(
        f"{of.capitalize()} has no class {label!r} (it has {', '.join(known.name for known in classes)})."
    )


def _by_name(one: ClassSpec, dataset: Sequence[ClassSpec]) -> int | None:
    names = {name.casefold() for name in (one.name, *one.aliases)}
    for place, other in enumerate(dataset):
        if names & {name.casefold() for name in (other.name, *other.aliases)}:
            return place
    return None


def _group(one: ClassSpec, dataset: Sequence[ClassSpec]) -> str | None:
    groups = {other.group for other in dataset}
    if one.group in groups:
        return one.group
    for same in _SAME_GROUP:
        if one.group.casefold() in same:
            return next((group for group in sorted(groups) if group.casefold() in same), None)
    return None


def is_adult(one: ClassSpec) -> bool:
    """Whether the class is on the adult side: by its group's name, else by having a harm rank at all."""
    safe, adult = _SAME_GROUP
    group = one.group.casefold()
    return group in adult or (group not in safe and one.harm_rank > 0)
