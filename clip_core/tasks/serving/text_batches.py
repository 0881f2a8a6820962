"""Texts of different requests, tokenized and encoded together.

A request of one short text is tokenized with its batch, in the model's thread: one by one, texts would take about twice
the time. Other requests are tokenized before they wait for a batch, so that a request that is refused is not encoded in
part, and a long text delays no batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clip_core.tasks.serving.batching import padded
from clip_core.tasks.serving.settings import RequestError
from clip_core.tasks.texts import encode_by_length, tokenize_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.tasks.serving.inputs import TextInput
    from clip_core.tasks.zero_shot import ZeroShotClassifier


class Tokens(NamedTuple):
    """A tokenized text.

    Attributes:
        ids: `(seq,)`.
        mask: `(seq,)`; 1 for tokens.
    """

    ids: np.ndarray
    mask: np.ndarray


class Untokenized(NamedTuple):
    """A text to tokenize with its batch.

    Attributes:
        text: the text.
        truncation: truncate it if it is too long for the model.
    """

    text: TextInput
    truncation: bool


class EncodedText(NamedTuple):
    """The embedding of a text.

    Attributes:
        embed: `(projection,)`, float32, of unit norm.
        tokens: the number of tokens.
    """

    embed: np.ndarray
    tokens: int


class TextEncoder:
    """Tokenizes texts and encodes batches of them.

    Args:
        classifier: the model and its processor.
        most: texts in the largest batch.
    """

    def __init__(self, classifier: ZeroShotClassifier, most: int) -> None:
        self._classifier = classifier
        self._most = most

    def tokenize(self, texts: Sequence[TextInput], truncation: bool) -> list[Tokens]:
        """Tokenize texts.

        Args:
            texts: the texts; at least one.
            truncation: truncate texts that are too long for the model.

        Raises:
            RequestError: a text is too long; the error names the field of the first.
        """
        try:
            ids, mask = tokenize_texts(self._classifier.processor, [one.text for one in texts], truncation=truncation)
        except ValueError as error:
            if len(texts) > 1:  # one by one, to name the field of the first at fault
                return [tokens for one in texts for tokens in self.tokenize([one], truncation)]
            place = texts[0].place
            raise RequestError(400, f"{place}: {error}", place, "text_too_long") from error
        return [Tokens(*row) for row in zip(ids, mask, strict=True)]

    def encode(self, texts: Sequence[Tokens | Untokenized]) -> list[EncodedText | RequestError]:
        """Encode a batch.

        Args:
            texts: the texts; at least one.

        Returns:
            The embedding of each text, or an error if it is too long, which leaves the others as they are.
        """
        found = self._tokenized(texts)
        tokenized = [one for one in found if isinstance(one, Tokens)]
        if not tokenized:
            return [one for one in found if isinstance(one, RequestError)]
        encoder = self._classifier.encoder
        rows = padded(tokenized, self._most, encoder)
        longest = max(len(one.ids) for one in rows)
        ids = np.full((len(rows), longest), self._classifier.processor.tokenizer.pad_token_id)
        mask = np.zeros_like(ids)
        for row, one in enumerate(rows):
            ids[row, : len(one.ids)], mask[row, : len(one.mask)] = one
        embeds = encode_by_length(encoder, ids, mask, batch_size=len(rows))
        encoded = map(EncodedText, embeds, mask.sum(axis=-1).tolist())
        return [one if isinstance(one, RequestError) else next(encoded) for one in found]

    def _tokenized(self, texts: Sequence[Tokens | Untokenized]) -> list[Tokens | RequestError]:
        """Return each text tokenized, or the error that refuses it."""
        waiting = [one for one in texts if isinstance(one, Untokenized)]
        found = {
            truncation: iter(self._each([one.text for one in waiting if one.truncation == truncation], truncation))
            for truncation in (False, True)
        }
        return [one if isinstance(one, Tokens) else next(found[one.truncation]) for one in texts]

    def _each(self, texts: list[TextInput], truncation: bool) -> Sequence[Tokens | RequestError]:
        try:
            return self.tokenize(texts, truncation) if texts else []
        except RequestError as error:
            if len(texts) == 1:
                return [error]
            return [found for one in texts for found in self._each([one], truncation)]
