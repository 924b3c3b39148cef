"""Rounding of the weights of a TF.js model to fewer bits.

A rule with patterns is followed exactly. A rule without patterns applies to all other weights and
aims at a small error: small or sensitive weights keep more bits, within a budget of a twentieth of
the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from kerasport.errors import OptionError
from kerasport.targets.encoding import Encoding, manifest_dtype, nbytes_of
from kerasport.targets.rounding import Kind, Range, RoundingRule, fitted, weights_named
from kerasport.targets.tfjs.channels import Norm, divided, even
from kerasport.targets.tfjs.document import TfjsPlan
from kerasport.weights import Array

BUDGET = 0.05
"""Part of the size that may be spent on weights that keep more bits."""


AT_LEAST = 4096
"""Bytes that may be spent on vectors in any case: they matter little in a small model."""


SCALARS = 16
"""Largest number of values of a weight that stays float32, as it may be a constant of the graph."""


Multiply: TypeAlias = Callable[[TfjsPlan, Mapping[str, Array]], TfjsPlan]
"""Adds to a plan the multiplication of kernels by the scales that they were divided by."""


def quantized(
    plan: TfjsPlan, rules: Sequence[RoundingRule], multiply: Multiply | None = None
) -> TfjsPlan:
    """The plan with weights rounded by the rules.

    Args:
        plan: the plan of a model.
        rules: the rules for rounding.
        multiply: adds the multiplication of kernels that no normalization scales; None if the
            format cannot multiply them.

    Raises:
        OptionError: two rules name the same weight, a pattern matches none, or TF.js does not have
            the kind of numbers.
    """
    if any(rule.kind == "int8" for rule in rules):
        raise OptionError(
            "the weights of TF.js models can be rounded to float16, uint16 or uint8, not to int8"
        )
    named = weights_named(plan.weights, rules)
    others = next((rule.kind for rule in rules if not rule.patterns), None)
    floats = {
        name: weight
        for name, weight in plan.weights.items()
        if manifest_dtype(weight.dtype) == "float32"
    }
    encodings: dict[str, Encoding] = {}
    notes = [
        f"weight {name!r} is not a float weight, so it is not rounded"
        for name in named
        if name not in floats
    ]
    for name in filter(floats.__contains__, named):
        encoding, why_not = fitted(named[name], Range.of(name, floats[name]))
        encodings |= {name: encoding} if encoding else {}
        notes += [f"weight {name!r} stays in float32: {why_not}"] if why_not else []
    plan = replace(plan, encodings=encodings, notes=(*plan.notes, *notes))
    rest = [name for name in floats if name not in named]
    return _BudgetedRounding(plan, rest, others, multiply).run() if others else plan


class _BudgetedRounding:
    """Rounds the weights that no pattern names, some of them to more bits, within a budget."""

    def __init__(
        self, plan: TfjsPlan, names: Sequence[str], kind: Kind, multiply: Multiply | None
    ) -> None:
        self.plan, self.kind, self.multiply = plan, kind, multiply
        self.ranges = {
            name: values for name in names if (values := Range.of(name, plan.weights[name]))
        }
        self.encodings: dict[str, Encoding] = {
            name: encoding
            for name, encoding in plan.encodings.items()
            if isinstance(encoding, Encoding)
        }
        self.notes: list[str] = []
        size = sum(plan.weights[name].size for name in names) * np.dtype(kind).itemsize
        self.budget = int(BUDGET * size)

    def run(self) -> TfjsPlan:
        """The plan with an encoding for each of these weights.

        The budget is spent in this order: on vectors, which are small and affect every output; on
        depthwise kernels, which have few values; on the scales of channels; and on other kernels,
        the smallest first.
        """
        names = sorted(self.ranges, key=lambda name: self.plan.weights[name].size)
        for name in names:
            if self.plan.weights[name].size > SCALARS:
                self._round(name, self.kind)
        scales = self._spent(names)
        plan = replace(self.plan, encodings=self.encodings, notes=(*self.plan.notes, *self.notes))
        return self._scaled(plan, scales) if scales else plan

    def _spent(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Spend the budget; return the scales of the channels of kernels."""
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
        """Store weights with more bits while the budget lasts; return their names."""
        lifted = set()
        for name in names:
            before = self.encodings.get(name)
            if before is None:
                continue
            values, weight = self.ranges[name], self.plan.weights[name]
            after = fitted("float16", values)[0] if before.dtype == "uint8" else None
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
        """Kernel with channels to equalize → the divisors of its channels."""
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
        """Whether a normalization is stored precisely enough to undo the division of a kernel."""
        vectors = () if norm is None else (*norm.shifted, norm.variance)
        encodings = (self.encodings.get(vector) for vector in vectors)
        return all(encoding is None or encoding.dtype == "float16" for encoding in encodings)

    def _scaled(self, plan: TfjsPlan, scales: Mapping[str, np.ndarray]) -> TfjsPlan:
        weights, encodings = dict(plan.weights), dict(self.encodings)
        for name, by in scales.items():
            for changed, weight in divided(weights, name, plan.channels[name].norm, by).items():
                weights[changed] = weight
                before = encodings.pop(changed, None)
                after = fitted(before.dtype, Range.of(changed, weight))[0] if before else None
                encodings |= {changed: after} if after else {}
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
        assert self.multiply is not None
        return self.multiply(plan, nodes)
