"""From a graph to the nodes of an ONNX model: one table operation → ONNX operator.

Source of the operators and attributes: onnx/docs/Operators.md, and for ai.onnx.ml Operators-ml.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as onnx

from kerasport.errors import Problem
from kerasport.ir import ops
from kerasport.ir.graph import Graph, walk
from kerasport.ir.ops import Tensor
from kerasport.ir.ops.movement import Size
from kerasport.ir.ops.window import amounts
from kerasport.ir.tensor import NUMPY, Constant, DType, Extent, Item, Node, TensorType
from kerasport.passes.prelu import Prelu
from kerasport.targets.onnx.channels_first import First, ToLast, is_dim, missing
from kerasport.targets.onnx.fused import Gelu, HardSigmoid, LayerNorm
from kerasport.targets.onnx.recurrent import NAMES, OPTIONS, CountingFirst, Recurrent, TakeSteps
from kerasport.weights import Array, Weight

Emit: TypeAlias = Callable[["Emitter", Any], onnx.Value]

TYPES: Mapping[str, onnx.DataType] = {
    "float32": onnx.DataType.FLOAT, "int32": onnx.DataType.INT32, "bool": onnx.DataType.BOOL,
    "string": onnx.DataType.STRING,
}  # fmt: skip
SMALL = (
    16  # numbers up to which a constant stands in the graph itself, once for all who need the same
)
FIRST, LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # before and behind every axis
ML = "ai.onnx.ml"


class NoEmission(Exception):
    """ONNX has no operator for a node; holds the reason."""


@dataclass
class Shared:
    """What the graph and the bodies of its loops have in common."""

    opset: int
    weights: dict[str, Weight] = field(default_factory=dict)
    small: list[onnx.Value] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    domains: set[str] = field(default_factory=lambda: {""})
    taken: dict[str, int] = field(default_factory=dict)
    constants: dict[Any, onnx.Value] = field(default_factory=dict)

    def unique(self, wanted: str) -> str:
        """A name that nothing has yet, in the UTF-8 that protobuf takes."""
        name = wanted = utf8(wanted)
        while name in self.taken:
            self.taken[wanted] += 1
            name = f"{wanted}_{self.taken[wanted]}"
        self.taken[name] = 0
        return name


@dataclass
class Emitter:
    """The nodes of a graph as they are made."""

    graph: Graph
    shared: Shared
    nodes: list[onnx.Node] = field(default_factory=list)
    inputs: dict[str, onnx.Value] = field(default_factory=dict)
    _values: dict[Node, onnx.Value] = field(default_factory=dict)
    _several: dict[Node, tuple[onnx.Value, ...]] = field(default_factory=dict)
    _scope: str = ""

    def run(self, names: Sequence[str]) -> dict[str, onnx.Value]:
        """Emit the whole graph; gives its outputs by name, as near to the wanted names as may be."""
        for given in self.graph.inputs:
            name = self.shared.unique(given.name)
            self._values[given] = self.inputs[name] = typed(onnx.Value(name=name), given.type, name)
        names = [
            self.shared.unique(name) for name in names
        ]  # before the values between, which take what is left
        made = self.ends(self.graph.outputs)
        for name, value, output in zip(names, made, self.graph.outputs, strict=True):
            value.name = name
            typed(value, output.type, name)
        return dict(zip(names, made, strict=True))

    def ends(self, outputs: Sequence[Tensor]) -> list[onnx.Value]:
        """Emit what outputs need; gives values that are made here, another one for each."""
        found: list[onnx.Value] = []
        made = self.emit_all(outputs)
        own = {id(node) for node in self.nodes}
        for value, output in zip(made, outputs, strict=True):
            fresh = id(value.producer()) in own and not any(value is other for other in found)
            found.append(value if fresh else typed(self.add("Identity", [value]), output.type))
        return found

    def emit_all(self, outputs: Sequence[Node]) -> list[onnx.Value]:
        """Emit what outputs need; gives their values."""
        for node in walk(outputs, self._values):
            if not isinstance(node, ops.Dim):  # sizes are made where they are asked for
                self._emit(node)
        return [self.ref(output) for output in outputs]

    def _emit(self, node: Node) -> None:
        self._scope = self.graph.names.get(node, self._scope)
        try:
            if isinstance(node, Constant):
                self._values[node] = self.constant(node)
                return
            emit = DIFFERENT.get(type(node), emit_same)
            value = emit(self, node)
        except NoEmission as none:
            where = self.graph.names.get(node, self._scope)
            self.shared.problems.append(
                Problem(where.rpartition("/")[2] or where, type(node).__name__, str(none))
            )
            value = onnx.Value(name="refused")
        if isinstance(node, Tensor):
            typed(value, node.type)
        self._values[node] = value

    # ------------------------------------------------------------------------------------ for emissions

    def inside(self, body: Graph) -> Emitter:
        """An emitter for the body of a loop."""
        inner = Emitter(body, self.shared)
        inner._scope = self._scope
        return inner

    def bind(self, node: Node, value: onnx.Value) -> None:
        """Say what value stands for a node that is not made here."""
        self._values[node] = value

    def results(self, node: Node, values: Sequence[onnx.Value]) -> onnx.Value:
        """Note the results of a node that has several."""
        self._several[node] = tuple(values)
        return values[0]

    def several(self, node: Node) -> tuple[onnx.Value, ...]:
        """The results of a node that has several."""
        return self._several[node]

    def ref(self, operand: Node | onnx.Value) -> onnx.Value:
        """The value of a node."""
        if isinstance(operand, onnx.Value):
            return operand
        if operand not in self._values and isinstance(operand, ops.Dim):
            self._emit(operand)
        return self._values[operand]

    def add(
        self, op: str, inputs: Sequence[Node | onnx.Value | None], **attributes: Any
    ) -> onnx.Value:
        """Add a node of one result."""
        return self.add_several(op, inputs, 1, **attributes)[0]

    def add_several(
        self,
        op: str,
        inputs: Sequence[Node | onnx.Value | None],
        count: int,
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[onnx.Value]:
        """Add a node; gives its results."""
        name = self.shared.unique(f"{self._scope}/{op}" if self._scope else op)
        given = [None if each is None else self.ref(each) for each in inputs]
        node = onnx.node(op, given, attributes, domain=domain, num_outputs=count, name=name)
        for at, value in enumerate(node.outputs):
            value.name = f"{name}:{at}"
        self.nodes.append(node)
        self.shared.domains.add(domain)
        return node.outputs

    def constant(self, node: Constant) -> onnx.Value:
        """A value whose numbers stand in the file."""
        if node.value.size <= SMALL:
            return self.small(node.read())
        if node.value not in self.shared.constants:
            name = self.shared.unique(f"{self._scope}/weight" if self._scope else "weight")
            self.shared.weights[name] = node.value
            self.shared.constants[node.value] = typed(onnx.Value(name=name), node.type)
        return self.shared.constants[node.value]

    def small(self, array: Array) -> onnx.Value:
        """A constant of a few numbers, once for all who need the same."""
        if array.dtype.kind == "O":
            raise NoEmission("constants of strings are not supported")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.shared.constants:
            name = self.shared.unique("const")
            value = onnx.Value(name=name, const_value=onnx.Tensor(array, name=name))
            self.shared.constants[key] = value
            self.shared.small.append(value)
        return self.shared.constants[key]

    def number(self, value: float, kind: DType = "int32") -> onnx.Value:
        """A constant of one number."""
        return self.small(np.asarray(value, NUMPY[kind]))

    def wide(self, value: int) -> onnx.Value:
        """A constant of one int64, as ONNX has sizes."""
        return self.small(np.asarray(value, np.int64))

    def ints(self, values: Sequence[int]) -> onnx.Value:
        """A constant vector of int64, as ONNX takes shapes and axes."""
        return self.small(np.asarray(values, np.int64))

    def cast(self, x: Node | onnx.Value, to: onnx.DataType) -> onnx.Value:
        """x as another element type."""
        return self.add("Cast", [x], to=int(to))

    def size(self, x: Tensor, axis: int) -> onnx.Value:
        """The size of an axis, a vector of one int64."""
        return self.add("Shape", [x], start=axis, end=axis + 1)

    def sizes(self, to: Sequence[Size]) -> onnx.Value:
        """A shape: a constant, or joined at run time."""
        parts: list[Any] = []
        for size in to:
            if isinstance(size, int):
                if parts and isinstance(parts[-1], list):
                    parts[-1].append(size)
                else:
                    parts.append([size])
            elif isinstance(size, ops.Dim):
                parts.append(self.size(size.x, size.axis))
            else:
                wide = self.cast(size, onnx.DataType.INT64)
                parts.append(self.add("Reshape", [wide, self.ints([1])]))
        values = [self.ints(part) if isinstance(part, list) else part for part in parts]
        if len(values) == 1:
            return values[0]
        return self.add("Concat", values, axis=0) if values else self.ints([])


def utf8(text: str) -> str:
    """A text whose halves of surrogate pairs, which UTF-8 does not have, are spelled out."""
    return text.encode(errors="backslashreplace").decode()


def typed(value: onnx.Value, kind: TensorType, port: str = "") -> onnx.Value:
    """The value with its element type and shape.

    At a port, an input or output of the model, unknown sizes without a name get one. ONNX Runtime
    takes sizes of one name to be equal.
    """
    value.dtype = TYPES[kind.dtype]
    extents = kind.extents if port else kind.shape
    value.shape = onnx.Shape([_size(extent, axis, port) for axis, extent in enumerate(extents)])
    return value


def _size(extent: Extent, axis: int, port: str) -> int | str | None:
    if isinstance(extent, str) and "*" not in extent:
        return utf8(extent)
    return extent if isinstance(extent, int) or not port else f"{port}_axis_{axis}"


# ------------------------------------------------------------------------------- emissions, element by element


def emit_same(e: Emitter, node: Node) -> onnx.Value:
    if type(node) not in SAME:
        raise NoEmission(UNSUPPORTED.get(type(node), "ONNX does not have this operator"))
    return e.add(SAME[type(node)], node.operands)


def emit_square(e: Emitter, node: ops.Square) -> onnx.Value:
    return e.add("Mul", [node.x, node.x])


def emit_squared_difference(e: Emitter, node: ops.SquaredDifference) -> onnx.Value:
    difference = e.add("Sub", [node.a, node.b])
    return e.add("Mul", [difference, difference])


def emit_rsqrt(e: Emitter, node: ops.Rsqrt) -> onnx.Value:
    return e.add("Reciprocal", [e.add("Sqrt", [node.x])])


def emit_expm1(e: Emitter, node: ops.Expm1) -> onnx.Value:
    return e.add("Sub", [e.add("Exp", [node.x]), e.number(1, "float32")])


def emit_log1p(e: Emitter, node: ops.Log1p) -> onnx.Value:
    return e.add("Log", [e.add("Add", [node.x, e.number(1, "float32")])])


def emit_relu6(e: Emitter, node: ops.Relu6) -> onnx.Value:
    return e.add("Clip", [node.x, e.number(0, node.dtype), e.number(6, node.dtype)])


def emit_clip(e: Emitter, node: ops.Clip) -> onnx.Value:
    return e.add("Clip", [node.x, e.number(node.low, "float32"), e.number(node.high, "float32")])


def emit_leaky_relu(e: Emitter, node: ops.LeakyRelu) -> onnx.Value:
    return e.add("LeakyRelu", [node.x], alpha=float(node.alpha))


def emit_selu(e: Emitter, node: ops.Selu) -> onnx.Value:
    return e.add("Selu", [node.x], alpha=1.6732632423543772, gamma=1.0507009873554805)


def emit_is_finite(e: Emitter, node: ops.IsFinite) -> onnx.Value:
    return e.add("Not", [e.add("Or", [e.add("IsInf", [node.x]), e.add("IsNaN", [node.x])])])


def emit_cast(e: Emitter, node: ops.Cast) -> onnx.Value:
    return e.cast(node.x, TYPES[node.to])


def emit_not_equal(e: Emitter, node: ops.NotEqual) -> onnx.Value:
    return e.add("Not", [e.add("Equal", [node.a, node.b])])


def emit_div_no_nan(e: Emitter, node: ops.DivNoNan) -> onnx.Value:
    zero = e.number(0, "float32")
    return e.add("Where", [e.add("Equal", [node.b, zero]), zero, e.add("Div", [node.a, node.b])])


def emit_floor_div(e: Emitter, node: ops.FloorDiv) -> onnx.Value:
    """(a - a mod b) / b: ONNX's division of integers cuts off towards zero, its rest has the sign of b."""
    return e.add("Div", [e.add("Sub", [node.a, e.add("Mod", [node.a, node.b])]), node.b])


