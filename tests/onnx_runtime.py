"""ONNX models of tests: run by ONNX Runtime, and looked into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from kerasport.verification.runtimes.onnx import TYPES
from kerasport.weights import Array


def session(path: Path) -> Any:
    """The model, loaded by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # a test tells what is wrong
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path: Path, feeds: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """What ONNX Runtime computes of each feed."""
    runner = session(path)
    inputs = runner.get_inputs()
    return [
        runner.run(
            None, {given.name: fed(x, given.type) for given, x in zip(inputs, feed, strict=True)}
        )
        for feed in feeds
    ]


def fed(array: Array, kind: str = "") -> Array:
    """An array in the dtype of an input of a converted model; all floats become float32."""
    wanted = np.float32 if array.dtype.kind == "f" else array.dtype
    return np.asarray(array, TYPES.get(kind, wanted))


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, and of those inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


def operators(path: Path) -> Counter[str]:
    """How often a model has each operator."""
    return Counter(node.op_type for node in nodes(onnx.load(path).graph))


def close(expected: Sequence[Array], computed: Sequence[Array], rtol: float, atol: float) -> None:
    """Assert that outputs are the same within bounds."""
    for index, (wanted, got) in enumerate(zip(expected, computed, strict=True)):
        assert got.shape == wanted.shape, index
        np.testing.assert_allclose(
            got.astype("float64"), wanted.astype("float64"), rtol, atol, err_msg=f"output {index}"
        )
