"""How the tasks reach a framework: by the entry-point group `clip_zoo.backends`, so that a fourth one is a plug-in.

An entry point names a `Backend`: functions that load a model and run it. Only numpy passes between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import numpy as np

    from clip_core.training.settings import TrainSettings
    from clip_core.training.step import Trainer

GROUP = "clip_zoo.backends"


class Encoder(Protocol):
    """A CLIPModel of some framework, as the tasks use it. Embeddings are float32 whatever the model's dtype.

    The labels' embeddings are kept of one that also has `text_fingerprint() -> str`: see `clip_core.tasks.labels`.
    """

    def encode_images(self, pixel_values: np.ndarray) -> np.ndarray:
        """Pictures `(batch, channels, height, width)` to embeddings of unit norm `(batch, projection)`."""
        ...

    def encode_texts(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Ids and mask `(batch, seq)` to embeddings of unit norm `(batch, projection)`."""
        ...

    def logits_per_image(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Scaled similarities `(images, texts)`, computed in the model's dtype as its forward pass does."""
        ...


class Loader(Protocol):
    """How a backend loads a model for the tasks."""

    def __call__(
        self, source: str | os.PathLike[str], *, device: str | None = None, dtype: str | None = None, **options: Any
    ) -> Encoder:
        """Load a CLIPModel from a folder, file or hub id, onto a device and in a dtype named as the framework does."""
        ...


class Tracer(Protocol):
    """How a backend shows what it computes on the way, for proofs that frameworks agree."""

    def __call__(
        self,
        source: str | os.PathLike[str],
        inputs: Mapping[str, np.ndarray],
        *,
        class_name: str = "CLIPModel",
        dtype: str = "float32",
        gradients: bool = False,
        train_step: bool = False,
        **options: Any,
    ) -> dict[str, np.ndarray]:
        """Run a model and return every stage by the names that `clip_core.modeling.stages` gives them.

        Args:
            source: a folder, file or hub id, in any format.
            inputs: arguments of the forward pass, such as `input_ids` and `pixel_values`.
            class_name: the model class.
            dtype: of the weights and the computation: "float32", "bfloat16" or "float16".
            gradients: add those of the objective by every parameter, as `gradient.<canonical name>`.
            train_step: add every parameter after one step of AdamW, as `updated.<canonical name>`.
            **options: further keywords of `from_pretrained`.
        """
        ...


class TrainerFactory(Protocol):
    """How a backend makes a trainer."""

    def __call__(
        self,
        source: str | os.PathLike[str],
        settings: TrainSettings,
        *,
        device: str | None = None,
        parallel: str | None = None,
        **options: Any,
    ) -> Trainer:
        """Load a CLIPModel to train it, or where the source is a config.json itself, draw one afresh.

        Args:
            source: a folder, file or hub id; or a configuration's file, whose name ends in .json.
            settings: how to train.
            device: where, as the framework names it; by default its best device.
            parallel: how several devices share a model, where the framework leaves a choice; by default as is usual.
            **options: further keywords of `CLIPModel.from_pretrained`.

        Raises:
            ValueError: the framework knows no such device or way to share a model.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """What an entry point of the group names.

    Attributes:
        load: loads a model for the tasks.
        trace: runs a model and returns its every stage.
        train: makes a trainer.
        return_tensors: what the processor calls the framework's tensors, such as "pt".
        versions: the versions of the framework's packages, and what it runs on.
    """

    load: Loader
    trace: Tracer
    train: TrainerFactory
    return_tensors: str
    versions: Callable[[], dict[str, str]]


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
