"""Reading and writing of the three configurations, in the format of transformers' `config.json`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from clip_core.configuration.arguments import check_keys
from clip_core.configuration.fields import ConfigFields
from clip_core.configuration.foreign import foreign_family
from clip_core.hub import require_file, split_hub_options
from clip_core.hub.files import json_text, read_json_object, write_text
from clip_core.hub.printing import shortened
from clip_core.hub.pushable import Pushable, upload_saved
from clip_core.hub.readable import Readable
from clip_core.hub.repository import commit_of
from clip_core.hub.targets import given_path

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from clip_core.hub import HubOptions


CONFIG_NAME = "config.json"
FULL_MODEL_TYPE = "clip"

_INSTEAD = {
    FULL_MODEL_TYPE: "it is a full model: use CLIPConfig",
    "clip_text_model": "it is only a text tower: use CLIPTextConfig, and CLIPTextModel or CLIPTextModelWithProjection",
    "clip_vision_model": (
        "it is only a vision tower: use CLIPVisionConfig, and CLIPVisionModel or CLIPVisionModelWithProjection"
    ),
}


def read_config(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> dict[str, Any]:
    """Return the content of a source's config.json.

    Args:
        source: a local folder, the file itself, or a hub id.
        **options: see `clip_core.hub.HubOptions`.

    Raises:
        FileNotFoundError: if there is no config.json.
        ValueError: if it is not a JSON object.
    """
    return read_json_object(require_file(source, CONFIG_NAME, **options))


def own_part(config_class: type[ConfigFields], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config for a class: all of it or, for a tower's class, that tower's part of a full config.

    In a full checkpoint, the projection size at the top level takes precedence. The tower's own value counts only if
    the top level states none.

    Args:
        config_class: the configuration class.
        content: the content of a config.json.

    Raises:
        ValueError: if the config describes another kind of model.
    """
    check_keys(config_class, content)
    key = config_class.base_config_key
    is_full = key and (content.get("model_type") == FULL_MODEL_TYPE or key in content or f"{key}_dict" in content)
    if not is_full:
        _refuse_others(content, config_class.model_type, config_class)
        return dict(content)
    tower = merged_tower(config_class, content.get(key), content.get(f"{key}_dict"))
    # Another model, such as LLaVA, may contain a CLIP tower and state its model_type.
    if content.get("model_type") in {None, FULL_MODEL_TYPE} or tower.get("model_type") != config_class.model_type:
        _refuse_others(content, FULL_MODEL_TYPE, config_class)
        if content.get("projection_dim") is not None:
            tower["projection_dim"] = content["projection_dim"]
    return tower


