"""Plan an ONNX model: channels first inside, channels last in its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kerasport.ir.graph import Graph
from kerasport.ir.program import Program
from kerasport.ir.tensor import Constant, Input
from kerasport.passes.algebra import ALGEBRA
from kerasport.passes.dtypes import bodies
from kerasport.passes.fold import fold_constants
from kerasport.passes.run import CONTROL, COUNTED, Pass, in_bodies, rewriting, run
from kerasport.targets.notes import float32_notes
from kerasport.targets.onnx import EXTRA, ONNX
from kerasport.targets.onnx.channels_first import LAYOUT
from kerasport.targets.onnx.fused import fusion
from kerasport.targets.onnx.legalize import LEGAL
from kerasport.targets.onnx.options import DEFAULTS, OPSET, OnnxOptions
from kerasport.targets.onnx.recurrent import native
from kerasport.targets.plan import Plan, fields_of, refused
from kerasport.weights import Weight


def passes(opset: int) -> tuple[Pass, ...]:
    """What runs over the graph and over the bodies of its loops."""
    return (
        rewriting(
            "legalize",
            "ONNX has an operator for every operation",
            *LEGAL,
            fold_constants,
            *ALGEBRA,
        ),
        rewriting(
            "fuse",
            "operations are fused if ONNX has one operator for them",
            *fusion(opset),
            fold_constants,
            *ALGEBRA,
        ),
        rewriting(
            "channels first",
            "windows slide over tensors with channels first, with few transposes between them",
            *LAYOUT,
            fold_constants,
        ),
        rewriting(
            "simplify",
            "nothing that depends only on constants is computed at run time",
            fold_constants,
            *ALGEBRA,
        ),
    )


NATIVE = Pass("recurrent", native, "loops are LSTM, GRU or RNN where ONNX has such an operator")


def optimized(graph: Graph, opset: int = OPSET) -> Graph:
    """The graph as ONNX Runtime computes it best, in operations that an opset has."""
    steps = passes(opset)
    return run(graph, (NATIVE, CONTROL, COUNTED, in_bodies(steps), *steps))


def plan(program: Program, options: OnnxOptions = DEFAULTS) -> Plan:
    """Plan an ONNX model.

    Without onnx-ir the plan has everything but the model to write.
    """
    if program.graph is None:
        return refused(ONNX, program, program.problems)
    graph = optimized(program.graph, options.opset)
    widened = program.half_policies if not options.half_compute else ()
    notes = (*program.notes, *float32_notes(widened))
    if not is_installed():
        return _draft(replace(program, graph=graph), notes)
    from kerasport.targets.onnx.emit import emitter_of  # noqa: PLC0415  (imports onnx-ir)
    from kerasport.targets.onnx.file import OnnxPlan, assembled  # noqa: PLC0415  (likewise)

    emitter = emitter_of(graph, options.opset)
    outputs = emitter.run([port.name for port in program.outputs])
    if emitter.problems:
        return refused(ONNX, program, emitter.problems)
    return OnnxPlan(
        target=ONNX,
        **fields_of(replace(program, graph=graph), emitter.inputs, list(outputs)),
        weights=emitter.weights,
        notes=(*notes, *_notes(emitter.inputs)),
        model=assembled(emitter, outputs, program),
        half=options.half_compute,
    )


def is_installed() -> bool:
    """Whether the packages are installed that write ONNX models."""
    return EXTRA.is_installed()


def _draft(program: Program, notes: tuple[str, ...]) -> Plan:
    """The plan without onnx-ir: it can be shown, but not written."""
    assert program.graph is not None
    inputs = {node.name: node for node in program.graph.inputs}
    found = dict.fromkeys(_weights(program.graph))
    note = (
        "onnx-ir is not installed, so the file itself was not assembled; to convert the model: "
        f"{EXTRA.install}"
    )
    return Plan(
        target=ONNX,
        **fields_of(program, inputs, [port.name for port in program.outputs]),
        weights={f"weight_{number}": weight for number, weight in enumerate(found)},
        notes=(*notes, note),
    )


def _weights(graph: Graph) -> Iterator[Weight]:
    """The weights in a graph, and in the bodies of its branches and loops."""
    for node in graph.nodes():
        if isinstance(node, Constant):
            yield node.value
        for body in bodies(node):
            yield from _weights(body)


def _notes(named: Mapping[str, Input]) -> Iterator[str]:
    for name, operand in named.items():
        if operand.name != name:
            yield f"input {operand.name!r} was renamed to {name!r}, since names must be unique"
