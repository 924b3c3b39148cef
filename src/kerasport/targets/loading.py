"""The code that loads a converted model, for the target, its options and the place of the output.

The paths are those of a page in the current directory if the output is below it, and of a page next
to the output if not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path, PurePosixPath

from kerasport.releases import ONNXRUNTIME_WEB, TFJS
from kerasport.report import Snippet
from kerasport.targets.plan import Plan
from kerasport.weights import Shape

CDN = "https://cdn.jsdelivr.net/npm"
LOADERS = {"layers-model": "tf.loadLayersModel", "graph-model": "tf.loadGraphModel"}
OPEN_IMAGE, OPEN = 224, 16  # sizes that an example feeds where the model leaves them open

DATA: Mapping[str, str] = {"float32": "Float32Array", "int32": "Int32Array", "bool": "Uint8Array"}
"""Element type → the array of JavaScript that ONNX Runtime takes."""


def page_of(out: Path) -> tuple[str, Path]:
    """The path of an output as a page writes it, and the directory of that page."""
    place, here = Path(os.path.abspath(out)), Path.cwd()  # noqa: PTH100  (resolve() would follow links)
    folder = here if here in place.parents else place.parent
    return place.relative_to(folder).as_posix(), folder


def snippets(
    plan: Plan, out: Path, dtypes: Mapping[str, str], files: Sequence[str] = ()
) -> tuple[Snippet, ...]:
    """The code that loads and runs a model.

    Args:
        plan: what was written.
        out: the directory of a TF.js model, or the ONNX file.
        dtypes: name of an input → element type of the tensor to feed.
        files: names of the files that were written; an ONNX model may have its weights in a second one.
    """
    path, folder = page_of(out)
    title = "Load it in a page" if folder == Path.cwd() else f"Load it in a page in {folder}"
    if plan.target == "onnx-model":
        return _onnx(plan, path, title, out, dtypes, files)
    head = f'<script src="{CDN}/@tensorflow/tfjs@{TFJS}"></script>'
    lines = list(_tfjs(plan, path, dtypes))
    hint = 'With a bundler, replace the first line: import * as tf from "@tensorflow/tfjs"'
    return (Snippet(title, "html", _script(head, lines), hint),)


def _script(head: str, lines: list[str]) -> str:
    return "\n".join(
        (head, '<script type="module">', *(f"  {line}" for line in lines), "</script>")
    )


def _tfjs(plan: Plan, path: str, dtypes: Mapping[str, str]) -> Iterator[str]:
    for script in plan.scripts:
        yield f"import {{ register }} from {_url(f'./{path}/{script.name}')}"
        yield "register(tf)"
    yield f"const model = await {LOADERS[plan.target]}({_url(f'{path}/model.json')})"
    fed = {
        name: _tfjs_tensor(shape, dtypes.get(name, "float32"))
        for name, shape in plan.inputs.items()
    }
    call = "await model.executeAsync" if plan.asynchronous else "model.predict"
    if len(fed) == 1:
        yield f"const output = {call}({next(iter(fed.values()))})"
        return
    # a layers-model takes a list, a graph-model names
    opening, closing = "[]" if plan.target == "layers-model" else "{}"
    yield f"const output = {call}({opening}"
    for name, tensor in fed.items():
        yield f"  {tensor}," if opening == "[" else f"  {_text(name)}: {tensor},"
    yield f"{closing})"


def _tfjs_tensor(shape: Shape, dtype: str) -> str:
    sizes = _sizes(shape)
    if dtype == "string":
        return f"tf.tensor({_strings(sizes)}, {sizes})"
    return f"tf.zeros({sizes})" if dtype == "float32" else f'tf.zeros({sizes}, "{dtype}")'


def _onnx(
    plan: Plan, path: str, title: str, out: Path, dtypes: Mapping[str, str], files: Sequence[str]
) -> tuple[Snippet, ...]:
    urls = {
        name: _url(PurePosixPath(path).with_name(name).as_posix())
        for name in files
        if name != out.name
    }
    parts = ", ".join(f"{{ path: {_text(name)}, data: {url} }}" for name, url in urls.items())
    options = f", {{ externalData: [{parts}] }}" if parts else ""
    fed = {
        name: _onnx_tensor(shape, dtypes.get(name, "float32"))
        for name, shape in plan.inputs.items()
    }
    lines = [
        f"const session = await ort.InferenceSession.create({_url(path)}{options})",
        "const results = await session.run({",
        *(f"  {_text(name)}: {tensor}," for name, tensor in fed.items()),
        "})",
        f"const output = results[{_text(plan.outputs[0])}].data",
    ]
    head = f'<script src="{CDN}/onnxruntime-web@{ONNXRUNTIME_WEB}/dist/ort.min.js"></script>'
    hint = 'With a bundler, replace the first line: import * as ort from "onnxruntime-web"'
    page = Snippet(title, "html", _script(head, lines), hint)
    python = f"import onnxruntime\nsession = onnxruntime.InferenceSession({_text(str(out))})"
    return page, Snippet("Or in Python", "python", python)


def _onnx_tensor(shape: Shape, dtype: str) -> str:
    sizes = _sizes(shape)
    data = _strings(sizes) if dtype == "string" else f"new {DATA[dtype]}({prod(sizes)})"
    return f'new ort.Tensor("{dtype}", {data}, {sizes})'


def _strings(sizes: list[int]) -> str:
    return '["text"]' if prod(sizes) == 1 else f'Array({prod(sizes)}).fill("text")'


def _sizes(shape: Shape) -> list[int]:
    """The sizes of an example: one sample, and something for other open sizes."""
    guess = OPEN_IMAGE if len(shape) == 4 else OPEN
    return [
        size if size is not None else 1 if axis == 0 else guess for axis, size in enumerate(shape)
    ]


def _url(path: str) -> str:
    """A relative URL as a string of JavaScript: what would end the path or the script is escaped."""
    for char in "%#?<\\":
        path = path.replace(char, f"%{ord(char):02X}")
    # up to a colon in its first part, a path would be taken for a scheme
    return _text(f"./{path}" if ":" in path.split("/", maxsplit=1)[0] else path)


def _text(text: str) -> str:
    """A string of JavaScript or Python that cannot end a script of a page."""
    return json.dumps(text, ensure_ascii=not text.isprintable()).replace("</", "<\\/")
