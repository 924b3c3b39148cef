"""The ONNX target: one file for ONNX Runtime and other runtimes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasport.report import Snippet
from kerasport.targets.encoding import stored_dtype
from kerasport.targets.notes import BUFFER
from kerasport.targets.onnx.options import OnnxOptions
from kerasport.targets.plan import Output, Plan
from kerasport.targets.target import Extra, Target

if TYPE_CHECKING:
    from kerasport.ir.program import Program
    from kerasport.targets.onnx.file import OnnxPlan

# ruff: noqa: PLC0415  (each function imports what it needs, so that a run loads only its own
# target)


def _plan(program: Program, options: OnnxOptions) -> Plan:
    from kerasport.targets.onnx.plan import plan

    return plan(program, options)


def _write(
    plan: OnnxPlan, out: Path, options: OnnxOptions, force: bool, progress: Callable[[int], None]
) -> Output:
    del options
    from kerasport.targets.onnx.file import write

    return write(plan, out, force=force, progress=progress)


def _rounded(plan: OnnxPlan, options: OnnxOptions) -> Plan:
    from kerasport.targets.onnx.rounding import quantized

    return quantized(plan, options.quantize)


def _notes(plan: Plan, options: OnnxOptions) -> Iterator[str]:
    """A note on weights that no browser can hold in one ArrayBuffer."""
    del options
    if plan.nbytes > BUFFER:
        yield (
            f"the weights need more than {BUFFER // 10**9} GB, which browsers cannot allocate at "
            "once; the model runs in ONNX Runtime outside browsers"
        )


def _load(
    plan: Plan, out: Path, dtypes: Mapping[str, str], files: Sequence[str]
) -> tuple[Snippet, ...]:
    from kerasport.targets.onnx.loading import snippets

    return snippets(plan, out, dtypes, files)


def _stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Integers keep their dtype, all floats become float32."""
    return dtype if dtype.kind in "iu" else stored_dtype(dtype)


EXTRA = Extra("onnx", {"onnx_ir": "onnx-ir"})

ONNX = Target(
    name="onnx",
    title="ONNX model",
    suffix=".onnx",
    more_suffixes=(".data",),
    options=OnnxOptions,
    plan=_plan,
    write=_write,
    rounded=_rounded,
    stored_dtype=_stored_dtype,
    notes=_notes,
    load=_load,
    guide="docs/onnx.md",
    runtime="onnxruntime",
    extra=EXTRA,
)
