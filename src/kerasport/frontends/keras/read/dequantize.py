"""Convert a quantized layer into the equivalent plain float32 layer.

Keras stores the weights of a quantized layer as small integers with scales. Each mode has its own
order and packing. The stored variables decide which mode a file uses, since the dtype policy of an
attention layer does not say that its sublayers are quantized [Keras 3.3 to 3.15]. If they are
ambiguous, the policy decides. If the policy is ambiguous too, the layer is refused.

The two kinds of scales are opposite. A scale per channel divides, `w = q / scale`; a scale per
group within a channel multiplies, `w = (q - zero) * scale`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from operator import mul
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kerasport.errors import ReadError, quoted

if TYPE_CHECKING:
    import numpy.typing as npt

    from kerasport.weights import Array

Shape: TypeAlias = tuple[int, ...]
Sizes: TypeAlias = tuple[int | None, ...]
"""A shape in which sizes can be unknown."""

CLASSES = ("Dense", "EinsumDense", "Embedding", "ReversibleEmbedding", "TernaryDense")
MODES = ("int8", "int4", "float8", "gptq", "awq", "ternary")
TRITS = 5  # values of a ternary kernel per byte; 3 ** 5 = 243

# The dtypes of a group of variables, one letter each, form a word.
LETTERS: Mapping[str, str] = {
    "int8": "i",
    "uint8": "u",
    "int32": "g",
    "float16": "f",
    "float32": "f",
    "float64": "f",
    "bfloat16": "f",
}


@dataclass(frozen=True)
class PlainWeight:
    """One weight of the plain layer, and how to compute it."""

    shape: Shape
    needs: tuple[int, ...]  # indices of the stored variables that `compute` takes
    compute: Callable[..., Array]


@dataclass(frozen=True)
class Dequantization:
    """How to compute the plain weights of a quantized layer, and a note for the user."""

    class_name: str
    mode: str  # one of MODES
    weights: tuple[PlainWeight, ...]  # in Keras's order for the unquantized layer
    rounds_inputs: bool  # Keras also quantizes the inputs, on every call

    @property
    def note(self) -> str:
        """One sentence for the report."""
        if self.mode == "float8":
            return (
                "float8 training keeps float32 weights, and the converted model uses these; "
                "Keras also rounds weights and inputs to float8 on every call, so the outputs "
                "differ by a few percent"
            )
        became = f"its {self.mode} weights were dequantized to float32"
        if not self.rounds_inputs:
            return f"{became}; the outputs equal those of Keras up to float rounding"
        when = (
            "when it is called with reverse=True"
            if self.class_name == "ReversibleEmbedding"
            else "on every call"
        )
        return (
            f"{became}; Keras also rounds the inputs to int8 {when} and the converted model does "
            "not, so the outputs differ by about one percent"
        )


def plan(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[Shape],
    kernel_shape: Shape | None = None,
) -> Dequantization | None:
    """Plan how to dequantize a layer without reading its arrays; None if not quantized.

    Args:
        class_name: of the layer; only those of `CLASSES` are ever quantized.
        config: the layer's Keras config; that of an EinsumDense has `equation` and
            `output_shape`. A `dtype` without a quantization mode, as that of an attention layer,
            is compatible with every mode.
        dtypes: of the stored variables, in their numeric order; `bfloat16` is ml_dtypes's.
        shapes: of the same variables.
        kernel_shape: of the plain kernel, see `kernel_shape_of`. Useful for every kernel, and
            required for

            * int4 of Keras 3.11 to 3.13, which packs pairs along an input axis: the stored
              shape does not show whether its size was odd;
            * int8, if `dtype` names no quantization: int4 of Keras 3.11 to 3.13 inside an
              attention layer looks like int8 of half the size;
            * an EinsumDense that sums over two axes or more, in a mode that stores a matrix:
              int4 of Keras >= 3.14, gptq, awq.

    Raises:
        ReadError: the arguments contradict each other or are ambiguous, or the mode is unknown.
    """
    stored = _stored(class_name, config, dtypes, shapes, kernel_shape)
    if not stored.quantized:
        return None
    if stored.mode not in ("", *MODES):
        raise stored.refuse(
            f"its quantization mode is {quoted(stored.mode)}, which is not supported"
        )
    for pattern, read in READERS[class_name].items():
        found = re.fullmatch(pattern, stored.word)
        if found is not None and (plain := read(stored, found)) is not None:
            return replace(plain, rounds_inputs=_rounds_inputs(plain, config))
    raise stored.refuse("no quantization mode of Keras stores these variables")


def is_quantized(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[Shape],
) -> bool:
    """Whether the variables are those of a quantized layer, even an unsupported one."""
    return _stored(class_name, config, dtypes, shapes).quantized


def plain_shapes(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[Shape],
    kernel_shape: Shape | None = None,
) -> tuple[Shape, ...] | None:
    """Shapes of the result of `dequantize`. Arguments and errors are those of `plan`."""
    found = plan(class_name, config, dtypes, shapes, kernel_shape)
    return None if found is None else tuple(weight.shape for weight in found.weights)


def rounds_inputs(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[Shape],
    kernel_shape: Shape | None = None,
) -> bool:
    """Whether Keras also rounds the layer's inputs. Arguments and errors are those of `plan`.

    If it does, the plain weights compute the layer without that rounding: close to Keras's outputs,
    not equal. Without a `quantization_config`, which no file has for sublayers of an attention
    layer, the answer is Keras's default.
    """
    found = plan(class_name, config, dtypes, shapes, kernel_shape)
    return found is not None and found.rounds_inputs


def dequantize(
    class_name: str,
    config: Mapping[str, Any],
    arrays: Sequence[Array],
    kernel_shape: Shape | None = None,
) -> tuple[Array, ...] | None:
    """The plain float32 weights, in Keras's unquantized order; `None` if not quantized.

    `arrays` are the stored variables in their numeric order; the other arguments and the errors are
    those of `plan`. It takes at most three times the memory of the result.

    >>> q, scale = np.array([[-64], [127]], np.int8), np.array([128], np.float32)
    >>> (kernel,) = dequantize("Dense", {"dtype": "int8_from_float32"}, [q, scale])
    >>> kernel.tolist()
    [[-0.5], [0.9921875]]
    """
    shapes = [a.shape for a in arrays]
    found = plan(class_name, config, [a.dtype for a in arrays], shapes, kernel_shape)
    if found is None:
        return None
    return tuple(w.compute(*map(arrays.__getitem__, w.needs)) for w in found.weights)


def kernel_shape_of(
    class_name: str, config: Mapping[str, Any], input_shape: Sequence[int | None]
) -> Shape | None:
    """Shape of the plain kernel of a layer built for `input_shape`; `None` if a size is unknown.

    >>> config = {"equation": "abc,cde->abde", "output_shape": [None, 2, 3]}
    >>> kernel_shape_of("EinsumDense", config, [None, None, 8])
    (8, 2, 3)
    """
    match class_name:
        case "Dense" | "TernaryDense" if input_shape:
            return _complete((_size(input_shape[-1]), _size(config.get("units"))))
        case "EinsumDense" if equation := _Equation.of(config):
            known = {**equation.input_sizes(input_shape), **equation.output_sizes(config)}
            return _complete(known.get(label) for label in equation.kernel)
        case "Embedding" | "ReversibleEmbedding":
            return _complete(_table_sizes(config))
    return None


# Numbers --------------------------------------------------------------------------------------


def unpack(packed: Array, size: int, axis: int, bits: int = 4) -> Array:
    """Unpack integers of `bits` bits from bytes along the axis, lowest bits first.

    Values packed into int8 are signed, values packed into uint8 are unsigned. The result has `size`
    values along the axis and the dtype of `packed`.

    >>> unpack(np.array([0x7D, 0x02], np.int8), 3, axis=0)
    array([-3,  7,  2], dtype=int8)
    """
    if bits == 8:
        return packed
    per_byte, sign = 8 // bits, 1 << (bits - 1)
    source = np.moveaxis(packed.view(np.uint8), axis, 0)
    codes = np.empty((per_byte * len(source), *source.shape[1:]), np.uint8)
    for k in range(per_byte):
        codes[k::per_byte] = (source >> (k * bits)) & (2 * sign - 1)
    if packed.dtype == np.int8:
        codes ^= sign
        codes -= sign
    return np.moveaxis(codes[:size].view(packed.dtype), 0, axis)


def unpack_ternary(packed: Array, size: int) -> Array:
    """Unpack -1, 0 and 1 from bytes along the first axis, five to a byte in base 3, as int8.

    >>> unpack_ternary(np.array([[2 + 3 * 0 + 9 * 1]], np.uint8), 3).ravel()
    array([ 1, -1,  0], dtype=int8)
    """
    places = (3 ** np.arange(TRITS)).reshape(1, TRITS, *(1,) * (packed.ndim - 1))
    digits = packed.view(np.uint8).astype(np.int16)[:, None] // places % 3 - 1
    return digits.astype(np.int8).reshape(-1, *packed.shape[1:])[:size]


def divide(q: Array, scale: Array) -> Array:
    """Compute `q / scale` in float32."""
    with np.errstate(all="ignore"):  # a scale of zero produces infinities in Keras too
        return np.divide(q, _float32(scale), dtype=np.float32)


def spread(q: Array, scale: Array, zero: Array, groups: Array, axis: int) -> Array:
    """Compute `(q - zero[g]) * scale[g]` in float32, where g is the group along the axis."""
    # GPTQ stores position / group size with its fraction, which Keras truncates.
    cut = np.trunc(np.asarray(groups, np.float64))
    if not ((cut >= 0) & (cut < scale.shape[axis])).all():
        raise ReadError(
            f"a quantized kernel of shape {q.shape} refers to groups outside the "
            f"{scale.shape[axis]} that have a scale; the file is damaged, so save the model again"
        )
    g, w = cut.astype(np.intp), q.astype(np.float32)
    with np.errstate(all="ignore"):
        w -= _float32(zero).take(g, axis)
        w *= _float32(scale).take(g, axis)
    return w


def _float32(array: Array) -> Array:
    return np.asarray(array).astype(np.float32, copy=False)


# What is stored -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """A group of stored variables, with everything that the file says about it."""

    class_name: str
    config: Mapping[str, Any]
    dtypes: tuple[str, ...]
    shapes: tuple[Shape, ...]
    kernel_shape: Shape | None

    @property
    def word(self) -> str:
        return "".join(LETTERS.get(dtype, "?") for dtype in self.dtypes)

    @property
    def quantized(self) -> bool:
        if self.class_name not in CLASSES:
            return False
        if "i" in self.word or "u" in self.word:
            return "f" in self.word or self.mode != ""
        # float8 keeps a float kernel and adds a scale and a history for each of three tensors.
        statistics = [len(shape) for shape in self.shapes[-6:]] == [0, 1] * 3
        float8 = self.word in ("f" * 7, "f" * 8) and statistics
        return float8 or self.mode not in ("", *MODES)

    @property
    def policy(self) -> str:
        """The mode in the dtype policy, such as `"int8"` or `"gptq/4/128"`, or nothing."""
        return _policy(self.config.get("dtype"), self.config.get("name"))

    @property
    def mode(self) -> str:
        return self.policy.partition("/")[0]

    def expect(self, *modes: str) -> None:
        if self.mode not in ("", *modes):
            these = " or ".join(modes)
            raise self.refuse(
                f"these variables belong to {these}, but the dtype policy is {quoted(self.policy)}"
            )

    def refuse(self, reason: str) -> ReadError:
        name = f"layer {quoted(self.config['name'])}: " if self.config.get("name") else ""
        pairs = zip(self.dtypes, self.shapes, strict=True)
        variables = ", ".join(f"{dtype} {shape}" for dtype, shape in pairs)
        return ReadError(
            f"{name}{self.class_name} with the stored variables {variables}: {reason}; save the "
            "model again from Keras, either unquantized or with one of these modes: "
            f"{', '.join(MODES)}"
        )


_Reader: TypeAlias = Callable[[_Stored, re.Match[str]], Dequantization | None]
"""Plans variables whose word matches a pattern; None if their shapes do not match."""


def _stored(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[Shape],
    kernel_shape: Shape | None = None,
) -> _Stored:
    names = tuple(np.dtype(dtype).name for dtype in dtypes)
    return _Stored(class_name, config, names, tuple(shapes), kernel_shape)


def _policy(dtype: Any, name: Any) -> str:
    match dtype:
        case str():
            return dtype.partition("_from_")[0] if "_from_" in dtype else ""
        case {"config": {"policy_map": dict(policies), "default_policy": default}}:
            # A key is a layer path or a regular expression. Regular expressions from a file are not
            # run.
            of_name = [p for key, p in policies.items() if key.split("/")[-1] == name]
            named = {_policy(p, None) for p in of_name or ([] if policies else [default])}
            return named.pop() if len(named) == 1 else ""
        case {"config": {"mode": str(mode)}}:
            return mode
        case {"config": {"name": str(full)}}:
            return _policy(full, None)
    return ""


def _rounds_inputs(plain: Dequantization, config: Mapping[str, Any]) -> bool:
    match config.get("quantization_config"):
        case {"config": {"activation_quantizer": quantizer}}:
            possible = plain.mode in ("int8", "int4") and plain.class_name != "Embedding"
            return possible and quantizer is not None
    return plain.rounds_inputs


# Dense and EinsumDense ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kernel:
    """The known sizes of a plain kernel, and the axes of its scales."""

    sizes: Sizes
    kept: tuple[int, ...]  # axes that reach the output, in output order
    scale_rank: int = 1  # minimum

    @property
    def summed(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.sizes)) if axis not in self.kept)

    def align(self, scale: Array, shape: Shape) -> Array:
        """Reshape a scale that broadcasts against the output to broadcast against the kernel."""
        by_output = scale.reshape([shape[axis] for axis in self.kept])
        by_kernel: Array = by_output.transpose(np.argsort(self.kept))
        return by_kernel.reshape([n if i in self.kept else 1 for i, n in enumerate(shape)])


@dataclass(frozen=True)
class _Equation:
    """The einsum equation of an EinsumDense, one letter for each axis that is not elided."""

    inputs: str
    kernel: str
    output: str
    elided_left: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> _Equation | None:
        more, letters = r"(?:\.\.\.)?", "([a-zA-Z]+)"
        pattern = f"({more}){letters}{more},{letters}->{more}{letters}{more}"
        found = re.fullmatch(pattern, str(config.get("equation")))
        if found is None or any(len(set(s)) < len(s) for s in found.group(2, 3, 4)):
            return None
        return cls(found[2], found[3], found[4], found[1] != "")

    def input_sizes(self, shape: Sequence[int | None]) -> dict[str, int]:
        sizes = shape[-len(self.inputs) :] if self.elided_left else shape
        return _known(zip(self.inputs, sizes, strict=False))

    def output_sizes(self, config: Mapping[str, Any]) -> dict[str, int]:
        shape = config.get("output_shape")
        sizes = shape if isinstance(shape, list | tuple) else [shape]
        # It excludes the batch and the elided axes; its last size is that of the last letter.
        return _known(zip(reversed(self.output), reversed(sizes), strict=False))


def _kernel(stored: _Stored) -> _Kernel:
    if stored.class_name != "EinsumDense":
        kernel = _Kernel((None, _size(stored.config.get("units"))), (1,))
    else:
        equation = _Equation.of(stored.config)
        if equation is None:
            raise stored.refuse(
                f"equation={quoted(stored.config.get('equation'))} is not supported"
            )
        known, labels = equation.output_sizes(stored.config), equation.kernel
        kept = tuple(labels.index(label) for label in equation.output if label in labels)
        # A scale broadcasts against the output, which also has a batch axis.
        kernel = _Kernel(tuple(map(known.get, labels)), kept, scale_rank=len(kept) + 1)
    if stored.kernel_shape is None:
        return kernel
    shape = _settle(stored, kernel, _agree(kernel.sizes, stored.kernel_shape))
    return replace(kernel, sizes=shape)


def _with_bias(read: Callable[[_Stored, tuple[int, ...]], Dequantization]) -> _Reader:
    """Reader of a kernel and of a bias, which is the first group of the pattern."""

    def reader(stored: _Stored, found: re.Match[str]) -> Dequantization:
        bias = range(*found.span(1))
        option = "bias_axes" if stored.class_name == "EinsumDense" else "use_bias"
        wanted = stored.config.get(option, bool(bias))
        if bool(wanted) is not bool(bias):
            one = "a" if bias else "no"
            raise stored.refuse(f"the variables include {one} bias, but {option}={quoted(wanted)}")
        plain = read(stored, tuple(i for i in range(len(stored.word)) if i not in bias))
        return replace(plain, weights=(*plain.weights, *(_as_stored(stored, i) for i in bias)))

    return reader


def _as_stored(stored: _Stored, i: int) -> PlainWeight:
    return PlainWeight(stored.shapes[i], (i,), _float32)


def _by_channel(stored: _Stored, needs: tuple[int, ...]) -> Dequantization:
    layouts = (BYTES, ALONG_OUTPUTS, ALONG_INPUTS)
    layout, weight = _choose(stored, needs, _kernel(stored), layouts)
    # Keras >= 3.14, which packs along the outputs, rounds inputs only if the config says so.
    return Dequantization(stored.class_name, layout.mode, (weight,), layout is not ALONG_OUTPUTS)


def _by_group(stored: _Stored, needs: tuple[int, ...]) -> Dequantization:
    stored.expect("int4")
    kernel = _kernel(stored)
    rows, columns = _grouped_sizes(stored, needs, grouped=0, packed=1)
    sizes = _fill(_fill(kernel.sizes, kernel.summed, rows), kernel.kept, columns)
    shape = _settle(stored, kernel, sizes)

    def compute(q: Array, scale: Array, zero: Array, groups: Array) -> Array:
        return spread(unpack(q, columns, 1), scale, zero, groups, 0).reshape(shape)

    weight = PlainWeight(shape, needs, compute)
    return Dequantization(stored.class_name, "int4", (weight,), rounds_inputs=False)


def _by_group_transposed(stored: _Stored, needs: tuple[int, ...]) -> Dequantization:
    """Plan the transposed matrix of gptq or awq; awq also has one scale per input."""
    mode = "gptq" if len(needs) == 4 else "awq"
    stored.expect(mode)
    kernel = _kernel(stored)
    columns, rows = _grouped_sizes(stored, (*needs[:3], needs[-1]), grouped=1)
    bits = _bits(stored, mode, stored.shapes[needs[0]][0], columns)
    if mode == "awq" and stored.shapes[needs[3]] != (rows,):
        raise stored.refuse("the shapes of the variables do not fit together")
    # A kernel of two axes is the matrix. Of three axes, the first two or the last two are joined.
    sizes = (
        _agree(kernel.sizes, (rows, columns))
        if len(kernel.sizes) == 2
        else _fill(kernel.sizes, range(len(kernel.sizes)), rows * columns)
    )
    shape = _settle(stored, kernel, sizes)
    if rows not in accumulate(shape[:-1], mul):
        raise stored.refuse(
            f"a kernel of shape {shape} cannot be reshaped to a matrix of {rows} rows"
        )

    def compute(q: Array, scale: Array, zero: Array, *more: Array) -> Array:
        w = spread(unpack(q, columns, 0, bits), scale, zero, more[-1], 1)
        if mode == "awq":
            w /= _float32(more[0])
        return np.ascontiguousarray(w.T).reshape(shape)

    weight = PlainWeight(shape, needs, compute)
    return Dequantization(stored.class_name, mode, (weight,), rounds_inputs=False)


def _bits(stored: _Stored, mode: str, packed: int, columns: int) -> int:
    """Bits per packed value: Keras packs 4, since 3.16 also 2, and never 3."""
    digits = "4" if mode == "awq" else "".join(stored.policy.split("/")[1:2])
    possible = {"": (8, 4, 2), "4": (4,), "2": (8, 2)}.get(digits, (8,))
    fits = [bits for bits in possible if packed == -(-columns * bits // 8)]
    if not fits:
        raise stored.refuse("the shapes of the variables do not fit together")
    if len(fits) > 1 < columns:
        raise stored.refuse(
            f"the values have {fits[0]} or {fits[1]} bits, and the file does not say which"
        )
    return fits[0]  # a single column is not packed


def _float8(stored: _Stored, needs: tuple[int, ...]) -> Dequantization:
    stored.expect("float8")
    kernel = _kernel(stored)
    _settle(stored, kernel, _agree(kernel.sizes, stored.shapes[0]))
    weight = _as_stored(stored, needs[0])
    return Dequantization(stored.class_name, "float8", (weight,), rounds_inputs=True)


def _ternary(stored: _Stored, needs: tuple[int, ...]) -> Dequantization:
    """Plan a kernel of -1, 0 and 1 with one scale, by which Keras multiplies."""
    stored.expect("ternary")
    packed, _ = (stored.shapes[i] for i in needs)
    kernel = _kernel(stored)
    shape = _settle(stored, kernel, kernel.sizes)
    if packed != (-(-shape[0] // TRITS), shape[1]):
        raise stored.refuse("the shapes of the variables do not fit together")

    def compute(q: Array, scale: Array) -> Array:
        return unpack_ternary(q, shape[0]) * _float32(scale)

    return Dequantization(
        stored.class_name, "ternary", (PlainWeight(shape, needs, compute),), rounds_inputs=False
    )


def _if_ternary(stored: _Stored, found: re.Match[str]) -> Dequantization | None:
    """Reader of a ternary kernel; None if the last variable is not a scale of a whole kernel."""
    of_dense = not stored.shapes[-1] and stored.class_name != "EinsumDense"
    return None if not of_dense else _with_bias(_ternary)(stored, found)


def _without_zeros(stored: _Stored, _: re.Match[str]) -> Dequantization:
    raise stored.refuse(
        "Keras 3.14 and 3.15 do not save the zero points of gptq and awq, so no version of Keras "
        "can load this file"
    )


# Embeddings -----------------------------------------------------------------------------------


def _tables(*tables: tuple[int, ...]) -> _Reader:
    """Reader of an embedding table and its reverse table, given the indices of their variables."""
    tied, by_group = len(tables) == 1, len(tables[0]) > 2

    def reader(stored: _Stored, _: re.Match[str]) -> Dequantization | None:
        if by_group is not (len(stored.shapes[1]) == 2):
            return None
        if stored.config.get("tie_weights", tied) is not tied:
            tie = stored.config["tie_weights"]
            raise stored.refuse(
                f"the variables include {len(tables)} table(s), but tie_weights={quoted(tie)}"
            )
        read = [_table(stored, needs, tokens) for tokens, needs in enumerate(tables)]
        if len({mode for mode, _ in read}) > 1:
            raise stored.refuse(
                f"one table is quantized as {read[0][0]} and the other as {read[1][0]}"
            )
        weights = tuple(weight for _, weight in read)
        rounds_inputs = stored.class_name == "ReversibleEmbedding"
        return Dequantization(stored.class_name, read[0][0], weights, rounds_inputs)

    return reader


def _table(stored: _Stored, needs: tuple[int, ...], tokens: int) -> tuple[str, PlainWeight]:
    """Plan a table with scales for each token; `tokens` is the token axis."""
    sizes, features = _table_sizes(stored.config), 1 - tokens
    kernel = _Kernel(sizes[::-1] if tokens else sizes, (tokens,))
    if len(needs) == 2:
        layout, weight = _choose(stored, needs, kernel, (BYTES, ALONG_INPUTS))
        return layout.mode, weight
    stored.expect("int4")
    shape = _grouped_sizes(stored, needs, grouped=features, packed=features)
    _settle(stored, kernel, _agree(kernel.sizes, shape))

    def compute(q: Array, scale: Array, zero: Array, groups: Array) -> Array:
        return spread(unpack(q, shape[features], features), scale, zero, groups, features)

    return "int4", PlainWeight(shape, needs, compute)


def _table_sizes(config: Mapping[str, Any]) -> Sizes:
    return _size(config.get("input_dim")), _size(config.get("output_dim"))


# Layouts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """A way to store a kernel that has a scale for each channel.

    `fit` takes the shapes of the kernel and the scale and returns the sizes of the plain kernel, or
    `None` if they are not stored this way. `compute` takes the shape of the plain kernel and both
    arrays.
    """

    mode: str
    where: str
    fit: Callable[[_Kernel, Shape, Shape], Sizes | None]
    compute: Callable[[_Kernel, Shape, Array, Array], Array]


def _fit_bytes(kernel: _Kernel, q: Shape, scale: Shape) -> Sizes | None:
    if len(scale) < kernel.scale_rank or _agree(kernel.sizes, q) is None:
        return None
    return q if prod(scale) == prod(q[axis] for axis in kernel.kept) else None


def _compute_bytes(kernel: _Kernel, shape: Shape, q: Array, scale: Array) -> Array:
    return divide(q, kernel.align(scale, shape))


def _fit_along_inputs(kernel: _Kernel, q: Shape, scale: Shape) -> Sizes | None:
    if not kernel.summed:
        return None
    axis = kernel.summed[0]
    size = kernel.sizes[axis]
    packed = _put(kernel.sizes, axis, None if size is None else -(-size // 2))
    fits = _fit_bytes(replace(kernel, sizes=packed), q, scale)
    return None if fits is None else _put(fits, axis, size)


def _compute_along_inputs(kernel: _Kernel, shape: Shape, q: Array, scale: Array) -> Array:
    axis = kernel.summed[0]
    return divide(unpack(q, shape[axis], axis), kernel.align(scale, shape))


def _fit_along_outputs(kernel: _Kernel, q: Shape, scale: Shape) -> Sizes | None:
    if len(q) != 2 or len(scale) != 1 or q[1] != -(-scale[0] // 2):
        return None
    return _fill(_fill(kernel.sizes, kernel.summed, q[0]), kernel.kept, scale[0])


def _compute_along_outputs(_: _Kernel, shape: Shape, q: Array, scale: Array) -> Array:
    # The matrix is the kernel in memory order, even if the summed axes are not first.
    return divide(unpack(q, scale.size, 1), scale).reshape(shape)


BYTES = _Layout("int8", "", _fit_bytes, _compute_bytes)
ALONG_OUTPUTS = _Layout(
    "int4", " packed along the outputs", _fit_along_outputs, _compute_along_outputs
)
ALONG_INPUTS = _Layout(
    "int4", " packed along an input axis", _fit_along_inputs, _compute_along_inputs
)


def _choose(
    stored: _Stored, needs: tuple[int, ...], kernel: _Kernel, layouts: Iterable[_Layout]
) -> tuple[_Layout, PlainWeight]:
    """Find the only layout that fits the variables, and plan the plain kernel."""
    stored.expect("int8", "int4")
    q, scale = (stored.shapes[i] for i in needs)
    fits = {
        layout: sizes
        for layout in layouts
        if stored.mode in ("", layout.mode) and (sizes := layout.fit(kernel, q, scale)) is not None
    }
    if ALONG_OUTPUTS in fits and "/" in stored.policy:
        fits.pop(ALONG_INPUTS, None)  # Keras >= 3.14 names the block size, as "int4/-1"
    # Two layouts of one mode and shape are the two packings of a single value: the same byte.
    if len({(layout.mode, _complete(sizes)) for layout, sizes in fits.items()}) > 1:
        names = " or ".join(layout.mode + layout.where for layout in fits)
        raise stored.refuse(
            f"the variables are either {names}; the file needs a dtype policy or the shape of the "
            "unquantized kernel (kernel_shape) to tell which"
        )
    layout, sizes = next(iter(fits.items()), (BYTES, None))
    shape = _settle(stored, kernel, sizes)
    return layout, PlainWeight(shape, needs, lambda q, s: layout.compute(kernel, shape, q, s))


def _grouped_sizes(
    stored: _Stored, needs: tuple[int, ...], grouped: int, packed: int | None = None
) -> tuple[int, int]:
    """Sizes of a matrix with scales for groups along axis `grouped`, packed along axis `packed`.

    Without `packed`, the first axis may be packed in any way.
    """
    q, scale, zero, groups = (stored.shapes[i] for i in needs)
    if [len(q), len(scale), len(groups)] == [2, 2, 1] and zero == scale:
        sizes = (scale[0], groups[0]) if grouped else (groups[0], scale[1])
        halves = sizes if packed is None else _put(sizes, packed, -(-sizes[packed] // 2))
        if q[1:] == halves[1:] and (packed is None or q == halves):
            return sizes
    raise stored.refuse("the shapes of the variables do not fit together")


# Sizes ----------------------------------------------------------------------------------------


def _size(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _known(pairs: Iterable[tuple[str, Any]]) -> dict[str, int]:
    return {label: size for label, value in pairs if (size := _size(value)) is not None}


def _put(sizes: Sizes, axis: int, size: int | None) -> Sizes:
    return (*sizes[:axis], size, *sizes[axis + 1 :])


def _agree(sizes: Sizes, shape: Shape) -> Shape | None:
    """The shape, if it matches all known sizes."""
    if len(sizes) != len(shape):
        return None
    return shape if all(a in (None, b) for a, b in zip(sizes, shape, strict=True)) else None


def _fill(sizes: Sizes | None, axes: Sequence[int], total: int) -> Sizes | None:
    """Fill in one unknown size so that the sizes of the axes multiply to the total.

    Returns None if they cannot.
    """
    if sizes is None:
        return None
    unknown = [axis for axis in axes if sizes[axis] is None]
    known = prod(size for axis in axes if (size := sizes[axis]) is not None)
    if total % known or (not unknown and total != known):
        return None
    return _put(sizes, unknown[0], total // known) if len(unknown) == 1 else sizes


def _complete(sizes: Iterable[int | None]) -> Shape | None:
    sizes = tuple(sizes)
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def _settle(stored: _Stored, kernel: _Kernel, sizes: Sizes | None) -> Shape:
    """Return the sizes as a complete shape, or refuse with the reason why it is not known."""
    if sizes is None:
        expected = " x ".join("?" if size is None else str(size) for size in kernel.sizes)
        hint = "" if stored.kernel_shape is None else f" with kernel_shape={stored.kernel_shape}"
        raise stored.refuse(f"the variables do not form a kernel of shape {expected}{hint}")
    shape = _complete(sizes)
    if shape is None:
        raise stored.refuse(
            "the shape of the unquantized kernel (kernel_shape) must be known, and it does not "
            "follow from the stored variables"
        )
    return shape


# Word → reader. Parentheses mark the optional bias.
KERNELS: Mapping[str, _Reader] = {
    "i(f?)f": _with_bias(_by_channel),  # kernel, bias, scale
    "i(f?)fi[fg]": _with_bias(_by_group),  # kernel, bias, scale, zero, groups
    "(f?)ufu[fg]": _with_bias(_by_group_transposed),  # bias, kernel, scale, zero, groups
    "(f?)ufuf[fg]": _with_bias(_by_group_transposed),  # the same with scales of the inputs
    "f(f?)f{6}": _with_bias(_float8),  # kernel, bias, statistics
    "u(f?)f": _if_ternary,  # kernel, bias, scale
    "f?uff?[fg]": _without_zeros,  # like gptq and awq above
}
TABLE: Mapping[str, _Reader] = {
    "if": _tables((0, 1)),  # table, scale
    "ifi[fg]": _tables((0, 1, 2, 3)),  # table, scale, zero, groups
}
TWO_TABLES: Mapping[str, _Reader] = {
    "ifif": _tables((0, 1), (2, 3)),  # table, scale, reverse table, its scale
    "ifi[fg]if[fi]": _tables((0, 1, 2, 3), (4, 5, 6, 3)),  # the same with zeros and groups
}
READERS: Mapping[str, Mapping[str, _Reader]] = {
    "Dense": KERNELS,
    "EinsumDense": KERNELS,
    "TernaryDense": {"u(f?)f": _if_ternary},
    "Embedding": TABLE,
    "ReversibleEmbedding": {**TABLE, **TWO_TABLES},
}
