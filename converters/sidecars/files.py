"""The content of the files beside converted weights: configuration, preprocessing, tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.hub import find_file
from clip_core.hub.files import read_json_object
from clip_core.images.files import PREPROCESSOR_NAME
from clip_core.processing.chat import CHAT_FILE, CHAT_FOLDER, named_template_files
from clip_core.tokenization.vocabulary import MERGES_FILE, read_merges
from converters.formats import FORMATS

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from clip_core.hub import HubOptions
    from converters.formats.format import Format
    from converters.sidecars.companions import Description
    from converters.tensors import TensorEntry

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

_LARGEST = 2**26  # bytes; the tokenizer.json of multilingual models has 17 MB


def all_files() -> tuple[str, ...]:
    """Return the names of all files beside the weights, as the libraries of every format call them."""
    described = dict.fromkeys(name for format_ in FORMATS for name in format_.companions.files)
    return (*described, *TOKENIZER_FILES)


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
    return format_.companions.texts(description, tensors, format_.libraries)


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
        ValueError: a file is truncated or of another kind. A tokenizer's file is copied as it is, and would fail only
            when the converted checkpoint is used.
    """
    if format_.companions.tokenizer == "none":
        return {}
    names = [name for name in TOKENIZER_FILES if not name.endswith("/")]
    paths = {name: find_file(source, name, **options) for name in [*names, *named_template_files(source, options)]}
    texts = {name: _checked_text(name, path) for name, path in paths.items() if path is not None}
    if not texts and format_.companions.tokenizer == "needed":
        notes.append("the source has no tokenizer files, so none are written")
    return texts


def _checked_text(name: str, path: Path) -> str:
    """Return the content of a tokenizer's file if it is whole; the tokenizer may be of any kind."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: {error}") from error
    if name == MERGES_FILE:
        read_merges(path)
    elif name.endswith(".json"):
        read_json_object(path, _LARGEST)
    return text
