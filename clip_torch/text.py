"""The text tower: a causal transformer over tokens, pooled at the EOS token (Radford et al. 2021, section 2.4)."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from clip_core.configuration import CLIPTextConfig
from clip_core.modeling.inputs import check_eos, check_text_length, number_of_tokens, required, unknown_ids
from clip_core.modeling.outputs import BaseModelOutputWithPooling, CLIPTextModelOutput, as_asked, outputs_asked
from clip_core.modeling.towers import TextTowerHandles
from clip_core.modeling.trimming import hides_what_is_read, parts_to_read
from clip_torch.derived import call_text, encoder_options
from clip_torch.initialization import add_positions, embedding, projection
from clip_torch.layers import CLIPEncoder
from clip_torch.packing import Packing, filled
from clip_torch.plan import choose_implementation, text_plan
from clip_torch.pretrained import CLIPPreTrainedModel
from clip_torch.tensors import known_values


class CLIPTextEmbeddings(nn.Module):
    """Token embeddings plus learned position embeddings."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        std = 0.02 * config.initializer_factor  # not initializer_range: as in transformers
        self.token_embedding = embedding(config.vocab_size, config.hidden_size, std=std)
        self.position_embedding = embedding(config.max_position_embeddings, config.hidden_size, std=std)
        add_positions(self, self.position_embedding)

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Embed ids `(batch, seq)` at their positions `(batch or 1, seq)`: `(batch, seq, hidden)`.

        `inputs_embeds` `(batch, seq, hidden)` replace the tokens' embeddings.
        """
        check_text_length(number_of_tokens(input_ids, inputs_embeds), self.position_embedding.num_embeddings)
        if inputs_embeds is None:
            try:
                inputs_embeds = cast("Tensor", self.token_embedding(input_ids))
            except IndexError as error:
                raise unknown_ids(self.token_embedding.num_embeddings) from error
        if position_ids is None:  # not the buffer, for the reason in CLIPVisionEmbeddings
            position_ids = torch.arange(inputs_embeds.shape[-2], device=inputs_embeds.device)[None]
        embedded: Tensor = inputs_embeds + self.position_embedding(position_ids)
        return embedded


class CLIPTextTransformer(TextTowerHandles, nn.Module):
    """The text tower without a head."""

    _known_values = staticmethod(known_values)

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = CLIPTextEmbeddings(config)
        self.encoder = CLIPEncoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling[Tensor]:
        """Run the tower. Takes the arguments of `CLIPTextModel`."""
        input_ids = required("input_ids", input_ids)
        config = self.config
        output_attentions, output_hidden_states = outputs_asked(config, output_attentions, output_hidden_states)

        input_ids = input_ids.reshape(-1, input_ids.shape[-1])
        hidden_states = self.embeddings(input_ids=input_ids, position_ids=position_ids)
        implementation = choose_implementation(config, output_attentions=output_attentions)
        encoded = self.encoder(
            inputs_embeds=hidden_states,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            **encoder_options(self.encoder, text_plan(implementation, attention_mask, hidden_states), hidden_states),
        )
        last_hidden_state = self.final_layer_norm(encoded.last_hidden_state)
        rows = torch.arange(input_ids.shape[0], device=last_hidden_state.device)
        pooled = last_hidden_state[rows, self.eos_positions(input_ids).to(last_hidden_state.device)]
        return BaseModelOutputWithPooling.of(encoded, last_hidden_state=last_hidden_state, pooler_output=pooled)

    def pooled(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return only the pooled output, `(batch, hidden)`, without reading tokens that cannot change it.

        Eager calls on the CPU do so; other calls read every token. See `clip_core.modeling.trimming`. The tower must
        take packed texts.
        """
        lengths = self.lengths_to_read(input_ids, attention_mask, training=self.training)
        if lengths is None:
            return self(input_ids, attention_mask).pooler_output
        if attention_mask is not None and not hides_what_is_read(attention_mask.bool().numpy(), lengths):
            attention_mask = None
        order, pooled = [], []
        for rows, length in parts_to_read(lengths, packed=attention_mask is None):
            index = torch.from_numpy(rows)
            ids = input_ids[index, :length]
            if attention_mask is None:
                pooled.append(self._packed(ids, torch.from_numpy(lengths[rows])))
            else:
                pooled.append(self(ids, attention_mask[index, :length]).pooler_output)
            order.append(index)
        return torch.cat(pooled)[torch.cat(order).argsort()]

    def _packed(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the states `(rows, hidden)` of the last of `lengths` `(rows,)` tokens of ids `(rows, seq)`."""
        input_ids, read = filled(self, input_ids, lengths)
        embedded = self.embeddings(input_ids)
        plan = text_plan(choose_implementation(self.config, output_attentions=False), None, embedded)
        if (read < input_ids.shape[1]).any():
            packing = Packing.of(torch.arange(input_ids.shape[1]) < read[:, None])
            embedded, plan = packing.packed(embedded), plan._replace(packing=packing)
        encoded = self.encoder(embedded, plan=plan, output_attentions=False, output_hidden_states=False)
        last = read.cumsum(dim=0) - read + lengths - 1
        return self.final_layer_norm(encoded.last_hidden_state.flatten(0, 1)[last])

    def eos_positions(self, input_ids: Tensor) -> Tensor:
        """Return the position of the pooled token in each row of ids `(batch, seq)`: `(batch,)`.

        It is the first EOS token. A row without EOS is pooled at position 0, as in transformers, or raises an error if
        `config.missing_eos` is "error". The legacy `eos_token_id` 2 pools at the largest id.
        """
        if self.config.pools_at_largest_id:
            return input_ids.to(torch.int).argmax(dim=-1)
        is_eos: Tensor = input_ids.eq(self.config.eos_token_id)
        if self.config.missing_eos == "error" and not torch.compiler.is_compiling():
            check_eos(is_eos.any(dim=-1).tolist(), self.config.eos_token_id)
        return is_eos.int().argmax(dim=-1)


class _TextModel(CLIPPreTrainedModel):
    """A text tower and the head applied to its outputs."""

    config: CLIPTextConfig
    config_class = CLIPTextConfig
    main_input_name = "input_ids"
    _no_split_modules: ClassVar[list[str] | None] = ["CLIPTextEmbeddings", "CLIPEncoderLayer"]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.text_model = CLIPTextTransformer(self.config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling[Tensor] | tuple[Any, ...]:
        """Encode texts.

        Args:
            input_ids: `(batch, seq)` token ids, seq at most `max_position_embeddings`.
            attention_mask: `(batch, seq)`, 1 for tokens to attend to and 0 for padding.
            position_ids: `(batch or 1, seq)`, the position of each token; by default 0, 1, 2 and so on.
            output_attentions: return the attention weights of all layers (only with eager attention).
            output_hidden_states: return the hidden states of all layers.
            return_dict: False for a plain tuple.

        Returns:
            `last_hidden_state` `(batch, seq, hidden)` and `pooler_output` `(batch, hidden)`, the state at EOS.

        Raises:
            ValueError: the text is longer than the position table, or the mask and the ids differ in shape.
            IndexError: an id is outside the vocabulary.
        """
        requested = output_attentions, output_hidden_states
        outputs = call_text(self.text_model, input_ids, attention_mask, position_ids, *requested)
        return as_asked(self._head(outputs), self.config, return_dict)


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

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.text_projection = projection(self.config.hidden_size, self.config)
        self.post_init()

    def _head(self, outputs: BaseModelOutputWithPooling[Tensor]) -> CLIPTextModelOutput[Tensor]:
        """Project the pooled output of the tower."""
        return CLIPTextModelOutput.of(outputs, text_embeds=self.text_projection(outputs.pooler_output))
