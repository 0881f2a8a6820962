"""Reading and writing the three configurations, in the format of transformers' `config.json`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from clip_core.configuration.fields import ConfigFields
from clip_core.configuration.foreign import foreign_family
from clip_core.hub import require_file, split_hub_options
from clip_core.hub.files import read_json, write_text
from clip_core.hub.pushable import Pushable, upload_saved

if TYPE_CHECKING:
    import os
    from typing import Unpack

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


# Fields that every configuration has, with their defaults; a file holds those that differ.
_COMMON_DEFAULTS: dict[str, Any] = {
    "architectures": None,
    "bos_token_id": None,
    "dtype": None,
    "eos_token_id": None,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "missing_eos": "first",
    "output_attentions": False,
    "output_hidden_states": False,
    "pad_token_id": None,
    "problem_type": None,
    "pruned_heads": {},
    "return_dict": True,
    "tie_word_embeddings": True,
    "torchscript": False,
    "transformers_version": None,
}


class BaseConfig(ConfigFields, Pushable):
    """A configuration that can be read and written; see `ConfigFields` for its arguments."""

    # Reading

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = "main",
        **kwargs: Any,
    ) -> Any:
        """Read a config.json. A tower's class reads its part of a full config too.

        Args:
            pretrained_model_name_or_path: a local folder, the file itself, or a hub id.
            cache_dir: see `clip_core.hub.HubOptions`, as for all that follow.
            force_download: download again what is in the cache.
            local_files_only: do not ask the hub.
            token: for private repositories.
            revision: a branch, a tag or a commit.
            **kwargs: `subfolder`; fields to set in place of what the file says; and `return_unused_kwargs=True` for
                `(config, those of the keywords that are no field)`.

        Raises:
            FileNotFoundError: there is no such file, folder or repository.
            ValueError: the file is damaged, holds a field that is not valid, or describes another kind of model.
        """
        kwargs |= {"cache_dir": cache_dir, "force_download": force_download, "local_files_only": local_files_only}
        content, kwargs = cls.get_config_dict(pretrained_model_name_or_path, token=token, revision=revision, **kwargs)
        if not content.keys() & {"model_type", cls.base_config_key, *inspect.signature(cls).parameters}:
            raise ValueError(
                f"{pretrained_model_name_or_path}: its {CONFIG_NAME} states no model_type and no field of "
                f"{cls.__name__}; is it a CLIP checkpoint?"
            )
        try:
            return cls.from_dict(content, **kwargs)
        except ValueError as error:
            raise ValueError(f"{pretrained_model_name_or_path}: {error}") from error

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content of a config.json as it stands, and the keywords that do not say where to find it."""
        options = split_hub_options(kwargs)
        return read_config(pretrained_model_name_or_path, **options), kwargs

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """A configuration from the content of a config.json; keywords as in `from_pretrained`."""
        return_unused = kwargs.pop("return_unused_kwargs", False)
        if "torch_dtype" in kwargs:
            kwargs.setdefault("dtype", kwargs.pop("torch_dtype"))
        fields = own_part(cls, config_dict)
        if fields.get("projection_dim") is None:  # which says nothing, even where it is there
            fields.pop("projection_dim", None)
        config = cls(**{**fields, "attn_implementation": kwargs.pop("attn_implementation", None)})
        overrides = {key: value for key, value in kwargs.items() if config._has_field(key)}
        config.update(overrides)
        if "projection_dim" not in fields.keys() | overrides.keys():
            config.projection_dim_stated = False
        # As in transformers, dtype is a field and a keyword of the model's loader both.
        unused = {key: value for key, value in kwargs.items() if key == "dtype" or key not in overrides}
        return (config, unused) if return_unused else config

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Self:
        """A configuration from a JSON file of its own fields."""
        return cls(**read_json(json_file))

    # Writing

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields that a file has to hold: the model's own, and the common ones that differ from their defaults."""
        fields = self.to_dict()
        del fields["_name_or_path"]
        for key in self.sub_configs:
            fields[key] = getattr(self, key).to_diff_dict()
        own_defaults = type(self)().to_dict()
        changed = {
            key
            for key, default in _COMMON_DEFAULTS.items()
            if key in fields and (fields[key] != default or fields[key] != own_defaults[key])
        }
        if changed & {"id2label", "label2id"}:  # a file holds both or neither: one is read by the other
            changed |= {"id2label", "label2id"}
        return {key: value for key, value in fields.items() if key not in _COMMON_DEFAULTS or key in changed}

    def to_json_string(self, use_diff: bool = True) -> str:
        """The content of a config.json: `to_diff_dict`, or `to_dict` without `use_diff`."""
        return json.dumps(self.to_diff_dict() if use_diff else self.to_dict(), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write `to_json_string` to a file, atomically."""
        write_text(json_file_path, self.to_json_string(use_diff))

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write `config.json` into a folder, atomically; transformers 4.57 reads it too.

        Args:
            save_directory: the folder; made where it is missing.
            push_to_hub: upload the folder after that, to `repo_id` or the folder's name.
            **kwargs: `repo_id` and the keywords of `clip_core.hub.upload_folder`.
        """
        self.to_json_file(Path(save_directory) / CONFIG_NAME)
        if push_to_hub:
            upload_saved(save_directory, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"
