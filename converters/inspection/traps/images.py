"""Traps in the preprocessing of images; each check is a row of `TRAPS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.images.processor import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

if TYPE_CHECKING:
    from converters.inspection.traps.facts import Facts

# Mean and standard deviation used by other families than OpenAI's.
_NORMALIZATIONS = {
    "Inception's": ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
    "ImageNet's": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


def no_preprocessor(facts: Facts) -> str | None:
    """Check for unknown preprocessing."""
    if "vision" not in facts.towers or facts.description.preprocessing is not None:
        return None
    return "there is no preprocessor_config.json, so the preprocessing is unknown"


def image_size(facts: Facts) -> str | None:
    """Check for an image size other than the model's."""
    steps, vision = facts.description.preprocessing, facts.towers.get("vision")
    if steps is None or vision is None:
        return None
    sizes = steps.crop_size if steps.do_center_crop else steps.size
    if set(sizes.values()) == {vision.image_size}:
        return None
    return f"images are resized to {sizes}, but the model takes {vision.image_size}"


def normalization(facts: Facts) -> str | None:
    """Check for a normalization other than OpenAI's."""
    steps = facts.description.preprocessing
    if steps is None or not steps.do_normalize:
        return None if steps is None else "images are not normalized"
    if _close(steps.image_mean, OPENAI_CLIP_MEAN) and _close(steps.image_std, OPENAI_CLIP_STD):
        return None
    mean, std = steps.image_mean, steps.image_std
    known = [name for name, numbers in _NORMALIZATIONS.items() if _close(mean, numbers[0]) and _close(std, numbers[1])]
    whose = f"{known[0]} mean and std, {mean} and {std}" if known else f"the mean {mean} and the std {std}"
    return f"images are normalized with {whose}, not OpenAI's"


def squash(facts: Facts) -> str | None:
    """Check for resizing that ignores the aspect ratio."""
    steps = facts.description.preprocessing
    if steps is None or not steps.do_resize or "shortest_edge" in steps.size:
        return None
    return f"images are resized to {steps.size} regardless of their aspect ratio"


def _close(one: Any, other: list[float]) -> bool:
    numbers = [one] * 3 if isinstance(one, int | float) else list(one)
    return len(numbers) == 3 and all(abs(a - b) < 1e-4 for a, b in zip(numbers, other, strict=True))
