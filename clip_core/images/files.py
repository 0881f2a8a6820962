"""Reading and writing of the image processor, in the format of transformers' `preprocessor_config.json`."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clip_core.configuration.arguments import check_keys
from clip_core.configuration.files import CONFIG_NAME
from clip_core.hub import find_file, require_file, split_hub_options
from clip_core.hub.files import json_text, read_json, read_json_object, write_text
from clip_core.hub.pushable import Pushable, upload_saved
from clip_core.hub.readable import Readable
from clip_core.hub.targets import expanded, given_path
from clip_core.images.settings import ARGUMENTS

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Unpack

    from clip_core.hub import HubOptions

PREPROCESSOR_NAME = "preprocessor_config.json"
PROCESSOR_NAME = "processor_config.json"

# Keys that describe the file itself. The class writes its own name; the others are obsolete.
_DROPPED_KEYS = {"feature_extractor_type", "image_processor_type", "_valid_processor_keys"}
# Keywords of transformers that leave no choice here.
_IGNORED_KEYWORDS = {"use_fast"}


class BaseImageProcessor(Pushable, Readable):
    """The base class that reads and writes attributes.

    All public attributes are written, so keys of a file that are not arguments survive a round trip.

    Args:
        **kwargs: further keys of a file; each becomes an attribute.
    """

    def __init__(self, **kwargs: Any) -> None:
        check_keys(type(self), kwargs)
        private = kwargs.pop("_processor_class", None)  # as spelled in a processor_config.json
        self._processor_class = kwargs.pop("processor_class", None) or private
        for key, value in kwargs.items():
            if key not in _DROPPED_KEYS:
                setattr(self, key, value)

    # Reading

    @classmethod
    def _read(cls, source: str | os.PathLike[str], options: HubOptions, keywords: dict[str, Any]) -> Any:
        """Read a preprocessor_config.json, or the image processor's part of a processor_config.json."""
        path, content = read_image_processor(source, **options)
        try:
            return cls.from_dict(content, **keywords)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, image_processor_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Build an image processor from the content of a file.

        Args:
            image_processor_dict: the file's content.
            **kwargs: as in `from_pretrained`.

        Returns:
            The image processor; with `return_unused_kwargs=True`, also the keywords that are not its settings.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        known = {*ARGUMENTS, *image_processor_dict}
        overrides = {key: value for key, value in kwargs.items() if key in known}
        unused = {key: value for key, value in kwargs.items() if key not in known and value is not None}
        check_keys(cls, image_processor_dict)
        processor = cls(**{**image_processor_dict, **overrides})
        if return_unused:
            return processor, unused
        if unused.keys() - _IGNORED_KEYWORDS:
            names = ", ".join(sorted(unused.keys() - _IGNORED_KEYWORDS))
            warnings.warn(f"{cls.__name__} ignores unknown keywords: {names}", stacklevel=3)
        return processor

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Self:
        """Read an image processor from a JSON file of its own settings.

        Args:
            json_file: the file.

        Returns:
            An instance of the class.
        """
        return cls.from_dict(read_json_object(json_file))  # type: ignore[no-any-return]

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the unprocessed settings of a source, and the keywords that are not hub options.

        Args:
            pretrained_model_name_or_path: a local folder, the file itself, or a hub id.
            **kwargs: hub options and others.
        """
        options = split_hub_options(kwargs)
        return read_image_processor(pretrained_model_name_or_path, **options)[1], kwargs

    # Writing

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of the attributes, with the class name and, as in transformers, `_processor_class`."""
        public = {key: copy.deepcopy(value) for key, value in vars(self).items() if not key.startswith("_")}
        return {
            **public,
            "_processor_class": self._processor_class,
            "image_processor_type": type(self).__name__,
        }

    def to_json_string(self) -> str:
        """Return the content of a preprocessor_config.json."""
        content = self.to_dict()
        if name := content.pop("_processor_class", None):
            content["processor_class"] = name
        return json_text(content, default=_as_json)

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write `to_json_string` to a file, atomically.

        Args:
            json_file_path: the file.
        """
        write_text(json_file_path, self.to_json_string())

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write `preprocessor_config.json` into a folder, atomically, in a form that transformers 4.57 also reads.

        Args:
            save_directory: the folder, created if missing.
            push_to_hub: then upload the folder, to `repo_id` or under the folder's name.
            **kwargs: `repo_id` and the keywords of `clip_core.hub.upload_folder`.

        Returns:
            The path of the file, in a list.
        """
        path = given_path(save_directory) / PREPROCESSOR_NAME
        self.to_json_file(path)
        if push_to_hub:
            upload_saved(save_directory, **kwargs)
        return [str(path)]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def read_image_processor(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> tuple[Path, dict[str, Any]]:
    """Return the image processor settings of a source, and the path of the file that holds them.

    Args:
        source: a local folder, the file itself, or a hub id.
        **options: see `clip_core.hub.HubOptions`.

    Raises:
        FileNotFoundError: if there is no such file, folder or repository.
        ValueError: if the file has no such settings.
    """
    names = [PREPROCESSOR_NAME, PROCESSOR_NAME]
    # Looked up by one name only, a local file matches regardless of its own name. A model's files name its folder.
    name = Path(source).name
    is_json = name.endswith(".json") and name != CONFIG_NAME and not name.endswith(".index.json")
    is_json = is_json and expanded(source).is_file()
    path = (find_file(source, PREPROCESSOR_NAME) if is_json else None) or require_file(source, names, **options)
    content = read_json(path)
    if isinstance(content, dict) and (path.name == PROCESSOR_NAME or "image_processor" in content):
        content = content.get("image_processor")
    if not isinstance(content, dict):
        raise ValueError(f"{path} has no image processor settings; expected the content of a {PREPROCESSOR_NAME}")  # noqa: TRY004  the file is at fault
    return path, content


def _as_json(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{value!r} cannot be written as JSON")
