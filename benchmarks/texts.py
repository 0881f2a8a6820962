"""Row 4: text features beside transformers 4.57.6, in PyTorch on the CPU: outputs compared first, then timed.

Weights are random, of ViT-B/32's size, and seeded; so are the words, so that nothing needs downloading. Captions
average 12 tokens, including BOS and EOS.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from checkpoints import TINY, write_random
from harness import COLUMNS, Row, compare, times_as_fast
from plots import bars
from random_texts import (
    BATCH,
    LONGEST,
    PEER,
    SAME,
    SAME_MODEL,
    Words,
    batch_after_batch,
    caption_lengths,
    padded,
    words,
)
from report import Report, Table

import clip_torch
from clip_core.configuration import CLIPConfig
from clip_core.tasks.texts import encode_texts
from clip_torch.backend import ModelEncoder

if TYPE_CHECKING:
    from pathlib import Path

    from goals import Goal
    from settings import Settings
    from torch import Tensor

WHY_ONE = "a single short text is memory-bound: reading 150 MB of weights dominates, for one token as for 77"


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check uses a tiny model."""
    folder = settings.scratch / "texts"
    write_random(folder, CLIPConfig(**TINY) if settings.quick else CLIPConfig())
    found = [*feature_rows(folder), stream_row(folder)]
    written = Report("texts", "Text features", __doc__ or "", quick=settings.quick)
    written.tables = [Table(["texts", *COLUMNS], [row.cells() for row in found])]
    written.measurements = [row.record() for row in found]
    written.goals = [goal for row in found for goal in goals(row)]
    written.plot = partial(draw, written.measurements)
    return written


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot how many times as fast as the peer each row is."""
    values = {one["name"]: one["ratio"] for one in measurements}
    bars(path, title="Text features", across=f"times as fast as {PEER}", values=values, line=1.0)


def goals(row: Row) -> list[Goal]:
    """Return the targets: three times the speed if padded to 77 tokens, and 1.5 times for mixed lengths."""
    alone = row.name.startswith("1 ")
    if "padded to 77" in row.name:
        return [times_as_fast(row, 3.0, WHY_ONE if alone else "")]
    return [] if alone else [times_as_fast(row, 1.5)]  # a single text has no mixed lengths to exploit


def feature_rows(folder: Path) -> list[Row]:
    """Compare captions padded to 77 tokens and to the longest of the batch, with our model as loaded and prepared."""
    from transformers import CLIPModel

    ours = clip_torch.CLIPModel.from_pretrained(folder)
    prepared = clip_torch.CLIPModel.from_pretrained(folder).prepare_for_inference()
    peer = CLIPModel.from_pretrained(folder).eval()
    rows = []
    for batch in (1, 16, 64):
        lengths = caption_lengths(batch)
        for name, seq in (("77", LONGEST), ("the longest", int(lengths.max()))):
            inputs = padded(lengths, seq)
            check_same(ours, peer, inputs)
            title = f"{captions(lengths)}, padded to {name}"
            rows.append(timed(title, ours, peer, inputs))
            check_same(prepared, peer, inputs)
            rows.append(timed(f"{title}, prepared", prepared, peer, inputs))
    for batch, longest in ((16, LONGEST), (64, 40)):
        lengths = np.linspace(5, longest, batch).astype(int)
        inputs = padded(np.random.default_rng(2).permutation(lengths), longest)
        check_same(ours, peer, inputs)
        rows.append(
            timed(f"{batch} texts of uniform lengths, 5 to {longest} tokens, padded to the longest", ours, peer, inputs)
        )
    return rows


def captions(lengths: np.ndarray) -> str:
    """Return the name of a batch: how many captions it has, and of what lengths in tokens."""
    if len(lengths) == 1:
        return f"1 caption of {lengths[0]} tokens"
    return f"{len(lengths)} captions of {lengths.mean():.0f} tokens on average, at most {lengths.max()}"


@torch.inference_mode()
def check_same(ours: Any, peer: Any, inputs: dict[str, Tensor]) -> None:
    """Check that both give the same embeddings, and that ours equal those from reading every token."""
    whole = ours.text_projection(ours.text_model(**inputs).pooler_output)
    embeds, read_whole, expected = (
        torch.nn.functional.normalize(features)
        for features in (ours.get_text_features(**inputs), whole, peer.get_text_features(**inputs))
    )
    assert (embeds - read_whole).abs().max() < SAME_MODEL
    assert (embeds - expected).abs().max() < SAME


@torch.inference_mode()
def timed(name: str, ours: Any, peer: Any, inputs: dict[str, Tensor]) -> Row:
    """Return a row of the table."""
    return compare(
        name, lambda: ours.get_text_features(**inputs), lambda: peer.get_text_features(**inputs), peer_name=PEER
    )


def stream_row(folder: Path) -> Row:
    """Compare `encode_texts` with typical transformers code: batches in order, padded to their longest."""
    from transformers import CLIPModel

    ours = ModelEncoder(clip_torch.CLIPModel.from_pretrained(folder))
    peer = CLIPModel.from_pretrained(folder).eval()
    process, texts = Words(), words(caption_lengths(256))

    def theirs() -> np.ndarray:
        return batch_after_batch(peer, process, texts).numpy()

    def own() -> np.ndarray:
        return encode_texts(ours, process, texts, batch_size=BATCH)

    assert np.abs(own() - theirs()).max() < SAME
    return compare(f"256 captions with encode_texts, {BATCH} at a time", own, theirs, peer_name=PEER)
