"""The functional interface of a model: `model.params`, and calls that are pure functions of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
from flax.core import unfreeze

from clip_flax.initialization import CLIPModule, Held
from clip_flax.structure import structure_of
from clip_flax.tensors import as_array, check_dtype, known_values, to_jax, unflatten

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    import numpy as np
    from jax import Array
    from numpy.typing import DTypeLike

    from clip_flax.structure import Structure
    from clip_flax.tensors import Params, Path


class FunctionalModel(CLIPModule):
    """A model that runs on its own parameters, or on parameters given in a call.

    Args:
        config: the configuration.
        input_shape: accepted as in transformers, and ignored.
        seed: seed of the random weights, which the model classes draw.
        dtype: dtype of the computation.
        _do_init: False for a model without weights.

    Attributes:
        module_class: the same model as a Linen module.
    """

    module_class: ClassVar[Any] = None

    def __init__(
        self,
        config: Any,
        input_shape: Any = None,
        seed: int | Array = 0,
        dtype: DTypeLike = jnp.float32,
        _do_init: bool = True,
    ) -> None:
        super().__init__(config)
        self._given = Held((seed, input_shape))
        self.dtype: np.dtype = check_dtype(dtype)
        self._is_initialized = _do_init

    @property
    def key(self) -> Array:
        """The key for newly initialized weights, made from `seed`."""
        seed = self._given.value[0]
        return jax.random.PRNGKey(seed) if isinstance(seed, int) else seed

    @property
    def input_shape(self) -> Any:
        """The given shapes; by default those of a text of one token, a channels-last image, or both."""
        if self._given.value[1] is not None:
            return self._given.value[1]
        vision = getattr(self.config, "vision_config", self.config)
        image = (
            (1, vision.image_size, vision.image_size, vision.num_channels) if hasattr(vision, "image_size") else None
        )
        shapes = [shape for shape, tower in (((1, 1), "text_model"), (image, "vision_model")) if hasattr(self, tower)]
        return tuple(shapes) if len(shapes) > 1 else next(iter(shapes), None)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):  # NNX would register the value as a part of the model
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def params(self) -> Params:
        """The parameters as a plain nested dict of arrays, with the names that transformers' Flax classes use.

        The dict is a snapshot: to change the model, assign the changed dict back. Entries that are not parameters of
        the model are ignored.

        Raises:
            ValueError: the model was created with `_do_init=False`; or, on assignment, parameters are missing or have
                another shape.
        """
        self._check_initialized()
        return structure_of(self).params()

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        self._check_initialized()
        self.assign(structure_of(self).leaves(params).items())

    def checked_params(self, params: Mapping[str, Any] | None, *, whole: bool = True) -> Params:
        """Return parameters in the form that a call takes, after checking them.

        Args:
            params: nested parameters; None for the model's own.
            whole: False allows some to be missing.

        Raises:
            ValueError: some are missing or have another shape; or the model has none.
        """
        if params is None or whole:
            return self._own_or(params, structure_of(self))
        return unflatten(structure_of(self).leaves(params, whole=False))

    def assign(self, leaves: Iterable[tuple[Path, Any]]) -> None:
        """Set some of the parameters. A model created without weights has its own from then on.

        Args:
            leaves: pairs of a path and its array.
        """
        self._is_initialized = True
        variables = structure_of(self).variables
        for path, leaf in leaves:
            variables[path].set_value(to_jax(leaf))

    def _check_initialized(self) -> None:
        if not self._is_initialized:
            raise ValueError(
                "a model created with _do_init=False has no params of its own; keep those that init_weights or "
                "from_pretrained returned, and pass them to each call: model(..., params=params)"
            )

    @property
    def param_dtype(self) -> np.dtype:
        """The dtype of the parameters; the dtype of the computation is `dtype`."""
        return next(iter(structure_of(self).variables.values())).get_raw_value().dtype

    @property
    def required_params(self) -> set[Path]:
        """The paths of all parameters."""
        return set(structure_of(self).variables)

    @property
    def params_shape_tree(self) -> Params:
        """The shapes and dtypes of the parameters, nested like them."""
        leaves = structure_of(self).params()
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), leaves)

    def init_weights(self, rng: Array, input_shape: Any = None, params: Mapping[str, Any] | None = None) -> Params:
        """Draw random parameters. The model's own are not changed.

        Args:
            rng: the key to draw from.
            input_shape: accepted as in transformers, and ignored.
            params: parameters to keep; only the missing ones are drawn.

        Returns:
            All parameters, nested.
        """
        drawn = type(self)(self.config, input_shape, rng, self.dtype).params
        return drawn if params is None else _merged(drawn, unfreeze(params))

    def to_bf16(self, params: Mapping[str, Any], mask: Any = None) -> Params:
        """Cast floating-point parameters to bfloat16. The model's own are not changed.

        Args:
            params: nested parameters.
            mask: True for each parameter to cast, nested like them; None casts all.

        Returns:
            The parameters, cast.
        """
        return _cast(params, jnp.bfloat16, mask)

    def to_fp16(self, params: Mapping[str, Any], mask: Any = None) -> Params:
        """Cast floating-point parameters to float16. Takes the arguments of `to_bf16` and returns the same."""
        return _cast(params, jnp.float16, mask)

    def to_fp32(self, params: Mapping[str, Any], mask: Any = None) -> Params:
        """Cast floating-point parameters to float32. Takes the arguments of `to_bf16` and returns the same."""
        return _cast(params, jnp.float32, mask)

    @property
    def module(self) -> Any:
        """The model as a Linen module: `model.module.apply({"params": params}, ...)`.

        Raises:
            AttributeError: the model is of a user's subclass, which is an NNX module itself.
        """
        if self.is_derived():
            raise AttributeError(f"{type(self).__name__} has no Linen module: it is an NNX module itself")
        return self.module_class(config=self.config, dtype=self.dtype)

    def enable_gradient_checkpointing(self) -> None:
        """Recompute each layer in the backward pass; transformers' Flax name for `gradient_checkpointing_enable`."""
        self.gradient_checkpointing_enable()

    def _run(
        self,
        method: str,
        inputs: Mapping[str, Any],
        *,
        params: Mapping[str, Any] | None,
        dropout_rng: Array | None,
        train: bool,
        **options: Any,
    ) -> Any:
        """Run a method of the model, compiled, on its own parameters or the given ones.

        Args:
            method: its name. It takes the inputs, the options and `dropout_rng`.
            inputs: arrays of any library by name, or None.
            params: the parameters; None for the model's own.
            dropout_rng: a key, for dropout in training.
            train: apply dropout.
            **options: plain values; the method is compiled for each combination.
        """
        arrays = {name: as_array(value) for name, value in inputs.items()}
        ids = known_values(arrays.get("input_ids"))
        if ids is not None:
            self._check_ids(ids)
        if train and dropout_rng is None and any(config.attention_dropout > 0 for config in self._tower_configs()):
            raise ValueError("train=True with attention dropout needs a random key: pass dropout_rng=key")
        structure, rng = structure_of(self), dropout_rng if train else None
        given = self._own_or(params, structure)
        return structure.call(method, tuple(options.items()), self._read_of_config(), given, arrays, rng)

    def _own_or(self, params: Mapping[str, Any] | None, structure: Structure) -> Params:
        if params is not None:
            return structure.accepted(params)
        self._check_initialized()
        return structure.params()

    def _check_ids(self, input_ids: np.ndarray) -> None:
        tower: Any = getattr(self, "text_model", None)
        if hasattr(tower, "check_ids"):  # a user's own tower may lack it
            tower.check_ids(input_ids)

    def _tower_configs(self) -> list[Any]:
        return [getattr(self.config, key) for key in self.config.sub_configs] or [self.config]

    def _read_of_config(self) -> Hashable:
        """Return the configuration's fields that a forward pass reads. They may change at any time."""
        fields = ("attn_implementation", "eos_token_id", "output_attentions", "output_hidden_states", "problem_type")
        return tuple(getattr(config, field) for config in (self.config, *self._tower_configs()) for field in fields)


def _merged(drawn: Params, given: Mapping[str, Any]) -> Params:
    """Merge nested parameters; the second takes precedence."""

    def chosen(name: str, value: Any) -> Any:
        if name not in given:
            return value
        return _merged(value, given[name]) if isinstance(value, dict) else given[name]

    return {name: chosen(name, value) for name, value in drawn.items()}


def _cast(params: Mapping[str, Any], dtype: DTypeLike, mask: Any) -> Params:
    def cast_leaf(leaf: Any, wanted: bool = True) -> Any:
        return leaf.astype(dtype) if wanted and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    params = unfreeze(params)
    return jax.tree.map(cast_leaf, params) if mask is None else jax.tree.map(cast_leaf, params, unfreeze(mask))
