"""Text embeddings, computed once for texts with equal tokens, which the model cannot distinguish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clip_core.configuration.arguments import check_integers, check_texts
from clip_core.data.preparation import text_length
from clip_core.tasks.texts import check_finite, encode_by_length

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_core.processing import CLIPProcessor
    from clip_core.tasks.zero_shot import ZeroShotClassifier

_AT_A_TIME = 1024  # texts to tokenize


@dataclass(frozen=True)
class Texts:
    """Encoded texts.

    Attributes:
        embeds: `(distinct, projection)`, float32, of unit norm.
        places: `(texts,)`, the row of `embeds` for each text.
        truncated: number of distinct spellings truncated to the model's length.
    """

    embeds: np.ndarray
    places: np.ndarray
    truncated: int


class Distinct(NamedTuple):
    """Texts without duplicates.

    Attributes:
        texts: the first text of each group of equal ones.
        places: `(texts,)`, the index into `texts` for each given text.
        input_ids: `(distinct, seq)`.
        attention_mask: `(distinct, seq)`.
        truncated: as in `Texts`.
    """

    texts: list[str]
    places: np.ndarray
    input_ids: np.ndarray
    attention_mask: np.ndarray
    truncated: int


def embed_texts(
    classifier: ZeroShotClassifier,
    texts: Sequence[str],
    *,
    max_length: int | None = None,
    batch_size: int = 256,
    tell: Callable[[int], object] | None = None,
) -> Texts:
    """Encode texts, truncating long ones as training does.

    Args:
        classifier: the model and its processor.
        texts: one or more texts; duplicates are encoded once.
        max_length: tokens per text; by default the tokenizer's own limit.
        batch_size: texts to encode at a time.
        tell: progress callback, called with the number of distinct texts done since the last call.

    Raises:
        ValueError: if there are no texts, the tokenizer has no limit, or an embedding is not finite.
    """
    check_integers(batch_size=(batch_size, 1))
    distinct = tell_apart(classifier.processor, texts, max_length)

    def check(rows: np.ndarray, embeds: np.ndarray) -> None:
        check_finite(embeds, [distinct.texts[row] for row in rows])
        if tell is not None:
            tell(len(rows))

    ids, mask = distinct.input_ids, distinct.attention_mask
    embeds = encode_by_length(classifier.encoder, ids, mask, batch_size=batch_size, tell=check)
    return Texts(embeds, distinct.places, distinct.truncated)


def tell_apart(processor: CLIPProcessor, texts: Sequence[str], max_length: int | None = None) -> Distinct:
    """Merge texts with equal tokens: duplicates, differences in case or spacing, truncated endings.

    Args:
        processor: provides the tokenizer.
        texts: one or more texts.
        max_length: tokens per text; by default the tokenizer's own limit.

    Raises:
        ValueError: if there are no texts, or the tokenizer has no limit.
    """
    check_texts(texts=texts)
    if not texts:
        raise ValueError("there are no texts; give at least one")
    length = text_length(processor, max_length)
    spellings = list(dict.fromkeys(texts))
    ids, mask, truncated = _tokenized(processor, spellings, length)
    kinds: dict[bytes, int] = {}
    place_of = {text: kinds.setdefault(row.tobytes(), len(kinds)) for text, row in zip(spellings, ids, strict=True)}
    places = np.array([place_of[text] for text in texts])
    _, firsts = np.unique([place_of[text] for text in spellings], return_index=True)
    return Distinct([spellings[first] for first in firsts], places, ids[firsts], mask[firsts], truncated)


def _tokenized(processor: CLIPProcessor, texts: list[str], length: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return ids and mask, `(texts, length)`, and the number of texts truncated."""
    ids, masks, truncated = [], [], 0
    for start in range(0, len(texts), _AT_A_TIME):
        some = texts[start : start + _AT_A_TIME]
        whole = processor.tokenizer(some, padding=False, truncation=False, verbose=False)["input_ids"]
        truncated += sum(len(row) > length for row in whole)
        batch = processor.tokenizer(some, padding="max_length", truncation=True, max_length=length, return_tensors="np")
        ids.append(batch["input_ids"])
        masks.append(batch["attention_mask"])
    return np.concatenate(ids), np.concatenate(masks), truncated
