"""Model methods that need no framework, shared by all model classes of all backends."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

from clip_core.configuration.clip import CLIPConfig
from clip_core.configuration.given import own_config
from clip_core.modeling.embeddings import new_vocab_size, warn_of_legacy_pooling
from clip_core.modeling.pruning import heads_by_tower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


_TOWERS = ("text_model", "vision_model")


class ModelHandles:
    """A mixin for a model with a `config`, and a `text_model`, a `vision_model` or both.

    Attributes:
        config_class: the configuration that the class takes.
        name_or_path: the folder, file or hub id that the configuration was loaded from.
        base_model_prefix: the attribute of a subclass that holds the CLIP model of a checkpoint.
    """

    config_class: ClassVar[type[Any]] = CLIPConfig
    base_model_prefix = "clip"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    name_or_path: str
    is_parallelizable = False
    generation_config: Any = None  # CLIP generates nothing

    # The backend's package. Model classes defined elsewhere are subclasses written by a user.
    _package: ClassVar[str]
    # Patterns of names that may be missing or unexpected without a warning, and names that are not saved.
    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str] | None] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str] | None] = None
    _keys_to_ignore_on_save: ClassVar[Sequence[str] | None] = None
    # Modules that stay on one device, for libraries that distribute a model. None if transformers names none.
    _no_split_modules: ClassVar[list[str] | None] = None
    _is_stateful: ClassVar[bool] = False  # a model keeps nothing between calls
    _skip_keys_device_placement: ClassVar[Any] = None
    _keep_in_fp32_modules: ClassVar[Any] = None
    _auto_class: ClassVar[None] = None  # no class is registered for transformers' `Auto` classes

    if TYPE_CHECKING:
        config: Any

        @staticmethod
        def _check_implementation(name: str | None) -> str: ...
        def _encoders(self) -> Iterable[Any]: ...
        def _vocab_size(self) -> int | None: ...
        def _resize(self, count: int, initializer_factor: float, *, mean_resizing: bool) -> None: ...

    @classmethod
    def is_derived(cls) -> bool:
        """Return True for a user's subclass, which may have parameters besides CLIP's."""
        return cls.__module__.partition(".")[0] != cls._package

    @classmethod
    def _from_config(cls, config: Any, *, attn_implementation: Any = None, **kwargs: Any) -> Any:
        """Create a model with newly initialized weights from a copy of a configuration.

        Args:
            config: the configuration.
            attn_implementation: the attention implementation; None for the configuration's.
            **kwargs: further arguments of the class.
        """
        config = copy.deepcopy(config)
        if attn_implementation is not None:
            config.attn_implementation = attn_implementation
        make: Any = cls
        return make(config, **kwargs)

    @classmethod
    def can_generate(cls) -> bool:
        """Return False: CLIP generates nothing."""
        return False

    @property
    def base_model(self) -> Any:
        """The model under `base_model_prefix`, or this one if it holds none."""
        return getattr(self, self.base_model_prefix, self)

    def tie_weights(self) -> None:
        """Do nothing: CLIP shares no weights."""

    @classmethod
    def _own_config(cls, config: Any) -> Any:
        """Return the configuration for this class: the given one, or its tower's part of a CLIPConfig.

        An attention implementation of None is replaced by the name of the default.

        Raises:
            TypeError: the configuration is of another class, and not a CLIPConfig.
            ValueError: its attention implementation is unknown, or a field was set to an invalid value.
        """
        config = own_config(config, cls.config_class, cls.__name__)
        config.validate()  # assigning a field checks nothing, because others may have to change with it
        for part in (config, *(getattr(config, key) for key in config.sub_configs)):
            part.attn_implementation = {"": cls._check_implementation(part.attn_implementation)}
            if config.gradient_checkpointing:  # possibly set after the towers' own
                part.gradient_checkpointing = True
        return config

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        return True

    def set_attn_implementation(self, attn_implementation: str | dict[str, str]) -> None:
        """Change the attention implementation of the model.

        Args:
            attn_implementation: one name for all towers, or a dict by tower, such as {"text_config": "eager"}.

        Raises:
            ValueError: the implementation is unknown. Nothing is changed in this case.
        """
        check = self._check_implementation
        if isinstance(attn_implementation, dict):
            attn_implementation = {key: check(name) for key, name in attn_implementation.items()}
        else:
            attn_implementation = check(attn_implementation)
        self.config.attn_implementation = attn_implementation

    # Embeddings

    def _towers(self) -> dict[str, Any]:
        """Return the towers by name. A subclass may hold them in its base model."""
        found = {name: getattr(self, name) for name in _TOWERS if hasattr(self, name)}
        if not found and self.base_model is not self:
            found = self.base_model._towers()  # noqa: SLF001  also a ModelHandles
        return found

    def _input_embedding(self) -> tuple[Any, str]:
        """Return the module that holds the input embedding, and the name of its attribute."""
        towers = self._towers()
        if "text_model" in towers:
            return towers["text_model"].embeddings, "token_embedding"
        if "vision_model" in towers:
            return towers["vision_model"].embeddings, "patch_embedding"
        raise NotImplementedError(
            f"{type(self).__name__} has neither text_model nor vision_model, and no base model that has one; override "
            "get_input_embeddings and set_input_embeddings"
        )

    def get_input_embeddings(self) -> Any:
        """Return the token embedding, or the patch embedding of a model without a text tower."""
        return getattr(*self._input_embedding())

    def set_input_embeddings(self, value: Any) -> None:
        """Replace the token embedding, or the patch embedding of a model without a text tower.

        Args:
            value: the new embedding layer.
        """
        setattr(*self._input_embedding(), value)

    def get_output_embeddings(self) -> Any:
        """Return None: CLIP has no output embedding. Fine-tuning libraries call this method."""

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> Any:
        """Extend or truncate the token embedding, and update `vocab_size` in the configuration.

        Args:
            new_num_tokens: the new number of tokens, such as `len(tokenizer)` after adding tokens; None to keep it.
            pad_to_multiple_of: round the number up to a multiple of this.
            mean_resizing: initialize new rows with the mean of the old ones (Hewitt 2021), whereas transformers draws
                them around that mean; False draws them as in a new model.

        Returns:
            The model's token embedding after the change.

        Raises:
            TypeError: the model has no text tower.
        """
        current = self._vocab_size()
        if current is None:
            raise TypeError(f"{type(self).__name__} has no token embedding; resize_token_embeddings needs one")
        count = new_vocab_size(current, new_num_tokens, pad_to_multiple_of)
        text_config = getattr(self.config, "text_config", self.config)
        warn_of_legacy_pooling(text_config, current, count)
        if count != current:
            self._resize(count, text_config.initializer_factor, mean_resizing=mean_resizing)
        self.vocab_size = text_config.vocab_size = count
        return self.get_input_embeddings()

    # Pruning

    def prune_heads(self, heads_to_prune: Mapping[Any, Any]) -> None:
        """Remove attention heads permanently, and record them in the configuration.

        Args:
            heads_to_prune: layer index to heads, numbered as in the unpruned model. A CLIPModel takes a dict of such
                mappings, under "text_model", "vision_model" or both.

        Raises:
            ValueError: a layer or head does not exist, or a layer would lose its last head.
        """
        towers = self._towers()
        for name, heads in heads_by_tower(heads_to_prune, list(towers)).items():
            towers[name].prune_heads(heads)

    # Training

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each layer in the backward pass instead of storing its activations: less memory, more time."""
        for encoder in self._encoders():
            encoder.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Undo `gradient_checkpointing_enable`."""
        for encoder in self._encoders():
            encoder.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """True if any tower recomputes its layers."""
        return any(encoder.gradient_checkpointing for encoder in self._encoders())


class _OfConfig:
    """An attribute read from the configuration, until a value is assigned to its name."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self.read = read

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else self.read(instance.config)


class FullModelHandles:
    """A mixin for a model with both towers and a `config`.

    Attributes:
        projection_dim: width of the joint space.
        text_embed_dim: width of the text tower.
        vision_embed_dim: width of the vision tower.
    """

    _no_split_modules: ClassVar[list[str] | None] = ["CLIPTextEmbeddings", "CLIPEncoderLayer", "CLIPVisionEmbeddings"]
    projection_dim = _OfConfig(lambda config: config.projection_dim)
    text_embed_dim = _OfConfig(lambda config: config.text_config.hidden_size)
    vision_embed_dim = _OfConfig(lambda config: config.vision_config.hidden_size)
