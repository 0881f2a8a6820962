"""Variants of the verification's inputs, with other sizes, masks, positions and dtypes than the main ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.modeling.tracing import DIFFERENTIATED
from converters.verification.reference import IGNORED_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig
    from clip_core.modeling.parameters import AnyConfig

FEW = 2  # images and texts in most variants


def variants(
    class_name: str, config: AnyConfig, inputs: Mapping[str, np.ndarray], *, missing_eos: bool = True
) -> dict[str, dict[str, Any]]:
    """Return the arguments of a forward pass for each variant, by its name.

    Args:
        class_name: the model class.
        config: the model's configuration.
        inputs: the main inputs, from which variants are made: `pixel_values`, `input_ids` and `attention_mask`, or all
            three.
        missing_eos: True if a text may lack an EOS token.
    """
    texts, images = {}, {}
    if "input_ids" in inputs:
        text: Any = getattr(config, "text_config", config)
        texts = _of_texts(text, inputs["input_ids"], inputs["attention_mask"], missing_eos=missing_eos)
    if "pixel_values" in inputs:
        vision: Any = getattr(config, "vision_config", config)
        images = _of_images(vision, inputs["pixel_values"][:FEW])
    if texts and images:  # one call for both towers
        found = {
            DIFFERENTIATED: {**inputs, **texts[DIFFERENTIATED]},
            "positions": texts["positions"] | images["height"],
            "size": {"input_ids": texts["unmasked"]["input_ids"][:FEW], **images["size"]},
            "dtypes": texts["dtypes"] | images["dtypes"],
        }
    else:
        found = texts or images
    if class_name == "CLIPForImageClassification":
        pixels = inputs["pixel_values"]
        if config.num_labels:
            found["labels"] = {"pixel_values": pixels, "labels": labels(config, len(pixels))}
        if config.num_labels > 1 and config.problem_type is None:  # the dtype of the labels selects the loss
            found["targets"] = {"pixel_values": pixels[:FEW], "labels": targets(FEW, config.num_labels)}
    return found


def _of_texts(
    config: CLIPTextConfig, ids: np.ndarray, mask: np.ndarray, *, missing_eos: bool
) -> dict[str, dict[str, Any]]:
    # Without the last text, which is long, `get_text_features` does not read to the end, unless there are position ids.
    # These texts outnumber the images, so they have no loss.
    short = first_without_eos(ids[:-1], config) if missing_eos else ids[:-1]
    start = min(1, ids.shape[1] - 1)  # without its first token, the text is shorter than the position table
    padded = padded_otherwise(ids, mask)
    return {
        # The main inputs' shapes, and a dtype that JAX makes of theirs, so that it compiles nothing new.
        DIFFERENTIATED: padded | {"attention_mask": padded["attention_mask"].astype(np.int32)},
        "positions": {
            "input_ids": short,
            "attention_mask": with_holes(mask[:-1]).astype(np.float32) / 2,  # everything but zero is attended to
            "position_ids": position_ids(*short.shape),
        },
        "unmasked": {"input_ids": short},
        "dtypes": {
            "input_ids": ids[:1, start:].astype(np.int32),
            "attention_mask": with_holes(mask[:1, start:]).astype(np.bool_),
        },
    }


def _of_images(config: CLIPVisionConfig, pixels: np.ndarray) -> dict[str, dict[str, Any]]:
    side, patch = config.image_size // config.patch_size, config.patch_size
    # Both sides differ, and each alone, because a model has to interpolate if either does; also if the number of
    # patches is that of its own size. Half a patch beyond the whole ones is cut off.
    taller = resized(pixels, _HEIGHT, (side + 1) * patch + patch // 2)
    narrower = resized(pixels, _WIDTH, max(side - 1, 1) * patch + patch // 2)
    rows, columns = other_grid(side)
    both = resized(resized(pixels, _HEIGHT, rows * patch), _WIDTH, columns * patch)
    interpolated = {"interpolate_pos_encoding": True}
    return {
        "height": {"pixel_values": taller, **interpolated},
        "size": {"pixel_values": both.astype(np.float64), **interpolated},
        "dtypes": {"pixel_values": narrower.astype(np.float16), **interpolated},
    }


def other_grid(side: int) -> tuple[int, int]:
    """Return the rows and columns of as many patches as a square has, but not a square; (2, 1) for a single patch.

    Args:
        side: the number of patches along each side of the square.
    """
    if side == 1:
        return 2, 1
    columns = max(count for count in range(1, side) if side**2 % count == 0)
    return side**2 // columns, columns


_HEIGHT, _WIDTH = 2, 3  # axes of `pixel_values`


def first_without_eos(input_ids: np.ndarray, config: CLIPTextConfig) -> np.ndarray:
    """Return texts `(batch, seq)`, the first without EOS: its smallest id replaces the EOS tokens, and comes first.

    Models pool this text at position 0, except those that pool at the largest id.
    """
    ids = input_ids.copy()
    eos = ids[0].max() if config.pools_at_largest_id else config.eos_token_id
    ids[0, ids[0] == eos] = ids[0].min()
    ids[0] = np.roll(ids[0], 1)
    return ids


def position_ids(texts: int, seq: int) -> np.ndarray:
    """Return position ids `(texts, seq)`, int64: descending, in each row from another position on."""
    descending = np.arange(seq, dtype=np.int64)[::-1]
    return np.stack([np.roll(descending, row) for row in range(texts)])


def with_holes(attention_mask: np.ndarray) -> np.ndarray:
    """Return masks `(batch, seq)` that also hide every third token, from the second on."""
    mask = attention_mask.copy()
    mask[:, 1::3] = 0
    return mask


def padded_otherwise(input_ids: np.ndarray, attention_mask: np.ndarray) -> dict[str, np.ndarray]:
    """Return the texts with other masks: padded on the left, with holes, or all padding. The last text is unchanged.

    Args:
        input_ids: `(batch, seq)`, padded on the right.
        attention_mask: `(batch, seq)`.

    Returns:
        `input_ids` and `attention_mask`, in the same shapes and dtypes.
    """
    ids, mask = input_ids.copy(), attention_mask.copy()
    for row, length in enumerate(attention_mask.astype(bool).sum(axis=-1)[:-1]):
        if row % 3 == 0:
            ids[row], mask[row] = (np.roll(array[row], ids.shape[1] - length) for array in (ids, mask))
        elif row % 3 == 1:
            mask[row] = with_holes(mask[row : row + 1])
        else:
            mask[row] = 0
    return {"input_ids": ids, "attention_mask": mask}


def resized(pixel_values: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Crop or repeat images along an axis to another length.

    Args:
        pixel_values: `(batch, channels, height, width)`.
        axis: the axis of the height or the width.
        length: the new height or width.
    """
    return np.take(pixel_values, np.arange(length), axis=axis, mode="wrap")


def labels(config: Any, count: int) -> np.ndarray:
    """Return labels `(count, ...)` of the kind that a classifier's configuration requires; the last class is ignored.

    Args:
        config: the configuration, with `num_labels` and `problem_type`.
        count: the number of images.
    """
    number, kind = config.num_labels, config.problem_type
    if kind == "regression" or (kind is None and number == 1):
        shape = (count,) if number == 1 else (count, number)
        return np.linspace(-1, 1, count * number, dtype=np.float32).reshape(shape)
    if kind == "multi_label_classification":
        return targets(count, number)
    classes: np.ndarray = np.arange(count, dtype=np.int64) % number
    classes[-1] = IGNORED_LABEL
    return classes


def targets(count: int, number: int) -> np.ndarray:
    """Return independent labels `(count, number)`, float32: alternately 0 and 1."""
    return (np.arange(count * number).reshape(count, number) % 2).astype(np.float32)
