"""What a tokenizer is called with: one text, a batch, pairs of texts, or texts that are split into words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.added_tokens import check_surrogates

if TYPE_CHECKING:
    from collections.abc import Sequence

    # A text, or its words.
    Text = str | list[str]
    Pair = tuple[Text, Text | None]


def as_pairs(
    text: Any, text_pair: Any, *, is_split_into_words: bool, allow_surrogates: bool
) -> tuple[list[Pair], bool]:
    """The texts of a call as pairs, and whether it was a batch.

    Args:
        text: a text, a batch of texts, or a batch of pairs.
        text_pair: nothing, or the second texts in the form of the first.
        is_split_into_words: each text is a list of words.
        allow_surrogates: leave halves of surrogate pairs to the cleaning of the text.

    Raises:
        TypeError: something is not a text.
        ValueError: the batch is empty, the two batches differ in length, or a text holds half of a surrogate pair.
    """
    is_batch = _is_list(text) and (not is_split_into_words or (len(text) > 0 and _is_list(text[0])))
    # As in transformers, an empty second text counts in a batch, but not in a call with a single text.
    pairs = _batch_pairs(text, text_pair, is_split_into_words) if is_batch else [(text, text_pair or None)]
    for place, (first, second) in enumerate(pairs):
        where = f"text {place} of the batch" if is_batch else "the text"
        _check(first, where, is_split_into_words, allow_surrogates)
        if second is not None:
            _check(second, f"the second text of {where}", is_split_into_words, allow_surrogates)
    return pairs, is_batch


def _batch_pairs(texts: Sequence[Any], seconds: Any, is_split_into_words: bool) -> list[Any]:
    if not texts:
        raise ValueError("the batch of texts is empty; give at least one text")
    if seconds is None:
        return [tuple(item) if _is_pair(item, is_split_into_words) else (item, None) for item in texts]
    if not _is_list(seconds):
        raise TypeError(f"text is a batch, so text_pair must be one too, not {_shown(seconds)}")
    if len(seconds) != len(texts):
        raise ValueError(f"text holds {len(texts)} texts, but text_pair {len(seconds)}")
    return list(zip(texts, seconds, strict=True))


def _is_pair(item: Any, is_split_into_words: bool) -> bool:
    return _is_list(item) and len(item) == 2 and (not is_split_into_words or all(map(_is_list, item)))


def _check(text: Any, where: str, is_split_into_words: bool, allow_surrogates: bool) -> None:
    words = text if is_split_into_words and _is_list(text) else [text]
    for word in words:
        if not isinstance(word, str):
            wanted = "a list of str (is_split_into_words=True)" if is_split_into_words else "a str"
            raise TypeError(f"{where} is {_shown(word)}, not {wanted}")
        if not allow_surrogates and not word.isascii():
            check_surrogates(word)
    if is_split_into_words and not _is_list(text):
        raise TypeError(f"{where} is {_shown(text)}; with is_split_into_words=True it is a list of words")


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
