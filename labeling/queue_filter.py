"""What part of a dataset's queue a reviewer works on; it lives in the URL."""

from collections.abc import Mapping
from dataclasses import dataclass

BAND_ORDERS: dict[str, str] = {"riskiest": "riskiest first", "oldest": "oldest first"}


def storable(text: str) -> str:
    """A query parameter as a database takes it: no name holds NUL, and PostgreSQL refuses to be asked for one."""
    return text.replace("\0", "\ufffd")


@dataclass(frozen=True)
class QueueFilter:
    """Names, not ids, so that a link can be read and kept. Empty means any.

    `issue` is a kind of label issue; its images are shown whether their label is suspected or not.
    `everything` goes on past the suspected items, through the whole ranking. `audit` is the dataset's audit sample
    instead of the ranking, judged blind. `band` is a band of the policy in force, in the `order` that is asked for
    (a key of `BAND_ORDERS`; the queue's own where none is). `check` is a side of the policy, `safe` or `adult`: the
    random sample that was drawn from it, judged blind too. `after` is a place in the queue, (priority, item): only
    what comes later.

    Three come from a person's wishes and never from a link: `below_rank` leaves out what is given or suggested a class
    of this harm rank or more, 0 leaves out nothing; `mixed_from_rank` puts a harmless image between every two of this
    harm rank or more, as long as there are any, 0 keeps the queue's own order; `golden` lets golden images be mixed
    in, which grids keep out.
    """

    split: str = ""
    given: str = ""
    suggested: str = ""
    issue: str = ""
    everything: bool = False
    audit: bool = False
    band: str = ""
    order: str = ""
    check: str = ""
    after: tuple[float, int] | None = None
    below_rank: int = 0
    mixed_from_rank: int = 0
    golden: bool = True

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "QueueFilter":
        return cls(
            split=storable(query.get("split", "")),
            given=storable(query.get("given", "")),
            suggested=storable(query.get("suggested", "")),
            issue=storable(query.get("issue", "")),
            everything=query.get("everything", "") == "1",
            audit=query.get("audit", "") == "1",
            band=storable(query.get("band", "")),
            order=query.get("order", "") if query.get("order", "") in BAND_ORDERS else "",
            check=storable(query.get("check", "")),
        )

    @property
    def blind(self) -> bool:
        """Whether the images are a random sample: shown without labels, predictions and reasons, in random order."""
        return self.audit or bool(self.check)

    def query(self) -> dict[str, str]:
        """The parameters of a link to this part of the queue."""
        named = {
            "split": self.split,
            "given": self.given,
            "suggested": self.suggested,
            "issue": self.issue,
            "band": self.band,
            "order": self.order,
            "check": self.check,
        }
        parameters = {name: value for name, value in named.items() if value}
        switches = {"everything": self.everything, "audit": self.audit}
        return parameters | {name: "1" for name, on in switches.items() if on}
