"""Which weights are rounded to fewer bits, and how.

A rule with patterns is done to the letter. A rule without stands for all other weights, and there the aim is little
error: what is small or sensitive keeps more bits, as far as a budget of a twentieth of the size reaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from kerasport.errors import OptionError
from kerasport.report import Rounded
from kerasport.targets.plan import Plan
from kerasport.targets.tfjs.channels import Norm, divided, even
from kerasport.targets.tfjs.shards import Encoding, manifest_dtype, nbytes_of, numbers_of
from kerasport.weights import Weight

Kind: TypeAlias = Literal["float16", "int8", "uint8", "uint16"]

KINDS: tuple[Kind, ...] = get_args(Kind)
BUDGET = 0.05  # of the size: what may be spent on weights that keep more bits
AT_LEAST = 4096  # bytes of it for vectors, since a small model is small anyway
SCALARS = 16  # numbers: a weight of no more is a constant of the graph, and stays
FLOAT32 = float(np.finfo(np.float32).max)
FLOAT16 = float(np.finfo(np.float16).max)
NORMAL16 = float(np.finfo(np.float16).tiny)  # the smallest with all bits


@dataclass(frozen=True)
class Rule:
    """A kind of numbers for weights of some names."""

    kind: Kind
    patterns: tuple[str, ...] = ()  # of fnmatch; none means all that no other rule names


def parsed(quantize: str | Iterable[str]) -> tuple[Rule, ...]:
    """The rules that are written as "uint8", or "float16=PATTERN,PATTERN".

    Raises:
        OptionError: there is no such kind, or two rules are for all other weights.
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
        rules.append(Rule(chosen, named))
    if sum(not rule.patterns for rule in rules) > 1:
        raise OptionError(
            "two rules apply to all weights; give one of them a pattern of names", "quantize"
        )
    return tuple(rules)


def check_half_compute(rules: Sequence[Rule], out: Path) -> None:
    """Raises `OptionError` where what is written cannot compute in float16."""
    if out.suffix != ".onnx":
        raise OptionError(
            f"{out}: only ONNX models can compute in float16; write to a file that ends in .onnx, or omit the option",
            "half_compute",
        )
    if not any(rule.kind == "float16" for rule in rules):
        raise OptionError(
            "float16 computation needs float16 weights; also quantize to float16, or omit the option",
            "half_compute",
        )


def report(plan: Plan, errors: Mapping[str, float]) -> tuple[Rounded, ...]:
    """The weights of each kind, their sizes, and the largest error."""
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
        nbytes=sum(nbytes_of(plan.weights[name], plan.encodings.get(name)) for name in names),
        before=sum(nbytes_of(plan.weights[name]) for name in names),
        error=errors.get(worst, 0.0),
        worst=worst if worst in errors else "",
    )


def quantized(plan: Plan, rules: Sequence[Rule]) -> Plan:
    """The plan with weights to be rounded as the rules say.

    Raises:
        OptionError: two rules name the same weight, a pattern none, or the target has no such numbers.
    """
    if plan.target == "onnx-model":
        made_of_onnx: Plan = import_module("kerasport.targets.onnx.rounding").quantized(plan, rules)
        return made_of_onnx
    if any(rule.kind == "int8" for rule in rules):
        raise OptionError(
            "the weights of TF.js models can be rounded to float16, uint16 or uint8; int8 is only for ONNX models"
        )
    named = weights_named(plan.weights, rules)
    others = next((rule.kind for rule in rules if not rule.patterns), None)
    floats = {
        name: weight
        for name, weight in plan.weights.items()
        if manifest_dtype(weight.dtype) == "float32"
    }
    made: dict[str, Encoding] = {}
    notes = [
        f"weight {name!r} is not a float weight, so it is not rounded"
        for name in named
        if name not in floats
    ]
    for name in filter(floats.__contains__, named):
        encoding, why_not = fitted(named[name], Range.of(name, floats[name]))
        made |= {name: encoding} if encoding else {}
        notes += [f"weight {name!r} stays in float32: {why_not}"] if why_not else []
    plan = replace(plan, encodings=made, notes=(*plan.notes, *notes))
    rest = [name for name in floats if name not in named]
    return _Choice(plan, rest, others).made() if others else plan


