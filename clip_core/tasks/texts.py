"""Text encoding at any scale: texts are sorted by length within a window to reduce padding, and returned in order."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.configuration.arguments import check_integers, check_texts
from clip_core.hub.printing import shortened
from clip_core.modeling.trimming import rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clip_core.backends import Encoder

BATCH_SIZE = 256
# Batches that are sorted by length together: enough for nearly uniform lengths within a batch, few enough for memory.
_BATCHES_IN_WINDOW = 16


class NotFiniteError(ValueError):
    """An error about an embedding with NaN or infinity, which would lose every comparison without an error.

    Args:
        what: the embedding.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not finite; try float32, or check the weights")


class TextTooLongError(ValueError):
    """An error about a text with more tokens than the model accepts.

    Args:
        what: the text, and the numbers of tokens.
        advice: what the caller can do.
    """

    def __init__(self, what: str, advice: str = "shorten the text") -> None:
        super().__init__(what, advice)

    def __str__(self) -> str:
        return "; ".join(self.args)

    def advising(self, advice: str) -> TextTooLongError:
        """Return the same error with other advice.

        Args:
            advice: what the caller can do.
        """
        return TextTooLongError(self.args[0], advice)


def encode_texts(
    encoder: Encoder, processor: Any, texts: Iterable[str], *, batch_size: int = BATCH_SIZE, truncation: bool = False
) -> np.ndarray:
    """Encode texts: `(texts, projection)`, float32, of unit norm. Equal texts are encoded once.

    Args:
        encoder: the model.
        processor: the model's CLIPProcessor.
        texts: the texts; may be a generator.
        batch_size: texts to encode at a time.
        truncation: truncate texts that are too long for the model instead of raising an error.

    Returns:
        Embeddings of unit norm `(texts, projection)`, float32.

    Raises:
        ValueError: if there are no texts, one is too long for the model, or an embedding is not finite.
        TypeError: if `texts` is a single string.

    Example:
        >>> embeds = encode_texts(encoder, processor, open("captions.txt"))  # doctest: +SKIP
    """
    check_texts(texts=texts)
    places: dict[str, int] = {}
    rows: list[int] = []

    def unseen() -> Iterator[str]:
        for text in texts:
            is_new = text not in places
            rows.append(places.setdefault(text, len(places)))
            if is_new:
                yield text

    encoded = list(encode_text_batches(encoder, processor, unseen(), batch_size=batch_size, truncation=truncation))
    if not encoded:
        raise ValueError("there are no texts; give at least one")
    embeds = np.concatenate(encoded)
    return embeds if len(rows) == len(places) else embeds[rows]


def encode_text_batches(
    encoder: Encoder, processor: Any, texts: Iterable[str], *, batch_size: int = BATCH_SIZE, truncation: bool = False
) -> Iterator[np.ndarray]:
    """Encode texts like `encode_texts`, but yield arrays `(some texts, projection)`, in order.

    Only a few batches of texts are in memory at a time. Equal texts are encoded once if they are close together.

    Args:
        encoder: as in `encode_texts`, like all other arguments.
        processor: the model's CLIPProcessor.
        texts: the texts; may be a generator.
        batch_size: texts to encode at a time.
        truncation: truncate texts that are too long for the model.

    Yields:
        Embeddings of unit norm `(some texts, projection)`, float32.

    Raises:
        ValueError: as in `encode_texts`.
        TypeError: as in `encode_texts`.
    """
    check_texts(texts=texts)
    check_integers(batch_size=(batch_size, 1))
    return _encoded_windows(encoder, processor, texts, batch_size, truncation)


def _encoded_windows(
    encoder: Encoder, processor: Any, texts: Iterable[str], batch_size: int, truncation: bool
) -> Iterator[np.ndarray]:
    for window in _windows(texts, batch_size * _BATCHES_IN_WINDOW):
        places = {text: place for place, text in enumerate(dict.fromkeys(window))}
        try:
            ids, mask = tokenize_texts(processor, list(places), truncation=truncation)
        except TextTooLongError as error:
            raise error.advising("shorten the text, or pass truncation=True") from None
        embeds = encode_by_length(encoder, ids, mask, batch_size=batch_size)
        check_finite(embeds, list(places))
        yield embeds[[places[text] for text in window]]


