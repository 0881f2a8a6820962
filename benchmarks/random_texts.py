"""Random captions, a simple tokenizer for them, and typical transformers code to embed them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

LONGEST, EOS = 77, 49407
BATCH = 32
PEER = "transformers 4.57.6"
SAME = 1e-5  # of embeddings of unit norm
SAME_MODEL = 1e-6  # the same, between our own model's full and trimmed inputs


def caption_lengths(count: int, seed: int = 0) -> np.ndarray:
    """Return token counts distributed like those of captions: at least 5, mostly near 10, a few long; 12 on average."""
    lengths = np.random.default_rng(seed).gamma(2.0, 3.5, count).astype(int) + 5
    return np.minimum(lengths + round(12 - lengths.mean()), LONGEST).clip(4)


def padded(lengths: np.ndarray, seq: int) -> dict[str, Tensor]:
    """Return ids and mask `(batch, seq)` of random words, padded like a tokenizer's."""
    random = np.random.default_rng(1)
    ids = np.full((len(lengths), seq), EOS)
    mask = (np.arange(seq) < lengths[:, None]).astype(np.int64)
    ids[mask == 1] = random.integers(0, 49406, mask.sum())
    ids[:, 0], ids[np.arange(len(lengths)), lengths - 1] = 49406, EOS
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


class Words:
    """A processor without OpenAI's vocabulary: each word is a token, with its id in its name."""

    tokenizer = SimpleNamespace(model_max_length=LONGEST, pad_token_id=EOS)

    def __call__(self, text: list[str], **_: object) -> dict[str, np.ndarray]:
        """Return ids and mask, padded to the longest."""
        rows = [[49406, *(int(word[1:]) for word in one.split()), EOS] for one in text]
        longest = max(map(len, rows))
        ids = np.array([row + [EOS] * (longest - len(row)) for row in rows])
        return {"input_ids": ids, "attention_mask": (np.arange(longest) < [[len(row)] for row in rows]).astype(int)}


def words(lengths: np.ndarray, seed: int = 3) -> list[str]:
    """Return texts with these token counts, including BOS and EOS."""
    random = np.random.default_rng(seed)
    return [" ".join(f"w{number}" for number in random.integers(0, 49406, length - 2)) for length in lengths]


@torch.inference_mode()
def batch_after_batch(model: Any, process: Words, texts: list[str]) -> Tensor:
    """Embed texts in order, padded to the longest of each batch; embeddings have unit norm."""
    found = []
    for start in range(0, len(texts), BATCH):
        inputs = {name: torch.from_numpy(array) for name, array in process(texts[start : start + BATCH]).items()}
        found.append(torch.nn.functional.normalize(model.get_text_features(**inputs)))
    return torch.cat(found)
