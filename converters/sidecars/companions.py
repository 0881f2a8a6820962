"""The files beside converted weights: configuration, preprocessing, tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import ml_dtypes
import numpy as np

from clip_core.configuration import CLIPConfig
from clip_core.configuration.files import CONFIG_NAME
from clip_core.hub import find_file
from clip_core.images.files import PREPROCESSOR_NAME, PROCESSOR_NAME
from clip_core.processing.chat import CHAT_FILE, CHAT_FOLDER, named_template_files
from converters.sidecars.description import OPEN_CLIP_CONFIG_NAME
from converters.sidecars.open_clip import open_clip_from_config
from converters.sidecars.openai import check_openai

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from clip_core.hub import HubOptions
    from converters.formats.format import Format
    from converters.sidecars.description import Description
    from converters.tensors import TensorEntry

# The dtypes of weights that a configuration can name.
DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in ("float32", "float16", "bfloat16", "float64")}

# The files of a tokenizer, and the folder of its named chat templates.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    CHAT_FILE,
    f"{CHAT_FOLDER}/",
)


# All files beside the weights, in any library's form.
ALL_FILES = (CONFIG_NAME, OPEN_CLIP_CONFIG_NAME, PREPROCESSOR_NAME, PROCESSOR_NAME, *TOKENIZER_FILES)


@dataclass(frozen=True)
class Companions:
    """The files that a format's libraries expect beside the weights.

    Attributes:
        texts: returns configuration and preprocessing by file name, given the description, the tensors and the names of
            the libraries.
        tokenizer: "needed" if the libraries read a tokenizer's files, "optional" if they work without them, "none" if
            they have their own tokenizer.
    """

    texts: Callable[[Description, Mapping[str, TensorEntry], str], dict[str, str]]
    tokenizer: Literal["needed", "optional", "none"]


def model_files(
    description: Description, format_: Format, tensors: Mapping[str, TensorEntry], notes: list[str]
) -> dict[str, str]:
    """Return the configuration and the preprocessing in the target's form, by file name.

    Args:
        description: the description of the source.
        format_: the target's format.
        tensors: the tensors to write.
        notes: receives a line if the source has no preprocessing.

    Raises:
        ValueError: the target's library would compute other values, or preprocess images differently.
    """
    if description.preprocessing is None and "Text" not in description.class_name:
        notes.append(f"the source has no {PREPROCESSOR_NAME}, so none is written; the preprocessing is unknown")
    return COMPANIONS[format_.companions].texts(description, tensors, format_.libraries)


def tokenizer_files(
    source: str | os.PathLike[str], options: HubOptions, format_: Format, notes: list[str]
) -> dict[str, str]:
    """Return the content of the tokenizer's files by name, if the target's library reads such files.

    Args:
        source: the folder or hub id.
        options: the hub options.
        format_: the target's format.
        notes: receives a line if the target needs a tokenizer and the source has none.

    Raises:
        ValueError: a file is not in UTF-8.
    """
    companions = COMPANIONS[format_.companions]
    if companions.tokenizer == "none":
        return {}
    names = [name for name in TOKENIZER_FILES if not name.endswith("/")]
    paths = {name: find_file(source, name, **options) for name in [*names, *named_template_files(source, options)]}
    texts = {name: _text(path) for name, path in paths.items() if path is not None}
    if not texts and companions.tokenizer == "needed":
        notes.append("the source has no tokenizer files, so none are written")
    return texts


def _transformers(description: Description, tensors: Mapping[str, TensorEntry], _: str) -> dict[str, str]:
    config = description.config
    config.architectures = [description.class_name]
    dtypes = {tensor.dtype.name for tensor in tensors.values()}
    config.dtype = dtypes.pop() if len(dtypes) == 1 and dtypes <= DTYPES.keys() else None
    texts = {CONFIG_NAME: config.to_json_string()}
    if description.preprocessing is not None:
        texts[PREPROCESSOR_NAME] = description.preprocessing.to_json_string()
    return texts


def _open_clip(description: Description, _: Mapping[str, TensorEntry], libraries: str) -> dict[str, str]:
    from converters.sidecars.preprocessing import open_clip_from_preprocessing

    config = _whole_model(description, libraries)
    content: dict[str, Any] = {"model_cfg": open_clip_from_config(config)}
    if description.preprocessing is not None:
        image_size = config.vision_config.image_size
        content["preprocess_cfg"] = open_clip_from_preprocessing(description.preprocessing, image_size)
    return {OPEN_CLIP_CONFIG_NAME: json.dumps(content, indent=2) + "\n"}


def _openai(description: Description, _: Mapping[str, TensorEntry], libraries: str) -> dict[str, str]:
    from converters.sidecars.preprocessing import check_openai_preprocessing

    config = _whole_model(description, libraries)
    check_openai(config)
    if description.preprocessing is not None:
        check_openai_preprocessing(description.preprocessing, config.vision_config.image_size)
    return {}


# The values of `Format.companions`.
COMPANIONS = {
    "transformers": Companions(_transformers, tokenizer="needed"),
    "open_clip": Companions(_open_clip, tokenizer="optional"),
    "OpenAI": Companions(_openai, tokenizer="none"),
}


def _whole_model(description: Description, libraries: str) -> CLIPConfig:
    if not isinstance(description.config, CLIPConfig) or description.class_name != "CLIPModel":
        raise ValueError(f"{libraries} loads full models only, but the source is a {description.class_name}")
    return description.config


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: {error}") from error
