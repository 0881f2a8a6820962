"""How the tasks reach a framework: by the entry-point group `clip_zoo.backends`, so that a fourth one is a plug-in.

An entry point names a function that loads a model and returns it as an `Encoder`. Only numpy passes between the two.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import os

    import numpy as np

GROUP = "clip_zoo.backends"


class Encoder(Protocol):
    """A CLIPModel of some framework, as the tasks use it. Embeddings are float32 whatever the model's dtype."""

    def encode_images(self, pixel_values: np.ndarray) -> np.ndarray:
        """Pictures `(batch, channels, height, width)` to embeddings of unit norm `(batch, projection)`."""
        ...

    def encode_texts(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Ids and mask `(batch, seq)` to embeddings of unit norm `(batch, projection)`."""
        ...

    def logits_per_image(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Scaled similarities `(images, texts)`, computed in the model's dtype as its forward pass does."""
        ...


class Backend(Protocol):
    """What an entry point of the group names."""

    def __call__(
        self, source: str | os.PathLike[str], *, device: str | None = None, dtype: str | None = None, **options: Any
    ) -> Encoder:
        """Load a CLIPModel from a folder, file or hub id, onto a device and in a dtype named as the framework does."""
        ...


def backend_names() -> list[str]:
    """The backends that are installed, by name."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load_backend(name: str) -> Backend:
    """A backend by name; its framework is imported here.

    Raises:
        ValueError: no backend has this name.
        ImportError: its framework is not installed.
    """
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        raise ValueError(f"there is no backend {name!r}; installed are: {', '.join(backend_names()) or 'none'}")
    try:
        backend: Backend = found[0].load()
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the backend {name!r} needs {error.name}, which is not installed: pip install 'clip-zoo[{name}]'"
        ) from error
    return backend
