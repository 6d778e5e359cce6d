"""Parts of a graph, against the onnx package and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from koed.engine.kokoro.onnx_cut import Graph, given, own


def tensor(name: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "n"])


def small() -> bytes:
    """(x * two) -> middle -> (middle + x) -> y, and beside it x -> unused."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["middle"], name="first"),
            helper.make_node("Neg", ["x"], ["unused"], name="beside"),
            helper.make_node("Clip", ["middle", "", "top"], ["clipped"], name="optional"),
            helper.make_node("Add", ["clipped", "x"], ["y"], name="last"),
        ],
        "whole",
        [tensor("x")],
        [tensor("y")],
        [
            numpy_helper.from_array(np.array([[2]], np.float32), "two"),
            numpy_helper.from_array(np.array(900, np.float32), "top"),
        ],
        value_info=[tensor("middle"), tensor("unused"), tensor("clipped")],
    )
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9, producer_name="a test")
    data: bytes = model.SerializeToString()
    return data


def cut(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> bytes:
    return b"".join(Graph(small()).part(inputs, outputs))


def run(model: bytes, **feed: list[float]) -> list[list[float]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    given = {name: np.array([values], np.float32) for name, values in feed.items()}
    return [output[0].tolist() for output in session.run(None, given)]


def test_two_parts_give_what_the_whole_gives() -> None:
    first, last = cut(("x",), ("middle",)), cut(("x", "middle"), ("y",))
    assert run(small(), x=[1, 500]) == [[3, 1400]]
    assert run(first, x=[1, 500]) == [[2, 1000]]
    assert run(last, x=[1, 500], middle=[2, 1000]) == [[3, 1400]]


def test_a_part_holds_what_it_needs_and_all_that_surrounds_the_graph() -> None:
    whole, part = onnx.load_from_string(small()), onnx.load_from_string(cut(("x",), ("middle",)))
    onnx.checker.check_model(part)
    assert [node.name for node in part.graph.node] == ["first"]
    assert [value.name for value in part.graph.initializer] == ["two"]
    assert [part.graph.input[0], part.graph.output[0]] == [
        whole.graph.input[0], whole.graph.value_info[0],
    ]  # fmt: skip
    assert (part.ir_version, part.producer_name) == (9, "a test")
    assert part.opset_import == whole.opset_import


def test_inputs_and_outputs_keep_the_order_asked_for() -> None:
    part = onnx.load_from_string(cut(("middle", "x"), ("y", "unused")))
    assert [value.name for value in part.graph.input] == ["middle", "x"]
    assert [value.name for value in part.graph.output] == ["y", "unused"]


def test_an_opened_result_can_be_given_in_part() -> None:
    opened = b"".join(Graph(small()).part(["x"], ["y"], "Mul"))
    fed: dict[str, list[float]] = {"x": [1, 500], given("middle"): [10, 20]}
    assert run(opened, trust=[0], **fed) == [[3, 1400], [2, 1000]]
    assert run(opened, trust=[1], **fed) == [[11, 520], [2, 1000]]
    assert run(opened, trust=[0.5], **fed) == [[7, 1010], [2, 1000]]
    names = [tensor.name for tensor in onnx.load_from_string(opened).graph.output]
    assert names == ["y", own("middle")]


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        (("middle",), ("y",), "needs the tensor x"),
        (("x",), ("z",), "needs the tensor z"),
        (("x", "other"), ("y",), "no tensor other"),
    ],
)
def test_a_cut_that_cannot_be_is_told(
    inputs: tuple[str, ...], outputs: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        cut(inputs, outputs)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"RIFF", b"\x3a", b"\x3a\x05ab", b"\xff" * 40, b"\x3a\x00\x3a\x00", b"\x09\x00",
        small()[:-1], small()[: len(small()) // 2],
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="model"):
        Graph(data)
