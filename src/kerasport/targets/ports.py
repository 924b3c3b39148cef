"""What a report says of the inputs and outputs of a planned model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kerasport.frontends.keras.meaning import expected_values, output_values
from kerasport.frontends.keras.model import KerasModel
from kerasport.report import Values
from kerasport.targets.plan import Plan


def ports_of(model: KerasModel, plan: Plan) -> dict[str, Any]:
    """The fields of a report about inputs and outputs: names, shapes, dtypes, and what the numbers mean."""
    expects = dict(zip(plan.inputs, expected_values(model), strict=False))
    shapes = [plan.output_shapes.get(name, ()) for name in plan.outputs]
    gives = dict(zip(plan.outputs, output_values(model, shapes), strict=False))
    return {
        "inputs": plan.inputs,
        "outputs": plan.outputs,
        "output_shapes": plan.output_shapes,
        "dtypes": plan.dtypes,
        "expects": expects,
        "gives": {
            name: replace(v, dtype=plan.output_dtypes.get(name, v.dtype))
            for name, v in gives.items()
        },
    }


def fed_dtypes(ports: Mapping[str, Any]) -> dict[str, str]:
    """Name of an input → element type of the tensor that a page feeds."""
    expects: Mapping[str, Values] = ports["expects"]
    return {name: ports["dtypes"].get(name, values.dtype) for name, values in expects.items()}
