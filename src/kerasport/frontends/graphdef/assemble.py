"""Makes a frozen graph from a graph with functions, once its inputs and outputs are known."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kerasport.errors import OptionError, ReadError, quoted
from kerasport.frontends.graphdef.body import Body, Library, StoredNode
from kerasport.frontends.graphdef.flatten import CHECKS, Flattener, node_of
from kerasport.frontends.graphdef.freeze import Freezer, ordered
from kerasport.frontends.graphdef.frozen import (
    ElementType,
    FrozenGraph,
    GraphNode,
    NamedResult,
    Result,
    UnknownRank,
)
from kerasport.frontends.graphdef.stored_values import StoredValues
from kerasport.frontends.graphdef.v1_control_flow import CONTROL_FLOW, raised
from kerasport.weights import Shape

PLACEHOLDERS = frozenset(("Placeholder", "PlaceholderV2"))
NO_OUTPUTS = frozenset(
    (
        *PLACEHOLDERS,
        *CHECKS,
        "Const",
        "NoOp",
        "PlaceholderWithDefault",
        "SaveV2",
        "MergeV2Checkpoints",
    )
)
"""Ops that are no outputs although no other node reads them."""

PIVOTS = ("switch_t", "switch_f", "pred_id")
"""Ends of the names of nodes that only control the branches of TensorFlow 1."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph that is an input or output.

    Attributes:
        name: its name in the signature, or that of the tensor.
        tensor: "node" or "node:index".
        dtype: its element type; empty if the file does not state it.
        shape: its shape, as far as the file states it.
    """

    name: str
    tensor: str
    dtype: ElementType = ""
    shape: Shape | UnknownRank = UnknownRank()  # noqa: RUF009  (it has no state)


@dataclass(frozen=True)
class Origin:
    """What a frozen graph is read from.

    Attributes:
        name: name of the model.
        writer: version of the program that wrote the file.
        notes: what a user should know.
    """

    name: str
    writer: str = ""
    notes: tuple[str, ...] = ()


def assemble(
    origin: Origin,
    library: Library,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    values: Callable[[Flattener], StoredValues],
    *,
    named: bool = True,
    replaced: Mapping[str, Result] | None = None,
) -> FrozenGraph:
    """Make a frozen graph.

    Args:
        origin: what the graph is read from.
        library: the graph and its functions.
        inputs: tensors that are fed.
        outputs: tensors that are computed.
        values: finds the values of variables and tables.
        named: whether the file names the inputs and outputs.
        replaced: name of a node of the graph → the result that replaces it.

    Raises:
        ReadError: the graph is malformed.
        UnsupportedModel: it changes variables while it runs.
    """
    fed = dict(replaced or {})
    ports = tuple(_input(tensor, fed) for tensor in inputs)
    flattener = Flattener(raised(library), fed)
    flat = flattener.graph(output.tensor for output in outputs)
    stored = values(flattener)
    freezer = Freezer(flattener, stored.variable)
    results = freezer.graph(flat)
    return FrozenGraph(
        name=origin.name,
        writer=origin.writer,
        inputs=ports,
        outputs=tuple(
            NamedResult(output.name, result, output.dtype, output.shape)
            for output, result in zip(outputs, results, strict=True)
        ),
        named_outputs=named,
        functions=freezer.functions,
        tables=stored.tables(_all_nodes(results, freezer)),
        notes=(*origin.notes, *freezer.notes()),
    )


def _input(tensor: Tensor, fed: dict[str, Result]) -> NamedResult:
    """A placeholder that takes the place of a tensor."""
    node, _, index = tensor.tensor.partition(":")
    if index not in ("", "0"):
        raise ReadError(f"the input {quoted(tensor.name)} is result {quoted(index)} of a node")
    if node in fed:
        raise ReadError(f"two inputs of the model are the same tensor {quoted(tensor.tensor)}")
    placeholder = GraphNode(node, "Placeholder", (), {"dtype": tensor.dtype, "shape": tensor.shape})
    fed[node] = Result(placeholder)
    return NamedResult(tensor.name, fed[node], tensor.dtype, tensor.shape)


def _all_nodes(results: Iterable[Result], freezer: Freezer) -> Iterator[GraphNode]:
    """The nodes of a graph and of its functions."""
    yield from ordered(results)
    for function in freezer.functions.values():
        yield from ordered(function.results)


# ------------------------------------------------------------------------- graphs without signature


def inputs_of(body: Body, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The placeholders that outputs depend on, in the order of the graph.

    Raises:
        ReadError: the graph is malformed.
    """
    reached: set[str] = set()
    pending = [node_of(output.tensor) for output in outputs]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(map(node_of, body.node(name).inputs))
    nodes = [body.node(name) for name in body.stored if name in reached]
    return tuple(_placeholder(node) for node in nodes if node.op in PLACEHOLDERS)


def _placeholder(node: StoredNode) -> Tensor:
    dtype, shape = node.attributes.get("dtype"), node.attributes.get("shape")
    if not isinstance(dtype, str):
        raise ReadError(f"the input {quoted(node.name)} has no element type")
    sizes = (
        tuple(size for size in shape if size is None or isinstance(size, int))
        if isinstance(shape, tuple)
        else UnknownRank()
    )
    return Tensor(node.name, node.name, dtype, sizes)


def outputs_of(library: Library, names: Sequence[str] | None) -> tuple[Tensor, ...]:
    """The outputs of a graph: tensors of these names, or those that no other node reads.

    Raises:
        OptionError: the graph has no such node, or nothing that can be an output.
    """
    if names is not None:
        missing = [name for name in names if node_of(name) not in library.graph.stored]
        if missing or not names:
            raise OptionError(
                f"the graph has no node {quoted(missing[0] if missing else '')}; pass the names of "
                f"nodes, such as {_some(library.graph)}, with --outputs (in Python: outputs=)",
                "outputs",
            )
        return tuple(Tensor(name, name) for name in names)
    nodes = [library.graph.node(name) for name in library.graph.stored]
    read = {node_of(name) for node in nodes for name in (*node.inputs, *node.controls)}
    unread = [node for node in nodes if node.name not in read and node.op not in NO_OUTPUTS]
    # loops and branches of TensorFlow 1 have results that nothing reads
    switches = {node.name for node in nodes if node.op in CONTROL_FLOW}
    proper = [node for node in unread if not _leaves_control_flow(node, switches)]
    found = [
        Tensor(tensor, tensor) for node in proper or unread for tensor in _results(library, node)
    ]
    if not found:
        raise OptionError(
            "no node of the graph is an output; name them with --outputs (in Python: outputs=)",
            "outputs",
        )
    return tuple(found)


def _leaves_control_flow(node: StoredNode, switches: Container[str]) -> bool:
    """Whether a node only passes on a result of the control flow of TensorFlow 1."""
    return node.name in switches or (
        node.op == "Identity" and node.name.endswith(PIVOTS) and node_of(node.inputs[0]) in switches
    )


def _results(library: Library, node: StoredNode) -> Iterator[str]:
    """The results of a node that no other node reads."""
    op = library.op_defs.get(node.op)
    # of batch normalization, TensorFlow reads all but the first result in training only
    single = op is None or node.op.startswith("FusedBatchNorm")
    count = 1 if single or op is None else op.count(node.attributes)
    yield node.name
    yield from (f"{node.name}:{index}" for index in range(1, count))


def _some(body: Body) -> str:
    names = [name for name in body.stored if body.node(name).op not in NO_OUTPUTS]
    return quoted(names[-1]) if names else "none"
