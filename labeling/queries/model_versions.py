"""Model versions as people of a dataset see them: what they are, what they were trained on, and their files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet

from labeling.models import Dataset, ModelVersion, Prediction
from labeling.queries.training import EpochRow, epochs_of

SIDECAR = "sidecar.json"
_KINDS = {
    "model.keras": "Keras",
    "model.h5": "Keras, HDF5",
    "saved_model": "TensorFlow SavedModel, as a zip",
    "class_labels.txt": "the classes in output order",
}


@dataclass(frozen=True)
class ModelRow:
    """A model version, and how many images of the dataset it has scored."""

    model: ModelVersion
    scored: int

    @property
    def trained_on(self) -> str:
        return str(self.model.sidecar.get("trained_on", "unknown"))


@dataclass(frozen=True)
class ModelFile:
    """A file of a model version, or a folder that is handed out as a zip; `name` is unique among them."""

    name: str
    kind: str
    path: Path
    size: int


@dataclass(frozen=True)
class ModelPage:
    """Everything that is known of one model version."""

    row: ModelRow
    facts: tuple[tuple[str, Any], ...]
    classes: tuple[str, ...]
    epochs: tuple[EpochRow, ...]
    files: tuple[ModelFile, ...]


def models_for(dataset: Dataset) -> QuerySet[ModelVersion]:
    """Those that may be known here: of what was trained on another dataset's images nothing is said."""
    return ModelVersion.objects.filter(Q(release__isnull=True) | Q(release__dataset=dataset)).select_related(
        "taxonomy", "release__dataset", "trained_by__created_by"
    )


def model_rows(dataset: Dataset) -> tuple[ModelRow, ...]:
    """The model versions, newest first; two SQL queries."""
    models = list(models_for(dataset).order_by("-id"))
    scored = dict(
        Prediction.objects.filter(image__dataset=dataset, model_version__in=models)
        .values_list("model_version")
        .annotate(images=Count("pk"))
        .order_by()
    )
    return tuple(ModelRow(model, scored.get(model.pk, 0)) for model in models)


def model_page(dataset: Dataset, pk: int) -> ModelPage:
    """One of them.

    Raises:
        ModelVersion.DoesNotExist: there is none, or it may not be known here.
    """
    model = models_for(dataset).get(pk=pk)
    sidecar = model.sidecar
    facts = tuple(
        (name, sidecar[name])
        for name in (
            "trained_on",
            "positive_class",
            "output",
            "runtime",
            "embedding_layer",
            "embedding_size",
            "format_origin",
            "source",
            "licence",
        )
        if sidecar.get(name) not in (None, "", [])
    )
    return ModelPage(
        row=ModelRow(model, Prediction.objects.filter(image__dataset=dataset, model_version=model).count()),
        facts=facts,
        classes=tuple(sidecar.get("class_names", ())),
        epochs=epochs_of(model.trained_by) if model.trained_by is not None else (),
        files=model_files(model),
    )


def model_files(model: ModelVersion) -> tuple[ModelFile, ...]:
    """What can be taken along: the compiled model and its facts, and what training left beside them."""
    folder = Path(settings.MODELS_ROOT) / model.folder
    found = [
        ModelFile(f"compiled{path.suffix}", "compiled, with two outputs; what Winnow itself runs", path, _size(path))
        for path in (folder / name for name in ("model.tflite", "model.onnx", "model.pb"))
        if path.is_file()
    ]
    sidecar = folder / SIDECAR
    if sidecar.is_file():
        found.append(ModelFile(SIDECAR, "its facts", sidecar, _size(sidecar)))
    for path in sorted((folder / "files").glob("*")):
        kind = _KINDS.get(path.name, "LiteRT, with one output" if path.suffix == ".tflite" else "")
        if kind:
            found.append(ModelFile(f"{path.name}.zip" if path.is_dir() else path.name, kind, path, _size(path)))
    return tuple(found)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
