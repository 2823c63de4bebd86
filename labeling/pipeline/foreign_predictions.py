"""Predictions that another program made: a file → a model version that answers for itself, and scores nothing more."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from django.utils.text import slugify

from labeling.actions.datasets import register_taxonomy
from labeling.actions.predictions import NewPrediction, register_model_version
from labeling.actions.runs import Listener, running
from labeling.actions.standing import CHUNK
from labeling.errors import WrongUsage
from labeling.importers.predictions import AnswerClasses, read_predictions
from labeling.models import Dataset, ModelVersion, Person, Prediction, Run, RunKind
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.model_versions import ELSEWHERE
from labeling.pipeline.policies import add_banded_predictions
from labeling.queries.image_names import ImageFinder
from labeling.taxonomies import TaxonomySpec, load_taxonomy


@dataclass(frozen=True)
class PredictionsSummary:
    """`added` images have an answer now, `already` had this file's; `refused` rows say why on the run."""

    dataset: str
    run: int
    model: str
    added: int
    already: int
    refused: int


def import_predictions(
    dataset: Dataset,
    path: Path,
    *,
    name: str,
    taxonomy: str,
    positive: str | None = None,
    trained_on: str = "unknown",
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> PredictionsSummary:
    """Take the answers of another program over as those of a model version, to be measured and compared like any other.

    A file with other bytes is another version. The same file again adds nothing. Such a model can be evaluated where it
    has answers and ranks labels by them; it has no network, so it cannot score more images.

    Args:
        path: see `importers.predictions`; images are found as `import_verdicts` finds them.
        name: of the model.
        taxonomy: whose classes the answers are.
        positive: the class that a single number is the probability of.
        trained_on: what the model has learned from, "slug" or "slug 1.0"; such answers are kept out of the ranking.

    Raises:
        WrongUsage, NothingToDo: nothing of the file can be used, or the name is none.
    """
    spec = load_taxonomy(taxonomy)
    if slugify(name) != name or not name:
        raise WrongUsage(f"Expected a model name of lower-case letters, digits and hyphens, received {name!r}.")
    found = read_predictions(path, _classes(spec, positive))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    model = register_model_version(
        name=name,
        taxonomy=register_taxonomy(spec),
        folder=f"answers-{digest[:16]}",
        sha256=digest,
        profile=ELSEWHERE,
        embedding_size=len(spec.names),
        sidecar={"name": name, "class_names": list(spec.names), "trained_on": trained_on, "source": path.name},
    )
    with running(
        dataset=dataset,
        kind=RunKind.PREDICTIONS,
        parameters={"model": model.pk},
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        for refusal in found.refusals:
            reporter.refuse(refusal.path, refusal.code, refusal.reason)
        finder, added, already = ImageFinder(dataset), 0, 0
        reporter.stage("adding answers", len(found.named))
        for start in range(0, len(found.named), CHUNK):
            part = found.named[start : start + CHUNK]
            images = finder.find([one.name for one in part])
            answers: dict[int, tuple[float, ...]] = {}
            for one in part:
                keys, refused = images[one.name]
                if refused:
                    reporter.refuse(one.name, "unknown_path", f"{one.where}: {refused}")
                answers |= {} if refused else dict.fromkeys((pk for pk, _ in keys), one.probabilities)
            new = _add(dataset, model, reporter.run, answers)
            added, already = added + new, already + len(answers) - new
            reporter.advance(len(part))
        summary = PredictionsSummary(
            dataset=dataset.slug,
            run=reporter.run.pk,
            model=str(model),
            added=added,
            already=already,
            refused=reporter.run.refusals.count(),
        )
        reporter.run.summary = asdict(summary)
    return summary


def _classes(spec: TaxonomySpec, positive: str | None) -> AnswerClasses:
    if positive is not None and len(spec.names) != 2:
        raise WrongUsage(
            f"A positive class belongs to two classes; the taxonomy {spec.slug} has {', '.join(spec.names)}."
        )
    return AnswerClasses(spec.names, spec.resolve, spec.require(positive) if positive else None)


def _add(dataset: Dataset, model: ModelVersion, run: Run, answers: dict[int, tuple[float, ...]]) -> int:
    there = Prediction.everything.filter(model_version=model, image__in=list(answers))
    new = sorted(set(answers) - set(there.values_list("image", flat=True)))
    if not new:
        return 0
    rows = np.array([answers[pk] for pk in new], dtype="<f4")
    embeddings = EmbeddingFile(dataset, model)
    with embeddings.writing():
        # The answer is all that is known of such a model; its vector stands where others have an embedding.
        first = embeddings.append(rows.astype(np.float16))
        add_banded_predictions(
            run=run,
            model_version=model,
            predictions=[
                NewPrediction(
                    image_id=pk,
                    probabilities=row.tobytes(),
                    predicted_index=int(row.argmax()),
                    confidence=float(row.max()),
                    embedding_row=first + place,
                )
                for place, (pk, row) in enumerate(zip(new, rows, strict=True))
            ],
        )
    return len(new)
