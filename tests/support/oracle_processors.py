"""Results of the reference's image processor and joint processor; runs in its process, see `support.oracle`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def preprocess(images: Any, arguments: dict[str, Any], options: dict[str, Any]) -> list[np.ndarray] | np.ndarray | str:
    """Return the pixel values that a processor of these arguments makes with these options, or its error."""
    from transformers import CLIPImageProcessor

    try:
        pixel_values = CLIPImageProcessor(**arguments)(images, **options)["pixel_values"]
    except Exception as error:  # noqa: BLE001  any is an answer
        return f"{type(error).__name__}: {error}"
    return pixel_values.numpy() if hasattr(pixel_values, "numpy") else pixel_values


def image_step(name: str, arguments: dict[str, Any]) -> np.ndarray:
    """Return the result of one of the processor's steps."""
    from transformers import CLIPImageProcessor

    return np.array(getattr(CLIPImageProcessor(), name)(**arguments))


def image_processor_file(arguments: dict[str, Any]) -> str:
    """Return the file that the reference writes for these arguments."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(**arguments).to_json_string()


def loaded_image_processor(folder: str, options: dict[str, Any], class_name: str = "CLIPImageProcessor") -> str:
    """Return the settings that the reference reads from a folder, as it would write them."""
    import transformers

    return getattr(transformers, class_name).from_pretrained(folder, **options).to_json_string()


def save_processor(source: str, folder: str, **options: Any) -> list[str]:
    """Read a checkpoint's processor with the reference, save it elsewhere, and return the names of the files."""
    from transformers import CLIPProcessor

    CLIPProcessor.from_pretrained(source).save_pretrained(folder, **options)
    return sorted(path.name for path in Path(folder).iterdir())


def process(folder: str, arguments: dict[str, Any], tokenizer: dict[str, Any]) -> dict[str, Any] | str:
    """Return the result of a checkpoint's processor for a call, in order, or the error that it raises."""
    from transformers import CLIPImageProcessor, CLIPProcessor, CLIPTokenizerFast

    processor = CLIPProcessor(
        CLIPImageProcessor.from_pretrained(folder), CLIPTokenizerFast.from_pretrained(folder, **tokenizer)
    )
    try:
        return dict(processor(**arguments))
    except Exception as error:  # noqa: BLE001  any is an answer
        return f"{type(error).__name__}: {error}"


def processor_facts(folder: str) -> dict[str, Any]:
    """Return what the reference's class method and static methods return for a folder."""
    from transformers import CLIPProcessor

    return facts_of(CLIPProcessor, folder)


def facts_of(processor_class: Any, folder: Any) -> dict[str, Any]:
    """Return the same for a class of either library."""
    processor = processor_class.from_pretrained(folder)
    content, left = processor_class.get_processor_dict(folder, local_files_only=True, subfolder="", more=1)
    parts = [processor.image_processor, processor.tokenizer]
    made, unused = processor_class.from_args_and_dict(parts, {**content, "a": 1}, b=2, return_unused_kwargs=True)
    return {
        "dict": [content, left],
        "made": [made.tokenizer is processor.tokenizer, made.image_processor is processor.image_processor, unused],
        "validated": processor_class.validate_init_kwargs({"a": 1, "b": 2}, ["b", "c"]),
        "optional": processor_class.optional_attributes,
        "texts": processor.post_process_image_text_to_text(processor(text=["a cat", "a dog"]).input_ids),
    }
