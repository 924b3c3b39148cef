"""Preprocessing layers that compute something at inference. The others are in `augmentation`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from kerasport.budget import matrix, reserve
from kerasport.errors import Refusal, ShapeError
from kerasport.frontends.keras.layers.base import (
    Count,
    DataFormat,
    Inside,
    InsideShapes,
    Layer,
    Natural,
    Numbers,
    Padding,
    Refused,
    WeightMark,
    Wrapper,
    need_rank,
    weight,
)
from kerasport.frontends.keras.layers.conv import convolve, window_output
from kerasport.frontends.keras.layers.resampling import (
    Interpolation,
    center_regions,
    corner_regions,
    images,
    is_open,
    known_sizes,
    proportioned,
    resize,
    resize_open,
    resize_to_aspect,
)
from kerasport.frontends.keras.layers.traits import (
    AUGMENTS,
    COMPUTES,
    INDEXES,
    LOOKS_UP,
    RESAMPLES,
    WEIGHS,
    WRAPS,
    MaskInput,
    MaskRule,
    Traits,
)
from kerasport.ir import ops
from kerasport.weights import Array, Shape, Weight, axis_of

if TYPE_CHECKING:
    from kerasport.ir.tensor import Tensor


class Rescaling(Layer):
    """x · scale + offset, float32; scale and offset broadcast to x."""

    traits = Traits(mask=MaskRule.PASSES, integers=WEIGHS, identity=COMPUTES)

    scale: Numbers
    offset: Numbers = 0.0

    def lower(self, x: Tensor) -> Tensor:
        scale, offset = (
            ops.constant(np.asarray(value, np.float32)) for value in (self.scale, self.offset)
        )
        return ops.floats(x) * scale + offset


class Normalization(Layer):
    """(x - mean) / max(√variance, 1e-7) along `axis`, or its inverse; float32."""

    traits = Traits(mask=MaskRule.PASSES, integers=WEIGHS, identity=COMPUTES)

    axis: int | tuple[int, ...] | None = -1
    mean: Numbers | None = None
    variance: Numbers | None = None
    invert: bool = False
    ignored = ("input_mean", "input_variance")

    # mean and variance have the sizes of the axes, in order
    adapted_mean: Weight | None = weight(trainable=False)
    adapted_variance: Weight | None = weight(trainable=False)
    # the number of values that it was adapted to
    count: Weight | None = weight(trainable=False)

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """No weights if the config contains mean and variance."""
        return {} if config.get("mean") is not None else super().declared_weights(config)

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes along which the mean varies, as non-negative numbers, in order."""
        if self.axis is None:
            return ()
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        return tuple(sorted(axis_of(axis, rank) for axis in axes))

    def infer(self, *inputs: Shape) -> Shape:
        if self.adapted_mean is None and (self.mean is None or self.variance is None):
            raise ShapeError("it has only one of mean and variance")
        return inputs[0]

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        if self.adapted_mean is None:
            return {}
        sizes = tuple(inputs[0][axis] for axis in self.axes(len(inputs[0])))
        return {"adapted_mean": sizes, "adapted_variance": sizes, "count": ()}

    def lower(self, x: Tensor) -> Tensor:
        mean = self._spread(x, self.mean if self.adapted_mean is None else self.adapted_mean)
        variance = self._spread(
            x, self.variance if self.adapted_variance is None else self.adapted_variance
        )
        deviation = ops.maximum(ops.Sqrt(variance), 1e-7)
        if self.invert:
            return ops.floats(x) * deviation + mean
        return (ops.floats(x) - mean) / deviation

    def _spread(self, x: Tensor, moment: Any) -> Tensor:
        """A mean or variance as float32 that broadcasts to x.

        Its axes are the last of the kept axes of x. All others get size 1.
        """
        array = np.asarray(moment, np.float32) if isinstance(moment, tuple) else moment
        value = ops.floats(ops.as_tensor(array))
        if not value.rank:
            return value
        kept, sizes = self.axes(x.rank), [1] * x.rank
        if value.rank > len(kept):
            raise ShapeError(
                f"mean and variance of shape {value.shape} do not fit the axes {self.axis}"
            )
        for axis, size in zip(reversed(kept), reversed(ops.known(value.shape)), strict=False):
            sizes[axis] = size
        return ops.reshape(value, sizes)


# -------------------------------------------------------------------------------------- categories


