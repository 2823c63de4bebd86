"""Fetching models and choosing one."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from django.conf import settings

from inference.models.fetch import fetch_model as fetch
from inference.models.sidecar import ModelFolder
from labeling.actions.datasets import register_taxonomy
from labeling.actions.predictions import register_model_version
from labeling.errors import WrongUsage, nearest
from labeling.models import ModelVersion
from labeling.taxonomies import load_taxonomy

STARTER = "nsfwjs-mobilenet-v2"


def fetch_model(name: str, *, progress: Callable[[str], None] | None = None) -> ModelVersion:
    """Bring a public model by name, compile it, check it, and register it; at once when all that is done."""
    folder = fetch(name, Path(settings.MODELS_ROOT), progress=progress)
    return register_folder(folder)


def register_folder(folder: ModelFolder) -> ModelVersion:
    """The model version of a finished model folder below WINNOW_HOME/models.

    Raises:
        WrongUsage: the model's classes are not those of the taxonomy that its sidecar names.
    """
    sidecar = folder.sidecar
    spec = load_taxonomy(sidecar.taxonomy)
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


def current_model(name: str | None = None) -> ModelVersion:
    """The newest version of the named model, or of the starter model.

    Raises:
        WrongUsage: it is not there, with the command that brings it.
    """
    wanted = name or STARTER
    found = ModelVersion.objects.filter(name=wanted).select_related("taxonomy").order_by("-version").first()
    if found is None:
        known = sorted(set(ModelVersion.objects.values_list("name", flat=True)))
        raise WrongUsage(
            f"There is no model {wanted!r} (there is {', '.join(known) or 'none yet'}).{nearest(wanted, known)} "
            f"Bring it with: manage.py fetch_model {STARTER if name is None else wanted}"
        )
    return found