def emit_mod(e: Emitter, node: ops.Mod) -> onnx.Value:
    """Of floats ONNX has C's rest only, of the sign of a."""
    if node.dtype == "int32":
        return e.add("Mod", [node.a, node.b])
    zero, rest = e.number(0, "float32"), e.add("Mod", [node.a, node.b], fmod=1)
    signs = e.add("Xor", [e.add("Less", [rest, zero]), e.add("Less", [node.b, zero])])
    other = e.add("And", [signs, e.add("Not", [e.add("Equal", [rest, zero])])])
    return e.add("Where", [other, e.add("Add", [rest, node.b]), rest])


def emit_bits(e: Emitter, node: ops.Binary) -> onnx.Value:
    if e.shared.opset < 18:
        raise NoEmission(
            "ONNX supports operations on the bits of integers from opset 18; use --opset 18"
        )
    return e.add(type(node).__name__, [node.a, node.b])


def emit_atan2(e: Emitter, node: ops.Atan2) -> onnx.Value:
    """2 atan(a / (√(a² + b²) + b)) where b > 0, else 2 atan((√(a² + b²) - b) / a), neither of which loses digits."""
    a, b, zero, two = node.a, node.b, e.number(0, "float32"), e.number(2, "float32")
    length = e.add("Sqrt", [e.add("Add", [e.add("Mul", [a, a]), e.add("Mul", [b, b])])])
    right = e.add("Div", [a, e.add("Add", [length, b])])
    left = e.add("Div", [e.add("Sub", [length, b]), a])
    half = e.add("Atan", [e.add("Where", [e.add("Greater", [b, zero]), right, left])])
    angle = e.add("Mul", [two, half])
    # on the axis itself: π to the left, 0 to the right and of nothing
    flat = e.add("Where", [e.add("Less", [b, zero]), e.number(np.pi, "float32"), zero])
    return e.add("Where", [e.add("Equal", [a, zero]), flat, angle])


