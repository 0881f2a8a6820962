"""Checks of a model's inputs, the same in every backend.

A size is None if a traced graph does not know it. Such a size is accepted.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

Value = TypeVar("Value")

# The source of each main input.
_RETURNED = {
    "input_ids": "the ids that the tokenizer returns, (batch, seq)",
    "pixel_values": "the pixel values that the image processor returns, (batch, channels, height, width)",
}


class ImageShapeError(ValueError):
    """An error for images that do not fit the model."""


class TakesImages(Protocol):
    """The sizes of the images that a model takes."""

    num_channels: int
    image_size: int
    patch_size: int


def number_of_tokens(input_ids: Any, inputs_embeds: Any) -> int | None:
    """Return the number of tokens of ids `(batch, seq)` or embeddings `(batch, seq, hidden)`; None if unknown.

    Raises:
        ValueError: neither is given.
    """
    seq: int | None = required("input_ids", input_ids).shape[-1] if inputs_embeds is None else inputs_embeds.shape[-2]
    return seq


def required(name: str, value: Value | None) -> Value:
    """Return the main input of a call.

    Args:
        name: its name.
        value: its value.

    Raises:
        ValueError: it is None.
    """
    if value is None:
        raise ValueError(f"{name} is missing; pass {_RETURNED[name]}")
    return value


def check_mask_shape(shape: Sequence[int | None], expected: Sequence[int | None]) -> None:
    """Check that an attention mask has the shape of the ids.

    Args:
        shape: shape of the mask.
        expected: shape of the ids, `(batch, seq)`.

    Raises:
        ValueError: the shapes differ.
    """
    fits = len(shape) == len(expected)
    for axis, size in enumerate(expected if fits else ()):  # the shape by index: tracers of torch.fx do not iterate
        fits = fits and (shape[axis] is None or size is None or shape[axis] == size)
    if not fits:
        raise ValueError(
            f"attention_mask has shape {tuple(shape)}; it must have the shape of input_ids, {tuple(expected)}"
        )


def check_text_length(seq: int | None, longest: int) -> None:
    """Check that a text has no more tokens than the model has positions.

    Raises:
        ValueError: `seq` is larger than `longest`.
    """
    if seq is not None and seq > longest:
        raise ValueError(
            f"the text has {seq} tokens, but the model has {longest} positions (max_position_embeddings); "
            f"call the tokenizer with truncation=True, max_length={longest}"
        )


def unknown_ids(vocab_size: int) -> IndexError:
    """Return the error for ids outside the vocabulary."""
    return IndexError(
        f"input_ids contains an id outside the vocabulary of {vocab_size} tokens; "
        "if tokens were added to the tokenizer, call model.resize_token_embeddings(len(tokenizer))"
    )


def check_ids(input_ids: np.ndarray, vocab_size: int) -> None:
    """Check that all ids are in the vocabulary, before a compiled function or a GPU reads them.

    Args:
        input_ids: token ids, of any shape.
        vocab_size: number of tokens in the vocabulary.

    Raises:
        IndexError: an id is outside the vocabulary.
    """
    if input_ids.size and not 0 <= input_ids.min() <= input_ids.max() < vocab_size:
        raise unknown_ids(vocab_size)


def check_eos(has_eos: Iterable[bool], eos_token_id: int) -> None:
    """Check that every row of ids has an EOS token.

    Args:
        has_eos: for each row, True if it contains one.
        eos_token_id: the token's id.

    Raises:
        ValueError: a row contains none.
    """
    without = [row for row, found in enumerate(has_eos) if not found]
    if without:
        raise ValueError(
            f"rows {without} of input_ids have no EOS token (id {eos_token_id}); "
            "truncate with the tokenizer, which keeps it"
        )


def check_pixel_shape(shape: Sequence[int | None], embeddings: TakesImages, *, interpolate: bool) -> None:
    """Check that images fit the model.

    Args:
        shape: shape of `pixel_values`, which should be `(batch, channels, height, width)`.
        embeddings: the embeddings of the vision tower.
        interpolate: also accept images of another size, as `interpolate_pos_encoding=True` does.

    Raises:
        ImageShapeError: the shape does not fit.
        ValueError: the height or width to interpolate to is unknown.
    """
    num_channels, image_size, patch_size = embeddings.num_channels, embeddings.image_size, embeddings.patch_size
    if len(shape) != 4 or (shape[1] is not None and shape[1] != num_channels):
        raise ImageShapeError(
            f"pixel_values has shape {tuple(shape)}; it must be (batch, channels, height, width), "
            f"here (batch, {num_channels}, {image_size}, {image_size})"
        )
    height, width = shape[2:]
    if interpolate and (height is None or width is None):
        raise ValueError(
            "interpolate_pos_encoding=True needs the height and width of the images when the graph is built"
        )
    for side in (height, width):
        if side is None:
            continue
        if not interpolate and side != image_size:
            raise ImageShapeError(
                f"the images are {height} x {width}, but the model takes {image_size} x {image_size}; "
                "resize them with the image processor, or pass interpolate_pos_encoding=True"
            )
        if side < patch_size:
            raise ImageShapeError(
                f"the images are {height} x {width}, smaller than one patch of {patch_size} x {patch_size}"
            )


def warn_of_ignored(method: str, ignored: Mapping[str, Any], *, stacklevel: int = 3) -> None:
    """Warn that a method of CLIPModel ignores some keywords.

    Args:
        method: the method's name.
        ignored: the keywords.
        stacklevel: as in `warnings.warn`; 3 points at the method's caller.
    """
    if ignored:
        names = ", ".join(map(repr, ignored))
        warnings.warn(f"CLIPModel.{method} ignores unknown arguments: {names}", stacklevel=stacklevel)
