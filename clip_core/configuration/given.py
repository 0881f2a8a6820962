"""Configurations passed to a model class: its own, its tower's part of a full one, or one from transformers."""

from __future__ import annotations

from typing import Any

from clip_core.configuration.clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

_CLASSES: dict[str, type[Any]] = {
    config_class.model_type: config_class for config_class in (CLIPConfig, CLIPTextConfig, CLIPVisionConfig)
}


def own_config(config: Any, config_class: type[Any], class_name: str) -> Any:
    """Return the configuration for a model class: as given, converted, or a tower's part of a full one.

    Args:
        config: the configuration given.
        config_class: the configuration class that the model takes.
        class_name: name of the model class, for the message.

    Raises:
        TypeError: if it is something else.
    """
    given = config
    config = _from_transformers(config)
    if isinstance(config, CLIPConfig) and not issubclass(config_class, CLIPConfig):
        full, tower = config, getattr(config, config_class.base_config_key)
        # Read again rather than reused, because the projection in a full model has the size stated at the top level.
        config = config_class.from_dict(full.to_dict(), attn_implementation=tower.attn_implementation)
        if full.gradient_checkpointing:
            config.gradient_checkpointing = True
    if not isinstance(config, config_class):
        raise TypeError(f"{class_name} takes a {_full_name(config_class)}, not a {_full_name(type(given))}")
    return config


def _from_transformers(config: Any) -> Any:
    """Convert a configuration from transformers to one of ours; return anything else unchanged."""
    own = _CLASSES.get(getattr(config, "model_type", ""))
    if own is None or isinstance(config, own) or not hasattr(config, "to_dict"):
        return config
    parts = {key: getattr(config, key)._attn_implementation for key in own.sub_configs}  # noqa: SLF001  its name there
    return own.from_dict(config.to_dict(), attn_implementation={"": config._attn_implementation, **parts})  # noqa: SLF001


def _full_name(config_class: type[Any]) -> str:
    return f"{config_class.__module__}.{config_class.__qualname__}"
