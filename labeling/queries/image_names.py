"""Images by the names that other programs have for them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from labeling.importers.decisions import names_of
from labeling.models import Dataset, Image

_HEX = frozenset("0123456789abcdef")

_Found = tuple[list[tuple[int, int]], str]
"""Keys and given classes of the images that a name means, or why it means none."""


class ImageFinder:
    """Which images of a dataset a name from elsewhere means: `importers.decisions.names_of` says how one may differ."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._by_end: dict[str, list[tuple[int, int]]] | None = None

    def of(self, keys: Iterable[int]) -> list[str]:
        """The paths of images."""
        return list(Image.objects.filter(pk__in=list(keys)).order_by("pk").values_list("path", flat=True))

    def find(self, names: Sequence[str]) -> dict[str, _Found]:
        """Name → images; a few SQL queries for all of them."""
        exact: dict[str, list[tuple[int, int]]] = {}
        for path, pk, given in self._dataset.images.filter(path__in=names).values_list("path", "pk", "given_class_id"):
            exact.setdefault(path, []).append((pk, given))
        hashes = {name: _hash_in(name) for name in names if name not in exact}
        by_hash: dict[str, list[tuple[int, int]]] = {}
        wanted = {digest for digest in hashes.values() if digest}
        same = self._dataset.images.filter(sha256__in=wanted) if wanted else Image.objects.none()
        for digest, pk, given in same.values_list("sha256", "pk", "given_class_id"):
            by_hash.setdefault(digest, []).append((pk, given))
        return {name: self._one(name, exact, by_hash, hashes.get(name, "")) for name in names}

    def _one(
        self,
        name: str,
        exact: Mapping[str, list[tuple[int, int]]],
        by_hash: Mapping[str, list[tuple[int, int]]],
        digest: str,
    ) -> _Found:
        if name in exact:
            return exact[name], "" if len(exact[name]) == 1 else _several(name)
        if digest in by_hash:
            # The very bytes: wherever the dataset has them, the decision is about them.
            return by_hash[digest], ""
        ends = self._ends()
        for shorter in names_of(name):
            if found := ends.get(shorter):
                return found, "" if len(found) == 1 else _several(name)
        return [], f"{self._dataset.slug} has no image {name[:200]!r}."

    def _ends(self) -> Mapping[str, list[tuple[int, int]]]:
        """Every path, and every file name, of the dataset; read when the first name is not simply a path."""
        if self._by_end is None:
            self._by_end = {}
            rows = self._dataset.images.order_by("pk").values_list("path", "pk", "given_class_id")
            for path, pk, given in rows.iterator(chunk_size=2000):
                for end in {path, PurePosixPath(path).name}:
                    self._by_end.setdefault(end, []).append((pk, given))
        return self._by_end


def _several(name: str) -> str:
    return f"{name[:200]!r} could mean several images; name it by its whole path, as list_issues prints it."


def _hash_in(name: str) -> str:
    """The sha256 that a file is named by, empty where it is not."""
    stem = PurePosixPath(name.rsplit("?", 1)[0]).stem
    return stem if len(stem) == 64 and set(stem) <= _HEX else ""
