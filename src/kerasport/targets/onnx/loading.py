"""Code that loads an ONNX model: in a page, and in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path, PurePosixPath

from kerasport.report import Snippet
from kerasport.targets.loading import (
    CDN,
    example_sizes,
    page_of,
    quoted_text,
    relative_url,
    script,
    strings,
    titled,
)
from kerasport.targets.plan import Plan
from kerasport.weights import Shape

ONNXRUNTIME_WEB = "1.30.0"
"""The release of ONNX Runtime Web that reports name, and that every ONNX model is tested with."""

DATA: Mapping[str, str] = {
    "float32": "Float32Array", "bool": "Uint8Array", "int8": "Int8Array", "int16": "Int16Array",
    "int32": "Int32Array", "int64": "BigInt64Array", "uint8": "Uint8Array", "uint16": "Uint16Array",
    "uint32": "Uint32Array", "uint64": "BigUint64Array",
}  # fmt: skip
"""Element type → the array of JavaScript that ONNX Runtime takes."""


def snippets(
    plan: Plan, out: Path, dtypes: Mapping[str, str], files: Sequence[str]
) -> tuple[Snippet, ...]:
    """The code that loads and runs a model, as `kerasport.targets.target.Loader` describes it."""
    path, folder = page_of(out)
    urls = {
        name: relative_url(PurePosixPath(path).with_name(name).as_posix())
        for name in files
        if name != out.name
    }
    parts = ", ".join(f"{{ path: {quoted_text(name)}, data: {url} }}" for name, url in urls.items())
    options = f", {{ externalData: [{parts}] }}" if parts else ""
    fed = {
        name: _onnx_tensor(shape, dtypes.get(name, "float32"))
        for name, shape in plan.inputs.items()
    }
    lines = [
        f"const session = await ort.InferenceSession.create({relative_url(path)}{options})",
        "const results = await session.run({",
        *(f"  {quoted_text(name)}: {tensor}," for name, tensor in fed.items()),
        "})",
        f"const output = results[{quoted_text(plan.outputs[0])}].data",
    ]
    head = f'<script src="{CDN}/onnxruntime-web@{ONNXRUNTIME_WEB}/dist/ort.min.js"></script>'
    hint = 'With a bundler, replace the first line: import * as ort from "onnxruntime-web"'
    page = Snippet(titled(folder), "html", script(head, lines), hint)
    python = f"import onnxruntime\nsession = onnxruntime.InferenceSession({quoted_text(str(out))})"
    return page, Snippet("Or in Python", "python", python)


def _onnx_tensor(shape: Shape, dtype: str) -> str:
    sizes = example_sizes(shape)
    data = strings(sizes) if dtype == "string" else f"new {DATA[dtype]}({prod(sizes)})"
    return f'new ort.Tensor("{dtype}", {data}, {sizes})'
