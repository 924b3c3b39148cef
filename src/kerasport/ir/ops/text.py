"""Operations on strings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from kerasport.ir.tensor import Several, Tensor, TensorType, broadcast, expect
from kerasport.weights import Array


class StringConcat(Tensor):
    """Elementwise concatenation of the strings of `a` and `b`; the shapes broadcast."""

    a: Tensor
    b: Tensor

    def infer(self) -> TensorType:
        expect(self, self.a, ("string",))
        expect(self, self.b, ("string",))
        return TensorType("string", broadcast(self.a.extents, self.b.extents))

    def compute(self, *operands: Any) -> Array:
        a, b = (np.asarray(operand, object) for operand in operands)
        return np.asarray(a + b, object)


class StringSplit(Several):
    """The parts of each string of x [...], and the number of parts.

    The first result is string [..., longest], padded with empty strings at the end. The second
    result is int64 [...]. An empty delimiter splits at whitespace, and ignores it at both ends.
    """

    x: Tensor
    delimiter: str = ""

    def infer(self) -> tuple[TensorType, ...]:
        expect(self, self.x, ("string",))
        return (
            TensorType("string", (*self.x.extents, None)),
            TensorType("int64", self.x.extents),
        )

    def compute(self, *operands: Any) -> tuple[Array, Array]:
        x = np.asarray(operands[0], object)
        parts = [text.split(self.delimiter or None) if text else [] for text in x.ravel()]
        counts = np.array([len(words) for words in parts], np.int64)
        longest = int(counts.max(initial=0))
        padded = np.full((len(parts), longest), "", object)
        for row, words in zip(padded, parts, strict=True):
            row[: len(words)] = words
        return padded.reshape(*x.shape, longest), counts.reshape(x.shape)


class RegexFullMatch(Tensor):
    """Whether a pattern matches each whole string of x [...]: bool [...].

    The pattern is a regular expression of RE2, which does not support backreferences and
    lookaround assertions.
    """

    x: Tensor
    pattern: str

    def infer(self) -> TensorType:
        expect(self, self.x, ("string",))
        return TensorType("bool", self.x.extents)

    def compute(self, *operands: Any) -> Array:
        x = np.asarray(operands[0], object)
        found = [re.fullmatch(self.pattern, text) is not None for text in x.ravel()]
        return np.array(found, np.bool_).reshape(x.shape)
