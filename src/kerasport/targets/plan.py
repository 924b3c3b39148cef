"""Plans: converted models before they are written, with the data for reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from kerasport.errors import Problem
from kerasport.ir.program import Part, Port, Program
from kerasport.ir.tensor import Input
from kerasport.report import LayerOutcome, Outcome, Values
from kerasport.targets.encoding import Encoding, Scaled, nbytes_of
from kerasport.weights import Shape, Weight

if TYPE_CHECKING:
    from kerasport.targets.target import Target


@dataclass(frozen=True)
class Output:
    """What was written.

    Attributes:
        files: names of the files.
        nbytes: size of all files in bytes.
        errors: name of each rounded weight → the largest error of one of its values.
    """

    files: tuple[str, ...]
    nbytes: int
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A converted model before it is written, and everything that a user should know about it.

    Attributes:
        target: the target that planned it.
        writer: version of the program that wrote the source; empty if it is not known.
        parts: the parts of the source.
        layers: the outcome of each part.
        problems: parts that are not supported; if there are any, the plan cannot be written.
        weights: the weights by the names that they have in the output.
        inputs: name of each input → its shape.
        dtypes: name of each input that takes only one dtype, other than float32 → that dtype.
        expects: name of each input → what its values mean.
        outputs: names of the outputs.
        output_shapes: name of each output → its shape, if it is known.
        output_dtypes: name of each output → its dtype; empty if all are float32.
        gives: name of each output → what its values mean.
        renamed: path of each renamed part of the source → its name in the output.
        notes: what else to know.
        choice: what to know about this format and the alternative.
        encodings: name of each rounded weight → how it is stored.
    """

    target: Target
    writer: str = ""
    parts: tuple[Part, ...] = ()
    layers: tuple[LayerOutcome, ...] = ()
    problems: tuple[Problem, ...] = ()
    weights: Mapping[str, Weight] = field(default_factory=dict)
    inputs: Mapping[str, Shape] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    expects: Mapping[str, Values] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    output_shapes: Mapping[str, Shape] = field(default_factory=dict)
    output_dtypes: Mapping[str, str] = field(default_factory=dict)
    gives: Mapping[str, Values] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    choice: str = ""
    encodings: Mapping[str, Encoding | Scaled] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Size in bytes of all weights as they are written."""
        return sum(map(self.nbytes_of, self.weights))

    def nbytes_of(self, name: str) -> int:
        """Size in bytes of a weight as it is written."""
        return nbytes_of(self.weights[name], self.encodings.get(name), self.target.stored_dtype)

    @property
    def guide(self) -> str:
        """The page of the documentation about what can be done with the model."""
        return self.target.guide

    def fed_dtypes(self) -> dict[str, str]:
        """Name of each input → dtype of the tensor that a page feeds."""
        return {name: self.dtypes.get(name, values.dtype) for name, values in self.expects.items()}


def outcomes_of(
    parts: Iterable[Part],
    problems: Iterable[Problem],
    otherwise: Outcome,
    renamed: Mapping[str, str] | None = None,
    companions: Mapping[str, str] | None = None,
    became: Mapping[str, Sequence[str]] | None = None,
) -> tuple[LayerOutcome, ...]:
    """The outcome of each part: refused, removed, a companion class, other layers, or `otherwise`.

    Args:
        parts: the parts of the source.
        problems: what is not supported.
        otherwise: the outcome of all other parts.
        renamed: path of a part → its new name.
        companions: path of a part that needs the companion → the reason.
        became: path of a part that is rewritten → the classes of the layers that replace it.
    """
    renamed, companions, became = renamed or {}, companions or {}, became or {}
    refused: dict[str, str] = {}
    for problem in problems:
        refused.setdefault(problem.layer, problem.reason)

    def outcome(part: Part) -> LayerOutcome:
        path, class_name = part.path, part.class_name
        if part.name in refused:
            return LayerOutcome(path, class_name, "refused", "", refused[part.name])
        if part.removed and path not in became:
            return LayerOutcome(path, class_name, "removed", "", part.removed)
        name = renamed.get(path, part.name)
        if path in companions:
            return LayerOutcome(path, class_name, "companion", name, companions[path])
        if path in became:
            return LayerOutcome(path, class_name, "rewritten", name, listed(became[path]))
        return LayerOutcome(path, class_name, otherwise, name)

    return tuple(map(outcome, parts))


def with_notes(plan: Plan, *notes: Iterable[str]) -> Plan:
    """The plan with more notes."""
    return replace(plan, notes=tuple(chain(plan.notes, *notes)))


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def refused(target: Target, program: Program, problems: Sequence[Problem]) -> Plan:
    """The plan for a program with parts that are not supported."""
    unique = tuple(dict.fromkeys(problems))
    return Plan(
        target=target,
        writer=program.writer,
        parts=program.parts,
        layers=outcomes_of(program.parts, unique, "lowered"),
        problems=unique,
    )


def fields_of(
    program: Program, inputs: Mapping[str, Input], outputs: Sequence[str]
) -> dict[str, Any]:
    """The fields of a plan that describe a program.

    Args:
        program: a program without problems.
        inputs: name in the output → input of the graph, in its order.
        outputs: name in the output of each output of the graph.
    """
    assert program.graph is not None
    ends = dict(zip(outputs, program.graph.outputs, strict=True))
    return {
        "writer": program.writer,
        "parts": program.parts,
        "layers": outcomes_of(program.parts, (), "lowered"),
        "inputs": {name: node.shape for name, node in inputs.items()},
        "dtypes": {name: node.dtype for name, node in inputs.items() if node.dtype != "float32"},
        "expects": values_of(inputs, program.inputs),
        "outputs": tuple(outputs),
        "output_shapes": {name: tensor.shape for name, tensor in ends.items()},
        "output_dtypes": {name: tensor.dtype for name, tensor in ends.items()},
        "gives": gives_of(outputs, program.outputs, [t.dtype for t in program.graph.outputs]),
    }


def values_of(names: Iterable[str], ports: Sequence[Port]) -> dict[str, Values]:
    """Name of each port in the output → the meaning of its values."""
    return {name: port.values for name, port in zip(names, ports, strict=False)}


def gives_of(
    names: Sequence[str], ports: Sequence[Port], dtypes: Sequence[str]
) -> dict[str, Values]:
    """Name of each output → the meaning of its values, with their dtype."""
    values = values_of(names, ports)
    return {
        name: replace(values[name], dtype=dtype) for name, dtype in zip(names, dtypes, strict=True)
    }
