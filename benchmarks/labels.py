"""Row 6: many labels in many templates, in PyTorch with random weights of ViT-B/32's size.

A small set is embedded beside transformers 4.57.6, outputs compared first: by our classifier without its label cache,
with a model as loaded and one prepared for inference; and by typical transformers code, batches of texts in order. Then
the prepared model embeds 1,000 labels in 80 templates as one streamed job, and again from the cache.
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
from clip_core.tasks.zero_shot import ZeroShotClassifier
from clip_torch.backend import ModelEncoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settings import Settings

LABELS, TEMPLATES = 1000, 80
BESIDE = 50, 16  # labels and templates that the peer embeds too
_MEGABYTE = 1e6


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check uses few labels and a tiny model."""
    folder = settings.scratch / "labels"
    write_random(folder, CLIPConfig(**TINY) if settings.quick else CLIPConfig())
    rows = label_rows(folder, *((10, 2) if settings.quick else BESIDE))
    whole = streamed(folder, *((20, 4) if settings.quick else (LABELS, TEMPLATES)))
    written = Report("labels", "Zero-shot with many labels", __doc__ or "", quick=settings.quick)
    written.tables = [
        Table(["labels", *COLUMNS], [row.cells() for row in rows]),
        Table(["one streamed job", "first, s", "ms per text", "from the cache, s", "added memory, MB"], [cells(whole)]),
    ]
    written.measurements = [*(row.record() for row in rows), whole]
    written.goals = [times_as_fast(row, 1.0) for row in rows]
    return written


def named(labels: int, templates: int) -> tuple[list[str], list[str]]:
    """Return labels of 1 to 3 words, and templates of 2 to 8 words and a placeholder."""
    names = words(np.random.default_rng(4).integers(3, 6, labels), seed=5)
    return names, [f"{text} {{}}" for text in words(np.random.default_rng(6).integers(4, 11, templates), seed=7)]


def label_rows(folder: Path, labels: int, templates: int) -> list[Row]:
    """Compare ours, as loaded and prepared, with the peer."""
    from transformers import CLIPModel

    names, frames = named(labels, templates)
    peer, process = CLIPModel.from_pretrained(folder).eval(), Words()
    texts = [frame.format(name) for name in names for frame in frames]

    def theirs() -> np.ndarray:
        embeds = batch_after_batch(peer, process, texts).unflatten(0, (len(names), len(frames)))
        return torch.nn.functional.normalize(embeds.mean(1)).numpy()

    def row(title: str, encoder: ModelEncoder) -> Row:
        def own() -> np.ndarray:
            return ZeroShotClassifier(encoder, process).embed_labels(names, frames)  # type: ignore[arg-type]

        assert np.abs(own() - theirs()).max() < SAME
        return compare(title, own, theirs, peer_name=PEER)

    title = f"{labels} labels in {templates} templates"
    return [row(title, loaded(folder)), row(f"{title}, prepared", prepared(folder))]


def loaded(folder: Path) -> ModelEncoder:
    """Return the model as loaded."""
    return ModelEncoder(clip_torch.CLIPModel.from_pretrained(folder))


def prepared(folder: Path) -> ModelEncoder:
    """Return the model prepared for inference, as recommended for many texts."""
    return ModelEncoder(clip_torch.CLIPModel.from_pretrained(folder).prepare_for_inference())


def streamed(folder: Path, labels: int, templates: int) -> dict[str, Any]:
    """Embed everything as one job, and again from the cache."""
    names, frames = named(labels, templates)
    classifier = ZeroShotClassifier(prepared(folder), Words())  # type: ignore[arg-type]
    classifier.embed_labels(names[:4], frames)  # warm-up, below the caching threshold
    before = peak_memory()
    first, embeds = once(lambda: classifier.embed_labels(names, frames))
    grown = peak_memory() - before
    again, kept = once(lambda: classifier.embed_labels(names, frames))
    assert np.array_equal(embeds, kept)
    return {"labels": labels, "templates": templates, "first": first, "again": again, "grown": grown}


def cells(whole: dict[str, Any]) -> list[str]:
    """Return the cells of the row."""
    name = f"{whole['labels']} labels in {whole['templates']} templates, prepared"
    a_text = 1e3 * whole["first"] / whole["labels"] / whole["templates"]
    grown = f"{whole['grown'] / _MEGABYTE:.0f}"
    return [name, f"{whole['first']:.1f}", f"{a_text:.2f}", f"{whole['again']:.2f}", grown]


def once(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return the seconds and the result."""
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done
