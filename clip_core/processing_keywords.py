"""Which keywords of a call of the joint processor are for its image processor, and which for its tokenizer."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from clip_core.image_processing import CLIPImageProcessor

if TYPE_CHECKING:
    from collections.abc import Mapping

# The keywords of a call that are the image processor's, and those that are the tokenizer's; the rest is nobody's.
IMAGE_KEYWORDS = inspect.signature(CLIPImageProcessor.preprocess).parameters.keys() - {"self", "images", "kwargs"}
TEXT_KEYWORDS = frozenset(
    {
        "add_special_tokens",
        "is_split_into_words",
        "max_length",
        "pad_to_multiple_of",
        "padding",
        "padding_side",
        "return_attention_mask",
        "return_length",
        "return_offsets_mapping",
        "return_overflowing_tokens",
        "return_special_tokens_mask",
        "return_tensors",
        "return_token_type_ids",
        "stride",
        "text_pair",
        "truncation",
        "verbose",
    }
)
_GROUPS = ("common_kwargs", "images_kwargs", "text_kwargs")


def split_keywords(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of a call that are for the images, and those for the texts.

    Raises:
        ValueError: one is given both by itself and in a group.
    """
    groups = {name: dict(kwargs.get(name) or {}) for name in _GROUPS}
    flat = {key: value for key, value in kwargs.items() if key not in groups}
    for name, group in groups.items():
        if twice := sorted(group.keys() & flat.keys()):
            raise ValueError(f"{', '.join(twice)} is given twice, by itself and in {name}; give it once")
    unknown = sorted(flat.keys() - IMAGE_KEYWORDS - TEXT_KEYWORDS)
    if unknown:
        warnings.warn(f"CLIPProcessor knows no {', '.join(unknown)}; ignored", stacklevel=3)
    both = {**flat, **groups["common_kwargs"]}
    for_images = {key: value for key, value in both.items() if key in IMAGE_KEYWORDS}
    for_texts = {key: value for key, value in both.items() if key in TEXT_KEYWORDS}
    return {**for_images, **groups["images_kwargs"]}, {**for_texts, **groups["text_kwargs"]}
