"""Fine-tuning: the backbone itself, trained once a fold, as a member of the ensemble."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from django.conf import settings

from inference.cross_validation import Member
from inference.fine_tuning import FineTuningProgress, Original, fine_tune, original_of
from inference.models.sidecar import ModelFolder
from labeling.actions.runs import RunReporter
from labeling.importers.paths import absolute_path
from labeling.models import Dataset, Image, ModelVersion, TaxonomyClass
from labeling.pipeline.judging import FOLDS, ScoredImages
from labeling.pipeline.model_versions import model_folder


def fine_tuned_member(
    dataset: Dataset,
    model: ModelVersion,
    classes: Sequence[TaxonomyClass],
    scored: ScoredImages,
    reporter: RunReporter,
    *,
    backbone: str,
) -> tuple[Member, tuple[str, ...]]:
    """Train the model's network once a fold; the member, and what had to be done differently.

    A killed training goes on at the epoch that it had reached; a finished one is not repeated for the same labels.

    Args:
        backbone: the file to start from, for a model that Winnow did not fetch itself; empty otherwise.

    Raises:
        InferenceError: it is not known where the model's trainable network is, the file is another than the one that
            was registered or holds no network that can be trained, or the training does not converge.
    """
    roots = {root.pk: root.path for root in dataset.roots.all()}
    found = {
        row[0]: row[1:] for row in Image.objects.filter(dataset=dataset).values_list("pk", "root_id", "path").iterator()
    }
    paths = [absolute_path(roots[found[pk][0]], found[pk][1]) for pk in scored.pks]
    reporter.stage("fine-tuning")

    def report(now: FineTuningProgress) -> None:
        stage = f"fine-tuning, fold {now.fold} of {now.folds}" if now.fold else "preparing pictures"
        if reporter.run.stage != stage:
            reporter.stage(stage, now.total, now.done)
        reporter.advance(now.done - reporter.run.done)

    tuned = fine_tune(
        _original(model, backbone),
        paths,
        scored.label,
        n_classes=len(classes),
        into=Path(settings.EMBEDDINGS_ROOT) / str(dataset.pk) / f"fine-tuning-{model.pk}",
        groups=scored.groups,
        folds=FOLDS,
        progress=report,
    )
    [member] = tuned.opinions
    silent = np.array(member.probabilities)
    silent[tuned.missing] = np.nan
    return Member(f"{model}, fine-tuned", silent), tuned.notes


def _original(model: ModelVersion, backbone: str) -> Original:
    cache = Path(settings.WINNOW_HOME) / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    sidecar = ModelFolder.open(model_folder(model)).sidecar
    return original_of(sidecar, cache=cache, path=Path(backbone) if backbone else None)
