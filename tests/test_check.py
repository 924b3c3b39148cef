"""The check of graphs that runs after every pass in tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import kerasport
from kerasport.errors import InternalError
from kerasport.ir import ops
from kerasport.ir.check import InvalidGraph, check, check_same_outputs
from kerasport.ir.graph import Graph
from kerasport.ir.tensor import Input, Item, Node, Tensor, TensorType, constant
from kerasport.passes.run import Pass, run, watching
from kerasport.targets.tfjs import graph as graph_model

x = Input("x", TensorType("float32", ("batch", 4)))
sequence = Input("sequence", TensorType("float32", ("batch", None, 4)))


def forced(node: Node, **fields: object) -> Node:
    """A node with fields that its constructor would not allow."""
    for name, value in fields.items():
        object.__setattr__(node, name, value)
    return node


def loop(outside: Tensor | None = None) -> tuple[Tensor, ...]:
    """The results of a loop that adds up steps, and a tensor that it does not declare."""

    def step(
        states: list[Tensor], steps: list[Tensor], _: object
    ) -> tuple[list[Tensor], list[Tensor]]:
        after = states[0] + steps[0] if outside is None else states[0] + steps[0] + outside
        return [after], [after]

    (last,), (every,) = ops.scan(step, (x,), (sequence,))
    return last, every


def scan(inputs: tuple[Input, ...]) -> Graph:
    """A graph of the loop with other inputs of its body."""
    last, _ = loop()
    assert isinstance(last, Item)
    source = last.source
    assert isinstance(source, ops.Scan)
    body = replace(source.body, inputs=inputs)
    return Graph((x, sequence), (Item(forced(source, body=body), 0),))  # type: ignore[arg-type]


def test_check_accepts_well_formed_graphs() -> None:
    y = ops.Relu(x) @ constant(np.ones((4, 3), np.float32))
    check(Graph((x,), (y, x), {y: "dense", x: "x"}))
    check(Graph((x, sequence), loop()))
    check(Graph((x,), ()))


BROKEN: dict[str, tuple[Callable[[], Graph], str]] = {
    "an input that the graph does not have": (
        lambda: Graph((), (ops.Relu(x),)),
        "Input 'x': the graph does not have this input",
    ),
    "an input twice": (lambda: Graph((x, x), (x,)), "an input is listed twice"),
    "another type": (
        lambda: Graph((x,), (forced(ops.Relu(x), type=TensorType("int32", (4,))),)),  # type: ignore[arg-type]
        r"its type is int32\[4\], but its operands imply float32\[batch, 4\]",
    ),
    "other operands": (
        lambda: Graph((x,), (forced(ops.Relu(x), operands=()),)),  # type: ignore[arg-type]
        "its operands are not those in its fields",
    ),
    "a name without a node": (
        lambda: Graph((x,), (x,), {ops.Relu(x): "model/relu"}),
        "the name 'model/relu' belongs to a Relu",
    ),
    "a result that there is not": (
        lambda: Graph(
            (x, sequence),
            (forced(loop()[0], index=2),),  # type: ignore[arg-type]
        ),
        "Scan has no result 2",
    ),
    "an output that is no tensor": (
        lambda: Graph((x, sequence), (loop()[0].operands[0],)),  # type: ignore[arg-type]
        "an output is a Scan",
    ),
    "a body that uses what it is not given": (
        lambda: Graph((x, sequence), loop(outside=x)),
        "Scan: in its body: Input 'x': the graph does not have this input",
    ),
    "a body with too few inputs": (
        lambda: scan(inputs=()),
        "its body has 0 inputs instead of 2",
    ),
    "a body with an input of another type": (
        lambda: scan(inputs=(sequence, x)),
        r"input 0 of its body has the type float32\[batch, \?, 4\], but gets float32",
    ),
}


@pytest.mark.every_row
@pytest.mark.parametrize("name", BROKEN)
def test_check_finds_malformed_graphs(name: str) -> None:
    build, message = BROKEN[name]
    with pytest.raises(InvalidGraph, match=message):
        check(build())


def test_outputs_keep_their_types() -> None:
    before = Graph((x,), (ops.Relu(x),))
    check_same_outputs(before, Graph((x,), (x,)))
    for after, message in (
        (Graph((x,), (ops.cast(x, "int32"),)), "output 0 of type float32.* became int32"),
        (Graph((x,), (ops.sum_(x, 1),)), "output 0 of type"),
        (Graph((x,), ()), "1 outputs became 0"),
        (Graph((), (ops.Relu(x),)), "the inputs changed"),
    ):
        with pytest.raises(InvalidGraph, match=message):
            check_same_outputs(before, after)


def broken(graph: Graph) -> Graph:
    """A pass that forgets the inputs."""
    return replace(graph, inputs=())


def test_passes_are_checked_in_tests() -> None:
    with pytest.raises(
        InvalidGraph, match=r"after the pass 'broken': (.|\n)*does not have this input"
    ):
        run(Graph((x,), (ops.Relu(x),)), (Pass("broken", broken, "nothing"),))


def test_conversions_are_checked_in_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = Path(__file__).parent.parent / "examples" / "digits.keras"
    monkeypatch.setattr(graph_model, "PASSES", (Pass("broken", broken, "nothing"),))
    with pytest.raises(InternalError, match="after the pass 'broken'"):
        kerasport.convert(model, tmp_path / "model", to="tfjs-graph")


def test_a_watcher_sees_every_pass(tmp_path: Path) -> None:
    model = Path(__file__).parent.parent / "examples" / "digits.keras"
    seen: list[str] = []
    with watching(lambda done, before, after: seen.append(done.name)):
        kerasport.convert(model, tmp_path / "model", to="tfjs-graph")
    kerasport.convert(model, tmp_path / "model", to="tfjs-graph", force=True)
    assert seen == [
        "unroll",
        "control flow",
        "count",
        "bodies",
        *(step.name for step in graph_model.PASSES),
    ]
