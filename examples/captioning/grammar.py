"""Captions without a decoder: a beam search over a phrase grammar, guided by CLIP's score alone.

This is what notebooks on captioning with CLIP do: keep the phrases that match the image best, extend each by every
option of the next slot, and let CLIP choose again. It needs no training, but the grammar has to hold every caption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_core import ZeroShotClassifier


class Grammar(NamedTuple):
    """A phrase grammar: slots that are filled one after another.

    Attributes:
        slots: the options of each slot; an empty one leaves the slot out.
        write: returns the phrase for the options chosen so far.
    """

    slots: Sequence[Sequence[str]]
    write: Callable[[Sequence[str]], str]


class GuidedSearch:
    """Beam search over a grammar, for many images at once; phrases are encoded once.

    Args:
        classifier: the CLIP model.
        grammar: the grammar.
    """

    def __init__(self, classifier: ZeroShotClassifier, grammar: Grammar) -> None:
        self._classifier, self._grammar = classifier, grammar
        self._encoded: dict[str, np.ndarray] = {}

    def __call__(self, image_embeds: np.ndarray, *, beams: int = 5) -> list[str]:
        """Return the phrase found for each image.

        Args:
            image_embeds: `(images, projection)`, of unit norm.
            beams: phrases that are kept after each slot.
        """
        kept: list[list[tuple[str, ...]]] = [[()] for _ in image_embeds]
        for options in self._grammar.slots:
            extended = [[(*chosen, option) for chosen in some for option in options] for some in kept]
            phrases = [[self._grammar.write(chosen) for chosen in some] for some in extended]
            self._encode([phrase for some in phrases for phrase in some])
            for place, (some, texts) in enumerate(zip(extended, phrases, strict=True)):
                scores = np.stack([self._encoded[text] for text in texts]) @ image_embeds[place]
                kept[place] = [some[row] for row in np.argsort(-scores, kind="stable")[:beams]]
        return [self._grammar.write(some[0]) for some in kept]

    def _encode(self, phrases: Sequence[str]) -> None:
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._encoded]
        if new:
            self._encoded.update(zip(new, self._classifier.encode_texts(new), strict=True))
