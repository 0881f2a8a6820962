"""Methods of a processor that libraries for transformers call: decoding, and making one from a dict."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from clip_core.hub import find_file, split_hub_options
from clip_core.hub.files import read_json_object
from clip_core.images.files import PROCESSOR_NAME

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

# Keys of a processor_config.json that describe the file itself.
_OF_THE_FILE = {"auto_map", "processor_class"}


class ProcessorHandles:
    """A mixin for a processor with a `tokenizer` and `attributes`, the names of its parts."""

    if TYPE_CHECKING:
        attributes: ClassVar[list[str]]
        tokenizer: Any

    def decode(self, *args: Any, **kwargs: Any) -> str:
        """Return the text of token ids; see `CLIPTokenizer.decode`."""
        text: str = self.tokenizer.decode(*args, **kwargs)
        return text

    def batch_decode(self, *args: Any, **kwargs: Any) -> list[str]:
        """Return the text of each row of token ids; see `CLIPTokenizer.batch_decode`."""
        texts: list[str] = self.tokenizer.batch_decode(*args, **kwargs)
        return texts

    def post_process_image_text_to_text(
        self, generated_outputs: Any, skip_special_tokens: bool = True, **kwargs: Any
    ) -> list[str]:
        """Return the text of token ids that another model generated.

        Args:
            generated_outputs: `(batch, seq)`.
            skip_special_tokens: leave out special tokens.
            **kwargs: as in `batch_decode`.
        """
        return self.batch_decode(generated_outputs, skip_special_tokens=skip_special_tokens, **kwargs)

    @classmethod
    def get_processor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the content of a `processor_config.json` without the parts, and the keywords that are left.

        Args:
            pretrained_model_name_or_path: a folder or hub id.
            **kwargs: hub options, which are removed, and others.

        Returns:
            The content, which is empty if there is no such file; and the other keywords.
        """
        options = split_hub_options(kwargs)
        path = find_file(pretrained_model_name_or_path, PROCESSOR_NAME, **options)
        content = {} if path is None else read_json_object(path)
        return {key: value for key, value in content.items() if key not in cls.attributes}, kwargs

    @classmethod
    def from_args_and_dict(cls, args: Sequence[Any], processor_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Create a processor from its parts.

        Args:
            args: the parts, in the order of `attributes`.
            processor_dict: further arguments, as from `get_processor_dict`; they replace those in `args`.
            **kwargs: further arguments, which take precedence; and `return_unused_kwargs`.

        Returns:
            The processor; with `return_unused_kwargs`, also the arguments that the class does not take.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        given = {key: value for key, value in processor_dict.items() if key not in _OF_THE_FILE} | kwargs
        accepted = [
            name
            for name, parameter in inspect.signature(cls).parameters.items()
            if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ]
        unused, used = cls.validate_init_kwargs(given, accepted)
        processor = cls(**dict(zip(accepted, args, strict=False)) | used)
        return (processor, unused) if return_unused else processor

    @staticmethod
    def validate_init_kwargs(
        processor_config: Mapping[str, Any], valid_kwargs: Iterable[str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the unknown and the known ones of some arguments.

        Args:
            processor_config: the arguments.
            valid_kwargs: the names of the known ones.
        """
        known = set(valid_kwargs)
        unused = {key: value for key, value in processor_config.items() if key not in known}
        return unused, {key: value for key, value in processor_config.items() if key in known}
