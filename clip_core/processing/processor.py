"""CLIPProcessor: a checkpoint's image processor and tokenizer in one object, which routes keywords to each."""

from __future__ import annotations

import inspect
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, Unpack

from clip_core.hub.files import json_text, pattern_of, staged, write_text
from clip_core.hub.pushable import Pushable, upload_saved
from clip_core.hub.readable import Readable
from clip_core.images.files import PREPROCESSOR_NAME, PROCESSOR_NAME
from clip_core.images.processor import CLIPImageProcessor
from clip_core.images.settings import ARGUMENTS
from clip_core.processing.batch import BatchFeature
from clip_core.processing.handles import ProcessorHandles
from clip_core.tokenization.files import ALL_FILES as TOKENIZER_FILES
from clip_core.tokenization.rows import CallOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from clip_core.hub import HubOptions
    from clip_core.tokenization.tokenizer import CLIPTokenizerBase


# Keywords of a call for the image processor, and for the tokenizer; any others are unknown.
IMAGE_KEYWORDS = inspect.signature(CLIPImageProcessor.preprocess).parameters.keys() - {"self", "images", "kwargs"}
TEXT_KEYWORDS = CallOptions.__dataclass_fields__.keys() | {"text_pair"}
GROUPS = ("common_kwargs", "images_kwargs", "text_kwargs")


class CLIPProcessorKwargs(TypedDict, total=False):
    """The keywords of a call, flat and in groups; see `CLIPImageProcessor.preprocess` and `CLIPTokenizer.__call__`.

    A subclass may set `_defaults`: the names of groups -> keywords -> values. A subclass of `CLIPProcessor` uses them
    if it has that class as its `valid_processor_kwargs`.
    """

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


