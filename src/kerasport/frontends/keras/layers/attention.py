"""Attention layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from kerasport.budget import reserve
from kerasport.errors import Refusal
from kerasport.frontends.keras.dialect import ASSUMED_DIALECT, Dialect
from kerasport.frontends.keras.layers.base import Count, Layer, Outputs, WeightMark, weight
from kerasport.frontends.keras.layers.traits import (
    COMPUTES,
    WEIGHS,
    WRAPS,
    MaskInput,
    MaskRule,
    Traits,
)
from kerasport.ir import ops
from kerasport.weights import Shape, Weight, axis_of

if TYPE_CHECKING:
    from kerasport.ir.ops.movement import Size
    from kerasport.ir.tensor import Tensor

FAR_BELOW = -1e9
"""A score whose softmax is 0, for masked positions.

Keras sometimes uses lower scores. The webgl backend of TF.js finds no maximum below -1e20, so it
would compute wrong weights for a fully masked row.
"""


def positions(size: Size) -> Tensor:
    """The integers 0 … size - 1: int32 [size]."""
    if not isinstance(size, int):
        return ops.Range(size)
    reserve(size)
    return ops.constant(np.arange(size))


def causal_mask(rows: Size, columns: Size) -> Tensor:
    """Causal mask, bool [rows, columns]: true where the column is not after the row."""
    return ops.greater_equal(
        ops.expand_dims(positions(rows), 1), ops.expand_dims(positions(columns), 0)
    )


def window_mask(rows: Size, columns: Size, width: int) -> Tensor:
    """Sliding-window mask, bool [rows, columns]: true where |row - column| < width."""
    apart = ops.sub(ops.expand_dims(positions(rows), 1), ops.expand_dims(positions(columns), 0))
    return ops.less(ops.Abs(apart), width)


def both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """The conjunction of two masks, each of which may be missing."""
    if a is None or b is None:
        return b if a is None else a
    return ops.logical_and(a, b)


def masked_softmax(scores: Tensor, mask: Tensor | None, *, zeroed: bool) -> Tensor:
    """Softmax over the unmasked scores: float32 [..., rows, columns].

    In a fully masked row all weights are equal, or 0 with `zeroed`.
    """
    if mask is None:
        return ops.Softmax(scores)
    if scores.rank <= 4:
        weights = ops.Softmax(ops.where(mask, scores, FAR_BELOW))
        return ops.where(mask, weights, 0.0) if zeroed else weights
    # not all targets support Select for rank 5 and more
    counts = ops.floats(mask)
    weights = ops.Softmax(scores * counts + (1.0 - counts) * FAR_BELOW)
    return weights * counts if zeroed else weights


# ------------------------------------------------------------------------------ without projections


class Attention(Layer):
    """softmax(scores) @ value, for the inputs [query, value] or [query, value, key].

    The query [..., rows, dim], the key [..., columns, dim] and the value [..., columns, dim_v] give
    float32 [..., rows, dim_v]. The scores [..., rows, columns] are query @ keyᵀ · scale, or
    concat_score_weight · Σ tanh(scale · (query + key)) with score_mode="concat".
    """

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=WRAPS,
        identity=COMPUTES,
        mask_input=MaskInput.ALL,
        counts_booleans=True,
    )

    use_scale: bool = False
    score_mode: Literal["dot", "concat"] = "dot"
    dropout: float = 0.0
    # an option before Keras 2.10, and an argument of the call since then
    causal: bool = False
    ignored = ("seed",)
    signature = ("inputs", "mask", "training", "return_attention_scores", "use_causal_mask")
    arity = (2, 3)
    takes = ("use_causal_mask", "return_attention_scores")

    scale: Weight | None = weight(when="use_scale")  # []
    concat_score_weight: Weight | None = weight()  # [], with score_mode="concat"

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """The weights without `concat_score_weight`, unless score_mode="concat"."""
        declared = super().declared_weights(config)
        concat = config.get("score_mode") == "concat"
        return {
            name: mark for name, mark in declared.items() if concat or name != "concat_score_weight"
        }

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        del inputs
        return {"scale": (), "concat_score_weight": ()}

    def infer(self, *inputs: Shape) -> Outputs:
        query, value = inputs[:2]
        return (*query[:-1], value[-1])

    def infer_call(self, arguments: Mapping[str, Any], *inputs: Shape) -> Outputs:
        output = self.infer(*inputs)
        scores = (*inputs[0][:-1], inputs[-1][-2])
        return (output, scores) if arguments.get("return_attention_scores") else output  # type: ignore[return-value]

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """The scores [..., rows, columns] of query [..., rows, dim], key [..., columns, dim]."""
        if self.score_mode == "dot":
            products: Tensor = ops.MatMul(query, key, transpose_b=True)
            return products if self.scale is None else products * self.scale
        sums = pairs(query, key)
        sums = sums if self.scale is None else sums * self.scale
        scores = ops.sum_(ops.Tanh(sums), -1)
        return scores if self.concat_score_weight is None else scores * self.concat_score_weight

    def lower(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        *,
        masks: Sequence[Tensor | None] = (),
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
    ) -> tuple[Tensor, ...]:
        query, value, key = (
            ops.floats(query),
            ops.floats(value),
            ops.floats(value if key is None else key),
        )
        query_mask, value_mask, *_ = (*masks, None, None)
        scores = self.scores(query, key)
        mask = None if value_mask is None else ops.expand_dims(ops.cast(value_mask, "bool"), -2)
        if use_causal_mask or self.causal:
            mask = both(mask, causal_mask(ops.dim(scores, -2), ops.dim(scores, -1)))
        if mask is not None:
            scores = ops.where(mask, scores, scores + FAR_BELOW)
        weights = ops.Softmax(scores)
        y: Tensor = ops.MatMul(weights, value)
        if query_mask is not None:
            y = ops.where(ops.expand_dims(ops.cast(query_mask, "bool"), -1), y, 0.0)
        return (y, weights) if return_attention_scores else (y,)


def pairs(query: Tensor, key: Tensor) -> Tensor:
    """query + key for each pair of a row and a column: [..., rows, columns, dim]."""
    return ops.expand_dims(query, -2) + ops.expand_dims(key, -3)


class AdditiveAttention(Attention):
    """Attention with the scores Σ scale · tanh(query + key)."""

    use_scale: bool = True

    scale: Weight | None = weight(when="use_scale")  # [dim]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        return {"scale": (inputs[0][-1],)}

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        activated = ops.Tanh(pairs(query, key))
        return ops.sum_(activated if self.scale is None else activated * self.scale, -1)


# -------------------------------------------------------------------------------- with projections


class _Heads(Layer):
    """Attention with several heads, with projections of the inputs and of the output.

    The query [batch, ..., dim_q], the value [batch, ..., dim_v] and the key give float32
    [batch, ..., output], and with `return_attention_scores` the weights of all heads too.
    """

    use_bias: bool = True
    use_gate: bool = False
    dropout: float = 0.0
    sliding_window: Count | None = None
    ignored: ClassVar[tuple[str, ...]] = ("seed", "flash_attention")
    tensors = ("query", "value", "key")
    arity = (2, 3)
    signature = (
        *("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask"),
        *("return_attention_scores", "training", "use_causal_mask"),
    )
    takes = ("attention_mask", "return_attention_scores", "use_causal_mask")

    query_kernel: Weight = weight()  # [input, heads, size]
    query_bias: Weight | None = weight(when="use_bias")  # [heads, size]
    key_kernel: Weight = weight()
    key_bias: Weight | None = weight(when="use_bias")
    value_kernel: Weight = weight()
    value_bias: Weight | None = weight(when="use_bias")
    gate_kernel: Weight | None = weight(when="use_gate")
    gate_bias: Weight | None = weight(when="use_gate")
    output_kernel: Weight = weight()  # [heads, size, *output]
    output_bias: Weight | None = weight(when="use_bias")  # [*output]

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """The weights, without `gate_bias` unless `use_bias` is true."""
        biased = config.get("use_bias", True)
        return {
            name: mark
            for name, mark in super().declared_weights(config).items()
            if biased or name != "gate_bias"
        }

    def sizes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(number of heads, size of a head) for the queries, for the keys, and for the values."""
        raise NotImplementedError

    def output_sizes(self, query: Shape) -> Shape:
        """Sizes of the axes of the output that replace the last axis of the query."""
        return query[-1:]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        unknown: Shape = (None,)
        query, value = inputs[0], inputs[1] if len(inputs) > 1 else unknown
        key = inputs[2] if len(inputs) > 2 else value
        of_query, of_key, of_value = self.sizes()
        heads = (of_query[0], of_value[1])
        shapes = {
            "query": (query[-1], *of_query),
            "key": (key[-1], *of_key),
            "value": (value[-1], *of_value),
            "gate": (query[-1], *heads),
            "output": (*heads, *self.output_sizes(query)),
        }
        kernels = {f"{part}_kernel": shape for part, shape in shapes.items()}
        return kernels | {
            f"{part}_bias": shape[1 if part != "output" else 2 :] for part, shape in shapes.items()
        }

    def infer(self, *inputs: Shape) -> Outputs:
        return (*inputs[0][:-1], *self.output_sizes(inputs[0]))

    def infer_call(self, arguments: Mapping[str, Any], *inputs: Shape) -> Outputs:
        output = self.infer(*inputs)
        if not arguments.get("return_attention_scores") or len(inputs) < 2:
            return output
        return output, self.scores_shape(inputs[0], inputs[1])  # type: ignore[return-value]

    def scores_shape(self, query: Shape, value: Shape) -> Shape:
        """Shape of the attention weights that the call returns."""
        raise NotImplementedError

    def axes(self, rank: int) -> tuple[int, ...]:
        """The attention axes of a query of this rank."""
        del rank
        return (1,)

    def weights_of(
        self, scores: Tensor, mask: Tensor | None, *, returned: bool, uniform: bool
    ) -> Tensor:
        """Softmax of the scores: float32 [..., rows, columns].

        Keras has two implementations. In a fully masked row, one returns equal weights and the
        other returns 0. With `uniform` both return equal weights.
        """
        return masked_softmax(scores, mask, zeroed=not uniform and (self.dropout > 0 or returned))

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **how: bool
    ) -> tuple[Tensor, Tensor]:
        """The output [batch, ..., heads, size] of each head, and its weights.

        Args:
            q: queries, float32 [batch, ..., heads, size].
            k: keys, float32 [batch, ..., heads, size].
            v: values, float32 [batch, ..., heads, size].
            mask: bool, true where a row attends to a column; None without a mask.
            how: arguments of `weights_of`.
        """
        raise NotImplementedError

    def lower(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        *,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        dialect: Dialect = ASSUMED_DIALECT,
    ) -> tuple[Tensor, ...]:
        query, value, key = (
            ops.floats(query),
            ops.floats(value),
            ops.floats(value if key is None else key),
        )
        mask: Tensor | None = None
        for part, axis in ((query_mask, -1), (value_mask, -2), (key_mask, -2)):
            mask = both(
                mask, None if part is None else ops.expand_dims(ops.cast(part, "bool"), axis)
            )
        # Keras takes rows and columns from axis 1, also for other attention axes
        rows, columns = ops.dim(query, 1), ops.dim(value, 1)
        if use_causal_mask:
            mask = both(mask, ops.expand_dims(causal_mask(rows, columns), 0))
        if self.sliding_window is not None:
            mask = both(mask, ops.expand_dims(window_mask(rows, columns, self.sliding_window), 0))
        mask = both(mask, self._attention_mask(attention_mask, mask))
        q = projected(query, self.query_kernel, self.query_bias) * self.sizes()[0][1] ** -0.5
        k = projected(key, self.key_kernel, self.key_bias)
        v = projected(value, self.value_kernel, self.value_bias)
        y, scores = self.attend(
            q,
            k,
            v,
            mask,
            returned=return_attention_scores,
            uniform=dialect.masked_softmax_is_uniform,
        )
        if self.gate_kernel is not None:
            y = y * ops.Sigmoid(projected(query, self.gate_kernel, self.gate_bias))
        y = self._joined(y, query)
        return (y, scores) if return_attention_scores else (y,)

    @staticmethod
    def _attention_mask(argument: Any, mask: Tensor | None) -> Tensor | None:
        """The call argument `attention_mask` as a bool tensor; `mask` is that of the inputs."""
        if argument is None:
            return None
        attention_mask = ops.as_tensor(argument)
        if mask is not None and attention_mask.rank > mask.rank and mask.shape[0] != 1:
            reason = (
                "Keras broadcasts a mask per head and the masks of the inputs along the wrong axes"
            )
            raise Refusal("attention_mask", reason)
        return ops.cast(attention_mask, "bool")

    def _joined(self, y: Tensor, query: Tensor) -> Tensor:
        """y @ output_kernel + output_bias over heads and sizes: [batch, ..., output]."""
        kernel = ops.as_tensor(self.output_kernel)
        heads, size, *output = ops.known(kernel.shape)
        flat = ops.reshape(y, (*ops.dims(query)[:-1], heads * size)) @ ops.reshape(
            kernel, (heads * size, prod(output))
        )
        if self.output_bias is not None:
            flat = flat + ops.reshape(ops.as_tensor(self.output_bias), (prod(output),))
        return ops.reshape(flat, (*ops.dims(query)[:-1], *output))