def emit_gelu(e: Emitter, node: Gelu) -> onnx.Value:
    return e.add("Gelu", [node.x], approximate="tanh" if node.approximate else "none")


def emit_hard_sigmoid(e: Emitter, node: HardSigmoid) -> onnx.Value:
    return e.add("HardSigmoid", [node.x], alpha=float(node.alpha), beta=float(node.beta))


def emit_prelu(e: Emitter, node: Prelu) -> onnx.Value:
    return e.add("PRelu", [node.x, node.slope])


def emit_layer_norm(e: Emitter, node: LayerNorm) -> onnx.Value:
    attributes = {"axis": node.axis, "epsilon": float(node.epsilon)}
    return e.add("LayerNormalization", node.operands, **attributes)


# ------------------------------------------------------------------------------- reductions


def emit_reduction(op: str, since: int) -> Emit:
    """A reduction; the axes are an input of the operator since an opset, before that an attribute."""

    def emit(e: Emitter, node: ops.Reduction) -> onnx.Value:
        keep = {"keepdims": int(node.keepdims)}
        if e.shared.opset >= since:
            return e.add(op, [node.x, e.ints(node.axes)], **keep)
        return e.add(op, [node.x], axes=list(node.axes), **keep)

    return emit


def emit_mean(e: Emitter, node: ops.Mean) -> onnx.Value:
    """Over all spatial axes, channels first, as pooling: ONNX Runtime has it in the layout of its convolutions."""
    if node.x.rank not in (4, 5) or node.axes != tuple(range(2, node.x.rank)):
        return emit_reduction("ReduceMean", 18)(e, node)
    pooled = e.add("GlobalAveragePool", [node.x])
    return pooled if node.keepdims else e.add("Flatten", [pooled], axis=1)


