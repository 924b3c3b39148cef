"""An ONNX model: one file for ONNX Runtime and others, channels first inside and last at its borders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kerasport.errors import MissingPackageError, UnsupportedModel
from kerasport.frontends.keras.lower import lower
from kerasport.frontends.keras.model import KerasModel
from kerasport.ir.graph import Graph, walk
from kerasport.ir.tensor import Constant, Input
from kerasport.passes.algebra import ALGEBRA
from kerasport.passes.fold import fold_constants
from kerasport.passes.run import Pass, in_bodies, rewriting, run
from kerasport.targets.onnx.channels_first import LAYOUT
from kerasport.targets.onnx.fused import fusion
from kerasport.targets.onnx.legalize import LEGAL
from kerasport.targets.onnx.recurrent import native
from kerasport.targets.plan import (
    DEFAULTS,
    OPSET,
    Options,
    Plan,
    notes_of,
    outcomes_of,
    output_names,
)
from kerasport.weights import Weight

if TYPE_CHECKING:
    from kerasport.targets.onnx.file import OnnxPlan

TARGET = "onnx-model"


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
            "operations are joined where ONNX has one operator for them",
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
    return run(graph, (NATIVE, in_bodies(steps), *steps))


INSTALL = 'pip install "kerasport[onnx]"'


def is_installed() -> bool:
    """Whether onnx-ir is installed, with which ONNX models are written."""
    return find_spec("onnx_ir") is not None


def check_installed() -> None:
    """Raise `MissingPackageError` if onnx-ir is not installed."""
    if not is_installed():
        raise MissingPackageError(
            f"ONNX models are written with onnx-ir, which is not installed; {INSTALL}"
        )


def plan(model: KerasModel, options: Options = DEFAULTS) -> Plan:
    """Plan the conversion of a model to ONNX, with all parts that are not supported.

    Without onnx-ir the plan has everything but the model to write.
    """
    try:
        graph = optimized(lower(model), options.opset)
    except UnsupportedModel as error:
        return Plan(
            TARGET, model.writer, outcomes_of(model, error.problems, "lowered"), error.problems
        )
    if not is_installed():
        return _draft(model, graph, options)
    from kerasport.targets.onnx.emit import emitter_of  # noqa: PLC0415  (imports onnx-ir)
    from kerasport.targets.onnx.file import OnnxPlan, assembled  # noqa: PLC0415

    emitter = emitter_of(graph, options.opset)
    outputs = emitter.run(output_names(model))
    outcomes, problems = (
        outcomes_of(model, emitter.problems, "lowered"),
        tuple(dict.fromkeys(emitter.problems)),
    )
    if problems:
        return Plan(TARGET, model.writer, outcomes, problems)
    named = emitter.inputs
    made: OnnxPlan = OnnxPlan(
        TARGET,
        model.writer,
        outcomes,
        (),
        weights=emitter.weights,
        inputs={name: given.shape for name, given in named.items()},
        outputs=tuple(outputs),
        notes=(*notes_of(model, half=options.half_compute), *_notes(named)),
        dtypes={name: given.dtype for name, given in named.items() if given.dtype != "float32"},
        output_shapes={
            name: tensor.shape for name, tensor in zip(outputs, graph.outputs, strict=True)
        },
        output_dtypes={
            name: tensor.dtype for name, tensor in zip(outputs, graph.outputs, strict=True)
        },
        model=assembled(emitter, outputs, model),
        half=options.half_compute,
    )
    return made


def _draft(model: KerasModel, graph: Graph, options: Options) -> Plan:
    """The plan without onnx-ir: it can be shown, but not written."""
    named = {given.name: given for given in graph.inputs}
    outputs = output_names(model)
    weights = {f"weight_{at}": weight for at, weight in enumerate(dict.fromkeys(_weights(graph)))}
    note = f"onnx-ir is not installed, so the file itself was not assembled; to convert the model: {INSTALL}"
    return Plan(
        TARGET,
        model.writer,
        outcomes_of(model, (), "lowered"),
        (),
        weights=weights,
        inputs={name: given.shape for name, given in named.items()},
        outputs=tuple(outputs),
        notes=(*notes_of(model, half=options.half_compute), note),
        dtypes={name: given.dtype for name, given in named.items() if given.dtype != "float32"},
        output_shapes={
            name: tensor.shape for name, tensor in zip(outputs, graph.outputs, strict=True)
        },
        output_dtypes={
            name: tensor.dtype for name, tensor in zip(outputs, graph.outputs, strict=True)
        },
    )


def _weights(graph: Graph) -> Iterator[Weight]:
    """The weights in a graph, and in the bodies of its loops."""
    for node in walk(graph.outputs):
        if isinstance(node, Constant):
            yield node.value
        elif isinstance(body := getattr(node, "body", None), Graph):
            yield from _weights(body)


def _notes(named: Mapping[str, Input]) -> Iterator[str]:
    for name, given in named.items():
        if given.name != name:
            yield f"input {given.name!r} was renamed to {name!r}, since names must be unique"
