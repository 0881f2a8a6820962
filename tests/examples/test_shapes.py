"""The scenes of the examples: captions describe the drawings, and held-out pairs are absent from training."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from clip_core import CLIPTokenizer
from support.tolerances import ANOTHER_COLOR, VARIED_GROUND, VARIED_PIXEL, VARIED_SHAPE

sys.path.append(str(Path(__file__).parents[2] / "examples" / "shapes"))

import captions
import drawing
import scenes
import vocabulary


def random_scenes(count, pairs=scenes.SEEN):
    random = np.random.default_rng(3)
    return [scenes.draw_scene(random, pairs) for _ in range(count)]


def test_the_held_out_pairs_are_never_drawn_and_cover_every_colour_and_shape():
    held_out = set(scenes.HELD_OUT)
    assert {colour for colour, _ in held_out} == set(scenes.COLOURS)
    assert {shape for _, shape in held_out} == set(scenes.SHAPES)
    assert len(scenes.SEEN) == 90
    assert not any((scene.colour, scene.shape) in held_out for scene in random_scenes(500))
    assert all((scene.colour, scene.shape) in held_out for scene in random_scenes(50, scenes.HELD_OUT))


def test_the_same_seed_draws_the_same_picture():
    one, other = (drawing.draw(random_scenes(1)[0], np.random.default_rng(5)) for _ in range(2))
    assert one.size == (64, 64)
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("colour", scenes.COLOURS)
def test_a_large_shape_in_the_middle_has_its_colour_there(colour):
    scene = scenes.Scene(colour, "square", "large", "one", "centre", "white", "plain")
    pixel = drawing.draw(scene, np.random.default_rng(0)).getpixel((32, 32))
    distances = {name: sum(abs(a - b) for a, b in zip(pixel, rgb, strict=True)) for name, rgb in scenes.COLOURS.items()}
    assert min(distances, key=distances.get) == colour


@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_every_shape_is_drawn_and_they_differ(shape):
    pictures = {}
    for name in scenes.SHAPES:
        scene = scenes.Scene("black", name, "large", "one", "centre", "white", "plain")
        pictures[name] = np.asarray(drawing.draw(scene, np.random.default_rng(0)).convert("L")) < 128
    assert pictures[shape].sum() > 100
    assert all((pictures[shape] != other).sum() > 40 for name, other in pictures.items() if name != shape)


@pytest.mark.parametrize(("position", "axis", "low"), [("left", 1, True), ("right", 1, False), ("top", 0, True)])
def test_a_shape_is_where_it_is_said_to_be(position, axis, low):
    scene = scenes.Scene("black", "circle", "small", "one", position, "white", "plain")
    dark = np.asarray(drawing.draw(scene, np.random.default_rng(0)).convert("L")) < 128
    assert (np.argwhere(dark)[:, axis].mean() < 28) == low


def test_a_full_caption_tells_one_scene_from_another():
    drawn = set(random_scenes(400))
    assert len({captions.full_caption(scene) for scene in drawn}) == len(drawn)
    scene = scenes.Scene("orange", "cross", "large", "two", "top", "mint", "dotted")
    told = "two large orange crosses at the top on a dotted light green background"
    assert captions.full_caption(scene) == told
    assert captions.full_caption(scenes.Scene("orange", "star", "small", "one", "left", "white", "plain")).startswith(
        "a small orange star on the left"
    )


def test_a_caption_tells_nothing_wrong_and_often_the_colour_and_the_shape():
    random = np.random.default_rng(0)
    named = 0
    for scene in random_scenes(400):
        words = captions.caption(scene, random).replace(",", "").split()
        assert not set(scenes.COLOURS) - {scene.colour} & set(words) - {"green", "blue"}  # which grounds have, too
        assert not {shape for shape in scenes.SHAPES if shape != scene.shape} & {word.rstrip("es") for word in words}
        named += f"{scene.colour} {scene.shape}" in " ".join(words)
    assert 220 < named < 320


def test_a_simple_scene_is_mostly_one_large_shape_on_a_plain_ground():
    random = np.random.default_rng(0)
    drawn = [scenes.draw_simple_scene(random) for _ in range(300)]
    simple = [(s.size, s.number, s.texture) == ("large", "one", "plain") for s in drawn]
    assert 0.5 < np.mean(simple) < 0.9
    assert not any((scene.colour, scene.shape) in scenes.HELD_OUT for scene in drawn)


def test_a_colour_without_a_name_is_drawn_far_from_the_one_that_its_shape_is_held_out_in():
    random = np.random.default_rng(0)
    held_out = {shape: scenes.COLOURS[colour] for colour, shape in scenes.HELD_OUT}
    for scene in random_scenes(200):
        painted = scenes.painted(scene, random)
        for other in (held_out[scene.shape], scenes.GROUNDS[scene.ground]):
            assert max(abs(a - b) for a, b in zip(painted.paint, other, strict=True)) > ANOTHER_COLOR
        assert not set(scenes.COLOURS) & set(captions.short_caption(painted).split())
        assert scene.shape in captions.caption(painted, random, {"both": 1.0})
    scene = scenes.Scene("", "square", "large", "one", "centre", "white", "plain", paint=(90, 10, 200))
    pixel = drawing.draw(scene, np.random.default_rng(0)).getpixel((32, 32))
    assert max(abs(a - b) for a, b in zip(pixel, (90, 10, 200), strict=True)) < VARIED_PIXEL


def test_the_vocabulary_has_whole_words_and_takes_any_text(tmp_path):
    random = np.random.default_rng(0)
    texts = [captions.caption(scene, random) for scene in random_scenes(300)]
    size = vocabulary.train_vocabulary(texts, 400, tmp_path)
    tokenizer = CLIPTokenizer(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert len(tokenizer) == size <= 512 + 400 + 2
    assert tokenizer.tokenize("two purple stars") == ["two</w>", "purple</w>", "stars</w>"]
    assert (
        tokenizer.decode(tokenizer("naïve 🚀!")["input_ids"], skip_special_tokens=True).replace(" ", "") == "naïve🚀!"
    )


def test_a_pair_is_drawn_side_by_side_with_the_pixels_of_each():
    left, right = (
        scenes.Scene(colour, "square", "large", "one", "centre", "white", "plain") for colour in ("blue", "red")
    )
    image, alone, masks = drawing.draw_pair((left, right), np.random.default_rng(0))
    pixels = np.asarray(image).astype(int)
    assert image.size == (64, 64)
    for scene, mask in zip((left, right), masks, strict=True):
        assert mask.any()
        assert np.abs(np.median(pixels[mask], axis=0) - scenes.COLOURS[scene.colour]).max() <= VARIED_SHAPE
    assert not (masks[0] & masks[1]).any()
    assert np.abs(np.median(pixels[~masks[0] & ~masks[1]], axis=0) - scenes.GROUNDS["white"]).max() <= VARIED_GROUND
    assert masks[0].nonzero()[1].mean() < 32 < masks[1].nonzero()[1].mean()
    for single, own, other in zip(alone, masks, reversed(masks), strict=True):
        shown = np.asarray(single).astype(int)
        assert (shown == pixels)[own].all()  # the same shape, with the same noise
        assert np.abs(np.median(shown[other], axis=0) - scenes.GROUNDS["white"]).max() <= VARIED_GROUND
