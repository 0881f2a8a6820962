"""Empty modules instead of packages that a peer imports but its model code does not use.

torchvision from PyPI comes with the CUDA build of PyTorch, and setuptools has no pkg_resources any more. What is
compared here is models and files; how pictures are prepared is tested against transformers.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = (
    "torchvision",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "pkg_resources",
)


class Anything:
    """A class that accepts any arguments, and stands in for any name of a module."""

    BICUBIC = BILINEAR = None

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


@contextmanager
def stand_ins() -> Iterator[None]:
    """Provide the empty modules while a peer is imported; later imports find the packages missing as before."""
    import transformers  # noqa: F401  which looks for torchvision, so it comes first

    for name in _NAMES:
        module = ModuleType(name)
        module.__getattr__ = lambda _: Anything  # type: ignore[method-assign]
        module.__path__ = []
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    import packaging.version

    sys.modules["pkg_resources"].packaging = packaging  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in _NAMES:
            del sys.modules[name]
