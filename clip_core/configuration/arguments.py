"""Arguments that many functions take: checks of integers and of lists of texts, and signatures. Internal."""

from __future__ import annotations

import inspect
import math
from functools import wraps
from operator import index
from typing import TYPE_CHECKING, Any, TypeGuard

from clip_core.hub.printing import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# No count is larger, nor a seed that every framework takes; Python's own functions fail far from the call beyond 2**63.
LARGEST = 2**32 - 1
MOST_WORKERS = 1024  # processes; more than any machine has processors


def check_integers(*, optional: bool = False, most: float = LARGEST, **arguments: tuple[Any, int]) -> None:
    """Check that arguments are integers in their range.

    Python's True counts as 1, and 1.5 would be truncated or fail far from the call: both are refused. Integers of numpy
    are accepted.

    Args:
        optional: allow None.
        most: the largest integer allowed.
        **arguments: the value and the least one allowed, by the argument's name.

    Raises:
        ValueError: if one is not; the message names the argument, its value and the integers allowed.
    """
    for name, (value, least) in arguments.items():
        if optional and value is None:
            continue
        if not is_integer(value) or value < least:
            raise ValueError(f"{name}={value!r}: give an integer of {least} or more")
        if value > most:
            raise ValueError(f"{name}={value!r}: give an integer of at most {most}")


def check_one_of(**arguments: tuple[Any, Iterable[str]]) -> None:
    """Check that arguments are among their choices.

    Args:
        **arguments: the value and the choices, by the argument's name.

    Raises:
        ValueError: if one is not; the message names the argument, its value and the choices.
    """
    for name, (value, choices) in arguments.items():
        if value not in choices:
            raise ValueError(f"{name}={shortened(repr(value))} {not_one_of(choices)}")


def not_one_of(choices: Iterable[str]) -> str:
    """Return the end of a message about a value that is not among the choices; all messages have this wording.

    Args:
        choices: the choices.
    """
    return f"is not one of {', '.join(choices)}"


def is_integer(value: Any) -> TypeGuard[int]:
    """Return True for an integer, of Python or numpy, that is not True or False.

    Args:
        value: anything.
    """
    if isinstance(value, bool):
        return False
    try:
        index(value)
    except TypeError:
        return False
    return True


def check_texts(**arguments: Any) -> None:
    """Check that arguments are not a single string, which would be taken for a list of its letters.

    Args:
        **arguments: several strings, by the argument's name.

    Raises:
        TypeError: if one is a single string; the message names the argument.
    """
    for name, texts in arguments.items():
        if isinstance(texts, str | bytes):
            given = shortened(texts) if isinstance(texts, str) else texts
            raise TypeError(f"{name}={given!r} is a single string; give a list of strings")


def check_surrogates(*texts: str) -> None:
    """Check that texts contain no half of a surrogate pair, which cannot be encoded.

    Args:
        *texts: the texts.

    Raises:
        ValueError: if one does; the message shows its beginning and the place of the character.
    """
    text = ""
    try:
        for text in texts:
            text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text {text[:40]!r} contains half of a surrogate pair at character {error.start} "
            f"(U+{ord(text[error.start]):04X}); decode it with errors='replace' first"
        ) from error


def several(name: str, texts: Iterable[Any]) -> list[Any]:
    """Return the list of an argument that takes several strings, checked by `check_texts`.

    Args:
        name: the argument's name.
        texts: its value.
    """
    check_texts(**{name: texts})
    return list(texts)


def to_int(name: str, number: Any) -> int:
    """Return a length from a file, where 1e30 stands for none, as an integer of 0 or more.

    Args:
        name: the setting's name.
        number: its value.

    Raises:
        ValueError: if it is not an integer; 77.0 is one.
    """
    is_whole = isinstance(number, float) and number.is_integer()
    argument: dict[str, Any] = {name: (int(number) if is_whole else number, 0)}
    check_integers(most=math.inf, **argument)
    return int(number)


def shown(value: Any) -> str:
    """Return the type and the beginning of a value, for messages.

    Args:
        value: anything.
    """
    return f"{type(value).__name__} {str(value)[:40]!r}"


def list_of(kind: type, value: Any, name: str) -> list[Any]:
    """Return a list from a file; an empty one for None.

    Args:
        kind: the type of its items.
        value: the list.
        name: its name in the file.

    Raises:
        ValueError: if it is not a list of such items.
    """
    items = [] if value is None else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, kind) for item in items):
        wanted = "a list" if kind is object else f"a list of {kind.__name__}"
        raise ValueError(f"{name}={shortened(repr(value))} is invalid; it must be {wanted}")
    return list(items)


def dict_of(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a dict in a dict from a file; an empty one if it is missing or None.

    Args:
        content: the dict from the file.
        name: the key.

    Raises:
        ValueError: if the value is not a dict.
    """
    value = content.get(name)
    if not isinstance(value, dict | None):
        raise ValueError(f"{name}={shortened(repr(value))} is invalid; it must be a dict")  # noqa: TRY004
    return value or {}


def shows_fields(options: type, order: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that shows keywords which a method takes as `**options` in the method's signature.

    Args:
        options: a dataclass; its fields are the keywords.
        order: the keywords that the method also takes by position, after its own positional arguments.
    """
    fields = inspect.signature(options).parameters

    def with_fields(method: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(method)
        own = {name: one for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD}
        known = {name: one.replace(kind=one.KEYWORD_ONLY) for name, one in fields.items()} | own
        first = [name for name, one in own.items() if one.kind is one.POSITIONAL_OR_KEYWORD]

        @wraps(method)
        def call(*values: Any, **keywords: Any) -> Any:
            if len(values) > len(first) + len(order):
                raise TypeError(f"{method.__name__}() takes {len(first) + len(order)} arguments, not {len(values)}")
            return method(*values[: len(first)], **keywords, **dict(zip(order, values[len(first) :], strict=False)))

        shown: Callable[..., Any] = call if order else method
        positional = [known.pop(name) for name in (*first, *order)]
        positional = [one.replace(kind=one.POSITIONAL_OR_KEYWORD) for one in positional]
        shown.__signature__ = signature.replace(parameters=[*positional, *known.values()])  # type: ignore[attr-defined]
        return shown

    return with_fields


def check_keys(cls: type, keys: Iterable[Any]) -> None:
    """Check that no key of a file, which becomes an argument and an attribute, hides a part of the class.

    Args:
        cls: the class.
        keys: the keys.

    Raises:
        ValueError: if one does, or is not text.
    """
    for key in keys:
        is_special = not isinstance(key, str) or key in _OF_METHODS or (key.startswith("__") and key.endswith("__"))
        if is_special or callable(getattr(cls, key, None)):
            raise ValueError(f"the key {shortened(repr(key))} is not a setting of {cls.__name__}; remove it")


_OF_METHODS = {"self", "cls", "args", "kwargs"}  # names of arguments
