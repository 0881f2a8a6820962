"""Random scenes of coloured shapes, seeded: enough to train a small CLIP on and to test its generalization."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 140, 44),
    "blue": (36, 84, 200),
    "yellow": (245, 215, 40),
    "orange": (250, 130, 20),
    "purple": (125, 50, 170),
    "pink": (245, 130, 185),
    "brown": (120, 72, 40),
    "black": (20, 20, 20),
    "turquoise": (50, 200, 195),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "arrow", "cross", "ring", "crescent")
SIZES = ("small", "large")
NUMBERS = ("one", "two", "three", "four")
POSITIONS = ("centre", "left", "right", "top", "bottom")
GROUNDS = {
    "white": (250, 250, 248),
    "grey": (170, 172, 176),
    "cream": (246, 232, 200),
    "sky": (186, 216, 242),
    "mint": (196, 235, 205),
    "dark": (62, 64, 72),
}
TEXTURES = ("plain", "striped", "dotted", "checkered")

# Colour-shape pairs that training never sees: each colour once, and each shape once.
HELD_OUT = tuple(zip(COLOURS, (SHAPES[(3 * place + 4) % len(SHAPES)] for place in range(len(COLOURS))), strict=True))
SEEN = tuple(pair for pair in itertools.product(COLOURS, SHAPES) if pair not in HELD_OUT)

_FAR = 70  # minimum distance of two colours, in at least one channel


@dataclass(frozen=True)
class Scene:
    """The content of one image.

    Attributes:
        colour: name of the colour of its shapes.
        shape: name of its shapes.
        size: size of the shapes.
        number: number of shapes.
        position: position of the group.
        ground: name of the background colour.
        texture: texture of the background.
        paint: an unnamed RGB colour instead of a named one; `colour` is then empty.
    """

    colour: str
    shape: str
    size: str
    number: str
    position: str
    ground: str
    texture: str
    paint: tuple[int, int, int] | None = None


def draw_scene(random: np.random.Generator, pairs: tuple[tuple[str, str], ...] = SEEN) -> Scene:
    """Draw a random scene with one of the colour-shape pairs; a black shape never gets a dark background."""
    colour, shape = pairs[random.integers(len(pairs))]
    grounds = [name for name in GROUNDS if (colour, name) != ("black", "dark")]
    size, number = _one_of(random, SIZES), _one_of(random, NUMBERS)
    # Three or four large shapes fill the image, and have no particular position.
    position = "centre" if size == "large" and number in NUMBERS[2:] else _one_of(random, POSITIONS)
    return Scene(colour, shape, size, number, position, _one_of(random, grounds), _one_of(random, TEXTURES))


def painted(scene: Scene, random: np.random.Generator) -> Scene:
    """Return the scene in an unnamed colour, far from its background's and from its shape's held-out colour.

    From named colours alone, a model learns shapes separately for each colour, and never learns the held-out pairs.
    """
    held_out = next(COLOURS[colour] for colour, shape in HELD_OUT if shape == scene.shape)
    while True:
        paint = tuple(int(part) for part in random.integers(0, 256, 3))
        if _distance(paint, held_out) > _FAR and _distance(paint, GROUNDS[scene.ground]) > _FAR:
            return replace(scene, colour="", paint=paint)


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def draw_simple_scene(random: np.random.Generator, pairs: tuple[tuple[str, str], ...] = SEEN) -> Scene:
    """Draw a random scene that is mostly one large shape on a plain background, clearly visible."""
    scene = draw_scene(random, pairs)
    return replace(
        scene,
        size="large" if random.random() < 0.8 else scene.size,
        number="one" if random.random() < 0.6 else scene.number,
        texture="plain" if random.random() < 0.8 else scene.texture,
    )


def _one_of(random: np.random.Generator, words: tuple[str, ...] | list[str]) -> str:
    return words[int(random.integers(len(words)))]
