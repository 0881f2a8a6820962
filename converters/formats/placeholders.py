"""Inert placeholders for the objects in a pickle that are not tensors, such as a training script's arguments."""

from __future__ import annotations

from typing import Any, ClassVar


class Placeholder:
    """An object in a pickle whose class was neither imported nor called.

    It accepts every operation of an unpickler and ignores the data.

    Attributes:
        full_name: the module and the name in the pickle.
    """

    __slots__ = ()
    full_name: ClassVar[str] = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Placeholder:
        """Return this object: a pickle may call the result of an earlier call."""
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Ignore an item of a list."""

    def extend(self, items: Any) -> None:
        """Ignore several items of a list."""

    def add(self, item: Any) -> None:
        """Ignore an item of a set."""


def placeholder_named(module: str, name: str) -> type[Placeholder]:
    """Return a class of placeholders for a class or function in a pickle.

    Args:
        module: the module of the class or function, as stated in the pickle.
        name: its name in that module.
    """
    return type("Placeholder", (Placeholder,), {"__slots__": (), "full_name": f"{module}.{name}"})


def name_of_placeholder(value: Any) -> str:
    """Return the full name of a placeholder or of a class of placeholders; an empty string for anything else.

    Args:
        value: any object.
    """
    kind = value if isinstance(value, type) else type(value)
    return kind.full_name if issubclass(kind, Placeholder) else ""
