"""What an import learns of one file."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.errors import ArrayRefused, ImageRefused
from inference.image_quality import quality_figures
from inference.inspection import inspect_image, pixel_digest


def differing_bits(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()


def test_it_tells_the_facts_of_a_photograph(photographs: tuple[Path, Path]) -> None:
    facts = inspect_image(photographs[0])
    data = photographs[0].read_bytes()
    assert (facts.sha256, facts.byte_size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (facts.width, facts.height, facts.format, facts.mode) == (640, 427, "JPEG", "RGB")
    assert -(2**63) <= facts.phash < 2**63
    assert -(2**63) <= facts.dhash < 2**63
    assert 0.2 < facts.brightness < 0.8
    assert 0.1 < facts.contrast < 1
    assert facts.sharpness > 0
    assert 6 < facts.entropy <= 8


def test_the_thumbnail_is_a_small_upright_jpeg_without_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a private remark"
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (900, 300), "teal").save(path, exif=exif, comment=b"another private remark")
    facts = inspect_image(path)
    assert b"private" not in facts.thumbnail
    with Image.open(io.BytesIO(facts.thumbnail)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (107, 320))
    assert (facts.width, facts.height) == (300, 900)


def test_a_thumbnail_is_never_enlarged_and_its_size_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.new("RGB", (32, 20), "teal").save(path)
    for wanted, size in ((320, (32, 20)), (16, (16, 10))):
        with Image.open(io.BytesIO(inspect_image(path, thumbnail_size=wanted).thumbnail)) as thumbnail:
            assert thumbnail.size == size


def test_an_extreme_shape_keeps_a_pixel(tmp_path: Path) -> None:
    path = tmp_path / "line.png"
    Image.new("RGB", (5000, 1), "teal").save(path)
    with Image.open(io.BytesIO(inspect_image(path).thumbnail)) as thumbnail:
        assert thumbnail.size == (320, 1)


def test_the_same_pixels_in_another_file_have_the_same_pixel_digest(
    photographs: tuple[Path, Path], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photographs[0]) as photograph:
        photograph.save(tmp_path / "picture.png")
        photograph.save(tmp_path / "picture.bmp")
        photograph.save(tmp_path / "picture.webp", lossless=True)
        photograph.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
        photograph.save(tmp_path / "again.jpg", quality=95)
        changed = photograph.copy()
        changed.putpixel((639, 426), (1, 2, 3))
        changed.save(tmp_path / "changed.png")
    facts = {path.name: inspect_image(path) for path in tmp_path.iterdir()}
    original = inspect_image(photographs[0])
    for name in ("picture.png", "picture.bmp", "picture.webp", "turned.png"):
        assert facts[name].sha256 != original.sha256
        assert facts[name].pixel_sha256 == original.pixel_sha256
    assert facts["again.jpg"].pixel_sha256 != original.pixel_sha256
    assert facts["changed.png"].pixel_sha256 != original.pixel_sha256


def test_flat_pictures_of_other_sides_or_colours_have_other_pixel_digests() -> None:
    pictures = [((6, 4), "white"), ((4, 6), "white"), ((12, 2), "white"), ((6, 4), "black"), ((6, 4), "ivory")]
    assert len({pixel_digest(Image.new("RGB", size, colour)) for size, colour in pictures}) == len(pictures)


def test_the_pixel_digest_does_not_depend_on_its_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8))
    expected = hashlib.sha256("17×31:".encode() + noise.tobytes()).hexdigest()
    for pixels in (1, 40, 1 << 20):
        monkeypatch.setattr("inference.inspection.STRIP_PIXELS", pixels)
        assert pixel_digest(noise) == expected


def test_copies_of_a_photograph_have_near_hashes_and_other_photographs_far_ones(
    photographs: tuple[Path, Path], tmp_path: Path
) -> None:
    first, other = (inspect_image(path) for path in photographs)
    with Image.open(photographs[0]) as photograph:
        photograph.save(tmp_path / "again.jpg", quality=40)
        photograph.resize((320, 214)).save(tmp_path / "half.webp")
    for name in ("again.jpg", "half.webp"):
        copy = inspect_image(tmp_path / name)
        assert copy.sha256 != first.sha256
        assert differing_bits(copy.phash, first.phash) <= 8
        assert differing_bits(copy.dhash, first.dhash) <= 8
    assert differing_bits(first.phash, other.phash) > 16


def test_it_gives_the_same_facts_in_many_threads(photographs: tuple[Path, Path]) -> None:
    expected = [inspect_image(path) for path in photographs]
    with ThreadPoolExecutor(8) as pool:
        received = list(pool.map(inspect_image, photographs * 10))
    assert received == expected * 10


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(ImageRefused):
        inspect_image(path)


def test_quality_figures_of_known_pictures() -> None:
    black, white = np.zeros((10, 10), np.uint8), np.full((10, 10), 255, np.uint8)
    board = np.indices((10, 10)).sum(axis=0).astype(np.uint8) % 2 * np.uint8(255)
    assert [quality_figures(picture).brightness for picture in (black, white, board)] == [0, 1, 0.5]
    assert [quality_figures(picture).contrast for picture in (black, white, board)] == [0, 0, 1]
    assert [quality_figures(picture).entropy for picture in (black, white, board)] == [0, 0, 1]
    assert quality_figures(black).sharpness == 0
    assert quality_figures(board).sharpness == pytest.approx(16)


def test_a_blurred_picture_is_less_sharp(photographs: tuple[Path, Path]) -> None:
    with Image.open(photographs[0]) as photograph:
        grey = photograph.convert("L")
    blurred = grey.resize((80, 53)).resize(grey.size)
    assert quality_figures(np.asarray(blurred)).sharpness < quality_figures(np.asarray(grey)).sharpness / 4


def test_quality_figures_refuse_another_array() -> None:
    with pytest.raises(ArrayRefused, match="uint8"):
        quality_figures(np.zeros((4, 4, 3), np.uint8))
