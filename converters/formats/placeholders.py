"""Inert stand-ins for the objects in a pickle that are not tensors, such as a training script's arguments."""

from __future__ import annotations

from typing import Any, ClassVar


class Placeholder:
    """An object of a pickle whose class was neither imported nor called.

    It takes everything that an unpickler may do to an object, and keeps nothing of it.

    Attributes:
        full_name: the module and the name in the pickle.
    """

    __slots__ = ()
    full_name: ClassVar[str] = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Placeholder:
        """Return the object itself: a pickle may call what an earlier call returned."""
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Ignore an item of what was a list."""

    def extend(self, items: Any) -> None:
        """Ignore the items of what was a list."""

    def add(self, item: Any) -> None:
        """Ignore an item of what was a set."""


def placeholder_named(module: str, name: str) -> type[Placeholder]:
    """Return a class of placeholders.

    Args:
        module: the module of the class or function that it stands for, as the pickle states it.
        name: the name there.
    """
    return type("Placeholder", (Placeholder,), {"__slots__": (), "full_name": f"{module}.{name}"})


def name_of_placeholder(value: Any) -> str:
    """Return the full name of a placeholder or a class of placeholders; an empty string for anything else.

    Args:
        value: any object.
    """
    kind = value if isinstance(value, type) else type(value)
    return kind.full_name if issubclass(kind, Placeholder) else ""
