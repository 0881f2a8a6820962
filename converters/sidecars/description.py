"""The configuration and the preprocessing beside a checkpoint's weights, in any library's form."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.configuration.files import CONFIG_NAME, read_config
from clip_core.hub import find_file, split_hub_options
from clip_core.hub.files import read_json
from clip_core.hub.targets import given_path
from clip_core.images.files import PREPROCESSOR_NAME, PROCESSOR_NAME, read_image_processor
from clip_core.modeling.parameters import MODEL_CLASSES, plain_class_name
from converters.checkpoint import CheckpointError, open_checkpoint
from converters.naming.rules import OPENAI
from converters.sidecars.open_clip import config_from_open_clip
from converters.sidecars.openai import config_from_shapes

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from typing import Unpack

    from clip_core.configuration import CLIPConfig
    from clip_core.hub import HubOptions
    from clip_core.images.processor import CLIPImageProcessor
    from clip_core.modeling.parameters import AnyConfig
    from converters.checkpoint import Checkpoint

OPEN_CLIP_CONFIG_NAME = "open_clip_config.json"

# The value of `Description.origin` for a configuration that no file states.
FROM_SHAPES = "the shapes of the weights, as in OpenAI's code"


@dataclass
class Description:
    """The description of a checkpoint's model.

    Attributes:
        config: the configuration.
        class_name: the model class.
        origin: the name of the file that the configuration was read from, or FROM_SHAPES.
        preprocessing: the image processor; None if no file states the preprocessing.
    """

    config: AnyConfig
    class_name: str
    origin: str
    preprocessing: CLIPImageProcessor | None


def describe(checkpoint: Checkpoint, source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> Description:
    """Return the configuration and the preprocessing of a checkpoint.

    Weights in OpenAI's layout use open_clip's configuration if there is one; other weights use config.json. Without
    either, the shapes of the weights determine the configuration, as in OpenAI's code.

    Args:
        checkpoint: the weights.
        source: the folder, file or hub id that they came from.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Raises:
        FileNotFoundError: there is no configuration, and the weights do not imply one.
        ValueError: a file is damaged, or describes another architecture.
    """
    source, options = beside(source, options)
    names = [CONFIG_NAME, OPEN_CLIP_CONFIG_NAME]
    path = find_file(source, names[::-1] if checkpoint.layout is OPENAI else names, **options)
    if path is not None and path.name == OPEN_CLIP_CONFIG_NAME:
        return _from_open_clip(path, checkpoint)
    if path is None and (config := _config_of_shapes(checkpoint)) is not None:
        return _from_shapes(config, checkpoint, source, options)
    content = read_config(source, **options)
    architectures = content.get("architectures")
    class_name = class_of(checkpoint, architectures if isinstance(architectures, list) else ())
    config = MODEL_CLASSES[class_name].from_pretrained(source, **options)
    return Description(config, class_name, CONFIG_NAME, _preprocessing(source, **options))


def beside(source: str | os.PathLike[str], options: HubOptions) -> tuple[str | os.PathLike[str], HubOptions]:
    """Return the source and options for the files beside a checkpoint; the source of a weight file is its folder."""
    path = given_path(source).expanduser()
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
        source, kwargs["subfolder"] = given_path(source).expanduser().parent, None
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


def _from_open_clip(path: Any, checkpoint: Checkpoint) -> Description:
    from converters.sidecars.preprocessing import preprocessing_from_open_clip

    content = read_json(path)
    try:
        config = _open_clip_config(content)
        settings = content.get("preprocess_cfg") or {}
        preprocessing = preprocessing_from_open_clip(settings, config.vision_config.image_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Description(config, class_of(checkpoint, ()), OPEN_CLIP_CONFIG_NAME, preprocessing)


def _open_clip_config(content: Any) -> CLIPConfig:
    if not isinstance(content, dict) or not isinstance(content.get("model_cfg"), dict):
        raise ValueError("it lacks open_clip's model_cfg")  # noqa: TRY004  the file is at fault
    return config_from_open_clip(content["model_cfg"])


def _config_of_shapes(checkpoint: Checkpoint) -> CLIPConfig | None:
    """Return the configuration that the shapes of the weights imply; None if OpenAI's code does not accept them.

    Raises:
        ValueError: the weights are in OpenAI's layout, but OpenAI's code does not accept them.
    """
    try:
        config = config_from_shapes(checkpoint)
    except ValueError:
        if checkpoint.layout is OPENAI:
            raise
        return None  # the caller's error requests config.json
    if not any(name.endswith("input_resolution") for name in checkpoint.constants):  # OpenAI's files contain it
        warnings.warn(
            f"{checkpoint.source} is assumed to be OpenAI's, with quick_gelu and heads of width 64, because no file "
            "states "
            f"this; if open_clip trained it, as it did the text encoders of Stable Diffusion 2 and XL, put its "
            f"{CONFIG_NAME} or {OPEN_CLIP_CONFIG_NAME} beside it, or pass hidden_act='gelu' to the class of a tower",
            stacklevel=4,
        )
    return config


def _from_shapes(
    config: CLIPConfig, checkpoint: Checkpoint, source: str | os.PathLike[str], options: HubOptions
) -> Description:
    from converters.sidecars.preprocessing import openai_preprocessing

    class_name = class_of(checkpoint, ())
    own_config = MODEL_CLASSES[class_name].from_dict(config.to_dict())
    preprocessing = _preprocessing(source, **options)
    if preprocessing is None and checkpoint.layout is OPENAI and "Text" not in class_name:
        preprocessing = openai_preprocessing(config.vision_config.image_size)
    return Description(own_config, class_name, FROM_SHAPES, preprocessing)


def _config_elsewhere(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> CLIPConfig | None:
    """Return the configuration of a source without config.json; None if no other file states it."""
    path = find_file(source, OPEN_CLIP_CONFIG_NAME, **options)
    if path is not None:
        try:
            return _open_clip_config(read_json(path))
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
