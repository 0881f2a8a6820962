"""Scenes of coloured shapes, drawn from a seed: what a small CLIP can be trained on and be truly tested with."""

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

# Pairs of a colour and a shape that training never sees: each colour once, and each shape once.
HELD_OUT = tuple(zip(COLOURS, (SHAPES[(3 * place + 4) % len(SHAPES)] for place in range(len(COLOURS))), strict=True))
SEEN = tuple(pair for pair in itertools.product(COLOURS, SHAPES) if pair not in HELD_OUT)

_FAR = 70  # between two colours, in one of the channels at least


@dataclass(frozen=True)
class Scene:
    """One picture's content.

    Attributes:
        colour: of all its shapes, by name.
        shape: by name.
        size: of the shapes.
        number: how many there are.
        position: where they are.
        ground: the background's colour, by name.
        texture: the background's.
        paint: a colour without a name, in RGB, in place of a named one; `colour` is then empty.
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
    """A random scene whose colour and shape are one of the pairs; a black shape is on no dark ground."""
    colour, shape = pairs[random.integers(len(pairs))]
    grounds = [name for name in GROUNDS if (colour, name) != ("black", "dark")]
    size, number = _one_of(random, SIZES), _one_of(random, NUMBERS)
    # Three or four large shapes fill the picture, and are nowhere in particular.
    position = "centre" if size == "large" and number in NUMBERS[2:] else _one_of(random, POSITIONS)
    return Scene(colour, shape, size, number, position, _one_of(random, grounds), _one_of(random, TEXTURES))


def painted(scene: Scene, random: np.random.Generator) -> Scene:
    """The scene in a colour that has no name, far from its ground's and from the one that its shape is held out in.

    Of named colours alone a model learns shapes colour by colour, and those of a held-out pair not at all.
    """
    held_out = next(COLOURS[colour] for colour, shape in HELD_OUT if shape == scene.shape)
    while True:
        paint = tuple(int(part) for part in random.integers(0, 256, 3))
        if _distance(paint, held_out) > _FAR and _distance(paint, GROUNDS[scene.ground]) > _FAR:
            return replace(scene, colour="", paint=paint)


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def draw_simple_scene(random: np.random.Generator, pairs: tuple[tuple[str, str], ...] = SEEN) -> Scene:
    """A random scene that is mostly one large shape on a plain ground, where nothing hides what shapes look like."""
    scene = draw_scene(random, pairs)
    return replace(
        scene,
        size="large" if random.random() < 0.8 else scene.size,
        number="one" if random.random() < 0.6 else scene.number,
        texture="plain" if random.random() < 0.8 else scene.texture,
    )


def _one_of(random: np.random.Generator, words: tuple[str, ...] | list[str]) -> str:
    return words[int(random.integers(len(words)))]
