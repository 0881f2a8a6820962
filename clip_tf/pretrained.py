"""Loading and saving of models."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from clip_core.modeling.drawing import without_drawing
from clip_tf.base import CLIPBaseModel
from clip_tf.derived import build_derived, named_parameters, parameters_to_save, start_afresh
from clip_tf.tensors import check_dtype, parameters, to_entry
from converters.pretrained import PushableModel, find_checkpoint, save

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy as np


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
        dtype: Any = None,
        torch_dtype: Any = None,
        strict: bool | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        state_dict: Mapping[str, np.ndarray] | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a model, onto the device that TensorFlow chooses or that `tf.device` sets.

        Args:
            pretrained_model_name_or_path: a local folder or weight file, or a hub id; None with `state_dict`.
            *model_args: further arguments of a subclass.
            config: a configuration, or its source; by default the checkpoint's `config.json`.
            dtype: dtype of weights and computation, or its name; a Keras policy such as "mixed_bfloat16"; or "auto" for
                the checkpoint's own dtype. By default Keras' global policy, which is float32 unless set.
            torch_dtype: the deprecated name of `dtype`.
            strict: raise an error for missing or unexpected tensors. False initializes the missing ones and warns. By
                default True, unless `output_loading_info` asks for their names.
            ignore_mismatched_sizes: initialize parameters whose shape in the checkpoint differs.
            output_loading_info: also return the names of missing, unexpected and mismatched parameters.
            state_dict: weights by canonical name to use instead of the checkpoint's.
            variant: as in `model.<variant>.safetensors`.
            use_safetensors: True for safetensors only, False for every other format.
            **kwargs: `attn_implementation`, any field of the configuration, and hub options (`revision`,
                `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`). `num_labels`, `id2label` or
                `label2id` request a new classifier if the checkpoint has none. `from_pt` and `from_flax` are
                accepted but not needed. `name` and `trainable` are those of a Keras layer. Further keywords are passed
                to a user's own class.

        Returns:
            The model; `(model, info)` with `output_loading_info`.

        Raises:
            FileNotFoundError: there is no such checkpoint, or it has no weights in a known format.
            converters.checkpoint.CheckpointError: the checkpoint does not fit; one report names every tensor.
        """
        # A user's own class gets these with its other keywords.
        of_keras = {} if cls.is_derived() else {key: kwargs.pop(key) for key in ("name", "trainable") if key in kwargs}
        found = find_checkpoint(
            cls,
            pretrained_model_name_or_path,
            partial(build_derived, cls, model_args, torch_dtype if dtype is None else dtype),
            config=config,
            tensors=None if state_dict is None else {name: to_entry(array) for name, array in state_dict.items()},
            strict=strict,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            output_loading_info=output_loading_info,
            variant=variant,
            use_safetensors=use_safetensors,
            **kwargs,
        )
        model = found.model
        if model is not None:
            start_afresh(model, found.fresh)
        else:
            policy = check_dtype(found.dtype(torch_dtype if dtype is None else dtype, keras.config.dtype_policy()))
            # Missing weights must be initialized. Otherwise, all weights come from the checkpoint.
            with nullcontext() if found.fresh else without_drawing():
                model = cls(found.config, *model_args, dtype=policy, **of_keras)
        found.note_dtype(model.variable_dtype)
        held = named_parameters(model) if cls.is_derived() else parameters(model, found.entries)
        for name, entry in found.entries.items():
            held[name].take(entry)
        return (model, found.report.loading_info()) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        saved_model: bool = False,
        version: int = 1,
        push_to_hub: bool = False,
        signatures: Any = None,
        *,
        is_main_process: bool = True,
        state_dict: Mapping[str, np.ndarray] | None = None,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Save config and weights in Hugging Face's layout. An interrupted save keeps the old files.

        Args:
            save_directory: the folder, created if missing.
            saved_model: also `export` the model to `saved_model/<version>` in the folder.
            version: version of that export, for TensorFlow Serving.
            push_to_hub: upload the folder after saving.
            signatures: signatures of that export, as `tf.saved_model.save` takes them; by default those of `export`.
            is_main_process: False writes nothing; for all but one of several processes.
            state_dict: weights by canonical name to save instead of the model's.
            max_shard_size: bytes, or a string such as "5GB"; larger weights are split into several files with an index.
            safe_serialization: False writes `tf_model.h5` instead of safetensors.
            variant: as in `model.<variant>.safetensors`.
            **kwargs: keywords of `push_to_hub`; `repo_id` defaults to the folder's name.
        """
        if saved_model and is_main_process:
            folder = Path(save_directory) / "saved_model" / str(version)
            if signatures is None:
                self.export(folder, verbose=False)
            else:
                tf.saved_model.save(self, str(folder), signatures=signatures)
        entries = (
            {name: found.entry() for name, found in parameters_to_save(self).items()}
            if state_dict is None
            else {name: to_entry(array) for name, array in state_dict.items()}
        )
        save(
            self,
            save_directory,
            entries,
            format="safetensors" if safe_serialization else "tf",
            dtype=self.variable_dtype,
            is_main_process=is_main_process,
            max_shard_size=max_shard_size,
            variant=variant,
            push_to_hub=push_to_hub,
            keywords=kwargs,
        )
