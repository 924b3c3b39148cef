"""A frozen TensorFlow graph: nodes without variables, function calls and control inputs.

It is what all readers of TensorFlow graphs make, and what the table of ops converts. A node is
identified by its object, not by its name, because names are unique in one graph or function only.

The format is described in TensorFlow's `graph.proto`, `node_def.proto` and `attr_value.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from kerasport.weights import Array, Shape, Weight

ElementType: TypeAlias = str
"""An element type in the spelling of the IR, such as "float32", or "resource" or "variant"."""


@dataclass(frozen=True)
class FunctionName:
    """The attribute of a node that names a function of the library, such as `body` of a `While`."""

    name: str


@dataclass(frozen=True)
class UnknownRank:
    """The shape of a tensor whose number of axes is not known."""


Scalar: TypeAlias = (
    bool | int | float | bytes | ElementType | Shape | UnknownRank | FunctionName | Weight | Array
)
Attribute: TypeAlias = Scalar | tuple[Scalar, ...]
"""The value of an attribute.

Attributes of the type `string` are bytes, and those of the type `type` are an `ElementType`. A
tensor is a `Weight` if it is in a file, and an array if the graph contains it. Lists are tuples.
"""


@dataclass(frozen=True, eq=False)
class GraphNode:
    """One operation of a graph.

    Attributes:
        name: its name in its graph, such as "model/dense/MatMul". Names of inlined functions start
            with the name of the node that calls the function.
        op: name of the TensorFlow op, such as "MatMul". The op of a function's argument is "_Arg".
        inputs: the results that the node reads, in order. There are no control inputs.
        attributes: all attributes, also those that the file omits because they have their default
            value. Names that start with "_" are internal to TensorFlow and are not included.
    """

    name: str
    op: str
    inputs: tuple[Result, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.op}({self.name!r})"


@dataclass(frozen=True, eq=False)
class Result:
    """One result of a node.

    Attributes:
        node: the node.
        index: position of the result among all results of the node. A list argument of the op
            counts as many results as it has elements.
    """

    node: GraphNode
    index: int = 0


@dataclass(frozen=True, eq=False)
class NamedResult:
    """An input or output of a graph.

    Attributes:
        name: its name in the signature, or the name of its node if there is no signature.
        result: the tensor. The result of an input is that of a `Placeholder` or `_Arg`.
        dtype: element type that the signature states; empty if there is no signature.
        shape: shape that the signature states, None for each size that it leaves open.
    """

    name: str
    result: Result
    dtype: ElementType = "float32"
    shape: Shape | UnknownRank = UnknownRank()


@dataclass(frozen=True, eq=False)
class FrozenFunction:
    """A function that a node of control flow runs: a branch, or the condition or body of a loop.

    Calls inside it are inlined. A variable that it reads is an argument, and the node that runs the
    function passes the value of the variable. A hash table that it reads is the node of the outer
    graph that makes the table, and there is no argument for it.
    """

    name: str
    arguments: tuple[GraphNode, ...]
    results: tuple[Result, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A hash table with its initial content.

    Attributes:
        keys: the keys, [n].
        values: the value of each key, [n].
    """

    keys: Array
    values: Array


@dataclass(frozen=True, eq=False)
class FrozenGraph:
    """A graph that depends on its inputs only.

    The nodes are those that the outputs reach. Constants have the op `Const` and the attribute
    `value`. Variables have become such constants.

    Attributes:
        name: name of the model, from the name of its directory or file.
        writer: version of the program that wrote it, such as "TensorFlow 2.15.0".
        inputs: in the order of their names in the signature, or of the file without a signature.
        outputs: likewise.
        named_outputs: whether a signature names the outputs.
        functions: functions of control flow, by the name in `FunctionName`.
        tables: content of hash tables, by the name of the node that makes the table.
        notes: what a user should know, such as the removal of ops that only check values.
    """

    name: str
    writer: str
    inputs: tuple[NamedResult, ...]
    outputs: tuple[NamedResult, ...]
    named_outputs: bool = True
    functions: Mapping[str, FrozenFunction] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
