"""Drawings made by program for the demo: landscapes, animals, charts, patterns, doodles; no two alike.

Each motif is one function that draws on a `Canvas` whose unit is the side of the picture, so that 0.5 is the
middle whatever the size. A motif takes every choice from the canvas's random source and nothing from
anywhere else: the same seed gives the same picture.
"""

import math
import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLING = 3
"""Drawings are made this many times larger and averaged down, which smooths their edges."""

PALETTES: tuple[tuple[str, ...], ...] = (
    ("#264653", "#2a9d8f", "#e9c46a", "#f4a261", "#e76f51", "#fefae0"),
    ("#22223b", "#4a4e69", "#9a8c98", "#c9ada7", "#f2e9e4", "#e07a5f"),
    ("#ff595e", "#ffca3a", "#8ac926", "#1982c4", "#6a4c93", "#fffdf7"),
    ("#003049", "#d62828", "#f77f00", "#fcbf49", "#eae2b7", "#669bbc"),
    ("#606c38", "#283618", "#fefae0", "#dda15e", "#bc6c25", "#a3b18a"),
    ("#cdb4db", "#ffc8dd", "#ffafcc", "#bde0fe", "#a2d2ff", "#5e548e"),
    ("#0d1b2a", "#1b263b", "#415a77", "#778da9", "#e0e1dd", "#ffb703"),
    ("#8ecae6", "#219ebc", "#023047", "#ffb703", "#fb8500", "#fdf6e3"),
    ("#f94144", "#f8961e", "#f9c74f", "#90be6d", "#43aa8b", "#577590"),
    ("#2d3142", "#4f5d75", "#bfc0c0", "#ffffff", "#ef8354", "#84a98c"),
    ("#355070", "#6d597a", "#b56576", "#e56b6f", "#eaac8b", "#fff1e6"),
    ("#10002b", "#5a189a", "#9d4edd", "#e0aaff", "#ffd60a", "#f8f9fa"),
    ("#133c55", "#386fa4", "#59a5d8", "#84d2f6", "#91e5f6", "#ffd166"),
    ("#582f0e", "#7f4f24", "#b6ad90", "#a4ac86", "#414833", "#ede0d4"),
)

SKIES: tuple[tuple[str, str], ...] = (
    ("#8fd3ff", "#e6f7ff"),
    ("#ffb88c", "#de6262"),
    ("#1b2a52", "#5b5ea6"),
    ("#fce38a", "#f38181"),
    ("#a1c4fd", "#fdfbfb"),
    ("#84fab0", "#d9f7fa"),
    ("#0f2027", "#2c5364"),
    ("#ffd1dc", "#bfe3ff"),
)


