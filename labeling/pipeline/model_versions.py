"""Fetching models, registering one's own, and choosing one."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings

from inference.models.catalogue import CATALOGUE
from inference.models.declared import Declared
from inference.models.fetch import fetch_model as fetch
from inference.models.register import labels_beside
from inference.models.register import register_model as convert_and_register
from inference.models.sidecar import ModelFolder
from labeling.actions.datasets import register_taxonomy
from labeling.actions.predictions import register_model_version
from labeling.errors import WrongUsage, nearest
from labeling.models import Dataset, ModelVersion
from labeling.queries.promotions import promoted_model
from labeling.taxonomies import TaxonomySpec, load_taxonomy

STARTER = "nsfwjs-mobilenet-v2"

ELSEWHERE = "elsewhere"
"""The preprocessing profile of answers that another program gave: there is no network here to give more."""


def fetch_model(name: str, *, progress: Callable[[str], None] | None = None) -> ModelVersion:
    """Bring a public model by name, compile it, check it, and register it; at once when all that is done."""
    folder = fetch(name, Path(settings.MODELS_ROOT), progress=progress)
    return register_folder(folder)


@dataclass(frozen=True)
class OwnModel:
    """A model file of one's own and what its owner says of it; None and empty = not said.

    `classes` are the outputs' classes in the model's own order; `input_size` is (height, width).
    """

    path: Path
    name: str
    taxonomy: str
    profile: str
    positive_class: str | None = None
    classes: tuple[str, ...] = ()
    embedding_layer: str | None = None
    input_size: tuple[int, int] | None = None
    logits: bool = False
    trust_code: bool = False
    sha256: str | None = None
    licence: str = "unknown"
    trained_on: str = "unknown"


def register_model(own: OwnModel, *, progress: Callable[[str], None] | None = None) -> ModelVersion:
    """Convert, check and register a model file; at once when the same was registered before.

    Raises:
        WrongUsage: classes that are not the taxonomy's, or contradict the labels that lie beside the model.
        InferenceError: the file, or what was said of it, does not hold.
    """
    spec = load_taxonomy(own.taxonomy)
    order = tuple(_class(spec, label, "--classes") for label in own.classes)
    if order and sorted(order) != sorted(spec.names):
        raise WrongUsage(
            f"--classes must name each class of the taxonomy {spec.slug} once ({', '.join(spec.names)}), "
            f"received {', '.join(own.classes)}."
        )
    positive = _class(spec, own.positive_class, "--positive-class") if own.positive_class else None
    if positive and len(spec.names) != 2:
        raise WrongUsage(
            f"A positive class ({positive}) belongs to a model with one output and two classes; the taxonomy "
            f"{spec.slug} has {', '.join(spec.names)}. Leave --positive-class out, or choose another taxonomy."
        )
    _compare_labels(own.path, spec, order or spec.names, positive)
    folder = convert_and_register(
        Declared(
            path=str(own.path),
            name=own.name,
            taxonomy=spec.slug,
            class_names=spec.names,
            profile=own.profile,
            output_order=order if order != spec.names and positive is None else (),
            positive_class=positive,
            embedding_layer=own.embedding_layer,
            input_size=own.input_size,
            output="logits" if own.logits else "probabilities",
            licence=own.licence,
            trained_on=own.trained_on,
            trust_code=own.trust_code,
        ),
        Path(settings.MODELS_ROOT),
        sha256=own.sha256,
        progress=progress,
    )
    return register_folder(folder, spec)


def _class(spec: TaxonomySpec, label: str, option: str) -> str:
    found = spec.resolve(label)
    if found is None:
        raise WrongUsage(
            f"{option} must name a class of the taxonomy {spec.slug} ({', '.join(spec.names)}), received {label!r}."
            f"{nearest(label, spec.names)}"
        )
    return found


def _compare_labels(path: Path, spec: TaxonomySpec, order: tuple[str, ...], positive: str | None) -> None:
    """Hold the labels that came with the model against what was declared; neither is believed over the other."""
    beside = labels_beside(path)
    if beside is None:
        return
    file, labels = beside
    found = tuple(spec.resolve(label) or label for label in labels)
    if positive is not None:
        # Two labels of a single output: it is the probability of the second.
        if sorted(found) != sorted(spec.names) or found[1] != positive:
            raise WrongUsage(
                f"{file} lists {', '.join(labels)}, which makes the one output the probability of {labels[-1]}, but "
                f"--positive-class says {positive}. Correct whichever is wrong."
            )
    elif found != order:
        raise WrongUsage(
            f"{file} lists the outputs as {', '.join(labels)}, expected {', '.join(order)}. If the file is right, say "
            f"--classes {','.join(labels)} and choose the taxonomy that has these classes; if it is wrong, correct it."
        )


def register_folder(folder: ModelFolder, spec: TaxonomySpec | None = None) -> ModelVersion:
    """The model version of a finished model folder below WINNOW_HOME/models.

    Args:
        folder: finished and checked.
        spec: its taxonomy, where that is no built-in one.

    Raises:
        WrongUsage: the model's classes are not those of the taxonomy that its sidecar names.
    """
    sidecar = folder.sidecar
    spec = spec or load_taxonomy(sidecar.taxonomy)
    if tuple(sidecar.class_names) != spec.names:
        raise WrongUsage(
            f"The model {sidecar.name} has the classes {', '.join(sidecar.class_names)}, but the taxonomy "
            f"{spec.slug} has {', '.join(spec.names)}: they must be the same, in the same order."
        )
    return register_model_version(
        name=sidecar.name,
        taxonomy=register_taxonomy(spec),
        folder=folder.path.name,
        sha256=sidecar.model_sha256,
        profile=sidecar.profile,
        embedding_size=sidecar.embedding_size,
        sidecar=asdict(sidecar),
    )


def model_folder(model_version: ModelVersion) -> Path:
    return Path(settings.MODELS_ROOT) / model_version.folder


def current_model(name: str | None = None, dataset: Dataset | None = None) -> ModelVersion:
    """The named model; without a name the one that the dataset works with.

    Args:
        name: `NAME` for the newest version, or `NAME@VERSION`.
        dataset: whose promoted model is meant without a name. Without a promotion it is the starter model.

    Raises:
        WrongUsage: it is not there, with the command that brings it.
    """
    promoted = promoted_model(dataset) if dataset is not None and not name else None
    if promoted is not None:
        return promoted
    wanted, _, version = (name or STARTER).partition("@")
    versions = ModelVersion.objects.filter(name=wanted).select_related("taxonomy").order_by("-version")
    if version and versions:
        found = versions.filter(version=int(version)).first() if version.isdecimal() and len(version) < 10 else None
        if found is None:
            known = ", ".join(f"{wanted}@{one.version}" for one in versions)
            raise WrongUsage(f"There is no version {version!r} of the model {wanted} (there is {known}).")
        return found
    newest = versions.first()
    if newest is None:
        names = sorted(set(ModelVersion.objects.values_list("name", flat=True)))
        command = f"fetch_model {wanted}" if wanted in CATALOGUE else f"register_model PATH --name {wanted} …"
        raise WrongUsage(
            f"There is no model {wanted!r} (there is {', '.join(names) or 'none yet'}).{nearest(wanted, names)} "
            f"Bring it with: manage.py {command}"
        )
    return newest


def has_network(model_version: ModelVersion) -> bool:
    """Whether the model can score images; one that was imported as a file of answers cannot."""
    return model_version.profile != ELSEWHERE


def reference_to(model_version: ModelVersion) -> str:
    """How to name this very version to `current_model`."""
    return f"{model_version.name}@{model_version.version}"
