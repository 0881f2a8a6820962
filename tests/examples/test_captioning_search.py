"""Searches for the best sentence, over words and over a grammar; facts of sentences."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from support.tolerances import FLOAT64_OPERATION

sys.path.append(str(Path(__file__).parents[2] / "examples" / "captioning"))
sys.path.append(str(Path(__file__).parents[2] / "examples" / "shapes"))

import beam
import captions
import facts
import scenes
import shape_captions
import words


class Table:
    """A model of sequences whose log probabilities depend on the last two ids, from a table."""

    def __init__(self, ids, seed=0):
        random = np.random.default_rng(seed)
        logits = random.normal(0, 2, (ids + 1, ids + 1, ids))
        self.log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        self.steps = 0

    def start(self):
        return self.log_probs[-1, -1][None], [(-1, -1)]

    def advance(self, state, parents, words):
        self.steps += 1
        state = [(state[parent][1], word) for parent, word in zip(parents, words, strict=True)]
        return np.array([self.log_probs[two] for two in state]), state

    def score(self, ids, exponent):
        """Return, by its definition, the log probability of a sequence and its end, by the length penalty."""
        padded = [-1, -1, *ids, words.END]
        total = sum(
            self.log_probs[tuple(padded[place : place + 2])][padded[place + 2]] for place in range(len(ids) + 1)
        )
        return total / ((5 + len(ids) + 1) / 6) ** exponent


def every_sequence(ids, longest):
    return [some for length in range(longest) for some in itertools.product(range(1, ids), repeat=length)]


@pytest.mark.parametrize("exponent", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_search_that_is_wide_enough_finds_what_brute_force_finds(seed, exponent):
    table = Table(4, seed)
    exact = sorted(every_sequence(4, 5), key=lambda ids: -table.score(ids, exponent))
    found = beam.beam_search(table, *table.start(), end=words.END, longest=5, beams=len(exact), exponent=exponent)
    assert [one.ids for one in found] == exact
    expected = [table.score(ids, exponent) for ids in exact]
    np.testing.assert_allclose([one.score for one in found], expected, **FLOAT64_OPERATION)


def test_a_narrow_search_returns_its_beams_best_first_and_stops_when_the_rest_is_hopeless():
    table = Table(4, 1)
    table.log_probs[..., words.END] += 3  # sequences end early
    found = beam.beam_search(table, *table.start(), end=words.END, longest=60, beams=3)
    assert len(found) == 3
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert found[0].ids == min(every_sequence(4, 5), key=lambda ids: -table.score(ids, 0.0))
    assert table.steps < 20


def test_the_length_penalty_favours_long_sequences():
    assert [beam.penalty(1, 2.0), beam.penalty(7, 1.0), beam.penalty(9, 0.0)] == [1, 2, 1]
    table = Table(4, 2)

    def length(exponent):
        return len(beam.beam_search(table, *table.start(), end=0, longest=6, beams=500, exponent=exponent)[0].ids)

    assert length(0.0) < length(3.0)


def test_words_are_numbered_from_one_and_punctuation_is_a_word():
    vocabulary = words.Vocabulary.from_captions(["A star, on the left", "a half-moon"])
    assert vocabulary.words == (",", "a", "half-moon", "left", "on", "star", "the")
    assert len(vocabulary) == 8
    assert vocabulary.encode("a star, on the left") == [2, 6, 1, 5, 7, 4, words.END]
    assert vocabulary.decode([2, 6, 1, 5, 7, 4, words.END, 3]) == "a star, on the left"
    with pytest.raises(KeyError, match="moon"):
        vocabulary.encode("a moon")


def test_the_grammar_tells_every_scene_and_writes_what_the_captions_write():
    random = np.random.default_rng(0)
    for _ in range(100):
        scene = scenes.draw_scene(random)
        chosen = [scene.number, scene.colour, scene.shape, scene.size, captions.PLACES[scene.position][0]]
        ground = f"{scene.texture} {captions.ground_words(scene.ground)}"
        assert all(option in slot for option, slot in zip([*chosen, ground], shape_captions.GRAMMAR.slots, strict=True))
        assert shape_captions.phrase([*chosen, ground]) == captions.full_caption(scene).removesuffix(" ")
    assert [shape_captions.phrase(some) for some in (["one"], ["two"], ["one", "orange"], ["one", "red", "cross"])] == [
        "a shape",
        "two shapes",
        "an orange shape",
        "a red cross",
    ]


def test_facts_are_read_from_every_sentence_of_the_generator():
    random = np.random.default_rng(0)
    for _ in range(500):
        scene = scenes.draw_scene(random)
        stated = facts.facts_of(captions.caption(scene, random))
        assert stated == {name: getattr(scene, name) for name in stated}
        assert len(facts.facts_of(captions.full_caption(scene))) == 7
        assert facts.is_wholly_right(captions.full_caption(scene), scene)


@pytest.mark.parametrize(
    ("caption", "right", "wholly"),
    [
        ("two small red stars on the left on a plain light blue background", True, True),
        ("a picture of two red stars", True, True),
        ("two red stars on a dotted background, on the left", True, False),
        ("two large red stars", True, False),
        ("red stars", False, False),
        ("two stars", False, False),
        ("two red shapes", False, False),
        ("two blue stars", False, False),
        ("three red stars", False, False),
        ("two red star", False, False),
        ("a red stars", False, False),
        ("two red red stars", False, False),
        ("", False, False),
    ],
)
def test_a_caption_is_right_with_its_number_colour_and_shape_and_wholly_right_with_all(caption, right, wholly):
    scene = scenes.Scene("red", "star", "small", "two", "left", "sky", "plain")
    assert (facts.is_right(caption, scene), facts.is_wholly_right(caption, scene)) == (right, wholly)


def test_the_captions_to_learn_from_hold_no_held_out_pair_and_all_that_is_wanted(tmp_path):
    assert shape_captions.main([str(tmp_path / "new" / "captions.txt"), "--count", "300"]) == 0
    lines = (tmp_path / "new" / "captions.txt").read_text().splitlines()
    assert lines == shape_captions.corpus(300)
    assert lines != shape_captions.corpus(300, seed=1)
    stated = [facts.facts_of(line) for line in lines]
    assert all(one.keys() >= set(facts.ESSENTIAL) for one in stated)
    assert not {(one["colour"], one["shape"]) for one in stated} & set(scenes.HELD_OUT)
