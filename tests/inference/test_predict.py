"""The scorer: every item answered under its key, bounded, stoppable, not upset by broken files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inference import predict
from inference.errors import ArrayRefused, ModelRefused
from inference.models.compiled import CompiledModel
from inference.predict import Scored, Unscored, score_images
from inference.preprocess import decode, prepare


def scorer_threads() -> int:
    return sum(thread.name.startswith("scorer") for thread in threading.enumerate())


def test_every_item_is_answered_in_order_under_its_key(
    starter_folder: Path, starter_model: CompiledModel, photographs: tuple[Path, Path]
) -> None:
    items = [(f"key {number}", photographs[number % 2]) for number in range(21)]
    answers = list(score_images(starter_folder, items, batch_size=4, workers=2))
    assert [answer.key for answer in answers] == [key for key, _ in items]
    inputs = np.stack([prepare(decode(path), "nsfwjs", (224, 224)) for path in photographs])
    probabilities, embeddings = starter_model.predict(inputs)
    for number, answer in enumerate(answers):
        assert isinstance(answer, Scored)
        assert answer.probabilities.dtype == np.float32
        assert answer.embedding.dtype == np.float16
        np.testing.assert_allclose(answer.probabilities, probabilities[number % 2], atol=1e-6)
        np.testing.assert_allclose(answer.embedding, embeddings[number % 2], rtol=1e-3, atol=1e-4)


def test_a_broken_file_is_answered_with_its_reason_and_the_rest_goes_on(
    starter_folder: Path, photographs: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.jpg").write_bytes(photographs[0].read_bytes()[:20_000])
    paths = [
        tmp_path / "empty.jpg",
        photographs[0],
        tmp_path / "text.jpg",
        tmp_path / "cut.jpg",
        tmp_path / "none.jpg",
    ]
    answers = list(score_images(starter_folder, enumerate(paths), workers=2))
    codes = [answer.code if isinstance(answer, Unscored) else "scored" for answer in answers]
    assert codes == ["empty", "scored", "not_an_image", "truncated", "unreadable"]


def test_the_pixel_limit_reaches_the_scorer(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    [answer] = score_images(starter_folder, [(1, photographs[0])], max_pixels=1000)
    assert isinstance(answer, Unscored)
    assert answer.code == "too_many_pixels"


def test_it_reads_only_a_few_batches_ahead(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    read = 0

    def endless() -> Iterator[tuple[int, Path]]:
        nonlocal read
        while True:
            read += 1
            yield read, photographs[0]

    answers = score_images(starter_folder, endless(), batch_size=2, workers=2)
    for _ in range(6):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert read <= 6 + 2 * 2 * (predict.BATCHES_AHEAD + 1)


def test_items_and_stop_stay_in_the_callers_thread(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    seen: set[int] = set()

    def items() -> Iterator[tuple[int, Path]]:
        for number in range(20):
            seen.add(threading.get_ident())
            yield number, photographs[0]

    def stop() -> bool:
        seen.add(threading.get_ident())
        return False

    assert len(list(score_images(starter_folder, items(), batch_size=2, workers=2, stop=stop))) == 20
    assert seen == {threading.get_ident()}


def test_it_ends_soon_when_told_to_stop(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    answers: list[object] = []
    items = ((number, photographs[0]) for number in range(100_000))
    scored = score_images(starter_folder, items, batch_size=2, workers=2, stop=lambda: len(answers) >= 6)
    for answer in scored:
        answers.append(answer)  # noqa: PERF402  (`stop` has to see the list grow)
    assert 6 <= len(answers) <= 8
    assert scorer_threads() == 0


def test_closing_it_ends_the_threads(starter_folder: Path, photographs: tuple[Path, Path]) -> None:
    answers = score_images(starter_folder, ((n, photographs[0]) for n in range(100_000)), batch_size=8, workers=2)
    next(answers)
    assert scorer_threads() == 2
    started = time.monotonic()
    answers.close()  # type: ignore[attr-defined]
    assert scorer_threads() == 0
    assert time.monotonic() - started < 2


def test_an_error_that_is_not_about_one_image_is_raised(
    starter_folder: Path, photographs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(predict, "prepare", breaks)
    with pytest.raises(RuntimeError, match="out of order"):
        list(score_images(starter_folder, [(1, photographs[0])]))
    assert scorer_threads() == 0


def test_an_unusable_model_is_refused_before_the_first_item(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused):
        score_images(tmp_path, iter([]))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": 0}])
def test_numbers_below_one_are_refused(starter_folder: Path, options: dict[str, int]) -> None:
    with pytest.raises(ArrayRefused, match="1 or more"):
        score_images(starter_folder, [], batch_size=options.get("batch_size", 8), workers=options.get("workers"))


def test_nothing_in_nothing_out(starter_folder: Path) -> None:
    assert list(score_images(starter_folder, [])) == []