def emit_truths(op: str) -> Emit:
    """Whether any or all hold, as the largest or smallest of 0 and 1."""

    def emit(e: Emitter, node: ops.Any_ | ops.All) -> onnx.Value:
        numbers = e.cast(node.x, onnx.DataType.INT32)
        keep = {"keepdims": int(node.keepdims)}
        if e.shared.opset >= 18:
            made = e.add(op, [numbers, e.ints(node.axes)], **keep)
        else:
            made = e.add(op, [numbers], axes=list(node.axes), **keep)
        return e.cast(made, onnx.DataType.BOOL)

    return emit


def emit_arg(op: str) -> Emit:
    return lambda e, node: e.cast(
        e.add(op, [node.x], axis=node.axis, keepdims=0), onnx.DataType.INT32
    )


def emit_cumsum(e: Emitter, node: ops.Cumsum) -> onnx.Value:
    return e.add(
        "CumSum",
        [node.x, e.number(node.axis)],
        exclusive=int(node.exclusive),
        reverse=int(node.reverse),
    )


def emit_softmax(op: str) -> Emit:
    return lambda e, node: e.add(op, [node.x], axis=-1)


def emit_top_k(e: Emitter, node: ops.TopK) -> onnx.Value:
    values, places = e.add_several("TopK", [node.x, e.ints([node.k])], 2)
    return e.results(node, (values, e.cast(places, onnx.DataType.INT32)))


def emit_item(e: Emitter, node: Item) -> onnx.Value:
    value = e.several(node.source)[node.index]
    if isinstance(node.source, Recurrent):  # without the axis of the directions
        return e.add("Squeeze", [value, e.ints([0 if node.index < node.source.count else 1])])
    return value


# ------------------------------------------------------------------------------- movements


