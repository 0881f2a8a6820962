"""Measurement of both ways of captioning, on fresh drawings whose content is known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "shapes"))

import numpy as np
from captioner import BEAMS
from captions import short_caption
from drawing import draw
from facts import facts_of, is_right, is_wholly_right
from grammar import GuidedSearch
from scenes import COLOURS, HELD_OUT, NUMBERS, SEEN, SHAPES, Scene, draw_scene
from shape_captions import GRAMMAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from captioner import Captioner

    from clip_core import ZeroShotClassifier

PAIRS = {"trained pairs": SEEN, "held-out pairs": HELD_OUT}
# Number, colour and shape of every kind of drawing; the rest of a scene does not occur in its short caption.
_GRID = [
    Scene(colour, shape, "large", number, "centre", "white", "plain")
    for number in NUMBERS
    for colour in COLOURS
    for shape in SHAPES
]


class Shares(NamedTuple):
    """Shares of images, from 0 to 1.

    Attributes:
        right_of_told: right number, colour and shape, among the images that CLIP can tell.
        right: right number, colour and shape, among all.
        wholly_right: the same, and nothing else wrong, among all.
        by_fact: share of each fact that is right, among the captions that state it.
    """

    right_of_told: float
    right: float
    wholly_right: float
    by_fact: dict[str, float]


class Measured(NamedTuple):
    """Results on one set of images.

    Attributes:
        images: number of images.
        told: share of images that CLIP can tell: among the 400 phrases of number, colour and shape, such as
            "two red stars", it finds the image's own.
        by_way: the results of each way of captioning.
    """

    images: int
    told: float
    by_way: dict[str, Shares]


def drawings(classifier: ZeroShotClassifier, kind: str, count: int, seed: int) -> tuple[list[Scene], np.ndarray]:
    """Return random scenes, and the embeddings of their drawings `(count, projection)`.

    Args:
        classifier: the CLIP model.
        kind: a key of `PAIRS`.
        count: number of scenes.
        seed: seed of the scenes and drawings; training had others.
    """
    random = np.random.default_rng([seed, list(PAIRS).index(kind), 77])
    scenes = [draw_scene(random, PAIRS[kind]) for _ in range(count)]
    return scenes, classifier.encode_images(draw(scene, random) for scene in scenes)


def told(classifier: ZeroShotClassifier, scenes: Sequence[Scene], image_embeds: np.ndarray) -> np.ndarray:
    """Return for each image whether CLIP can tell it, as in `Measured`: `(images,)`, bool.

    Args:
        classifier: the CLIP model.
        scenes: the content of the images.
        image_embeds: their embeddings `(images, projection)`.
    """
    phrases = [short_caption(scene) for scene in _GRID]
    best = (image_embeds @ classifier.encode_texts(phrases).T).argmax(1)
    return np.array([phrases[row] == short_caption(scene) for row, scene in zip(best, scenes, strict=True)])


def ways(
    classifier: ZeroShotClassifier, captioner: Captioner, image_embeds: np.ndarray, *, beams: int = BEAMS
) -> dict[str, list[str]]:
    """Return the captions of images in each way: by the decoder with and without CLIP's choice, and by the grammar.

    Args:
        classifier: the CLIP model.
        captioner: the decoder, with this model.
        image_embeds: `(images, projection)`, of unit norm.
        beams: hypotheses of each search.
    """
    candidates = captioner.candidates(image_embeds, beams=beams)
    return {
        "decoder": [some[0] for some in captioner.rerank(image_embeds, candidates)],
        "decoder alone": [some[0] for some in candidates],
        "grammar": GuidedSearch(classifier, GRAMMAR)(image_embeds, beams=beams),
    }


def measure(classifier: ZeroShotClassifier, captioner: Captioner, kind: str, count: int, seed: int) -> Measured:
    """Measure every way of captioning on fresh drawings.

    Args:
        classifier: the CLIP model.
        captioner: the decoder, with this model.
        kind: a key of `PAIRS`.
        count: number of drawings.
        seed: seed of the drawings.
    """
    scenes, embeds = drawings(classifier, kind, count, seed)
    known = told(classifier, scenes, embeds)
    by_way = {}
    for way, captions in ways(classifier, captioner, embeds).items():
        right, wholly = (
            np.array([test(caption, scene) for caption, scene in zip(captions, scenes, strict=True)])
            for test in (is_right, is_wholly_right)
        )
        by_way[way] = Shares(
            float(right[known].sum() / max(1, known.sum())),
            float(right.mean()),
            float(wholly.mean()),
            shares_of_facts(captions, scenes),
        )
    return Measured(count, float(known.mean()), by_way)


def shares_of_facts(captions: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Return the share of each fact that is right, among the captions that state it.

    Args:
        captions: the captions.
        scenes: the content of their images.
    """
    answers: dict[str, list[bool]] = {}
    for caption, scene in zip(captions, scenes, strict=True):
        for name, fact in (facts_of(caption) or {}).items():
            answers.setdefault(name, []).append(getattr(scene, name) == fact)
    return {name: float(np.mean(some)) for name, some in sorted(answers.items())}
