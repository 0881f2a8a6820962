"""Captions of scenes, as people might phrase them: detailed or brief, in varying order and words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenes import COLOURS, SHAPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from scenes import Scene

PLURALS = {"cross": "crosses"}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
PLACES = {
    "centre": ("in the middle", "in the centre"),
    "left": ("on the left", "at the left side"),
    "right": ("on the right", "at the right side"),
    "top": ("at the top", "in the upper part"),
    "bottom": ("at the bottom", "in the lower part"),
}
# Content of sentences, with probabilities: most of a scene, its coloured shape only, or the colour or shape only. A
# detailed sentence differs from all others even without the shape, so the other sentences have to teach shapes.
USUAL = {"much": 0.4, "both": 0.35, "colour": 0.1, "shape": 0.15}
SIMPLE = {"both": 0.8, "colour": 0.05, "shape": 0.15}
# Probability that a detailed sentence omits the colour, or the shape, so that each is also learned without the other.
_OMITTED = {"colour": 0.1, "shape": 0.1}
OPENINGS = ("", "", "", "a picture of ", "a drawing of ", "this is ", "there is ")


def short_caption(scene: Scene) -> str:
    """Return number, colour and shape, such as "two orange stars"."""
    return _things(scene, (scene.colour,), scene.shape, counted=True)


def full_caption(scene: Scene) -> str:
    """Return the one sentence that describes a scene completely; different scenes have different ones."""
    return (
        f"{_things(scene, (scene.size, scene.colour), scene.shape, counted=True)} {PLACES[scene.position][0]} "
        f"on a {scene.texture} {ground_words(scene.ground)} background"
    )


def name(colour: str, shape: str) -> str:
    """Return the name of a single shape."""
    return f"{_article(colour)} {colour} {shape}"


def names() -> list[str]:
    """Return the names of all single shapes."""
    return [name(colour, shape) for colour in COLOURS for shape in SHAPES]


def caption(scene: Scene, random: np.random.Generator, content: Mapping[str, float] = USUAL) -> str:
    """Return a random sentence about a scene: often its colour and shape, and random further details.

    Args:
        scene: the scene.
        random: the generator.
        content: probabilities of each kind of content; see `USUAL`.
    """
    opening = OPENINGS[int(random.integers(len(OPENINGS)))]
    what = random.choice(list(content), p=list(content.values()))
    if not scene.colour and what in {"both", "colour"}:
        what = "shape"
    size = _one_of(random, SIZE_WORDS[scene.size]) if what == "much" and random.random() < 0.6 else ""
    omitted = (
        random.choice(["", *_OMITTED], p=[1 - sum(_OMITTED.values()), *_OMITTED.values()]) if what == "much" else ""
    )
    colour = "" if what == "shape" or omitted == "colour" else scene.colour
    noun = "shape" if what == "colour" or omitted == "shape" else scene.shape
    counted = opening.endswith("is ") or random.random() < 0.75
    things = _things(scene, (size, colour), noun, counted=counted)
    if what != "much":
        return f"{opening}{things}"
    place = f" {_one_of(random, PLACES[scene.position])}" if random.random() < 0.6 else ""
    ground = f" on a {_background(scene, random)}" if random.random() < 0.65 else ""
    if ground and place and random.random() < 0.3:
        return f"{opening}{things}{ground},{place}"
    return f"{opening}{things}{place}{ground}"


def _things(scene: Scene, adjectives: tuple[str, ...], noun: str, *, counted: bool) -> str:
    """Return a phrase such as "two small red hearts", or "small red hearts" if not counted."""
    noun = noun if scene.number == "one" else PLURALS.get(noun, f"{noun}s")
    words = " ".join([*filter(None, adjectives), noun])
    if not counted:
        return words
    return f"{_article(words) if scene.number == 'one' else scene.number} {words}"


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _background(scene: Scene, random: np.random.Generator) -> str:
    words = [scene.texture, ground_words(scene.ground)]
    if scene.texture == "plain" and random.random() < 0.5:
        words = words[1:]
    elif random.random() < 0.25:
        words = words[:1]
    return f"{' '.join(words)} {_one_of(random, ('background', 'ground'))}"


def ground_words(name: str) -> str:
    """Return the words for a background colour, such as "light blue" for "sky"."""
    return {
        "sky": "light blue",
        "mint": "light green",
        "dark": "dark grey",
        "cream": "cream",
        "grey": "light grey",
    }.get(name, name)


def _one_of(random: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(random.integers(len(words)))]