def emit_matmul(e: Emitter, node: ops.MatMul) -> onnx.Value:
    turned = node.transpose_a or node.transpose_b
    if turned and node.dtype == "float32" and node.a.rank == node.b.rank == 2:
        return e.add(
            "Gemm", [node.a, node.b], transA=int(node.transpose_a), transB=int(node.transpose_b)
        )
    return e.add(
        "MatMul", [_turned(e, node.a, node.transpose_a), _turned(e, node.b, node.transpose_b)]
    )


def _turned(e: Emitter, x: Tensor, turn: bool) -> onnx.Value:
    order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    return e.add("Transpose", [x], perm=order) if turn else e.ref(x)


def emit_dim(e: Emitter, node: ops.Dim) -> onnx.Value:
    wide = e.add("Reshape", [e.size(node.x, node.axis), e.ints([])])
    return e.cast(wide, onnx.DataType.INT32)


def emit_reshape(e: Emitter, node: ops.Reshape) -> onnx.Value:
    """A size of 0 stands for that of the same axis of x, unless a size is 0 indeed."""
    if 0 in node.to:
        return e.add("Reshape", [node.x, e.sizes(node.to)], allowzero=1)
    to = [0 if is_dim(node.x, size, axis) else size for axis, size in enumerate(node.to)]
    return e.add("Reshape", [node.x, e.sizes(to)])


def emit_broadcast(e: Emitter, node: ops.BroadcastTo) -> onnx.Value:
    return e.add("Expand", [node.x, e.sizes(node.to)])


def emit_transpose(e: Emitter, node: ops.Transpose) -> onnx.Value:
    return e.add("Transpose", [node.x], perm=list(node.order))


def emit_slice(e: Emitter, node: ops.Slice) -> onnx.Value:
    pairs = zip(node.begin, node.size, strict=True)
    ends = [(begin, LAST if size == -1 else begin + size, 1) for begin, size in pairs]
    return _sliced(e, node.x, ends)


def _sliced(e: Emitter, x: Tensor, parts: Sequence[tuple[int, int, int]]) -> onnx.Value:
    """Along those axes of which not all is taken."""
    some = {axis: part for axis, part in enumerate(parts) if part != (0, LAST, 1)}
    if not some:
        return e.add("Identity", [x])
    begins, ends, steps = (e.ints(column) for column in zip(*some.values(), strict=True))
    return e.add("Slice", [x, begins, ends, e.ints(list(some)), steps])


def emit_strided_slice(e: Emitter, node: ops.StridedSlice) -> onnx.Value:
    return _sliced(e, node.x, [_part(*part) for part in node.parts])


def _part(begin: int | None, end: int | None, step: int) -> tuple[int, int, int]:
    """Python's slice in numbers."""
    first, last = (0, LAST) if step > 0 else (LAST, FIRST)
    return first if begin is None else begin, last if end is None else end, step


def emit_reverse(e: Emitter, node: ops.Reverse) -> onnx.Value:
    return _sliced(
        e, node.x, [(LAST, FIRST, -1) if a in node.axes else (0, LAST, 1) for a in range(node.rank)]
    )


def emit_concat(e: Emitter, node: ops.Concat) -> onnx.Value:
    return e.add("Concat", node.parts, axis=node.axis)


def emit_pad(e: Emitter, node: ops.Pad) -> onnx.Value:
    pads = e.ints([pair[0] for pair in node.paddings] + [pair[1] for pair in node.paddings])
    if node.mode == "constant":
        return e.add("Pad", [node.x, pads, e.number(node.value, node.dtype)], mode="constant")
    return e.add("Pad", [node.x, pads], mode=node.mode)


def emit_tile(e: Emitter, node: ops.Tile) -> onnx.Value:
    return e.add("Tile", [node.x, e.ints(node.times)])


def emit_gather(e: Emitter, node: ops.Gather) -> onnx.Value:
    return e.add("Gather", [node.x, node.indices], axis=node.axis)


LISTED = 4096  # numbers of a range that are written out


def emit_one_hot(e: Emitter, node: ops.OneHot) -> onnx.Value:
    """By comparison: ONNX's operator counts negative indices from the end."""
    wide = e.add("Unsqueeze", [node.indices, e.ints([-1])])
    few = node.depth <= LISTED
    classes = (
        e.small(np.arange(node.depth, dtype=np.int32))
        if few
        else e.add("Range", [e.number(0), e.number(node.depth), e.number(1)])
    )
    hot = e.add("Equal", [wide, classes])
    return hot if node.dtype == "bool" else e.cast(hot, TYPES[node.dtype])


def emit_range(e: Emitter, node: ops.Range) -> onnx.Value:
    return e.add("Range", [e.number(0), node.stop, e.number(1)])


