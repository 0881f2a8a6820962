"""Row 6: many labels in many templates, in PyTorch with random weights of ViT-B/32's size.

A few are embedded beside transformers 4.57.6, outputs compared first: by our classifier, which remembers no label then,
and by what users of transformers write, batches of texts as they come. Then 1,000 labels in 80 templates are embedded
as one streamed job, and again, when they are found by their content.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from checkpoints import TINY, write_random
from fresh import peak_memory
from harness import COLUMNS, Row, compare, times_as_fast
from random_texts import PEER, SAME, Words, batch_after_batch, words
from report import Report, Table

import clip_torch
from clip_core.configuration import CLIPConfig
from clip_core.zero_shot import ZeroShotClassifier
from clip_torch.backend import TorchEncoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settings import Settings

LABELS, TEMPLATES = 1000, 80
BESIDE = 50, 16  # labels and templates that the peer embeds too
_MEGABYTE = 1e6


def report(settings: Settings) -> Report:
    """Measure all; a quick check takes few labels, and a tiny model."""
    folder = settings.scratch / "labels"
    write_random(folder, CLIPConfig(**TINY) if settings.quick else CLIPConfig())
    row = label_row(folder, *((10, 2) if settings.quick else BESIDE))
    whole = streamed(folder, *((20, 4) if settings.quick else (LABELS, TEMPLATES)))
    written = Report("labels", "Zero-shot with many labels", __doc__ or "", quick=settings.quick)
    written.tables = [
        Table(["labels", *COLUMNS], [row.cells()]),
        Table(["one streamed job", "first, s", "ms a text", "again, s", "more memory, MB"], [cells(whole)]),
    ]
    written.measurements = [row.record(), whole]
    written.goals = [times_as_fast(row, 1.0)]
    return written


def named(labels: int, templates: int) -> tuple[list[str], list[str]]:
    """Labels of 1 to 3 words, and templates of 2 to 8 and a place."""
    names = words(np.random.default_rng(4).integers(3, 6, labels), seed=5)
    return names, [f"{text} {{}}" for text in words(np.random.default_rng(6).integers(4, 11, templates), seed=7)]


def label_row(folder: Path, labels: int, templates: int) -> Row:
    """Ours beside the peer's."""
    from transformers import CLIPModel

    names, frames = named(labels, templates)
    encoder = TorchEncoder(clip_torch.CLIPModel.from_pretrained(folder))
    peer = CLIPModel.from_pretrained(folder).eval()
    process, texts = Words(), [frame.format(name) for name in names for frame in frames]

    def own() -> np.ndarray:
        return ZeroShotClassifier(encoder, process).embed_labels(names, frames)  # type: ignore[arg-type]

    def theirs() -> np.ndarray:
        embeds = batch_after_batch(peer, process, texts).unflatten(0, (len(names), len(frames)))
        return torch.nn.functional.normalize(embeds.mean(1)).numpy()

    assert np.abs(own() - theirs()).max() < SAME
    return compare(f"{labels} labels in {templates} templates", own, theirs, peer_name=PEER)


def streamed(folder: Path, labels: int, templates: int) -> dict[str, Any]:
    """All as one job; and again, from the cache."""
    names, frames = named(labels, templates)
    encoder = TorchEncoder(clip_torch.CLIPModel.from_pretrained(folder))
    classifier = ZeroShotClassifier(encoder, Words())  # type: ignore[arg-type]
    classifier.embed_labels(names[:4], frames)  # warms up, below what is kept
    before = peak_memory()
    first, embeds = once(lambda: classifier.embed_labels(names, frames))
    grown = peak_memory() - before
    again, kept = once(lambda: classifier.embed_labels(names, frames))
    assert np.array_equal(embeds, kept)
    return {"labels": labels, "templates": templates, "first": first, "again": again, "grown": grown}


def cells(whole: dict[str, Any]) -> list[str]:
    """What stands in the columns."""
    name = f"{whole['labels']} labels in {whole['templates']} templates"
    a_text = 1e3 * whole["first"] / whole["labels"] / whole["templates"]
    grown = f"{whole['grown'] / _MEGABYTE:.0f}"
    return [name, f"{whole['first']:.1f}", f"{a_text:.2f}", f"{whole['again']:.2f}", grown]


def once(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds, and what was returned."""
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done
