"""Convert a Keras model to a program: the graph, and the data for reports on the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kerasport.errors import Problem, UnsupportedModel, quoted
from kerasport.frontends.keras.identity import IDENTITY, is_identity
from kerasport.frontends.keras.masks import passes_what_3_16_stops
from kerasport.frontends.keras.meaning import expected_values, output_values
from kerasport.frontends.keras.model import KerasModel, LayerSpec, Operation
from kerasport.ir.graph import Graph
from kerasport.ir.program import Part, Port, Program
from kerasport.weights import Shape


def program_of(model: KerasModel) -> Program:
    """Lower a model, and describe it for reports.

    If parts of the model are not supported, the program has problems instead of a graph.
    """
    from kerasport.frontends.keras.lower import lower  # noqa: PLC0415  (a layers-model needs no graph)

    graph: Graph | None = None
    problems: tuple[Problem, ...] = ()
    try:
        graph = lower(model)
    except UnsupportedModel as error:
        problems = error.problems
    shapes = [] if graph is None else [output.shape for output in graph.outputs]
    return Program(
        name=model.name,
        writer=model.writer,
        graph=graph,
        # without a graph, because calls may refer to missing outputs
        inputs=() if graph is None else input_ports(model),
        outputs=() if graph is None else output_ports(model, shapes),
        named_outputs=isinstance(model.outputs, Mapping),
        parts=parts_of(model),
        problems=problems,
        notes=notes_of(model),
        half_policies=half_policies(model),
    )


def parts_of(model: KerasModel) -> tuple[Part, ...]:
    """All layers and operations of a model and its nested models, each once."""
    return tuple(_part(path, target) for path, target in model.walk())


def _part(path: str, target: LayerSpec | Operation) -> Part:
    if not isinstance(target, LayerSpec):
        return Part(path, target.name, target.class_name)
    removed = IDENTITY.get(target.class_name, "") if is_identity(target) else ""
    return Part(path, target.name, target.class_name, removed, target.weights)


def input_ports(model: KerasModel) -> tuple[Port, ...]:
    """The inputs of a model, with the values that they expect."""
    names = [tensor.call.target.name for tensor in model.input_tensors]
    return tuple(map(Port, names, expected_values(model)))


def output_ports(model: KerasModel, shapes: Sequence[Shape]) -> tuple[Port, ...]:
    """The outputs of a model, with the meaning of their values.

    Their names are the keys of the dict that the model returns, or else the names of their layers.

    Args:
        model: the model.
        shapes: shape of each output; empty if they are unknown.
    """
    if isinstance(model.outputs, Mapping) and len(model.outputs) == len(model.output_tensors):
        names = sorted(map(str, model.outputs))
    else:
        names = [tensor.call.target.name for tensor in model.output_tensors]
    known = shapes or [()] * len(names)
    return tuple(map(Port, names, output_values(model, known)))


def notes_of(model: KerasModel) -> tuple[str, ...]:
    """What a user should know about a model, for all targets."""
    return tuple(dict.fromkeys(_notes(model)))


def _notes(model: KerasModel) -> Iterator[str]:
    if not model.writer and passes_what_3_16_stops(model):
        yield (
            "the file does not name the Keras version that wrote it; recurrent layers and "
            "TimeDistributed pass masks on as in Keras up to 3.15, but since 3.16 they do not"
        )
    if any("float64" in policy for policy in _policies(model)):
        yield (
            "the model uses the dtype float64; the converted model computes in float32, so its "
            "outputs have about 7 correct digits"
        )
    for path, spec in model.walk():
        if isinstance(spec, LayerSpec) and spec.note:
            yield f"layer {quoted(path)}: {spec.note}"


def half_policies(model: KerasModel) -> tuple[str, ...]:
    """The dtype policies of 16 bits in a model, such as "mixed_float16"."""
    # "float16" and "mixed_bfloat16", but not "int16"
    return tuple(sorted(policy for policy in _policies(model) if "float16" in policy))


def _policies(model: KerasModel) -> set[str]:
    """The dtype policies of all layers."""
    specs = (spec for _, spec in model.walk() if isinstance(spec, LayerSpec))
    return {str(spec.config.get("dtype")) for spec in specs}