def emit_fill(e: Emitter, node: ops.Fill) -> onnx.Value:
    value = onnx.Tensor(np.asarray([node.value], NUMPY[node.dtype]))
    return e.add("ConstantOfShape", [e.sizes(node.to)], value=value)


# ------------------------------------------------------------------------------- windows


def emit_first(e: Emitter, node: First) -> onnx.Value:
    return WINDOWS[type(node.last)](e, node)


def _window(
    e: Emitter,
    node: First,
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Any,
) -> tuple[onnx.Value, dict[str, Any]]:
    """What a window slides over, and its attributes, with the numbers that "same" adds wherever they are known."""
    sizes = node.x.shape[2:]
    axes = list(zip(sizes, window, strides, dilations, strict=True))
    made: dict[str, Any] = {"kernel_shape": list(window), "strides": list(strides)}
    if any(d != 1 for d in dilations):
        made["dilations"] = list(dilations)
    if padding == "same" and any(n is None and s > 1 and k > 1 for n, k, s, _ in axes):
        spans = [(k - 1) * d + 1 for _, k, _, d in axes]
        narrow = any(s > span for span, s in zip(spans, strides, strict=True))
        if not narrow or any(
            n is None and s > 1 and span > 2 for span, (n, _, s, _) in zip(spans, axes, strict=True)
        ):
            if "dilations" in made:
                raise NoEmission(
                    'ONNX Runtime pads dilated windows incorrectly for padding="same" if the '
                    "input size is not fixed; give the input a fixed shape"
                )
            x = _reached(e, node.x, spans, strides) if narrow else e.ref(node.x)
            return x, {**made, "auto_pad": "SAME_UPPER"}
    pairs = [_amounts(*axis, padding, at) for at, axis in enumerate(axes)]
    pads = [before for before, _ in pairs] + [behind for _, behind in pairs]
    return e.ref(node.x), {**made, "pads": pads} if any(pads) else made


def _reached(e: Emitter, x: Tensor, spans: Sequence[int], strides: Sequence[int]) -> onnx.Value:
    """x without what lies behind the last window of each axis, at ⌊(size - 1) / stride⌋ · stride.

    Where there is such, "same" adds nothing, and ONNX Runtime would take as much from the beginning as from there.
    """
    steps, axes = e.ints(strides), range(2, x.rank)
    before = e.add("Sub", [e.add("Shape", [x], start=2), e.ints([1])])
    last = e.add("Mul", [e.add("Div", [before, steps]), steps])
    ends = e.add("Add", [last, e.ints(spans)])  # or where x ends
    return e.add("Slice", [x, e.ints([0 for _ in axes]), ends, e.ints(axes)])


def _amounts(n: int | None, k: int, s: int, d: int, padding: Any, axis: int) -> tuple[int, int]:
    """What a padding adds; of an unknown size with a stride beyond a span of two, one number behind always does."""
    if padding == "same" and n is None and s > (k - 1) * d + 1 == 2:
        return 0, 1
    return amounts(n or 1, k, s, d, padding, axis)


def emit_conv(e: Emitter, node: First) -> onnx.Value:
    last, window = node.last, ops.known(node.kernel.shape if node.kernel else ())[2:]
    assert isinstance(last, ops.Conv | ops.DepthwiseConv)
    x, attributes = _window(e, node, window, last.strides, last.dilations, last.padding)
    groups = last.groups if isinstance(last, ops.Conv) else ops.known(last.kernel.shape)[2]
    if groups > 1:
        attributes["group"] = groups
    return e.add("Conv", [x, *node.operands[1:]], **attributes)


def emit_conv_transpose(e: Emitter, node: First) -> onnx.Value:
    last, window = node.last, ops.known(node.kernel.shape if node.kernel else ())[2:]
    assert isinstance(last, ops.ConvTranspose)
    behind = [
        k - s - c - x
        for k, s, c, x in zip(window, last.strides, last.crop, last.extra, strict=True)
    ]
    pads = [*last.crop, *(max(0, amount) for amount in behind)]
    attributes = {"kernel_shape": list(window), "strides": list(last.strides), "pads": pads}
    made = e.add("ConvTranspose", node.operands, **attributes)
    if not any(missing(last)):
        return made
    rank = node.rank
    around = e.ints([*(0 for _ in range(rank + 2)), *missing(last)])
    return e.add("Pad", [made, around], mode="constant")


def emit_pool(op: str, **attributes: int) -> Emit:
    def emit(e: Emitter, node: First) -> onnx.Value:
        last = node.last
        assert isinstance(last, ops.MaxPool | ops.AvgPool)
        x, window = _window(
            e, node, last.window, last.strides, [1] * len(last.window), last.padding
        )
        return e.add(op, [x], **window, **attributes)

    return emit