def encode(indices: Tensor, mode: str, depth: int, weights: Tensor | None = None) -> Tensor:
    """Encode indices: int32 [..., n].

    The mode "int" returns the indices, and "one_hot" returns float32 [..., n, depth]. "multi_hot"
    and "count" return float32 [..., depth], one row for each sample. `weights` [..., n] are summed
    instead of counts.
    """
    if mode == "int":
        return indices
    if mode == "one_hot":
        single = (
            ops.squeeze(indices, -1) if indices.rank > 1 and indices.shape[-1] == 1 else indices
        )
        return ops.OneHot(single, depth)
    samples = 1 if indices.rank > 1 else 0
    hot = ops.OneHot(indices, depth)
    if mode == "multi_hot":
        return ops.max_(hot, samples)
    return ops.sum_(
        hot if weights is None else hot * ops.expand_dims(ops.floats(weights), weights.rank),
        samples,
    )


def encoded(shape: Shape, mode: str, depth: int) -> Shape:
    """The shape of the result of `encode`."""
    if mode == "int":
        return shape
    if mode == "one_hot":
        return (*(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape), depth)
    return (*shape[:1], *shape[2:], depth) if len(shape) > 1 else (depth,)


class Discretization(Layer):
    """The index of the bucket of x: the number of boundaries ≤ x, encoded as by `encode`."""

    traits = Traits(mask=MaskRule.STOPS, integers=INDEXES, identity=COMPUTES, integer_dtype=True)

    bin_boundaries: tuple[float, ...]
    output_mode: Literal["int", "one_hot", "multi_hot", "count"] = "int"
    sparse: Literal[False] = False
    # options for computing the boundaries
    ignored = ("num_bins", "epsilon")

    def infer(self, *inputs: Shape) -> Shape:
        return encoded(inputs[0], self.output_mode, len(self.bin_boundaries) + 1)

    def lower(self, x: Tensor) -> Tensor:
        bounds = ops.constant(np.asarray(self.bin_boundaries, np.float32))
        # not(bound > x) instead of bound ≤ x: NaN is in the last bucket, as in Keras
        below = ops.LogicalNot(ops.greater(bounds, ops.expand_dims(ops.floats(x), x.rank)))
        return encode(
            ops.sum_(ops.cast(below, "int32"), -1), self.output_mode, len(self.bin_boundaries) + 1
        )


class CategoryEncoding(Layer):
    """One-hot, multi-hot or count encoding of integer indices, float32; see `encode`."""

    traits = Traits(mask=MaskRule.STOPS, integers=WEIGHS, identity=COMPUTES, integer_dtype=True)

    num_tokens: Count
    output_mode: Literal["one_hot", "multi_hot", "count"] = "multi_hot"
    sparse: Literal[False] = False
    signature = ("inputs", "count_weights")
    takes = ("count_weights",)

    def infer(self, *inputs: Shape) -> Shape:
        return encoded(inputs[0], self.output_mode, self.num_tokens)

    def lower(self, x: Tensor, *, count_weights: Tensor | None = None) -> Tensor:
        if count_weights is not None and self.output_mode != "count":
            raise Refusal("output_mode", 'count_weights is supported only with output_mode="count"')
        indices = ops.cast(ops.expand_dims(x, 0) if not x.rank else x, "int32")
        return encode(indices, self.output_mode, self.num_tokens, count_weights)


EXACT = 2**24
"""First integer that TF.js's GPU backends, which store integers as float32, confuse with others."""
TABLE = 2**20
"""Largest range of integers for which a table contains an index for each of them."""
COMPARED = 4096
"""Largest number of tokens that are compared with each value if the range is larger."""


class _Vocabulary(Layer):
    """The index of each value of x in a vocabulary, or with `invert` the token at each index.

    The first indices belong to the mask token and to unknown tokens. Indices are int32, encoded as
    by `encode`.
    """

    vocabulary: Any
    num_oov_indices: Natural = 1
    mask_token: Any
    oov_token: Any
    invert: bool = False
    output_mode: Literal["int", "one_hot", "multi_hot", "count"] = "int"
    sparse: Literal[False] = False
    pad_to_max_tokens: bool = False
    max_tokens: Count | None = None
    ignored: ClassVar[tuple[str, ...]] = (
        "vocabulary_dtype",
        "vocabulary_size",
        "has_input_vocabulary",
    )

    @property
    def mask_indices(self) -> int:
        """The number of indices for the mask token, which precede those of unknown tokens."""
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def tokens(self) -> tuple[Any, ...]:
        """The vocabulary without the mask token and the tokens for unknown values.

        Raises:
            Refusal: the file does not contain it, or it contains a token twice.
        """
        if not self.vocabulary:
            remedy = "pass the vocabulary to the layer, or call adapt() and save a .keras file"
            raise Refusal("vocabulary", "the file does not contain the vocabulary", remedy)
        special = (self.mask_token,) * self.mask_indices + (self.oov_token,) * self.num_oov_indices
        found = self.vocabulary[: len(special)] == special
        tokens: tuple[Any, ...] = self.vocabulary[len(special) :] if found else self.vocabulary
        if len(set(tokens)) < len(tokens):
            raise Refusal("vocabulary", "the vocabulary contains a token twice")
        return tokens

    @property
    def start(self) -> int:
        """The index of the first token."""
        return self.mask_indices + self.num_oov_indices

    def depth(self) -> int:
        """The number of indices."""
        whole = self.start + len(self.tokens)
        return max(self.max_tokens or 0, whole) if self.pad_to_max_tokens else whole

    def infer(self, *inputs: Shape) -> Shape:
        return (
            inputs[0]
            if self.output_mode == "int"
            else encoded(inputs[0], self.output_mode, self.depth())
        )


