"""Captions of the shapes: a file to train a decoder on, and the phrase grammar that needs no training.

    python examples/captioning/shape_captions.py build/captioning/captions.txt

The captions come from the generator of the demo model's, with the same pairs of colour and shape. Those that leave out
the number, the colour or the shape are skipped: a decoder says what its captions say.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "shapes"))

import numpy as np
from captions import PLACES, PLURALS, SIZE_WORDS, caption, ground_words
from command import Parser, answered, number, run
from facts import is_right
from grammar import Grammar
from scenes import COLOURS, GROUNDS, NUMBERS, SHAPES, TEXTURES, draw_scene

from clip_core.hub.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNT = 20_000


def corpus(count: int, seed: int = 0) -> list[str]:
    """Return captions of random scenes; the held-out pairs of colour and shape do not occur.

    Args:
        count: number of captions.
        seed: seed of the scenes and sentences.
    """
    random = np.random.default_rng([seed, 1])
    found: list[str] = []
    while len(found) < count:
        scene = draw_scene(random)
        if is_right(text := caption(scene, random), scene):
            found.append(text)
    return found


def phrase(chosen: Sequence[str]) -> str:
    """Return the phrase of options chosen from `GRAMMAR`, in the order of its slots; "shapes" until a shape is chosen.

    Args:
        chosen: number, colour, shape, size, place and background, or the first few of them.
    """
    count, colour, shape, size, place, ground = (*chosen, *[""] * (len(GRAMMAR.slots) - len(chosen)))
    noun = shape or "shape"
    noun = noun if count == NUMBERS[0] else PLURALS.get(noun, f"{noun}s")
    words = " ".join(filter(None, (size, colour, noun)))
    counted = count if count != NUMBERS[0] else "an" if words[0] in "aeiou" else "a"
    return " ".join(filter(None, (counted, words, place, ground and f"on a {ground} background")))


GRAMMAR = Grammar(
    (
        NUMBERS,
        tuple(COLOURS),
        SHAPES,
        ("", *(words[0] for words in SIZE_WORDS.values())),
        ("", *(words[0] for words in PLACES.values())),
        ("", *(f"{texture} {ground_words(ground)}" for texture in TEXTURES for ground in GROUNDS)),
    ),
    phrase,
)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, and write the captions."""
    parser = Parser(prog="shape_captions.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="the file to write, with a caption on each line")
    parser.add_argument("--count", type=number(int, 1), default=COUNT, help=f"number of captions ({COUNT})")
    parser.add_argument("--seed", type=number(int, 0), default=0)
    given = parser.parse_args(arguments)

    def write() -> None:
        given.file.parent.mkdir(parents=True, exist_ok=True)
        write_text(given.file, "\n".join(corpus(given.count, given.seed)) + "\n")

    return answered(write, "shape_captions.py")


if __name__ == "__main__":
    run(main, "shape_captions.py")
