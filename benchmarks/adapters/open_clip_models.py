"""Adapter for open_clip, on the same weights in its own layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from adapters.torch_models import TorchModel

# Only models are timed here, so torchvision, which open_clip needs for preprocessing, is stubbed as in the tests.
sys.path.append(str(Path(__file__).parents[2] / "tests"))


class OpenClipModel(TorchModel):
    """A model with open_clip's own names for the stages."""

    def _images(self, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        return {"image_features": self.model.encode_image(inputs["pixel_values"], **options)}

    def _texts(self, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        return {"text_features": self.model.encode_text(inputs["input_ids"], **options)}

    def _full(self, inputs: dict[str, Any], _options: dict[str, Any]) -> dict[str, Any]:
        logits, _ = self.model.get_logits(inputs["pixel_values"], inputs["input_ids"])
        return {"logits_per_image": logits}


def load(checkpoint: str, threads: int) -> OpenClipModel:
    """Load a checkpoint.

    Args:
        checkpoint: the folder; its sibling `<folder>-open_clip` holds it in open_clip's layout.
        threads: number of threads to use.
    """
    from support.stand_ins import stand_ins

    with stand_ins():
        import open_clip
    torch.set_num_threads(threads)
    model = open_clip.create_model(f"local-dir:{checkpoint}-open_clip").eval()
    return OpenClipModel(model, {"torch": torch.__version__, "open_clip": open_clip.__version__})