class IntegerLookup(_Vocabulary):
    """The index of an integer in a vocabulary, or the integer at an index; see `_Vocabulary`."""

    traits = Traits(mask=MaskRule.STOPS, integers=INDEXES, identity=COMPUTES, integer_dtype=True)

    vocabulary: tuple[int, ...] | None = None
    mask_token: int | None = None
    oov_token: int = -1
    oov_method: Literal["floormod"] = "floormod"

    @property
    def tokens(self) -> tuple[int, ...]:
        tokens = super().tokens
        if any(abs(token) >= EXACT for token in tokens):
            raise Refusal(
                "vocabulary", "on GPUs, converted models cannot tell integers of 2^24 or more apart"
            )
        return tokens

    def lower(self, x: Tensor) -> Tensor:
        ids = ops.cast(x, "int32")
        if self.invert:
            return self._token(ids)
        index, known = self._index(ids)
        unknown: Tensor = ops.constant(self.mask_indices, "int32")
        if self.num_oov_indices > 1:
            unknown = ops.Mod(*ops.matched(ids, self.num_oov_indices)) + self.mask_indices
        elif not self.num_oov_indices:
            # Keras raises an error here
            unknown = ops.constant(-1, "int32")
        found = ops.where(known, index, unknown)
        if self.mask_token is not None:
            # the other modes ignore masked tokens
            found = ops.where(
                ops.equal(ids, self.mask_token), 0 if self.output_mode == "int" else -1, found
            )
        return encode(found, self.output_mode, self.depth())

    def _token(self, ids: Tensor) -> Tensor:
        tokens = np.asarray(self.tokens, np.int32)
        inside = ops.logical_and(
            ops.greater_equal(ids, self.start), ops.less(ids, self.start + len(tokens))
        )
        places = ops.maximum(ops.minimum(ids - self.start, len(tokens) - 1), 0)
        found = ops.where(inside, ops.gather(ops.constant(tokens), places), self.oov_token)
        return (
            found
            if self.mask_token is None
            else ops.where(ops.equal(ids, 0), self.mask_token, found)
        )

    def _index(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The index of each integer, and whether the vocabulary contains it: int32 and bool."""
        tokens = np.asarray(self.tokens, np.int32)
        low, high = int(tokens.min()), int(tokens.max())
        if high - low < TABLE:
            table = np.full(high - low + 1, -1, np.int32)
            table[tokens - low] = np.arange(len(tokens)) + self.start
            inside = ops.logical_and(ops.greater_equal(ids, low), ops.less_equal(ids, high))
            offsets = ops.maximum(ops.minimum(ids, high), low) - low
            index = ops.gather(ops.constant(table), offsets)
            return index, ops.logical_and(inside, ops.greater_equal(index, 0))
        if len(tokens) > COMPARED:
            raise Refusal(
                "vocabulary",
                f"more than {COMPARED} tokens are spread too widely for a lookup table",
            )
        same = ops.equal(ops.expand_dims(ids, ids.rank), ops.constant(tokens))
        indices = ops.constant(np.arange(len(tokens), dtype=np.int32) + self.start)
        return ops.sum_(ops.mul(ops.cast(same, "int32"), indices), -1), ops.any_(same, -1)


class StringLookup(_Vocabulary):
    """The index of a string in a vocabulary, or the string at an index; see `_Vocabulary`."""

    traits = Traits(mask=MaskRule.STOPS, integers=LOOKS_UP, identity=COMPUTES, integer_dtype=True)

    vocabulary: tuple[str, ...] | None = None
    mask_token: str | None = None
    oov_token: str = "[UNK]"  # noqa: S105  (not a password)
    encoding: Literal["utf-8"] = "utf-8"
    # oov_method has an effect on integers only
    ignored = (*_Vocabulary.ignored, "oov_method")

    def lower(self, x: Tensor) -> Tensor:
        indices = tuple(range(self.start, self.start + len(self.tokens)))
        masked = () if self.mask_token is None else (self.mask_token,)
        if self.invert:
            return ops.Lookup(
                x, (*indices, *(0 for _ in masked)), (*self.tokens, *masked), self.oov_token
            )
        if self.num_oov_indices > 1:
            reason = (
                "with several OOV indices Keras hashes unknown strings, which converted models "
                "cannot do"
            )
            raise Refusal("num_oov_indices", reason, "set num_oov_indices=1")
        # the other modes ignore masked tokens
        of_mask = tuple(0 if self.output_mode == "int" else -1 for _ in masked)
        # Keras raises an error if there is no index for unknown tokens
        unknown = self.mask_indices if self.num_oov_indices else -1
        found = ops.Lookup(x, (*self.tokens, *masked), (*indices, *of_mask), unknown)
        return encode(found, self.output_mode, self.depth())


class TextVectorization(Refused):
    """The index of each word of a text in a vocabulary."""

    traits = Traits(mask=MaskRule.STOPS, integers=LOOKS_UP, identity=COMPUTES, integer_dtype=True)

    reason = "it splits text into words with TensorFlow's own rules, which no target supports"
    remedy = (
        "split the text before the model: save the part of the model after this layer, which "
        "takes the indices of the words"
    )


class _Hash(Refused):
    traits = Traits(mask=MaskRule.STOPS, integers=INDEXES, identity=COMPUTES, integer_dtype=True)

    reason = "it hashes strings, which no target supports on all backends"
    remedy = (
        "hash the strings before the model: save the part of the model after this layer, which "
        "takes the bucket numbers"
    )


class Hashing(_Hash):
    """The hash of a string or number, modulo the number of buckets."""


class HashedCrossing(_Hash):
    """The hash of the combination of several inputs, modulo the number of buckets."""


# ------------------------------------------------------------------------------------------ images


class _Image(Layer):
    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES, images=True)
    # BaseImagePreprocessingLayer.call
    signature = ("data", "training")
    tensors = ("data",)

    data_format: DataFormat = "channels_last"
    ignored = ("bounding_box_format", "factor", "seed")

    def resized(self, shape: Shape, height: int, width: int) -> Shape:
        """The shape of resized images: `shape` with another height and width."""
        need_rank(shape, 3, 4)
        *front, channels = (
            shape if self.data_format == "channels_last" else (*shape[:-3], *shape[-2:], shape[-3])
        )
        batch = front[:-2]
        return (
            (*batch, height, width, channels)
            if self.data_format == "channels_last"
            else (*batch, channels, height, width)
        )


class Resizing(_Image):
    """Resize images [batch, height, width, channels], or a single one, in the dtype of x.

    With `crop_to_aspect_ratio` or `pad_to_aspect_ratio` they are cropped or padded first.
    """

    traits = replace(_Image.traits, integers=RESAMPLES)

    height: Count
    width: Count
    interpolation: Interpolation = "bilinear"
    antialias: bool = False
    crop_to_aspect_ratio: bool = False
    pad_to_aspect_ratio: bool = False
    fill_mode: Literal["constant"] = "constant"
    fill_value: float = 0.0

    def infer(self, *inputs: Shape) -> Shape:
        return self.resized(inputs[0], self.height, self.width)

    def lower(self, x: Tensor) -> Tensor:
        return images(self._resized, x, data_format=self.data_format)

    def _resized(self, x: Tensor) -> Tensor:
        size = (self.height, self.width)
        return resize_to_aspect(
            ops.floats(x),
            size,
            self.interpolation,
            antialias=self.antialias,
            crop=self.crop_to_aspect_ratio,
            pad=self.pad_to_aspect_ratio,
            fill=self.fill_value,
            dtype=x.dtype,
        )


class CenterCrop(_Image):
    """The center of images [batch, height, width, channels], or of a single one: float32.

    Smaller images are cropped to the aspect ratio of the result, and enlarged.
    """

    traits = replace(_Image.traits, integers=WEIGHS)

    height: Count
    width: Count

    def infer(self, *inputs: Shape) -> Shape:
        return self.resized(inputs[0], self.height, self.width)

    def lower(self, x: Tensor) -> Tensor:
        return images(self._cropped, ops.floats(x), data_format=self.data_format)

    def _cropped(self, x: Tensor) -> Tensor:
        size = (self.height, self.width)
        if is_open(x):
            return resize_open(x, size, "bilinear", regions=center_regions(x, size))
        height, width = known_sizes(x, "height")
        if height < self.height or width < self.width:
            return resize_to_aspect(x, size, "bilinear", crop=True)
        y = ops.slice_axis(x, 1, (height - self.height) // 2, self.height)
        return ops.slice_axis(y, 2, (width - self.width) // 2, self.width)


class RandomCrop(_Image):
    """The crop of Keras before 3.8 at inference. Since 3.8 the layer returns images unchanged.

    Before 3.6 it resizes the largest centered crop with the aspect ratio of the result. In 3.6 and
    3.7 it crops the target size from the corner of that crop. It resizes images that are too small.
    """

    traits = replace(_Image.traits, identity=AUGMENTS, acts_in_training=True)

    height: Count
    width: Count
    at_inference: Literal["smart_resize", "corner_crop"]

    def infer(self, *inputs: Shape) -> Shape:
        return self.resized(inputs[0], self.height, self.width)

    def lower(self, x: Tensor) -> Tensor:
        return images(self._cropped, ops.floats(x), data_format=self.data_format)

    def _cropped(self, x: Tensor) -> Tensor:
        size = (self.height, self.width)
        if self.at_inference == "smart_resize":
            return resize_to_aspect(x, size, "bilinear", crop=True)
        if is_open(x):
            return resize_open(x, size, "bilinear", regions=corner_regions(x, size))
        height, width = known_sizes(x, "height")
        tall, wide = proportioned(height, width, size)
        above, left = (height - tall) // 2, (width - wide) // 2
        y = ops.slice_axis(x, 1, above, min(self.height, height - above))
        return resize(ops.slice_axis(y, 2, left, min(self.width, width - left)), size, "bilinear")


class AutoContrast(_Image):
    """Stretch each channel of each image to the value range: float32, in the shape of x."""

    value_range: tuple[float, float] = (0, 255)

    def lower(self, x: Tensor) -> Tensor:
        y = ops.floats(x)
        low, high = ops.min_(y, (1, 2), keepdims=True), ops.max_(y, (1, 2), keepdims=True)
        least, most = self.value_range
        even = ops.equal(low, high)
        stretched = (y - low) / ops.where(even, 1.0, high - low) * float(most - least) + float(
            least
        )
        return ops.where(even, y, ops.clip(stretched, least, most))


BINS = 256


class ContrastLimitedAdaptiveHistogramEqualization(_Image):
    """Equalize each pixel by the histograms of the four nearest tiles (CLAHE).

    The result has the shape and dtype of x [batch, height, width, channels].
    """

    value_range: tuple[float, float] = (0, 255)
    clip_limit: float = 4.0
    tile_grid_size: tuple[Count, Count] = (8, 8)

    def lower(self, x: Tensor) -> Tensor:
        y = images(
            self._equalized,
            scaled(ops.floats(x), self.value_range, (0, 255)),
            data_format=self.data_format,
        )
        return ops.cast(scaled(y, (0, 255), self.value_range), x.dtype)

    def _equalized(self, x: Tensor) -> Tensor:
        (height, width), channels = known_sizes(x, "tile_grid_size"), ops.known(x.shape[3:])[0]
        rows, columns = self.tile_grid_size
        tall, wide = -(-height // rows), -(-width // columns)
        below, right = tall * rows - height, wide * columns - width
        if below > height or right > width:
            raise Refusal("tile_grid_size", "the images are too small for this tile_grid_size")
        padded = ops.pad(x, ((0, 0), (0, below), (0, right), (0, 0)), "symmetric")
        pixels = ops.cast(ops.clip(padded, 0.0, 255.0), "int32")
        table = self._tables(pixels, tall, wide, channels)
        y = self._between(pixels, table, tall, wide, channels)
        return ops.slice_axis(ops.slice_axis(y, 1, 0, height), 2, 0, width)

    def _tables(self, pixels: Tensor, tall: int, wide: int, channels: int) -> Tensor:
        """The lookup table of each tile: float32 [batch, rows + 2, columns + 2, channels, 256]."""
        (rows, columns), batch = self.tile_grid_size, ops.dim(pixels, 0)
        tiles = ops.transpose(
            ops.reshape(pixels, (batch, rows, tall, columns, wide, channels)), (0, 1, 3, 5, 2, 4)
        )
        count = tall * wide
        histogram = ops.sum_(ops.OneHot(ops.reshape(tiles, (-1, count)), BINS), 1)
        if self.clip_limit > 0:
            clipped = ops.minimum(histogram, self.clip_limit * count / BINS)
            histogram = clipped + ops.sum_(histogram - clipped, -1, keepdims=True) / BINS
        running = ops.Cumsum(histogram, 1)
        least = ops.min_(running, -1, keepdims=True)
        whole = count - least
        shares = (running - least) * 255.0 / ops.where(ops.equal(whole, 0.0), 1.0, whole)
        table = ops.reshape(ops.clip(shares, 0.0, 255.0), (batch, rows, columns, channels, BINS))
        for axis, size in ((1, rows), (2, columns)):
            around = [
                ops.slice_axis(table, axis, 0, 1),
                table,
                ops.slice_axis(table, axis, size - 1, 1),
            ]
            table = ops.concat(around, axis)
        return table

    def _between(
        self, pixels: Tensor, table: Tensor, tall: int, wide: int, channels: int
    ) -> Tensor:
        """Interpolate between the values of a pixel in the tables of the four tiles around it."""
        (rows, columns), batch = self.tile_grid_size, ops.dim(pixels, 0)
        (top, bottom, down), (left, right, across) = (
            neighbors(rows, tall),
            neighbors(columns, wide),
        )
        per_column = BINS * channels
        per_row = per_column * (columns + 2)
        reserve(batch if isinstance(batch, int) else 0)
        images_ = (
            ops.Range(batch)
            if not isinstance(batch, int)
            else ops.constant(np.arange(batch, dtype=np.int32))
        )
        begins = ops.reshape(ops.mul(images_, per_row * (rows + 2)), (-1, 1, 1, 1))
        base = pixels + begins + ops.constant(np.arange(channels, dtype=np.int32) * BINS)
        flat = ops.reshape(table, (-1,))

        def looked_up(row: Array, column: Array) -> Tensor:
            table_start = row[:, None, None] * per_row + column[None, :, None] * per_column
            return ops.gather(flat, base + ops.constant(table_start.astype(np.int32)))

        share_down = ops.constant(down[:, None, None].astype(np.float32))
        share_across = ops.constant(across[None, :, None].astype(np.float32))
        above = looked_up(top, left) * (1.0 - share_across) + looked_up(top, right) * share_across
        under = (
            looked_up(bottom, left) * (1.0 - share_across) + looked_up(bottom, right) * share_across
        )
        return above * (1.0 - share_down) + under * share_down


def neighbors(tiles: int, size: int) -> tuple[Array, Array, Array]:
    """The tiles before and after each pixel of an axis, and the weight of the latter.

    All are [tiles · size]. The tile numbers include one more tile at each end.
    """
    reserve(tiles * size, 3, itemsize=8)
    position = (np.arange(tiles * size) - size / 2.0) / size + 1.0
    low = np.floor(position)
    return (
        np.clip(low, 0, tiles + 1).astype(int),
        np.clip(low + 1, 0, tiles + 1).astype(int),
        position - low,
    )


def scaled(x: Tensor, old: tuple[float, float], new: tuple[float, float]) -> Tensor:
    """Map the range `old` linearly to the range `new`."""
    if tuple(old) == tuple(new):
        return x
    factor = (new[1] - new[0]) / (old[1] - old[0])
    return (x - float(old[0])) * factor + float(new[0])


class Pipeline(Wrapper):
    """Applies several layers in order."""

    traits = Traits(
        mask=MaskRule.STOPS,
        integers=WRAPS,
        identity=COMPUTES,
        mask_input=MaskInput.FIRST,
        images=True,
    )
    signature = ("inputs", "training", "mask")
    ignored = ("layers",)

    def infer_around(self, inside: InsideShapes, *inputs: Shape) -> tuple[Shape, ...] | None:
        shapes: tuple[Shape, ...] | None = inputs
        for child in inside.parts.values():
            if shapes is not None and not inside.is_identity(child):
                shapes = inside.infer(child, shapes)
        return shapes

    def lower_around(
        self, inside: Inside, *inputs: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        if mask is not None or any(map(inside.makes_mask, inside.parts.values())):
            raise Refusal("", "masks inside this layer are not supported yet")
        outputs = inputs
        for child in inside.parts.values():
            outputs = inside.lower(child, outputs)
        return outputs


# ------------------------------------------------------------------------------------------- audio


class STFTSpectrogram(Layer):
    """Spectra of windows of each channel, computed with the kernels in the file.

    [batch, time, channels] to float32 [batch, frames, bins · channels], or with `expand_dims`
    [batch, frames, bins, channels].
    """

    traits = Traits(mask=MaskRule.STOPS, integers=WRAPS, identity=COMPUTES)

    mode: Literal["log", "magnitude", "psd", "real", "imag", "angle", "stft"] = "log"
    frame_length: Count = 256
    frame_step: Count | None = None
    fft_length: Count | None = None
    padding: Padding = "valid"
    expand_dims: bool = False
    data_format: DataFormat = "channels_last"
    # the kernels in the file include them
    ignored = ("window", "periodic", "scaling")

    # [frame_length, 1, bins], unless the mode is "imag"
    real_kernel: Weight | None = weight()
    # [frame_length, 1, bins], unless the mode is "real"
    imag_kernel: Weight | None = weight()

    @classmethod
    def declared_weights(cls, config: Mapping[str, Any]) -> Mapping[str, WeightMark]:
        """The weights, without the kernel that the mode does not use."""
        unused = {"imag": "real_kernel", "real": "imag_kernel"}.get(str(config.get("mode")))
        return {
            name: mark for name, mark in super().declared_weights(config).items() if name != unused
        }

    @property
    def bins(self) -> int:
        """The number of frequencies of a spectrum."""
        whole = self.fft_length or 2 ** math.ceil(math.log2(self.frame_length))
        return whole // 2 + 1

    def weight_shapes(self, *inputs: Shape) -> Mapping[str, Shape]:
        del inputs
        return dict.fromkeys(("real_kernel", "imag_kernel"), (self.frame_length, 1, self.bins))

    def infer(self, *inputs: Shape) -> Shape:
        need_rank(inputs[0], 3)
        batch, first, second = inputs[0]
        time, channels = (first, second) if self.data_format == "channels_last" else (second, first)
        frames = window_output(
            time, self.frame_length, self.frame_step or self.frame_length // 2, self.padding
        )
        bins = self.bins * (2 if self.mode == "stft" else 1)
        last = self.data_format == "channels_last"
        if self.expand_dims:
            return (batch, frames, bins, channels) if last else (batch, channels, frames, bins)
        joined = None if channels is None else bins * channels
        return (batch, frames, joined) if last else (batch, joined, frames)

    def lower(self, x: Tensor) -> Tensor:
        # channels first: [batch, channels, time]
        rows = ops.move_axis(x, -1, 1) if self.data_format == "channels_last" else x
        channels, time = ops.dims(rows)[1:]
        signals = ops.reshape(rows, (-1, time, 1))
        # for each channel: [batch · channels, frames, bins]
        spectrum = self._spectrum(signals)
        frames, bins = ops.dims(spectrum)[1:]
        apart = ops.reshape(spectrum, (-1, channels, frames, bins))
        if self.expand_dims:
            return (
                ops.transpose(apart, (0, 2, 3, 1)) if self.data_format == "channels_last" else apart
            )
        # the bins of a channel are consecutive
        joined = ops.transpose(apart, (0, 2, 1, 3))
        sizes = channels * bins if isinstance(channels, int) and isinstance(bins, int) else -1
        flat = ops.reshape(joined, (ops.dim(joined, 0), frames, sizes))
        return flat if self.data_format == "channels_last" else ops.transpose(flat, (0, 2, 1))

    def _spectrum(self, signals: Tensor) -> Tensor:
        step = (self.frame_step or self.frame_length // 2,)

        def part(kernel: Weight | None) -> Tensor:
            return convolve(signals, ops.as_tensor(kernel), step, self.padding, (1,))

        if self.mode in ("real", "imag"):
            return part(self.real_kernel if self.mode == "real" else self.imag_kernel)
        real, imag = part(self.real_kernel), part(self.imag_kernel)
        if self.mode == "angle":
            return ops.Atan2(imag, real)
        if self.mode == "stft":
            return ops.concat([real, imag], -1)
        power = ops.Square(real) + ops.Square(imag)
        if self.mode == "psd":
            # all frequencies except the first and the last also represent the negative ones
            reserve(self.bins)
            twice = np.full(self.bins, 2.0, np.float32)
            twice[[0, -1]] = 1.0
            return power * ops.constant(twice)
        magnitude = ops.Sqrt(ops.maximum(power, 1e-7))
        return magnitude if self.mode == "magnitude" else ops.Log(ops.maximum(magnitude, 1e-7))


class MelSpectrogram(Layer):
    """Mel spectra of windows: [batch, time] to float32 [batch, num_mel_bins, frames].

    With `power_to_db` they are in decibels, at least the largest value of the batch minus `top_db`.
    """

    traits = Traits(
        mask=MaskRule.STOPS,
        integers=WRAPS,
        identity=COMPUTES,
        mixes_samples=True,
        declares_wrong_shape=True,
    )

    fft_length: Count = 2048
    sequence_stride: Count = 512
    sequence_length: Count | None = None
    window: Literal["hann", "hamming"] | tuple[float, ...] | None = "hann"
    sampling_rate: Count = 16000
    num_mel_bins: Count = 128
    min_freq: float = 20.0
    max_freq: float | None = None
    power_to_db: bool = True
    top_db: float = 80.0
    mag_exp: float = 2.0
    min_power: float = 1e-10
    ref_power: float = 1.0

    def infer(self, *inputs: Shape) -> Shape:
        need_rank(inputs[0], 1, 2)
        *batch, time = inputs[0]
        frames = None
        if time is not None:
            frames = (time + self.fft_length // 2 * 2 - self.fft_length) // self.sequence_stride + 1
        return (*batch, self.num_mel_bins, frames)

    def lower(self, x: Tensor) -> Tensor:
        if x.rank == 1:
            return ops.squeeze(self.lower(ops.expand_dims(x, 0)), 0)
        half, mel = self.fft_length // 2, self._mel()
        # frequencies that are in no band are not computed
        used = np.flatnonzero(mel.any(1))
        signal = ops.pad(ops.floats(x), ((0, 0), (half, half)), "reflect")
        spectra = convolve(
            ops.expand_dims(signal, 2),
            ops.constant(self._kernel(used)),
            (self.sequence_stride,),
            "valid",
            (1,),
        )
        real, imag = ops.split(spectra, 2)
        power = ops.Square(real) + ops.Square(imag)
        if self.mag_exp != 2:
            power = ops.power(power, self.mag_exp / 2)
        bands: Tensor = ops.MatMul(power, ops.constant(mel[used]))
        return ops.transpose(self._decibels(bands) if self.power_to_db else bands, (0, 2, 1))

    def _decibels(self, x: Tensor) -> Tensor:
        reference = 10 * math.log10(max(abs(self.ref_power), self.min_power))
        loud = ops.Log(ops.maximum(x, self.min_power)) * (10 / math.log(10)) - reference
        return ops.maximum(loud, ops.max_(loud) - self.top_db)

    def _kernel(self, bins: Array) -> Array:
        """Windowed cosines, then sines, of these frequencies: float64 [fft_length, 1, 2 · bins]."""
        length = self.sequence_length or self.fft_length
        if length > self.fft_length:
            raise ShapeError(f"fft_length={self.fft_length} is below sequence_length={length}")
        if isinstance(self.window, tuple) and len(self.window) != length:
            raise ShapeError(f"the window has {len(self.window)} values, not {length}")
        reserve(self.fft_length, itemsize=8)
        phase = 2 * np.pi * np.arange(length) / length
        window = {
            "hann": 0.5 - 0.5 * np.cos(phase),
            "hamming": 0.54 - 0.46 * np.cos(phase),
            None: np.ones(length),
        }
        values = np.asarray(self.window) if isinstance(self.window, tuple) else window[self.window]
        before = (self.fft_length - length) // 2
        padded = np.pad(values, (before, self.fft_length - length - before))

        def waves(rows: Array) -> Array:
            angles = rows * bins % self.fft_length * (2 * np.pi / self.fft_length)
            columns: Array = np.concatenate([np.cos(angles), -np.sin(angles)], 1) * padded[rows]
            return columns

        return matrix(self.fft_length, 2 * len(bins), waves)[:, None]

    def _mel(self) -> Array:
        """The weight of each frequency in each band: float64 [bins, num_mel_bins].

        A band is a triangle on the mel scale.
        """

        def mel(hertz: Any) -> Any:
            return 1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0)

        bins = self.fft_length // 2 + 1
        reserve(bins, itemsize=8)
        reserve(self.num_mel_bins, itemsize=8)
        frequencies = mel(np.linspace(0.0, self.sampling_rate / 2, bins))
        edges = np.linspace(
            mel(self.min_freq),
            mel(self.max_freq or int(self.sampling_rate / 2)),
            self.num_mel_bins + 2,
        )
        low, center, high = edges[:-2], edges[1:-1], edges[2:]

        def triangles(rows: Array) -> Array:
            rising = (frequencies[rows] - low) / (center - low)
            falling = (high - frequencies[rows]) / (high - center)
            return np.where(rows == 0, 0.0, np.maximum(0.0, np.minimum(rising, falling)))

        return matrix(bins, self.num_mel_bins, triangles)
