"""Benchmark checkpoints: a CLIP model of any size, with seeded random weights distributed like initial ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.modeling.parameters import parameter_table
from converters.formats import format_named
from converters.tensors import TensorEntry
from converters.writing import save_weights

if TYPE_CHECKING:
    from pathlib import Path

    from clip_core.configuration import CLIPConfig

TEMPERATURE = 1 / 0.07  # scale of the logits relative to cosines

VIT_B_32: dict[str, Any] = {}  # the configuration's defaults
VIT_L_14: dict[str, Any] = {
    "text_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "projection_dim": 768,
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
    },
    "projection_dim": 768,
}
# As many tokens as ViT-B/32 but almost no arithmetic: for checking the harness.
TINY: dict[str, Any] = {
    "text_config": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2},
    "vision_config": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2},
    "projection_dim": 16,
}


def write_random(folder: Path, config: CLIPConfig, max_shard_size: str = "5GB") -> int:
    """Write `model.safetensors` and `config.json`; equal configurations give equal weights.

    Args:
        folder: the folder to write to.
        config: the model's configuration.
        max_shard_size: maximum size of a weights file.

    Returns:
        The size of the weights in bytes.
    """
    random = np.random.default_rng(0)

    def weights(name: str, shape: tuple[int, ...]) -> TensorEntry:
        return TensorEntry(shape, np.dtype(np.float32), lambda: _drawn(random, name, shape))

    entries = {name: weights(name, shape) for name, shape in parameter_table(config, "CLIPModel").items()}
    format_ = format_named("safetensors")
    texts = {"config.json": config.to_json_string()}
    save_weights(folder, entries, format_, max_shard_size=max_shard_size, texts=texts)
    return sum(entry.nbytes for entry in entries.values())


def write_processed(folder: Path, *, quick: bool = False) -> None:
    """Write ViT-B/32 with random weights, and a processor beside it: a checkpoint that programs load by its path.

    Each of `tokenizing.WORDS` is a token, as such common words are in OpenAI's vocabulary, so that texts of 3 to 20
    words have as many tokens as captions.

    Args:
        folder: the folder to write to.
        quick: write a tiny model.
    """
    from tokenizing import TOKENIZER, WORDS

    from clip_core import CLIPImageProcessor, CLIPProcessor
    from clip_core.configuration import CLIPConfig
    from clip_core.tokenization import CLIPTokenizerFast

    known = CLIPTokenizerFast.from_pretrained(TOKENIZER, model_max_length=77)
    tokenizer = known.train_new_from_iterator([WORDS], len(known))
    sizes = TINY if quick else VIT_B_32
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text_config = {**sizes.get("text_config", {}), **special}  # EOS is where the model reads a text's features
    write_random(folder, CLIPConfig(**{**sizes, "text_config": text_config}))
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)
    config = folder / "config.json"
    # transformers' classes choose by the architectures, and Infinity truncates texts to max_length, which is 20 unless
    # the configuration says otherwise.
    further = {"architectures": ["CLIPModel"], "max_length": tokenizer.model_max_length}
    config.write_text(json.dumps({**further, **json.loads(config.read_text())}))


def pictures(batch: int, size: int = 224) -> np.ndarray:
    """Return pixel values `(batch, 3, size, size)`, float32, normalized."""
    return np.random.default_rng(1).standard_normal((batch, 3, size, size), dtype=np.float32)


def texts(batch: int, seq: int = 77) -> dict[str, np.ndarray]:
    """Return ids and mask `(batch, seq)` of full-length texts: from BOS to EOS, no padding."""
    ids = np.random.default_rng(2).integers(0, 49406, (batch, seq))
    ids[:, 0], ids[:, -1] = 49406, 49407
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _drawn(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name == "logit_scale":
        return np.array(np.log(TEMPERATURE), np.float32)
    values = random.standard_normal(shape, np.float32) / 50
    return values + 1 if "norm" in name and name.endswith("weight") else values
