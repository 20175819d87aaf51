"""A restricted unpickler of tensors: it knows the opcodes and the few functions that ``torch.save`` writes for them.

It interprets the opcodes itself and never imports or calls what a file names, so a file cannot run code. Opcodes: the
module ``pickletools`` of Python; functions and storages: ``torch._utils`` and ``torch.serialization`` of PyTorch.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastnn.errors import ModelFormatError

_MOST_OPERATIONS = 300_000
"""Bounds time and memory: a tensor takes some forty."""
_MARK = object()

STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<V2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<u1",
}
"""NumPy's code of the elements of PyTorch's storages; two bytes of bfloat16 have no number type."""


class Storage(NamedTuple):
    """A buffer of the archive: NumPy's code of its elements, its key, and their number."""

    code: str
    key: str
    size: int


class TensorView(NamedTuple):
    """A tensor: a part of a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """A class or function that the file names."""

    module: str
    name: str


class _Absent:
    """Stands for a value that no layer needs, such as a hook or a dtype."""


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise ModelFormatError("a tensor has an offset, a size or a stride that is not a whole number")
    return value


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(value) > 8:
        raise ModelFormatError("a tensor has a shape or strides that are not a tuple of at most 8 sizes")
    return tuple(_size(each) for each in value)


def _tensor(*arguments: Any) -> TensorView:
    """Do what ``torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`` does, without the elements."""
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        raise ModelFormatError("a tensor does not begin with its storage")
    return TensorView(arguments[0], _size(arguments[1]), _sizes(arguments[2]), _sizes(arguments[3]))


def _parameter(*arguments: Any) -> TensorView:
    """Do what ``torch._utils._rebuild_parameter(tensor, requires_grad, hooks)`` does."""
    if not arguments or not isinstance(arguments[0], TensorView):
        raise ModelFormatError("a parameter does not hold a tensor")
    return arguments[0]


def _mapping(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise ModelFormatError("an OrderedDict is made from arguments")
    return {}


def _absent(*arguments: Any) -> _Absent:
    return _Absent()


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("collections", "OrderedDict"): _mapping,
    ("torch", "Size"): _absent,
    ("torch", "device"): _absent,
}


class TensorUnpickler:
    """Reads the pickle of a state dict.

    Parameters
    ----------
    data : the bytes of the pickle.

    Raises
    ------
    ModelFormatError
        The pickle is damaged, or names a class or function other than those of tensors.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return what the pickle holds: dicts, lists, numbers and texts, with a ``TensorView`` for every tensor."""
        for _ in range(_MOST_OPERATIONS):
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                return self._pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise ModelFormatError(f"the pickle has the operation {code:#04x}, which tensors do not need")
            operation(self)
        raise ModelFormatError(f"the pickle has more than {_MOST_OPERATIONS} operations")

    # The bytes and the stack

    def _take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise ModelFormatError("the pickle is truncated")
        self._at += count
        return found

    def _number(self, layout: str) -> int:
        value: int = struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        return value

    def _line(self) -> str:
        end = self._data.find(b"\n", self._at, self._at + 1000)
        if end < 0:
            raise ModelFormatError("the pickle has a name without an end")
        return self._take(end + 1 - self._at)[:-1].decode()

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise ModelFormatError("the pickle takes a value that is not there")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise ModelFormatError(f"the pickle needs a {kind.__name__} where there is none")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                values = self._stack[place + 1 :]
                del self._stack[place:]
                return values
        raise ModelFormatError("the pickle has no mark")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    # Operations

    def _text(self, layout: str) -> None:
        self._push(self._take(self._number(layout)).decode("utf-8", "surrogatepass"))

    def _integer(self, layout: str) -> None:
        self._push(int.from_bytes(self._take(self._number(layout)), "little", signed=True))

    def _tuple(self, count: int) -> None:
        self._push(tuple(reversed([self._pop() for _ in range(count)])))

    def _remember(self, key: int) -> None:
        if not self._stack:
            raise ModelFormatError("the pickle keeps a value that is not there")
        self._memo[key] = self._stack[-1]

    def _recall(self, key: int) -> None:
        if key not in self._memo:
            raise ModelFormatError("the pickle uses a value that it has not kept")
        self._push(self._memo[key])

    def _set_items(self, pairs: list[Any]) -> None:
        target = self._top(dict)
        if len(pairs) % 2:
            raise ModelFormatError("a dict of the pickle has a key without a value")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | int | float | bool | None):
                raise ModelFormatError("a dict of the pickle has a key that is neither a text nor a number")
            target[key] = value

    def _global(self, module: Any, name: Any) -> None:
        self._push(_named(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ModelFormatError("the pickle calls something that is not a function")
        known = _FUNCTIONS.get((function.module, function.name))
        if known is None:
            raise ModelFormatError(f"the pickle calls {function.module}.{function.name}")
        self._push(known(*arguments))

    def _build(self) -> None:
        """Leave out the attributes of a dict: PyTorch's hold the versions of modules."""
        self._pop()
        self._top(dict)

    def _persistent(self) -> None:
        """Read the key of a storage: ("storage", class, key, location, number of elements)."""
        key = self._pop()
        if not isinstance(key, tuple) or len(key) != 5 or key[0] != "storage" or not isinstance(key[1], _Name):
            raise ModelFormatError("the pickle refers to something that is not a storage")
        code = STORAGES.get(key[1].name)
        if code is None or not isinstance(key[2], str):
            raise ModelFormatError(f"a tensor has elements of the kind {key[1].name}, which fastnn does not read")
        self._push(Storage(code, key[2], _size(key[4])))

    def _append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _append_all(self) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def _set_item(self) -> None:
        value = self._pop()
        self._set_items([self._pop(), value])

    def _dict_from_mark(self) -> None:
        values = self._pop_to_mark()
        self._push({})
        self._set_items(values)


