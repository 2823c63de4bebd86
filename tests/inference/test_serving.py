"""The serving predictor: right under concurrency, bounded, quick to refuse, without TensorFlow."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from inference import serving
from inference.errors import ArrayRefused, Busy, ImageRefused, ModelRefused
from inference.models.compiled import CompiledModel
from inference.models.sidecar import ModelFolder
from inference.preprocess import DecodedImage, decode
from inference.serving import Answer, ServingPredictor


@pytest.fixture
def predictor(starter_folder: Path) -> Iterator[ServingPredictor]:
    with ServingPredictor(starter_folder, interpreters=2, waiting=2) as opened:
        yield opened


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is closed, decoding does not end, so requests pile up behind it."""
    opened = threading.Event()

    def decode_behind_the_gate(source: Path | bytes, *, max_pixels: int) -> DecodedImage:
        assert opened.wait(20)
        return decode(source, max_pixels=max_pixels)

    monkeypatch.setattr(serving, "decode", decode_behind_the_gate)
    return opened


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_bytes_and_a_file_get_the_answer_of_the_interop_table(
    predictor: ServingPredictor, photographs: tuple[Path, Path]
) -> None:
    from_file, from_bytes = predictor.predict(photographs[0]), predictor.predict(photographs[0].read_bytes())
    assert from_file.predicted_class == "neutral"
    assert from_file.by_class()["neutral"] == pytest.approx(0.99652, abs=1e-3)
    assert from_file.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert (from_file.width, from_file.height, from_file.profile) == (640, 427, "nsfwjs")
    np.testing.assert_array_equal(from_file.probabilities, from_bytes.probabilities)
    np.testing.assert_array_equal(from_file.embedding, from_bytes.embedding)


def test_many_threads_each_get_their_own_pictures_answer(
    starter_folder: Path, starter_model: CompiledModel, photographs: tuple[Path, Path]
) -> None:
    with ServingPredictor(starter_folder, interpreters=2, waiting=32) as predictor:
        expected = [predictor.predict(path).probabilities for path in photographs]
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda number: predictor.predict(photographs[number % 2]), range(32)))
    for number, answer in enumerate(answers):
        np.testing.assert_array_equal(answer.probabilities, expected[number % 2])


def test_a_full_queue_refuses_at_once_and_the_others_are_answered(
    predictor: ServingPredictor, photographs: tuple[Path, Path], gate: threading.Event
) -> None:
    with ThreadPoolExecutor(4) as clients:
        admitted = [clients.submit(predictor.predict, photographs[0]) for _ in range(4)]
        until(lambda: predictor._admitted == 4)
        begun = time.monotonic()
        with pytest.raises(Busy, match="at most 4 requests at once") as refused:
            predictor.predict(photographs[0])
        assert time.monotonic() - begun < 0.5
        assert 0 < refused.value.retry_after < 10
        gate.set()
        assert all(isinstance(future.result(20), Answer) for future in admitted)
    assert isinstance(predictor.predict(photographs[0]), Answer)


def test_a_request_that_waited_too_long_gives_its_place_back(
    starter_folder: Path, photographs: tuple[Path, Path], gate: threading.Event
) -> None:
    with ServingPredictor(starter_folder, interpreters=1, waiting=1) as predictor, ThreadPoolExecutor(1) as clients:
        first = clients.submit(predictor.predict, photographs[0])
        until(lambda: predictor._admitted == 1)
        for _ in range(3):
            with pytest.raises(Busy, match=r"no answer within 0\.02 seconds"):
                predictor.predict(photographs[0], timeout=0.02)
        assert predictor._admitted == 1
        gate.set()
        assert isinstance(first.result(20), Answer)


def test_a_broken_picture_is_refused_and_its_place_is_free_again(
    starter_folder: Path, photographs: tuple[Path, Path]
) -> None:
    with ServingPredictor(starter_folder, interpreters=1, waiting=0) as predictor:
        for broken, code in ((b"", "empty"), (b"no image", "not_an_image"), (Path("/nowhere.jpg"), "unreadable")):
            with pytest.raises(ImageRefused) as refused:
                predictor.predict(broken)
            assert refused.value.code == code
        assert predictor.predict(photographs[0]).predicted_class == "neutral"


def test_the_pixel_limit_reaches_it(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    with (
        ServingPredictor(starter_folder, interpreters=1, max_pixels=1000) as predictor,
        pytest.raises(ImageRefused, match="at most 1,000 pixels"),
    ):
        predictor.predict(photographs[0])


def test_no_more_interpreters_are_opened_than_asked_for_and_none_before_the_first_request(
    starter_folder: Path, photographs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    real = CompiledModel.open

    def counting(folder: ModelFolder, *, serving: bool) -> CompiledModel:
        opened.append(folder)
        return real(folder, serving=serving)

    monkeypatch.setattr(CompiledModel, "open", counting)
    with ServingPredictor(starter_folder, interpreters=2, waiting=30) as predictor:
        assert not opened
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(predictor.predict, [photographs[0]] * 24))
    assert 1 <= len(opened) <= 2


def test_an_unusable_model_is_refused_by_each_request_and_may_be_mended(
    starter_folder: Path, photographs: tuple[Path, Path], tmp_path: Path
) -> None:
    with ServingPredictor(tmp_path / "model", interpreters=1, waiting=0) as predictor:
        with pytest.raises(ModelRefused, match="expected a sidecar"):
            predictor.predict(photographs[0])
        (tmp_path / "model").symlink_to(starter_folder)
        assert predictor.predict(photographs[0]).predicted_class == "neutral"


def test_closing_ends_its_threads_and_twice_is_no_error(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    predictor = ServingPredictor(starter_folder, interpreters=2)
    predictor.predict(photographs[0])
    predictor.close()
    predictor.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("serving")]
    with pytest.raises(RuntimeError):
        predictor.predict(photographs[0])


@pytest.mark.parametrize("options", [{"interpreters": 0}, {"waiting": -1}])
def test_numbers_that_make_no_pool_are_refused(starter_folder: Path, options: dict[str, int]) -> None:
    with pytest.raises(ArrayRefused, match="1 or more"):
        ServingPredictor(starter_folder, interpreters=options.get("interpreters"), waiting=options.get("waiting"))


def test_serving_never_imports_tensorflow(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    script = (
        "import sys; from pathlib import Path; from inference.serving import ServingPredictor\n"
        "with ServingPredictor(Path(sys.argv[1])) as predictor: predictor.predict(Path(sys.argv[2]))\n"
        "sys.exit(bool({'tensorflow', 'keras', 'django'} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", script, str(starter_folder), str(photographs[0])]
    assert subprocess.run(arguments, cwd=Path(__file__).parents[2], check=False).returncode == 0
