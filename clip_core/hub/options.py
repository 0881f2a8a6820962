"""Hub options: the keywords that locate a file on the Hugging Face hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

DEFAULT_MODEL = "openai/clip-vit-base-patch32"  # of the commands and tasks


class HubOptions(TypedDict, total=False):
    """The options that locate a file on the hub. For a local source, only `subfolder` has an effect.

    Attributes:
        revision: a branch, tag or commit; `main` by default.
        subfolder: a folder inside the repository or the local folder.
        cache_dir: the download cache; by default under `HF_HOME`.
        token: for private repositories; True or None for the one stored by `hf auth login`, False for none.
        local_files_only: use only the cache, as `HF_HUB_OFFLINE=1` does for the whole process.
        force_download: download again even if cached.
    """

    revision: str | None
    subfolder: str | None
    cache_dir: str | os.PathLike[str] | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool


# Keywords in code written for transformers that have no meaning here, whatever their value.
_OBSOLETE = frozenset(
    {
        "_commit_hash",
        "_fast_init",
        "_from_auto",
        "_from_pipeline",
        "adapter_name",
        "code_revision",
        "from_flax",
        "from_pt",
        "from_tf",
        "generation_config",
        "low_cpu_mem_usage",
        "mirror",
        "proxies",
        "resume_download",
        "trust_remote_code",
        "weights_only",
    }
)

# Keywords of transformers' loaders that request something unless they are empty -> what to do instead.
LOADER_KEYWORDS = {
    "_adapter_model_path": "load adapters into the model with PEFT",
    "adapter_kwargs": "load adapters into the model with PEFT",
    "device_mesh": "distribute the model by its framework, once loaded",
    "device_map": "choose the device by the framework itself",
    "distributed_config": "distribute the model by its framework, once loaded",
    "gguf_file": "convert the file to safetensors first",
    "key_mapping": "rename the tensors and pass them as state_dict",
    "load_in_4bit": "quantize the loaded model, such as with torchao",
    "load_in_8bit": "quantize the loaded model, such as with torchao",
    "load_weight_prefix": "set base_model_prefix in a subclass that holds the model",
    "max_memory": "a model is loaded whole, onto one device",
    "offload_buffers": "a model is loaded whole, onto one device",
    "offload_folder": "a model is loaded whole, onto one device",
    "offload_state_dict": "weights are read from the mapped file, so there is no copy to offload",
    "quantization_config": "quantize the loaded model, such as with torchao",
    "tf_to_pt_weight_rename": "rename the tensors of the file first",
    "tp_plan": "distribute the model by its framework, once loaded",
    "tp_size": "distribute the model by its framework, once loaded",
    "use_flash_attention_2": 'pass attn_implementation="flash_attention_2"',
    "use_kernels": "choose a kernel with attn_implementation",
}


def refuse_loader_keywords(kwargs: Mapping[str, Any], class_name: str) -> None:
    """Check that no keyword requests a feature of transformers' loaders that this loader lacks.

    Args:
        kwargs: the keywords of a call, without the hub options.
        class_name: name of the class that is loaded, for the message.

    Raises:
        TypeError: if one does. The message says what to do instead.
    """
    for name in LOADER_KEYWORDS.keys() & kwargs.keys():
        raise TypeError(f"{class_name}.from_pretrained does not take {name}={kwargs[name]!r}; {LOADER_KEYWORDS[name]}")


def adopt_old_token(kwargs: dict[str, Any]) -> None:
    """Rename `use_auth_token`, the old name of `token`, in place.

    Args:
        kwargs: the keywords of a call.

    Raises:
        ValueError: if both are given, and differ.
    """
    old_token = kwargs.pop("use_auth_token", None)
    if old_token is None:
        return
    if kwargs.get("token") not in {None, old_token}:
        raise ValueError("token and its old name use_auth_token are both given; pass only token")
    kwargs["token"] = old_token


def split_hub_options(kwargs: dict[str, Any]) -> HubOptions:
    """Remove the hub options from `kwargs` in place and return them.

    Keywords of transformers that have no meaning here, or request nothing, are dropped.

    Args:
        kwargs: the keywords of a call.

    Returns:
        The hub options.

    Raises:
        ValueError: if both `token` and its old name `use_auth_token` are given, and differ.
    """
    empty = {name for name in LOADER_KEYWORDS.keys() & kwargs.keys() if not kwargs[name]}
    if "device_map" in empty and kwargs["device_map"] not in (None, {}):  # 0 is a device
        empty.remove("device_map")
    if kwargs.get("tp_size") == 1:  # one device
        empty.add("tp_size")
    for name in (_OBSOLETE & kwargs.keys()) | empty:
        del kwargs[name]
    adopt_old_token(kwargs)
    options = HubOptions()
    for name in HubOptions.__annotations__.keys() & kwargs.keys():
        options[name] = kwargs.pop(name)  # type: ignore[literal-required]
    return options
