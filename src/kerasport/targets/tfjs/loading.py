"""Code that loads a TF.js model in a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kerasport.releases import TFJS
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
from kerasport.targets.tfjs.document import TfjsPlan
from kerasport.weights import Shape

LOADERS = {"layers-model": "tf.loadLayersModel", "graph-model": "tf.loadGraphModel"}
"""Format of a model → the function of TF.js that loads it."""


def snippets(
    plan: TfjsPlan, out: Path, dtypes: Mapping[str, str], files: Sequence[str]
) -> tuple[Snippet, ...]:
    """The code that loads and runs a model, as `kerasport.targets.target.Loader` describes it."""
    del files
    path, folder = page_of(out)
    head = f'<script src="{CDN}/@tensorflow/tfjs@{TFJS}"></script>'
    lines = list(_tfjs(plan, path, dtypes))
    hint = 'With a bundler, replace the first line: import * as tf from "@tensorflow/tfjs"'
    return (Snippet(titled(folder), "html", script(head, lines), hint),)


def _tfjs(plan: TfjsPlan, path: str, dtypes: Mapping[str, str]) -> Iterator[str]:
    for module in plan.scripts:
        yield f"import {{ register }} from {relative_url(f'./{path}/{module.name}')}"
        yield "register(tf)"
    yield f"const model = await {LOADERS[plan.format]}({relative_url(f'{path}/model.json')})"
    fed = {
        name: _tfjs_tensor(shape, dtypes.get(name, "float32"))
        for name, shape in plan.inputs.items()
    }
    call = "await model.executeAsync" if plan.asynchronous else "model.predict"
    if len(fed) == 1:
        yield f"const output = {call}({next(iter(fed.values()))})"
        return
    # a layers-model takes a list, a graph-model names
    opening, closing = "[]" if plan.format == "layers-model" else "{}"
    yield f"const output = {call}({opening}"
    for name, tensor in fed.items():
        yield f"  {tensor}," if opening == "[" else f"  {quoted_text(name)}: {tensor},"
    yield f"{closing})"


def _tfjs_tensor(shape: Shape, dtype: str) -> str:
    sizes = example_sizes(shape)
    if dtype == "string":
        return f"tf.tensor({strings(sizes)}, {sizes})"
    return f"tf.zeros({sizes})" if dtype == "float32" else f'tf.zeros({sizes}, "{dtype}")'
