"""The configuration and the preprocessing beside a checkpoint's weights, in any library's form."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.configuration.files import CONFIG_NAME, read_config
from clip_core.hub import find_file, split_hub_options
from clip_core.hub.files import read_json
from clip_core.hub.targets import expanded, given_path
from clip_core.images.files import PREPROCESSOR_NAME, PROCESSOR_NAME, read_image_processor
from clip_core.modeling.parameters import MODEL_CLASSES, plain_class_name
from converters.checkpoint import CheckpointError, open_checkpoint
from converters.formats import FORMATS, companions_of
from converters.sidecars.companions import TRANSFORMERS_FILES, Companions, Description
from converters.sidecars.openai import HEAD_WIDTH, config_from_shapes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from typing import Unpack

    from clip_core.configuration import CLIPConfig
    from clip_core.hub import HubOptions
    from clip_core.images.processor import CLIPImageProcessor
    from clip_core.modeling.parameters import AnyConfig
    from converters.checkpoint import Checkpoint
    from converters.naming.rules import Layout

# The value of `Description.origin` for a configuration that no file states.
FROM_SHAPES = "the shapes of the weights, as in OpenAI's code"


def describe(checkpoint: Checkpoint, source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> Description:
    """Return the configuration and the preprocessing of a checkpoint.

    Of several files that state a configuration, the one of the libraries that use the layout of the weights is read.
    Without any, the shapes of the weights determine the configuration, as in OpenAI's code.

    Args:
        checkpoint: the weights.
        source: the folder, file or hub id that they came from.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Raises:
        FileNotFoundError: there is no configuration, and the weights do not imply one; the message names a file given.
        ValueError: a file is damaged, or describes another architecture.
    """
    given = source
    source, options = beside(source, options)
    path, companions = _stated(source, companions_of(checkpoint.layout), options)
    if path is not None and companions.config is not None:
        return _from_file(path, companions, companions.config, checkpoint)
    if path is None and (config := _config_of_shapes(checkpoint)) is not None:
        return _from_shapes(config, checkpoint, source, options)
    if path is None and source is not given:
        raise FileNotFoundError(
            f"{given} has no {CONFIG_NAME} beside it, and its weights do not imply one: OpenAI's CLIP has widths that "
            f"are multiples of {HEAD_WIDTH}; copy its {CONFIG_NAME} into {source}"
        )
    content = read_config(source, **options)
    architectures = content.get("architectures")
    class_name = class_of(checkpoint, architectures if isinstance(architectures, list) else ())
    config = MODEL_CLASSES[class_name].from_pretrained(source, **options)
    return Description(config, class_name, CONFIG_NAME, _preprocessing(source, **options))


def beside(source: str | os.PathLike[str], options: HubOptions) -> tuple[str | os.PathLike[str], HubOptions]:
    """Return the source and options for the files beside a checkpoint; the source of a weight file is its folder."""
    path = expanded(given_path(source))
    if not path.is_file():
        return source, options
    return path.parent, {**options, "subfolder": None}


def config_from_pretrained(
    config_class: type[AnyConfig], source: str | os.PathLike[str], **kwargs: Any
) -> tuple[Any, dict[str, Any]]:
    """Return the configuration and the unused keywords, for checkpoints of all formats.

    This is `config_class.from_pretrained(source, return_unused_kwargs=True, **kwargs)`. Without a config.json, the
    configuration is derived from open_clip's, or from the shapes of the weights, as in OpenAI's code.
    """
    fields = dict(kwargs)
    options = split_hub_options(fields)
    if Path(source).name.endswith(".index.json"):  # the index of the weights, not a configuration
        source, kwargs["subfolder"] = expanded(given_path(source)).parent, None
    config = None if find_file(source, CONFIG_NAME, **options) else _config_elsewhere(source, **options)
    if config is None:
        return config_class.from_pretrained(source, return_unused_kwargs=True, **kwargs)  # type: ignore[no-any-return]
    return config_class.from_dict(config.to_dict(), return_unused_kwargs=True, **fields)  # type: ignore[no-any-return]


def class_of(checkpoint: Checkpoint, architectures: Iterable[str]) -> str:
    """Return the model class of a checkpoint, from its configuration or otherwise from the names of its tensors.

    Raises:
        CheckpointError: the checkpoint contains neither tower.
    """
    for name in map(str, architectures):
        if plain_class_name(name) in MODEL_CLASSES:
            return plain_class_name(name)
    roots = {name.partition(".")[0] for name in checkpoint}
    for class_name, needed in (
        ("CLIPForImageClassification", {"vision_model", "classifier"}),
        ("CLIPModel", {"text_model", "vision_model"}),
        ("CLIPTextModelWithProjection", {"text_model", "text_projection"}),
        ("CLIPVisionModelWithProjection", {"vision_model", "visual_projection"}),
        ("CLIPTextModel", {"text_model"}),
        ("CLIPVisionModel", {"vision_model"}),
    ):
        if needed <= roots:
            return class_name
    shown = ", ".join(list(checkpoint)[:3]) or "nothing"
    raise CheckpointError(f"{checkpoint.source} contains neither tower of CLIP; its tensors are {shown} and so on")


def _stated(
    source: str | os.PathLike[str], candidates: Iterable[Companions], options: HubOptions
) -> tuple[Path | None, Companions]:
    """Return the first file of a source that states a configuration, or None, and the companions that it belongs to."""
    by_name = {one.config_name: one for one in candidates if one.config_name is not None}
    path = find_file(source, list(by_name), **options)
    return path, TRANSFORMERS_FILES if path is None else by_name[path.name]


def _from_file(
    path: Path, companions: Companions, read: Callable[[Any], CLIPConfig], checkpoint: Checkpoint
) -> Description:
    """Return the description in a file that another library's configuration comes from."""
    content = read_json(path)
    try:
        config = read(content)
        preprocessing = companions.preprocessing and companions.preprocessing(content, config.vision_config.image_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Description(config, class_of(checkpoint, ()), path.name, preprocessing)


def _implied(layout: Layout) -> Companions | None:
    """Return the companions of a library whose weights in this layout need no configuration; None if there is none."""
    own = (format_.companions for format_ in FORMATS if format_.layout is layout)
    return next((companions for companions in own if companions.config_name is None), None)


def _config_of_shapes(checkpoint: Checkpoint) -> CLIPConfig | None:
    """Return the configuration that the shapes of the weights imply; None if OpenAI's code does not accept them.

    Raises:
        ValueError: OpenAI's code does not accept the weights, but their layout is one that needs no configuration.
    """
    try:
        config = config_from_shapes(checkpoint)
    except ValueError:
        if _implied(checkpoint.layout) is not None:
            raise
        return None  # the caller's error requests config.json
    if not any(name.endswith("input_resolution") for name in checkpoint.constants):  # OpenAI's files contain it
        files = dict.fromkeys(format_.companions.config_name for format_ in FORMATS)
        warnings.warn(
            f"{checkpoint.source} is assumed to be OpenAI's, with quick_gelu and heads of width {HEAD_WIDTH}, because "
            "no file states this; if open_clip trained it, as it did the text encoders of Stable Diffusion 2 and XL, "
            f"put its {' or '.join(filter(None, files))} beside it, or pass hidden_act='gelu' to the class of a tower",
            stacklevel=4,
        )
    return config


def _from_shapes(
    config: CLIPConfig, checkpoint: Checkpoint, source: str | os.PathLike[str], options: HubOptions
) -> Description:
    class_name = class_of(checkpoint, ())
    own_config = MODEL_CLASSES[class_name].from_dict(config.to_dict())
    preprocessing = _preprocessing(source, **options)
    implied = _implied(checkpoint.layout)
    if preprocessing is None and implied is not None and implied.preprocessing and "Text" not in class_name:
        preprocessing = implied.preprocessing(None, config.vision_config.image_size)
    return Description(own_config, class_name, FROM_SHAPES, preprocessing)


def _config_elsewhere(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> CLIPConfig | None:
    """Return the configuration of a source without config.json; None if no other file states it."""
    others = [format_.companions for format_ in FORMATS if format_.companions.config is not None]
    path, companions = _stated(source, others, options)
    if path is not None and companions.config is not None:
        try:
            return companions.config(read_json(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    try:
        checkpoint = open_checkpoint(source, **options)
    except FileNotFoundError:
        return None  # the caller's error requests config.json
    return _config_of_shapes(checkpoint)


def _preprocessing(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> CLIPImageProcessor | None:
    if find_file(source, [PREPROCESSOR_NAME, PROCESSOR_NAME], **options) is None:
        return None
    from clip_core.images.processor import CLIPImageProcessor

    path, content = read_image_processor(source, **options)
    try:
        processor: CLIPImageProcessor = CLIPImageProcessor.from_dict(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return processor
