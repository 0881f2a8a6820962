"""Subclasses in PyTorch: `_init_weights` is honoured, ties and buffers are kept."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clip_torch import CLIPConfig, CLIPModel, CLIPPreTrainedModel, CLIPVisionModel
from converters.formats.safetensors import read
from support.backends import TORCH
from support.configs import tiny_config
from support.messages import naming

BACKEND = TORCH


class Filled(CLIPPreTrainedModel):
    """A head that its class fills, and a buffer."""

    base_model_prefix = "clip"

    def __init__(self, config):
        super().__init__(config)
        self.clip = CLIPModel(config)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Sequential(nn.Linear(24, 5), nn.Linear(5, 2))
        self.register_buffer("step", torch.tensor(3))
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.fill_(0.25)
            module.bias.data.fill_(0.5)


class Tied(CLIPPreTrainedModel):
    """An output embedding that is the input embedding."""

    base_model_prefix = "clip"

    def __init__(self, config):
        super().__init__(config)
        self.clip = CLIPModel(config)
        self.output = nn.Linear(40, 99, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.clip.get_input_embeddings()

    def get_output_embeddings(self):
        return self.output


class Pair(CLIPPreTrainedModel):
    """Two CLIPs, of which a checkpoint fills the one under the prefix."""

    base_model_prefix = "student"

    def __init__(self, config):
        super().__init__(config)
        self.student = CLIPModel(config)
        self.teacher = CLIPModel(config)
        self.post_init()


def load(model_class, folder, *names):
    with pytest.warns(UserWarning, match=naming(model_class, *names)):
        return model_class.from_pretrained(folder, output_loading_info=True)


def assert_filled(model):
    assert all((layer.weight == 0.25).all() and (layer.bias == 0.5).all() for layer in model.head)
    assert (model.norm.weight == 1).all()
    assert (model.norm.bias == 0).all()
    assert model.clip.text_projection.weight.std() > 0


def test_init_weights_draws_what_a_class_adds_and_leaves_the_clip_in_it_alone(plain):
    model, folder = plain
    assert_filled(Filled(tiny_config()))
    loaded, info = load(Filled, folder, "head.0.weight")
    assert_filled(loaded)
    assert set(info["missing_keys"]) == {
        *("norm.weight", "norm.bias", "head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias", "step"),
    }
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.clip.state_dict()[name], weight), name


def test_a_subclass_of_the_whole_model_draws_all_of_it(plain):
    class Constant(CLIPModel):
        def _init_weights(self, module):
            super()._init_weights(module)
            if isinstance(module, nn.Linear):
                module.weight.data.fill_(0.125)

    fresh, loaded = Constant(tiny_config()), Constant.from_pretrained(plain[1])
    assert (fresh.text_model.encoder.layers[1].mlp.fc1.weight == 0.125).all()
    assert torch.equal(loaded.text_projection.weight, plain[0].text_projection.weight)


def test_a_module_marked_as_initialized_keeps_its_values():
    class Kept(Filled):
        def _init_weights(self, module):
            self.head[1]._is_hf_initialized = True
            super()._init_weights(module)

    model = Kept(tiny_config())
    assert (model.head[0].weight == 0.25).all()
    assert not (model.head[1].weight == 0.25).all()


def test_layers_are_drawn_again_by_init_weights(plain):
    model, _ = plain
    weight = model.text_model.encoder.layers[2].mlp.fc1.weight
    weight.data.zero_()
    model.text_model.encoder.layers[2].apply(model._init_weights)
    assert 0 < weight.std() < 1


def test_buffers_are_saved_loaded_and_keep_their_dtype(plain, tmp_path):
    model, _ = load(Filled, plain[1], "step")
    model.step += 4
    model.save_pretrained(tmp_path / "saved")
    half = Filled.from_pretrained(tmp_path / "saved", dtype=torch.float16)
    assert (half.step, half.step.dtype, half.head[0].weight.dtype) == (7, torch.int64, torch.float16)


def test_tied_weights_are_saved_once_and_stay_tied(plain, tmp_path):
    model = Tied.from_pretrained(plain[1])
    table = model.clip.text_model.embeddings.token_embedding
    assert model.output.weight is table.weight
    assert torch.equal(table.weight, plain[0].text_model.embeddings.token_embedding.weight)
    model.save_pretrained(tmp_path / "saved")
    assert "output.weight" not in read(tmp_path / "saved" / "model.safetensors")
    again, info = Tied.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    assert again.output.weight is again.clip.text_model.embeddings.token_embedding.weight


def test_of_two_clips_the_checkpoint_fills_the_one_under_the_prefix(plain, tmp_path):
    model, info = load(Pair, plain[1], "teacher.logit_scale")
    assert len(info["missing_keys"]) == len(plain[0].state_dict())
    assert torch.equal(model.student.text_projection.weight, plain[0].text_projection.weight)
    assert 0 < model.teacher.text_projection.weight.std() < 1
    model.save_pretrained(tmp_path / "saved")
    again, info = Pair.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_a_class_that_holds_a_tower_is_filled_from_a_whole_clip(plain):
    class Tower(CLIPPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.vision_model = CLIPVisionModel(config.vision_config).vision_model
            self.extra = nn.Linear(36, 2)
            self.post_init()

    model, info = load(Tower, plain[1], "extra.weight", "extra.bias")
    assert sorted(info["missing_keys"]) == ["extra.bias", "extra.weight"]
    assert len(info["unexpected_keys"]) == 55
    expected = plain[0].vision_model.post_layernorm.weight
    assert torch.equal(model.vision_model.post_layernorm.weight, expected)


def test_a_model_is_made_in_a_dtype():
    assert CLIPModel._from_config(tiny_config(), torch_dtype="float16").dtype == torch.float16
    assert CLIPPreTrainedModel.config_class is CLIPConfig