def weights_named(weights: Mapping[str, Weight], rules: Sequence[Rule]) -> dict[str, Kind]:
    """The kind of each weight that a pattern names.

    Raises:
        OptionError: two rules name the same weight, or a pattern none.
    """
    found: dict[str, Kind] = {}
    for rule in rules:
        for pattern in rule.patterns:
            matches = [name for name in weights if fnmatchcase(name, pattern)]
            if not matches:
                known = ", ".join(list(weights)[:3]) or "none"
                raise OptionError(
                    f"no weight matches {pattern!r}; the names of the weights are {known} …"
                )
            for name in matches:
                if found.setdefault(name, rule.kind) != rule.kind:
                    raise OptionError(
                        f"two rules apply to weight {name!r}: {found[name]} and {rule.kind}"
                    )
    return found


# -------------------------------------------------------------------------------------------- one weight


@dataclass(frozen=True)
class Range:
    """Between which numbers those of a weight are."""

    low: float
    high: float
    finite: bool = True

    @classmethod
    def of(cls, name: str, weight: Weight) -> Range | None:
        """The range, read piece by piece; None of a weight that has no numbers."""
        found = None
        for numbers in numbers_of(name, weight):
            low, high = float(numbers.min()), float(numbers.max())
            here = cls(low, high, bool(np.isfinite(low) and np.isfinite(high)))
            found = found.joined(here) if found else here
        return found

    def joined(self, other: Range) -> Range:
        """The range of both."""
        return Range(
            min(self.low, other.low), max(self.high, other.high), self.finite and other.finite
        )

    @property
    def magnitude(self) -> float:
        """The largest magnitude."""
        return max(-self.low, self.high)


def fitted(kind: Kind, found: Range | None) -> tuple[Encoding | None, str]:
    """How numbers of a range are rounded, or why they are not."""
    if found is None:
        return None, "it is empty"
    if kind == "int8":
        return None, "int8 needs a scale per channel"
    if not found.finite:
        return None, "it contains NaN or infinity"
    if kind == "float16":
        if found.magnitude > FLOAT16:
            return None, "it has values beyond 65504, the largest float16"
        # what is small beside larger numbers has no larger error than they
        small = 0 < found.magnitude < NORMAL16
        return (None, "all its values are too small for float16") if small else (Encoding(kind), "")
    return affine(kind, found.low, found.high)


def affine(
    kind: Literal["uint8", "uint16"], low: float, high: float
) -> tuple[Encoding | None, str]:
    """Integers over a range; where 0 is in it, the range is moved by part of a step so that 0 stays exactly 0."""
    if low == high:
        return Encoding(kind, 1.0, low), ""
    most = int(np.iinfo(kind).max)
    scale = (high - low) / most
    minimum = -round(-low / scale) * scale + 0.0 if low <= 0 <= high else low
    if max(abs(minimum), abs(minimum + most * scale)) > FLOAT32:
        return None, "its largest values would round to more than float32 can hold"
    return Encoding(kind, scale, minimum), ""


# ------------------------------------------------------------------------------------------- the others


