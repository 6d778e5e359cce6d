"""Pickles of checkpoints, read without running anything.

A pickle is a program. This is a machine that knows only the instructions that build plain values,
and of functions and classes only stand-ins: nothing that a file names is ever imported, called, or
given an attribute. A tensor becomes a `Stored`, which says where its numbers lie; an instance of a
class, such as a trainer's ``utils.HParams``, becomes an `Attributes`; a value of `VALUES`, which
trainers leave beside the tensors, an `Unread`. A file that would call anything else is refused: it
does no harm here, but who made it meant it to.

The instructions are those of `pickletools` in the standard library, which decodes their arguments.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from koed.errors import EngineError

MAX_BYTES = 16 << 20
MAX_STEPS = 2_000_000
MAX_AXES = 8

DTYPES = {
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "ShortStorage": "I16",
    "IntStorage": "I32",
    "LongStorage": "I64",
    "BoolStorage": "BOOL",
}
"""Storage classes of torch -> dtypes in the names of safetensors."""

_ORDERED_DICT = "collections OrderedDict"
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_REBUILD_PARAMETER = "torch._utils _rebuild_parameter"
_STORAGES = {f"torch {name}": dtype for name, dtype in DTYPES.items()}
_INSTANCE = {"copy_reg _reconstructor", "copyreg _reconstructor"}
"""How old protocols write an instance: of a class, its base and the base's state."""
_PATHLIB = ("pathlib", "pathlib._local")  # the latter in Python 3.13
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
VALUES = {
    "_codecs encode",  # bytes
    "datetime date",
    "datetime datetime",
    "datetime timedelta",
    "numpy dtype",
    "numpy._core.multiarray scalar",
    "numpy.core.multiarray scalar",
    "torch Size",
    "torch device",
    *(f"{module} {name}" for module in _PATHLIB for name in _PATHS),
}
"""Whose calls make a value and do nothing else."""


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a function or class; never the thing itself."""

    name: str

    @property
    def spelled(self) -> str:
        return self.name.replace(" ", ".", 1)[:100]


@dataclass(frozen=True, slots=True)
class Unread:
    """A value that is not plain: nobody asks for it."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers elsewhere in the file."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor's place in a `Storage`; offset and stride count elements. Lies within it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Attributes(dict[str, Any]):
    """What an instance of a class held. Inert: a dict and no more."""


@dataclass(frozen=True, slots=True)
class Pickle:
    """What was read."""

    value: Any
    length: int
    """In bytes."""
    storages: dict[str, Storage]
    """All that it mentions, by their keys."""


def read(data: bytes, name: str) -> Pickle:
    """The pickle at the start of ``data``, which may go on after it.

    ``name`` of the file is for messages. Raises EngineError ``checkpoint_unsafe`` for what is not
    allowed and ``model_damaged`` for what is no pickle.
    """
    machine = _Machine(name)
    steps = 0
    try:
        for opcode, argument, position in pickletools.genops(io.BytesIO(data[:MAX_BYTES])):
            steps += 1
            if steps > MAX_STEPS:
                raise machine.unsafe(f"it has more than {MAX_STEPS} instructions")
            if opcode.name == "STOP":
                return Pickle(machine.pop(), (position or 0) + 1, machine.storages)
            act = _ACTS.get(opcode.name)
            if act is None:
                raise machine.unsafe(f"it uses the instruction {opcode.name}")
            act(machine, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        # The first two are pickletools' and the stack's, the others an argument of a wrong kind.
        raise machine.damaged(f"its pickle makes no sense ({type(error).__name__})") from error
    raise machine.damaged("its pickle does not end")


class _Machine:
    """Stack and memo. Values on the stack are plain, or one of the stand-ins above."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def unsafe(self, what: str) -> EngineError:
        return EngineError(
            "checkpoint_unsafe",
            f"{self.name} is refused, nothing in it was run: {what}",
            "a voice needs none of that; do not use this file, get it from its author again",
        )

    def damaged(self, what: str) -> EngineError:
        return EngineError("model_damaged", f"{self.name}: {what}", "get the file anew")

    def pop(self) -> Any:
        if self.marks and self.marks[-1] >= len(self.stack):
            raise IndexError
        return self.stack.pop()

    def to_mark(self) -> list[Any]:
        """What lies above the last mark, taken off."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise self.unsafe(f"it sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A tuple of tuples of tuples ... would be hashed for ever.
            if not isinstance(key, str | int | float | None):
                raise self.unsafe(f"it uses a {type(key).__name__} as a key")
            target[key] = value

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise self.unsafe(f"it appends to a {type(target).__name__}")
        target.extend(items)

    def find(self, name: str) -> None:
        found = Global(name)
        if "." in name.partition(" ")[2]:  # into something, as no class or function is named
            raise self.unsafe(f"it asks for {found.spelled!r}")
        self.stack.append(found)

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise self.unsafe("it asks for something without a name")
        self.find(f"{module} {name}")

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or type(arguments) is not tuple:
            raise self.unsafe(f"it calls a {type(function).__name__}")
        if function.name in VALUES:
            self.stack.append(Unread())
            return
        make = _CALLS.get(function.name)
        if make is None:
            raise self.unsafe(f"it calls {function.spelled}")
        self.stack.append(make(self, *arguments))

    def new_object(self) -> None:
        arguments, cls = self.pop(), self.pop()
        if not isinstance(cls, Global) or arguments != ():
            raise self.unsafe(f"it makes an instance of a {type(cls).__name__}")
        self.stack.append({} if cls.name == _ORDERED_DICT else Attributes())

    def build(self) -> None:
        """State of an instance: kept for those of classes, not torch's remarks on a state dict."""
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Unread):
            return
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise self.unsafe(f"it sets the state of a {type(target).__name__}")
        if type(target) is Attributes:
            if not all(isinstance(key, str) for key in state):
                raise self.unsafe("an attribute has no name")
            target.update(state)

    def persistent(self) -> None:
        """("storage", class, key, device, numel) of torch; older files add a None."""
        found = self.pop()
        if type(found) is not tuple or len(found) not in (5, 6) or found[5:] not in ((), (None,)):
            raise self.unsafe("it refers to something that is no storage")
        tag, cls, key, _, numel = found[:5]
        if tag != "storage" or not isinstance(cls, Global) or cls.name not in _STORAGES:
            raise self.unsafe("it refers to something that is no storage")
        if not isinstance(key, str) or not key.isascii() or not key.isdigit() or len(key) > 32:
            raise self.unsafe(f"it refers to the storage {str(key)[:60]!r}")
        if type(numel) is not int or numel < 0:
            raise self.damaged(f"storage {key} has no size")
        storage = Storage(key, _STORAGES[cls.name], numel)
        if self.storages.setdefault(key, storage) != storage:
            raise self.damaged(f"storage {key} is described in two ways")
        self.stack.append(storage)


