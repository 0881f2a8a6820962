"""The files that stand beside converted weights: configuration, preparation of pictures, tokenizer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from clip_core.configuration import CLIPConfig
from clip_core.configuration.files import CONFIG_NAME
from clip_core.hub import find_file
from clip_core.images.files import PREPROCESSOR_NAME
from converters.naming.rules import OPENAI
from converters.sidecars.description import OPEN_CLIP_CONFIG_NAME
from converters.sidecars.open_clip import open_clip_from_config
from converters.sidecars.openai import check_openai

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from clip_core.hub import HubOptions
    from converters.formats import Format
    from converters.sidecars.description import Description
    from converters.tensors import TensorEntry

# The dtypes that weights may have, and that a configuration can name.
DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in ("float32", "float16", "bfloat16", "float64")}

# What a tokenizer is kept in, and is carried along to wherever it can be used.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)


def model_files(
    description: Description, format_: Format, tensors: Mapping[str, TensorEntry], notes: list[str]
) -> dict[str, str]:
    """The configuration and the preparation of pictures in the target's form, by file name.

    Raises:
        ValueError: the target's library would run the model, or prepare pictures, otherwise than is meant.
    """
    config, preprocessing = description.config, description.preprocessing
    if description.preprocessing is None and "Text" not in description.class_name:
        notes.append(
            f"the source holds no {PREPROCESSOR_NAME}, so none is written: how pictures are prepared is not known"
        )
    if format_.layout is not OPENAI:
        config.architectures = [description.class_name]
        dtypes = {tensor.dtype.name for tensor in tensors.values()}
        config.dtype = dtypes.pop() if len(dtypes) == 1 and dtypes <= DTYPES.keys() else None
        texts = {CONFIG_NAME: config.to_json_string()}
        if preprocessing is not None:
            texts[PREPROCESSOR_NAME] = preprocessing.to_json_string()
        return texts
    if not isinstance(config, CLIPConfig) or description.class_name != "CLIPModel":
        raise ValueError(
            f"{format_.libraries} knows whole models only, and the source holds a {description.class_name}"
        )
    from converters.sidecars.preprocessing import check_openai_preprocessing, open_clip_from_preprocessing

    image_size = config.vision_config.image_size
    if format_.name == "openai":
        check_openai(config)
        if preprocessing is not None:
            check_openai_preprocessing(preprocessing, image_size)
        return {}
    content: dict[str, Any] = {"model_cfg": open_clip_from_config(config)}
    if preprocessing is not None:
        content["preprocess_cfg"] = open_clip_from_preprocessing(preprocessing, image_size)
    return {OPEN_CLIP_CONFIG_NAME: json.dumps(content, indent=2) + "\n"}


def tokenizer_files(
    source: str | os.PathLike[str], options: HubOptions, format_: Format, notes: list[str]
) -> dict[str, str]:
    """The tokenizer's files, which open_clip reads too."""
    if format_.name == "openai":
        return {}
    paths = {name: find_file(source, name, **options) for name in TOKENIZER_FILES}
    texts = {name: _text(path) for name, path in paths.items() if path is not None}
    if not texts and format_.layout is not OPENAI:
        notes.append("the source holds no tokenizer, so none is written")
    return texts


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: {error}") from error
