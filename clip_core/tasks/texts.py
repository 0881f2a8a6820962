"""Embedding many texts: sorted by length within a window, so that little padding is read, and returned in order."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.modeling.trimming import rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clip_core.backends import Encoder

BATCH_SIZE = 256
# How many batches are sorted by length together: enough for each to be of nearly one length, and few to keep.
_BATCHES_IN_WINDOW = 16
_SHOWN_CHARACTERS = 80


def encode_texts(
    encoder: Encoder, processor: Any, texts: Iterable[str], *, batch_size: int = BATCH_SIZE, truncation: bool = False
) -> np.ndarray:
    """One embedding of unit norm for each text: `(texts, projection)`, float32. Equal texts are encoded once.

    Args:
        encoder: the model.
        processor: the CLIPProcessor that belongs to it.
        texts: the texts; also a generator.
        batch_size: texts that are encoded at a time.
        truncation: cut texts that are too long for the model, in place of an error.

    Raises:
        ValueError: there is no text, or one is too long for the model.
        TypeError: a single text is given, and not several.

    Example:
        >>> embeds = encode_texts(encoder, processor, open("captions.txt"))  # doctest: +SKIP
    """
    _check_several(texts)
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
    """The embeddings of `encode_texts` piece by piece: arrays `(some texts, projection)`, in the order of the texts.

    However many texts there are, no more of them are in memory than a few batches. Arguments and errors are those of
    `encode_texts`; equal texts are encoded once where they are close together.
    """
    _check_several(texts)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}; give 1 or more")
    return _encoded_windows(encoder, processor, texts, batch_size, truncation)


def _encoded_windows(
    encoder: Encoder, processor: Any, texts: Iterable[str], batch_size: int, truncation: bool
) -> Iterator[np.ndarray]:
    for window in _windows(texts, batch_size * _BATCHES_IN_WINDOW):
        places = {text: place for place, text in enumerate(dict.fromkeys(window))}
        ids, mask = tokenize(processor, list(places), truncation=truncation)
        yield encode_by_length(encoder, ids, mask, batch_size=batch_size)[[places[text] for text in window]]


def token_batches(processor: Any, texts: Iterable[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and mask of many texts, some thousands at a time; see `tokenize`."""
    return (tokenize(processor, window) for window in _windows(texts, BATCH_SIZE * _BATCHES_IN_WINDOW))


def tokenize(processor: Any, texts: list[str], *, truncation: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask `(texts, seq)`, filled up at the right to a length that is the model's longest or a multiple of 8.

    At the right whatever the tokenizer says: there padding changes nothing, and at the left it moves the positions, so
    that an embedding would depend on the texts beside it.

    Raises:
        ValueError: a text is too long for the model.
    """
    longest = processor.tokenizer.model_max_length
    options: dict[str, Any] = {"padding": True, "padding_side": "right", "pad_to_multiple_of": 8}
    if truncation:
        options |= {"truncation": True, "max_length": longest}
    batch = processor(text=texts, return_tensors="np", verbose=False, **options)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    lengths = mask.sum(axis=-1)
    if lengths.max() > longest:
        place = int((lengths > longest).argmax())
        raise ValueError(
            f"{_shortened(texts[place])!r} is {lengths[place]} tokens long, and the model takes {longest}; "
            "shorten the text, which may be a label in a template"
        )
    return ids[:, :longest], mask[:, :longest]


def encode_by_length(
    encoder: Encoder,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    *,
    batch_size: int = BATCH_SIZE,
    tell: Callable[[np.ndarray, np.ndarray], object] | None = None,
) -> np.ndarray:
    """The embeddings of ids, run in batches of similar length: `(texts, projection)`, float32, of unit norm.

    Args:
        encoder: the model.
        input_ids: `(texts, seq)`, filled up to as much as the model takes, or less. Columns that are nothing but
            padding behind a batch's texts are not read.
        attention_mask: likewise; 1 somewhere in every row.
        batch_size: texts that are encoded at a time.
        tell: is called after each batch with the rows that were encoded, `(batch,)`, and their embeddings.
    """
    lengths = input_ids.shape[1] - attention_mask[:, ::-1].argmax(axis=-1)  # up to the last token that counts
    order = np.argsort(-lengths, kind="stable")  # the longest first: what needs most memory fails at once
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


def _windows(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    texts = iter(texts)
    while window := list(islice(texts, size)):
        yield window


def _check_several(texts: Iterable[str]) -> None:
    if isinstance(texts, str):
        raise TypeError(f"texts={_shortened(texts)!r} is one text; give a list of texts")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