def rgb(code: str) -> Colour:
    """Return the colour of a code such as `#2a9d8f`."""
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return the colour `share` (0..1) of the way from `one` to `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def brightness(colour: Colour) -> float:
    """Return how light a colour looks, 0 (black) to 255 (white); weights of ITU-R BT.601."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


class Canvas:
    """A square picture measured in units of its side, with a palette, a pen and a random source."""

    def __init__(self, rng: random.Random, size: int) -> None:
        self.rng = rng
        self.size = size
        self.side = size * SUPERSAMPLING
        palette = [rgb(code) for code in rng.choice(PALETTES)]
        rng.shuffle(palette)
        self.palette = palette
        self.dark = mix(min(palette, key=brightness), (10, 10, 20), 0.35)
        self.light = mix(max(palette, key=brightness), (255, 255, 255), 0.45)
        self.pen = rng.choice((0.0, 0.0, 0.004, 0.006, 0.009, 0.013))
        self.image = Image.new("RGB", (self.side, self.side), self.light)
        self.draw = ImageDraw.Draw(self.image)

    def finished(self) -> Image.Image:
        """Return the picture in its final size, edges smoothed."""
        return self.image.reduce(SUPERSAMPLING)

    def colour(self, *, unlike: Sequence[Colour] = ()) -> Colour:
        """Return a colour of the palette, well apart from those in `unlike` where there is one."""
        chosen = self.rng.choice(self.palette)
        for candidate in self.rng.sample(self.palette, len(self.palette)):
            if all(sum(abs(a - b) for a, b in zip(candidate, c, strict=True)) > 110 for c in unlike):
                return candidate
        return chosen

    def between(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    # Shapes. A fill of None leaves the inside empty; the pen draws the outline when it has a width.

    def polygon(
        self,
        points: Sequence[Point],
        fill: Colour | None,
        *,
        pen: float | None = None,
        ink: Colour | None = None,
    ) -> None:
        scaled = [(x * self.side, y * self.side) for x, y in points]
        if fill is not None:
            self.draw.polygon(scaled, fill=fill)
        width = self.pen if pen is None else pen
        if width > 0:
            self.line([*points, points[0], points[1]], ink or self.dark, width)

    def line(self, points: Sequence[Point], ink: Colour, width: float) -> None:
        pixels = max(1, round(width * self.side))
        scaled = [(x * self.side, y * self.side) for x, y in points]
        self.draw.line(scaled, fill=ink, width=pixels, joint="curve")
        if pixels > 3:
            radius = pixels / 2
            for x, y in (scaled[0], scaled[-1]):
                self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: Colour | None,
        *,
        pen: float | None = None,
        ink: Colour | None = None,
        turn: float = 0.0,
    ) -> None:
        steps = 56
        cos, sin = math.cos(turn), math.sin(turn)
        points = []
        for step in range(steps):
            angle = 2 * math.pi * step / steps
            across, down = rx * math.cos(angle), ry * math.sin(angle)
            points.append((x + across * cos - down * sin, y + across * sin + down * cos))
        self.polygon(points, fill, pen=pen, ink=ink)

    def dot(
        self,
        x: float,
        y: float,
        radius: float,
        fill: Colour | None,
        *,
        pen: float | None = None,
        ink: Colour | None = None,
    ) -> None:
        self.oval(x, y, radius, radius, fill, pen=pen, ink=ink)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour | None) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def rounded(self, left: float, top: float, right: float, bottom: float, radius: float, fill: Colour | None) -> None:
        points: list[Point] = []
        for x, y, start in (
            (right - radius, top + radius, -90),
            (right - radius, bottom - radius, 0),
            (left + radius, bottom - radius, 90),
            (left + radius, top + radius, 180),
        ):
            for step in range(9):
                angle = math.radians(start + 90 * step / 8)
                points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
        self.polygon(points, fill)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, ink: Colour, width: float
    ) -> None:
        points = []
        for step in range(33):
            angle = math.radians(start + (end - start) * step / 32)
            points.append((x + rx * math.cos(angle), y + ry * math.sin(angle)))
        self.line(points, ink, width)

    def star(self, x: float, y: float, outer: float, inner: float, rays: int, fill: Colour, turn: float = 0) -> None:
        points = []
        for step in range(rays * 2):
            radius = inner if step % 2 else outer
            angle = math.pi * step / rays + turn
            points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
        self.polygon(points, fill)

    # Backgrounds.

    def fill(self, colour: Colour) -> None:
        self.draw.rectangle((0, 0, self.side, self.side), fill=colour)

    def gradient(self, top: Colour, bottom: Colour, *, until: float = 1.0) -> None:
        column = Image.new("RGB", (1, 64))
        for row in range(64):
            column.putpixel((0, row), mix(top, bottom, row / 63))
        height = round(self.side * until)
        self.image.paste(column.resize((self.side, height), Image.Resampling.BILINEAR), (0, 0))

    def paper(self) -> None:
        """Cover the picture with one of several plain grounds: flat, dots, grid, rays, stripes, frame."""
        ground = self.rng.choice((self.light, mix(self.colour(), (255, 255, 255), self.between(0.35, 0.8))))
        self.fill(ground)
        faint = mix(ground, self.colour(unlike=[ground]), 0.28)
        kind = self.rng.choice(("flat", "flat", "dots", "grid", "rays", "stripes", "frame", "halo"))
        if kind == "dots":
            step = self.between(0.05, 0.11)
            for row in range(int(1 / step) + 2):
                for column in range(int(1 / step) + 2):
                    shift = step / 2 if row % 2 else 0
                    self.dot(column * step + shift, row * step, step * 0.16, faint, pen=0)
        elif kind == "grid":
            step = self.between(0.05, 0.1)
            for index in range(1, int(1 / step) + 1):
                self.line([(index * step, 0), (index * step, 1)], faint, 0.002)
                self.line([(0, index * step), (1, index * step)], faint, 0.002)
        elif kind == "rays":
            rays = self.rng.randint(9, 16)
            for index in range(rays):
                first, second = (2 * math.pi * (index + part) / rays for part in (0, 0.5))
                tips = [(0.5 + 1.2 * math.cos(a), 0.5 + 1.2 * math.sin(a)) for a in (first, second)]
                self.polygon([(0.5, 0.5), *tips], faint, pen=0)
        elif kind == "stripes":
            step = self.between(0.08, 0.18)
            lean = self.between(-0.4, 0.4)
            for index in range(-6, int(1 / step) + 7, 2):
                left = index * step
                right = left + step
                self.polygon([(left, 0), (right, 0), (right + lean, 1), (left + lean, 1)], faint, pen=0)
        elif kind == "frame":
            inset = self.between(0.03, 0.07)
            self.line(
                [
                    (inset, inset),
                    (1 - inset, inset),
                    (1 - inset, 1 - inset),
                    (inset, 1 - inset),
                    (inset, inset),
                ],
                self.dark,
                0.008,
            )
        elif kind == "halo":
            self.dot(0.5, 0.5, self.between(0.36, 0.46), faint, pen=0)


# Parts that several motifs share.


def sun(canvas: Canvas, x: float, y: float, radius: float) -> None:
    gold = canvas.rng.choice((rgb("#ffd23f"), rgb("#ffb703"), rgb("#fff3b0"), rgb("#ff7b54")))
    rays = canvas.rng.choice((0, 0, 8, 12, 16))
    for index in range(rays):
        angle = 2 * math.pi * index / rays
        near, far = radius * 1.25, radius * 1.7
        canvas.line(
            [
                (x + near * math.cos(angle), y + near * math.sin(angle)),
                (x + far * math.cos(angle), y + far * math.sin(angle)),
            ],
            gold,
            radius * 0.14,
        )
    canvas.dot(x, y, radius, gold)


def cloud(canvas: Canvas, x: float, y: float, width: float) -> None:
    white = mix((255, 255, 255), canvas.light, 0.2)
    puffs = [(-0.32, 0.04, 0.2), (0.0, -0.08, 0.28), (0.3, 0.03, 0.2), (0.0, 0.08, 0.24)]
    if canvas.pen:
        for dx, dy, radius in puffs:
            canvas.dot(x + dx * width, y + dy * width, radius * width + canvas.pen, canvas.dark, pen=0)
    for dx, dy, radius in puffs:
        canvas.dot(x + dx * width, y + dy * width, radius * width, white, pen=0)


def tree(canvas: Canvas, x: float, ground: float, height: float) -> None:
    greens = ("#2d6a4f", "#40916c", "#74c69d", "#588157", "#a7c957", "#e09f3e", "#bc4749")
    leaf = rgb(canvas.rng.choice(greens))
    trunk = rgb(canvas.rng.choice(("#6f4518", "#7f5539", "#583101")))
    canvas.box(x - height * 0.05, ground - height * 0.4, x + height * 0.05, ground, trunk)
    kind = canvas.rng.choice(("round", "fir", "cloud"))
    if kind == "round":
        canvas.oval(x, ground - height * 0.65, height * 0.27, height * 0.36, leaf)
    elif kind == "fir":
        for level in range(3):
            top = ground - height * (1.0 - 0.2 * level)
            half = height * (0.16 + 0.07 * level)
            canvas.polygon([(x, top), (x + half, top + height * 0.36), (x - half, top + height * 0.36)], leaf)
    else:
        for dx, dy in ((-0.16, 0.0), (0.16, 0.0), (0.0, -0.17), (0.0, 0.05)):
            canvas.dot(x + dx * height, ground - height * 0.62 + dy * height, height * 0.2, leaf, pen=0)


def house(canvas: Canvas, x: float, ground: float, width: float) -> None:
    height = width * canvas.between(0.6, 0.95)
    wall = mix(canvas.colour(), (255, 255, 255), canvas.between(0.2, 0.6))
    roof = canvas.colour(unlike=[wall])
    left, right, top = x - width / 2, x + width / 2, ground - height
    if canvas.chance(0.6):
        chimney = x + width * canvas.rng.choice((-0.27, 0.27))
        canvas.box(chimney - width * 0.05, top - width * 0.42, chimney + width * 0.05, top, roof)
    canvas.box(left, top, right, ground, wall)
    peak = width * canvas.between(0.35, 0.6)
    canvas.polygon([(left - width * 0.09, top), (x, top - peak), (right + width * 0.09, top)], roof)
    door = canvas.colour(unlike=[wall])
    canvas.box(x - width * 0.09, ground - height * 0.48, x + width * 0.09, ground, door)
    canvas.dot(x + width * 0.055, ground - height * 0.22, width * 0.014, canvas.light, pen=0)
    glass = rgb(canvas.rng.choice(("#ffe8a3", "#bde0fe", "#e0fbfc")))
    for side in (-0.3, 0.3):
        middle = x + width * side
        bottom = ground - height * 0.4
        canvas.box(middle - width * 0.1, bottom - height * 0.3, middle + width * 0.1, bottom, glass)
        canvas.line([(middle, bottom - height * 0.3), (middle, bottom)], canvas.dark, width * 0.016)
        canvas.line(
            [(middle - width * 0.1, bottom - height * 0.15), (middle + width * 0.1, bottom - height * 0.15)],
            canvas.dark,
            width * 0.016,
        )


def hills(canvas: Canvas, level: float, swing: float, colour: Colour) -> None:
    phase, speed = canvas.between(0, 6), canvas.between(2, 6)
    points = [(x / 60, level + swing * math.sin(phase + speed * x / 60)) for x in range(61)]
    canvas.polygon([(-0.1, 1.1), (-0.1, points[0][1]), *points, (1.1, points[-1][1]), (1.1, 1.1)], colour)


def eyes(canvas: Canvas, x: float, y: float, apart: float, radius: float) -> None:
    look = canvas.between(-0.3, 0.3) * radius
    kind = canvas.rng.choice(("dots", "big", "big", "happy"))
    for side in (-1, 1):
        middle = x + side * apart
        if kind == "dots":
            canvas.dot(middle, y, radius * 0.55, canvas.dark, pen=0)
            canvas.dot(middle + radius * 0.15, y - radius * 0.2, radius * 0.16, (255, 255, 255), pen=0)
        elif kind == "big":
            canvas.dot(middle, y, radius, (255, 255, 255))
            canvas.dot(middle + look, y + radius * 0.1, radius * 0.5, canvas.dark, pen=0)
            canvas.dot(middle + look + radius * 0.15, y - radius * 0.1, radius * 0.15, (255, 255, 255), pen=0)
        else:
            canvas.arc(middle, y + radius * 0.3, radius * 0.8, radius * 0.8, 200, 340, canvas.dark, radius * 0.3)


def sea(canvas: Canvas, level: float) -> None:
    water = rgb(canvas.rng.choice(("#1d7fa6", "#2a9d8f", "#3a86ff", "#16697a", "#4895ef")))
    canvas.polygon([(-0.1, level), (1.1, level), (1.1, 1.1), (-0.1, 1.1)], water)
    foam = mix(water, (255, 255, 255), 0.5)
    for _ in range(canvas.rng.randint(8, 22)):
        x, y, long = canvas.between(0, 1), canvas.between(level + 0.03, 0.98), canvas.between(0.03, 0.08)
        points = [(x + long * step / 12, y + 0.008 * math.sin(step * math.pi / 3)) for step in range(13)]
        canvas.line(points, foam, 0.005)


# Motifs.


def landscape(canvas: Canvas) -> None:
    top, bottom = (rgb(code) for code in canvas.rng.choice(SKIES))
    canvas.gradient(top, bottom)
    sun(canvas, canvas.between(0.12, 0.88), canvas.between(0.1, 0.35), canvas.between(0.05, 0.12))
    for _ in range(canvas.rng.randint(0, 4)):
        cloud(canvas, canvas.between(0.05, 0.95), canvas.between(0.06, 0.35), canvas.between(0.1, 0.24))
    stone = canvas.colour()
    if canvas.chance(0.7):
        for layer in range(canvas.rng.randint(1, 3)):
            colour = mix(stone, bottom, 0.55 - 0.25 * layer)
            x, base = canvas.between(-0.2, 0.0), 0.8
            while x < 1.1:
                width, peak = canvas.between(0.2, 0.5), canvas.between(0.25, 0.55) + 0.08 * layer
                canvas.polygon([(x, base), (x + width / 2, peak), (x + width, base)], colour)
                if layer == 0 and canvas.chance(0.6):
                    cap = (base - peak) * 0.24
                    half = width / 2 * 0.24
                    tip = x + width / 2
                    canvas.polygon(
                        [
                            (tip, peak),
                            (tip + half, peak + cap),
                            (tip + half * 0.3, peak + cap * 0.7),
                            (tip - half * 0.2, peak + cap),
                            (tip - half, peak + cap),
                        ],
                        (250, 250, 255),
                        pen=0,
                    )
                x += width * canvas.between(0.5, 0.9)
    if canvas.chance(0.35):
        sea(canvas, canvas.between(0.66, 0.76))
    green = rgb(canvas.rng.choice(("#84a98c", "#52796f", "#a7c957", "#6a994e", "#dda15e", "#e9c46a", "#b5838d")))
    levels = canvas.rng.randint(1, 3)
    for layer in range(levels):
        hills(canvas, 0.72 + 0.1 * layer, canvas.between(0.01, 0.06), mix(green, canvas.dark, 0.16 * layer))
    for _ in range(canvas.rng.randint(0, 6)):
        x, ground = canvas.between(0.05, 0.95), canvas.between(0.78, 0.95)
        tree(canvas, x, ground, canvas.between(0.12, 0.28))
    if canvas.chance(0.4):
        house(canvas, canvas.between(0.2, 0.8), canvas.between(0.84, 0.93), canvas.between(0.14, 0.24))


def homestead(canvas: Canvas) -> None:
    top, bottom = (rgb(code) for code in canvas.rng.choice(SKIES))
    canvas.gradient(top, bottom)
    sun(canvas, canvas.rng.choice((0.15, 0.85)), canvas.between(0.12, 0.2), canvas.between(0.06, 0.1))
    cloud(canvas, canvas.between(0.3, 0.7), canvas.between(0.08, 0.2), canvas.between(0.14, 0.24))
    ground = canvas.between(0.78, 0.86)
    lawn = rgb(canvas.rng.choice(("#95d5b2", "#a7c957", "#74c69d", "#e9edc9", "#d4a373")))
    hills(canvas, ground - 0.02, 0.015, lawn)
    for side in (0.1, 0.9):
        if canvas.chance(0.75):
            tree(canvas, side + canvas.between(-0.04, 0.05), ground + 0.01, canvas.between(0.25, 0.42))
    house(canvas, canvas.between(0.42, 0.58), ground + 0.03, canvas.between(0.34, 0.48))
    if canvas.chance(0.6):
        fence = mix(canvas.light, (255, 255, 255), 0.5)
        for index in range(14):
            x = index * 0.078
            canvas.polygon([(x, 0.97), (x, 0.89), (x + 0.018, 0.87), (x + 0.036, 0.89), (x + 0.036, 0.97)], fence)
        canvas.box(-0.1, 0.91, 1.1, 0.925, fence)
    for _ in range(canvas.rng.randint(0, 12)):
        x, y = canvas.between(0.02, 0.98), canvas.between(ground + 0.06, 0.98)
        canvas.dot(x, y, canvas.between(0.008, 0.016), canvas.colour(), pen=0)


def skyline(canvas: Canvas) -> None:
    top, bottom = (rgb(code) for code in canvas.rng.choice(SKIES))
    canvas.gradient(top, bottom)
    night = brightness(top) < 90
    if night:
        for _ in range(canvas.rng.randint(20, 70)):
            canvas.dot(
                canvas.between(0, 1),
                canvas.between(0, 0.6),
                canvas.between(0.001, 0.004),
                (255, 255, 235),
                pen=0,
            )
    sun(canvas, canvas.between(0.15, 0.85), canvas.between(0.12, 0.35), canvas.between(0.05, 0.13))
    for layer in range(2):
        tone = mix(canvas.colour(), bottom, 0.5 - 0.4 * layer)
        x = -0.05
        while x < 1.0:
            width, height = canvas.between(0.08, 0.2), canvas.between(0.2, 0.62) - 0.12 * layer
            canvas.box(x, 0.95 - height, x + width, 1.1, tone)
            if canvas.chance(0.3):
                canvas.polygon([(x, 0.95 - height), (x + width / 2, 0.86 - height), (x + width, 0.95 - height)], tone)
            if layer:
                lamp = rgb("#ffe08a") if night else mix(tone, (255, 255, 255), 0.6)
                columns = max(2, int(width / 0.035))
                rows = int((height - 0.03) / 0.045)
                for row in range(rows):
                    for column in range(columns):
                        if canvas.chance(0.65):
                            left = x + width * (column + 0.28) / columns
                            high = 0.98 - height + row * 0.045
                            right = left + width * 0.45 / columns
                            canvas.polygon(
                                [(left, high), (right, high), (right, high + 0.024), (left, high + 0.024)],
                                lamp,
                                pen=0,
                            )
            x += width + canvas.between(-0.01, 0.03)


def sailing(canvas: Canvas) -> None:
    top, bottom = (rgb(code) for code in canvas.rng.choice(SKIES))
    canvas.gradient(top, bottom)
    sun(canvas, canvas.between(0.1, 0.9), canvas.between(0.1, 0.4), canvas.between(0.06, 0.12))
    sea(canvas, canvas.between(0.55, 0.7))
    for _ in range(canvas.rng.randint(1, 3)):
        x, water, scale = canvas.between(0.2, 0.8), canvas.between(0.68, 0.86), canvas.between(0.6, 1.3)
        hull, sail = canvas.colour(), mix(canvas.colour(), (255, 255, 255), 0.4)
        w = 0.17 * scale
        canvas.line([(x, water), (x, water - 0.36 * scale)], canvas.dark, 0.01 * scale)
        lift = 0.35 * scale
        canvas.polygon(
            [
                (x + 0.01, water - lift),
                (x + w * 0.95, water - 0.06 * scale),
                (x + 0.01, water - 0.06 * scale),
            ],
            sail,
        )
        canvas.polygon(
            [
                (x - 0.01, water - lift * 0.9),
                (x - w * 0.7, water - 0.06 * scale),
                (x - 0.01, water - 0.06 * scale),
            ],
            canvas.colour(unlike=[sail]),
        )
        canvas.polygon(
            [
                (x - w, water - 0.04 * scale),
                (x + w, water - 0.04 * scale),
                (x + w * 0.7, water + 0.05 * scale),
                (x - w * 0.7, water + 0.05 * scale),
            ],
            hull,
        )
    for _ in range(canvas.rng.randint(0, 5)):
        x, y, span = canvas.between(0.1, 0.9), canvas.between(0.08, 0.4), canvas.between(0.02, 0.04)
        canvas.arc(x - span, y, span, span * 0.8, 200, 350, canvas.dark, 0.006)
        canvas.arc(x + span, y, span, span * 0.8, 190, 340, canvas.dark, 0.006)


def animal(canvas: Canvas) -> None:
    canvas.paper()
    fur = canvas.colour(unlike=[canvas.light])
    inner, muzzle = mix(fur, (255, 190, 190), 0.6), mix(fur, (255, 255, 255), 0.65)
    x, y, r = (
        0.5 + canvas.between(-0.05, 0.05),
        0.54 + canvas.between(-0.04, 0.04),
        canvas.between(0.22, 0.32),
    )
    kind = canvas.rng.choice(("cat", "bear", "rabbit", "pig", "mouse", "fox", "panda"))
    if kind in ("cat", "fox"):
        for side in (-1, 1):
            for size, colour in ((1.0, fur), (0.55, inner)):
                tip = (x + side * r * 0.85, y - r * (0.75 + 0.65 * size))
                canvas.polygon(
                    [
                        (x + side * r * (0.6 - 0.42 * size), y - r * 0.72),
                        tip,
                        (x + side * r * (0.6 + 0.38 * size), y - r * 0.35),
                    ],
                    colour,
                )
    elif kind == "rabbit":
        for side in (-1, 1):
            lean = side * canvas.between(0.1, 0.35)
            canvas.oval(x + side * r * 0.5, y - r * 1.35, r * 0.25, r * 0.75, fur, turn=lean)
            canvas.oval(x + side * r * 0.5, y - r * 1.35, r * 0.12, r * 0.5, inner, turn=lean, pen=0)
    else:
        big = 0.55 if kind == "mouse" else 0.34
        for side in (-1, 1):
            ear = canvas.dark if kind == "panda" else fur
            canvas.dot(x + side * r * 0.8, y - r * 0.75, r * big, ear)
            canvas.dot(x + side * r * 0.8, y - r * 0.75, r * big * 0.55, inner, pen=0)
    canvas.oval(
        x,
        y,
        r * canvas.between(0.98, 1.12),
        r * canvas.between(0.88, 1.0),
        (250, 250, 248) if kind == "panda" else fur,
    )
    if kind == "panda":
        for side in (-1, 1):
            canvas.oval(x + side * r * 0.4, y - r * 0.12, r * 0.24, r * 0.3, canvas.dark, turn=side * 0.4, pen=0)
    eyes(canvas, x, y - r * 0.12, r * 0.4, r * 0.17)
    if kind == "pig":
        canvas.oval(x, y + r * 0.3, r * 0.3, r * 0.21, inner)
        for side in (-1, 1):
            canvas.oval(x + side * r * 0.1, y + r * 0.3, r * 0.05, r * 0.08, canvas.dark, pen=0)
    else:
        canvas.oval(x, y + r * 0.38, r * 0.42, r * 0.32, muzzle, pen=0)
        canvas.polygon([(x - r * 0.11, y + r * 0.2), (x + r * 0.11, y + r * 0.2), (x, y + r * 0.33)], canvas.dark)
        for side in (-1, 1):
            canvas.arc(x + side * r * 0.13, y + r * 0.4, r * 0.13, r * 0.13, 0, 180, canvas.dark, r * 0.035)
    if kind in ("cat", "mouse", "rabbit"):
        for side in (-1, 1):
            for tilt in (-0.1, 0.02, 0.14):
                canvas.line(
                    [
                        (x + side * r * 0.4, y + r * (0.34 + tilt * 0.5)),
                        (x + side * r * 1.15, y + r * (0.3 + tilt * 1.6)),
                    ],
                    canvas.dark,
                    0.004,
                )
    if canvas.chance(0.5):
        for side in (-1, 1):
            canvas.oval(x + side * r * 0.68, y + r * 0.22, r * 0.15, r * 0.1, (255, 150, 150), pen=0)
    if canvas.chance(0.35):
        canvas.polygon([(x - r * 0.5, y + r * 0.95), (x, y + r * 1.12), (x - r * 0.5, y + r * 1.3)], canvas.colour())
        canvas.polygon([(x + r * 0.5, y + r * 0.95), (x, y + r * 1.12), (x + r * 0.5, y + r * 1.3)], canvas.colour())


def robot(canvas: Canvas) -> None:
    canvas.paper()
    metal = canvas.colour(unlike=[canvas.light])
    second = canvas.colour(unlike=[metal])
    w, top = canvas.between(0.15, 0.23), canvas.between(0.14, 0.22)
    canvas.line([(0.5, top), (0.5, top - 0.07)], canvas.dark, 0.012)
    canvas.dot(0.5, top - 0.08, 0.025, second)
    canvas.rounded(0.5 - w, top, 0.5 + w, top + 0.26, 0.03, metal)
    eyes(canvas, 0.5, top + 0.1, w * 0.45, 0.04)
    mouth = top + 0.2
    canvas.box(0.5 - w * 0.5, mouth - 0.02, 0.5 + w * 0.5, mouth + 0.02, canvas.light)
    for index in range(1, 5):
        x = 0.5 - w * 0.5 + w * index / 5
        canvas.line([(x, mouth - 0.02), (x, mouth + 0.02)], canvas.dark, 0.005)
    belly = canvas.between(0.17, 0.25)
    for side in (-1, 1):
        reach, drop = canvas.between(0.12, 0.2), canvas.between(-0.2, 0.2)
        hand = (0.5 + side * (belly + reach), top + 0.42 + drop)
        canvas.line(
            [(0.5 + side * belly, top + 0.36), (0.5 + side * (belly + 0.08), top + 0.42), hand],
            canvas.dark,
            0.028,
        )
        canvas.dot(*hand, 0.035, second)
        canvas.rounded(
            0.5 + side * belly * 0.5 - 0.04,
            top + 0.56,
            0.5 + side * belly * 0.5 + 0.04,
            top + 0.72,
            0.01,
            second,
        )
    canvas.rounded(0.5 - belly, top + 0.28, 0.5 + belly, top + 0.6, 0.04, metal)
    for _ in range(canvas.rng.randint(2, 5)):
        x, y = 0.5 + canvas.between(-0.7, 0.7) * belly, top + canvas.between(0.34, 0.54)
        canvas.dot(x, y, canvas.between(0.012, 0.03), canvas.colour(unlike=[metal]))


def face(canvas: Canvas) -> None:
    canvas.paper()
    skin = rgb(canvas.rng.choice(("#ffd93d", "#ffe0bd", "#8d5524", "#e0ac69", "#c68642", "#9bf6ff", "#b5e48c")))
    hair = canvas.colour(unlike=[skin, canvas.light])
    x, y, r = 0.5, canvas.between(0.5, 0.56), canvas.between(0.24, 0.31)
    style = canvas.rng.choice(("curls", "cap", "none", "spikes", "buns"))
    if style == "curls":
        for index in range(13):
            angle = math.pi + math.pi * index / 12
            canvas.dot(x + r * 1.0 * math.cos(angle), y + r * 1.0 * math.sin(angle), r * 0.3, hair)
    elif style == "buns":
        for side in (-1, 1):
            canvas.dot(x + side * r * 0.75, y - r * 0.85, r * 0.36, hair)
        canvas.dot(x, y - r * 0.12, r * 1.06, hair)
    elif style == "spikes":
        canvas.star(x, y - r * 0.2, r * 1.35, r * 0.9, canvas.rng.randint(9, 15), hair, canvas.between(0, 1))
    canvas.oval(x, y, r * 0.95, r, skin)
    if style == "cap":
        points = [
            (x + r * math.cos(math.radians(a)), y - r * 0.15 + r * math.sin(math.radians(a)))
            for a in range(180, 361, 10)
        ]
        canvas.polygon(points, hair)
        canvas.rounded(x - r * 1.35, y - r * 0.3, x + r * 0.6, y - r * 0.12, r * 0.08, hair)
    eyes(canvas, x, y - r * 0.05, r * 0.36, r * 0.16)
    if canvas.chance(0.35):
        for side in (-1, 1):
            canvas.dot(x + side * r * 0.36, y - r * 0.05, r * 0.27, None, pen=0.009)
        canvas.line([(x - r * 0.09, y - r * 0.05), (x + r * 0.09, y - r * 0.05)], canvas.dark, 0.009)
    canvas.arc(x, y + r * 0.2, r * 0.09, r * 0.09, -60, 120, canvas.dark, 0.008)
    mood = canvas.rng.choice(("smile", "laugh", "oh", "grin"))
    if mood == "smile":
        canvas.arc(x, y + r * 0.35, r * 0.4, r * 0.28, 15, 165, canvas.dark, 0.011)
    elif mood == "oh":
        canvas.oval(x, y + r * 0.58, r * 0.12, r * 0.16, rgb("#9d0208"))
    else:
        lower = [
            (x + r * 0.42 * math.cos(math.radians(a)), y + r * 0.42 + r * 0.34 * math.sin(math.radians(a)))
            for a in range(0, 181, 10)
        ]
        canvas.polygon(lower, (255, 255, 255) if mood == "grin" else rgb("#9d0208"))


def fish(canvas: Canvas) -> None:
    deep = rgb(canvas.rng.choice(("#023e8a", "#0077b6", "#14746f", "#0b525b", "#48bfe3")))
    canvas.gradient(mix(deep, (255, 255, 255), 0.5), deep)
    for _ in range(canvas.rng.randint(3, 9)):
        x, tall, weed = (
            canvas.between(0, 1),
            canvas.between(0.15, 0.4),
            mix(rgb("#2d6a4f"), canvas.colour(), 0.25),
        )
        points = [(x + 0.02 * math.sin(step * 0.8 + x * 9), 1 - tall * step / 14) for step in range(15)]
        canvas.line(points, weed, 0.016)
    canvas.polygon([(-0.1, 0.93), (0.3, 0.9), (0.7, 0.94), (1.1, 0.9), (1.1, 1.1), (-0.1, 1.1)], rgb("#e9d8a6"))
    for _ in range(canvas.rng.randint(1, 6)):
        x, y, r = canvas.between(0.18, 0.82), canvas.between(0.14, 0.8), canvas.between(0.05, 0.14)
        way = canvas.rng.choice((-1, 1))
        body = canvas.colour(unlike=[deep])
        fin = canvas.colour(unlike=[body])
        canvas.polygon(
            [
                (x - way * r * 1.2, y),
                (x - way * r * 2.0, y - r * 0.7),
                (x - way * r * 1.75, y),
                (x - way * r * 2.0, y + r * 0.7),
            ],
            fin,
        )
        canvas.polygon(
            [
                (x - way * r * 0.5, y - r * 0.6),
                (x + way * r * 0.1, y - r * 1.2),
                (x + way * r * 0.5, y - r * 0.6),
            ],
            fin,
        )
        canvas.oval(x, y, r * 1.4, r * 0.82, body)
        for stripe in range(canvas.rng.randint(0, 3)):
            middle = x - way * r * (0.15 + 0.4 * stripe)
            canvas.oval(middle, y, r * 0.09, r * (0.72 - 0.12 * stripe), fin, pen=0)
        canvas.dot(x + way * r * 0.8, y - r * 0.15, r * 0.2, (255, 255, 255))
        canvas.dot(x + way * r * 0.85, y - r * 0.15, r * 0.1, (20, 20, 30), pen=0)
    for _ in range(canvas.rng.randint(4, 16)):
        canvas.dot(
            canvas.between(0, 1),
            canvas.between(0.02, 0.85),
            canvas.between(0.006, 0.022),
            None,
            pen=0.004,
            ink=(235, 250, 255),
        )


def flowers(canvas: Canvas) -> None:
    canvas.paper()
    stem = rgb(canvas.rng.choice(("#386641", "#6a994e", "#40916c")))
    for index in range(canvas.rng.randint(1, 6)):
        x, y, r = canvas.between(0.15, 0.85), canvas.between(0.2, 0.5), canvas.between(0.07, 0.15)
        foot = (0.5 + (x - 0.5) * 0.4, 1.02)
        points = [(x + (foot[0] - x) * (t / 12) ** 2, y + (foot[1] - y) * t / 12) for t in range(13)]
        canvas.line(points, stem, 0.012)
        leaf = points[7]
        turn = canvas.rng.choice((-0.6, 0.6))
        canvas.oval(leaf[0] + 0.05 * (1 if turn < 0 else -1), leaf[1], 0.055, 0.022, stem, turn=turn)
        petal, heart = canvas.colour(unlike=[canvas.light]), canvas.colour()
        petals, long = canvas.rng.randint(5, 12), canvas.between(0.3, 0.52)
        offset = index + canvas.between(0, 1)
        for step in range(petals):
            angle = offset + 2 * math.pi * step / petals
            canvas.oval(
                x + r * 0.75 * math.cos(angle),
                y + r * 0.75 * math.sin(angle),
                r * long,
                r * 2.2 / petals,
                petal,
                turn=angle,
            )
        canvas.dot(x, y, r * 0.38, heart)
    if canvas.chance(0.5):
        pot = canvas.colour(unlike=[canvas.light])
        canvas.polygon([(0.32, 0.78), (0.68, 0.78), (0.62, 1.02), (0.38, 1.02)], pot)
        canvas.box(0.29, 0.72, 0.71, 0.79, mix(pot, canvas.dark, 0.2))


def bauhaus(canvas: Canvas) -> None:
    cells = canvas.rng.choice((2, 3, 3, 4, 5))
    step = 1 / cells
    for row in range(cells):
        for column in range(cells):
            x, y = column * step, row * step
            ground = canvas.colour()
            canvas.polygon([(x, y), (x + step, y), (x + step, y + step), (x, y + step)], ground, pen=0)
            shape = canvas.colour(unlike=[ground])
            kind = canvas.rng.randint(0, 6)
            if kind == 0:
                canvas.dot(x + step / 2, y + step / 2, step * canvas.between(0.2, 0.45), shape)
            elif kind in (1, 2):
                corner_x, corner_y, start = canvas.rng.choice(((0, 0, 0), (1, 0, 90), (1, 1, 180), (0, 1, 270)))
                for radius, colour in ((0.96, shape), (0.62, canvas.colour(unlike=[shape])), (0.3, shape))[
                    : kind * 2 - 1
                ]:
                    points = [(x + step * corner_x, y + step * corner_y)]
                    for part in range(13):
                        angle = math.radians(start + 90 * part / 12)
                        points.append(
                            (
                                points[0][0] + step * radius * math.cos(angle),
                                points[0][1] + step * radius * math.sin(angle),
                            )
                        )
                    canvas.polygon(points, colour)
            elif kind == 3:
                corners = [(x, y), (x + step, y), (x + step, y + step), (x, y + step)]
                corners.pop(canvas.rng.randrange(4))
                canvas.polygon(corners, shape)
            elif kind == 4:
                for bar in range(4):
                    top = y + step * (bar + 0.25) / 4
                    canvas.box(x + step * 0.08, top, x + step * 0.92, top + step * 0.1, shape)
            elif kind == 5:
                canvas.polygon(
                    [
                        (x + step / 2, y + step * 0.08),
                        (x + step * 0.92, y + step / 2),
                        (x + step / 2, y + step * 0.92),
                        (x + step * 0.08, y + step / 2),
                    ],
                    shape,
                )


def confetti(canvas: Canvas) -> None:
    canvas.paper()
    for _ in range(canvas.rng.randint(14, 60)):
        x, y, r = canvas.between(0, 1), canvas.between(0, 1), canvas.between(0.02, 0.11)
        colour = canvas.colour()
        kind = canvas.rng.randint(0, 5)
        if kind == 0:
            canvas.dot(x, y, r, colour)
        elif kind == 1:
            canvas.star(x, y, r, r * canvas.between(0.35, 0.6), canvas.rng.randint(4, 8), colour, canvas.between(0, 3))
        elif kind == 2:
            canvas.star(x, y, r, r * 0.5, 3, colour, canvas.between(0, 3))
        elif kind == 3:
            points = [(x + 2.4 * r * step / 16, y + r * 0.35 * math.sin(step * 1.1)) for step in range(17)]
            canvas.line(points, colour, r * 0.22)
        elif kind == 4:
            canvas.dot(x, y, r, None, pen=r * 0.3, ink=colour)
        else:
            turn = canvas.between(0, 3)
            canvas.oval(x, y, r * 1.3, r * 0.28, colour, turn=turn)


def tiles(canvas: Canvas) -> None:
    ground = canvas.colour()
    canvas.fill(ground)
    ink, second = canvas.colour(unlike=[ground]), canvas.colour(unlike=[ground])
    cells = canvas.rng.randint(4, 9)
    step = 1 / cells
    kind = canvas.rng.choice(("arcs", "diagonals", "scales", "hexes", "waves", "checks"))
    if kind == "waves":
        high, speed = canvas.between(0.1, 0.4) * step, canvas.between(1.0, 3.0)
        for row in range(cells + 2):
            points = [
                (x / 50, row * step + high * math.sin(speed * 2 * math.pi * x / 50 + row * 0.7)) for x in range(51)
            ]
            canvas.line(points, ink if row % 2 else second, step * canvas.between(0.2, 0.4))
        return
    for row in range(cells + 1):
        for column in range(cells + 1):
            x, y = column * step, row * step
            if kind == "arcs":
                width = step * 0.22
                if canvas.chance(0.5):
                    canvas.arc(x, y, step / 2, step / 2, 0, 90, ink, width)
                    canvas.arc(x + step, y + step, step / 2, step / 2, 180, 270, ink, width)
                else:
                    canvas.arc(x + step, y, step / 2, step / 2, 90, 180, ink, width)
                    canvas.arc(x, y + step, step / 2, step / 2, 270, 360, ink, width)
            elif kind == "diagonals":
                ends = [(x, y), (x + step, y + step)] if canvas.chance(0.5) else [(x + step, y), (x, y + step)]
                canvas.line(ends, ink, step * 0.18)
            elif kind == "scales":
                shift = step / 2 if row % 2 else 0
                top = 1 - row * step * 0.8
                for radius, colour in ((0.58, ink), (0.4, second), (0.2, ground)):
                    canvas.dot(x + shift, top, step * radius, colour, pen=0)
            elif kind == "hexes":
                shift = step / 2 if row % 2 else 0
                points = [
                    (
                        x + shift + step * 0.52 * math.sin(a * math.pi / 3),
                        y + step * 0.52 * math.cos(a * math.pi / 3),
                    )
                    for a in range(6)
                ]
                canvas.polygon(points, canvas.colour(), pen=0.006)
            elif canvas.chance(0.5):
                canvas.polygon(
                    [(x, y), (x + step, y), (x + step, y + step), (x, y + step)],
                    ink if (row + column) % 2 else second,
                    pen=0,
                )


def spirograph(canvas: Canvas) -> None:
    dark = canvas.chance(0.4)
    canvas.fill(mix(canvas.dark, (0, 0, 0), 0.4) if dark else canvas.light)
    for _ in range(canvas.rng.randint(1, 3)):
        big, small = canvas.rng.randint(5, 17), canvas.rng.randint(2, 9)
        reach, pen = canvas.between(0.3, 1.2), canvas.rng.choice((0.003, 0.005, 0.008))
        scale = 0.44 / (abs(big - small) + small * reach + 0.01)
        turns = small // math.gcd(big, small)
        ink = canvas.colour(unlike=[canvas.dark if dark else canvas.light])
        points = []
        for step in range(turns * 120 + 1):
            angle = 2 * math.pi * step / 120
            inner = (big - small) / small * angle
            points.append(
                (
                    0.5 + scale * ((big - small) * math.cos(angle) + small * reach * math.cos(inner)),
                    0.5 + scale * ((big - small) * math.sin(angle) - small * reach * math.sin(inner)),
                )
            )
        canvas.line(points, ink, pen)


def mandala(canvas: Canvas) -> None:
    canvas.fill(canvas.rng.choice((canvas.light, canvas.dark)))
    fold = canvas.rng.choice((6, 8, 10, 12, 16))
    radius = 0.46
    while radius > 0.05:
        colour, kind = canvas.colour(), canvas.rng.choice(("petals", "dots", "ring", "spikes"))
        if kind == "ring":
            canvas.dot(0.5, 0.5, radius, colour)
        elif kind == "spikes":
            canvas.star(0.5, 0.5, radius, radius * canvas.between(0.6, 0.85), fold, colour)
        for step in range(fold):
            angle = 2 * math.pi * (step + 0.5) / fold
            x, y = 0.5 + radius * 0.8 * math.cos(angle), 0.5 + radius * 0.8 * math.sin(angle)
            if kind == "petals":
                canvas.oval(x, y, radius * 0.24, radius * 1.5 / fold, colour, turn=angle)
            elif kind == "dots":
                canvas.dot(x, y, radius * 0.9 / fold, colour)
        radius -= canvas.between(0.05, 0.12)
    canvas.dot(0.5, 0.5, 0.04, canvas.colour())


def chart(canvas: Canvas) -> None:
    canvas.fill(mix(canvas.light, (255, 255, 255), canvas.between(0.3, 1.0)))
    ink = mix(canvas.dark, (90, 90, 90), 0.3)
    kind = canvas.rng.choice(("bars", "lines", "pie", "area", "scatter", "flat bars"))
    if canvas.chance(0.7):
        canvas.line([(0.12, 0.07), (0.12 + canvas.between(0.15, 0.45), 0.07)], ink, 0.022)
    if kind == "pie":
        start, hole = canvas.between(0, 360), canvas.chance(0.5)
        shares = [canvas.between(0.5, 3) for _ in range(canvas.rng.randint(3, 7))]
        for index, share in enumerate(shares):
            end = start + 360 * share / sum(shares)
            steps = [math.radians(start + (end - start) * part / 24) for part in range(25)]
            points = [(0.46 + 0.32 * math.cos(a), 0.54 + 0.32 * math.sin(a)) for a in steps]
            colour = canvas.palette[index % len(canvas.palette)]
            canvas.polygon(
                [(0.46, 0.54), *points],
                mix(colour, (255, 255, 255), 0.3 * (index // 6)),
                pen=0.006,
                ink=(255, 255, 255),
            )
            canvas.box(0.85, 0.2 + 0.07 * index, 0.89, 0.24 + 0.07 * index, colour)
            canvas.line([(0.91, 0.22 + 0.07 * index), (0.97, 0.22 + 0.07 * index)], ink, 0.008)
            start = end
        if hole:
            canvas.dot(0.46, 0.54, canvas.between(0.1, 0.2), (255, 255, 255), pen=0)
        return
    faint = mix(ink, (255, 255, 255), 0.75)
    for index in range(6):
        y = 0.88 - 0.14 * index
        canvas.line([(0.12, y), (0.94, y)], faint, 0.003)
        canvas.line([(0.05, y), (0.09, y)], ink, 0.008)
    count = canvas.rng.randint(4, 11)
    if kind in ("bars", "flat bars"):
        for index in range(count):
            at, value = 0.15 + 0.78 * index / count, canvas.between(0.08, 0.68)
            colour = canvas.palette[index % 2 if kind == "bars" else 0]
            if kind == "bars":
                canvas.box(at, 0.88 - value, at + 0.6 / count, 0.88, colour)
            else:
                canvas.box(0.12, at, 0.12 + value, at + 0.55 / count, colour)
    elif kind == "scatter":
        slope = canvas.between(-0.6, 0.6)
        for group in range(canvas.rng.randint(1, 3)):
            colour, lift = canvas.palette[group], canvas.between(-0.15, 0.15)
            for _ in range(canvas.rng.randint(15, 45)):
                x = canvas.between(0.16, 0.92)
                y = 0.52 + lift - slope * (x - 0.5) + canvas.rng.gauss(0, 0.05)
                canvas.dot(x, min(0.86, max(0.12, y)), 0.012, colour, pen=0)
    else:
        for series in range(canvas.rng.randint(1, 4)):
            colour, y = canvas.palette[series], canvas.between(0.3, 0.7)
            points = []
            for index in range(count + 3):
                points.append((0.13 + 0.8 * index / (count + 2), y))
                y = min(0.84, max(0.15, y + canvas.between(-0.13, 0.13)))
            if kind == "area":
                canvas.polygon([(0.13, 0.88), *points, (0.93, 0.88)], mix(colour, (255, 255, 255), 0.35), pen=0)
            canvas.line(points, colour, 0.01)
            if canvas.chance(0.5):
                for x, level in points:
                    canvas.dot(x, level, 0.013, colour, pen=0)
    canvas.line([(0.12, 0.12), (0.12, 0.88), (0.94, 0.88)], ink, 0.007)


def vehicle(canvas: Canvas) -> None:
    top, bottom = (rgb(code) for code in canvas.rng.choice(SKIES))
    canvas.gradient(top, bottom)
    cloud(canvas, canvas.between(0.1, 0.9), canvas.between(0.1, 0.25), canvas.between(0.14, 0.25))
    hills(canvas, 0.68, 0.04, rgb(canvas.rng.choice(("#84a98c", "#a7c957", "#dda15e", "#b7b7a4"))))
    road = canvas.between(0.76, 0.82)
    canvas.polygon([(-0.1, road), (1.1, road), (1.1, 1.1), (-0.1, 1.1)], rgb("#5c677d"))
    for index in range(6):
        canvas.box(index * 0.2 - 0.03, road + 0.1, index * 0.2 + 0.07, road + 0.118, (245, 245, 235))
    paint, glass = canvas.colour(unlike=[bottom]), rgb("#cfe8ff")
    x, w, base = canvas.between(0.4, 0.6), canvas.between(0.24, 0.36), road + 0.04
    kind = canvas.rng.choice(("car", "bus", "truck"))
    if kind == "car":
        canvas.polygon(
            [
                (x - w * 0.6, base - 0.13),
                (x - w * 0.35, base - 0.25),
                (x + w * 0.3, base - 0.25),
                (x + w * 0.6, base - 0.13),
            ],
            paint,
        )
        for left, right in ((-0.46, -0.05), (0.0, 0.45)):
            canvas.polygon(
                [
                    (x + w * left, base - 0.135),
                    (x + w * max(left, -0.3), base - 0.23),
                    (x + w * min(right, 0.26), base - 0.23),
                    (x + w * right, base - 0.135),
                ],
                glass,
            )
        canvas.rounded(x - w, base - 0.14, x + w, base, 0.03, paint)
    elif kind == "bus":
        canvas.rounded(x - w, base - 0.34, x + w, base, 0.03, paint)
        for index in range(5):
            left = x - w * 0.9 + index * w * 0.37
            canvas.rounded(left, base - 0.29, left + w * 0.28, base - 0.17, 0.01, glass)
        canvas.box(x - w, base - 0.12, x + w, base - 0.09, canvas.colour(unlike=[paint]))
    else:
        canvas.box(x - w, base - 0.32, x + w * 0.35, base, canvas.colour(unlike=[paint, bottom]))
        canvas.polygon(
            [
                (x + w * 0.4, base),
                (x + w * 0.4, base - 0.24),
                (x + w * 0.75, base - 0.24),
                (x + w, base - 0.12),
                (x + w, base),
            ],
            paint,
        )
        canvas.polygon(
            [
                (x + w * 0.5, base - 0.13),
                (x + w * 0.5, base - 0.21),
                (x + w * 0.72, base - 0.21),
                (x + w * 0.88, base - 0.13),
            ],
            glass,
        )
    canvas.dot(x + w * 0.95, base - 0.06, 0.016, rgb("#ffe08a"))
    for side in (-0.58, 0.58):
        canvas.dot(x + w * side, base, 0.06, rgb("#22223b"))
        canvas.dot(x + w * side, base, 0.028, rgb("#d9d9d9"))


def outer_space(canvas: Canvas) -> None:
    night = rgb(canvas.rng.choice(("#10002b", "#03071e", "#0b132b", "#1a1a40", "#240046")))
    canvas.gradient(night, mix(night, canvas.colour(), 0.35))
    for _ in range(canvas.rng.randint(30, 110)):
        canvas.dot(canvas.between(0, 1), canvas.between(0, 1), canvas.between(0.001, 0.005), (255, 255, 230), pen=0)
    for _ in range(canvas.rng.randint(2, 5)):
        x, y, r = canvas.between(0.05, 0.95), canvas.between(0.05, 0.95), canvas.between(0.04, 0.16)
        colour = canvas.colour(unlike=[night])
        canvas.dot(x, y, r, colour)
        for _ in range(canvas.rng.randint(1, 4)):
            dx, dy, size = (
                canvas.between(-0.5, 0.5) * r,
                canvas.between(-0.5, 0.5) * r,
                canvas.between(0.1, 0.25) * r,
            )
            canvas.dot(x + dx, y + dy, size, mix(colour, night, 0.3), pen=0)
        if canvas.chance(0.5):
            turn = canvas.between(-0.6, 0.6)
            points = []
            for step in range(25):
                # The near half of the ring only: the planet hides the far half.
                angle = math.pi * step / 24
                across, down = r * 1.7 * math.cos(angle), r * 0.42 * math.sin(angle)
                points.append(
                    (
                        x + across * math.cos(turn) - down * math.sin(turn),
                        y + across * math.sin(turn) + down * math.cos(turn),
                    )
                )
            canvas.line(points, mix(colour, (255, 255, 255), 0.5), r * 0.14)
    if canvas.chance(0.65):
        x, y, s = canvas.between(0.3, 0.7), canvas.between(0.35, 0.6), canvas.between(0.6, 1.1)
        body, fin = mix(canvas.colour(), (255, 255, 255), 0.6), canvas.colour(unlike=[night])
        canvas.polygon([(x - 0.05 * s, y + 0.2 * s), (x, y + 0.36 * s), (x + 0.05 * s, y + 0.2 * s)], rgb("#ffb703"))
        for side in (-1, 1):
            canvas.polygon(
                [
                    (x + side * 0.07 * s, y + 0.06 * s),
                    (x + side * 0.15 * s, y + 0.24 * s),
                    (x + side * 0.06 * s, y + 0.2 * s),
                ],
                fin,
            )
        canvas.oval(x, y, 0.085 * s, 0.24 * s, body)
        canvas.dot(x, y - 0.06 * s, 0.04 * s, rgb("#8ecae6"))


def butterfly(canvas: Canvas) -> None:
    canvas.paper()
    upper, lower = canvas.colour(unlike=[canvas.light]), canvas.colour(unlike=[canvas.light])
    wide, tall, lean = canvas.between(0.15, 0.21), canvas.between(0.12, 0.19), canvas.between(0.3, 0.8)
    low_wide, low_tall = canvas.between(0.1, 0.16), canvas.between(0.1, 0.16)
    spots = [
        (canvas.between(-0.5, 0.5), canvas.between(-0.5, 0.5), canvas.between(0.1, 0.25))
        for _ in range(canvas.rng.randint(1, 5))
    ]
    spot = canvas.colour(unlike=[upper])
    for side in (-1, 1):
        x, y = 0.5 + side * (wide + 0.02), 0.4
        canvas.oval(0.5 + side * (low_wide + 0.01), 0.64, low_wide, low_tall, lower, turn=side * lean)
        canvas.oval(x, y, wide, tall, upper, turn=-side * lean)
        for dx, dy, size in spots:
            canvas.dot(x + side * dx * wide, y + dy * tall, size * wide, spot, pen=0)
        canvas.dot(0.5 + side * (low_wide + 0.02), 0.65, low_wide * 0.35, canvas.palette[0], pen=0)
        canvas.line([(0.5, 0.32), (0.5 + side * 0.05, 0.22), (0.5 + side * 0.09, 0.19)], canvas.dark, 0.007)
    canvas.oval(0.5, 0.52, 0.025, 0.22, canvas.dark)


def balloons(canvas: Canvas) -> None:
    top, bottom = (rgb(code) for code in canvas.rng.choice(SKIES))
    canvas.gradient(top, bottom)
    for _ in range(canvas.rng.randint(1, 4)):
        cloud(canvas, canvas.between(0, 1), canvas.between(0.1, 0.9), canvas.between(0.12, 0.3))
    for _ in range(canvas.rng.randint(1, 4)):
        x, y, r = canvas.between(0.15, 0.85), canvas.between(0.2, 0.6), canvas.between(0.09, 0.2)
        first = canvas.colour(unlike=[bottom])
        second = canvas.colour(unlike=[first])
        for side in (-0.6, -0.2, 0.2, 0.6):
            canvas.line([(x + side * r, y + r * 0.7), (x + side * r * 0.35, y + r * 1.55)], canvas.dark, 0.003)
        canvas.polygon(
            [
                (x - r * 0.86, y + r * 0.5),
                (x + r * 0.86, y + r * 0.5),
                (x + r * 0.25, y + r * 1.2),
                (x - r * 0.25, y + r * 1.2),
            ],
            first,
            pen=0,
        )
        canvas.dot(x, y, r, first)
        for part, colour in ((0.68, second), (0.34, first)):
            canvas.oval(x, y, r * part, r, colour, pen=0)
        canvas.rounded(x - r * 0.24, y + r * 1.5, x + r * 0.24, y + r * 1.8, r * 0.05, rgb("#7f5539"))


def treats(canvas: Canvas) -> None:
    canvas.paper()
    kind = canvas.rng.choice(("ice cream", "cupcake", "fruit", "cup", "pizza"))
    first, second = canvas.colour(unlike=[canvas.light]), canvas.colour()
    x = canvas.between(0.45, 0.55)
    if kind == "ice cream":
        canvas.polygon([(x - 0.15, 0.5), (x + 0.15, 0.5), (x, 0.92)], rgb("#d4a373"))
        for step in range(1, 5):
            canvas.line(
                [(x - 0.15 + 0.06 * step, 0.5), (x + 0.02 * step - 0.03, 0.9 - 0.07 * step)],
                rgb("#99582a"),
                0.004,
            )
        scoops = canvas.rng.randint(1, 3)
        for scoop in range(scoops):
            canvas.dot(x + canvas.between(-0.02, 0.02), 0.45 - 0.15 * scoop, 0.16 - 0.02 * scoop, canvas.colour())
        canvas.dot(x, 0.29 - 0.15 * (scoops - 1), 0.03, rgb("#d62828"))
    elif kind == "cupcake":
        for level, half in enumerate((0.25, 0.2, 0.13)):
            canvas.oval(x, 0.54 - 0.11 * level, half, 0.1, first)
        canvas.dot(x, 0.2, 0.035, rgb("#d62828"))
        for _ in range(canvas.rng.randint(6, 20)):
            canvas.oval(
                x + canvas.between(-0.16, 0.16),
                canvas.between(0.3, 0.56),
                0.013,
                0.005,
                canvas.colour(),
                turn=canvas.between(0, 3),
                pen=0,
            )
        canvas.polygon([(x - 0.23, 0.57), (x + 0.23, 0.57), (x + 0.16, 0.88), (x - 0.16, 0.88)], second)
        for step in range(-2, 3):
            canvas.line([(x + 0.09 * step, 0.57), (x + 0.063 * step, 0.88)], canvas.dark, 0.006)
    elif kind == "fruit":
        for _ in range(canvas.rng.randint(1, 5)):
            cx, cy, r = canvas.between(0.2, 0.8), canvas.between(0.3, 0.8), canvas.between(0.09, 0.19)
            skin = rgb(canvas.rng.choice(("#e63946", "#f77f00", "#ffd166", "#80b918", "#9d4edd")))
            canvas.line([(cx, cy - r * 0.8), (cx + r * 0.15, cy - r * 1.35)], rgb("#6f4518"), r * 0.12)
            canvas.oval(cx, cy, r, r * canvas.between(0.85, 1.15), skin)
            canvas.oval(cx + r * 0.45, cy - r * 1.15, r * 0.35, r * 0.14, rgb("#588157"), turn=-0.4)
            canvas.oval(
                cx - r * 0.4,
                cy - r * 0.35,
                r * 0.13,
                r * 0.22,
                mix(skin, (255, 255, 255), 0.6),
                turn=0.5,
                pen=0,
            )
    elif kind == "cup":
        canvas.arc(x + 0.2, 0.55, 0.12, 0.13, -100, 100, first, 0.035)
        canvas.polygon([(x - 0.22, 0.36), (x + 0.22, 0.36), (x + 0.17, 0.8), (x - 0.17, 0.8)], first)
        canvas.oval(x, 0.36, 0.22, 0.05, mix(first, (255, 255, 255), 0.4))
        canvas.oval(x, 0.37, 0.18, 0.035, rgb("#6f4518"), pen=0)
        canvas.oval(x, 0.85, 0.32, 0.045, canvas.colour())
        for side in (-0.08, 0.0, 0.08):
            points = [(x + side + 0.02 * math.sin(step * 0.9), 0.29 - 0.02 * step) for step in range(9)]
            canvas.line(points, mix(canvas.dark, canvas.light, 0.5), 0.01)
    else:
        turn = canvas.between(0, 6)
        canvas.dot(0.5, 0.5, 0.38, rgb("#c98a4b"))
        canvas.dot(0.5, 0.5, 0.33, rgb("#ffd166"))
        for _ in range(canvas.rng.randint(9, 20)):
            angle, far = canvas.between(0, 6.3), 0.28 * math.sqrt(canvas.rng.random())
            cx, cy = 0.5 + far * math.cos(angle), 0.5 + far * math.sin(angle)
            canvas.dot(
                cx,
                cy,
                canvas.between(0.02, 0.045),
                rgb(canvas.rng.choice(("#d62828", "#588157", "#6d597a", "#fff8e7"))),
            )
        for step in range(4):
            angle = turn + math.pi * step / 4
            canvas.line(
                [
                    (0.5 - 0.38 * math.cos(angle), 0.5 - 0.38 * math.sin(angle)),
                    (0.5 + 0.38 * math.cos(angle), 0.5 + 0.38 * math.sin(angle)),
                ],
                rgb("#b08968"),
                0.006,
            )


def line_art(canvas: Canvas) -> None:
    """Outlines in one ink on paper, drawn with an unsteady hand."""
    canvas.fill(canvas.rng.choice(((255, 255, 255), rgb("#faf3e0"), rgb("#f1f3f5"), rgb("#fff8e7"))))
    ink = canvas.rng.choice((rgb("#1d1d1f"), rgb("#1d3557"), rgb("#5f0f40"), rgb("#344e41")))
    width, shake = canvas.between(0.005, 0.011), canvas.between(0.001, 0.004)

    def stroke(points: Sequence[Point]) -> None:
        canvas.line([(x + canvas.rng.gauss(0, shake), y + canvas.rng.gauss(0, shake)) for x, y in points], ink, width)

    def loop(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> None:
        angles = [math.radians(start + (end - start) * step / 30) for step in range(31)]
        stroke([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles])

    def snail(x: float, y: float, s: float) -> None:
        turns = [(0.11 * s * (1 - t / 70), t * 0.3) for t in range(60)]
        stroke([(x + r * math.cos(a), y + r * math.sin(a)) for r, a in turns])
        stroke(
            [
                (x - 0.17 * s, y + 0.12 * s),
                (x + 0.1 * s, y + 0.12 * s),
                (x + 0.2 * s, y + 0.02 * s),
                (x + 0.2 * s, y - 0.08 * s),
            ]
        )
        stroke([(x + 0.2 * s, y - 0.08 * s), (x + 0.24 * s, y - 0.15 * s)])
        stroke([(x + 0.2 * s, y - 0.08 * s), (x + 0.16 * s, y - 0.15 * s)])

    def mushroom(x: float, y: float, s: float) -> None:
        loop(x, y, 0.16 * s, 0.13 * s, 180, 360)
        stroke([(x - 0.16 * s, y), (x + 0.16 * s, y)])
        stroke([(x - 0.05 * s, y), (x - 0.06 * s, y + 0.17 * s), (x + 0.06 * s, y + 0.17 * s), (x + 0.05 * s, y)])
        loop(x - 0.05 * s, y - 0.05 * s, 0.025 * s, 0.025 * s)
        loop(x + 0.06 * s, y - 0.06 * s, 0.02 * s, 0.02 * s)

    def umbrella(x: float, y: float, s: float) -> None:
        loop(x, y, 0.18 * s, 0.16 * s, 180, 360)
        for part in (-0.12, 0.0, 0.12):
            loop(x + part * s, y, 0.06 * s, 0.03 * s, 180, 360)
        stroke([(x, y - 0.16 * s), (x, y + 0.17 * s)])
        loop(x + 0.035 * s, y + 0.17 * s, 0.035 * s, 0.035 * s, 0, 180)

    def bird(x: float, y: float, s: float) -> None:
        loop(x, y, 0.13 * s, 0.1 * s)
        loop(x + 0.12 * s, y - 0.1 * s, 0.06 * s, 0.055 * s)
        stroke([(x + 0.18 * s, y - 0.1 * s), (x + 0.23 * s, y - 0.085 * s), (x + 0.175 * s, y - 0.07 * s)])
        loop(x - 0.02 * s, y - 0.01 * s, 0.07 * s, 0.05 * s, 0, 190)
        stroke(
            [
                (x - 0.12 * s, y),
                (x - 0.22 * s, y - 0.05 * s),
                (x - 0.2 * s, y + 0.03 * s),
                (x - 0.12 * s, y + 0.03 * s),
            ]
        )
        for leg in (-0.03, 0.04):
            stroke(
                [
                    (x + leg * s, y + 0.1 * s),
                    (x + leg * s, y + 0.17 * s),
                    (x + (leg + 0.03) * s, y + 0.17 * s),
                ]
            )
        canvas.dot(x + 0.135 * s, y - 0.11 * s, 0.008 * s, ink, pen=0)

    def cabin(x: float, y: float, s: float) -> None:
        stroke(
            [
                (x - 0.14 * s, y + 0.14 * s),
                (x - 0.14 * s, y - 0.03 * s),
                (x + 0.14 * s, y - 0.03 * s),
                (x + 0.14 * s, y + 0.14 * s),
                (x - 0.14 * s, y + 0.14 * s),
            ]
        )
        stroke([(x - 0.18 * s, y - 0.03 * s), (x, y - 0.17 * s), (x + 0.18 * s, y - 0.03 * s)])
        stroke(
            [
                (x - 0.03 * s, y + 0.14 * s),
                (x - 0.03 * s, y + 0.05 * s),
                (x + 0.04 * s, y + 0.05 * s),
                (x + 0.04 * s, y + 0.14 * s),
            ]
        )

    def bloom(x: float, y: float, s: float) -> None:
        petals = canvas.rng.randint(5, 8)
        for step in range(petals):
            angle = 2 * math.pi * step / petals
            loop(x + 0.09 * s * math.cos(angle), y - 0.05 * s + 0.09 * s * math.sin(angle), 0.05 * s, 0.05 * s)
        loop(x, y - 0.05 * s, 0.045 * s, 0.045 * s)
        stroke([(x, y + 0.08 * s), (x + 0.01 * s, y + 0.2 * s)])

    def rings(x: float, y: float, s: float) -> None:
        for level in range(canvas.rng.randint(3, 6)):
            loop(x, y, (0.03 + 0.03 * level) * s, (0.03 + 0.03 * level) * s)

    things = (snail, mushroom, umbrella, bird, cabin, bloom, rings)
    cells = canvas.rng.choice((1, 2, 2, 3))
    for row in range(cells):
        for column in range(cells):
            x, y = (column + 0.5) / cells, (row + 0.5) / cells
            scale = (2.1 if cells == 1 else 2.2 / cells) * canvas.between(0.8, 1.0)
            canvas.rng.choice(things)(x + canvas.between(-0.02, 0.02), y + canvas.between(-0.02, 0.02), scale)


MOTIFS: tuple[Callable[[Canvas], None], ...] = (
    landscape,
    homestead,
    skyline,
    sailing,
    animal,
    robot,
    face,
    fish,
    flowers,
    bauhaus,
    confetti,
    tiles,
    spirograph,
    mandala,
    chart,
    vehicle,
    outer_space,
    butterfly,
    balloons,
    treats,
    line_art,
)


def draw(rng: random.Random, motif: int) -> Image.Image:
    """Return one drawing, RGB, 256 to 512 pixels wide and high.

    Args:
        rng: the only source of choices; the same state gives the same pixels.
        motif: any whole number; it goes round `MOTIFS`, so that consecutive numbers differ in kind.
    """
    canvas = Canvas(rng, rng.choice((256, 288, 320, 384, 448, 512)))
    MOTIFS[motif % len(MOTIFS)](canvas)
    picture = canvas.finished()
    width, height = picture.size
    if rng.random() < 0.4:
        # Cut to a landscape or portrait shape; never below 256 pixels.
        if rng.random() < 0.5:
            cut = max(256, round(height * rng.uniform(0.75, 0.95)))
            top = (height - cut) // 2
            picture = picture.crop((0, top, width, top + cut))
        else:
            cut = max(256, round(width * rng.uniform(0.75, 0.95)))
            left = (width - cut) // 2
            picture = picture.crop((left, 0, left + cut, height))
    return picture
