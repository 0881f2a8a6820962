"""Ready-made tasks on a CLIP model, in any framework.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.tasks.images import EncodedBatch, encode_image_batches, encode_images
    from clip_core.tasks.labels import LabelCache, LabelFile, read_labels
    from clip_core.tasks.texts import encode_text_batches, encode_texts
    from clip_core.tasks.zero_shot import ZeroShotClassifier

__all__ = [
    "EncodedBatch",
    "LabelCache",
    "LabelFile",
    "ZeroShotClassifier",
    "encode_image_batches",
    "encode_images",
    "encode_text_batches",
    "encode_texts",
    "read_labels",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "EncodedBatch": "images",
        "LabelCache": "labels",
        "LabelFile": "labels",
        "ZeroShotClassifier": "zero_shot",
        "encode_image_batches": "images",
        "encode_images": "images",
        "encode_text_batches": "texts",
        "encode_texts": "texts",
        "read_labels": "labels",
    },
)