def merged_tower(
    config_class: type[ConfigFields], tower: Mapping[str, Any] | ConfigFields | None, legacy: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Merge a tower's arguments from `text_config` and, with precedence, the `text_config_dict` of old files.

    As in transformers, defaults of fields omitted from the old dict also override the new one.

    Args:
        config_class: the tower's configuration class.
        tower: `text_config` or `vision_config`.
        legacy: `text_config_dict` or `vision_config_dict`.

    Raises:
        ValueError: if one is not a dict, or describes another kind of model.
    """
    key = config_class.base_config_key
    fields = _as_dict(tower, key)
    check_keys(config_class, fields)
    _refuse_others(fields, config_class.model_type, config_class)
    if legacy is None:
        return fields
    old = _as_dict(legacy, f"{key}_dict")
    check_keys(config_class, old)
    merged = {**fields, **config_class(**old).to_dict()}
    if "projection_dim" not in fields.keys() | old.keys():
        del merged["projection_dim"]  # a default states nothing
    return merged


def _as_dict(tower: Any, key: str) -> dict[str, Any]:
    fields = {} if tower is None else tower.to_dict() if hasattr(tower, "to_dict") else tower
    if not isinstance(fields, Mapping):
        raise ValueError(f"{key}={shortened(repr(tower))} is invalid; it must be a dict")  # noqa: TRY004  the file is at fault
    return dict(fields)


def _refuse_others(content: Mapping[str, Any], wanted: str, config_class: type[ConfigFields]) -> None:
    family = foreign_family(content)
    if family is not None:
        raise ValueError(f"this is not a CLIP model but {family}. {config_class.__name__} reads model_type {wanted!r}")
    model_type = content.get("model_type", wanted)
    shown = shortened(repr(model_type))
    # A subclass with its own type also reads the files of its base class.
    bases = {vars(base).get("model_type", wanted) for base in config_class.__mro__}
    if model_type not in [wanted, *bases]:
        instead = _INSTEAD.get(str(model_type), "it is another kind of model, which clip-zoo does not load")
        raise ValueError(f"model_type={shown} is not the {wanted!r} that {config_class.__name__} reads; {instead}")


# Fields about the model's origin or its training: in `to_dict`, but in no file.
_OF_THIS_PROCESS = ("_name_or_path", "gradient_checkpointing")

# Fields common to all configurations, with their defaults. A file holds only those that differ.
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


class BaseConfig(ConfigFields, Pushable, Readable):
    """A configuration that can be read and written; see `ConfigFields` for its arguments."""

    # Reading

    @classmethod
    def _read(cls, source: str | os.PathLike[str], options: HubOptions, keywords: dict[str, Any]) -> Any:
        """Read a config.json. A tower's class also reads its part of a full config."""
        content, keywords = cls.get_config_dict(source, **options, **keywords)
        if not content.keys() & {"model_type", cls.base_config_key, *inspect.signature(cls).parameters}:
            raise ValueError(
                f"{source}: its {CONFIG_NAME} has neither a model_type nor any field of {cls.__name__}; is it a CLIP "
                "checkpoint?"
            )
        try:
            result = cls.from_dict(content, **keywords)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        config = result[0] if isinstance(result, tuple) else result
        config._commit_hash = content.get("_commit_hash")  # noqa: SLF001  its name in transformers
        return result

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the unprocessed content of a config.json, and the keywords that are not hub options.

        A file from the hub comes with its `_commit_hash`.

        Args:
            pretrained_model_name_or_path: a local folder, the file itself, or a hub id.
            **kwargs: hub options and others.
        """
        path = require_file(pretrained_model_name_or_path, CONFIG_NAME, **split_hub_options(kwargs))
        commit = commit_of(path)
        return read_config(path) | ({} if commit is None else {"_commit_hash": commit}), kwargs

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Build a configuration from the content of a config.json.

        Args:
            config_dict: the file's content.
            **kwargs: as in `from_pretrained`.

        Returns:
            The configuration; with `return_unused_kwargs=True`, also the keywords that are not its fields.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        if "torch_dtype" in kwargs:
            kwargs.setdefault("dtype", kwargs.pop("torch_dtype"))
        fields = own_part(cls, config_dict)
        if fields.get("projection_dim") is None:  # null states nothing
            fields.pop("projection_dim", None)
        config = cls(**{**fields, "attn_implementation": kwargs.pop("attn_implementation", None)})
        overrides = {key: value for key, value in kwargs.items() if config._has_field(key)}
        if isinstance(overrides.get("dtype"), Mapping) or str(overrides.get("dtype")) == "auto":
            del overrides["dtype"]  # an instruction to a loader, not a dtype
        config.update(overrides)
        if "projection_dim" not in fields.keys() | overrides.keys():
            config.projection_dim_stated = False
        # As in transformers, dtype is both a field and a keyword of the model's loader.
        unused = {key: value for key, value in kwargs.items() if key == "dtype" or key not in overrides}
        return (config, unused) if return_unused else config

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Self:
        """Read a configuration from a JSON file of its own fields.

        Args:
            json_file: the file.

        Returns:
            The configuration.
        """
        return cls(**read_json_object(json_file))

    # Writing

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the fields to write to a file: the model's own, and common ones that differ from their defaults."""
        fields = self.to_dict()
        for key in _OF_THIS_PROCESS:
            fields.pop(key, None)
        for key in self.sub_configs:
            fields[key] = getattr(self, key).to_diff_dict()
        own_defaults = type(self)().to_dict()
        changed = {
            key
            for key, default in _COMMON_DEFAULTS.items()
            if key in fields and (fields[key] != default or fields[key] != own_defaults[key])
        }
        if changed & {"id2label", "label2id"}:  # a file holds both or neither; each follows from the other
            changed |= {"id2label", "label2id"}
        return {key: value for key, value in fields.items() if key not in _COMMON_DEFAULTS or key in changed}

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the content of a config.json.

        Args:
            use_diff: write `to_diff_dict` rather than `to_dict`.
        """
        return json_text(self.to_diff_dict() if use_diff else self.to_dict())

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write `to_json_string` to a file, atomically.

        Args:
            json_file_path: the file.
            use_diff: as in `to_json_string`.
        """
        write_text(json_file_path, self.to_json_string(use_diff))

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write `config.json` into a folder, atomically, in a form that transformers 4.57 also reads.

        Args:
            save_directory: the folder, created if missing.
            push_to_hub: then upload the folder, to `repo_id` or under the folder's name.
            **kwargs: `repo_id` and the keywords of `clip_core.hub.upload_folder`.
        """
        self.to_json_file(given_path(save_directory) / CONFIG_NAME)
        if push_to_hub:
            upload_saved(save_directory, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"
