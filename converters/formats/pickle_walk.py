"""A walk over a pickle that builds plain values only: nothing is imported, called or given an attribute.

Python's unpickler hands live objects to the opcodes of a file, even if it imports none: BUILD calls `__setstate__` of a
dtype or fills the `__dict__` of a function, for the whole process. Here, a class or function in the file is a `Name`,
and the object that it would make is a `Made`. The reader's own functions build the few values that it needs.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BytesIO

# A CLIP checkpoint takes under 50,000 opcodes; each takes about a microsecond and a hundred bytes.
_MOST_OPCODES = 1_000_000

# Bytes of a pickle; that of a CLIP checkpoint has under 1 MB. The values of its tensors lie outside.
LARGEST_PICKLE = 2**24

_LARGEST_MEMO_KEY = 2**32


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names; never imported.

    Attributes:
        module: the module, as stated in the pickle.
        name: its name in that module.
    """

    module: str
    name: str

    @property
    def full_name(self) -> str:
        """The module and the name."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Made:
    """An object that the class or function `name` would make, with the attributes that the pickle gives it.

    Attributes:
        name: the class or function.
        attributes: the attributes by name, if the pickle states them as a dict.
    """

    name: Name
    attributes: dict[str, Any] = field(default_factory=dict)


# Opcodes whose argument is the value.
_PLAIN = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "UNICODE"}
_PLAIN |= {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_SET = Name("builtins", "set")


class PickleWalk:
    """An interpreter of pickles. Only text keys are kept in dicts; sets and other objects keep no content.

    Args:
        makers: functions of the reader that build a value, by the module and name of what the pickle calls.
        refer: builds the value of a persistent id, from the id.
        check_name: raises a ValueError for a class or function that the reader refuses wherever it occurs.
    """

    def __init__(
        self,
        makers: Mapping[tuple[str, str], Callable[..., Any]],
        refer: Callable[[Any], Any],
        check_name: Callable[[Name], None],
    ) -> None:
        self._makers, self._refer, self._check_name = makers, refer, check_name
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}
        self._steps = self._table()

    def load(self, file: BytesIO) -> Any:
        """Return the value of one pickle; the position in the file is then after it.

        Args:
            file: the bytes, from the start of the pickle on.

        Raises:
            UnpicklingError: if it is not a pickle, or ends early.
            ValueError: if it has too many opcodes, or one that PyTorch does not write.
            IndexError: if an opcode needs more values than there are.
            KeyError: if it recalls a value that it never stored.
            TypeError: if a value has the wrong type.
        """
        self._stack, self._outer, self._memo = [], [], {}
        for count, (opcode, argument, _) in enumerate(_opcodes(file)):
            if count == _MOST_OPCODES:
                raise ValueError(f"its pickle has more than {_MOST_OPCODES} opcodes")
            if opcode.name in _PLAIN:
                self._stack.append(argument)
            else:
                self._steps[opcode.name](argument)
        return self._stack.pop()

    def call(self, function: Any, arguments: Any) -> Any:
        """Return what a function of the reader makes, or a `Made`.

        Args:
            function: what the pickle calls.
            arguments: a tuple.
        """
        if not isinstance(function, Name):
            return function  # the result of an earlier call
        maker = self._makers.get((function.module, function.name))
        return Made(function) if maker is None else maker(*arguments)

    def _table(self) -> dict[str, Callable[[Any], Any]]:
        """Return a function for each opcode, which takes the opcode's argument."""
        push = self._push
        constants = {name: lambda _, value=value: push(value) for name, value in _CONSTANTS.items()}
        tuples = {f"TUPLE{count}": lambda _, count=count: self._tuple_of(count) for count in (1, 2, 3)}
        return {
            **constants,
            **tuples,
            **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda _: None),
            **dict.fromkeys(("EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"), _refuse),
            **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), lambda text: push(text.encode("latin-1").decode())),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._put),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda key: push(self._memo[key])),
            **dict.fromkeys(("REDUCE", "NEWOBJ"), self._reduce),
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            "MARK": self._mark,
            "POP": lambda _: self._stack.pop() if self._stack else self._from_mark(),
            "POP_MARK": lambda _: self._from_mark(),
            "DUP": lambda _: push(self._stack[-1]),
            "EMPTY_TUPLE": lambda _: push(()),
            "TUPLE": lambda _: self._close(tuple),
            "EMPTY_LIST": lambda _: push([]),
            "LIST": lambda _: self._close(list),
            "APPEND": lambda _: self._extend([self._stack.pop()]),
            "APPENDS": lambda _: self._extend(self._from_mark()),
            "EMPTY_DICT": lambda _: push({}),
            "DICT": lambda _: self._close(_dict_of),
            "SETITEM": lambda _: self._update([self._stack.pop(), self._stack.pop()][::-1]),
            "SETITEMS": lambda _: self._update(self._from_mark()),
            "EMPTY_SET": lambda _: push(Made(_SET)),
            "FROZENSET": lambda _: self._close(lambda _: Made(_SET)),
            "ADDITEMS": lambda _: self._from_mark(),
            "GLOBAL": lambda names: self._name(*names.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._name(*[self._stack.pop(), self._stack.pop()][::-1]),
            "NEWOBJ_EX": self._reduce_with_keywords,
            "OBJ": lambda _: self._close(lambda items: self.call(items[0], items[1:])),
            "INST": self._instance,
            "BUILD": self._build,
            "PERSID": lambda key: push(self._refer(key)),
            "BINPERSID": lambda _: push(self._refer(self._stack.pop())),
        }

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self, _: Any) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _from_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._outer.pop()
        return items

    def _close(self, make: Callable[[list[Any]], Any]) -> None:
        """Replace the values since the mark with one that is made from them."""
        self._push(make(self._from_mark()))

    def _tuple_of(self, count: int) -> None:
        items = [self._stack.pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _extend(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is list:
            self._stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is dict:
            self._stack[-1].update(_dict_of(items))

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a class or function is not named by texts")
        found = Name(module, name)
        self._check_name(found)
        self._push(found)

    def _reduce(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._push(self.call(function, arguments))

    def _reduce_with_keywords(self, _: Any) -> None:
        self._stack.pop()  # no maker takes keywords
        self._reduce(None)

    def _instance(self, names: str) -> None:
        arguments = self._from_mark()
        self._name(*names.split(" ", 1))
        self._push(self.call(self._stack.pop(), arguments))

    def _build(self, _: Any) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Made) and type(state) is dict:
            target.attributes.update(state)

    def _put(self, key: int) -> None:
        if not 0 <= key < _LARGEST_MEMO_KEY:
            raise ValueError("it stores a value under an impossible number")
        self._memo[key] = self._stack[-1]


def _dict_of(items: list[Any]) -> dict[str, Any]:
    """Return a dict of alternating keys and values. Only text keys are kept: others could be given equal hashes."""
    return {key: value for key, value in zip(items[::2], items[1::2], strict=True) if type(key) is str}


def _opcodes(file: BytesIO) -> Iterator[tuple[Any, Any, Any]]:
    try:
        yield from pickletools.genops(file)
    except ValueError as error:
        raise UnpicklingError(str(error)) from error


def _refuse(_: Any) -> None:
    raise ValueError("it has an opcode for extensions or buffers, which PyTorch does not write")