def token_batches(processor: Any, texts: Iterable[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tokenize many texts, a few thousand at a time, into pairs of ids and mask; see `tokenize_texts`.

    Args:
        processor: the model's CLIPProcessor.
        texts: the texts; may be a generator.
    """
    return (tokenize_texts(processor, window) for window in _windows(texts, BATCH_SIZE * _BATCHES_IN_WINDOW))


def tokenize_texts(processor: Any, texts: list[str], *, truncation: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask `(texts, seq)`, right-padded to a multiple of 8 or the model's maximum length.

    The padding is always on the right, whichever side the tokenizer uses. Padding on the right changes nothing. Padding
    on the left shifts positions, so an embedding would depend on the other texts in its batch.

    Args:
        processor: the model's CLIPProcessor.
        texts: the texts.
        truncation: truncate texts that are too long for the model.

    Raises:
        TextTooLongError: if a text is too long for the model.
    """
    longest = processor.tokenizer.model_max_length
    options: dict[str, Any] = {"padding": True, "padding_side": "right"}
    if truncation:
        options |= {"truncation": True, "max_length": longest}
    batch = processor(text=texts, return_tensors="np", verbose=False, **options)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    lengths = mask.sum(axis=-1)
    if lengths.max() > longest:
        place = int((lengths > longest).argmax())
        raise TextTooLongError(
            f"{shortened(texts[place])!r} has {lengths[place]} tokens, but the model accepts {longest}"
        )
    ids, mask = ids[:, :longest], mask[:, :longest]  # some processors pad further
    # `pad_to_multiple_of` is not used: with truncation, the tokenizer rejects it if the maximum length is 77.
    width = rounded(ids.shape[1], longest)
    if ids.shape[1] == width:
        return ids, mask
    padded = np.full((len(ids), width), processor.tokenizer.pad_token_id, ids.dtype)
    padded_mask = np.zeros((len(ids), width), mask.dtype)
    padded[:, : ids.shape[1]], padded_mask[:, : ids.shape[1]] = ids, mask
    return padded, padded_mask


def encode_by_length(
    encoder: Encoder,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    *,
    batch_size: int = BATCH_SIZE,
    tell: Callable[[np.ndarray, np.ndarray], object] | None = None,
) -> np.ndarray:
    """Encode ids in batches of similar length: `(texts, projection)`, float32, of unit norm.

    Args:
        encoder: the model.
        input_ids: `(texts, seq)`, where `seq` is at most the model's length. Columns that are padding in a whole batch
            are skipped.
        attention_mask: `(texts, seq)`; at least one 1 in every row.
        batch_size: texts to encode at a time.
        tell: called after each batch with the indices of the encoded rows, `(batch,)`, and their embeddings.
    """
    lengths = input_ids.shape[1] - attention_mask[:, ::-1].argmax(axis=-1)  # up to the last attended token
    order = np.argsort(-lengths, kind="stable")  # longest first, so that a lack of memory shows early
    encoded = []
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        stop = rounded(int(lengths[rows[0]]), input_ids.shape[1])
        encoded.append(encoder.encode_texts(input_ids[rows, :stop], attention_mask[rows, :stop]))
        if tell is not None:
            tell(rows, encoded[-1])
    embeds = np.concatenate(encoded)
    in_order = np.empty_like(embeds)
    in_order[order] = embeds
    return in_order


def check_finite(embeds: np.ndarray, names: Sequence[str]) -> None:
    """Check that embeddings are finite.

    Args:
        embeds: `(rows, projection)`.
        names: names of the rows, for the message.

    Raises:
        NotFiniteError: if one is not.
    """
    bad = np.flatnonzero(~np.isfinite(embeds).all(-1))
    if bad.size:
        first, share = shortened(names[bad[0]]), f"{bad.size} of {len(names)} in its batch"
        raise NotFiniteError(f"the model's embedding of {first!r} ({share})")


def _windows(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    texts = iter(texts)
    while window := list(islice(texts, size)):
        yield window
