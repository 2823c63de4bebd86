"""Engines: one way to score, here or on a Ray cluster, with the same answers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.engines import Engine, open_engine
from inference.errors import ArrayRefused, EngineFailed, MissingTool, ModelRefused
from inference.predict import Scored, Unscored, score_images
from tests.ray_cluster import on_ray, one_node_cluster, write_crops


def test_the_local_engine_answers_as_the_scorer(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    with open_engine() as engine:
        answers = list(engine.score(starter_folder, enumerate(photographs)))
    for answer, expected in zip(answers, score_images(starter_folder, enumerate(photographs)), strict=True):
        assert isinstance(answer, Scored)
        assert isinstance(expected, Scored)
        np.testing.assert_array_equal(answer.probabilities, expected.probabilities)


def test_it_refuses_an_engine_that_there_is_not_and_an_address_for_another() -> None:
    with pytest.raises(ArrayRefused, match="engine of local, ray, received 'spark'"), open_engine("spark"):
        pass
    with pytest.raises(ArrayRefused, match="no Ray address"), open_engine("local", ray_address="auto"):
        pass


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingTool, match=r"pip install '\.\[ray\]'"), open_engine("ray"):
        pass


@pytest.fixture(scope="class")
def engine() -> Iterator[Engine]:
    """A cluster of one node with one core, and the connection to it."""
    with one_node_cluster() as cluster, open_engine("ray", ray_address=cluster.address) as connected:
        yield connected


class TestRay:
    pytestmark = on_ray

    def test_it_answers_each_image_once_and_as_the_local_engine(
        self, engine: Engine, starter_folder: Path, photographs: tuple[Path, Path], tmp_path: Path
    ) -> None:
        crops = write_crops(tmp_path / "crops", photographs, 70)
        crops[7] = crops[7].rename(tmp_path / "crops" / os.fsdecode(b"caf\xe9.jpg"))
        (tmp_path / "broken.jpg").write_bytes(b"no image")
        paths = [*photographs, *crops, tmp_path / "broken.jpg", tmp_path / "missing.jpg"]
        expected = list(score_images(starter_folder, enumerate(paths)))
        answers = sorted(engine.score(starter_folder, enumerate(paths)), key=lambda answer: answer.key)
        assert [answer.key for answer in answers] == list(range(len(paths)))
        for answer, wanted in zip(answers, expected, strict=True):
            if isinstance(wanted, Unscored):
                assert answer == wanted
            else:
                assert isinstance(answer, Scored)
                np.testing.assert_allclose(answer.probabilities, wanted.probabilities, rtol=0, atol=1e-6)
                np.testing.assert_allclose(answer.embedding, wanted.embedding, rtol=0, atol=1e-3)
        assert [type(answer) for answer in answers[-3:]] == [Scored, Unscored, Unscored]

    def test_it_reads_a_wave_at_a_time_and_stops_when_told_to(
        self, engine: Engine, starter_folder: Path, photographs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("inference.engines.ray.WAVE_A_CORE", 3)
        read = 0

        def items() -> Iterator[tuple[int, Path]]:
            nonlocal read
            for read in range(1, 10):
                yield read, photographs[0]

        answers: list[object] = []
        for answer in engine.score(starter_folder, items(), stop=lambda: len(answers) >= 5):
            answers.append(answer)  # noqa: PERF402  (`stop` has to see the list grow)
        assert len(answers) == 6
        assert read == 9

    def test_it_fails_in_one_line_when_a_node_does_not_see_the_files(
        self, engine: Engine, starter_folder: Path, photographs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # On one machine all nodes see the same files: what is taken away here stands before the first decoder runs.
        def without_mount(block: dict[str, Any], **facts: Any) -> dict[str, Any]:
            from inference.engines import ray

            elsewhere = block | {"path": [b"/nowhere" + path for path in block["path"]]}
            return ray._decode_block(elsewhere, **facts) | {"path": block["path"]}

        monkeypatch.setattr("inference.engines.ray._decode_block", without_mount)
        with pytest.raises(EngineFailed, match=r"china\.jpg under this path on every node .* mount") as failed:
            list(engine.score(starter_folder, enumerate(photographs)))
        assert "\n" not in str(failed.value)

    def test_it_fails_in_one_line_when_the_same_images_end_every_worker(
        self, engine: Engine, starter_folder: Path, photographs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What the kernel does to a process that takes too much memory.
        def killed(block: dict[str, Any], **facts: Any) -> dict[str, Any]:
            os.kill(os.getpid(), signal.SIGKILL)
            return block

        monkeypatch.setattr("inference.engines.ray._decode_block", killed)
        monkeypatch.setattr("inference.engines.ray.RETRIES", 1)
        with pytest.raises(EngineFailed, match=r"workers died 2 times at the same images .* memory") as failed:
            list(engine.score(starter_folder, enumerate(photographs)))
        assert "\n" not in str(failed.value)

    def test_it_refuses_an_unusable_model_before_anything_is_sent(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(ModelRefused):
            engine.score(tmp_path, [(1, tmp_path / "a.jpg")])


class TestWithoutCluster:
    pytestmark = on_ray

    @pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "ray://head:10001"])
    def test_it_fails_in_one_line_when_no_cluster_is_there(self, address: str) -> None:
        message = rf"expected a Ray cluster at {address}, .* `ray status`"
        with pytest.raises(EngineFailed, match=message) as failed, open_engine("ray", ray_address=address):
            pass
        assert "\n" not in str(failed.value)
