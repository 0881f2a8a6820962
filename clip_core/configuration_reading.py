"""From the content of a config.json to the arguments of a configuration class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clip_core.files import read_json
from clip_core.foreign import foreign_family
from clip_core.hub import require_file

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from clip_core.configuration_fields import ConfigFields
    from clip_core.hub import HubOptions

CONFIG_NAME = "config.json"
FULL_MODEL_TYPE = "clip"

_INSTEAD = {
    FULL_MODEL_TYPE: "it is a full model: use CLIPConfig",
    "clip_text_model": "it is a text tower alone: use CLIPTextConfig, and CLIPTextModel or CLIPTextModelWithProjection",
    "clip_vision_model": (
        "it is a vision tower alone: use CLIPVisionConfig, and CLIPVisionModel or CLIPVisionModelWithProjection"
    ),
}


def read_config(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> dict[str, Any]:
    """The content of a source's config.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no JSON object.
    """
    path = require_file(source, CONFIG_NAME, **options)
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object, as a configuration is")  # noqa: TRY004  the file is at fault
    return content


def own_part(config_class: type[ConfigFields], content: Mapping[str, Any]) -> dict[str, Any]:
    """What is meant for a class: all, or for a tower's class out of a full config, its tower's part.

    The projection in a full checkpoint has the size that the top level states, whatever the tower's part says; only
    where the top level is silent does the tower's own count.

    Raises:
        ValueError: the config is that of another kind of model.
    """
    key = config_class.base_config_key
    is_full = key and (content.get("model_type") == FULL_MODEL_TYPE or key in content or f"{key}_dict" in content)
    if not is_full:
        _refuse_others(content, config_class.model_type, config_class)
        return dict(content)
    tower = merged_tower(config_class, content.get(key), content.get(f"{key}_dict"))
    # Another model, such as LLaVA, may hold a tower of CLIP, where that says so.
    if content.get("model_type") in {None, FULL_MODEL_TYPE} or tower.get("model_type") != config_class.model_type:
        _refuse_others(content, FULL_MODEL_TYPE, config_class)
        if content.get("projection_dim") is not None:
            tower["projection_dim"] = content["projection_dim"]
    return tower


def merged_tower(
    config_class: type[ConfigFields], tower: Mapping[str, Any] | ConfigFields | None, legacy: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A tower's arguments from `text_config` and the `text_config_dict` of old files, which has the last word.

    As in transformers, the defaults too of what the old one leaves out override the new one.
    """
    key = config_class.base_config_key
    fields = _as_dict(tower, key)
    _refuse_others(fields, config_class.model_type, config_class)
    if legacy is None:
        return fields
    old = _as_dict(legacy, f"{key}_dict")
    merged = {**fields, **config_class(**old).to_dict()}
    if "projection_dim" not in fields.keys() | old.keys():
        del merged["projection_dim"]  # a default is no statement
    return merged


def _as_dict(tower: Any, key: str) -> dict[str, Any]:
    fields = {} if tower is None else tower.to_dict() if hasattr(tower, "to_dict") else tower
    if not isinstance(fields, Mapping):
        raise ValueError(f"{key}={tower!r} is not valid; it has to be a dict")  # noqa: TRY004  the file is at fault
    return dict(fields)


def _refuse_others(content: Mapping[str, Any], wanted: str, config_class: type[ConfigFields]) -> None:
    family = foreign_family(content)
    if family is not None:
        raise ValueError(f"this is no CLIP but {family}. {config_class.__name__} reads model_type {wanted!r}")
    model_type = content.get("model_type", wanted)
    if model_type != wanted:
        instead = _INSTEAD.get(str(model_type), "it is another kind of model, which clip-zoo does not load")
        raise ValueError(
            f"model_type={model_type!r} is not the {wanted!r} that {config_class.__name__} reads; {instead}"
        )
