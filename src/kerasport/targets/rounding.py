"""Rounding of weights to fewer bits: the rules and formulas that all targets share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, get_args

import numpy as np

from kerasport.errors import OptionError
from kerasport.report import Rounded
from kerasport.targets.encoding import Encoding, manifest_dtype, numbers_of
from kerasport.targets.plan import Plan
from kerasport.weights import Weight

Kind: TypeAlias = Literal["float16", "int8", "uint8", "uint16"]

KINDS: tuple[Kind, ...] = get_args(Kind)
FLOAT32 = float(np.finfo(np.float32).max)
FLOAT16 = float(np.finfo(np.float16).max)
NORMAL16 = float(np.finfo(np.float16).tiny)
"""The smallest float16 number with full precision."""


@dataclass(frozen=True)
class RoundingRule:
    """Rounds weights to one kind of numbers.

    Attributes:
        kind: the kind of numbers.
        patterns: names of weights, as for fnmatch. A rule without patterns applies to all weights
            that no other rule names.
    """

    kind: Kind
    patterns: tuple[str, ...] = ()


def parsed(quantize: str | Iterable[str]) -> tuple[RoundingRule, ...]:
    """The rules of an option such as "uint8" or "float16=PATTERN,PATTERN".

    Raises:
        OptionError: a rule is malformed, or two rules have no patterns.
    """
    rules = []
    for text in [quantize] if isinstance(quantize, str) else quantize:
        kind, equals, patterns = text.partition("=")
        chosen = next((known for known in KINDS if known == kind), None)
        named = tuple(filter(None, patterns.split(",")))
        if chosen is None:
            raise OptionError(
                f"weights can be rounded to {', '.join(KINDS)}, not to {kind!r}", "quantize"
            )
        if any("=" in name and name.partition("=")[0] in KINDS for name in named):
            raise OptionError(f"{text!r} contains two rules; pass them separately", "quantize")
        if equals and not named:
            raise OptionError(
                f"{text!r} names no weights; write {kind}=PATTERN, or {kind} for all weights",
                "quantize",
            )
        rules.append(RoundingRule(chosen, named))
    if sum(not rule.patterns for rule in rules) > 1:
        raise OptionError(
            "two rules apply to all weights; give one of them a pattern of names", "quantize"
        )
    return tuple(rules)


def report(plan: Plan, errors: Mapping[str, float]) -> tuple[Rounded, ...]:
    """For each kind of numbers, the number of its weights, their size, and the largest error."""
    return tuple(
        _group(kind, plan, errors)
        for kind in (*KINDS, "float32")
        if plan.encodings and _of(kind, plan)
    )


def _of(kind: str, plan: Plan) -> list[str]:
    kinds = {name: encoding.dtype for name, encoding in plan.encodings.items()}
    return [
        name
        for name, weight in plan.weights.items()
        if kinds.get(name, manifest_dtype(weight.dtype)) == kind
    ]


def _group(kind: str, plan: Plan, errors: Mapping[str, float]) -> Rounded:
    names = _of(kind, plan)
    worst = max(names, key=lambda name: errors.get(name, 0.0))
    return Rounded(
        kind,
        weights=len(names),
        nbytes=sum(map(plan.nbytes_of, names)),
        before=sum(map(replace(plan, encodings={}).nbytes_of, names)),
        error=errors.get(worst, 0.0),
        worst=worst if worst in errors else "",
    )


def weights_named(weights: Mapping[str, Weight], rules: Sequence[RoundingRule]) -> dict[str, Kind]:
    """The kind of each weight that a pattern matches.

    Raises:
        OptionError: rules of different kinds match the same weight, or a pattern matches none.
    """
    kinds: dict[str, Kind] = {}
    for rule in rules:
        for pattern in rule.patterns:
            matches = [name for name in weights if fnmatchcase(name, pattern)]
            if not matches:
                known = ", ".join(list(weights)[:3]) or "none"
                raise OptionError(
                    f"no weight matches {pattern!r}; the names of the weights are {known} …"
                )
            for name in matches:
                if kinds.setdefault(name, rule.kind) != rule.kind:
                    raise OptionError(
                        f"two rules apply to weight {name!r}: {kinds[name]} and {rule.kind}"
                    )
    return kinds


# --------------------------------------------------------------------------------------- one weight


@dataclass(frozen=True)
class Range:
    """The range of the values of a weight: from `low` to `high`, or not finite."""

    low: float
    high: float
    finite: bool = True

    @classmethod
    def of(cls, name: str, weight: Weight) -> Range | None:
        """The range of a weight, which is read in pieces; None if it is empty."""
        whole = None
        for numbers in numbers_of(name, weight):
            low, high = float(numbers.min()), float(numbers.max())
            piece = cls(low, high, bool(np.isfinite(low) and np.isfinite(high)))
            whole = whole.joined(piece) if whole else piece
        return whole

    def joined(self, other: Range) -> Range:
        """The smallest range that contains both."""
        return Range(
            min(self.low, other.low), max(self.high, other.high), self.finite and other.finite
        )

    @property
    def magnitude(self) -> float:
        """The largest magnitude."""
        return max(-self.low, self.high)


def fitted(kind: Kind, values: Range | None) -> tuple[Encoding | None, str]:
    """The encoding of values in a range, or None and why they are not rounded."""
    if values is None:
        return None, "it is empty"
    if kind == "int8":
        return None, "int8 needs a scale per channel"
    if not values.finite:
        return None, "it contains NaN or infinity"
    if kind == "float16":
        if values.magnitude > FLOAT16:
            return None, "it has values beyond 65504, the largest float16"
        # smaller values lose precision, but their errors are not larger than those of large values
        small = 0 < values.magnitude < NORMAL16
        return (None, "all its values are too small for float16") if small else (Encoding(kind), "")
    return affine(kind, values.low, values.high)


def affine(
    kind: Literal["uint8", "uint16"], low: float, high: float
) -> tuple[Encoding | None, str]:
    """Integers that cover a range. The range is moved by less than a step, so that 0 stays 0."""
    if low == high:
        return Encoding(kind, 1.0, low), ""
    most = int(np.iinfo(kind).max)
    scale = (high - low) / most
    minimum = -round(-low / scale) * scale + 0.0 if low <= 0 <= high else low
    if max(abs(minimum), abs(minimum + most * scale)) > FLOAT32:
        return None, "its largest values would round to more than float32 can hold"
    return Encoding(kind, scale, minimum), ""


# --------------------------------------------------------------------------------------- the others
