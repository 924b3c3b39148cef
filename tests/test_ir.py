"""The IR: operations infer the types of their values, and walks need no recursion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from tests import graphs
from tests.strategies import OPERATIONS, numbers, operations, shapes

from kerasport.errors import ShapeError
from kerasport.ir import ops
from kerasport.ir.dtypes import NUMBERS, NUMPY, DType, default_dtype, dtype_of, promoted
from kerasport.ir.graph import Graph, constants, show, walk
from kerasport.ir.ops import Tensor
from kerasport.ir.tensor import Input, Item, Node, Several, TensorType, constant
from kerasport.passes.fold import SIZES
from kerasport.weights import Array, ComputedWeight, Shape

ALONE: set[Any] = {
    Input, ops.Constant, Item, ops.Lookup, ops.StringConcat, ops.StringSplit, ops.RegexFullMatch,
}  # fmt: skip
"""Nodes that are no operations on numbers."""


def types_of(node: Tensor | Several) -> tuple[TensorType, ...]:
    made = node.infer()
    return made if isinstance(made, tuple) else (made,)


def fits(shape: Shape, actual: tuple[int, ...]) -> bool:
    return len(shape) == len(actual) and all(
        d in (None, n) for d, n in zip(shape, actual, strict=True)
    )


def test_every_operation_has_a_strategy() -> None:
    assert set(OPERATIONS) == operations("ir") - ALONE


def depends_on_values(op: type[Node], arrays: Sequence[Any]) -> bool:
    """Whether sizes of the result depend on the values of operands."""
    if op in (ops.ArgWhere, ops.NonMaxSuppression, ops.SoftNonMaxSuppression):
        return True
    has_sizes = any(array.shape == () and array.dtype == np.int32 for array in arrays)
    return has_sizes and (op in SIZES or op is ops.Range)


@pytest.mark.parametrize("op", OPERATIONS, ids=attrgetter("__name__"))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_inferred_types_match_computed_values(op: type[Node], data: DataObject) -> None:
    drawn = data.draw(OPERATIONS[op])
    inputs = [graphs.given(f"x{at}", array) for at, array in enumerate(drawn.arrays)]
    open_axes = [
        [
            axis
            for axis in range(array.ndim)
            if axis not in drawn.known.get(at, ()) and data.draw(st.booleans())
        ]
        for at, array in enumerate(drawn.arrays)
    ]
    unknown = [
        graphs.given(f"x{at}", array, axes)
        for at, (array, axes) in enumerate(zip(drawn.arrays, open_axes, strict=True))
    ]
    for given_ in (inputs, unknown):
        node = drawn.build(*given_)
        assert type(node) is op
        with np.errstate(all="ignore"):
            ends = ops.items(node) if isinstance(node, Several) else (node,)
            results = Graph(tuple(given_), ends).run(*drawn.arrays)
        for inferred, result in zip(types_of(node), results, strict=True):
            assert fits(inferred.shape, np.shape(result))
            assert inferred.dtype == str(np.asarray(result).dtype)
            if given_ is inputs and not depends_on_values(op, drawn.arrays):
                assert None not in inferred.shape


# ----------------------------------------------------------------------------- functions on tensors


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """An equation of two operands without repeated labels, and the size of each label."""
    sizes = {label: draw(st.integers(1, 3)) for label in "abcde"}
    terms = [
        draw(st.lists(st.sampled_from("abcde"), unique=True, min_size=1, max_size=4))
        for _ in range(2)
    ]
    labels = sorted({*terms[0], *terms[1]})
    out = draw(st.lists(st.sampled_from(labels), unique=True, max_size=5))
    return f"{''.join(terms[0])},{''.join(terms[1])}->{''.join(out)}", sizes


@settings(max_examples=300, deadline=None)
@given(drawn=equations(), data=st.data())
def test_einsum_matches_numpy(drawn: tuple[str, dict[str, int]], data: DataObject) -> None:
    equation, sizes = drawn
    terms = equation.split("->")[0].split(",")
    arrays = [numbers(data.draw, tuple(sizes[label] for label in term)) for term in terms]
    wanted = np.einsum(equation, *arrays)
    for open_axes in ((), range(4)):
        inputs = [graphs.given(f"x{at}", array, open_axes) for at, array in enumerate(arrays)]
        made = ops.einsum(equation, *inputs)
        (result,) = Graph(tuple(inputs), (made,)).run(*arrays)
        assert fits(made.shape, wanted.shape)
        np.testing.assert_allclose(result, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize("equation", ["ab->ba", "ab->b", "ab->", "abc->ca", "ab -> ab"])
def test_einsum_of_one_operand_matches_numpy(equation: str) -> None:
    x = graphs.random(0, *range(2, 2 + len(equation.partition("->")[0].strip())))
    given_ = graphs.given("x", x)
    np.testing.assert_allclose(
        Graph((given_,), (ops.einsum(equation, given_),)).run(x)[0], np.einsum(equation, x), 1e-5
    )


@settings(deadline=None)
@given(data=st.data())
def test_matmul_matches_numpy(data: DataObject) -> None:
    a, b = data.draw(shapes(1, 3)), data.draw(shapes(1, 3))
    inner = a[-1]
    b = (inner,) if len(b) == 1 else (*(1 for _ in b[:-2]), inner, b[-1])
    x, y = numbers(data.draw, a), numbers(data.draw, b)
    for open_axes in ((), range(3)):
        left, right = graphs.given("x", x, open_axes), graphs.given("y", y, open_axes)
        made = ops.matmul(left, right)
        (result,) = Graph((left, right), (made,)).run(x, y)
        np.testing.assert_allclose(result, np.matmul(x, y), 1e-4, 1e-5)
        assert fits(made.shape, np.shape(np.matmul(x, y)))


@settings(deadline=None)
@given(data=st.data())
def test_functions_match_numpy_functions_of_the_same_name(data: DataObject) -> None:
    x = numbers(data.draw, data.draw(shapes(1, 4)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    begin = data.draw(st.integers(0, x.shape[axis] - 1))
    size = data.draw(st.sampled_from([-1, *range(1, x.shape[axis] - begin + 1)]))
    parts = [
        (
            data.draw(st.none() | st.integers(-5, 5)),
            data.draw(st.none() | st.integers(-5, 5)),
            data.draw(st.sampled_from([-2, -1, 1, 1, 2])),
        )
        for _ in x.shape
    ]
    times, target = data.draw(st.integers(1, 3)), data.draw(st.integers(0, x.ndim - 1))
    part = tuple(
        slice(begin, None if size == -1 else begin + size) if at == axis % x.ndim else slice(None)
        for at in range(x.ndim)
    )
    helpers: list[tuple[Callable[[Tensor], Tensor], Array]] = [
        (lambda t: ops.slice_axis(t, axis, begin, size), x[part]),
        (lambda t: ops.strided(t, parts), x[tuple(slice(*p) for p in parts)]),
        (lambda t: ops.concat([t, t, t], axis), np.concatenate([x, x, x], axis)),
        (lambda t: ops.stack([t, t], axis), np.stack([x, x], axis)),
        (lambda t: ops.repeat(t, times, axis), np.repeat(x, times, axis)),
        (lambda t: ops.broadcast_to(t, (2, *ops.dims(t))), np.broadcast_to(x, (2, *x.shape))),
        (lambda t: ops.broadcast_to(t, ops.dims(t)), x),
        (lambda t: ops.reshape(t, (-1,)), x.reshape(-1)),
        (lambda t: ops.reshape(t, (*ops.dims(t), 1)), x[..., None]),
        (lambda t: ops.flatten_from(t, axis % x.ndim), x.reshape(*x.shape[: axis % x.ndim], -1)),
        (lambda t: ops.expand_dims(t, axis), np.expand_dims(x, axis)),
        (lambda t: ops.squeeze(ops.expand_dims(t, 0), 0), x),
        (lambda t: ops.move_axis(t, axis, target), np.moveaxis(x, axis, target)),
        (ops.transpose, np.transpose(x)),
    ]
    for open_axes in ((), [0], range(4)):
        given_ = graphs.given("x", x, open_axes)
        for helper, wanted in helpers:
            made = helper(given_)
            (result,) = Graph((given_,), (made,)).run(x)
            np.testing.assert_array_equal(result, wanted)
            assert fits(made.shape, wanted.shape)


def test_arithmetic_uses_the_widest_element_type() -> None:
    whole, part, truth = (
        Input(name, TensorType(name, ())) for name in ("int32", "float32", "bool")
    )
    table: list[tuple[Tensor, DType]] = [
        (whole + 1, "int32"),
        (1 + whole, "int32"),
        (whole + 0.5, "float32"),
        (whole / 2, "float32"),
        (whole + part, "float32"),
        (part - 1, "float32"),
        (truth + truth, "int32"),
        (truth * part, "float32"),
        (-whole, "int32"),
        (part**2, "float32"),
        (2 - whole, "int32"),
        (ops.greater(whole, 0.5), "bool"),
        (ops.where(truth, whole, 0.5), "float32"),
        (ops.equal(truth, truth), "bool"),
        (ops.logical_and(whole, part), "bool"),
        (ops.concat([ops.reshape(whole, (1,)), [0.5]]), "float32"),
    ]
    assert [tensor.dtype for tensor, _ in table] == [dtype for _, dtype in table]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_transposed_convolution_scatters(data: DataObject) -> None:
    """Each number of x adds a whole kernel to the result, from its place times the stride on."""
    drawn = data.draw(OPERATIONS[ops.ConvTranspose])
    x, kernel = drawn.arrays
    node = drawn.build(*(graphs.given(f"x{at}", array) for at, array in enumerate(drawn.arrays)))
    assert isinstance(node, ops.ConvTranspose)
    window, spatial = kernel.shape[:-2], x.shape[1:-1]
    ends = [(n + k) * s + 9 for n, k, s in zip(spatial, window, node.strides, strict=True)]
    whole = np.zeros((x.shape[0], *ends, kernel.shape[-2]), np.float64)
    for batch in range(x.shape[0]):
        for at in np.ndindex(*spatial):
            for to in np.ndindex(*window):
                place = (batch, *(a * s + t for a, s, t in zip(at, node.strides, to, strict=True)))
                source = (batch, *at)
                whole[place] += kernel[to] @ x[source]
    axes = zip(node.crop, spatial, node.strides, node.extra, strict=True)
    kept = (slice(None), *(slice(c, c + n * s + e) for c, n, s, e in axes))
    np.testing.assert_allclose(node.compute(x, kernel), whole[kept], 1e-4, 1e-4)


def test_groups_of_a_convolution_use_only_their_channels() -> None:
    """What group g makes is the convolution of channels 2g and 2g + 1 with filters 3g to 3g + 2."""
    x, kernel = graphs.random(0, 2, 6, 7, 8), graphs.random(1, 3, 2, 2, 12)
    whole, thin = graphs.given("x", x), graphs.given("kernel", kernel)
    made = ops.Conv(whole, thin, (2, 1), "same", (1, 1), 4)
    assert made.shape == (2, 3, 7, 12)
    for group in range(4):
        channels, filters = slice(2 * group, 2 * group + 2), slice(3 * group, 3 * group + 3)
        own, alone = x[..., channels], kernel[..., filters]
        wanted = ops.Conv(
            graphs.given("x", own), graphs.given("kernel", alone), (2, 1), "same", (1, 1)
        )
        np.testing.assert_allclose(
            made.compute(x, kernel)[..., filters], wanted.compute(own, alone), 1e-5, 1e-5
        )  # fmt: skip


@pytest.mark.parametrize("new", [1, 2, 3, 5, 7, 10])
@pytest.mark.parametrize("old", [1, 2, 5])
def test_images_are_sampled_at_the_centers_of_pixels(old: int, new: int) -> None:
    x = graphs.random(0, 1, old, 3, 1)
    image = graphs.given("x", x)
    centers = (np.arange(new) + 0.5) * old / new
    column = x[0, :, 0, 0]
    bilinear = np.interp(centers - 0.5, np.arange(old), column)
    nearest = column[np.floor(centers).astype(int)]
    for method, wanted in (("bilinear", bilinear), ("nearest", nearest)):
        made = ops.Resize(image, (new, 3), method)  # type: ignore[arg-type]
        np.testing.assert_allclose(made.compute(x)[0, :, 0, 0], wanted, 1e-5, 1e-6)


# ------------------------------------------------------------------------------------------ misfits

x23, x34, x5 = (Input("x", TensorType("float32", shape)) for shape in ((2, 3), (3, 4), (5,)))
image = Input("image", TensorType("float32", (None, 8, 8, 3)))
open_image = Input("image", TensorType("float32", (None, 8, 8, None)))
kernel = Input("kernel", TensorType("float32", (3, 3, 4, 2)))
thin, open_kernel = (Input("kernel", TensorType("float32", (3, 3, 1, size))) for size in (4, None))
whole, truth = Input("whole", TensorType("int32", (3,))), Input("truth", TensorType("bool", (3,)))

MISFITS: tuple[tuple[Callable[[], Any], str], ...] = (
    (lambda: x23 + x34, "the shapes (2, 3) and (3, 4) cannot be broadcast together"),
    (
        lambda: ops.MatMul(x23, x23),
        "the inner sizes of float32[2, 3] and float32[2, 3] are different",
    ),
    (lambda: ops.MatMul(x5, x23), "float32[5] and float32[2, 3] are not both matrices"),
    (
        lambda: ops.MatMul(x23, Input("x", TensorType("int32", (3, 4)))),
        "MatMul supports float32, not int32[3, 4]",
    ),
    (lambda: ops.reshape(x23, (4, 2)), "float32[2, 3] cannot be reshaped to (4, 2)"),
    (lambda: ops.reshape(x23, (-1, 4)), "float32[2, 3] cannot be reshaped to (-1, 4)"),
    (
        lambda: ops.reshape(x23, (-1, -1)),
        "float32[2, 3] cannot be reshaped to (-1, -1): more than one size is unknown",
    ),
    (
        lambda: ops.Transpose(x23, (0, 0)),
        "(0, 0) is not a permutation of the axes of float32[2, 3]",
    ),
    (lambda: ops.Slice(x23, (0, 2), (1, 2)), "float32[2, 3] has no slice of size (1, 2) at (0, 2)"),
    (lambda: ops.split(x23, 2), "axis -1 of float32[2, 3] cannot be split into 2 parts"),
    (
        lambda: ops.concat([x23, x34], 1),
        "float32[2, 3], float32[3, 4] cannot be concatenated along axis 1",
    ),
    (lambda: ops.broadcast_to(x23, (4, 3)), "float32[2, 3] cannot be broadcast to float32[4, 3]"),
    (lambda: ops.broadcast_to(x23, (3,)), "float32[2, 3] cannot be broadcast to float32[3]"),
    (lambda: ops.sum_(x23, 2), "axis 2 does not exist in a tensor of rank 2"),
    (lambda: ops.Sum(x23, (2,)), "axes (2,) do not exist in float32[2, 3]"),
    (
        lambda: ops.einsum("ab,bc->ac", x23, x23),
        "the equation ab,bc->ac does not fit float32[2, 3] and float32[2, 3]",
    ),
    (
        lambda: ops.einsum("aa,ab->ab", x23, x23),
        "the equation aa,ab->ab does not fit float32[2, 3] and float32[2, 3]",
    ),
    (
        lambda: ops.einsum("abc,ab->ab", x23, x23),
        "the equation abc,ab->ab does not fit float32[2, 3] and float32[2, 3]",
    ),
    (
        lambda: ops.Conv(image, kernel, (1, 1), "valid", (1, 1)),
        "the kernel float32[3, 3, 4, 2] does not fit float32[?, 8, 8, 3]",
    ),
    (
        lambda: ops.Conv(image, thin, (1, 1), "valid", (1, 1), 2),
        "the kernel float32[3, 3, 1, 4] does not fit float32[?, 8, 8, 3] for groups=2",
    ),
    (
        lambda: ops.Conv(image, thin, (1, 1), "valid", (1, 1), 3),
        "the kernel float32[3, 3, 1, 4] cannot be split for groups=3",
    ),
    (
        lambda: ops.Conv(open_image, thin, (1, 1), "valid", (1, 1), 0),
        "the kernel float32[3, 3, 1, 4] cannot be split for groups=0",
    ),
    (
        lambda: ops.Conv(image, open_kernel, (1, 1), "valid", (1, 1), 3),
        "the sizes (3, 3, 1, None) must be fixed",
    ),
    (
        lambda: ops.DepthwiseConv(image, kernel, (1, 1), "valid", (1, 1)),
        "the kernel float32[3, 3, 4, 2] does not fit float32[?, 8, 8, 3]",
    ),
    (
        lambda: ops.ConvTranspose(image, kernel, (1, 1), (0, 0), (10, 10), (2, 2)),
        "the kernel float32[3, 3, 4, 2] does not fit float32[?, 8, 8, 3]",
    ),
    (
        lambda: ops.MaxPool(image, (9, 1), (1, 1), "valid"),
        "a window of (9, 1) is larger than (8, 8)",
    ),
    (
        lambda: ops.MaxPool(x23, (1,), (1,), "valid"),
        "MaxPool needs images or volumes, not float32[2, 3]",
    ),
    (lambda: ops.Resize(x23, (1, 1), "nearest"), "Resize needs images, not float32[2, 3]"),
    (lambda: ops.known((3, None)), "the sizes (3, None) must be fixed"),
    (lambda: ops.Exp(whole), "Exp supports floats, not int32[3]"),
    (lambda: ops.Relu(truth), "Relu supports numbers, not bool[3]"),
    (lambda: ops.Add(whole, x23), "Add supports int32, not float32[2, 3]"),
    (lambda: ops.LogicalAnd(whole, truth), "LogicalAnd supports bool, not int32[3]"),
    (lambda: ops.FloorDiv(x23, x23), "FloorDiv supports integers, not float32[2, 3]"),
    (lambda: ops.Select(whole, x23, x23), "Select supports bool, not int32[3]"),
    (lambda: ops.Select(truth, x23, whole), "Select supports float32, not int32[3]"),
    (lambda: ops.Mean(whole, (0,)), "Mean supports floats, not int32[3]"),
    (lambda: ops.Any_(whole, (0,)), "Any_ supports bool, not int32[3]"),
    (lambda: ops.Clip(whole, 0, 1), "Clip supports floats, not int32[3]"),
)


@pytest.mark.parametrize(("build", "message"), MISFITS, ids=[message for _, message in MISFITS])
def test_mismatched_operands_raise_shape_errors(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ShapeError) as told:
        build()
    assert str(told.value) == message


# ------------------------------------------------------------------------------------------- graphs

MANY = 50_000


@contextmanager
def seconds(limit: float) -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < limit


@dataclass(frozen=True)
class Deep:
    """A chain of many nodes, every one with a name."""

    graph: Graph

    @staticmethod
    def made() -> Deep:
        given_ = Input("x", TensorType("float32", (2,)))
        ends: list[Tensor] = [given_]
        for at in range(MANY):
            ends.append(ops.Add(ends[-1], ends[at // 2]) if at % 2 else ops.Neg(ends[-1]))
        return Deep(
            Graph((given_,), (ends[-1],), {node: f"layer_{at}" for at, node in enumerate(ends)})
        )


@pytest.mark.exhaustive
def test_deep_graphs_are_walked_run_and_rebuilt_in_seconds() -> None:
    graph = Deep.made().graph
    with seconds(10):
        assert sum(1 for _ in graph.nodes()) == MANY + 1
        assert sum(graph.uses().values()) == MANY + MANY // 2 + 1
        (result,) = graph.run(np.zeros(2, np.float32))
        assert result.tolist() == [0, 0]
        rebuilt = graph.rebuild(lambda node: ops.Abs(node.x) if isinstance(node, ops.Neg) else node)
        assert sum(isinstance(node, ops.Abs) for node in rebuilt.nodes()) == MANY // 2
        assert len(rebuilt.names) == MANY + 1
        assert show(rebuilt).count("\n") == MANY + 1


def test_run_takes_inputs_and_returns_outputs_in_order() -> None:
    a, b = (Input(name, TensorType("float32", ())) for name in "ab")
    graph = Graph((a, b), (a - b, b, a, a, constant(4.0)))
    results = graph.run(np.asarray(3, np.float32), np.asarray(1, np.float32))
    assert [float(result) for result in results] == [2, 1, 3, 3, 4]
    assert [node.value.size for node in constants(graph)] == [1]
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        graph.run(np.zeros(()))
    with pytest.raises(LookupError, match="there is no value for the input 'b'"):
        Graph((a,), (a - b,)).run(np.zeros(()))


def test_walk_visits_operands_first_and_each_node_once() -> None:
    a = Input("a", TensorType("float32", ()))
    b = ops.Neg(a)
    c = ops.Add(b, b)
    assert list(walk([c, b])) == [a, b, c]
    assert list(walk([c], {b: 0})) == [c]


def test_rebuilt_nodes_keep_names_and_pass_them_to_new_operands() -> None:
    x = Input("x", TensorType("float32", (3,)))
    y = ops.Neg(x)
    graph = Graph((x,), (ops.Exp(y),), {y: "model/layer"})
    rebuilt = graph.rebuild(
        lambda node: ops.Mul(node.x, constant(-1.0)) if isinstance(node, ops.Neg) else node
    )
    assert {type(node).__name__: name for node, name in rebuilt.names.items()} == {
        "Mul": "model/layer", "Constant": "model/layer", "Input": "model/layer",
    }  # fmt: skip
    assert graph.names == {y: "model/layer"}


def test_a_graph_is_shown_with_operands_options_and_types() -> None:
    x = Input("x", TensorType("float32", (None, 2, 3)))
    kernel = constant(np.zeros((3, 3), np.float32))
    values, places = ops.items(ops.TopK(ops.matmul(x, kernel), 2))
    turned = ops.strided(values, [(None, None, 1), (None, None, -1), (None, None, 1)])
    assert show(Graph((x,), (turned, places, turned))) == (
        "%0 = Input('x') : float32[?, 2, 3]\n"
        "%1 = Constant() : float32[3, 3]\n"
        "%2 = MatMul(%0, %1, transpose_a=False, transpose_b=False) : float32[?, 2, 3]\n"
        "%3 = TopK(%2, k=2)\n"
        "%4 = StridedSlice(%3.0, parts=((None, None, 1), (None, None, -1), (None, None, 1))) : "
        "float32[?, 2, 2]\n"
        "return %4, %3.1, %4"
    )


def test_element_types_of_numpy() -> None:
    kinds = {
        "float64": "float32",
        "float16": "float32",
        "int64": "int32",
        "uint8": "int32",
        "bool": "bool",
        "O": "string",
    }
    assert {name: default_dtype(np.dtype(name)) for name in kinds} == kinds
    real = {name: "string" if name == "O" else name for name in kinds}
    assert {name: dtype_of(np.dtype(name)) for name in kinds} == real
    with pytest.raises(ShapeError, match="complex128 is not supported"):
        dtype_of(np.dtype(np.complex128))


def test_a_loop_runs_over_time_forwards_and_backwards() -> None:
    x, h = graphs.random(0, 2, 4, 3), graphs.random(1, 2, 3)
    for reverse in (False, True):
        xs, hs = graphs.given("x", x, [0, 1]), graphs.given("h", h, [0])
        (last,), (over,) = ops.scan(
            lambda s, z, _: ((s[0] * 0.5 + z[0],), (s[0],)), (hs,), (xs,), reverse=reverse
        )
        result, every = Graph((xs, hs), (last, over)).run(x, h)
        state, states = h, []
        for t in reversed(range(4)) if reverse else range(4):
            states.append(state)
            state = state * np.float32(0.5) + x[:, t]
        np.testing.assert_allclose(result, state, 1e-6)
        np.testing.assert_allclose(every, np.stack(states, 1), 1e-6)
        assert (last.type, over.type) == (
            TensorType("float32", (None, 3)),
            TensorType("float32", (None, None, 3)),
        )


def test_the_product_of_known_sizes_is_a_number() -> None:
    x = Input("x", TensorType("float32", (None, 2, 3, None)))
    assert ops.movement.product(ops.dims(x)[1:3]) == prod((2, 3))
    total = ops.movement.product(ops.dims(x))
    assert isinstance(total, Tensor)
    assert Graph((x,), (total,)).run(np.zeros((5, 2, 3, 7), np.float32))[0] == 5 * 2 * 3 * 7


# -------------------------------------------------------------------------------------- named sizes


words = Input("words", TensorType("float32", ("batch", "time", 4)))
row = Input("row", TensorType("float32", ("batch", 4)))


def convolved(padding: Any, stride: int) -> Tensor:
    """A convolution of images [batch, height, 5, 2]."""
    x = Input("x", TensorType("float32", ("batch", "height", 5, 2)))
    kernel_ = constant(np.zeros((3, 3, 2, 3), np.float32))
    return ops.Conv(x, kernel_, (stride, stride), padding, (1, 1))


@pytest.mark.parametrize(
    ("extents", "tensor"),
    [
        (("batch", "time", 4), words + 1),
        (("batch", "time", 4), words * ops.expand_dims(row, 1)),
        ((None, "time", 4), words * Input("open", TensorType("float32", (None, 1, 4)))),
        (("batch", 4, "time"), ops.transpose(words, (0, 2, 1))),
        (("batch", "time"), ops.max_(words, -1)),
        (("time", 4), ops.sum_(words, 0)),
        (("batch", "time", 7), ops.matmul(words, np.zeros((4, 7), np.float32))),
        (("batch", "time", 8), ops.concat([words, words])),
        ((None, "time", 4), ops.concat([words, words], 0)),
        (("batch", None, 4), ops.strided_axis(words, 1, 1, None)),
        (("batch", "time", 4), ops.Reverse(words, (1,))),
        (("batch", None, 4), ops.pad(words, ((0, 0), (1, 0), (0, 0)))),
        (("batch", "time", 4), ops.broadcast_to(ops.expand_dims(row, 1), ops.dims(words))),
        (("batch", "time", 2, 2), ops.reshape(words, (*ops.dims(words)[:2], 2, 2))),
        (("batch", 2, 2), ops.reshape(row, (-1, 2, 2))),
        (("batch*time", 4), ops.reshape(words, (-1, 4))),
        (("2*batch", 2), ops.reshape(row, (-1, 2))),
        (("batch", 4), ops.reshape(ops.reshape(row, (-1, 2)), (-1, 4))),
        ((None, 3), ops.reshape(row, (-1, 3))),
        (
            ("batch", "time", 2, 2),
            ops.reshape(ops.reshape(words, (-1, 2)), (*ops.dims(words)[:2], 2, -1)),
        ),
        (("time",), ops.Range(ops.Dim(words, 1))),
        (("batch", "time"), ops.Fill(ops.dims(words)[:2], 0)),
        (("batch", "height", 5, 3), convolved("same", 1)),
        (("batch", None, 3, 3), convolved("same", 2)),
        (("batch", None, 3, 3), convolved("valid", 1)),
    ],
)
def test_names_of_sizes_follow_the_axes(extents: tuple[Any, ...], tensor: Tensor) -> None:
    assert tensor.extents == extents
    assert tensor.shape == tuple(e if isinstance(e, int) else None for e in extents)


# ------------------------------------------------------------------------------------ element types


REAL: tuple[DType, ...] = ("bool", *NUMBERS)


def functions_of_elements() -> Iterator[tuple[type[Any], DType]]:
    """Operations element by element and reductions, with each element type that they take."""
    families = (ops.Unary, ops.Binary, ops.Reduction)
    for cls in vars(ops).values():
        if isinstance(cls, type) and issubclass(cls, families) and cls not in families:
            yield from ((cls, dtype) for dtype in getattr(cls, "takes", ()) if dtype in REAL)


def test_numpy_computes_the_element_type_that_is_inferred() -> None:
    for cls, dtype in functions_of_elements():
        assert computed_dtype(cls, dtype) == NUMPY[applied(cls, dtype)[1].dtype], (cls, dtype)


def applied(cls: type[Any], dtype: DType) -> tuple[Input, Tensor]:
    """An input of that element type, and an operation on it."""
    x = Input("x", TensorType(dtype, (3,)))
    rest: tuple[Any, ...] = ()
    if issubclass(cls, ops.Binary):
        rest = (x,)
    elif issubclass(cls, ops.Reduction):
        rest = ((0,),)
    return x, cls(x, *rest)


def computed_dtype(cls: type[Any], dtype: DType) -> np.dtype[Any]:
    """The numpy type of what an operation computes."""
    x, y = applied(cls, dtype)
    with np.errstate(all="ignore"):
        (result,) = Graph((x,), (y,)).run(np.array([1, 0, 1]).astype(NUMPY[dtype]))
    return np.asarray(result).dtype


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (("int8", "uint8"), "int16"),
        (("uint16", "int16"), "int32"),
        (("bool", "uint8"), "uint8"),
        (("uint32", "int32"), "int64"),
        (("uint64", "int8"), "float32"),
        (("float16", "int64"), "float16"),
        (("float16", "bfloat16"), "float32"),
        (("float32", "float64"), "float64"),
        (("complex64", "float32"), "complex64"),
        (("string",), "string"),
    ],
)
def test_promotion_matches_keras(dtypes: tuple[DType, ...], expected: DType) -> None:
    assert promoted(dtypes) == promoted(reversed(dtypes)) == expected


def test_strings_are_not_promoted() -> None:
    with pytest.raises(ShapeError, match="computes with numbers"):
        promoted(("string", "int32"))


def test_python_numbers_adopt_the_type_of_the_other_operand() -> None:
    small, half = (Input("x", TensorType(dtype, (2,))) for dtype in ("uint8", "float16"))
    assert (small + 1).dtype == "uint8"
    assert (small + 1.5).dtype == "float32"
    assert (half + 1).dtype == (half + 1.5).dtype == "float16"
    assert (small / 2).dtype == "float32"


def test_weights_are_read_as_the_default_type() -> None:
    weight = ComputedWeight(np.dtype(np.float64), (2,), lambda: np.array([1e300, 1.0]))
    assert ops.as_tensor(weight).dtype == "float32"
    assert ops.Constant(weight).dtype == "float64"
    (value,) = Graph((), (ops.as_tensor(weight),)).run()
    assert value.tolist() == [np.inf, 1]