class _Choice:
    """What becomes of the weights that no pattern names."""

    def __init__(self, plan: Plan, names: Sequence[str], kind: Kind) -> None:
        self.plan, self.kind = plan, kind
        self.ranges = {
            name: found for name in names if (found := Range.of(name, plan.weights[name]))
        }
        given = plan.encodings.items()
        self.encodings: dict[str, Encoding] = {
            name: each for name, each in given if isinstance(each, Encoding)
        }
        self.notes: list[str] = []
        size = sum(plan.weights[name].size for name in names) * np.dtype(kind).itemsize
        self.budget = int(BUDGET * size)

    def made(self) -> Plan:
        """The plan with all of them chosen.

        The budget goes to vectors first, which are few and enter every output; then to depthwise kernels, of whose few
        numbers each counts; then to the scales of channels, and to kernels from the smallest on.
        """
        names = sorted(self.ranges, key=lambda name: self.plan.weights[name].size)
        for name in names:
            if self.plan.weights[name].size > SCALARS:
                self._round(name, self.kind)
        scales = self._spent(names)
        plan = replace(self.plan, encodings=self.encodings, notes=(*self.plan.notes, *self.notes))
        return self._scaled(plan, scales) if scales else plan

    def _spent(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Spend the budget; gives the scales of channels."""
        if self.kind == "float16":
            return {}
        vectors, share = [*filter(self._is_vector, names)], self.budget
        self.budget = max(AT_LEAST, share)
        lifted = self._lift(vectors)
        self.budget = min(self.budget, share)
        if self.kind == "uint16":
            return {}
        lifted |= self._lift(filter(self._is_depthwise, names))
        scales = self._scales(name for name in names if name not in lifted)
        self._lift(name for name in names if name not in lifted and name not in scales)
        self._lift(vectors)
        return scales

    def _round(self, name: str, kind: Kind) -> None:
        encoding, why_not = fitted(kind, self.ranges[name])
        if encoding is None:
            self.notes.append(f"weight {name!r} stays in float32: {why_not}")
        else:
            self.encodings[name] = encoding

    def _is_vector(self, name: str) -> bool:
        return sum(size > 1 for size in self.plan.weights[name].shape) <= 1

    def _is_depthwise(self, name: str) -> bool:
        return name in self.plan.channels and self.plan.channels[name].axes > 1

    def _lift(self, names: Iterable[str]) -> set[str]:
        """Give weights the next more bits while the budget lasts; gives those that got them."""
        lifted = set()
        for name in names:
            before = self.encodings.get(name)
            if before is None:
                continue
            found, weight = self.ranges[name], self.plan.weights[name]
            after = fitted("float16", found)[0] if before.dtype == "uint8" else None
            if self._spend(nbytes_of(weight, after) - nbytes_of(weight, before)):
                lifted.add(name)
                if after:
                    self.encodings[name] = after
                else:
                    del self.encodings[name]
        return lifted

    def _spend(self, nbytes: int) -> bool:
        if nbytes > self.budget:
            return False
        self.budget -= nbytes
        return True

    def _scales(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The kernels whose channels are brought to one size, and by what each is divided."""
        chosen = {}
        for name in names:
            channels = self.plan.channels.get(name)
            if channels is None or name not in self.encodings or not self._precise(channels.norm):
                continue
            weight = self.plan.weights[name]
            cost = 0 if channels.norm else 2 * channels.count(weight)
            by = even(name, weight, channels) if cost <= self.budget else None
            if by is not None and self._spend(cost):
                chosen[name] = by
        return chosen

    def _precise(self, norm: Norm | None) -> bool:
        """Whether a normalisation is held well enough to make up for what a kernel is divided by."""
        vectors = () if norm is None else (*norm.shifted, norm.variance)
        held = (self.encodings.get(vector) for vector in vectors)
        return all(encoding is None or encoding.dtype == "float16" for encoding in held)

    def _scaled(self, plan: Plan, scales: Mapping[str, np.ndarray]) -> Plan:
        weights, encodings = dict(plan.weights), dict(self.encodings)
        for name, by in scales.items():
            for each, weight in divided(weights, name, plan.channels[name].norm, by).items():
                weights[each] = weight
                before = encodings.pop(each, None)
                after = fitted(before.dtype, Range.of(each, weight))[0] if before else None
                encodings |= {each: after} if after else {}
        lost = (
            ("the optimizer state is not included, since kernels were rescaled for quantization",)
            if plan.optimizer
            else ()
        )
        plan = replace(
            plan, weights=weights, encodings=encodings, optimizer={}, notes=(*plan.notes, *lost)
        )
        nodes = {name: by for name, by in scales.items() if plan.channels[name].norm is None}
        if not nodes:
            return plan
        multiplied: Plan = import_module("kerasport.targets.tfjs.graph.scaled").multiplied(
            plan, nodes
        )
        return multiplied
