"""A walk over MessagePack that returns the position of binary content instead of reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from clip_core.hub.printing import counted

if TYPE_CHECKING:
    import numpy as np


class Extension(NamedTuple):
    """An extension or plain binary content in the buffer.

    Attributes:
        code: the extension's type; None for binary content.
        start: offset of its first byte.
        end: offset after its last byte.
    """

    code: int | None
    start: int
    end: int


_MOST_VALUES = 100_000

# First byte -> the kind of value, and the number of bytes that encode its length.
_SIZED = {
    0xC4: ("binary", 1),
    0xC5: ("binary", 2),
    0xC6: ("binary", 4),
    0xC7: ("extension", 1),
    0xC8: ("extension", 2),
    0xC9: ("extension", 4),
    0xD9: ("text", 1),
    0xDA: ("text", 2),
    0xDB: ("text", 4),
    0xDC: ("array", 2),
    0xDD: ("array", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}
# First bytes that also encode the size: their range -> the kind of value.
_SMALL = ((0x80, 0x90, "map"), (0x90, 0xA0, "array"), (0xA0, 0xC0, "text"))
# First byte of a number, a boolean or nil -> the number of bytes that follow.
_PLAIN = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
_PLAIN |= {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


def walk(data: np.ndarray) -> Any:
    """Return the value in a buffer of bytes, with extensions and binary content as `Extension`.

    Raises:
        ValueError: the buffer ends inside the value, continues after it, or is not MessagePack.
    """
    try:
        value, end = _value(data, 0, [_MOST_VALUES])
    except IndexError as error:
        raise ValueError(f"it ends inside a value ({error})") from error
    if end != len(data):
        raise ValueError(f"{counted(len(data) - end, 'byte')} after the value")
    return value


def _value(data: np.ndarray, start: int, left: list[int]) -> tuple[Any, int]:
    """Return the value at a position, and the position after it. `left` holds the number of values still allowed."""
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"it contains more than {_MOST_VALUES} values; a CLIP checkpoint has a few thousand")
    kind, size, start = _head(data, start)
    if kind == "map":
        items = {}
        for _ in range(size):
            key, start = _value(data, start, left)
            if not isinstance(key, str | int):
                raise ValueError("a map has a key that is not a string")  # noqa: TRY004  the file is wrong
            items[str(key)], start = _value(data, start, left)
        return items, start
    if kind == "array":
        values = []
        for _ in range(size):
            value, start = _value(data, start, left)
            values.append(value)
        return values, start
    end = start + size + (kind == "extension")
    if end > len(data):
        raise ValueError(f"it is truncated: it has {len(data)} bytes, but needs at least {end}")
    if kind == "extension":
        return Extension(int(data[start : start + 1].view("i1")[0]), start + 1, end), end
    if kind == "binary":
        return Extension(None, start, end), end
    content = data[start:end].tobytes()
    return (content.decode() if kind == "text" else msgpack.unpackb(content)), end


def _head(data: np.ndarray, start: int) -> tuple[str, int, int]:
    """Return the kind of the value at a position, its size in items or bytes, and the position of its content."""
    first = int(data[start])
    if first in _SIZED:
        kind, width = _SIZED[first]
        return kind, int.from_bytes(data[start + 1 : start + 1 + width].tobytes(), "big"), start + 1 + width
    if 0xD4 <= first <= 0xD8:
        return "extension", 2 ** (first - 0xD4), start + 1
    for low, high, kind in _SMALL:
        if low <= first < high:
            return kind, first - low, start + 1
    if first < 0x80 or first >= 0xE0 or first in _PLAIN:  # a small number, or a kind in _PLAIN
        return "plain", 1 + _PLAIN.get(first, 0), start
    raise ValueError(f"it contains the byte {first:#x}, which MessagePack does not use")
