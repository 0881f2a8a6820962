"""How the three configurations are read and written, in the format of transformers' `config.json`."""

from __future__ import annotations

import inspect
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from clip_core.configuration_fields import ConfigFields
from clip_core.configuration_reading import CONFIG_NAME, own_part, read_config
from clip_core.files import read_json, write_text
from clip_core.hub import split_hub_options, upload_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

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


class BaseConfig(ConfigFields):
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
            upload_folder(save_directory, kwargs.pop("repo_id", Path(save_directory).name), **kwargs)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload `config.json` to a repository on the hub; returns the commit's address.

        Args:
            repo_id: such as "user/my-clip"; made where it is missing.
            **kwargs: the keywords of `clip_core.hub.upload_folder`.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload_folder(folder, repo_id, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"
