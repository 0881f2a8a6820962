"""Loading and saving of models."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from clip_flax.base import CLIPBaseModel
from clip_flax.derived import build_derived, canonical_of
from clip_flax.tensors import adopt, canonical_entries, check_dtype, flatten, flax_entries, to_entry, unflatten
from converters.pretrained import PushableModel, find_checkpoint, save

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from jax import Array


class CLIPPreTrainedModel(PushableModel, CLIPBaseModel):
    """The base class of the six model classes."""

    def _head(self, outputs: Any) -> Any:
        """Return the outputs of a call, given those of the tower; classes with a projection override it."""
        return outputs

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        dtype: Any = jnp.float32,
        *model_args: Any,
        config: Any = None,
        param_dtype: Any = None,
        torch_dtype: Any = None,
        input_shape: Any = None,
        seed: int | Array = 0,
        _do_init: bool = True,
        strict: bool | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        state_dict: Mapping[str, Any] | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a model onto JAX's default device.

        Args:
            pretrained_model_name_or_path: a local folder or weight file, or a hub id; None with `state_dict`.
            dtype: dtype of the computation, or its name, or "auto" for the checkpoint's own.
            *model_args: further arguments of a subclass.
            config: a configuration, or its source; by default the checkpoint's `config.json`.
            param_dtype: dtype of the parameters, in the same forms as `dtype`; by default their dtype in the
                checkpoint, as in transformers 4.57.
            torch_dtype: a dtype to state in the configuration. As in transformers 4.57, it changes neither the
                computation nor the parameters.
            input_shape: accepted as in transformers, and ignored.
            seed: seed of newly initialized weights: a number or a key.
            _do_init: False returns `(model, params)`: a model without weights, and the parameters to pass to each call.
                Parameters that the checkpoint lacks are then left to `init_weights`, with a warning.
            strict: raise an error for missing or unexpected tensors. False initializes the missing ones and warns. By
                default True, unless `output_loading_info` asks for their names.
            ignore_mismatched_sizes: initialize parameters whose shape in the checkpoint differs.
            output_loading_info: also return the names of missing, unexpected and mismatched parameters.
            state_dict: weights by canonical name to use instead of the checkpoint's.
            variant: as in `model.<variant>.safetensors`.
            use_safetensors: True for safetensors only, False for every other format.
            **kwargs: `attn_implementation`, any field of the configuration, and hub options (`revision`,
                `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`). `num_labels`, `id2label` or
                `label2id` request a new classifier if the checkpoint has none. `from_pt` and `from_tf` are
                accepted but not needed. Further keywords are passed to a user's own class.

        Returns:
            The model; `(model, params)` with `_do_init=False`, `(model, info)` with `output_loading_info`.

        Raises:
            FileNotFoundError: there is no such checkpoint, or it has no weights in a known format.
            converters.checkpoint.CheckpointError: the checkpoint does not fit; one report names every tensor.
        """
        found = find_checkpoint(
            cls,
            pretrained_model_name_or_path,
            partial(build_derived, cls, model_args, {"dtype": dtype, "seed": seed, "input_shape": input_shape}),
            config=config,
            tensors=None if state_dict is None else {name: to_entry(array) for name, array in state_dict.items()},
            strict=strict,
            may_lack=not _do_init,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            output_loading_info=output_loading_info,
            variant=variant,
            use_safetensors=use_safetensors,
            **kwargs,
        )
        params_dtype, stated = (
            None if wanted is None else check_dtype(wanted)
            for wanted in (found.dtype(param_dtype, found.kept_dtype), found.dtype(torch_dtype, None))
        )
        built = found.model
        if built is not None and not _do_init:
            model, params = built.apart(found.entries, params_dtype)
            found.note_dtype(next(iter(flatten(params).values())).dtype if stated is None else stated)
            return model, params
        if built is not None:
            model = built.loaded(found.entries, params_dtype)
        else:
            computed = check_dtype(found.dtype(dtype, jnp.float32))
            # Missing weights must be initialized. Otherwise, the model needs no memory before reading.
            model = cls(found.config, input_shape, seed, computed, _do_init and bool(found.fresh), *model_args)
            matched = flax_entries(found.entries)
            leaves = ((path, adopt(entry.own(params_dtype))) for path, entry in matched.items())
            if not _do_init:
                params = dict(leaves)
                found.note_dtype(next(iter(params.values())).dtype if stated is None else stated)
                return model, unflatten(params)
            model.assign(leaves)
        found.note_dtype(model.param_dtype if stated is None else stated)
        return (model, found.report.loading_info()) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "10GB",
        token: str | bool | None = None,
        safe_serialization: bool = True,
        *,
        is_main_process: bool = True,
        variant: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Save config and weights in Hugging Face's layout. An interrupted save keeps the old files.

        Args:
            save_directory: the folder, created if missing.
            params: parameters to save instead of the model's own. Some may be missing.
            push_to_hub: upload the folder after saving.
            max_shard_size: bytes, or a string such as "5GB"; larger weights are split into several files with an index.
            token: the hub token for the upload.
            safe_serialization: False writes `flax_model.msgpack` instead of safetensors.
            is_main_process: False writes nothing; for all but one of several processes.
            variant: as in `model.<variant>.safetensors`.
            **kwargs: keywords of `push_to_hub`; `repo_id` defaults to the folder's name.

        Raises:
            ValueError: `params` contains none of the model's parameters, one of another shape, or one that the model
                lacks. Nothing is written in this case.
        """
        foreign = set() if params is None else flatten(params).keys() - self.required_params
        if foreign:
            raise ValueError(
                f"params has {', '.join(sorted(map('/'.join, foreign)))}, which {type(self).__name__} lacks; give "
                "only the model's parameters, and save others separately"
            )
        saved = self.checked_params(params, whole=False)
        entries = canonical_of(self, saved) if self.is_derived() else canonical_entries(saved)
        left_out = set(self._keys_to_ignore_on_save or ())
        save(
            self,
            save_directory,
            {name: entry for name, entry in entries.items() if name not in left_out},
            format="safetensors" if safe_serialization else "flax",
            dtype=next(iter(entries.values())).dtype.name,
            is_main_process=is_main_process,
            max_shard_size=max_shard_size,
            variant=variant,
            push_to_hub=push_to_hub,
            keywords=kwargs if token is None else {"token": token, **kwargs},
        )
