"""Masks for layers of one's own, counts of operations, inputs to try a model with, and flags that libraries read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import clip_torch
from support.configs import inputs_for, tiny_config
from support.messages import naming

LOWEST = torch.finfo(torch.float32).min
PADDED = torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.fixture(scope="module")
def model():
    return clip_torch.CLIPTextModel(tiny_config())


def test_an_inverted_mask_is_a_bias(model):
    bias = model.invert_attention_mask(PADDED)
    assert bias.dtype == torch.float32
    assert bias.tolist() == [[[[0, 0, LOWEST]]], [[[0, 0, 0]]]]
    assert model.get_extended_attention_mask(PADDED, (2, 3)).equal(bias)
    by_query = PADDED[:, None].expand(2, 3, 3)
    assert model.invert_attention_mask(by_query).equal(bias.expand(2, 1, 3, 3))
    half = model.get_extended_attention_mask(PADDED, (2, 3), dtype=torch.float16)
    assert half.tolist()[0] == [[[0, 0, torch.finfo(torch.float16).min]]]
    with pytest.raises(ValueError, match=naming("attention_mask", (2,))):
        model.invert_attention_mask(PADDED[:, 0])


def test_the_mask_of_a_decoder_is_causal(model):
    model.config.is_decoder = True
    causal = model.get_extended_attention_mask(PADDED, (2, 3))[:, 0] == 0
    model.config.is_decoder = False
    assert causal.int().tolist() == [[[1, 0, 0], [1, 1, 0], [1, 1, 0]], [[1, 0, 0], [1, 1, 0], [1, 1, 1]]]
    after_one = model.create_extended_attention_mask_for_decoder((2, 2), PADDED)
    assert after_one[1, 0].tolist() == [[1, 1, 0], [1, 1, 1]]


def test_a_mask_of_heads_is_one_for_each_layer(model):
    assert model.get_head_mask(None, 2) == [None, None]
    for_all = model.get_head_mask(torch.tensor([1, 0]), 3)
    assert for_all.shape == (3, 1, 2, 1, 1)
    assert for_all[:, 0, :, 0, 0].tolist() == [[1, 0]] * 3
    by_layer = model.get_head_mask(torch.tensor([[1, 0], [0, 1]]), 2, is_attention_chunked=True)
    assert (by_layer.shape, by_layer.dtype) == ((2, 1, 2, 1, 1, 1), torch.float32)


def test_operations_are_counted_as_trainer_logs_them(model):
    weights = model.num_parameters(exclude_embeddings=True)
    assert model.floating_point_ops({"input_ids": torch.zeros(2, 5)}) == 6 * 10 * weights
    assert model.floating_point_ops({"input_ids": torch.zeros(1, 1)}, exclude_embeddings=False) == (
        6 * model.num_parameters()
    )
    assert model.floating_point_ops({}) == 0


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModel", "CLIPVisionModel", "CLIPForImageClassification"])
def test_dummy_inputs_run(class_name):
    model = getattr(clip_torch, class_name)(tiny_config()).to(torch.bfloat16)
    assert model.main_input_name in model.dummy_inputs
    assert len(model(**model.dummy_inputs)[-1 if class_name == "CLIPModel" else 0]) > 0


def test_a_parameter_or_buffer_is_found_by_its_name(model):
    embeddings = model.text_model.embeddings
    prefix = "text_model.embeddings"
    assert model.get_parameter_or_buffer(f"{prefix}.position_ids") is embeddings.position_ids
    assert model.get_parameter_or_buffer(f"{prefix}.token_embedding.weight") is embeddings.token_embedding.weight
    with pytest.raises(AttributeError, match=naming(f"{prefix}.gone", "CLIPTextModel")):
        model.get_parameter_or_buffer(f"{prefix}.gone")


def test_flags_that_libraries_read():
    model_class = clip_torch.CLIPModel
    assert model_class._supports_sdpa
    assert model_class._supports_flash_attn
    assert not model_class._supports_flex_attn
    assert model_class._can_set_attn_implementation()
    assert model_class._tied_weights_keys is None
    model = model_class(tiny_config())
    for name in ("_tp_plan", "_pp_plan", "tp_plan", "pp_plan", "can_record_outputs", "_checkpoint_conversion_mapping"):
        assert getattr(model, name) == {}, name
    assert model.tp_size is model._tp_size is model._keep_in_fp32_modules_strict is None
    assert model.use_kernels is model._can_compile_fullgraph is False
    model.warnings_issued["estimate_tokens"] = True
    assert model_class(tiny_config()).warnings_issued == {}


class Blocks(nn.Module):
    """Layers of a user, which checkpoint as those of transformers do."""

    def __init__(self, width):
        super().__init__()
        self.gradient_checkpointing = False
        self.layer = nn.Linear(width, width)
        self.calls = 0

    def once(self, states):
        self.calls += 1
        return self.layer(states)

    def forward(self, states):
        if self.gradient_checkpointing and self.training:
            return self._gradient_checkpointing_func(self.once, states)
        return self.once(states)


class Extended(clip_torch.CLIPPreTrainedModel):
    """A text model with further layers, in which the base model is the text model."""

    config_class = clip_torch.CLIPTextConfig

    def __init__(self, config):
        super().__init__(config)
        self.clip = clip_torch.CLIPTextModel(config)
        self.blocks = Blocks(config.hidden_size)
        self.post_init()

    def forward(self, input_ids):
        return self.blocks(self.clip(input_ids).pooler_output)


def test_layers_of_a_subclass_are_recomputed_too():
    model = Extended(tiny_config().text_config).train()
    ids = torch.from_numpy(inputs_for("CLIPTextModel")["input_ids"])
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert model.blocks.gradient_checkpointing
    model(ids).sum().backward()
    assert model.blocks.calls == 2
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_embeddings_and_heads_of_a_base_model_are_within_reach():
    model = Extended(tiny_config().text_config)
    table = model.get_input_embeddings()
    assert table is model.clip.get_input_embeddings()
    assert model.resize_token_embeddings(120) is table
    assert model.clip.config.vocab_size == model.vocab_size == 120
    model.prune_heads({0: [1]})
    assert model.clip.config.pruned_heads == {0: [1]}
    model.clip.base_model_prefix = "none"
    del model.clip.text_model
    with pytest.raises(NotImplementedError, match=naming(clip_torch.CLIPTextModel, "get_input_embeddings")):
        model.clip.get_input_embeddings()


def test_a_hook_sees_the_activations_and_another_activation_takes_their_place():
    model = clip_torch.CLIPVisionModel(tiny_config()).eval()
    inputs = {"pixel_values": torch.from_numpy(inputs_for("CLIPVisionModel")["pixel_values"])}
    mlp, seen = model.vision_model.encoder.layers[0].mlp, []
    mlp.activation_fn.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    before = model(**inputs).pooler_output
    assert seen == [(4, 26, mlp.fc1.out_features)]
    mlp.activation_fn = nn.ReLU()
    assert not torch.equal(model(**inputs).pooler_output, before)


@pytest.mark.parametrize(
    ("name", "loss_type"), [("CLIPModel", None), ("CLIPForImageClassification", "ForImageClassification")]
)
def test_models_have_the_tags_and_the_kind_of_loss_of_the_reference(name, loss_type):
    model = getattr(clip_torch, name)(tiny_config())
    assert model.model_tags is None
    assert model.loss_type == loss_type
    model.model_tags = ["trl"]
    model.loss_type = "other"
    assert clip_torch.CLIPModel.model_tags is None
