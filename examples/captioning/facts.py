"""Facts that a caption of the shapes states, read from its words and compared with the scene."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "shapes"))

from captions import OPENINGS, PLACES, PLURALS, SIZE_WORDS, ground_words
from scenes import COLOURS, GROUNDS, NUMBERS, SHAPES, TEXTURES

if TYPE_CHECKING:
    from scenes import Scene

ARTICLES = ("a", "an")
ESSENTIAL = ("number", "colour", "shape")
_PLURALS = {PLURALS.get(shape, f"{shape}s"): shape for shape in (*SHAPES, "shape")}
_SIZES = {word: size for size, words in SIZE_WORDS.items() for word in words}
_PLACES = {words: place for place, some in PLACES.items() for words in some}
_GROUNDS = {ground_words(ground): ground for ground in GROUNDS}


def _any(words: object, name: str) -> str:
    return f"(?P<{name}>{'|'.join(map(re.escape, words))})"  # type: ignore[call-overload]


# A whole sentence of the generator of captions.
_SENTENCE = re.compile(
    f"(?:{'|'.join(filter(None, OPENINGS))})?"
    f"(?:{_any((*ARTICLES, *NUMBERS[1:]), 'number')} )?(?:{_any(_SIZES, 'size')} )?(?:{_any(COLOURS, 'colour')} )?"
    f"{_any((*SHAPES, 'shape', *_PLURALS), 'shape')}"
    f"(?: {_any(_PLACES, 'place')})?"
    f"(?: on a (?:{_any(TEXTURES, 'texture')} ?)?{_any(_GROUNDS, 'ground')}? ?(?:background|ground))?"
    f"(?:, {_any(_PLACES, 'last')})?"
)


def facts_of(caption: str) -> dict[str, str] | None:
    """Return the facts that a caption states, by the names of a scene's fields; None if it is not a proper sentence.

    A sentence that is no caption of the generator's, or contradicts itself ("two circle"), is not proper.

    Args:
        caption: the caption.
    """
    found = _SENTENCE.fullmatch(caption)
    if found is None:
        return None
    stated = {name: words for name, words in found.groupdict().items() if words}
    noun = stated["shape"]
    shape = _PLURALS.get(noun, noun)
    if "number" in stated:
        number = "one" if stated["number"] in ARTICLES else stated["number"]
        if (number == "one") == (noun in _PLURALS):
            return None
        stated["number"] = number
    place = stated.pop("place", None) or stated.pop("last", None)
    tables = {"size": _SIZES, "ground": _GROUNDS}
    facts = {name: tables.get(name, {}).get(words, words) for name, words in stated.items()}
    facts |= {"shape": shape} | ({"position": _PLACES[place]} if place else {})
    return {name: fact for name, fact in facts.items() if fact != "shape"}


def is_right(caption: str, scene: Scene) -> bool:
    """Return True if a caption states the right number, colour and shape; leaving one out is wrong.

    Args:
        caption: the caption.
        scene: the scene of the image.
    """
    facts = facts_of(caption)
    return facts is not None and all(facts.get(name) == getattr(scene, name) for name in ESSENTIAL)


def is_wholly_right(caption: str, scene: Scene) -> bool:
    """Return True if a caption is right and all else that it states is, too: size, position, texture and background.

    Args:
        caption: the caption.
        scene: the scene of the image.
    """
    facts = facts_of(caption)
    return is_right(caption, scene) and all(getattr(scene, name) == fact for name, fact in (facts or {}).items())
