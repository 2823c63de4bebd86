"""Images scored by a model that never ran: predictions as the scorer would have written them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from labeling.actions.predictions import NewPrediction, register_model_version
from labeling.models import Dataset, Image, ModelVersion, Run, RunKind, RunState
from labeling.pipeline.policies import add_banded_predictions


def a_model(dataset: Dataset, name: str = "made-up", *, folder: str = "nowhere") -> ModelVersion:
    return register_model_version(
        name=name,
        taxonomy=dataset.taxonomy,
        folder=folder,
        sha256="0" * 64,
        profile="nsfwjs",
        embedding_size=4,
        sidecar={},
    )


def score_images(
    dataset: Dataset, images: Sequence[Image], vectors: npt.NDArray[np.floating], model: ModelVersion | None = None
) -> Run:
    """Write one row of probabilities an image, in the order of the taxonomy's classes."""
    run = Run.objects.create(dataset=dataset, kind=RunKind.SCORE, state=RunState.DONE)
    add_banded_predictions(
        run=run,
        model_version=model or a_model(dataset),
        predictions=[
            NewPrediction(
                image_id=image.pk,
                probabilities=np.asarray(vector, dtype="<f4").tobytes(),
                predicted_index=int(np.argmax(vector)),
                confidence=float(np.max(vector)),
                embedding_row=row,
            )
            for row, (image, vector) in enumerate(zip(images, vectors, strict=True))
        ],
    )
    return run


def adult_scores(*scores: float) -> npt.NDArray[np.float64]:
    """(N, 5) rows of the taxonomy `five` whose adult score is each of these: the rest is neutral."""
    rows = np.zeros((len(scores), 5))
    rows[:, 3], rows[:, 2] = scores, 1 - np.array(scores)
    return rows