def emit_resize(e: Emitter, node: First) -> onnx.Value:
    last = node.last
    assert isinstance(last, ops.Resize)
    front, given = e.add("Shape", [node.x], start=0, end=2), iter(node.sizes)
    size = e.sizes([each if isinstance(each, int) else next(given) for each in last.size])
    sizes = e.add("Concat", [front, size], axis=0)
    how = {"mode": "linear"}
    if last.method == "nearest":
        how = {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
    return e.add(
        "Resize", [node.x, None, None, sizes], coordinate_transformation_mode="half_pixel", **how
    )


WINDOWS: Mapping[type[Tensor], Emit] = {
    ops.Conv: emit_conv, ops.DepthwiseConv: emit_conv, ops.ConvTranspose: emit_conv_transpose,
    ops.MaxPool: emit_pool("MaxPool"), ops.AvgPool: emit_pool("AveragePool", count_include_pad=0),
    ops.Resize: emit_resize,
}  # fmt: skip


# ------------------------------------------------------------------------------- loops and tables


def emit_scan(e: Emitter, node: ops.Scan) -> onnx.Value:
    """A loop; what its body needs from outside it takes by name."""
    inner, arguments = e.inside(node.body), []
    count = len(node.states) + len(node.sequences)
    for given in node.body.inputs[:count]:
        value = typed(onnx.Value(name=e.shared.unique(given.name)), given.type)
        inner.bind(given, value)
        arguments.append(value)
    for given, tensor in zip(node.body.inputs[count:], node.captured, strict=True):
        inner.bind(given, e.ref(tensor))
    ends = inner.ends(node.body.outputs)
    body = onnx.Graph(arguments, ends, nodes=inner.nodes, name=e.shared.unique("step"))
    over, steps = len(ends) - len(node.states), len(node.sequences)
    attributes: dict[str, Any] = {
        "scan_input_axes": [1] * steps, "scan_input_directions": [int(node.reverse)] * steps,
    }  # fmt: skip
    if over:
        attributes["scan_output_axes"] = [1] * over
    made = e.add_several(
        "Scan",
        [*node.states, *node.sequences],
        len(ends),
        body=body,
        num_scan_inputs=steps,
        **attributes,
    )
    return e.results(node, made)


def emit_recurrent(e: Emitter, node: Recurrent) -> onnx.Value:
    states: list[onnx.Value | None] = [
        e.add("Unsqueeze", [state, e.ints([0])]) for state in node.states
    ]
    given = [node.x, node.kernel, node.recurrent_kernel, node.bias, node.lengths, *states]
    while given[-1] is None:
        given.pop()
    attributes: dict[str, Any] = {
        "hidden_size": node.units, "activations": [NAMES[name] for name in node.activations],
    }  # fmt: skip
    for attribute, values in OPTIONS.items():
        if listed := [values[name] for name in node.activations if name in values]:
            attributes[attribute] = listed
    if node.reverse:
        attributes["direction"] = "reverse"
    if node.reset_after:
        attributes["linear_before_reset"] = 1
    over, *last = e.add_several(node.operator, given, 1 + node.count, **attributes)
    return e.results(node, (*last, over))


def emit_counting_first(e: Emitter, node: CountingFirst) -> onnx.Value:
    """In descending order of numbers that differ: time - t of a step t that counts, and -t of others."""
    time = e.size(node.mask, 1)
    steps = e.add("Range", [e.wide(0), e.add("Squeeze", [time]), e.wide(1)])
    weight = e.add("Where", [node.mask, time, e.wide(0)])
    _, places = e.add_several("TopK", [e.add("Sub", [weight, steps]), time], 2)
    return e.cast(places, onnx.DataType.INT32)


def emit_take_steps(e: Emitter, node: TakeSteps) -> onnx.Value:
    places = e.add("Unsqueeze", [e.cast(node.places, onnx.DataType.INT64), e.ints([-1])])
    return e.add("GatherND", [node.x, places], batch_dims=1)


def emit_lookup(e: Emitter, node: ops.Lookup) -> onnx.Value:
    table = dict(zip(node.keys, node.values, strict=True))
    attributes = {
        _plural("keys", node.x.dtype): list(table),
        _plural("values", node.dtype): list(table.values()),
        "default_string" if node.dtype == "string" else "default_int64": node.default,
    }
    x = node.x if node.x.dtype == "string" else e.cast(node.x, onnx.DataType.INT64)
    found = e.add_several("LabelEncoder", [x], 1, domain=ML, **attributes)[0]
    return found if node.dtype == "string" else e.cast(found, onnx.DataType.INT32)


def _plural(name: str, kind: DType) -> str:
    return f"{name}_strings" if kind == "string" else f"{name}_int64s"


# ------------------------------------------------------------------------------- the table

SAME: Mapping[type[Node], str] = {
    ops.Abs: "Abs", ops.Neg: "Neg", ops.Exp: "Exp", ops.Log: "Log", ops.Sqrt: "Sqrt", ops.Reciprocal: "Reciprocal",
    ops.Sin: "Sin", ops.Cos: "Cos", ops.Tan: "Tan", ops.Asin: "Asin", ops.Acos: "Acos", ops.Atan: "Atan",
    ops.Sinh: "Sinh", ops.Cosh: "Cosh", ops.Tanh: "Tanh", ops.Asinh: "Asinh", ops.Acosh: "Acosh", ops.Atanh: "Atanh",
    ops.Floor: "Floor", ops.Ceil: "Ceil", ops.Round: "Round", ops.Sign: "Sign", ops.Relu: "Relu", ops.Elu: "Elu",
    ops.Sigmoid: "Sigmoid", ops.Softplus: "Softplus", ops.Erf: "Erf", ops.IsNan: "IsNaN", ops.IsInf: "IsInf",
    ops.LogicalNot: "Not", ops.Add: "Add", ops.Sub: "Sub", ops.Mul: "Mul", ops.Div: "Div", ops.Pow: "Pow",
    ops.Maximum: "Max", ops.Minimum: "Min", ops.Equal: "Equal", ops.Less: "Less", ops.LessEqual: "LessOrEqual",
    ops.Greater: "Greater", ops.GreaterEqual: "GreaterOrEqual", ops.LogicalAnd: "And", ops.LogicalOr: "Or",
    ops.Select: "Where",
}  # fmt: skip

DIFFERENT: Mapping[type[Node], Emit] = {
    ops.Square: emit_square, ops.SquaredDifference: emit_squared_difference, ops.Rsqrt: emit_rsqrt,
    ops.Expm1: emit_expm1, ops.Log1p: emit_log1p, ops.Relu6: emit_relu6, ops.Selu: emit_selu,
    ops.IsFinite: emit_is_finite, ops.Cast: emit_cast, ops.Clip: emit_clip, ops.LeakyRelu: emit_leaky_relu,
    ops.NotEqual: emit_not_equal, ops.DivNoNan: emit_div_no_nan, ops.FloorDiv: emit_floor_div, ops.Mod: emit_mod,
    ops.BitwiseAnd: emit_bits, ops.BitwiseOr: emit_bits, ops.BitwiseXor: emit_bits,
    ops.Atan2: emit_atan2, ops.Sum: emit_reduction("ReduceSum", 13), ops.Mean: emit_mean,
    ops.Max: emit_reduction("ReduceMax", 18), ops.Min: emit_reduction("ReduceMin", 18),
    ops.Prod: emit_reduction("ReduceProd", 18), ops.Any_: emit_truths("ReduceMax"), ops.All: emit_truths("ReduceMin"),
    ops.ArgMax: emit_arg("ArgMax"), ops.ArgMin: emit_arg("ArgMin"), ops.Cumsum: emit_cumsum,
    ops.Softmax: emit_softmax("Softmax"), ops.LogSoftmax: emit_softmax("LogSoftmax"), ops.TopK: emit_top_k,
    Item: emit_item, ops.MatMul: emit_matmul, ops.Dim: emit_dim, ops.Reshape: emit_reshape,
    ops.BroadcastTo: emit_broadcast, ops.Transpose: emit_transpose, ToLast: emit_transpose, ops.Slice: emit_slice,
    ops.StridedSlice: emit_strided_slice, ops.Reverse: emit_reverse, ops.Concat: emit_concat, ops.Pad: emit_pad,
    ops.Tile: emit_tile, ops.Gather: emit_gather, ops.OneHot: emit_one_hot, ops.Range: emit_range,
    ops.Fill: emit_fill, First: emit_first, ops.Scan: emit_scan, Recurrent: emit_recurrent,
    ops.Lookup: emit_lookup, Gelu: emit_gelu, HardSigmoid: emit_hard_sigmoid, Prelu: emit_prelu,
    LayerNorm: emit_layer_norm, CountingFirst: emit_counting_first, TakeSteps: emit_take_steps,
}  # fmt: skip

UNSUPPORTED: Mapping[type[Node], str] = {}
"""Operation → why ONNX cannot compute it."""
