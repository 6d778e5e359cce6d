"""Takes a part out of an ONNX graph: the nodes between some tensors and others.

An ONNX file is a protocol buffer, and a cut copies fields of it whole; so it needs neither the onnx
package nor more memory than the file's bytes. Field numbers are those of onnx.proto3 (ONNX IR
version 3 and later). Graphs inside nodes (If, Loop) are not looked into: this model has none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13  # of GraphProto
_NODE_INPUT, _NODE_OUTPUT = 1, 2  # of NodeProto
_TENSOR_NAME, _VALUE_NAME = 8, 1  # of TensorProto, ValueInfoProto
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5  # wire types


@dataclass(frozen=True, slots=True)
class _Node:
    field: memoryview
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]


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
            of = [(n, bytes(c)) for n, _, c in _fields(content) if n in (_NODE_INPUT, _NODE_OUTPUT)]
            inputs = tuple(name for n, name in of if n == _NODE_INPUT and name)
            self._nodes.append(_Node(field, inputs, tuple(c for n, c in of if n == _NODE_OUTPUT)))
        elif number == _INITIALIZER:
            self._initializers[_name(content, _TENSOR_NAME)] = field
        elif number in (_INPUT, _OUTPUT, _VALUE_INFO):
            self._values[_name(content, _VALUE_NAME)] = content

    def part(self, inputs: Collection[str], outputs: Collection[str]) -> Iterator[memoryview]:
        """The file of a model that gives ``outputs`` when it is fed ``inputs``, in pieces.

        Raises ValueError if a tensor is not there, or if the outputs need more than the inputs.
        """
        given = {name.encode() for name in inputs}
        nodes, needed = self._between(given, [name.encode() for name in outputs])
        pieces = [node.field for node in nodes]
        pieces += [field for name, field in self._initializers.items() if name in needed]
        for number, names in ((_INPUT, inputs), (_OUTPUT, outputs)):
            for name in names:
                if name.encode() not in self._values:
                    raise ValueError(f"the model has no tensor {name}")
                value = self._values[name.encode()]
                pieces += [_head(number, len(value)), value]
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