class CLIPProcessor(ProcessorHandles, Pushable, Readable):
    """A processor that combines an image processor and a tokenizer.

    Args:
        image_processor: a `CLIPImageProcessor`.
        tokenizer: a `CLIPTokenizerFast` or `CLIPTokenizer`.
        feature_extractor: the deprecated name of `image_processor`.

    Raises:
        TypeError: if either is missing or has the wrong type.

    Example:
        >>> processor = CLIPProcessor.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> processor(text=["a cat"], images=image, return_tensors="pt", padding=True).keys()  # doctest: +SKIP
        KeysView(pixel_values, input_ids, attention_mask)
    """

    # The parts, and the names of their classes in transformers.
    attributes: ClassVar[list[str]] = ["image_processor", "tokenizer"]
    optional_attributes: ClassVar[list[str]] = ["chat_template", "audio_tokenizer"]
    image_processor_class: ClassVar[tuple[str, str]] = ("CLIPImageProcessor", "CLIPImageProcessorFast")
    tokenizer_class: ClassVar[str] = "AutoTokenizer"
    valid_processor_kwargs: ClassVar[type] = CLIPProcessorKwargs
    optional_call_args: ClassVar[list[str]] = []
    chat_template: ClassVar[None] = None  # the tokenizer may have one
    audio_tokenizer: ClassVar[None] = None

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, *, feature_extractor: Any = None) -> None:
        if feature_extractor is not None:
            warnings.warn("feature_extractor is deprecated; use image_processor", FutureWarning, stacklevel=2)
        self.image_processor = feature_extractor if image_processor is None else image_processor
        self.tokenizer = tokenizer
        for attribute, makes in (("image_processor", "pixel_values"), ("tokenizer", "input_ids")):
            value = getattr(self, attribute)
            if makes not in getattr(value, "model_input_names", ()):
                raise TypeError(f"{attribute} is of type {type(value).__name__}, which does not produce {makes}")

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        videos: Any = None,
        audio: Any = None,
        **kwargs: Unpack[CLIPProcessorKwargs],
    ) -> BatchFeature:
        """Convert images and texts into model inputs.

        Args:
            images: see `CLIPImageProcessor.preprocess`.
            text: see `CLIPTokenizer.__call__`. Also recognized as the first positional argument, as in older releases
                of transformers.
            videos: not used, as in transformers; a warning says so.
            audio: not used either.
            **kwargs: keywords of both, flat or grouped in `images_kwargs`, `text_kwargs` and, for both,
                `common_kwargs`. A warning names unknown ones.

        Returns:
            `pixel_values` if there are images, and `input_ids` and `attention_mask` if there are texts.

        Raises:
            ValueError: if there are neither images nor texts, or a keyword is given twice.
        """
        if images is None and text is None:
            raise ValueError("no images or texts are given; pass images=..., text=... or both")
        if images is not None and text is not None and _is_text(images) and not _is_text(text):
            images, text = text, images
        for name, value in (("videos", videos), ("audio", audio)):
            if value is not None:
                warnings.warn(f"CLIPProcessor ignores {name}: CLIP takes images and texts", stacklevel=2)
        # The checkpoint's tokenizer_config.json may state keywords of a call, such as `max_length`.
        init_kwargs = getattr(self.tokenizer, "init_kwargs", {})
        keywords = self._merge_kwargs(self.valid_processor_kwargs, tokenizer_init_kwargs=init_kwargs, **kwargs)
        outputs: dict[str, Any] = {}
        if images is not None:
            outputs |= self.image_processor(images, **keywords["images_kwargs"])
        if text is not None:
            batch = self.tokenizer(text, **keywords["text_kwargs"])
            outputs |= getattr(batch, "data", batch)
        return BatchFeature(outputs)

    def _merge_kwargs(
        self, kind: Any, /, tokenizer_init_kwargs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> dict[str, dict[str, Any]]:
        """Return the keywords of a call by group; in transformers, calls of subclasses use this method too.

        Args:
            kind: the class of the keywords, such as `CLIPProcessorKwargs`. Its `_defaults`, by group, are used for
                keywords that are not given, and the classes that annotate its groups may declare more keywords.
            tokenizer_init_kwargs: settings of the tokenizer, which take precedence over those defaults.
            **kwargs: flat keywords, and groups such as `images_kwargs`. Those in `common_kwargs` are for both parts.

        Raises:
            ValueError: a keyword is given both flat and in a group.
        """
        stated, defaults, groups = tokenizer_init_kwargs or {}, getattr(kind, "_defaults", {}), dict[str, Any]()
        for name in GROUPS:
            groups[name] = kwargs.pop(name, None) or {}
        for name, group in groups.items():
            if twice := sorted(group.keys() & kwargs.keys()):
                raise ValueError(f"{', '.join(twice)} is given twice, both directly and in {name}; give it once")
        merged = {"common_kwargs": {**defaults.get("common_kwargs", {}), **groups["common_kwargs"]}}
        unknown = kwargs.keys() - merged["common_kwargs"].keys()
        for name, keywords in (("images_kwargs", IMAGE_KEYWORDS), ("text_kwargs", TEXT_KEYWORDS)):
            known = keywords | getattr(kind.__annotations__.get(name), "__annotations__", {}).keys()
            merged[name] = dict(defaults.get(name, {}))
            if name == "text_kwargs":
                for key in known & stated.keys():
                    merged[name][key] = getattr(self.tokenizer, key, stated[key])
            merged[name] |= groups[name]
            for key, value in {**merged["common_kwargs"], **kwargs}.items():
                if key in known:
                    merged[name][key] = value
            unknown = unknown - known
        if unknown:
            warnings.warn(f"CLIPProcessor ignores unknown keywords: {', '.join(sorted(unknown))}", stacklevel=3)
        return {**merged, "audio_kwargs": {}, "videos_kwargs": {}}

    @classmethod
    def _read(cls, source: str | os.PathLike[str], options: HubOptions, keywords: dict[str, Any]) -> Self:
        """Load the image processor and the tokenizer from the same source."""
        for_images = {key: keywords.pop(key) for key in ARGUMENTS if key in keywords}
        tokenizer_class = _tokenizer_class(keywords.pop("use_fast", None))
        return cls(
            CLIPImageProcessor.from_pretrained(source, **options, **for_images),
            tokenizer_class.from_pretrained(source, **options, **keywords),
        )

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        push_to_hub: bool = False,
        legacy_serialization: bool = True,
        **kwargs: Any,
    ) -> list[str]:
        """Write the files of both into a folder, all or none, in a form that transformers 4.57 also reads.

        Args:
            save_directory: the folder, created if missing.
            push_to_hub: then upload the folder, to `repo_id` or under the folder's name.
            legacy_serialization: write the image processor into its own `preprocessor_config.json`; False writes it
                into `processor_config.json` instead.
            **kwargs: `repo_id` and the keywords of `clip_core.hub.upload_folder`.

        Returns:
            The path of the `processor_config.json`, if there is one, in a list.
        """
        # If both files exist, transformers reads the image processor from its own. Files left from an earlier
        # tokenizer, such as a fast one's tokenizer.json, would describe that one.
        replaced = (PROCESSOR_NAME if legacy_serialization else PREPROCESSOR_NAME, *TOKENIZER_FILES)
        with staged(save_directory, replaces=pattern_of(replaced)) as staging:
            # Each part's file names the class that combines them; transformers' AutoProcessor looks it up.
            self.tokenizer._processor_class = type(self).__name__  # noqa: SLF001
            self.tokenizer.save_pretrained(staging)
            if legacy_serialization:
                self.image_processor._processor_class = type(self).__name__  # noqa: SLF001
                self.image_processor.save_pretrained(staging)
            else:
                (staging / PROCESSOR_NAME).write_text(self.to_json_string(legacy_serialization=False), encoding="utf-8")
        if push_to_hub:
            upload_saved(save_directory, **kwargs)
        return [] if legacy_serialization else [str(Path(save_directory) / PROCESSOR_NAME)]

    def to_dict(self, legacy_serialization: bool = True) -> dict[str, Any]:
        """Return the processor's own settings.

        Args:
            legacy_serialization: omit the image processor's settings; False includes them.
        """
        own = {"processor_class": type(self).__name__}
        return own if legacy_serialization else {**own, "image_processor": self.image_processor.to_dict()}

    def to_json_string(self, legacy_serialization: bool = True) -> str:
        """Return `to_dict` as JSON.

        Args:
            legacy_serialization: as in `to_dict`.
        """
        content = self.to_dict()
        if not legacy_serialization:
            content["image_processor"] = json.loads(self.image_processor.to_json_string())  # arrays as lists
        return json_text(content)

    def to_json_file(self, json_file_path: str | os.PathLike[str], legacy_serialization: bool = True) -> None:
        """Write `to_json_string` to a file, atomically.

        Args:
            json_file_path: the file.
            legacy_serialization: as in `to_dict`.
        """
        write_text(json_file_path, self.to_json_string(legacy_serialization))

    @property
    def model_input_names(self) -> list[str]:
        """The names of a call's results: `pixel_values` and the tokenizer's."""
        return [*self.image_processor.model_input_names, *self.tokenizer.model_input_names]

    @property
    def feature_extractor(self) -> Any:
        """The deprecated name of `image_processor`."""
        warnings.warn("feature_extractor is deprecated; use image_processor", FutureWarning, stacklevel=2)
        return self.image_processor

    @property
    def feature_extractor_class(self) -> tuple[str, str]:
        """The deprecated name of `image_processor_class`."""
        warnings.warn("feature_extractor_class is deprecated; use image_processor_class", FutureWarning, stacklevel=2)
        return self.image_processor_class

    def __repr__(self) -> str:
        return f"{type(self).__name__}:\n- image_processor: {self.image_processor!r}\n- tokenizer: {self.tokenizer!r}"


# Evaluated annotations, for code that reads the keywords from the signature, as it can in transformers.
CLIPProcessor.__call__.__annotations__["kwargs"] = Unpack[CLIPProcessorKwargs]


def _tokenizer_class(use_fast: bool | None) -> type[CLIPTokenizerBase]:
    if use_fast is False:
        from clip_core.tokenization import CLIPTokenizer

        return CLIPTokenizer
    from clip_core.tokenization.fast import CLIPTokenizerFast

    return CLIPTokenizerFast


def _is_text(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, str)