def _named(module: Any, name: Any) -> Any:
    """Return what stands for a class or function that a file names.

    Raises
    ------
    ModelFormatError
        It is none of those of tensors; nothing of it is imported.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise ModelFormatError("the pickle names a class by something that is not a text")
    if (module, name) in _FUNCTIONS or (module in ("torch", "torch.storage") and name.endswith("Storage")):
        return _Name(module, name)
    if module == "torch" and name in ("float32", "float64", "float16", "bfloat16", "int64", "strided"):
        return _Absent()
    raise ModelFormatError(
        f"it holds an object of the class {module[:80]}.{name[:80]}, and fastnn reads tensors only, never code: in "
        "PyTorch save the weights with torch.save(module.state_dict(), path)"
    )


_OPERATIONS: dict[int, Callable[[TensorUnpickler], Any]] = {
    0x80: lambda u: u._take(1),  # PROTO
    0x95: lambda u: u._take(8),  # FRAME
    ord("("): lambda u: u._push(_MARK),
    ord(")"): lambda u: u._push(()),
    ord("]"): lambda u: u._push([]),
    ord("}"): lambda u: u._push({}),
    ord("N"): lambda u: u._push(None),
    0x88: lambda u: u._push(True),
    0x89: lambda u: u._push(False),
    ord("X"): lambda u: u._text("<I"),  # BINUNICODE
    0x8C: lambda u: u._text("<B"),  # SHORT_BINUNICODE
    0x8D: lambda u: u._text("<Q"),  # BINUNICODE8
    ord("K"): lambda u: u._push(u._number("<B")),  # BININT1
    ord("M"): lambda u: u._push(u._number("<H")),  # BININT2
    ord("J"): lambda u: u._push(u._number("<i")),  # BININT
    0x8A: lambda u: u._integer("<B"),  # LONG1
    ord("G"): lambda u: u._push(u._number(">d")),  # BINFLOAT
    0x85: lambda u: u._tuple(1),
    0x86: lambda u: u._tuple(2),
    0x87: lambda u: u._tuple(3),
    ord("t"): lambda u: u._push(tuple(u._pop_to_mark())),
    ord("l"): lambda u: u._push(u._pop_to_mark()),
    ord("d"): TensorUnpickler._dict_from_mark,
    ord("a"): TensorUnpickler._append,
    ord("e"): TensorUnpickler._append_all,
    ord("s"): TensorUnpickler._set_item,
    ord("u"): lambda u: u._set_items(u._pop_to_mark()),
    ord("q"): lambda u: u._remember(u._number("<B")),  # BINPUT
    ord("r"): lambda u: u._remember(u._number("<I")),  # LONG_BINPUT
    0x94: lambda u: u._remember(len(u._memo)),  # MEMOIZE
    ord("h"): lambda u: u._recall(u._number("<B")),  # BINGET
    ord("j"): lambda u: u._recall(u._number("<I")),  # LONG_BINGET
    ord("c"): lambda u: u._global(u._line(), u._line()),
    0x93: TensorUnpickler._stack_global,
    ord("R"): TensorUnpickler._reduce,
    ord("b"): TensorUnpickler._build,
    ord("Q"): TensorUnpickler._persistent,
    ord("0"): lambda u: u._pop(),  # POP
}
