"""Loading and saving: what makes a model class a pretrained one."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from clip_core.hub import split_hub_options, upload_folder
from clip_torch.base import CLIPBaseModel
from clip_torch.tensors import check_device, check_dtype, to_entry, to_torch
from converters.checkpoint import Checkpoint, open_checkpoint
from converters.formats import safetensors
from converters.matching import fit
from converters.writing import save_weights

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor

    from converters.tensors import TensorEntry

_NOT_NEEDED_TO_SAVE = ("save_function", "save_peft_format")


class CLIPPreTrainedModel(CLIPBaseModel):
    """The base of the six model classes."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *,
        config: Any = None,
        dtype: str | torch.dtype | None = None,
        torch_dtype: str | torch.dtype | None = None,
        device_map: Any = None,
        strict: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        state_dict: Mapping[str, Tensor] | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a model, in evaluation mode. The weights are views of the mapped file until something changes them.

        Args:
            pretrained_model_name_or_path: a local folder or weight file, or a hub id; None with `state_dict`.
            config: a configuration, or where to read it; by default the checkpoint's `config.json`.
            dtype: of the floating-point weights: a dtype or its name, "auto" for the checkpoint's own; float32 by
                default, as in transformers 4.57.
            torch_dtype: the older name of `dtype`.
            device_map: the device to load to: a device, {"": device}, or "auto" for the accelerator with most memory.
            strict: refuse a checkpoint with missing or unexpected tensors. False starts the missing ones afresh.
            ignore_mismatched_sizes: start tensors afresh that have another shape in the checkpoint.
            output_loading_info: return `(model, info)` with the names that were missing, unexpected and mismatched.
            state_dict: weights to use in place of the checkpoint's.
            variant: as in `model.<variant>.safetensors`.
            use_safetensors: True for safetensors alone, False for `pytorch_model.bin` alone.
            **kwargs: `attn_implementation`, any field of the configuration, and where on the hub (`revision`,
                `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`). `num_labels`, `id2label` or
                `label2id` ask for a fresh classifier where the checkpoint has none.

        Raises:
            FileNotFoundError: there is no such checkpoint, or it holds no weights in a known format.
            converters.checkpoint.CheckpointError: the checkpoint does not fit; one report names every tensor.
        """
        source = pretrained_model_name_or_path
        hub = split_hub_options(kwargs)
        new_head = not {"num_labels", "id2label", "label2id"}.isdisjoint(kwargs)
        if source is None and (state_dict is None or config is None):
            raise ValueError("give a folder, a file or a hub id to load from, or both config and state_dict")
        config = _resolve_config(cls, source if config is None else config, hub, kwargs)
        if state_dict is not None:
            checkpoint = Checkpoint({name: to_entry(tensor) for name, tensor in state_dict.items()}, "state_dict")
        else:
            checkpoint = open_checkpoint(cast("str", source), variant=variant, use_safetensors=use_safetensors, **hub)

        report, fresh = fit(
            checkpoint,
            config,
            cls.__name__,
            strict=strict,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            new_head=new_head,
        )
        if fresh:
            warnings.warn(f"{cls.__name__}: fresh weights for {', '.join(fresh)}; train them before use", stacklevel=2)
        wanted = _wanted_dtype(torch_dtype if dtype is None else dtype, config, checkpoint)
        device = torch.device("cpu") if device_map is None else check_device(device_map)
        # Fresh weights have to be drawn; a model that gets all of its own from the checkpoint needs no memory before.
        with torch.device("cpu" if fresh else "meta"):
            model = cls(config)
        weights = {name: to_torch(checkpoint[name]).to(device, wanted) for name in report.matched}
        model.load_state_dict(weights, strict=False, assign=True)
        if fresh:
            model.to(device, wanted)
        model.eval()
        return (model, report.loading_info()) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save config and weights in Hugging Face's layout. An interrupted save leaves the old files whole.

        Args:
            save_directory: the folder; made where it is missing.
            is_main_process: False writes nothing, for all processes but one.
            state_dict: weights to save in place of the model's, such as those gathered from several processes.
            max_shard_size: bytes, or a string such as "5GB"; larger weights go into several files and an index.
            safe_serialization: False writes `pytorch_model.bin` in place of safetensors.
            variant: as in `model.<variant>.safetensors`.
            push_to_hub: upload the folder after saving.
            **kwargs: keywords of `push_to_hub`; `repo_id` defaults to the folder's name. `save_function` and
                `save_peft_format`, which training scripts for transformers pass, are taken and not needed.
        """
        for name in _NOT_NEEDED_TO_SAVE:
            kwargs.pop(name, None)
        if not push_to_hub and not kwargs.keys() <= {"token"}:
            raise TypeError(f"save_pretrained does not take {', '.join(kwargs)} without push_to_hub=True")
        if not is_main_process:
            return
        self.config.architectures = [type(self).__name__]
        self.config.dtype = str(self.dtype).removeprefix("torch.")
        weights = self.state_dict() if state_dict is None else state_dict
        save_weights(
            save_directory,
            {name: to_entry(tensor) for name, tensor in weights.items()},
            safetensors.write if safe_serialization else _write_bin,
            file="model.safetensors" if safe_serialization else "pytorch_model.bin",
            max_shard_size=max_shard_size,
            variant=variant,
            texts={"config.json": self.config.to_json_string()},
        )
        if push_to_hub:
            upload_folder(save_directory, kwargs.pop("repo_id", Path(save_directory).name), **kwargs)

    def push_to_hub(self, repo_id: str, *, max_shard_size: int | str = "5GB", **kwargs: Any) -> str:
        """Upload the model to a repository of the hub, and return the commit's address.

        Args:
            repo_id: the repository, such as "user/my-clip"; made where it is missing.
            max_shard_size: as in `save_pretrained`.
            **kwargs: `token`, `commit_message`, `private`, `revision`, `create_pr`.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, max_shard_size=max_shard_size)
            return upload_folder(folder, repo_id, **kwargs)


def _resolve_config(cls: type[CLIPBaseModel], given: Any, hub: Any, kwargs: dict[str, Any]) -> Any:
    """The configuration, given or read, with the caller's fields in it."""
    if isinstance(given, (str, Path)):
        config, unused = cls.config_class.from_pretrained(given, return_unused_kwargs=True, **hub, **kwargs)
    else:
        config = given
        unused = {name: value for name, value in kwargs.items() if not hasattr(config, name)}
        config.update({name: value for name, value in kwargs.items() if name not in unused})
    if unused:
        raise TypeError(f"{cls.__name__}.from_pretrained does not take {', '.join(unused)}")
    return config


def _wanted_dtype(dtype: str | torch.dtype | None, config: Any, checkpoint: Checkpoint) -> torch.dtype:
    if dtype is None:
        return torch.get_default_dtype()
    if dtype != "auto":
        return check_dtype(dtype)
    if config.dtype is not None:
        return check_dtype(config.dtype)
    widest = max((checkpoint.dtype(name) for name in checkpoint), key=lambda found: found.itemsize)
    return check_dtype(widest.name)


def _write_bin(path: Path, tensors: Mapping[str, TensorEntry]) -> None:
    torch.save({name: to_torch(tensor.load()) for name, tensor in tensors.items()}, path)
