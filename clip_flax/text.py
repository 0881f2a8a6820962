"""The text tower: a causal transformer over tokens, pooled at the EOS token (Radford et al. 2021, section 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from clip_core.configuration import CLIPTextConfig
from clip_core.modeling.inputs import check_eos, check_text_length, number_of_tokens, required, unknown_ids
from clip_core.modeling.outputs import BaseModelOutputWithPooling, CLIPTextModelOutput, as_asked, outputs_asked
from clip_core.modeling.towers import TextTowerHandles
from clip_core.modeling.trimming import hides_what_is_read, rounded
from clip_flax.initialization import CLIPEmbeddings, CLIPModule, embedding, layer_norm, projection
from clip_flax.layers import CLIPEncoder
from clip_flax.plan import choose_implementation, text_plan
from clip_flax.pretrained import CLIPPreTrainedModel
from clip_flax.tensors import known_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flax import nnx
    from numpy.typing import DTypeLike


class CLIPTextEmbeddings(CLIPEmbeddings):
    """Token embeddings plus learned position embeddings."""

    def __init__(self, config: CLIPTextConfig, *, rngs: nnx.Rngs | None, dtype: DTypeLike) -> None:
        super().__init__(config)
        width = self.embed_dim
        std = 0.02 * config.initializer_factor  # not initializer_range: as in transformers
        self.token_embedding = embedding(config.vocab_size, width, std=std, rngs=rngs, dtype=dtype)
        self.position_embedding = embedding(config.max_position_embeddings, width, std=std, rngs=rngs, dtype=dtype)

    def __call__(
        self, input_ids: Array | None = None, position_ids: Array | None = None, inputs_embeds: Array | None = None
    ) -> Array:
        """Embed ids `(batch, seq)` at their positions `(batch or 1, seq)`: `(batch, seq, hidden)`.

        `inputs_embeds` `(batch, seq, hidden)` replace the tokens' embeddings.
        """
        seq = number_of_tokens(input_ids, inputs_embeds)
        check_text_length(seq, self.position_embedding.num_embeddings)
        tokens = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        return tokens + self.position_embedding(jnp.arange(seq)[None] if position_ids is None else position_ids)

    def check_ids(self, input_ids: np.ndarray) -> None:
        """Check that ids are in the vocabulary, if their values are known; JAX embeds others as NaN or from the end."""
        count = getattr(self.token_embedding, "num_embeddings", None)  # it may have been replaced by another module
        if count is not None and input_ids.size and (input_ids.min() < 0 or input_ids.max() >= count):
            raise unknown_ids(count)


class CLIPTextTransformer(TextTowerHandles, CLIPModule):
    """The text tower without a head."""

    _known_values = staticmethod(known_values)

    def __init__(self, config: CLIPTextConfig, *, rngs: nnx.Rngs | None, dtype: DTypeLike) -> None:
        super().__init__(config)
        self.embeddings = CLIPTextEmbeddings(config, rngs=rngs, dtype=dtype)
        self.encoder = CLIPEncoder(config, rngs=rngs, dtype=dtype)
        self.final_layer_norm = layer_norm(config.hidden_size, epsilon=config.layer_norm_eps, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        position_ids: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        dropout_rng: Array | None = None,
    ) -> BaseModelOutputWithPooling[Array]:
        """Run the tower. Takes the arguments of `CLIPTextModel`."""
        input_ids = required("input_ids", input_ids)
        config = self.config
        output_attentions, output_hidden_states = outputs_asked(config, output_attentions, output_hidden_states)

        input_ids = input_ids.reshape(-1, input_ids.shape[-1])
        hidden_states = self.embeddings(input_ids, position_ids)
        implementation = choose_implementation(config, output_attentions=output_attentions)
        encoded = self.encoder(
            hidden_states,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            plan=text_plan(implementation, attention_mask, hidden_states),
            dropout_rng=dropout_rng,
        )
        last_hidden_state = self.final_layer_norm(encoded.last_hidden_state)
        rows = jnp.arange(input_ids.shape[0])
        pooled = last_hidden_state[rows, self.eos_positions(input_ids)]
        return BaseModelOutputWithPooling.of(encoded, last_hidden_state=last_hidden_state, pooler_output=pooled)

    def trimmed(self, input_ids: Any, attention_mask: Any = None, *, train: bool = False) -> tuple[Any, Any]:
        """Truncate ids and mask after the last token that affects a pooled output, if the ids' values are known.

        The length is rounded up because every length is compiled. For the same reason, the batch is not split.
        """
        lengths = self.lengths_to_read(input_ids, attention_mask, training=train)
        if lengths is None:
            return input_ids, attention_mask
        length = rounded(int(lengths.max()), input_ids.shape[-1])
        if attention_mask is None or not hides_what_is_read(np.asarray(attention_mask), lengths):
            return input_ids[:, :length], None
        return input_ids[:, :length], attention_mask[:, :length]

    def eos_positions(self, input_ids: Array) -> Array:
        """Return the position of the pooled token in each row of ids `(batch, seq)`: `(batch,)`.

        It is the first EOS token. A row without EOS is pooled at position 0, as in transformers, unless `check_ids`
        raises an error because `config.missing_eos` is "error". The legacy `eos_token_id` 2 pools at the largest id.
        """
        if self.config.pools_at_largest_id:
            return input_ids.argmax(axis=-1)
        return (input_ids == self.config.eos_token_id).argmax(axis=-1)

    def check_ids(self, input_ids: np.ndarray) -> None:
        """Check ids before the call; a compiled function does not know their values."""
        self.embeddings.check_ids(input_ids)
        if self.config.missing_eos == "error" and not self.config.pools_at_largest_id:
            is_eos = input_ids.reshape(-1, input_ids.shape[-1]) == self.config.eos_token_id
            check_eos(is_eos.any(axis=-1), self.config.eos_token_id)


class _TextModel(CLIPPreTrainedModel):
    """A text tower and the head applied to its outputs."""

    config: CLIPTextConfig
    config_class = CLIPTextConfig
    main_input_name = "input_ids"
    _no_split_modules: ClassVar[list[str] | None] = ["CLIPTextEmbeddings", "CLIPEncoderLayer"]

    def setup(self, rngs: nnx.Rngs | None) -> None:
        """Create the tower."""
        self.text_model = CLIPTextTransformer(self.config, rngs=rngs, dtype=self.dtype)

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling[Array] | tuple[Any, ...]:
        """Encode texts.

        Args:
            input_ids: `(batch, seq)` token ids, seq at most `max_position_embeddings`.
            attention_mask: `(batch, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(batch or 1, seq)`, the position of each token; by default 0, 1, 2 and so on.
            params: parameters to use instead of the model's.
            dropout_rng: a key, for dropout in training.
            train: apply dropout.
            output_attentions: return the attention weights of all layers (only with eager attention).
            output_hidden_states: return the hidden states of all layers.
            return_dict: False for a plain tuple.

        Returns:
            `last_hidden_state` `(batch, seq, hidden)` and `pooler_output` `(batch, hidden)`, the state at EOS.

        Raises:
            ValueError: the text is longer than the position table, or the mask and the ids differ in shape; or
                `params` does not fit.
            IndexError: an id is outside the vocabulary; not raised under `jax.jit`, which hides the values.
        """
        outputs = self._run(
            "forward",
            {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids},
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        return as_asked(outputs, self.config, return_dict)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs of an uncompiled run on the model's own parameters. Takes the arguments of the tower."""
        return self._head(self.text_model(*args, **kwargs))


class CLIPTextModel(_TextModel):
    """The text tower of CLIP, without projection.

    Args:
        config: a CLIPTextConfig, or a CLIPConfig, whose text part is used.
    """


class CLIPTextModelWithProjection(_TextModel):
    """The text tower of CLIP with the projection into the joint space.

    A call takes the arguments of CLIPTextModel and returns `text_embeds` `(batch, projection)`, not normalized, and
    `last_hidden_state` `(batch, seq, hidden)`.

    Args:
        config: a CLIPTextConfig, or a CLIPConfig, whose text part is used.
    """

    def setup(self, rngs: nnx.Rngs | None) -> None:
        """Create the tower and its projection."""
        super().setup(rngs)
        self.text_projection = projection(self.config.hidden_size, self.config, rngs=rngs, dtype=self.dtype)

    def _head(self, outputs: BaseModelOutputWithPooling[Array]) -> CLIPTextModelOutput[Array]:
        """Project the pooled output of the tower."""
        return CLIPTextModelOutput.of(outputs, text_embeds=self.text_projection(outputs.pooler_output))
