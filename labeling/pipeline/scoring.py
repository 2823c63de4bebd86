"""Scoring: images → predictions and embeddings of one model version."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from inference.engines import Engine, open_engine
from inference.predict import Scored
from labeling.actions.predictions import NewPrediction, drop_predictions_without_embedding
from labeling.actions.runs import Listener, RunReporter, running
from labeling.errors import NothingToDo, WrongUsage
from labeling.importers.paths import absolute_path
from labeling.models import (
    Dataset,
    Image,
    ModelVersion,
    Person,
    Prediction,
    Quarantine,
    Release,
    Run,
    RunKind,
    RunRefusal,
)
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.grouping import group_duplicates
from labeling.pipeline.model_versions import current_model, has_network, model_folder
from labeling.pipeline.ordering import represent
from labeling.pipeline.policies import add_banded_predictions
from labeling.queries.policies import policy_in_force

CHUNK = 256
PAGE = 2048
_LOOK_AGAIN = 32
_Key = tuple[int, str]


@dataclass(frozen=True)
class ReleasePart:
    """The images of one split of a release."""

    release: Release
    split: str

    def images(self) -> QuerySet[Image]:
        """Those that are not in quarantine."""
        return Image.objects.filter(pk__in=self.release.entries.filter(split=self.split).values("image"))

    def parameters(self) -> dict[str, Any]:
        """As a run keeps it."""
        return {"release": self.release.pk, "split": self.split}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "ReleasePart | None":
        """What `parameters` wrote; None where a run is about the whole dataset."""
        if "release" not in parameters:
            return None
        return cls(Release.objects.get(pk=parameters["release"]), parameters["split"])


@dataclass(frozen=True)
class ScoreSummary:
    """`scored` by this run, `already` before it, `refused` files that could not be read any more."""

    dataset: str
    run: int
    model: str
    scored: int
    already: int
    refused: int


def score(
    dataset: Dataset,
    *,
    model: str | None = None,
    part: ReleasePart | None = None,
    batch_size: int = 8,
    engine: str = "local",
    ray_address: str | None = None,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> ScoreSummary:
    """Score every image of the dataset that this model version has not scored yet. Identical bytes are scored once.

    The engine is no parameter of the run: a run that died on a cluster goes on here, and the other way round.

    Args:
        model: a registered model, `NAME` or `NAME@VERSION`; None is the dataset's current one.
        part: score these images only.

    Raises:
        NothingToDo: the dataset has no images.
        WrongUsage: there is no such model.
    """
    if not dataset.images.exists():
        raise NothingToDo(f"The dataset {dataset.slug} has no images; import some first: manage.py import_images …")
    model_version = current_model(model, dataset)
    if not has_network(model_version):
        raise WrongUsage(
            f"{model_version} is a file of answers that was imported, and has no network to score with. Import the "
            f"answers that are missing: manage.py import_predictions {dataset.slug} FILE --model {model_version.name} …"
        )
    with running(
        dataset=dataset,
        kind=RunKind.SCORE,
        parameters=({"model": model} if model else {}) | (part.parameters() if part else {}),
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        with open_engine(engine, ray_address=ray_address) as opened:
            images = part.images() if part else dataset.images.all()
            _score(dataset, images, model_version, opened, batch_size, reporter)
        own = Prediction.objects.filter(run=reporter.run).count()
        if own and policy_in_force(dataset) is not None:
            # What came new to triage is settled together with what it resembles.
            reporter.stage("grouping near duplicates")
            group_duplicates(dataset, model_version)
            represent(dataset)
        total = Prediction.objects.filter(image__dataset=dataset, model_version=model_version).count()
        summary = ScoreSummary(
            dataset=dataset.slug,
            run=reporter.run.pk,
            model=str(model_version),
            scored=own,
            already=total - own,
            refused=reporter.run.refusals.count(),
        )
        reporter.run.summary = asdict(summary)
    return summary


def _score(
    dataset: Dataset,
    images: QuerySet[Image],
    model_version: ModelVersion,
    engine: Engine,
    batch_size: int,
    reporter: RunReporter,
) -> None:
    there = EmbeddingFile(dataset, model_version).whole_rows()
    drop_predictions_without_embedding(dataset=dataset, model_version=model_version, rows=there)
    total = images.count()
    reporter.stage("scoring", total, done=total - unscored(images, model_version).count())
    embeddings = EmbeddingFile(dataset, model_version)

    def score_each(part: QuerySet[Image]) -> None:
        chunk: list[Scored[_Key]] = []
        files = _files(part, reporter)
        for outcome in engine.score(
            model_folder(model_version), files, batch_size=batch_size, max_pixels=settings.MAX_IMAGE_PIXELS
        ):
            if isinstance(outcome, Scored):
                chunk.append(outcome)
            else:
                reporter.refuse(outcome.key[1], outcome.code, outcome.reason)
                reporter.advance()
            if len(chunk) >= CHUNK:
                _commit(chunk, model_version, embeddings, reporter)
                chunk = []
        _commit(chunk, model_version, embeddings, reporter)

    # Of identical bytes the first image is scored and the others copy its prediction. Where the first could not be
    # read, the others are tried themselves.
    _copy_identical(dataset, images, model_version, reporter)
    earlier = images.filter(sha256=OuterRef("sha256"), pk__lt=OuterRef("pk"))
    score_each(unscored(images, model_version).filter(~Exists(earlier)))
    _copy_identical(dataset, images, model_version, reporter)
    refused = RunRefusal.objects.filter(run=reporter.run, path=OuterRef("path"))
    score_each(unscored(images, model_version).filter(~Exists(refused)))


def unscored(images: QuerySet[Image], model_version: ModelVersion) -> QuerySet[Image]:
    """Those of the images that the model version has said nothing about yet."""
    done = Prediction.objects.filter(image=OuterRef("pk"), model_version=model_version)
    return images.filter(~Exists(done))


def _files(images: QuerySet[Image], reporter: RunReporter) -> Iterator[tuple[_Key, Path]]:
    """(key, file) of each image in the order of its primary key, a page of rows at a time.

    What is escalated meanwhile is not opened any more.
    """
    last, hidden = 0, frozenset[int]()
    while page := list(images.filter(pk__gt=last).select_related("root").order_by("pk")[:PAGE]):
        last = page[-1].pk
        for at, image in enumerate(page):
            if at % _LOOK_AGAIN == 0:
                hidden = _hidden(page[at : at + _LOOK_AGAIN])
            if image.pk in hidden:
                continue
            try:
                yield (image.pk, image.path), absolute_path(image.root.path, image.path)
            except ValueError as error:
                reporter.refuse(image.path, "link_leaves", str(error))


def _hidden(images: Sequence[Image]) -> frozenset[int]:
    return frozenset(
        Quarantine.objects.filter(image__in=[image.pk for image in images]).values_list("image", flat=True)
    )


def _commit(
    chunk: list[Scored[_Key]], model_version: ModelVersion, embeddings: EmbeddingFile, reporter: RunReporter
) -> None:
    if not chunk:
        return
    with embeddings.writing():
        first_row = embeddings.append(np.stack([scored.embedding for scored in chunk]))
        add_banded_predictions(
            run=reporter.run,
            model_version=model_version,
            predictions=[
                NewPrediction(
                    image_id=scored.key[0],
                    probabilities=scored.probabilities.astype("<f4").tobytes(),
                    predicted_index=int(scored.probabilities.argmax()),
                    confidence=float(scored.probabilities.max()),
                    embedding_row=first_row + offset,
                )
                for offset, scored in enumerate(chunk)
            ],
        )
    reporter.advance(len(chunk))


def _copy_identical(
    dataset: Dataset, images: QuerySet[Image], model_version: ModelVersion, reporter: RunReporter
) -> None:
    """Give unscored images the prediction of an image with the same bytes."""
    scored = Prediction.objects.filter(model_version=model_version, image__dataset=dataset)
    same = scored.filter(image__sha256=OuterRef("sha256"))
    twins = list(unscored(images, model_version).filter(Exists(same)).values_list("pk", "sha256"))
    by_sha = {
        prediction.image.sha256: prediction
        for prediction in scored.filter(image__sha256__in={sha for _, sha in twins}).select_related("image")
    }
    copies = [
        NewPrediction(
            image_id=pk,
            probabilities=bytes(by_sha[sha].probabilities),
            predicted_index=by_sha[sha].predicted_index,
            confidence=by_sha[sha].confidence,
            embedding_row=by_sha[sha].embedding_row,
        )
        for pk, sha in twins
    ]
    for start in range(0, len(copies), CHUNK):
        part = copies[start : start + CHUNK]
        add_banded_predictions(run=reporter.run, model_version=model_version, predictions=part)
        reporter.advance(len(part))
