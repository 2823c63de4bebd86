"""Which images of a dataset the explorer shows, and in what order; it lives in the URL."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from labeling.queue_filter import storable

SORTS: dict[str, str] = {
    "newest": "newest first",
    "quality": "lowest label quality first",
    "risk": "highest risk first",
    "path": "path",
}
SHOWS: dict[str, str] = {
    "changed": "relabelled",
    "excluded": "excluded",
    "suggestion": "label ≠ suggestion",
    "prediction": "label ≠ prediction",
}
STATES: dict[str, str] = {
    "open": "open",
    "unsure": "waits for a second person",
    "settled": "reviewed",
    "unranked": "not ranked yet",
}


@dataclass(frozen=True)
class ExplorerFilter:
    """Names, not ids, so that a link can be read and kept. Empty means any; all of them have to hold.

    Attributes:
        split: a split, or `none` for images without one.
        label, given, suggested: classes of the dataset's taxonomy; `label` is the current one.
        predicted: a class of the newest model's taxonomy.
        show: a key of `SHOWS`.
        state: a key of `STATES`.
        by: the name of a person with a standing verdict on the image.
        source: the whole name of a source.
        low, high: bounds of the label quality score, 0..1, both included.
        issue: a kind of label issue.
        band: a band of the policy in force, `safe`, `unknown` or `adult`.
        path: text that the path holds, in any case of letters.
        sort: a key of `SORTS`; by quality or by risk only ranked images can be listed.
    """

    split: str = ""
    label: str = ""
    given: str = ""
    suggested: str = ""
    predicted: str = ""
    show: str = ""
    state: str = ""
    by: str = ""
    source: str = ""
    low: float | None = None
    high: float | None = None
    issue: str = ""
    band: str = ""
    path: str = ""
    sort: str = "newest"

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "ExplorerFilter":
        """What a URL asks for; a bound that is no number from 0 to 1, or an unknown order, is as if not given."""
        names = [field.name for field in fields(cls) if field.name not in {"low", "high", "sort"}]
        sort = query.get("sort", "")
        return cls(
            **{name: storable(query.get(name, "").strip()) for name in names},
            low=_bound(query.get("low", "")),
            high=_bound(query.get("high", "")),
            sort=sort if sort in SORTS else "newest",
        )

    def query(self) -> dict[str, str]:
        """The parameters of a link to these images."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: str(value) for name, value in named.items() if value not in ("", None)}
        return {name: value for name, value in given.items() if (name, value) != ("sort", "newest")}

    @property
    def narrows(self) -> bool:
        """Whether anything is left out: an order alone, by newest or path, leaves out nothing."""
        return bool(set(self.query()) - {"sort"})


def _bound(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
