"""The frameworks whose arrays processors return and accept, each declared by its backend. Internal.

A backend declares its arrays in a file `arrays.py` beside the module that its entry point names. That file is run
alone, without its package, and imports its framework only inside functions. Arrays can therefore be recognized, and
names in `return_tensors` checked, without importing a framework.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Convert = Callable[[Any], Any]
    Move = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

FILE = "arrays.py"


@dataclass(frozen=True)
class Framework:
    """The arrays of a framework.

    Attributes:
        name: the framework's name in `return_tensors`, such as "np".
        packages: the top-level packages that its array types come from.
        from_numpy: converts a numpy array.
        to_numpy: converts an array, on any device, to numpy.
        move: moves an array to a device, given the positional and keyword arguments of `BatchFeature.to`.
        integer: the dtype of token ids in the framework.
        is_default: True for the framework whose backend runs a model by default, if it is installed.
        attention_implementations: names of the attention implementations of its backend.
        class_prefix: the prefix of its model classes in files of transformers, such as "TF" in "TFCLIPModel".
    """

    name: str
    packages: frozenset[str]
    from_numpy: Convert
    to_numpy: Convert
    move: Move
    integer: type[np.integer[Any]] = np.int64
    is_default: bool = False
    attention_implementations: tuple[str, ...] = ("eager", "sdpa")
    class_prefix: str = ""


NUMPY = Framework("np", frozenset({"numpy"}), np.asarray, np.asarray, lambda array, _args, _kwargs: array)


def by_backend() -> dict[str, Framework]:
    """Return the declared frameworks by the names of their backends."""
    return _declarations()[0]


def broken() -> dict[str, str]:
    """Return the reason why a backend's declaration cannot be read, by the backend's name."""
    return _declarations()[1]


@cache
def by_name() -> dict[str, Framework]:
    """Return all frameworks by their names in `return_tensors`, numpy first."""
    return {framework.name: framework for framework in (NUMPY, *by_backend().values())}


@cache
def by_package() -> dict[str, Framework]:
    """Return all frameworks by the packages that their array types come from."""
    return {package: framework for framework in by_name().values() for package in framework.packages}


def default_backend() -> str:
    """Return the name of the backend that runs a model when none is named, without importing its framework.

    It is the first whose framework is installed: PyTorch's, then the others by name. If none is installed, it is
    PyTorch's, so that the error from loading it says what to install.

    Raises:
        ValueError: if there is no backend.
    """
    backends = by_backend()
    names = sorted(backends, key=lambda name: (not backends[name].is_default, name))
    if not names:
        raise ValueError("no backend is installed; see `clip_core.backends`")
    return next((name for name in names if all(map(_is_installed, backends[name].packages))), names[0])


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None  # None stops an import, as of a package that is not installed
    try:
        return find_spec(package) is not None
    except ImportError:  # from a finder that blocks packages
        return False


def forget() -> None:
    """Read the declarations again at the next use."""
    for cached in (by_name, by_package, _declarations):
        cached.cache_clear()


@cache
def _declarations() -> tuple[dict[str, Framework], dict[str, str]]:
    """Return the declarations, and the errors of those that fail: one broken plug-in must not stop the others."""
    from clip_core.backends import at_declaration, known_backends  # slow to import, and not needed for numpy

    at_declaration(forget)
    found, failed = {}, {}
    for point in known_backends():
        try:
            framework = _declared(point.module)
        except Exception as error:  # noqa: BLE001  a plug-in's code can raise anything
            failed[point.name] = str(error)
            continue
        if framework is not None:
            found[point.name] = framework
    return found, failed


def _declared(module: str) -> Framework | None:
    """Run the file beside a backend's module; None if there is none, as in a backend that works on numpy arrays."""
    package = module.rpartition(".")[0]
    try:
        spec = find_spec(package) if package else None
    except ModuleNotFoundError:  # a parent package is missing
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / FILE
        if file.is_file():
            own_spec = spec_from_file_location(f"{package}.arrays", file)
            assert own_spec is not None  # noqa: S101  for type checkers: a .py file always has a spec
            assert own_spec.loader is not None  # noqa: S101
            arrays = module_from_spec(own_spec)
            try:
                own_spec.loader.exec_module(arrays)
                framework: Framework = arrays.framework
            except Exception as error:
                raise ImportError(f"{file} fails: {type(error).__name__}: {error}") from error
            return framework
    return None
