"""Backend discovery through the entry-point group `clip_zoo.backends`, which lets plug-ins add frameworks.

An entry point names a `Backend`: functions that load a model and run it. Packages exchange only numpy arrays. A file
`arrays.py` beside the entry point's module declares the framework's own arrays to the processors, as a
`clip_core.processing.Framework`.

A package that is on the path without being installed, as in a copied folder or a frozen program, has no entry points;
it declares its backend when it is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import numpy as np

    from clip_core.training.settings import TrainSettings
    from clip_core.training.step import Trainer

__all__ = [
    "Backend",
    "BrokenLibraryError",
    "Encoder",
    "Loader",
    "NotInstalledError",
    "Tracer",
    "TrainerFactory",
    "backend_names",
    "declare_backend",
    "load_backend",
]

GROUP = "clip_zoo.backends"


class BrokenLibraryError(ImportError):
    """A library that is installed but fails to import."""


class NotInstalledError(ModuleNotFoundError):
    """An error for a framework, or a package that it needs, that is not installed.

    Attributes:
        missing: the missing package, and that it is missing.
    """

    missing = ""

    @classmethod
    def of(cls, package: str, requirement: str, error: ModuleNotFoundError) -> NotInstalledError:
        """Return the error for a package of ours.

        Args:
            package: the package, or a description of it.
            requirement: what pip installs, such as "clip-zoo[torch]".
            error: the error from importing it.
        """
        if isinstance(error, NotInstalledError):
            missing = error.missing
        else:  # jax raises the error without a name if jaxlib is missing
            missing = f"{error.name}, which is not installed" if error.name else f"a package that is missing ({error})"
        new = cls(f"{package} needs {missing}: pip install '{requirement}'", name=error.name)
        new.missing = missing
        return new


class Encoder(Protocol):
    """A CLIPModel of any framework, as the tasks use it. Embeddings are float32, whatever the dtype of the model.

    Label embeddings are cached for encoders that also have `text_fingerprint() -> str`; see `clip_core.tasks.labels`.
    Many inputs are encoded by what `prepared() -> Encoder` returns, if an encoder has it: one with the same results up
    to rounding that takes less time, and need not return gradients.
    """

    def encode_images(self, pixel_values: np.ndarray) -> np.ndarray:
        """Encode images `(batch, channels, height, width)` as embeddings of unit norm `(batch, projection)`.

        Args:
            pixel_values: preprocessed images.

        Returns:
            The embeddings, float32.
        """
        ...

    def encode_texts(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Encode ids and mask `(batch, seq)` as embeddings of unit norm `(batch, projection)`.

        Args:
            input_ids: token ids.
            attention_mask: 1 for tokens, 0 for padding.

        Returns:
            The embeddings, float32.
        """
        ...

    def logits_per_image(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Return scaled similarities `(images, texts)`, computed in the model's dtype like its forward pass.

        Args:
            image_embeds: `(images, projection)`.
            text_embeds: `(texts, projection)`.
        """
        ...


class Loader(Protocol):
    """A backend's function that loads a model for the tasks."""

    def __call__(
        self, source: str | os.PathLike[str], *, device: str | None = None, dtype: str | None = None, **options: Any
    ) -> Encoder:
        """Load a CLIPModel.

        Args:
            source: a folder, file or hub id.
            device: the device, as the framework names it; by default the best available.
            dtype: dtype of the weights, as the framework names it.
            **options: further keywords of `from_pretrained`.
        """
        ...


class Tracer(Protocol):
    """A backend's function that returns intermediate stages, for verifying that frameworks agree."""

    def __call__(
        self,
        source: str | os.PathLike[str],
        inputs: Mapping[str, Any],
        *,
        class_name: str = "CLIPModel",
        dtype: str = "float32",
        variants: Mapping[str, Mapping[str, Any]] | None = None,
        prepared: bool = False,
        gradients: bool = False,
        train_step: bool = False,
        explain: bool = False,
        **options: Any,
    ) -> dict[str, np.ndarray]:
        """Run a model and return every stage by its name in `clip_core.modeling.stages`.

        Args:
            source: a folder, file or hub id, in any format.
            inputs: arguments of the forward pass: options, and arrays such as `input_ids` and `pixel_values`.
            class_name: the model class.
            dtype: dtype of the weights and the computation: "float32", "bfloat16" or "float16".
            variants: further inputs by name; their stages are added as `<name>: <stage>`.
            prepared: prepare the model for inference; requested only if `Backend.prepares` returns True.
            gradients: add the gradients of the objective for every parameter, as `gradient.<canonical name>`.
            train_step: add every parameter after one step of AdamW, as `updated.<canonical name>`.
            explain: add the explanations of a CLIPModel; see `clip_core.tasks.explain.tracing`.
            **options: further keywords of `from_pretrained`.
        """
        ...


class TrainerFactory(Protocol):
    """A backend's function that creates a trainer."""

    def __call__(
        self,
        source: str | os.PathLike[str],
        settings: TrainSettings,
        *,
        device: str | None = None,
        parallel: str | None = None,
        **options: Any,
    ) -> Trainer:
        """Load a CLIPModel for training, or initialize one randomly from a config.json.

        Args:
            source: a folder, file or hub id; or a configuration file, whose name ends in .json.
            settings: the hyperparameters.
            device: the device, as the framework names it; by default the best available.
            parallel: how several devices share a model, if the framework offers a choice; None for its default.
            **options: further keywords of `CLIPModel.from_pretrained`.

        Raises:
            ValueError: if the framework does not support the device or the way of sharing.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """The functions of a backend, as named by an entry point of the group.

    Attributes:
        load: loads a model for the tasks.
        trace: runs a model and returns every stage.
        train: creates a trainer.
        return_tensors: the processor's name for the framework's tensors, as its `arrays.py` declares it; "np" if the
            framework has none of its own.
        versions: returns the versions of the framework's packages, and its hardware.
        prepares: returns True if `trace` can run models of a dtype, such as "float32", in a form prepared for inference
            on this machine.
        check: raises a ValueError for a `device` or a `parallel` that `train` would refuse, before data are read.
    """

    load: Loader
    trace: Tracer
    train: TrainerFactory
    return_tensors: str
    versions: Callable[[], dict[str, str]]
    prepares: Callable[[str], bool] = field(default_factory=lambda: _never)
    check: Callable[[str | None, str | None], None] = field(default_factory=lambda: _accept)


def _never(dtype: str) -> bool:  # noqa: ARG001
    """Return False: no models have a form prepared for inference."""
    return False


def _accept(device: str | None, parallel: str | None) -> None:
    """Accept any device and any way of sharing a model; `train` checks them."""


_declared: dict[str, EntryPoint] = {}
_at_declaration: dict[Callable[[], None], None] = {}  # each once, in order


def declare_backend(name: str, value: str) -> None:
    """Make a backend known whose package may be imported without being installed.

    An installed backend of the same name takes precedence.

    Args:
        name: the backend's name.
        value: what its entry point would name: the module and the `Backend`, such as "clip_torch.backend:backend".
    """
    _declared[name] = EntryPoint(name, value, GROUP)
    for call in _at_declaration:
        call()


def at_declaration(call: Callable[[], None]) -> None:
    """Have a function called whenever a backend is declared, such as one that forgets what was read of the backends."""
    _at_declaration[call] = None


def known_backends() -> list[EntryPoint]:
    """Return the entry points of all backends, installed or declared, by name."""
    points = _declared | {point.name: point for point in entry_points(group=GROUP)}
    return [points[name] for name in sorted(points)]


def backend_names() -> list[str]:
    """Return the names of the installed backends, and of those that imported packages have declared."""
    return [point.name for point in known_backends()]


def backend_packages() -> dict[str, str]:
    """Return the top-level package of each of these backends, by the backend's name."""
    return {point.name: point.module.partition(".")[0] for point in known_backends()}


def own_packages() -> set[str]:
    """Return the names of our packages and of those that backends come in."""
    return {"clip_core", "converters", *backend_packages().values()}


def _requirement(point: EntryPoint) -> str:
    """Return what pip installs for a backend: an extra of its distribution, or the distribution of a plug-in."""
    if point.dist is None:
        return point.module.partition(".")[0]
    extras = point.dist.metadata.get_all("Provides-Extra") or []
    return f"{point.dist.name}[{point.name}]" if point.name in extras else point.dist.name


def load_backend(name: str) -> Backend:
    """Return a backend by name, importing its framework.

    Args:
        name: one of `backend_names()`.

    Raises:
        ValueError: if no backend has this name.
        NotInstalledError: if its framework is not installed.
        BrokenLibraryError: if it is installed but fails to import.
    """
    found = next((point for point in known_backends() if point.name == name), None)
    if found is None:
        raise ValueError(f"the backend {name!r} does not exist; there are: {', '.join(backend_names()) or 'none'}")
    try:
        backend: Backend = found.load()
    except ModuleNotFoundError as error:
        raise NotInstalledError.of(f"the backend {name!r}", _requirement(found), error) from error
    except Exception as error:
        if isinstance(error, ImportError) and error.name == backend_packages()[name]:
            raise  # the package itself refuses an unsuitable setting
        raise BrokenLibraryError(f"the backend {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    return backend
