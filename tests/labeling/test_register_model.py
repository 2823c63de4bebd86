"""`manage.py register_model`: facts that are missing or contradict each other are refused, and nothing stays."""

import shutil
from pathlib import Path

import pytest
from django.conf import settings

from labeling.actions.datasets import dataset_for_import
from labeling.models import ModelVersion, Prediction
from labeling.pipeline.importing import import_images, plan_import
from labeling.pipeline.scoring import score
from labeling.taxonomies import load_taxonomy
from tests.builders import write_class_folders
from tests.labeling.test_commands import facts, run
from tests.starter import starter_model_folder

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A `.tflite` file as somebody else would have it: the starter model's, without its sidecar."""
    shutil.copy(starter_model_folder() / "model.tflite", tmp_path / "ours.tflite")
    return tmp_path / "ours.tflite"


def arguments(model: Path, **changes: str) -> list[str]:
    # The starter's file has two outputs already; naming one as the embedding leaves the other as the answer.
    options = {"--name": "ours", "--taxonomy": "five", "--profile": "nsfwjs", "--embedding-layer": embedding(model)}
    return [
        "register_model", str(model), *(part for pair in {**options, **changes}.items() for part in pair if part)
    ]  # fmt: skip


def embedding(model: Path) -> str:
    from ai_edge_litert.interpreter import Interpreter

    (name,) = (out["name"] for out in Interpreter(str(model)).get_output_details() if out["shape"][1] == 1280)
    return str(name)


def models() -> list[str]:
    found = settings.MODELS_ROOT.iterdir() if settings.MODELS_ROOT.is_dir() else ()
    return sorted(path.name for path in found if path.name.startswith(("ours", ".registering")))


def test_a_registered_model_scores_a_dataset(model: Path, tmp_path: Path) -> None:
    summary = facts(*arguments(model), "--trained-on", "our own pictures")
    assert (summary["name"], summary["version"], summary["runtime"]) == ("ours", 1, "litert")
    assert summary["drift"]["max_probability"] <= 1e-3
    version = ModelVersion.objects.get(name="ours")
    assert version.sidecar["trained_on"] == "our own pictures"
    assert version.sidecar["source"] == "file:ours.tflite"
    assert version.embedding_size == 1280
    root = write_class_folders(tmp_path / "set", {"drawings": 2})
    five = load_taxonomy("five")
    dataset = dataset_for_import("set", five)
    import_images(dataset, plan_import(root, five, labels=None, mapping={}))
    assert score(dataset, model="ours").scored == 2
    assert Prediction.objects.filter(model_version=version).count() == 2


def test_the_same_call_finds_the_same_version_and_other_facts_make_a_new_one(model: Path) -> None:
    first = facts(*arguments(model))
    assert facts(*arguments(model))["version"] == first["version"]
    turned = facts(*arguments(model), "--classes", "sexy,porn,neutral,hentai,Drawing")
    assert turned["version"] == first["version"] + 1
    assert turned["output_order"] == ["sexy", "porn", "neutral", "hentai", "drawings"]
    assert turned["class_names"] == ["drawings", "hentai", "neutral", "porn", "sexy"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--taxonomy": "seven"}, "expected 7 outputs (nsfw_cartoon, "),
        ({"--taxonomy": "binary", "--positive-class": "nsfw"}, "expected one output for the positive class nsfw"),
        ({"--positive-class": "porn"}, "A positive class (porn) belongs to a model with one output and two classes"),
        ({"--positive-class": "prn"}, "--positive-class must name a class of the taxonomy five"),
        ({"--classes": "drawings,porn"}, "--classes must name each class of the taxonomy five once"),
        ({"--classes": "drawings,hentai,neutral,porn,sexi"}, "received 'sexi'. Did you mean sexy?"),
        ({"--profile": "seven_"}, "expected a preprocessing profile of"),
        ({"--embedding-layer": "nothing"}, "name the one that is an embedding with --embedding-layer"),
        ({"--sha256": "0" * 64}, "so nothing of it is used"),
        ({"--taxonomy": "sixth"}, "There is no taxonomy 'sixth'"),
    ],
)  # fmt: skip
def test_what_does_not_hold_exits_2_and_registers_nothing(changes: dict[str, str], message: str, model: Path) -> None:
    before = models()
    code, said = run(*arguments(model, **changes))
    assert (code, message in said) == (2, True), said
    assert "\n" not in said
    assert models() == before
    assert not ModelVersion.objects.exists()


def test_class_labels_beside_the_model_must_agree(model: Path) -> None:
    labels = model.parent / "class_labels.txt"
    labels.write_text("Drawing\nHentai\nNeutral\nPorn\nSexy\n")
    assert run(*arguments(model))[0] == 0
    labels.write_text("Neutral\nHentai\nDrawing\nPorn\nSexy\n")
    code, said = run(*arguments(model))
    assert (code, "lists the outputs as Neutral, Hentai, Drawing, Porn, Sexy" in said) == (2, True)
    assert run(*arguments(model), "--classes", "Neutral,Hentai,Drawing,Porn,Sexy")[0] == 0


def test_two_labels_say_which_class_a_single_output_means(model: Path) -> None:
    # Folders in alphabetical order give nsfw 0 and sfw 1, so that the sigmoid is P(sfw): the tutorial's fault.
    (model.parent / "class_labels.txt").write_text("nsfw\nsfw\n")
    code, said = run(*arguments(model, **{"--taxonomy": "binary", "--positive-class": "nsfw"}))
    assert code == 2
    assert "makes the one output the probability of sfw, but --positive-class says nsfw" in said


def test_a_taxonomy_of_ones_own_goes_with_the_model(model: Path, tmp_path: Path) -> None:
    own = tmp_path / "looks.toml"
    own.write_text("".join(f'[[classes]]\nname = "look{number}"\n' for number in range(5)))
    assert facts(*arguments(model, **{"--taxonomy": str(own)}))["class_names"] == [f"look{n}" for n in range(5)]
