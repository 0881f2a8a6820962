"""The keywords of a call of CLIPProcessor, with their types, for editors and type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping


class CLIPProcessorKwargs(TypedDict, total=False):
    """The keywords of a call, flat and in groups; see `CLIPImageProcessor.preprocess` and `CLIPTokenizer.__call__`."""

    common_kwargs: Mapping[str, Any]
    images_kwargs: Mapping[str, Any]
    text_kwargs: Mapping[str, Any]
    return_tensors: Any

    do_resize: bool | None
    size: Any
    resample: int | None
    do_center_crop: bool | None
    crop_size: Any
    do_rescale: bool | None
    rescale_factor: float | None
    do_normalize: bool | None
    image_mean: Any
    image_std: Any
    do_convert_rgb: bool | None
    data_format: Any
    input_data_format: Any
    num_threads: int | None

    text_pair: Any
    add_special_tokens: bool
    padding: Any
    truncation: Any
    max_length: int | None
    stride: int
    is_split_into_words: bool
    pad_to_multiple_of: int | None
    padding_side: Any
    return_token_type_ids: bool | None
    return_attention_mask: bool | None
    return_overflowing_tokens: bool
    return_special_tokens_mask: bool
    return_offsets_mapping: bool
    return_length: bool
    verbose: bool
    split_special_tokens: bool | None
