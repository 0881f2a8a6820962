"""Model outputs: one set of output classes for every framework.

An output is a dataclass and an ordered dictionary, and reads like a tuple, as in transformers: `output.loss`,
`output["loss"]`, `output[0]` and `output[:2]` all work, and all but attributes skip fields that are None. The arrays
may come from any framework. The backends register the classes with their framework's trees, so that outputs pass
through `torch.compile`, `torch.export`, `jax.jit` and `tf.function`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from dataclasses import Field

Array = TypeVar("Array")


class ModelOutput(OrderedDict[str, Any]):
    """The base of all output classes; fields that are None count as absent.

    Each field is stored as an attribute and, unless it is None, also as an item. Fields can be changed but not removed.

    Args:
        *args: the fields in order; or a single argument: a mapping of fields, or an iterable of (name, value) pairs.
        **fields: the fields by name.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep `__init__`; `dataclass` would replace it with one that sets each field through `__setattr__`."""
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            cls.__init__ = ModelOutput.__init__  # type: ignore[method-assign]

    def __init__(self, *args: Any, **fields: Any) -> None:
        if args:
            fields = self._by_name(args, fields)
        attributes, set_item = self.__dict__, super().__setitem__
        for name in self.__dataclass_fields__:
            value = fields.pop(name, None)
            if value is not None:
                set_item(name, value)
                attributes[name] = value
        if fields:
            raise TypeError(f"{type(self).__name__} has no field {next(iter(fields))!r}")

    def _by_name(self, args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a call by name."""
        if len(args) == 1 and not fields:
            pairs = _pairs(args[0])
            if pairs is not None:
                return dict(pairs)
        names = tuple(self.__dataclass_fields__)
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} fields, but got {len(args)} values")
        by_name = dict(zip(names, args, strict=False))
        for name in by_name:
            if name in fields:
                raise TypeError(f"{type(self).__name__} got two values for the field {name!r}")
        return by_name | fields

    @classmethod
    def of(cls, inner: ModelOutput, **fields: Any) -> Self:
        """Return an output with the given fields, and all others taken from an inner output.

        Args:
            inner: the inner output, such as that of the tower below a head.
            **fields: the fields by name.
        """
        return cls(
            **{name: getattr(inner, name, None) for name in cls.__dataclass_fields__ if name not in fields}, **fields
        )

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are not None, in order; nested outputs become tuples too."""
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values for some fields, as `dataclasses.replace` does.

        Args:
            **changes: the new values by field name.
        """
        return replace(self, **changes)

    def __getitem__(self, key: str | int | slice) -> Any:
        """Return a field by name, or by index among the fields that are not None; a slice returns a tuple."""
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a field. Unlike attributes, items can be None: loops of `tf.function` set and compare such items."""
        if key not in self.__dataclass_fields__:
            raise KeyError(f"{type(self).__name__} has no field {key!r}")
        super().__setattr__(key, value)
        self._set_item(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in self.__dataclass_fields__:
            return
        if value is not None:
            self._set_item(name, value)
        elif name in self:
            super().__delitem__(name)

    def _set_item(self, name: str, value: Any) -> None:
        """Set an item, keeping the items in the order of the fields."""
        is_new = name not in self
        super().__setitem__(name, value)
        if is_new:
            names = list(self.__dataclass_fields__)
            for later in names[names.index(name) + 1 :]:
                if later in self:
                    self.move_to_end(later)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        others = {name: value for name, value in vars(self).items() if name not in values}
        return type(self), tuple(values.values()), others or None

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError(
            f"the fields of {type(self).__name__} can only be set, one at a time by name; to remove one, set it to None"
        )

    __delitem__ = __delattr__ = clear = pop = popitem = _refuse
    setdefault = update = _refuse


def _pairs(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Return the (name, value) pairs of a mapping or an iterable of pairs; None for any other value.

    Raises:
        ValueError: only some of the iterable's elements are pairs.
    """
    if isinstance(value, Mapping):
        return value.items()
    # An array is one value; looking for pairs in it would fetch every row from its device.
    if hasattr(value, "shape") or not hasattr(value, "__iter__"):
        return None
    elements = list(value)
    is_pair = [isinstance(one, tuple | list) and len(one) == 2 and isinstance(one[0], str) for one in elements]
    if all(is_pair):
        return elements
    if is_pair[0]:
        raise ValueError(f"expected (name, value) pairs of fields, but found {elements[is_pair.index(False)]!r}")
    return None


