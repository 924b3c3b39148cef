"""From a graph to the nodes of a TF.js graph-model: one table operation → TF.js operation.

Source of the names and attributes: tfjs-converter operations/op_list. TF.js reads values of constants from the weights
by the name of the node, shapes and axes as constants too, and attributes as JSON of TensorFlow's protobuf.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kerasport.errors import Problem
from kerasport.frontends.keras.functions.refused import BITS
from kerasport.ir import ops
from kerasport.ir.graph import Graph, walk
from kerasport.ir.ops import Tensor
from kerasport.ir.ops.window import Padding
from kerasport.ir.tensor import Constant, DType, Input, Item, Node, TensorType
from kerasport.passes.prelu import Prelu
from kerasport.targets.tfjs.graph.fused import Fused
from kerasport.weights import ComputedWeight, Weight

Json: TypeAlias = Any
Emit: TypeAlias = Callable[["Emitter", Any], str]

TYPES: Mapping[str, str] = {
    "float32": "DT_FLOAT",
    "int32": "DT_INT32",
    "bool": "DT_BOOL",
    "string": "DT_STRING",
}
SPATIAL = {4: "NHWC", 5: "NDHWC"}


class NoEmission(Exception):
    """TF.js has no operation for a node; holds the reason."""


# ------------------------------------------------------------------------------------------------- attributes


def number(value: int) -> Json:
    return {"i": str(value)}


def numbers(values: Sequence[int]) -> Json:
    return {"list": {"i": [str(value) for value in values]}}


def fraction(value: float) -> Json:
    if not math.isfinite(value):
        raise NoEmission(f"JSON, from which TF.js reads this argument, cannot represent {value}")
    return {"f": float(value)}


def truth(value: bool) -> Json:
    return {"b": value}


def text(value: str) -> Json:
    return {"s": base64.b64encode(value.encode()).decode()}


def texts(values: Sequence[str]) -> Json:
    return {"list": {"s": [base64.b64encode(value.encode()).decode() for value in values]}}


def dtype(value: str) -> Json:
    return {"type": TYPES[value]}


def shape(value: Sequence[int | None]) -> Json:
    return {"shape": sizes(value)}


def sizes(value: Sequence[int | None]) -> Json:
    return {"dim": [{"size": str(-1 if size is None else size)} for size in value]}


def const(name: str, kind: str, value: Weight) -> Json:
    """A node whose value is the weight of its name.

    TF.js needs no more than the name. Netron refuses a model without the tensor, and takes the shape from it.
    """
    tensor = {"dtype": TYPES[kind], "tensorShape": sizes(value.shape)}
    return {
        "name": name,
        "op": "Const",
        "attr": {"dtype": dtype(kind), "value": {"tensor": tensor}},
    }


# ---------------------------------------------------------------------------------------------------- emitter


@dataclass
class Emitter:
    """The nodes and weights of a graph-model as they are made."""

    graph: Graph
    nodes: list[Json] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    functions: list[Json] = field(default_factory=list)
    inputs: dict[str, Input] = field(default_factory=dict)
    tables: list[Json] = field(default_factory=list)  # nodes that fill them, before the first run
    waits: str = ""  # why TF.js wants executeAsync, if it does
    _refs: dict[Node, str] = field(default_factory=dict)
    _several: dict[Node, tuple[str, ...]] = field(
        default_factory=dict
    )  # results of nodes that have several
    _taken: dict[str, int] = field(default_factory=dict)
    _small: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _scope: str = ""

    def run(self, outputs: Sequence[str]) -> list[str]:
        """Emit the whole graph; gives the names of its output nodes, as near to the wanted ones as may be."""
        for given in self.graph.inputs:
            self._placeholder(given)
        names = [
            self.unique(name) for name in outputs
        ]  # before the nodes between, which take what is left
        made = self.emit_all(self.graph.outputs)
        for name, source in zip(names, made, strict=True):
            # of its own for each output: TF.js would take two of one node for the same
            self.nodes.append({"name": name, "op": "Identity", "input": [source], "attr": {}})
        return names

    def _placeholder(self, given: Input) -> None:
        name = self.unique(given.name)
        self.inputs[name] = given
        self._refs[given] = name
        attributes = {"dtype": dtype(given.dtype), "shape": shape(given.shape)}
        self.nodes.append({"name": name, "op": "Placeholder", "attr": attributes})

    def _emit(self, node: Node) -> None:
        self._scope = self.graph.names.get(node, self._scope)
        emit = DIFFERENT.get(type(node))
        if isinstance(node, Constant):
            self._refs[node] = self.constant(node)
            return
        if emit is None and type(node) not in SAME:
            self._refuse(node, UNSUPPORTED.get(type(node), "TF.js has no such operation"))
            return
        if isinstance(node, OF_SIX_AXES) and node.rank > 6:
            self._refuse(node, MANY_AXES)
            return
        try:
            self._refs[node] = (
                emit(self, node) if emit else self.add(SAME[type(node)], node.operands)
            )
        except NoEmission as none:
            self._refuse(node, str(none))

    def _refuse(self, node: Node, reason: str) -> None:
        where = self.graph.names.get(node, "")
        self.problems.append(
            Problem(where.rpartition("/")[2] or where, type(node).__name__, reason)
        )
        self._refs[node] = "refused"

    # ------------------------------------------------------------------------------------ for emissions

    def inside(self, body: Graph) -> Emitter:
        """An emitter for the body of a function; weights and names are common to all functions."""
        inner = Emitter(
            body,
            weights=self.weights,
            problems=self.problems,
            functions=self.functions,
            _taken=self._taken,
        )
        inner._scope = self._scope
        return inner

    def function(
        self, wanted: str, arguments: Sequence[tuple[str, str]], ends: Sequence[tuple[str, str]]
    ) -> str:
        """Add the nodes so far as a function, of arguments and results, each a name and an element type.

        Each result has to be a node of its own: two results of one node would be taken for the same.
        """
        name = self.unique(wanted)
        signature = {
            "name": name,
            "inputArg": [{"name": argument, **dtype(kind)} for argument, kind in arguments],
            "outputArg": [
                {"name": f"out_{at}", **dtype(kind)} for at, (_, kind) in enumerate(ends)
            ],
        }
        returned = {f"out_{at}": f"{ref}:0" for at, (ref, _) in enumerate(ends)}
        self.functions.append({"signature": signature, "nodeDef": self.nodes, "ret": returned})
        return name

    def results(self, node: Node, names: tuple[str, ...]) -> str:
        """Note the results of a node that has several."""
        self._several[node] = names
        return names[0]

    def several(self, node: Node) -> tuple[str, ...]:
        """The results of a node that has several."""
        return self._several[node]

    def bind(self, node: Node, name: str) -> None:
        """Say under which name a node is known that something else makes."""
        self._refs[node] = name

    def emit_all(self, ends: Sequence[Node]) -> list[str]:
        """Emit what the ends need; gives their names."""
        for node in walk(ends, self._refs):
            self._emit(node)
        return [self._refs[end] for end in ends]

    def ref(self, operand: Node | str) -> str:
        """The name by which a node is taken as an input."""
        return operand if isinstance(operand, str) else self._refs[operand]

    def add(self, op: str, inputs: Sequence[Node | str], **attributes: Json) -> str:
        """Add a node; gives its name."""
        name = self.unique(f"{self._scope}/{op.lstrip('_')}" if self._scope else op.lstrip("_"))
        self.nodes.append(
            {"name": name, "op": op, "input": [self.ref(i) for i in inputs], "attr": attributes}
        )
        return name

    def unique(self, wanted: str) -> str:
        """A node name that nothing has yet."""
        name = base = node_name(wanted)
        while name in self._taken:
            self._taken[base] += 1
            name = f"{base}_{self._taken[base]}"
        self._taken[name] = 0
        return name

    def constant(self, node: Constant) -> str:
        """A node whose value stands in the weights."""
        if node.value.size <= 16:
            return self.small(node.read())
        name = self.unique(f"{self._scope}/weight" if self._scope else "weight")
        self.weights[name] = node.value
        self.nodes.append(const(name, node.dtype, node.value))
        return name

    def small(self, value: Any, kind: DType = "int32") -> str:
        """A constant of a few numbers, once for all who need the same."""
        array = (
            np.asarray(value)
            if isinstance(value, np.ndarray)
            else np.asarray(value, np.dtype(kind))
        )
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._small:
            name = self.unique("const")
            self._small[key] = name
            self.weights[name] = ComputedWeight(array.dtype, array.shape, lambda: array)
            of = (
                "float32"
                if array.dtype.kind == "f"
                else "bool"
                if array.dtype.kind == "b"
                else "int32"
            )
            self.nodes.append(const(name, of, self.weights[name]))
        return self._small[key]

    def weight(self, wanted: str, value: Any) -> str:
        """A weight of strings or integers, without the node that reads it; gives its name."""
        name = self.unique(wanted)
        array = np.asarray(value)
        array = array.astype(object if array.dtype.kind == "U" else np.int32)
        self.weights[name] = ComputedWeight(array.dtype, array.shape, lambda: array)
        return name

    def sizes(self, to: Sequence[int | Tensor]) -> str:
        """A shape as a node: a constant, or packed at run time."""
        if all(isinstance(size, int) for size in to):
            return self.small(list(to))
        parts = [self.small(size) if isinstance(size, int) else self.ref(size) for size in to]
        return self.add("Pack", parts, N=number(len(parts)), axis=number(0), T=dtype("int32"))


NATIVE = frozenset(
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
"""What every object of JavaScript has by name, also those in which TF.js looks for nodes."""


def node_name(name: str) -> str:
    """A name that TF.js and TensorFlow accept for a node, and that no object of JavaScript has or sorts as a number."""
    made = re.sub(r"[^A-Za-z0-9_./-]", "_", name)
    return made if re.match(r"[A-Za-z.]", made) and made not in NATIVE else f"n{made}"


# ------------------------------------------------------------------------------------- emissions that differ


def _window(padding: Padding) -> dict[str, Json]:
    if isinstance(padding, str):
        return {"padding": text(padding.upper())}
    pairs = [amount for pair in ((0, 0), *padding, (0, 0)) for amount in pair]
    return {"padding": text("EXPLICIT"), "explicit_paddings": numbers(pairs)}


def narrow(window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> bool:
    """Whether windows leave numbers out: TF.js pads "same" wrongly then, of volumes everywhere, of images on wasm."""
    return any((k - 1) * d + 1 < s for k, s, d in zip(window, strides, dilations, strict=True))


def _convolution(node: ops.Conv | ops.DepthwiseConv) -> dict[str, Json]:
    if max(node.strides) > 1 and max(node.dilations) > 1:
        raise NoEmission("TF.js supports strides or dilations in a convolution, but not both")
    return {
        "strides": numbers((1, *node.strides, 1)),
        "dilations": numbers((1, *node.dilations, 1)),
        "data_format": text(SPATIAL[node.x.rank]),
        **_window(node.padding),
    }


def _reached(e: Emitter, x: Tensor, node: ops.Conv | ops.DepthwiseConv) -> Tensor | str:
    """x without what lies behind the last window of each axis, at ⌊(size - 1) / stride⌋ · stride.

    Where there is such, "same" adds nothing, and TF.js would take as much from the beginning as from there.
    """
    window = ops.known(node.kernel.shape)[:-2]
    if node.padding != "same" or not narrow(window, node.strides, node.dilations):
        return x
    spans = ((k - 1) * d + 1 for k, d in zip(window, node.dilations, strict=True))
    one, steps, sizes = (
        e.small(1),
        e.small([1, *node.strides, 1]),
        e.add("Shape", [x], out_type=dtype("int32")),
    )
    last = e.add("Mul", [e.add("FloorDiv", [e.add("Sub", [sizes, one]), steps]), steps])
    kept = e.add("Minimum", [sizes, e.add("AddV2", [last, e.small([1, *spans, 1])])])
    return e.add("Slice", [x, e.small([0] * x.rank), kept])


def emit_conv(e: Emitter, node: ops.Conv) -> str:
    if node.x.rank == 5 and not isinstance(node.padding, str):
        raise NoEmission('TF.js supports only the paddings "same" and "valid" for 3D convolutions')
    assert node.groups == 1, "a convolution with groups is split before"
    op = "Conv3D" if node.x.rank == 5 else "Conv2D"
    return e.add(op, [_reached(e, node.x, node), node.kernel], **_convolution(node))


def emit_depthwise(e: Emitter, node: ops.DepthwiseConv) -> str:
    return e.add(
        "DepthwiseConv2dNative", [_reached(e, node.x, node), node.kernel], **_convolution(node)
    )


def emit_fused(e: Emitter, node: Fused) -> str:
    steps = ["BiasAdd", node.activation] if node.activation else ["BiasAdd"]
    attributes = {"fused_ops": texts(steps), "num_args": number(1)}
    if node.activation == "LeakyRelu":
        attributes["leakyrelu_alpha"] = fraction(node.alpha)
    linear = node.linear
    if isinstance(linear, ops.MatMul):
        turned = {
            "transpose_a": truth(linear.transpose_a),
            "transpose_b": truth(linear.transpose_b),
        }
        return e.add("_FusedMatMul", node.operands, **attributes, **turned)
    assert isinstance(linear, ops.Conv | ops.DepthwiseConv)
    op = "_FusedConv2D" if isinstance(linear, ops.Conv) else "FusedDepthwiseConv2dNative"
    return e.add(
        op, [_reached(e, node.a, linear), node.b, node.bias], **attributes, **_convolution(linear)
    )


def emit_conv_transpose(e: Emitter, node: ops.ConvTranspose) -> str:
    """As the gradient of a convolution, cropped and filled up where its own paddings do not do."""
    if node.x.rank != 4:
        raise NoEmission("TF.js supports transposed convolutions of 2D images only")
    window = ops.known(node.kernel.shape)[:2]
    axes = list(zip(window, node.strides, node.crop, node.extra, strict=True))
    sizes = [
        _grown(e, node.x, axis, s, x)
        for axis, (s, x) in enumerate(zip(node.strides, node.extra, strict=True), 1)
    ]
    # what "same" crops of a convolution over size · stride numbers
    if all(extra == 0 and crop == max(k - s, 0) // 2 for k, s, crop, extra in axes):
        return _gradient(e, node, sizes, "SAME")
    whole = [_grown(e, node.x, axis, s, k - s) for axis, (k, s, *_) in enumerate(axes, 1)]
    full = _gradient(e, node, whole, "VALID")
    if all(crop == 0 and extra == k - s for k, s, crop, extra in axes):
        return full
    missing = [max(0, crop + extra - (k - s)) for k, s, crop, extra in axes]
    if any(missing):
        pads = np.array([[0, 0], *([0, m] for m in missing), [0, 0]], np.int32)
        full = e.add("PadV2", [full, e.small(pads), e.small(0.0, "float32")])
    begin = e.small([0, *node.crop, 0])
    batch, channels = e.small(-1), e.small(-1)
    size = (
        e.add("Pack", [batch, *sizes, channels], N=number(4), axis=number(0))
        if None in node.sizes
        else e.small([-1, *(size for size in node.sizes if size is not None), -1])
    )
    return e.add("Slice", [full, begin, size])


def _grown(e: Emitter, x: Tensor, axis: int, stride: int, extra: int) -> str:
    """A spatial size times the stride, and some more."""
    size = x.shape[axis]
    if size is not None:
        return e.small(size * stride + extra)
    product = e.add("Mul", [_dim(e, x, axis), e.small(stride)])
    return e.add("AddV2", [product, e.small(extra)]) if extra else product


def _gradient(e: Emitter, node: ops.ConvTranspose, sizes: Sequence[str], padding: str) -> str:
    batch, channels = node.x.shape[0], node.kernel.shape[-2]
    first = _dim(e, node.x, 0) if batch is None else e.small(batch)
    out = e.add("Pack", [first, *sizes, e.small(channels)], N=number(4), axis=number(0))
    attributes = {
        "strides": numbers((1, *node.strides, 1)),
        "padding": text(padding),
        "data_format": text("NHWC"),
    }
    return e.add(
        "Conv2DBackpropInput",
        [out, node.kernel, node.x],
        **attributes,
        dilations=numbers((1, 1, 1, 1)),
    )


def emit_pool(e: Emitter, node: ops.MaxPool | ops.AvgPool) -> str:
    kind = "MaxPool" if isinstance(node, ops.MaxPool) else "AvgPool"
    if node.x.rank == 5 and kind == "MaxPool":
        raise NoEmission("the wasm backend of TF.js computes 3D max pooling incorrectly")
    attributes = {"ksize": numbers((1, *node.window, 1)), "strides": numbers((1, *node.strides, 1))}
    op = f"{kind}3D" if node.x.rank == 5 else kind
    return e.add(
        op,
        node.operands,
        **attributes,
        padding=text(node.padding.upper()),
        data_format=text(SPATIAL[node.x.rank]),
    )


def emit_matmul(e: Emitter, node: ops.MatMul) -> str:
    if node.rank == 2:
        return e.add(
            "MatMul",
            node.operands,
            transpose_a=truth(node.transpose_a),
            transpose_b=truth(node.transpose_b),
        )
    return e.add(
        "BatchMatMulV2", node.operands, adj_x=truth(node.transpose_a), adj_y=truth(node.transpose_b)
    )


def emit_reduction(op: str) -> Emit:
    def emit(e: Emitter, node: ops.Reduction) -> str:
        return e.add(op, [node.x, e.small(list(node.axes))], keep_dims=truth(node.keepdims))

    return emit


def emit_arg(op: str) -> Emit:
    return lambda e, node: e.add(op, [node.x, e.small(node.axis)])


def emit_cumulative(op: str) -> Emit:
    def emit(e: Emitter, node: ops.Cumsum | ops.Cumprod) -> str:
        return e.add(
            op,
            [node.x, e.small(node.axis)],
            exclusive=truth(node.exclusive),
            reverse=truth(node.reverse),
        )

    return emit


def emit_cast(e: Emitter, node: ops.Cast) -> str:
    assert node.to != "bool", (
        "a cast to bool is emitted as a comparison, since wasm would reinterpret the bytes"
    )
    return e.add("Cast", [node.x], SrcT=dtype(node.x.dtype), DstT=dtype(node.to))


def emit_clip(e: Emitter, node: ops.Clip) -> str:
    return e.add(
        "ClipByValue", [node.x, e.small(node.low, "float32"), e.small(node.high, "float32")]
    )


def emit_leaky_relu(e: Emitter, node: ops.LeakyRelu) -> str:
    return e.add("LeakyRelu", [node.x], alpha=fraction(node.alpha))


def emit_reshape(e: Emitter, node: ops.Reshape) -> str:
    return e.add("Reshape", [node.x, e.sizes(node.to)])


def emit_broadcast(e: Emitter, node: ops.BroadcastTo) -> str:
    return e.add("BroadcastTo", [node.x, e.sizes(node.to)])


def emit_transpose(e: Emitter, node: ops.Transpose) -> str:
    return e.add("Transpose", [node.x, e.small(list(node.order))])


def emit_slice(e: Emitter, node: ops.Slice) -> str:
    return e.add("Slice", [node.x, e.small(list(node.begin)), e.small(list(node.size))])


def emit_strided_slice(e: Emitter, node: ops.StridedSlice) -> str:
    open_begin = sum(1 << at for at, (begin, _, _) in enumerate(node.parts) if begin is None)
    open_end = sum(1 << at for at, (_, end, _) in enumerate(node.parts) if end is None)
    begins = e.small([begin or 0 for begin, _, _ in node.parts])
    ends = e.small([end or 0 for _, end, _ in node.parts])
    steps = e.small([step for _, _, step in node.parts])
    masks = {"begin_mask": number(open_begin), "end_mask": number(open_end)}
    return e.add("StridedSlice", [node.x, begins, ends, steps], **masks)


def emit_concat(e: Emitter, node: ops.Concat) -> str:
    return e.add("ConcatV2", [*node.parts, e.small(node.axis)], N=number(len(node.parts)))


def emit_pad(e: Emitter, node: ops.Pad) -> str:
    pads = e.small(np.array(node.paddings, np.int32))
    if node.mode != "constant":
        return e.add("MirrorPad", [node.x, pads], mode=text(node.mode.upper()))
    return e.add("PadV2", [node.x, pads, e.small(node.value, node.dtype)])


def emit_tile(e: Emitter, node: ops.Tile) -> str:
    return e.add("Tile", [node.x, e.small(list(node.times))])


def emit_gather(e: Emitter, node: ops.Gather) -> str:
    return e.add("GatherV2", [node.x, node.indices, e.small(node.axis)], batch_dims=number(0))


def emit_reverse(e: Emitter, node: ops.Reverse) -> str:
    return e.add("ReverseV2", [node.x, e.small(list(node.axes))])


def emit_one_hot(e: Emitter, node: ops.OneHot) -> str:
    assert node.dtype == "int32", "wasm returns int32 whatever dtype is requested"
    ends = [e.small(node.depth), e.small(1), e.small(0)]
    return e.add("OneHot", [node.indices, *ends], axis=number(-1), T=dtype(node.dtype))


def emit_range(e: Emitter, node: ops.Range) -> str:
    return e.add("Range", [e.small(0), node.stop, e.small(1)], Tidx=dtype("int32"))


def emit_fill(e: Emitter, node: ops.Fill) -> str:
    return e.add("Fill", [e.sizes(node.to), e.small(node.value, node.dtype)], T=dtype(node.dtype))


def emit_resize(e: Emitter, node: ops.Resize) -> str:
    op = "ResizeBilinear" if node.method == "bilinear" else "ResizeNearestNeighbor"
    centres = {"align_corners": truth(False), "half_pixel_centers": truth(True)}
    return e.add(op, [node.x, e.sizes(node.size)], **centres)


def _dim(e: Emitter, x: Tensor, axis: int) -> str:
    whole = e.add("Shape", [x], out_type=dtype("int32"))
    begin, end, step = e.small([axis]), e.small([axis + 1]), e.small([1])
    return e.add("StridedSlice", [whole, begin, end, step], shrink_axis_mask=number(1))


def emit_dim(e: Emitter, node: ops.Dim) -> str:
    return _dim(e, node.x, node.axis)


def emit_item(e: Emitter, node: Item) -> str:
    return e.several(node.source)[node.index]


def emit_top_k(e: Emitter, node: ops.TopK) -> str:
    name = e.add("TopKV2", [node.x, e.small(node.k)], sorted=truth(True))
    return e.results(node, (name, f"{name}:1"))


def emit_scan(e: Emitter, node: ops.Scan) -> str:
    """A loop.

    Its variables are the step, the number of steps, states, sequences, what is captured; then a list for each result,
    and for each list what was last put into it. TF.js disposes of what a step made and does not return, also of what
    was put into a list; so that is returned.
    """
    e.waits = "contains a loop over time"
    steps = e.small(node.time) if node.time is not None else _dim(e, node.sequences[0], 1)
    results = [output.type for output in node.body.outputs[len(node.states) :]]
    lists = [
        e.add("TensorListReserve", [_sizes(e, r), steps], element_dtype=dtype(r.dtype))
        for r in results
    ]
    given = [*node.states, *node.sequences, *node.captured]
    kinds = [
        "int32",
        "int32",
        *(tensor.dtype for tensor in given),
        *(result.dtype for result in results * 2),
    ]
    nothing = [e.add("Identity", [e.small(0, result.dtype)]) for result in results]
    variables = [e.small(0), steps, *map(e.ref, given), *lists, *nothing]
    cond, body = _condition(e, kinds), _body(e, node, kinds)
    loop = e.add(
        "StatelessWhile", variables, cond={"func": {"name": cond}}, body={"func": {"name": body}}
    )
    states = [f"{loop}:{2 + at}" for at in range(len(node.states))]
    first = len(variables) - 2 * len(lists)
    over = [_stacked(e, f"{loop}:{first + at}", result) for at, result in enumerate(results)]
    return e.results(node, (*states, *over))


def _sizes(e: Emitter, result: TensorType) -> str:
    return e.small([-1 if size is None else size for size in result.shape])


def _stacked(e: Emitter, tensors: str, result: TensorType) -> str:
    """A list over time as one tensor, batch first."""
    stacked = e.add(
        "TensorListStack", [tensors, _sizes(e, result)], element_dtype=dtype(result.dtype)
    )
    return e.add("Transpose", [stacked, e.small([1, 0, *range(2, result.rank + 1)])])


def _arguments(e: Emitter, kinds: Sequence[str]) -> list[tuple[str, str]]:
    return [(e.unique("argument"), kind) for kind in kinds]


def _condition(e: Emitter, kinds: Sequence[str]) -> str:
    """Whether there are steps left."""
    inner = e.inside(Graph((), ()))
    arguments = _arguments(e, kinds)
    left = inner.add("Less", [arguments[0][0], arguments[1][0]])
    return inner.function("more", arguments, [(left, "bool")])


def _body(e: Emitter, node: ops.Scan, kinds: Sequence[str]) -> str:
    """One step."""
    inner = e.inside(node.body)
    arguments = _arguments(e, kinds)
    at, steps, *given = (name for name, _ in arguments)
    states, rest = given[: len(node.states)], given[len(node.states) :]
    sequences, rest = rest[: len(node.sequences)], rest[len(node.sequences) :]
    captured, lists = rest[: len(node.captured)], rest[len(node.captured) :]
    lists = lists[: len(lists) // 2]
    one = inner.small(1)
    place = inner.add("Sub", [inner.add("Sub", [steps, one]), at]) if node.reverse else at
    read = [inner.add("GatherV2", [s, place, one], batch_dims=number(0)) for s in sequences]
    for tensor, name in zip(node.body.inputs, (*states, *read, *captured), strict=True):
        inner.bind(tensor, name)
    made = inner.emit_all(node.body.outputs)
    new, results = (
        made[: len(states)],
        [inner.add("Identity", [each]) for each in made[len(states) :]],
    )
    put = [
        inner.add("TensorListSetItem", [tensors, at, result], element_dtype=dtype(output.dtype))
        for tensors, result, output in zip(
            lists, results, node.body.outputs[len(states) :], strict=True
        )
    ]
    after = [inner.add("AddV2", [at, one]), steps, *new, *sequences, *captured, *put]
    ends = [*(inner.add("Identity", [each]) for each in after), *results]
    return inner.function("step", arguments, list(zip(ends, kinds, strict=True)))


def emit_lookup(e: Emitter, node: ops.Lookup) -> str:
    """A table, which TF.js knows by its name; what it finds is flat.

    The initializer, a graph of its own, fills it.
    """
    e.waits = "contains a lookup table"
    kinds = {"key_dtype": dtype(node.x.dtype), "value_dtype": dtype(node.dtype)}
    table = e.add("HashTableV2", [], **kinds)
    keys, values = e.weight(f"{table}/keys", node.keys), e.weight(f"{table}/values", node.values)
    e.tables += [
        {"name": table, "op": "HashTableV2", "attr": kinds},
        const(keys, node.x.dtype, e.weights[keys]),
        const(values, node.dtype, e.weights[values]),
        {
            "name": f"{table}/import",
            "op": "LookupTableImportV2",
            "input": [table, keys, values],
            "attr": {},
        },
    ]
    default = e.weight(f"{table}/default", node.default)
    e.nodes.append(const(default, node.dtype, e.weights[default]))
    found = e.add("LookupTableFindV2", [table, node.x, default])
    if node.x.rank == 1:
        return found
    sizes = [-1 if size is None else size for size in node.shape]
    if sizes.count(-1) < 2:
        return e.add("Reshape", [found, e.small(sizes)])
    return e.add("Reshape", [found, e.add("Shape", [node.x], out_type=dtype("int32"))])


# --------------------------------------------------------------------------------------------------- the table

SAME: Mapping[type[Node], str] = {
    ops.Abs: "Abs", ops.Neg: "Neg", ops.Exp: "Exp", ops.Expm1: "Expm1", ops.Log: "Log", ops.Log1p: "Log1p",
    ops.Sqrt: "Sqrt", ops.Rsqrt: "Rsqrt", ops.Square: "Square", ops.Reciprocal: "Reciprocal", ops.Sin: "Sin",
    ops.Cos: "Cos", ops.Tan: "Tan", ops.Asin: "Asin", ops.Acos: "Acos", ops.Atan: "Atan", ops.Sinh: "Sinh",
    ops.Cosh: "Cosh", ops.Tanh: "Tanh", ops.Asinh: "Asinh", ops.Acosh: "Acosh", ops.Atanh: "Atanh", ops.Floor: "Floor",
    ops.Ceil: "Ceil", ops.Round: "Round", ops.Sign: "Sign", ops.Relu: "Relu", ops.Relu6: "Relu6", ops.Elu: "Elu",
    ops.Selu: "Selu", ops.Sigmoid: "Sigmoid", ops.Softplus: "Softplus", ops.Erf: "Erf", ops.IsNan: "IsNan",
    ops.IsInf: "IsInf", ops.IsFinite: "IsFinite", ops.LogicalNot: "LogicalNot", ops.Add: "AddV2", ops.Sub: "Sub",
    ops.Mul: "Mul", ops.Div: "RealDiv", ops.DivNoNan: "DivNoNan", ops.FloorDiv: "FloorDiv", ops.Mod: "FloorMod",
    ops.Pow: "Pow", ops.Maximum: "Maximum", ops.Minimum: "Minimum", ops.SquaredDifference: "SquaredDifference",
    ops.Atan2: "Atan2", ops.Equal: "Equal", ops.NotEqual: "NotEqual", ops.Less: "Less", ops.LessEqual: "LessEqual",
    ops.Greater: "Greater", ops.GreaterEqual: "GreaterEqual", ops.LogicalAnd: "LogicalAnd", ops.LogicalOr: "LogicalOr",
    ops.Select: "SelectV2", ops.Softmax: "Softmax", ops.LogSoftmax: "LogSoftmax", Prelu: "Prelu",
}  # fmt: skip

DIFFERENT: Mapping[type[Node], Emit] = {
    ops.Conv: emit_conv, ops.DepthwiseConv: emit_depthwise, ops.ConvTranspose: emit_conv_transpose, Fused: emit_fused,
    ops.MaxPool: emit_pool, ops.AvgPool: emit_pool, ops.MatMul: emit_matmul, ops.Cast: emit_cast, ops.Clip: emit_clip,
    ops.LeakyRelu: emit_leaky_relu, ops.Reshape: emit_reshape, ops.BroadcastTo: emit_broadcast,
    ops.Transpose: emit_transpose, ops.Slice: emit_slice, ops.StridedSlice: emit_strided_slice, ops.Concat: emit_concat,
    ops.Pad: emit_pad, ops.Tile: emit_tile, ops.Gather: emit_gather, ops.Reverse: emit_reverse,
    ops.OneHot: emit_one_hot, ops.Range: emit_range, ops.Fill: emit_fill, ops.Resize: emit_resize, ops.Dim: emit_dim,
    Item: emit_item, ops.TopK: emit_top_k, ops.Scan: emit_scan, ops.Lookup: emit_lookup, ops.ArgMax: emit_arg("ArgMax"),
    ops.ArgMin: emit_arg("ArgMin"), ops.Cumsum: emit_cumulative("Cumsum"), ops.Cumprod: emit_cumulative("Cumprod"),
    **{op: emit_reduction(name) for op, name in {
        ops.Sum: "Sum", ops.Mean: "Mean", ops.Max: "Max", ops.Min: "Min", ops.Prod: "Prod", ops.Any_: "Any",
        ops.All: "All"}.items()},
}  # fmt: skip

# XNNPACK, which the wasm backend calls for these, takes six axes; beyond that TF.js returns memory that nobody wrote.
OF_SIX_AXES = (
    ops.Add, ops.Sub, ops.Mul, ops.Div, ops.DivNoNan, ops.FloorDiv, ops.Mod, ops.Pow, ops.SquaredDifference
)  # fmt: skip
MANY_AXES = "the wasm backend of TF.js computes wrong results for tensors of rank 7 or more"

UNSUPPORTED: Mapping[type[Node], str] = dict.fromkeys(
    (ops.BitwiseAnd, ops.BitwiseOr, ops.BitwiseXor), BITS
)
"""Operation → why TF.js cannot compute it."""
