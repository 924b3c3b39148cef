"""The TF.js graph-model: `model.json` and shards that `tf.loadGraphModel` loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kerasport.errors import Problem
from kerasport.ir.dtypes import DType
from kerasport.ir.graph import Graph
from kerasport.ir.program import Program
from kerasport.ir.tensor import Input, Tensor
from kerasport.passes.algebra import ALGEBRA
from kerasport.passes.dtypes import narrowed
from kerasport.passes.fold import fold_constants
from kerasport.passes.loop import unroll
from kerasport.passes.run import CONTROL, COUNTED, Pass, in_bodies, rewriting, run
from kerasport.targets.notes import float32_notes
from kerasport.targets.plan import Plan, fields_of, refused
from kerasport.targets.tfjs import GRAPH
from kerasport.targets.tfjs.document import TfjsPlan
from kerasport.targets.tfjs.graph.emit import TYPES, Emitter, Json, emitter_of, shape
from kerasport.targets.tfjs.graph.emit.emitter import STRINGS
from kerasport.targets.tfjs.graph.fused import FUSION
from kerasport.targets.tfjs.graph.legalize import LEGAL
from kerasport.targets.tfjs.graph.scaled import kernels
from kerasport.targets.tfjs.options import GRAPH_DEFAULTS, GraphOptions

VERSIONS = {"producer": 1482}
"""Required by TF.js's loader, but never read."""

PASSES = (
    rewriting(
        "simplify",
        "nothing that depends only on constants is computed at run time",
        fold_constants,
        *ALGEBRA,
    ),
    rewriting(
        "legalize",
        "all backends of TF.js compute every operation correctly",
        *LEGAL,
        fold_constants,
        *ALGEBRA,
    ),
    rewriting(
        "fuse",
        "operations are fused if TF.js has one kernel for them",
        *FUSION,
        fold_constants,
        *ALGEBRA,
    ),
)
"""What runs over the graph and over the bodies of its loops."""


def optimized(graph: Graph, unroll_limit: int = 0) -> Graph:
    """The graph as TF.js computes it best; loops of at most `unroll_limit` steps are unrolled."""
    return run(graph, (unrolling(unroll_limit), CONTROL, COUNTED, in_bodies(PASSES), *PASSES))


def unrolling(limit: int) -> Pass:
    """A pass that writes out short loops."""
    return Pass(
        "unroll",
        lambda graph: unroll(graph, limit),
        f"every loop has more than {limit} steps, or a number of steps known only at run time",
    )


def plan(program: Program, options: GraphOptions = GRAPH_DEFAULTS) -> Plan:
    """Plan a graph-model: legalize the graph, emit its nodes."""
    if program.graph is None:
        return refused(GRAPH, program, program.problems)
    narrow = narrowed(program.graph, NARROW, "TF.js computes in int32")
    graph = optimized(narrow.graph, options.unroll_limit)
    emitter = emitter_of(graph)
    outputs = list(emitter.run([port.name for port in program.outputs]))
    problems = [*narrow.problems, *emitter.problems, *_string_problems(graph)]
    if problems:
        return refused(GRAPH, program, problems)
    return TfjsPlan(
        target=GRAPH,
        format="graph-model",
        **fields_of(replace(program, graph=graph), emitter.inputs, outputs),
        document=document(emitter, outputs),
        weights=emitter.weights,
        notes=(
            *program.notes,
            *narrow.notes,
            *float32_notes(program.half_policies),
            *_notes(emitter),
        ),
        # with these, predict() returns an object with the outputs by name, as Keras returns a dict
        metadata={"structuredOutputKeys": outputs} if program.named_outputs else {},
        channels=kernels(emitter.nodes, emitter.weights, emitter.shared.functions),
        asynchronous=bool(emitter.shared.waits),
    )


NARROW: Mapping[DType, DType] = {
    **dict.fromkeys(("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64"), "int32"),
    **dict.fromkeys(("float16", "bfloat16", "float64"), "float32"),
}  # fmt: skip
"""Element type that TF.js lacks → the one in which it computes instead."""


def _string_problems(graph: Graph) -> Iterator[Problem]:
    """Inputs of strings that are outputs."""
    for output in graph.outputs:
        if isinstance(output, Input) and output.dtype == "string":
            yield Problem(output.name, "InputLayer", STRINGS, "dtype", "string")


def document(emitter: Emitter, outputs: Sequence[str]) -> Json:
    """The signature and topology of model.json, for a graph that was emitted."""
    ends = dict(zip(outputs, emitter.graph.outputs, strict=True))
    return {
        "signature": {
            "inputs": {name: _tensor_info(name, node) for name, node in emitter.inputs.items()},
            "outputs": {name: _tensor_info(name, tensor) for name, tensor in ends.items()},
        },
        "modelTopology": {
            "node": emitter.nodes,
            "library": {"function": emitter.shared.functions},
            "versions": VERSIONS,
        },
        **(
            {"modelInitializer": {"node": emitter.shared.tables, "versions": VERSIONS}}
            if emitter.shared.tables
            else {}
        ),
    }


def _tensor_info(name: str, tensor: Tensor) -> Json:
    return {
        "name": f"{name}:0",
        "dtype": TYPES[tensor.dtype],
        "tensorShape": shape(tensor.shape)["shape"],
    }


def _notes(emitter: Emitter) -> Iterator[str]:
    if emitter.shared.waits:
        yield (
            f"the model {emitter.shared.waits}, so run it with model.executeAsync() instead of "
            "model.predict()"
        )
