"""The emitter of graph-models: how they store inputs, nodes, constants, outputs and functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kerasport.ir import ops
from kerasport.ir.dtypes import dtype_of
from kerasport.ir.ops.movement import Size
from kerasport.ir.tensor import Constant, Input, Node, Tensor
from kerasport.targets import emission
from kerasport.targets.tfjs.graph.emit.attributes import Json, const, dtype, integer, shape
from kerasport.weights import Array, ComputedWeight

Emit: TypeAlias = Callable[["Emitter", Any], str]

LOW_RANK = (
    ops.Add,
    ops.Sub,
    ops.Mul,
    ops.Div,
    ops.DivNoNan,
    ops.FloorDiv,
    ops.Mod,
    ops.Pow,
    ops.SquaredDifference,
)
"""Operations for which the wasm backend calls XNNPACK, which takes tensors of at most rank 6.

Beyond that TF.js returns memory that nobody wrote.
"""

STRINGS = (
    "the only operation on strings that all backends of TF.js support is a lookup in a vocabulary"
)

HIGH_RANK = "the wasm backend of TF.js computes wrong results for tensors of rank 7 or more"


@dataclass
class Shared(emission.Shared):
    """State that the emitter of a graph shares with the emitters of its bodies.

    Attributes:
        functions: the bodies written so far.
        tables: nodes that fill the lookup tables before the first run.
        waits: why the model needs `executeAsync`; empty if it does not.
    """

    functions: list[Json] = field(default_factory=list)
    tables: list[Json] = field(default_factory=list)
    waits: str = ""

    def legal_name(self, name: str) -> str:
        """The name as `node_name` spells it."""
        return node_name(name)


def is_string(node: Node) -> bool:
    """Whether a node is a tensor of strings."""
    return isinstance(node, Tensor) and node.dtype == "string"


class Emitter(emission.Emitter[str]):
    """Writes the nodes of a graph-model, in which a tensor is the name of its node."""

    shared: Shared

    def refusal(self, node: Node) -> str:
        """Why TF.js cannot express a node; empty if it can."""
        if reason := super().refusal(node):
            return reason
        if not isinstance(node, ops.Lookup) and any(map(is_string, node.operands)):
            return STRINGS
        return HIGH_RANK if isinstance(node, LOW_RANK) and node.rank > 6 else ""

    # ----------------------------------------------------------------------------------- the format

    def add(self, op: str, inputs: Sequence[Node | str], **attributes: Json) -> str:
        """Add a node; return its name, which is that of its first result."""
        name = self.unique(op.lstrip("_"))
        refs = [self.ref(operand) for operand in inputs]
        self.nodes.append({"name": name, "op": op, "input": refs, "attr": attributes})
        return name

    def write_input(self, name: str, node: Input) -> str:
        """A `Placeholder`."""
        attributes = {"dtype": dtype(node.dtype), "shape": shape(node.shape)}
        self.nodes.append({"name": name, "op": "Placeholder", "attr": attributes})
        return name

    def write_outputs(self, names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
        """An `Identity` for each output: TF.js confuses two results of one node."""
        for name, value in zip(names, values, strict=True):
            self.nodes.append({"name": name, "op": "Identity", "input": [value], "attr": {}})
        return {name: name for name in names}

    def write_weight(self, name: str, node: Constant) -> str:
        """A `Const`."""
        self.nodes.append(const(name, node.dtype, node.value))
        return name

    def write_small(self, name: str, array: Array) -> str:
        """A `Const`, and a weight for its value."""
        self.weights[name] = ComputedWeight(array.dtype, array.shape, lambda: array)
        self.nodes.append(const(name, dtype_of(array.dtype), self.weights[name]))
        return name

    def write_refused(self) -> str:
        """A name that no node has."""
        return "refused"

    # --------------------------------------------------------------------------- for emit functions

    def function(
        self, wanted: str, arguments: Sequence[tuple[str, str]], ends: Sequence[tuple[str, str]]
    ) -> str:
        """Add the nodes written so far as a function; return its name.

        Args:
            wanted: name of the function.
            arguments: name and element type of each argument.
            ends: node and element type of each result. Each must be a separate node, since TF.js
                confuses two results of one node.
        """
        name = self.shared.unique(wanted)
        signature = {
            "name": name,
            "inputArg": [{"name": argument, **dtype(kind)} for argument, kind in arguments],
            "outputArg": [
                {"name": f"out_{index}", **dtype(kind)} for index, (_, kind) in enumerate(ends)
            ],
        }
        returned = {f"out_{index}": f"{ref}:0" for index, (ref, _) in enumerate(ends)}
        function = {"signature": signature, "nodeDef": self.nodes, "ret": returned}
        self.shared.functions.append(function)
        return name

    def weight(self, wanted: str, value: Any) -> str:
        """A weight of strings or integers without the node that reads it; return its name."""
        name = self.shared.unique(wanted)
        array = np.asarray(value)
        array = array.astype(object if array.dtype.kind == "U" else np.int32)
        self.weights[name] = ComputedWeight(array.dtype, array.shape, lambda: array)
        return name

    def size(self, size: Size) -> str:
        """A size, an int32 scalar."""
        return self.number(size) if isinstance(size, int) else self.ref(size)

    def sizes(self, to: Sequence[Size]) -> str:
        """A shape, int32 [rank]: a constant, or sizes that are packed at run time."""
        if all(isinstance(size, int) for size in to):
            return self.ints(list(to))
        parts = [self.size(size) for size in to]
        return self.add("Pack", parts, N=integer(len(parts)), axis=integer(0), T=dtype("int32"))


INHERITED = frozenset(
    (
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    )
)
"""Properties that every JavaScript object inherits, also the one in which TF.js looks up nodes."""


def node_name(name: str) -> str:
    """The name, changed where TF.js or TensorFlow does not accept it.

    JavaScript objects inherit some names, and sort numbers before all other names.
    """
    legal = re.sub(r"[^A-Za-z0-9_./-]", "_", name)
    return legal if re.match(r"[A-Za-z.]", legal) and legal not in INHERITED else f"n{legal}"
