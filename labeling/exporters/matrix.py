"""A confusion matrix as a PNG: rows normalised into shades, the counts in the cells. No Django here."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

CELL, MARGIN, TEXT, SMALL = 88, 24, 17, 14
_LABELS = 168
_HEADING = 104
_FOOT = 40
_PAPER, _INK, _MUTED, _FULL = (255, 255, 255), (22, 22, 22), (86, 86, 86), (29, 85, 184)
_DARK_FROM = 0.55
"""Share of a row from which its cell is so dark that white can be read better on it."""


def draw_matrix(names: Sequence[str], counts: Sequence[Sequence[int]], *, title: str) -> bytes:
    """The picture of a matrix, as bytes of a PNG.

    Args:
        names: K classes.
        counts: (K, K), rows are labels, columns the model's answers.
        title: stands above it.

    Raises:
        ValueError: the counts are not one row and one column a name.
    """
    size = len(names)
    if not size or len(counts) != size or any(len(row) != size for row in counts):
        raise ValueError(f"Expected {size} × {size} counts, received {len(counts)} rows.")
    width = 2 * MARGIN + _LABELS + size * CELL
    picture = Image.new("RGB", (width, 2 * MARGIN + _HEADING + size * CELL + _FOOT), _PAPER)
    draw = ImageDraw.Draw(picture)
    text, small = ImageFont.load_default(TEXT), ImageFont.load_default(SMALL)
    left, top = MARGIN + _LABELS, MARGIN + _HEADING
    draw.text((MARGIN, MARGIN), _fitting(title, text, width - 2 * MARGIN), _INK, text)
    draw.text((left, MARGIN + 40), "the model's answer", _MUTED, small)
    draw.text((MARGIN, MARGIN + 40), "label", _MUTED, small)
    for place, name in enumerate(names):
        middle = left + place * CELL + CELL // 2
        draw.text((middle, top - 12), _fitting(name, small, CELL - 6), _INK, small, anchor="ms")
        draw.text(
            (left - 12, top + place * CELL + CELL // 2), _fitting(name, text, _LABELS - 16), _INK, text, anchor="rm"
        )
    for row, line in enumerate(counts):
        total = sum(line)
        for column, count in enumerate(line):
            share = count / total if total else 0.0
            box = (left + column * CELL, top + row * CELL, left + (column + 1) * CELL - 3, top + (row + 1) * CELL - 3)
            draw.rectangle(box, _shade(share))
            ink = _PAPER if share >= _DARK_FROM else _INK
            middle = (box[0] + box[2]) // 2
            draw.text((middle, box[1] + CELL * 0.40), f"{count:,}", ink, text, anchor="mm")
            if total:
                draw.text((middle, box[1] + CELL * 0.68), f"{100 * share:.1f} %", ink, small, anchor="mm")
    foot = "Shades and percentages: of the row's label."
    draw.text((MARGIN, top + size * CELL + 16), _fitting(foot, small, width - 2 * MARGIN), _MUTED, small)
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _shade(share: float) -> tuple[int, ...]:
    return tuple(round(paper + (full - paper) * share) for paper, full in zip((243, 243, 243), _FULL, strict=True))


def _fitting(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The words, or as many of their letters as fit."""
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(f"{words}...") > width:
        words = words[:-1]
    return f"{words}..."
