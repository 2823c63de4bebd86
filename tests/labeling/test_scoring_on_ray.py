"""`score --engine ray`: the same run as on one machine, on a real cluster that loses a node in the middle."""

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from django.conf import settings
from django.core.management import CommandError, call_command

from inference.predict import Scored, score_images
from labeling.actions.datasets import dataset_for_import
from labeling.models import Dataset, Prediction, Run, RunKind, RunState
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.importing import import_images, plan_import
from labeling.pipeline.model_versions import current_model, fetch_model
from labeling.pipeline.scoring import score
from labeling.taxonomies import load_taxonomy
from tests.builders import add_images, make_dataset, write_class_folders
from tests.ray_cluster import OBJECT_STORE, on_ray, one_node_cluster, write_crops
from tests.starter import starter_model_folder

pytestmark = pytest.mark.django_db
FIVE = load_taxonomy("five")
PHOTOGRAPHS = tuple(sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg")))
CROPS = 700


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "EMBEDDINGS_ROOT", tmp_path / "embeddings")
    if not (target := settings.MODELS_ROOT / starter_model_folder().name).exists():
        shutil.copytree(starter_model_folder(), target)
    fetch_model("nsfwjs-mobilenet-v2")


def import_folder(root: Path) -> Dataset:
    dataset = dataset_for_import("set", FIVE)
    import_images(dataset, plan_import(root, FIVE, labels=None, mapping={}))
    return dataset


class TestOnACluster:
    pytestmark = on_ray

    # Real commits: the heartbeat writes from a thread of its own.
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("starter")
    def test_every_image_is_scored_and_none_twice_although_a_node_is_killed_in_the_middle(self, tmp_path: Path) -> None:
        import ray

        root = write_class_folders(tmp_path / "set", {"drawings": 3})
        assert score(import_folder(root)).scored == 3
        crops = write_crops(root / "neutral", PHOTOGRAPHS, CROPS)
        dataset = import_folder(root)
        crops[-1].write_bytes(b"broken after its import")

        with one_node_cluster() as cluster:
            doomed = cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE, include_dashboard=False)
            worked_on: set[str] = set()

            def kill_a_node(done: int, total: int | None, stage: str) -> None:
                if doomed.node_id in worked_on or done < 200:
                    return
                # Only for a while: Ray starts nothing on another node as long as nobody takes the answers it has.
                deadline = time.monotonic() + 60
                while doomed.node_id not in worked_on and time.monotonic() < deadline:
                    actors = ray._private.state.actors().values()
                    worked_on.update(actor["Address"]["NodeID"] for actor in actors if actor["State"] == "ALIVE")
                    time.sleep(0.1)
                if doomed.node_id in worked_on:
                    cluster.remove_node(doomed, allow_graceful=False)

            summary = score(dataset, engine="ray", ray_address=cluster.address, listener=kill_a_node)
        assert doomed.node_id in worked_on
        assert not ray.is_initialized()

        assert (summary.scored, summary.already, summary.refused) == (CROPS - 1, 3, 1)
        predictions = Prediction.objects.filter(image__dataset=dataset)
        rows = sorted(predictions.values_list("embedding_row", flat=True))
        assert rows == list(range(CROPS + 2))
        assert sorted(predictions.values_list("image__path", flat=True)) == sorted(
            path.relative_to(root).as_posix() for path in root.rglob("*.*") if path != crops[-1]
        )
        stored = EmbeddingFile(dataset, current_model())
        for answer in score_images(starter_model_folder(), ((path, path) for path in crops[:-1:20])):
            assert isinstance(answer, Scored)
            found = predictions.get(image__path=answer.key.relative_to(root).as_posix())
            probabilities = np.frombuffer(found.probabilities, dtype="<f4")
            np.testing.assert_allclose(probabilities, answer.probabilities, rtol=0, atol=1e-6)
            embedding = stored.rows(np.array([found.embedding_row]))[0]
            np.testing.assert_allclose(embedding, answer.embedding, rtol=0, atol=1e-3)

    @pytest.mark.usefixtures("starter")
    def test_a_cluster_that_is_not_there_fails_the_run_in_one_line(self) -> None:
        add_images(make_dataset("set"), 1)
        with pytest.raises(CommandError, match=r"expected a Ray cluster at 127\.0\.0\.1:1, ") as ended:
            call_command("score", "set", "--engine", "ray", "--ray-address", "127.0.0.1:1")
        assert ended.value.returncode == 2
        assert "\n" not in str(ended.value)
        assert Run.objects.get(kind=RunKind.SCORE).state == RunState.FAILED


@pytest.mark.usefixtures("starter")
def test_without_ray_the_command_says_in_one_line_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    add_images(make_dataset("set"), 1)
    with pytest.raises(CommandError, match=r"ray, it is not installed: pip install '\.\[ray\]'") as ended:
        call_command("score", "set", "--engine", "ray")
    assert ended.value.returncode == 2
    assert "\n" not in str(ended.value)


def test_an_address_without_the_engine_it_belongs_to_is_refused() -> None:
    make_dataset("set")
    with pytest.raises(CommandError, match="--ray-address auto belongs to --engine ray") as ended:
        call_command("score", "set", "--ray-address", "auto")
    assert ended.value.returncode == 2
