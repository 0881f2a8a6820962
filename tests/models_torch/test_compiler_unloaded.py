"""Programs that must not load PyTorch's compiler: triton comes with it, and crashes beside TensorFlow."""

from __future__ import annotations

import pytest

from support.checkpoints import odd_config, save_checkpoint

LOAD_RUN_AND_SAVE = """
import sys
import torch
from clip_torch import CLIPModel

model = CLIPModel.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[3]))
vision = model.config.vision_config
inputs = {
    "input_ids": torch.ones(2, 4, dtype=torch.long),
    "pixel_values": torch.zeros(2, vision.num_channels, vision.image_size, vision.image_size, dtype=model.dtype),
}
with torch.inference_mode():
    model(**inputs)
model(**inputs, return_loss=True).loss.backward()
model.save_pretrained(sys.argv[2])
model.float().prepare_for_inference()
print("torch._dynamo" in sys.modules, "triton" in sys.modules)
"""


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_loading_running_and_saving_a_model_leaves_the_compiler_alone(tmp_path, run_program, dtype):
    save_checkpoint(tmp_path / "model", odd_config())
    loaded = run_program(LOAD_RUN_AND_SAVE, tmp_path / "model", tmp_path / "again", dtype)
    assert loaded.split() == ["False", "False"]
