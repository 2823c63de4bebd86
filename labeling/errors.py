"""Everything that Winnow's domain refuses.

LabelingError                  a sentence for people: what was expected, what was received, what to do
├── WrongUsage                 the call cannot be carried out as it was asked
│   ├── UnknownTaxonomy        no such taxonomy, or a taxonomy file that is not valid
│   ├── UnknownDataset         no such dataset
│   ├── UnknownClass           a label that the taxonomy does not have
│   ├── UnknownSplit           a split that is not train, validation or test
│   └── NothingToDo            there is nothing to work on (an empty folder, no images, no predictions)
├── RunInProgress              the same job is already running on this dataset
├── RunStopped                 a person pressed stop; what was finished is kept
├── NotAllowed                 this person's role does not allow it
├── Conflict                   the item moved on: another verdict, an expired claim, a replayed key
│   └── ClaimLost              the claim expired or belongs to somebody else
├── ReleaseRefused             a cut that would not be clean (leaks, conflicts), with the images
├── ExportRefused              a target or source that cannot be trusted
├── TrainingRefused            weights that do not fit, pictures that cannot be read, a loss that is no number any more
└── Coded                      with a word for programs
    ├── TokenRefused           an API token that is missing, wrong, expired, too weak or too busy
    ├── AddressRefused         a URL that may not be reached; nothing was sent there
    └── DeliveryFailed         a host that was allowed, but did not do its part
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches


class LabelingError(Exception):
    """The root; its text is shown to people as it is."""


class WrongUsage(LabelingError):
    pass


class UnknownTaxonomy(WrongUsage):
    pass


class UnknownDataset(WrongUsage):
    pass


class UnknownClass(WrongUsage):
    pass


class UnknownSplit(WrongUsage):
    pass


class NothingToDo(WrongUsage):
    pass


class RunInProgress(LabelingError):
    pass


class RunStopped(LabelingError):
    pass


class NotAllowed(LabelingError):
    pass


class Conflict(LabelingError):
    pass


class ClaimLost(Conflict):
    pass


class ReleaseRefused(LabelingError):
    pass


class ExportRefused(LabelingError):
    pass


class TrainingRefused(LabelingError):
    pass


class Coded(LabelingError):
    """A refusal that programs read too: `code` is one lower-case word with underscores."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class TokenRefused(Coded):
    pass


class AddressRefused(Coded):
    pass


class DeliveryFailed(Coded):
    pass


def nearest(word: str, choices: Iterable[str], meaning: Callable[[str], str] = str) -> str:
    """A hint for an error: " Did you mean a or b?", or nothing when no choice is close.

    Args:
        meaning: what to name for a choice, where several choices are names of one thing.
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    close = [meaning(by_folded[found]) for found in get_close_matches(word.casefold(), by_folded, n=3, cutoff=0.5)]
    return f" Did you mean {' or '.join(list(dict.fromkeys(close))[:2])}?" if close else ""
