"""Model outputs: one set of output classes for every framework.

An output is a dataclass that also reads like an ordered mapping and like a tuple, as in transformers: `output.loss`,
`output["loss"]`, `output[0]` and `output[:2]` all work, and every view but the attribute skips fields that are None.
The arrays may be of any framework. The backends register the classes with their framework's trees, so that outputs pass
through `torch.compile`, `torch.export`, `jax.jit` and `tf.function`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView

Array = TypeVar("Array")


class ModelOutput:
    """The base of all output classes; fields that are None count as absent."""

    def _present(self) -> dict[str, Any]:
        values = ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        return {name: value for name, value in values if value is not None}

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are not None, in order; nested outputs become tuples too."""
        return tuple(
            value.to_tuple() if isinstance(value, ModelOutput) else value for value in self._present().values()
        )

    def __getitem__(self, key: str | int | slice) -> Any:
        """Return a field by name, or by index among the fields that are not None; a slice returns a tuple."""
        if isinstance(key, str):
            return self._present()[key]
        return self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in {field.name for field in fields(self)}:  # type: ignore[arg-type]
            raise KeyError(f"{type(self).__name__} has no field {key!r}")
        setattr(self, key, value)

    def __contains__(self, key: object) -> bool:
        return key in self._present()

    def __iter__(self) -> Iterator[str]:
        return iter(self._present())

    def __len__(self) -> int:
        return len(self._present())

    def keys(self) -> KeysView[str]:
        """Return the names of the fields that are not None, in order."""
        return self._present().keys()

    def values(self) -> ValuesView[Any]:
        """Return the values of the fields that are not None, in order."""
        return self._present().values()

    def items(self) -> ItemsView[str, Any]:
        """Return the names and values of the fields that are not None, in order."""
        return self._present().items()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field by name, or `default` if it is None or unknown.

        Args:
            key: name of the field.
            default: the fallback.
        """
        return self._present().get(key, default)

    # TensorFlow's protocol for composite values (tf.nest): None fields stay in the structure, not in the tensors.
    def __tf_flatten__(self) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        present = self._present()
        return tuple(present), tuple(present.values())

    @classmethod
    def __tf_unflatten__(cls, metadata: tuple[str, ...], components: tuple[Any, ...]) -> ModelOutput:
        return cls(**dict(zip(metadata, components, strict=True)))


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
    """Return the output, or a tuple if `return_dict`, or by default the config, requests one.

    Args:
        output: the output.
        config: the model's configuration.
        return_dict: the caller's choice; None for the config's.
    """
    wants_output = config.use_return_dict if return_dict is None else return_dict
    return output if wants_output else output.to_tuple()


def outputs_asked(config: Any, output_attentions: bool | None, output_hidden_states: bool | None) -> tuple[bool, bool]:
    """Return whether to return attention weights and hidden states; for None the configuration decides."""
    return (
        config.output_attentions if output_attentions is None else output_attentions,
        config.output_hidden_states if output_hidden_states is None else output_hidden_states,
    )