@dataclass(eq=False)
class BaseModelOutput(ModelOutput, Generic[Array]):
    """The output of an encoder.

    Attributes:
        last_hidden_state: `(batch, seq, hidden)`, after the last layer.
        hidden_states: the embeddings and the output of each layer, each `(batch, seq, hidden)`, if requested.
        attentions: the attention weights of each layer, each `(batch, heads, seq, seq)`, if requested.
    """

    last_hidden_state: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(eq=False)
class BaseModelOutputWithPooling(ModelOutput, Generic[Array]):
    """The output of a tower.

    Attributes:
        last_hidden_state: `(batch, seq, hidden)`, after the last layer (text: after the final layer norm).
        pooler_output: `(batch, hidden)`, the state at the EOS token (text) or class token (vision), layer-normalized.
        hidden_states: the embeddings and the output of each layer, each `(batch, seq, hidden)`, if requested.
        attentions: the attention weights of each layer, each `(batch, heads, seq, seq)`, if requested.
    """

    last_hidden_state: Array | None = None
    pooler_output: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(eq=False)
class CLIPTextModelOutput(ModelOutput, Generic[Array]):
    """The output of CLIPTextModelWithProjection.

    Attributes:
        text_embeds: `(batch, projection)`, the projected pooled state, not normalized.
        last_hidden_state: `(batch, seq, hidden)`.
        hidden_states: the embeddings and the output of each layer, each `(batch, seq, hidden)`, if requested.
        attentions: the attention weights of each layer, each `(batch, heads, seq, seq)`, if requested.
    """

    text_embeds: Array | None = None
    last_hidden_state: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(eq=False)
class CLIPVisionModelOutput(ModelOutput, Generic[Array]):
    """The output of CLIPVisionModelWithProjection.

    Attributes:
        image_embeds: `(batch, projection)`, the projected pooled state, not normalized.
        last_hidden_state: `(batch, 1 + patches, hidden)`.
        hidden_states: the embeddings and the output of each layer, each `(batch, 1 + patches, hidden)`, if requested.
        attentions: the attention weights of each layer, each `(batch, heads, seq, seq)`, if requested.
    """

    image_embeds: Array | None = None
    last_hidden_state: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(eq=False)
class ImageClassifierOutput(ModelOutput, Generic[Array]):
    """The output of CLIPForImageClassification.

    Attributes:
        loss: a scalar, if labels were given.
        logits: `(batch, num_labels)`, before the softmax.
        hidden_states: the embeddings and the output of each layer, each `(batch, 1 + patches, hidden)`, if requested.
        attentions: the attention weights of each layer, each `(batch, heads, seq, seq)`, if requested.
    """

    loss: Array | None = None
    logits: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(eq=False)
class CLIPOutput(ModelOutput, Generic[Array]):
    """The output of CLIPModel.

    Attributes:
        loss: a scalar, the contrastive loss, with `return_loss=True`.
        logits_per_image: `(images, texts)`, the scaled cosine similarities.
        logits_per_text: `(texts, images)`, its transpose.
        text_embeds: `(texts, projection)`, of unit norm.
        image_embeds: `(images, projection)`, of unit norm.
        text_model_output: the text tower's output.
        vision_model_output: the vision tower's output.
    """

    loss: Array | None = None
    logits_per_image: Array | None = None
    logits_per_text: Array | None = None
    text_embeds: Array | None = None
    image_embeds: Array | None = None
    text_model_output: BaseModelOutputWithPooling[Array] | None = None
    vision_model_output: BaseModelOutputWithPooling[Array] | None = None


OUTPUT_CLASSES: tuple[type[Any], ...] = (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    CLIPTextModelOutput,
    CLIPVisionModelOutput,
    ImageClassifierOutput,
    CLIPOutput,
)


def as_asked(output: ModelOutput, config: Any, return_dict: bool | None) -> Any:
    """Return the output, or a tuple of its fields if `return_dict` is False.

    Args:
        output: the output.
        config: the model's configuration.
        return_dict: the caller's choice; None for the configuration's.
    """
    wants_output = config.use_return_dict if return_dict is None else return_dict
    return output if wants_output else output.to_tuple()


def outputs_asked(config: Any, output_attentions: bool | None, output_hidden_states: bool | None) -> tuple[bool, bool]:
    """Return both flags, with the configuration's value in place of None."""
    return (
        config.output_attentions if output_attentions is None else output_attentions,
        config.output_hidden_states if output_hidden_states is None else output_hidden_states,
    )
