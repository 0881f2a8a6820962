"""Texts to embeddings, each once: what the tokenizer cannot tell apart is one text, and the model cannot either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clip_core.data.preparation import text_length
from clip_core.evaluation.pictures import check_finite
from clip_core.tasks.texts import encode_by_length

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_core.processing import CLIPProcessor
    from clip_core.tasks.zero_shot import ZeroShotClassifier

_AT_A_TIME = 1024  # texts that are tokenized


@dataclass(frozen=True)
class Texts:
    """Texts that were encoded.

    Attributes:
        embeds: `(distinct, projection)`, float32, of unit norm.
        places: `(texts,)`, which row of `embeds` is each text's.
        truncated: how many texts, each spelling counted once, were cut to the length that the model takes.
    """

    embeds: np.ndarray
    places: np.ndarray
    truncated: int


class Distinct(NamedTuple):
    """Texts without repetition.

    Attributes:
        texts: the first of each kind.
        places: `(texts,)`, which of them stands for each text that was given.
        input_ids: `(distinct, seq)`.
        attention_mask: likewise.
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
    """Encode texts, longer ones cut as training cuts them.

    Args:
        classifier: the model and its processor.
        texts: one or more, the same ones any number of times.
        max_length: tokens that the model takes; by default what the tokenizer states.
        batch_size: texts that are encoded at a time.
        tell: is called with the number of distinct texts that were done since it was called last.

    Raises:
        ValueError: there are no texts, the tokenizer states no length, or an embedding is no finite number.
    """
    distinct = tell_apart(classifier.processor, texts, max_length)

    def check(rows: np.ndarray, embeds: np.ndarray) -> None:
        check_finite(embeds, [distinct.texts[row] for row in rows])
        if tell is not None:
            tell(len(rows))

    ids, mask = distinct.input_ids, distinct.attention_mask
    embeds = encode_by_length(classifier.encoder, ids, mask, batch_size=batch_size, tell=check)
    return Texts(embeds, distinct.places, distinct.truncated)


def tell_apart(processor: CLIPProcessor, texts: Sequence[str], max_length: int | None = None) -> Distinct:
    """Put texts of the same tokens together: repetitions, other capitals and spaces, ends that are cut off.

    Raises:
        ValueError: there are no texts, or the tokenizer states no length.
    """
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
    """Ids and mask, `(texts, length)`, and how many texts were cut."""
    ids, masks, truncated = [], [], 0
    for start in range(0, len(texts), _AT_A_TIME):
        some = texts[start : start + _AT_A_TIME]
        whole = processor.tokenizer(some, padding=False, truncation=False, verbose=False)["input_ids"]
        truncated += sum(len(row) > length for row in whole)
        batch = processor.tokenizer(some, padding="max_length", truncation=True, max_length=length, return_tensors="np")
        ids.append(batch["input_ids"])
        masks.append(batch["attention_mask"])
    return np.concatenate(ids), np.concatenate(masks), truncated