def projected(x: Tensor, kernel: Weight, bias: Weight | None) -> Tensor:
    """x @ kernel + bias for each head: x [..., input] to float32 [..., heads, size]."""
    matrix = ops.as_tensor(kernel)
    depth, heads, size = ops.known(matrix.shape)
    y = x @ ops.reshape(matrix, (depth, heads * size))
    y = y if bias is None else y + ops.reshape(ops.as_tensor(bias), (heads * size,))
    return ops.reshape(y, (*ops.dims(x)[:-1], heads, size))


class MultiHeadAttention(_Heads):
    """softmax(query @ keyᵀ / √key_dim) @ value for each head, over any axes, with projections.

    The query [batch, rows, dim_q] and the value [batch, columns, dim_v] give float32
    [batch, rows, output], and the weights [batch, heads, rows, columns] if the call returns them.
    """

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=WEIGHS,
        identity=COMPUTES,
        mask_input=MaskInput.NAMED,
        overruled_masks=("query_mask",),
        removes_masks=True,
        dialect=True,
    )

    num_heads: Count
    key_dim: Count
    value_dim: Count | None = None
    output_shape: Count | tuple[Count, ...] | None = None
    attention_axes: int | tuple[int, ...] | None = None
    # Keras 2 writes the shapes
    ignored = (*_Heads.ignored, "query_shape", "key_shape", "value_shape")

    def sizes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        keys, values = (
            (self.num_heads, self.key_dim),
            (self.num_heads, self.value_dim or self.key_dim),
        )
        return keys, keys, values

    def output_sizes(self, query: Shape) -> Shape:
        if not self.output_shape:
            return query[-1:]
        return self.output_shape if isinstance(self.output_shape, tuple) else (self.output_shape,)

    def axes(self, rank: int) -> tuple[int, ...]:
        if self.attention_axes is None:
            return tuple(range(1, rank - 1))
        axes = (
            self.attention_axes
            if isinstance(self.attention_axes, tuple)
            else (self.attention_axes,)
        )
        return tuple(axis_of(axis, rank) for axis in axes)

    def scores_shape(self, query: Shape, value: Shape) -> Shape:
        axes = self.axes(len(query))
        front = tuple(d for axis, d in enumerate(query[:-1]) if axis not in axes)
        return (
            *front,
            self.num_heads,
            *(query[axis] for axis in axes),
            *(value[axis] for axis in axes),
        )

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **how: bool
    ) -> tuple[Tensor, Tensor]:
        """Attend in shape [*front, rows, size].

        The attention axes become the rows. The other axes and the heads are in front.
        """
        axes = self.axes(q.rank - 1)
        front = [axis for axis in range(q.rank - 1) if axis not in axes]
        order = (*front, *axes, q.rank - 1)
        sizes = [ops.dim(q, axis) for axis in front]
        rows = [ops.dim(q, axis) for axis in axes]
        columns = [ops.dim(k, axis) for axis in axes]

        def flat(x: Tensor) -> Tensor:
            moved = ops.transpose(x, order)
            if len(axes) == 1:
                return moved
            before = ops.dims(moved)[: len(front)]
            attended = product([x.shape[axis] for axis in axes])
            return ops.reshape(moved, (*before, attended, x.shape[-1]))

        scores = ops.MatMul(flat(q), flat(k), transpose_b=True)
        spread = None if mask is None else self._spread(mask, len(front), rows, columns)
        # Keras has a separate implementation for queries of rank 3
        rank_3 = q.rank == 4
        weights = self.weights_of(
            scores, spread, **{**how, "returned": how["returned"] or not rank_3}
        )
        y = ops.reshape(ops.MatMul(weights, flat(v)), (*sizes, *rows, v.shape[-1]))
        y = ops.transpose(y, [order.index(axis) for axis in range(q.rank)])
        return y, ops.reshape(weights, (*sizes, *rows, *columns)) if how["returned"] else weights

    @staticmethod
    def _spread(mask: Tensor, front: int, rows: Sequence[Size], columns: Sequence[Size]) -> Tensor:
        """A mask that broadcasts to scores [*front, rows, columns].

        Keras inserts the axes that the mask lacks before its attention axes.
        """
        attended = (*rows, *columns)
        if mask.rank < len(attended):
            reason = f"a mask of rank {mask.rank} is ambiguous for {len(attended)} attention axes"
            raise Refusal("attention_axes", reason)
        wanted = front + len(attended)
        if mask.rank < wanted:
            first = mask.rank - len(attended)
            mask = ops.expand_dims(mask, *range(first, first + wanted - mask.rank))
        if len(rows) == 1:
            return mask
        known = [
            tuple(size if isinstance(size, int) else None for size in rows),
            tuple(size if isinstance(size, int) else None for size in columns),
        ]
        joined = list(map(product, known))
        if -1 in joined:
            raise Refusal(
                "attention_axes",
                "a mask over several axes is supported only if their sizes are fixed",
            )
        before = ops.dims(mask)[:front]
        if mask.shape[front:] != attended:
            mask = ops.cast(ops.floats(mask) * ops.Fill((*(1,) * front, *attended), 1.0), "bool")
        return ops.reshape(mask, (*before, *joined))


