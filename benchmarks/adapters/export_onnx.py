"""Export of a stage of transformers' CLIP in PyTorch to ONNX: `python export_onnx.py CHECKPOINT STAGE FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from adapters import torch_models  # noqa: F401  restricts transformers to PyTorch
from checkpoints import pictures, texts

_FULL = ("logits_per_image", "image_embeds", "text_embeds")


class Stage(torch.nn.Module):
    """A stage of the model, with positional tensor arguments."""

    def __init__(self, model: Any, names: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.model, self.names, self.outputs = model, names, outputs

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Run the stage."""
        inputs = dict(zip(self.names, tensors, strict=True))
        if self.outputs == ["image_features"]:
            return self.model.get_image_features(**inputs)
        if self.outputs == ["text_features"]:
            return self.model.get_text_features(**inputs)
        output = self.model(**inputs)
        return tuple(output[name] for name in self.outputs)


def main(checkpoint: str, stage: str, file: str) -> None:
    """Write the graph, with a dynamic batch size."""
    import transformers

    model = transformers.CLIPModel.from_pretrained(checkpoint).eval()
    size = model.config.vision_config.image_size
    images, words = {"pixel_values": pictures(2, size)}, texts(2)
    inputs = {"images": images, "texts": words, "full": {**words, **images}}[stage]
    outputs = {"images": ["image_features"], "texts": ["text_features"], "full": list(_FULL)}[stage]
    tensors = tuple(torch.from_numpy(array) for array in inputs.values())
    torch.onnx.export(
        Stage(model, list(inputs), outputs),
        tensors,
        file,
        input_names=list(inputs),
        output_names=outputs,
        dynamic_axes={name: {0: "batch"} for name in inputs},
        dynamo=False,
        opset_version=17,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
