"""Captions of images by a decoder: beam search over its words, then the choice of CLIP among the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beam import beam_search
from words import END

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from decoder import Decoder

    from clip_core import ZeroShotClassifier

BEAMS = 5
EXPONENT = 1.0  # of the length penalty
_SAME = 0.99  # least cosine of one text's embeddings by one model, in any precision


class Captioner:
    """A decoder with the CLIP model that it was trained for, in any framework.

    Args:
        classifier: the CLIP model.
        decoder: the decoder.

    Raises:
        ValueError: if the decoder was trained for another model.
    """

    def __init__(self, classifier: ZeroShotClassifier, decoder: Decoder) -> None:
        probe = classifier.encode_texts([decoder.settings.probe], truncation=True)[0]
        if probe.shape != decoder.probe.shape or probe @ decoder.probe < _SAME:
            raise ValueError(
                f"the decoder was trained for another CLIP model: {decoder.settings.probe!r} has another embedding "
                "there; train a decoder for this model with train_decoder.py"
            )
        self._classifier, self._decoder = classifier, decoder

    def candidates(
        self, image_embeds: np.ndarray, *, beams: int = BEAMS, exponent: float = EXPONENT
    ) -> list[list[str]]:
        """Return captions of each image, the decoder's favourite first; at most `beams` for each.

        Args:
            image_embeds: `(images, projection)`, of unit norm.
            beams: hypotheses to continue at a time.
            exponent: exponent of the length penalty; see `beam.penalty`.
        """
        decoder = self._decoder
        found = []
        for embed in image_embeds:
            log_probs, state = decoder.start(embed[None])
            best = beam_search(
                decoder,
                log_probs,
                state,
                end=END,
                longest=decoder.settings.longest,
                beams=beams,
                exponent=exponent,
            )
            found.append([decoder.vocabulary.decode(hypothesis.ids) for hypothesis in best])
        return found

    def rerank(self, image_embeds: np.ndarray, candidates: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the captions of each image by their similarity to it, the most similar first.

        Args:
            image_embeds: `(images, projection)`, of unit norm.
            candidates: the captions of each image.
        """
        texts = list(dict.fromkeys(caption for some in candidates for caption in some))
        embeds = dict(zip(texts, self._classifier.encode_texts(texts), strict=True))
        return [
            sorted(some, key=lambda caption: -float(embeds[caption] @ image))
            for image, some in zip(image_embeds, candidates, strict=True)
        ]
