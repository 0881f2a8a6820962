"""Translation of the preprocessing between `preprocessor_config.json`, open_clip's `preprocess_cfg` and OpenAI's code.

All are converted to and from `CLIPImageProcessor`, which also reads old files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from clip_core.images.processor import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, CLIPImageProcessor
from clip_core.images.settings import ARGUMENTS

# open_clip's interpolation -> Pillow's filter. "random" picks a filter in training, and is bicubic otherwise.
_FILTERS = {"bilinear": 2, "random": 3, "bicubic": 3}

# The size is not read, because open_clip always uses the model's.
_KNOWN = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}


def openai_preprocessing(image_size: int) -> CLIPImageProcessor:
    """Return the preprocessing of OpenAI's code: bicubic resize of the shortest side, center crop, its mean and std."""
    return CLIPImageProcessor(size={"shortest_edge": image_size}, crop_size=image_size)


def preprocessing_from_open_clip(preprocess_cfg: Mapping[str, Any], image_size: int) -> CLIPImageProcessor:
    """Return the preprocessing that a `preprocess_cfg` describes, with open_clip's defaults.

    Raises:
        ValueError: it is not supported. The message names the field.
    """
    if not isinstance(preprocess_cfg, Mapping):
        raise ValueError(f"preprocess_cfg is {preprocess_cfg!r}; it must be an object")  # noqa: TRY004  the file is at fault
    unknown = preprocess_cfg.keys() - _KNOWN
    if unknown:
        raise ValueError(f"preprocess_cfg has the unknown fields {', '.join(sorted(unknown))}")
    if preprocess_cfg.get("mode") not in {None, "RGB"}:
        raise ValueError(f"preprocess_cfg.mode is {preprocess_cfg['mode']!r}; only RGB images are supported")
    interpolation = preprocess_cfg.get("interpolation") or "bicubic"
    resize_mode = preprocess_cfg.get("resize_mode") or "shortest"
    if interpolation not in _FILTERS:
        raise ValueError(f"preprocess_cfg.interpolation is {interpolation!r}; supported are {', '.join(_FILTERS)}")
    if resize_mode not in {"shortest", "squash"}:
        raise ValueError(f"preprocess_cfg.resize_mode is {resize_mode!r}; 'shortest' and 'squash' are supported")
    is_squashed = resize_mode == "squash"
    square = {"height": image_size, "width": image_size}
    return CLIPImageProcessor(
        size=square if is_squashed else {"shortest_edge": image_size},
        resample=_FILTERS[interpolation],
        do_center_crop=not is_squashed,
        crop_size=square,
        image_mean=_numbers(preprocess_cfg, "mean", OPENAI_CLIP_MEAN),
        image_std=_numbers(preprocess_cfg, "std", OPENAI_CLIP_STD),
    )


def open_clip_from_preprocessing(processor: CLIPImageProcessor, image_size: int) -> dict[str, Any]:
    """Return the `preprocess_cfg` with which open_clip preprocesses images like the processor.

    Raises:
        ValueError: open_clip cannot do so. The message names the field.
    """
    _check_steps(processor, "open_clip", do_resize=True, do_rescale=True, do_normalize=True)
    squares = {"height": image_size, "width": image_size}
    is_squashed = processor.size == squares
    if not is_squashed and processor.size != {"shortest_edge": image_size}:
        raise ValueError(f"open_clip resizes to the model's {image_size} pixels, but size is {processor.size}")
    crops_square = processor.do_center_crop and processor.crop_size == squares
    if not crops_square and (processor.do_center_crop or not is_squashed):
        raise ValueError(
            f"open_clip crops to the model's {image_size} pixels, but do_center_crop is {processor.do_center_crop} "
            f"with crop_size {processor.crop_size}"
        )
    names = {number: name for name, number in _FILTERS.items()}
    if processor.resample not in names:
        known = ", ".join(f"{number} ({name})" for number, name in names.items())
        raise ValueError(f"open_clip lacks the filter resample={processor.resample!r}; it has {known}")
    return {
        "mean": _numbers({"mean": processor.image_mean}, "mean", OPENAI_CLIP_MEAN),
        "std": _numbers({"std": processor.image_std}, "std", OPENAI_CLIP_STD),
        "interpolation": names[processor.resample],
        "resize_mode": "squash" if is_squashed else "shortest",
    }


def check_openai_preprocessing(processor: CLIPImageProcessor, image_size: int) -> None:
    """Check that preprocessing agrees with OpenAI's code.

    Raises:
        ValueError: a field differs; one message names all such fields.
    """
    wanted = openai_preprocessing(image_size)
    faults = [
        f"{field} is {getattr(processor, field)!r} instead of {getattr(wanted, field)!r}"
        for field in ARGUMENTS
        if field != "do_convert_rgb" and not _alike(getattr(processor, field), getattr(wanted, field))
    ]
    if faults:
        raise ValueError(f"OpenAI's code preprocesses images differently: {'; '.join(faults)}; convert to open_clip")


def _check_steps(processor: CLIPImageProcessor, library: str, **wanted: bool) -> None:
    for field, value in wanted.items():
        if getattr(processor, field) != value:
            raise ValueError(f"{library} cannot preprocess images with {field}={getattr(processor, field)!r}")
    if not _alike(processor.rescale_factor, 1 / 255):
        raise ValueError(f"{library} cannot preprocess images with rescale_factor={processor.rescale_factor!r}")


def _alike(one: Any, other: Any) -> bool:
    """Return True if two values are equal up to rounding in a file."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _numbers(given: Mapping[str, Any], field: str, default: list[float]) -> list[float]:
    """Return three numbers, one per channel."""
    value = given.get(field)
    if value is None:
        return list(default)
    numbers = list(value) if isinstance(value, list | tuple) else [value] * 3
    if len(numbers) != 3 or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"preprocess_cfg.{field} is {value!r}; it must be three numbers, one per channel")
    if field == "std" and 0 in numbers:
        raise ValueError(f"preprocess_cfg.std is {value!r}; it must not contain 0")
    return [float(number) for number in numbers]
