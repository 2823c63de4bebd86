"""The demo: harmless images with known wrong labels, imported, scored and ranked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from labeling.actions.datasets import find_dataset
from labeling.actions.runs import Listener
from labeling.demo_images import write_demo_images
from labeling.pipeline.policies import ensure_policy
from labeling.pipeline.preparing import prepare_dataset
from labeling.queries.policies import policy_in_force
from labeling.queries.ranking import ranking
from labeling.taxonomies import load_taxonomy

SLUG = "demo"
FIRST = 100
EARLY = 0.08


@dataclass(frozen=True)
class DemoSummary:
    """`found_first` of the `planted` errors lie within the first `first` of the `images` ranked ones.

    `found_share` is the share of the planted errors within the first 8 % of the ranking, and
    `queued_share` within the first 8 % of the queue, which shows validation and test first.
    """

    dataset: str
    images: int
    planted: int
    first: int
    found_first: int
    found_share: float
    queued_share: float
    truth: str


def make_demo(*, say: Callable[[str], None], listener: Listener | None = None) -> DemoSummary:
    """Write the demo's images, prepare the dataset, and compare its ranking with the truth that was kept aside."""
    truth = write_demo_images(Path(settings.WINNOW_HOME) / "demo" / "images")
    dataset = prepare_dataset(SLUG, truth.folder, load_taxonomy("five"), say=say, listener=listener)
    if policy_in_force(dataset) is None:
        say("Sorting the images into bands …")
        ensure_policy(dataset, listener=listener)
    return compare_with_truth(truth.truth_file, {row.path for row in truth.rows if row.is_error})


def compare_with_truth(truth_file: Path, wrong: set[str]) -> DemoSummary:
    """How early the ranking of the demo dataset shows the files in `wrong` (stored paths)."""
    ranked = [row.path for row in ranking(find_dataset(SLUG))]
    queued = [row.path for row in ranking(find_dataset(SLUG), as_queued=True)]
    first = round(EARLY * len(ranked))
    return DemoSummary(
        dataset=SLUG,
        images=len(ranked),
        planted=len(wrong),
        first=FIRST,
        found_first=len(wrong.intersection(ranked[:FIRST])),
        found_share=round(len(wrong.intersection(ranked[:first])) / max(1, len(wrong)), 4),
        queued_share=round(len(wrong.intersection(queued[:first])) / max(1, len(wrong)), 4),
        truth=str(truth_file),
    )
