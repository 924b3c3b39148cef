"""A quantised layer as the plain float32 layer that it stands for.

Keras stores the weights of a quantised layer as small whole numbers with scales, in an order and a packing of
its own for every mode. Which one a file has is told by the stored variables first, since the dtype policy of an
attention layer does not mention that its sublayers are quantised [Keras 3.3 to 3.15]; where the variables leave
a choice, by the policy; where that leaves one too, nobody guesses.

The two kinds of scales are opposite: one of a whole channel divides, `w = q / scale`, one of a group within a
channel multiplies, `w = (q - zero) * scale`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kerasport.errors import ReadError
from kerasport.model import Array

Sizes: TypeAlias = tuple[int | None, ...]

CLASSES = ("Dense", "EinsumDense", "Embedding", "ReversibleEmbedding")
MODES = ("int8", "int4", "float8", "gptq", "awq")

# The dtypes of a group of variables, read as a word.
LETTERS: Mapping[str, str] = {
    "int8": "i",
    "uint8": "u",
    "int32": "g",
    "float16": "f",
    "float32": "f",
    "float64": "f",
    "bfloat16": "f",
}

SAVE_AGAIN = f"save the model again from Keras, unquantized or quantized as one of {', '.join(MODES)}"


@dataclass(frozen=True)
class PlainWeight:
    """One weight of the plain layer; `compute` takes the stored variables whose numbers are in `needs`."""

    shape: tuple[int, ...]
    needs: tuple[int, ...]
    compute: Callable[..., Array]


@dataclass(frozen=True)
class Plan:
    """How to get the plain weights of a quantised layer, and what a user should know about them."""

    class_name: str
    mode: str  # one of MODES
    weights: tuple[PlainWeight, ...]  # in Keras's order for the unquantized layer
    rounds_inputs: bool  # Keras quantises the inputs too, on every call

    @property
    def note(self) -> str:
        """One sentence for the report."""
        if self.mode == "float8":
            return (
                "its weights are the float32 ones that float8 training keeps; Keras rounds them and the inputs"
                " to float8 on every call, the converted model does not: outputs differ by some per cent"
            )
        if not self.rounds_inputs:
            return (
                f"its {self.mode} weights became the float32 numbers that they stand for;"
                " this computes what Keras computes, up to float rounding"
            )
        when = "when called in reverse" if "Embedding" in self.class_name else "on every call"
        return (
            f"its {self.mode} weights became the float32 numbers that they stand for; Keras also rounds the"
            f" inputs to int8 {when}, the converted model does not: outputs differ by about one per cent"
        )


def plan(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[tuple[int, ...]],
    kernel_shape: tuple[int, ...] | None = None,
) -> Plan | None:
    """How to dequantise a layer, told before a byte of it is read; `None` where it is not quantised.

    Args:
        class_name: of the layer; only those of `CLASSES` are ever quantised.
        config: the layer's Keras config. An EinsumDense needs `equation`, and `output_shape`. A `dtype` that
            names no quantisation, as that of an attention layer, says nothing and contradicts nothing.
        dtypes: of the stored variables, in their numeric order; `bfloat16` is that of ml_dtypes.
        shapes: of the same variables.
        kernel_shape: of the plain kernel, see `kernel_shape_of`. Always welcome; an embedding never needs it.
            Required for

            * int4 of Keras 3.11 to 3.13, which packs pairs along an input axis: the stored shape does not tell
              whether its size was odd;
            * int8, where `dtype` names no quantisation, as inside an attention layer: int4 of Keras 3.11 to
              3.13 looks like int8 of half the size;
            * an EinsumDense that sums over two axes or more, of a mode that stores a matrix: int4 of
              Keras >= 3.14, gptq, awq.

    Raises:
        ReadError: variables, config and `kernel_shape` contradict each other or leave a choice, or the mode is
            not known.
    """
    stored = _Stored(
        class_name, config, tuple(np.dtype(d).name for d in dtypes), tuple(shapes), kernel_shape
    )
    if not stored.quantised:
        return None
    if stored.mode not in ("", *MODES):
        raise stored.refuse(f"quantized as {stored.mode!r}, which is not supported; {SAVE_AGAIN}")
    for pattern, read in READERS[class_name].items():
        found = re.fullmatch(pattern, stored.word)
        if found and (plain := read(stored, found)) is not None:
            return replace(plain, rounds_inputs=_rounds_inputs(plain, config))
    raise stored.refuse(f"no quantization of Keras stores these; {SAVE_AGAIN}")


def is_quantized(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[tuple[int, ...]],
) -> bool:
    """Whether the stored variables are those of a quantised layer, be it one that can be read or not."""
    names = tuple(np.dtype(d).name for d in dtypes)
    return _Stored(class_name, config, names, tuple(shapes)).quantised


def plain_shapes(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[tuple[int, ...]],
    kernel_shape: tuple[int, ...] | None = None,
) -> tuple[tuple[int, ...], ...] | None:
    """The shapes of what `dequantise` will give; arguments and errors are those of `plan`."""
    found = plan(class_name, config, dtypes, shapes, kernel_shape)
    return found and tuple(weight.shape for weight in found.weights)


def activation_quantised(
    class_name: str,
    config: Mapping[str, Any],
    dtypes: Sequence[npt.DTypeLike],
    shapes: Sequence[tuple[int, ...]],
    kernel_shape: tuple[int, ...] | None = None,
) -> bool:
    """Whether Keras rounds the layer's inputs too, on every call; arguments and errors are those of `plan`.

    Where it does, the plain weights compute what the layer would without that: near Keras's numbers, not equal.
    """
    found = plan(class_name, config, dtypes, shapes, kernel_shape)
    return found is not None and found.rounds_inputs


def dequantise(
    class_name: str,
    config: Mapping[str, Any],
    arrays: Sequence[Array],
    kernel_shape: tuple[int, ...] | None = None,
) -> tuple[Array, ...] | None:
    """The plain float32 weights, in Keras's unquantized order, of a layer whose stored variables are quantised.

    `None` where they are not. `arrays` are the stored variables in their numeric order; the other arguments and
    the errors are those of `plan`. Takes memory for three times the largest weight.

    >>> dequantise("Dense", {}, [np.array([[-64], [127]], np.int8), np.array([127.0], np.float32)], (2, 1))
    (array([[-0.503937],
           [ 1.      ]], dtype=float32),)
    """
    found = plan(
        class_name, config, [a.dtype for a in arrays], [a.shape for a in arrays], kernel_shape
    )
    return found and tuple(w.compute(*(arrays[i] for i in w.needs)) for w in found.weights)


def kernel_shape_of(
    class_name: str, config: Mapping[str, Any], input_shape: Sequence[int | None] = ()
) -> tuple[int, ...] | None:
    """The shape of the plain kernel of a layer built for `input_shape`; `None` where that leaves a size open.

    >>> kernel_shape_of("EinsumDense", {"equation": "abc,cde->abde", "output_shape": [None, 2, 3]}, [None, 5, 8])
    (8, 2, 3)
    """
    sizes: Sizes = (None,)
    if class_name == "Dense" and input_shape:
        sizes = (_size(input_shape[-1]), _size(config.get("units")))
    elif class_name == "EinsumDense" and (equation := _Equation.of(config)):
        known = {**equation.input_sizes(input_shape), **equation.output_sizes(config)}
        sizes = tuple(known.get(label) for label in equation.kernel)
    elif class_name in ("Embedding", "ReversibleEmbedding"):
        sizes = _embedding_sizes(config)
    return _complete(sizes)


def unpack(packed: Array, size: int, axis: int, bits: int = 4) -> Array:
    """Whole numbers of a few bits, packed along the axis into bytes, lowest bits first; int8 is signed.

    >>> unpack(np.array([0x7D, 0x02], np.int8), 3, axis=0)
    array([-3,  7,  2], dtype=int8)
    """
    if bits == 8:
        return packed
    each, sign = 8 // bits, 1 << (bits - 1)
    source = np.moveaxis(packed.view(np.uint8), axis, 0)
    codes = np.empty((each * len(source), *source.shape[1:]), np.uint8)
    for k in range(each):
        codes[k::each] = (source >> (k * bits)) & (2 * sign - 1)
    if packed.dtype == np.int8:
        codes ^= sign
        codes -= sign
    return np.moveaxis(codes[:size].view(packed.dtype), 0, axis)


def divide(q: Array, scale: Array) -> Array:
    """The float32 numbers `q / scale`."""
    with np.errstate(all="ignore"):  # a scale of zero makes infinity, in Keras too
        return np.divide(q, _float32(scale), dtype=np.float32)


def spread(q: Array, scale: Array, zero: Array, groups: Array, axis: int) -> Array:
    """The float32 numbers `(q - zero[g]) * scale[g]`, where `g` is the group of a position along the axis."""
    g = groups.astype(np.int64)  # GPTQ writes position / group size, unrounded: the fraction is cut off
    if not np.array_equal(g, np.clip(g, 0, scale.shape[axis] - 1)) or not np.isfinite(groups).all():
        raise ReadError(
            f"a quantized matrix of shape {q.shape} names groups outside of its {scale.shape[axis]};"
            f" the file is damaged, {SAVE_AGAIN}"
        )
    w = q.astype(np.float32)
    with np.errstate(all="ignore"):
        w -= _float32(zero).take(g, axis)
        w *= _float32(scale).take(g, axis)
    return w


# What is stored ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """A group of variables before it is read, and all that its file says about it."""

    class_name: str
    config: Mapping[str, Any]
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    kernel_shape: tuple[int, ...] | None = None

    @property
    def word(self) -> str:
        return "".join(LETTERS.get(dtype, "?") for dtype in self.dtypes)

    @property
    def quantised(self) -> bool:
        if self.class_name not in CLASSES:
            return False
        if "i" in self.word or "u" in self.word:
            return "f" in self.word or self.mode != ""
        return self.float8 or self.mode not in ("", *MODES)

    @property
    def float8(self) -> bool:
        """Whether a scale and a history of maxima for inputs, kernel and gradients follow the plain weights."""
        ranks = [len(shape) for shape in self.shapes[-6:]]
        return self.word in ("f" * 7, "f" * 8) and ranks == [0, 1] * 3

    @property
    def policy(self) -> str:
        """The quantisation that the dtype policy names, as `"int8"` or `"gptq/4/128"`, or nothing."""
        return _policy(self.config.get("dtype"), self.config.get("name"))

    @property
    def mode(self) -> str:
        return self.policy.partition("/")[0]

    def take(self, needs: Iterable[int]) -> tuple[tuple[int, ...], ...]:
        return tuple(self.shapes[i] for i in needs)

    def refuse(self, reason: str) -> ReadError:
        name = f"layer {self.config['name']!r}: " if self.config.get("name") else ""
        variables = ", ".join(
            f"{dtype} {shape}" for dtype, shape in zip(self.dtypes, self.shapes, strict=True)
        )
        return ReadError(f"{name}{self.class_name} with the stored variables {variables}: {reason}")

    def expect(self, mode: str) -> None:
        if self.mode not in ("", mode):
            raise self.refuse(
                f"these are of {mode}, but the dtype policy says {self.policy!r}; {SAVE_AGAIN}"
            )


def _policy(dtype: Any, name: Any) -> str:
    match dtype:
        case str():
            return dtype.partition("_from_")[0] if "_from_" in dtype else ""
        case {"config": {"policy_map": dict(policies), "default_policy": default}}:
            # A key is the path of a layer, or a pattern; patterns of a file are not run.
            named = {_policy(p, None) for key, p in policies.items() if key.split("/")[-1] == name}
            return named.pop() if len(named) == 1 else "" if policies else _policy(default, None)
        case {"config": {"mode": str(mode)}}:
            return mode
        case {"config": {"name": str(full)}}:
            return _policy(full, None)
    return ""


def _rounds_inputs(plain: Plan, config: Mapping[str, Any]) -> bool:
    match config.get("quantization_config"):
        case {"config": {"activation_quantizer": quantizer}}:
            by_channel = plain.mode in ("int8", "int4") and plain.class_name != "Embedding"
            return quantizer is not None and by_channel
    return plain.rounds_inputs


# Kernels of Dense and EinsumDense ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kernel:
    """What is known of a plain kernel; `kept` are the axes that reach the output, in the order they have there."""

    sizes: Sizes
    kept: tuple[int, ...]

    @property
    def summed(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.sizes)) if axis not in self.kept)

    def align(self, scale: Array, shape: tuple[int, ...]) -> Array:
        """A scale that broadcasts against the output, as one that broadcasts against the kernel."""
        kept = scale.reshape([shape[axis] for axis in self.kept]).transpose(np.argsort(self.kept))
        return kept.reshape([n if axis in self.kept else 1 for axis, n in enumerate(shape)])


def _kernel(stored: _Stored) -> _Kernel:
    if stored.class_name == "Dense":
        return _known(stored, _Kernel((None, _size(stored.config.get("units"))), (1,)))
    equation = _Equation.of(stored.config)
    if equation is None:
        raise stored.refuse(f"no einsum equation in its config: {stored.config.get('equation')!r}")
    sizes = equation.output_sizes(stored.config)
    kernel = tuple(sizes.get(label) for label in equation.kernel)
    kept = tuple(equation.kernel.index(label) for label in equation.output if label in equation.kernel)
    return _known(stored, _Kernel(kernel, kept))


def _known(stored: _Stored, kernel: _Kernel) -> _Kernel:
    """The kernel, of the shape that the caller knows."""
    if stored.kernel_shape is None:
        return kernel
    if not _match(kernel.sizes, stored.kernel_shape):
        raise stored.refuse(
            f"its config asks for a plain kernel of the sizes {kernel.sizes}, not {stored.kernel_shape}"
        )
    return replace(kernel, sizes=stored.kernel_shape)


@dataclass(frozen=True)
class _Equation:
    """The einsum of an EinsumDense, one letter an axis."""

    inputs: str
    kernel: str
    output: str
    elided_left: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> _Equation | None:
        found = re.fullmatch(
            r"(\.\.\.)?([a-zA-Z]+)(?:\.\.\.)?,([a-zA-Z]+)->(?:\.\.\.)?([a-zA-Z]+)(?:\.\.\.)?",
            str(config.get("equation")),
        )
        if found is None or any(len(set(labels)) < len(labels) for labels in found.groups()[1:]):
            return None
        return cls(found[2], found[3], found[4], found[1] is not None)

    def input_sizes(self, shape: Sequence[int | None]) -> dict[str, int]:
        sizes = shape[-len(self.inputs) :] if self.elided_left else shape[: len(self.inputs)]
        return {a: n for a, size in zip(self.inputs, sizes, strict=False) if (n := _size(size))}

    def output_sizes(self, config: Mapping[str, Any]) -> dict[str, int]:
        shape = config.get("output_shape")
        sizes = [shape] if isinstance(shape, int) else list(shape or ())
        # The batch and the elided axes are not in it.
        pairs = zip(reversed(self.output), reversed(sizes), strict=False)
        return {a: n for a, size in pairs if (n := _size(size))}


def _kernel_reader(read: Callable[[_Stored, tuple[int, ...]], Plan]) -> _Reader:
    """Reads a group of variables that may have a bias, the group of the pattern, among those of the kernel."""

    def reader(stored: _Stored, found: re.Match[str]) -> Plan:
        bias = range(*found.span(1))
        config = stored.config
        wanted = config.get("bias_axes" if stored.class_name == "EinsumDense" else "use_bias", bias)
        if bool(wanted) is not bool(bias):
            has = "a" if bias else "no"
            raise stored.refuse(f"there is {has} bias, but its config says otherwise; {SAVE_AGAIN}")
        plain = read(stored, tuple(i for i in range(len(stored.word)) if i not in bias))
        return replace(plain, weights=(*plain.weights, *(_as_stored(stored, i) for i in bias)))

    return reader


def _as_stored(stored: _Stored, i: int) -> PlainWeight:
    return PlainWeight(stored.shapes[i], (i,), _float32)


def _by_channel(stored: _Stored, needs: tuple[int, ...]) -> Plan:
    layout, weight = _choose(stored, needs, _kernel(stored), (BYTES, ALONG_OUTPUTS, ALONG_INPUTS))
    # Keras >= 3.14 leaves the inputs of an int4 layer alone, as long as nobody asks for it.
    return Plan(stored.class_name, layout.mode, (weight,), layout is not ALONG_OUTPUTS)


def _by_group(stored: _Stored, needs: tuple[int, ...]) -> Plan:
    stored.expect("int4")
    kernel = _kernel(stored)
    rows, columns = _codes(stored, needs, packed=1, grouped=0)
    sizes = _fill(_fill(kernel.sizes, kernel.summed, rows), kernel.kept, columns)
    shape = _resolve(stored, kernel, sizes)

    def compute(q: Array, scale: Array, zero: Array, groups: Array) -> Array:
        return spread(unpack(q, columns, 1), scale, zero, groups, 0).reshape(shape)

    return Plan(stored.class_name, "int4", (PlainWeight(shape, needs, compute),), False)


def _gptq(stored: _Stored, needs: tuple[int, ...]) -> Plan:
    """Also AWQ, whose inputs have scales of their own before the groups; both store the matrix transposed."""
    mode = "gptq" if len(needs) == 4 else "awq"
    stored.expect(mode)
    kernel = _kernel(stored)
    columns, rows = _codes(stored, (*needs[:3], needs[-1]), packed=0, grouped=1, mode=mode)
    bits = _bits(stored, mode, stored.shapes[needs[0]][0], columns)
    if mode == "awq" and stored.shapes[needs[3]] != (rows,):
        raise stored.refuse(f"as awq, their shapes disagree; {SAVE_AGAIN}")
    shape = _resolve(stored, kernel, _fill(kernel.sizes, range(len(kernel.sizes)), rows * columns))
    if rows not in accumulate(shape[:-1], mul):
        raise stored.refuse(f"a kernel of shape {shape} is no matrix of {rows} rows; {SAVE_AGAIN}")

    def compute(q: Array, scale: Array, zero: Array, *more: Array) -> Array:
        w = spread(unpack(q, columns, 0, bits), scale, zero, more[-1], 1)
        if mode == "awq":
            w /= _float32(more[0])
        return np.ascontiguousarray(w.T).reshape(shape)

    return Plan(stored.class_name, mode, (PlainWeight(shape, needs, compute),), False)


def _bits(stored: _Stored, mode: str, packed: int, columns: int) -> int:
    """How many bits of a byte a value takes: Keras packs 4, since 3.16 also 2, and never 3."""
    fits = {bits for bits in (8, 4, 2) if packed == -(-columns * bits // 8)}
    said = "4" if mode == "awq" else stored.policy.split("/")[1] if "/" in stored.policy else ""
    fits &= {"": {8, 4, 2}, "4": {4}, "2": {8, 2}}.get(said, {8})
    if not fits or len(fits) > 1 < columns:
        raise stored.refuse(f"as {said or '?'}-bit {mode}, their shapes disagree; {SAVE_AGAIN}")
    return max(fits)  # of one column, the single value of a byte has no neighbours


def _float8(stored: _Stored, needs: tuple[int, ...]) -> Plan | None:
    raise NotImplementedError


def _ternary(stored: _Stored, _: re.Match[str]) -> Plan:
    raise stored.refuse(f"ternary weights are not supported; {SAVE_AGAIN}")