def product(sizes: Shape | list[int | None]) -> int:
    """The product of sizes, -1 if one is unknown."""
    return -1 if None in sizes else prod(size for size in sizes if size is not None)


class GroupQueryAttention(_Heads):
    """softmax(query @ keyᵀ / √head_dim) @ value for each head; groups of heads share key and value.

    The query [batch, rows, dim_q] and the value [batch, columns, dim_v] give float32
    [batch, rows, dim_q], and the weights [batch, heads, rows, columns] if the call returns them.
    """

    traits = Traits(
        mask=MaskRule.PASSES,
        integers=WEIGHS,
        identity=COMPUTES,
        mask_input=MaskInput.NAMED,
        dialect=True,
    )

    head_dim: Count
    num_query_heads: Count
    num_key_value_heads: Count

    def sizes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        shared = (self.num_key_value_heads, self.head_dim)
        return (self.num_query_heads, self.head_dim), shared, shared

    def scores_shape(self, query: Shape, value: Shape) -> Shape:
        return (query[0], self.num_query_heads, query[1], value[1])

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **how: bool
    ) -> tuple[Tensor, Tensor]:
        """Attend with the rows of all heads that share a key in one matrix."""
        batch, rows, heads, size = ops.dims(q)
        columns, groups = ops.dim(k, 1), self.num_key_value_heads
        together = (
            heads // groups * rows if isinstance(rows, int) and isinstance(heads, int) else -1
        )
        q = ops.reshape(ops.transpose(q, (0, 2, 1, 3)), (batch, groups, together, size))
        k, v = ops.transpose(k, (0, 2, 1, 3)), ops.transpose(v, (0, 2, 1, 3))
        scores = ops.reshape(ops.MatMul(q, k, transpose_b=True), (batch, heads, rows, columns))
        if mask is not None and mask.rank == 3:
            mask = ops.expand_dims(mask, 1)
        weights = self.weights_of(scores, mask, **how)
        y = ops.MatMul(ops.reshape(weights, (batch, groups, together, columns)), v)
        return ops.transpose(ops.reshape(y, (batch, heads, rows, size)), (0, 2, 1, 3)), weights


class GroupedQueryAttention(GroupQueryAttention):
    """The name of `GroupQueryAttention` in whole-model HDF5 files."""
