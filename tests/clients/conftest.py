"""Real clients: each script runs on this library and on transformers 4.57.6, from one checkpoint, and has to agree.

They need an environment of their own: `make test-clients`. A client that the environment lacks is skipped. `make
test-training-clients` runs those that need no more packages than the rest of the suite.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from support.configs import TEXT, VISION
from support.oracle import flatten
from support.vocabulary import BOS, EOS, TOKENS, write_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

collect_ignore_glob = [] if importlib.util.find_spec("captum") else ["test_*.py"]  # unless named

# As in users' models: a processor, and three channels of a size that it gives every image.
IDS = {"vocab_size": len(TOKENS), "bos_token_id": BOS, "eos_token_id": EOS}
TOWERS = {
    "text_config": {**TEXT, **IDS, "hidden_act": "quick_gelu"},
    "vision_config": {**VISION, "hidden_act": "quick_gelu", "num_channels": 3},
    "projection_dim": 24,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP and its processor, as transformers saves them."""
    import torch
    import transformers

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint")
    transformers.CLIPModel(transformers.CLIPConfig(**TOWERS)).save_pretrained(path)
    files = {name: str(file) for name, file in write_vocabulary(path).items()}
    tokenizer = transformers.CLIPTokenizerFast(**files, model_max_length=TEXT["max_position_embeddings"])
    size = VISION["image_size"]
    images = transformers.CLIPImageProcessor(size=size, crop_size=size)
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(path)
    return path


@pytest.fixture
def agree(folder: Path, tmp_path: Path) -> Callable[..., None]:
    """Return a function that runs a client, `client(library, folder, out)`, on both libraries and compares.

    To the bit, unless tolerances are given.
    """

    def run(client: Callable[..., Any], ours: str = "clip_torch", **tolerances: float) -> None:
        import torch

        results = {}
        for library in ("transformers", ours):
            out = tmp_path / library
            out.mkdir()
            torch.manual_seed(0)
            results[library] = flatten(client(importlib.import_module(library), folder, out))
        expected, found = results.values()
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            if tolerances:
                np.testing.assert_allclose(found[name], array, err_msg=name, **tolerances)
            else:
                np.testing.assert_array_equal(found[name], array, err_msg=name)

    return run
