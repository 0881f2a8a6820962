"""Drawings of scenes: rendered large by Pillow, slightly rotated and shifted, then downscaled to smooth the edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scenes import COLOURS, GROUNDS, NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from scenes import Scene

    Point = tuple[float, float]

SIZE = 64
_FINE = 3  # supersampling factor
# Minimum and maximum, as a fraction of the image's side. Large shapes are as large as their number allows.
_RADII = {
    "small": {"one": (0.13, 0.15), "two": (0.13, 0.15), "three": (0.13, 0.15), "four": (0.12, 0.14)},
    "large": {"one": (0.18, 0.25), "two": (0.175, 0.22), "three": (0.17, 0.2), "four": (0.165, 0.182)},
}
_CENTRES = {"centre": (0.5, 0.5), "left": (0.27, 0.5), "right": (0.73, 0.5), "top": (0.5, 0.27), "bottom": (0.5, 0.73)}


def draw(scene: Scene, random: np.random.Generator, size: int = SIZE) -> Image.Image:
    """Draw an image `(size, size)` of a scene. Details that the scene does not specify are random."""
    side = size * _FINE
    image = Image.new("RGB", (side, side), _near(GROUNDS[scene.ground], random, 6))
    _texture(image, scene, random)
    pen = ImageDraw.Draw(image)
    colour = _near(scene.paint or COLOURS[scene.colour], random, 14)
    radius = random.uniform(*_RADII[scene.size][scene.number]) * side
    for x, y in _places(scene, radius / side, random):
        SHAPES[scene.shape](pen, x * side, y * side, radius, random.uniform(-0.25, 0.25), colour)
    return _finished(image, _noise(random, size))


def draw_pair(
    scenes: tuple[Scene, Scene], random: np.random.Generator, size: int = SIZE
) -> tuple[Image.Image, list[Image.Image], list[np.ndarray]]:
    """Draw one shape of each of two scenes side by side, on the first one's ground.

    Args:
        scenes: the left one and the right one.
        random: for details that the scenes do not specify.
        size: the width and height in pixels.

    Returns:
        The image; the same image with each shape alone; and the pixels that each shape covers: `(size, size)`, bool.
    """
    side = size * _FINE
    image = Image.new("RGB", (side, side), _near(GROUNDS[scenes[0].ground], random, 6))
    _texture(image, scenes[0], random)
    alone, masks = [image.copy(), image.copy()], []
    for scene, position, single in zip(scenes, ("left", "right"), alone, strict=True):
        radius = random.uniform(*_RADII[scene.size]["two"]) * side
        x = (_CENTRES[position][0] + random.uniform(-0.03, 0.03)) * side
        y = random.uniform(1.05 * radius, side - 1.05 * radius)
        angle, colour = random.uniform(-0.25, 0.25), _near(COLOURS[scene.colour], random, 14)
        covered = Image.new("L", image.size)
        for drawn, ink in ((image, colour), (single, colour), (covered, 255)):
            SHAPES[scene.shape](ImageDraw.Draw(drawn), x, y, radius, angle, ink)
        masks.append(np.asarray(covered.resize((size, size), Image.Resampling.BOX)) > 127)
    noise = _noise(random, size)
    return _finished(image, noise), [_finished(single, noise) for single in alone], masks


def _noise(random: np.random.Generator, size: int) -> np.ndarray:
    return random.normal(0, 3, (size, size, 1))


def _finished(image: Image.Image, noise: np.ndarray) -> Image.Image:
    """Return a drawing in the size of the noise `(size, size, 1)`, with the noise added."""
    small = image.resize(noise.shape[:2], Image.Resampling.BOX)
    return Image.fromarray(np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8))


def _near(colour: tuple[int, int, int], random: np.random.Generator, spread: int) -> tuple[int, ...]:
    return tuple(int(np.clip(part + random.integers(-spread, spread + 1), 0, 255)) for part in colour)


def _texture(image: Image.Image, scene: Scene, random: np.random.Generator) -> None:
    if scene.texture == "plain":
        return
    side, pen = image.width, ImageDraw.Draw(image)
    shade = tuple(
        max(0, part - 26) if sum(image.getpixel((0, 0))) > 330 else part + 30 for part in image.getpixel((0, 0))
    )
    step = side / random.uniform(6.5, 9.5)
    offset = random.uniform(0, step)
    count = int(side / step) + 2
    for row in range(-1, count):
        y = row * step + offset
        if scene.texture == "striped":
            pen.rectangle((0, y, side, y + step / 2), fill=shade)
            continue
        for column in range(-1, count):
            x = column * step + offset
            if scene.texture == "dotted":
                pen.ellipse((x, y, x + step * 0.42, y + step * 0.42), fill=shade)
            elif (row + column) % 2:
                pen.rectangle((x, y, x + step, y + step), fill=shade)


def _places(scene: Scene, radius: float, random: np.random.Generator) -> list[Point]:
    """Return the centres of the shapes, spread around the centre of their group."""
    count = NUMBERS.index(scene.number) + 1
    centre_x, centre_y = (part + random.uniform(-0.03, 0.03) for part in _CENTRES[scene.position])
    distance = radius * random.uniform(1.12, 1.25) / math.sin(math.pi / count) if count > 1 else 0.0
    turn = random.uniform(0, 2 * math.pi)
    if scene.position in {"left", "right"} and count == 2:
        turn = math.pi / 2 + random.uniform(-0.3, 0.3)
    elif scene.position in {"top", "bottom"} and count == 2:
        turn = random.uniform(-0.3, 0.3)
    offsets = [
        (
            distance * math.cos(turn + 2 * math.pi * place / count),
            distance * math.sin(turn + 2 * math.pi * place / count),
        )
        for place in range(count)
    ]
    reaches = [radius * 1.05 + max(abs(offset[axis]) for offset in offsets) for axis in (0, 1)]
    # Keep the whole group inside the image.
    centre_x, centre_y = (
        min(max(part, reach), 1 - reach) for part, reach in zip((centre_x, centre_y), reaches, strict=True)
    )
    return [(centre_x + x, centre_y + y) for x, y in offsets]


def _polygon(corners: int, *, inner: float = 1.0, turn: float = -math.pi / 2) -> Callable[..., None]:
    """Return a function that draws a regular polygon, or a star if `inner` is below 1."""

    def drawn(
        pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, angle: float, colour: tuple[int, ...]
    ) -> None:
        count = corners if inner == 1 else 2 * corners
        points = [
            (
                x
                + radius
                * (inner if place % 2 and inner != 1 else 1)
                * math.cos(angle + turn + 2 * math.pi * place / count),
                y
                + radius
                * (inner if place % 2 and inner != 1 else 1)
                * math.sin(angle + turn + 2 * math.pi * place / count),
            )
            for place in range(count)
        ]
        pen.polygon(points, fill=colour)

    return drawn


def _outline(points: list[Point]) -> Callable[..., None]:
    """Return a function that draws a polygon given by its corners, in units of the radius."""

    def drawn(
        pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, angle: float, colour: tuple[int, ...]
    ) -> None:
        cos, sin = math.cos(angle), math.sin(angle)
        pen.polygon(
            [(x + radius * (cos * a - sin * b), y + radius * (sin * a + cos * b)) for a, b in points], fill=colour
        )

    return drawn


def _circle(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, _: float, colour: tuple[int, ...]) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _ring(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, _: float, colour: tuple[int, ...]) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=int(radius * 0.36))


_HEART = [
    (
        0.062 * 16 * math.sin(t) ** 3,
        -0.062 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
    )
    for t in np.linspace(0, 2 * math.pi, 40)
]
_CRESCENT = [(math.cos(t), math.sin(t)) for t in np.linspace(0.9, 2 * math.pi - 0.9, 30)]
_CRESCENT += [(0.42 + 0.82 * math.cos(t), 0.82 * math.sin(t)) for t in np.linspace(2 * math.pi - 1.28, 1.28, 30)]
_ARROW = [(0, -1), (0.9, 0), (0.34, 0), (0.34, 1), (-0.34, 1), (-0.34, 0), (-0.9, 0)]
_ARM = 0.34
_CROSS = [(-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)]
_CROSS += [(_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)]

SHAPES: dict[str, Callable[..., None]] = {
    "circle": _circle,
    "square": _polygon(4, turn=math.pi / 4),
    "triangle": _polygon(3),
    "star": _polygon(5, inner=0.42),
    "heart": _outline(_HEART),
    "diamond": _outline([(0, -1.1), (0.62, 0), (0, 1.1), (-0.62, 0)]),
    "arrow": _outline(_ARROW),
    "cross": _outline(_CROSS),
    "ring": _ring,
    "crescent": _outline(_CRESCENT),
}
