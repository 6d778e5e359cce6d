"""Takes a part out of an ONNX graph: the nodes between some tensors and others, and opens some.

An ONNX file is a protocol buffer, and a cut copies fields of it whole; so it needs neither the onnx
package nor more memory than the file's bytes. Field numbers are those of onnx.proto3 (ONNX IR
version 3 and later). Graphs inside nodes (If, Loop) are not looked into: this model has none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13  # of GraphProto
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP = 1, 2, 3, 4  # of NodeProto
_TENSOR_NAME, _VALUE_NAME = 8, 1  # of TensorProto, ValueInfoProto
_FLOATS = bytes((0x12, 4, 0x0A, 2, 0x08, 1))  # TypeProto in ValueInfoProto: floats of any shape
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5  # wire types


@dataclass(frozen=True, slots=True)
class _Node:
    field: memoryview
    content: memoryview
    op: bytes
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]


TRUST = "trust"
"""Input of a part that was opened: float32 ``[1]``."""


def given(name: str) -> str:
    """The input that may stand in for a result that was opened."""
    return f"given:{name}"


def own(name: str) -> str:
    """The output that tells what the result would have been."""
    return f"own:{name}"


class Graph:
    """``model`` is the whole file; it is copied from, so it lives as long as this does.

    Raises ValueError if it is no ONNX model.
    """

    def __init__(self, model: bytes | bytearray | memoryview) -> None:
        self._around: list[memoryview] = []
        self._nodes: list[_Node] = []
        self._initializers: dict[bytes, memoryview] = {}
        self._values: dict[bytes, memoryview] = {}
        """Type and shape of a tensor: ``ValueInfoProto``."""
        graphs = []
        for number, field, content in _fields(memoryview(model)):
            if number == _GRAPH:
                graphs.append(content)
            else:
                self._around.append(field)
        if len(graphs) != 1:
            raise ValueError("this is no ONNX model")
        for number, field, content in _fields(graphs[0]):
            self._take(number, field, content)

    def _take(self, number: int, field: memoryview, content: memoryview) -> None:
        if number == _NODE:
            of = [(n, bytes(c)) for n, _, c in _fields(content) if n <= _NODE_OP]
            inputs, outputs, op = (
                tuple(c for n, c in of if n == which)
                for which in (_NODE_INPUT, _NODE_OUTPUT, _NODE_OP)
            )
            known = tuple(name for name in inputs if name)
            self._nodes.append(_Node(field, content, b"".join(op), known, outputs))
        elif number == _INITIALIZER:
            self._initializers[_name(content, _TENSOR_NAME)] = field
        elif number in (_INPUT, _OUTPUT, _VALUE_INFO):
            self._values[_name(content, _VALUE_NAME)] = content

    def part(
        self, inputs: Collection[str], outputs: Collection[str], opened: str = ""
    ) -> Iterator[memoryview]:
        """The file of a model that gives ``outputs`` when it is fed ``inputs``, in pieces.

        The result R of each node of the operation ``opened`` becomes ``R + trust * (given - R)``:
        the part gets the inputs `TRUST` and `given` of R, and the output `own` of R. Raises
        ValueError if a tensor is not there, or if the outputs need more than the inputs.
        """
        fed = {name.encode() for name in inputs}
        nodes, needed = self._between(fed, [name.encode() for name in outputs])
        open_ones = [node for node in nodes if opened and node.op == opened.encode()]
        pieces: list[memoryview] = []
        for node in nodes:
            pieces += _opened(node) if node in open_ones else [node.field]
        pieces += [field for name, field in self._initializers.items() if name in needed]
        for number, names in ((_INPUT, inputs), (_OUTPUT, outputs)):
            for name in names:
                if name.encode() not in self._values:
                    raise ValueError(f"the model has no tensor {name}")
                value = self._values[name.encode()]
                pieces += [_head(number, len(value)), value]
        results = [node.outputs[0].decode() for node in open_ones]
        pieces += [_value(_INPUT, name) for name in ([TRUST] if results else [])]
        pieces += [_value(_INPUT, given(name)) for name in results]
        pieces += [_value(_OUTPUT, own(name)) for name in results]
        pieces += [_head(2, 4), memoryview(b"part")]  # a graph must have a name
        yield from self._around
        yield _head(_GRAPH, sum(map(len, pieces)))
        yield from pieces

    def _between(self, given: set[bytes], outputs: list[bytes]) -> tuple[list[_Node], set[bytes]]:
        """Nodes in their order, and every tensor that they read."""
        makers = {output: node for node in self._nodes for output in node.outputs if output}
        wanted, seen, kept = list(outputs), set(given), set()
        while wanted:
            name = wanted.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in makers:
                kept.add(id(makers[name]))
                wanted += makers[name].inputs
            elif name not in self._initializers:
                raise ValueError(f"a part needs the tensor {name.decode(errors='replace')}")
        return [node for node in self._nodes if id(node) in kept], seen


def _opened(node: _Node) -> Iterator[memoryview]:
    """The node under another name of its result, and what mixes that with the given one."""
    result = node.outputs[0].decode()
    rest = [field for n, field, _ in _fields(node.content) if n != _NODE_OUTPUT]
    rest.append(memoryview(_field(_NODE_OUTPUT, own(result).encode())))
    yield _head(_NODE, sum(map(len, rest)))
    yield from rest
    off, by = f"off:{result}", f"by:{result}"
    yield _node("Sub", (given(result), own(result)), off)
    yield _node("Mul", (off, TRUST), by)
    yield _node("Add", (own(result), by), result)


def _node(op: str, inputs: tuple[str, str], output: str) -> memoryview:
    content = b"".join(_field(_NODE_INPUT, name.encode()) for name in inputs)
    content += _field(_NODE_OUTPUT, output.encode()) + _field(_NODE_NAME, output.encode())
    return memoryview(_field(_NODE, content + _field(_NODE_OP, op.encode())))


def _value(number: int, name: str) -> memoryview:
    """An input or output of floats."""
    return memoryview(_field(number, _field(_VALUE_NAME, name.encode()) + _FLOATS))


def _field(number: int, content: bytes) -> bytes:
    return bytes(_head(number, len(content))) + content


def _name(content: memoryview, number: int) -> bytes:
    return next((bytes(c) for n, _, c in _fields(content) if n == number), b"")


def _head(number: int, length: int) -> memoryview:
    """What stands before a field with a length."""
    head = bytearray()
    for value in (number << 3 | _LENGTH, length):
        while value > 0x7F:
            head.append(value & 0x7F | 0x80)
            value >>= 7
        head.append(value)
    return memoryview(bytes(head))


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Number, whole field, its content; raises ValueError where the bytes are not such fields."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        kind = tag & 7
        size = 0
        if kind == _LENGTH:
            size, at = _varint(data, at)
        elif kind == _EIGHT_BYTES:
            size = 8
        elif kind == _FOUR_BYTES:
            size = 4
        elif kind == _VARINT:
            _, end = _varint(data, at)
            size = end - at
        else:
            raise ValueError("this is no ONNX model")
        if at + size > len(data):
            raise ValueError("the model ends early")
        yield tag >> 3, data[start : at + size], data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("this is no ONNX model")