def _make_dict(machine: _Machine, pairs: Any = ()) -> dict[Any, Any]:
    if type(pairs) not in (list, tuple):
        raise machine.unsafe("it makes a dictionary of something else")
    machine.stack.append({})
    for pair in pairs:
        key, value = pair
        machine.set_items([key, value])
    made: dict[Any, Any] = machine.stack.pop()
    return made


def _make_tensor(
    machine: _Machine,
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    _requires_grad: Any,
    hooks: Any,
    _metadata: Any = None,
) -> Stored:
    """A tensor that lies within its storage: no negative sizes, no places beyond the end."""
    if not isinstance(storage, Storage) or hooks != {}:
        raise machine.unsafe("it rebuilds a tensor from something else")
    numbers = (offset, *shape, *stride)
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise machine.damaged("a tensor has a size that is no count")
    if len(shape) != len(stride) or len(shape) > MAX_AXES:
        raise machine.damaged("a tensor's sizes and strides do not fit")
    empty = 0 in shape
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if (offset > storage.numel) if empty else (last >= storage.numel):
        raise machine.damaged(f"a tensor reaches beyond its storage {storage.key}")
    return Stored(storage, offset, tuple(shape), tuple(stride))


def _make_parameter(machine: _Machine, tensor: Any, _requires_grad: Any, hooks: Any) -> Stored:
    if not isinstance(tensor, Stored) or hooks != {}:
        raise machine.unsafe("it rebuilds a parameter from something else")
    return tensor


def _make_instance(machine: _Machine, cls: Any, base: Any, state: Any) -> Attributes:
    if not isinstance(cls, Global) or not isinstance(base, Global) or state is not None:
        raise machine.unsafe(f"it makes an instance of a {type(cls).__name__}")
    return Attributes()


_CALLS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_INSTANCE, _make_instance),
    _ORDERED_DICT: _make_dict,
    _REBUILD_TENSOR: _make_tensor,
    _REBUILD_PARAMETER: _make_parameter,
}

Act = Callable[[_Machine, Any], None]


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _constant(value: Any) -> Act:
    return lambda machine, _: machine.stack.append(value)


def _nothing(_machine: _Machine, _argument: Any) -> None:
    """Framing and versions."""


def _tuple_of(count: int) -> Act:
    def act(machine: _Machine, _: Any) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return act


def _dict_of(machine: _Machine, _: Any) -> None:
    items = machine.to_mark()
    machine.stack.append({})
    machine.set_items(items)


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _put(machine: _Machine, place: int) -> None:
    machine.memo[place] = machine.stack[-1]


_ACTS: dict[str, Act] = {
    "PROTO": _nothing,
    "FRAME": _nothing,
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "INT", "BINFLOAT", "FLOAT"), _push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "UNICODE"), _push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES"), _push),
    "EMPTY_TUPLE": _constant(()),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.to_mark())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": lambda machine, _: machine.stack.append(machine.to_mark()),
    "DICT": _dict_of,
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.to_mark()),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.to_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": lambda machine, _: _put(machine, len(machine.memo)),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"), lambda machine, at: _push(machine, machine.memo[at])
    ),
    "GLOBAL": lambda machine, name: machine.find(name),
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "NEWOBJ": lambda machine, _: machine.new_object(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}
