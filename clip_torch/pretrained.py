"""Loading and saving of models."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from clip_torch.arrays import to_torch
from clip_torch.base import CLIPBaseModel
from clip_torch.derived import assign, build_derived, start_afresh, to_save
from clip_torch.tensors import check_device, check_dtype, device_of_context, to_entry
from converters.pretrained import PushableModel, find_checkpoint, save

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor


class CLIPPreTrainedModel(PushableModel, CLIPBaseModel):
    """The base class of the six model classes."""

    def _head(self, outputs: Any) -> Any:
        """Return the outputs of a call, given those of the tower; classes with a projection override it."""
        return outputs

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: Any = None,
        dtype: str | torch.dtype | None = None,
        torch_dtype: str | torch.dtype | None = None,
        device_map: Any = None,
        strict: bool | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        state_dict: Mapping[str, Tensor] | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a model, in evaluation mode. The weights are views of the memory-mapped file until they are changed.

        Args:
            pretrained_model_name_or_path: a local folder or weight file, or a hub id; None with `state_dict`.
            *model_args: further arguments of a subclass.
            config: a configuration, or its source; by default the checkpoint's `config.json`.
            dtype: dtype of the floating-point weights, or its name, or "auto" for the checkpoint's own; by default
                float32, as in transformers 4.57.
            torch_dtype: the deprecated name of `dtype`.
            device_map: the device to load to: a device, {"": device}, or "auto" for the accelerator with most memory;
                by default or if empty, PyTorch's, as set by `with torch.device(...)` or `torch.set_default_device`.
            strict: raise an error for missing or unexpected tensors. False initializes the missing ones and warns. By
                default True, unless `output_loading_info` asks for their names.
            ignore_mismatched_sizes: initialize parameters whose shape in the checkpoint differs.
            output_loading_info: also return the names of missing, unexpected and mismatched parameters.
            state_dict: weights to use instead of the checkpoint's.
            variant: as in `model.<variant>.safetensors`.
            use_safetensors: True for safetensors only, False for every other format.
            **kwargs: `attn_implementation`, any field of the configuration, and hub options (`revision`,
                `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`). `num_labels`, `id2label` or
                `label2id` request a new classifier if the checkpoint has none. Further keywords are passed to
                a user's own class.

        Returns:
            The model; `(model, info)` with `output_loading_info`.

        Raises:
            FileNotFoundError: there is no such checkpoint, or it has no weights in a known format.
            converters.checkpoint.CheckpointError: the checkpoint does not fit; one report names every tensor.
            RuntimeError: it is called under `torch.device("meta")`, without a `device_map`.
        """
        found = find_checkpoint(
            cls,
            pretrained_model_name_or_path,
            partial(build_derived, cls, model_args),
            config=config,
            tensors=None if state_dict is None else {name: to_entry(tensor) for name, tensor in state_dict.items()},
            strict=strict,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            output_loading_info=output_loading_info,
            variant=variant,
            use_safetensors=use_safetensors,
            **kwargs,
        )
        wanted = check_dtype(found.dtype(torch_dtype if dtype is None else dtype, torch.get_default_dtype()))
        found.note_dtype(wanted)
        device = device_of_context() if device_map is None or device_map == {} else check_device(device_map)
        model = found.model
        if model is not None:
            if found.fresh:
                start_afresh(model, found.fresh)
            assign(model.to(device, wanted), {name: to_torch(entry.load()) for name, entry in found.entries.items()})
            model.tie_weights()
        else:
            # Missing weights must be initialized. Otherwise, the model needs no memory before reading.
            with torch.device("cpu" if found.fresh else "meta"):
                model = cls(found.config, *model_args)
            weights = {name: to_torch(entry.load()).to(device, wanted) for name, entry in found.entries.items()}
            model.load_state_dict(weights, strict=False, assign=True)
            model.to(device, wanted)  # the newly initialized weights and the buffers
        model.eval()
        return (model, found.report.loading_info()) if output_loading_info else model

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
        """Save config and weights in Hugging Face's layout. An interrupted save keeps the old files.

        Args:
            save_directory: the folder, created if missing.
            is_main_process: False writes nothing; for all but one of several processes.
            state_dict: weights to save instead of the model's own, for example weights gathered from several processes.
            max_shard_size: bytes, or a string such as "5GB"; larger weights are split into several files with an index.
            safe_serialization: False writes `pytorch_model.bin` instead of safetensors.
            variant: as in `model.<variant>.safetensors`.
            push_to_hub: upload the folder after saving.
            **kwargs: keywords of `push_to_hub`; `repo_id` defaults to the folder's name. `save_function` and
                `save_peft_format`, from training scripts for transformers, are accepted and ignored.
        """
        weights = to_save(self, self.state_dict() if state_dict is None else state_dict)
        save(
            self,
            save_directory,
            {name: to_entry(tensor) for name, tensor in weights.items()},
            format="safetensors" if safe_serialization else "torch",
            dtype=str(self.dtype).removeprefix("torch."),
            is_main_process=is_main_process,
            max_shard_size=max_shard_size,
            variant=variant,
            push_to_hub=push_to_hub,
            keywords=kwargs,
        )
