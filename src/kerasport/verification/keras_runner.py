"""The original, run by Keras: the program of a process of its own, so that no other ever imports Keras.

Its argument is a folder with a request and the inputs; it leaves there an answer and the outputs.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasport.model import Array, flatten
from kerasport.verification import arrays
from kerasport.verification.arrays import Arrays

HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Request:
    """What to run, and how."""

    module: str  # "keras" or "tf_keras"
    model: str  # a path with the extension that Keras expects
    weights: str | None = None  # of an architecture JSON
    layers: tuple[str, ...] = ()  # whose outputs for the last batch are wanted, too
    keras2_hard_sigmoid: bool = False
    unrounded: bool = False  # compute in float32, even what is declared to be rounded to fewer bits

    def write(self, folder: Path) -> None:
        """Leave the request in the folder."""
        (folder / "request.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


def end_with_parent() -> None:
    """End this process when the one that started it is gone, which holds the other end of stdin and writes nothing."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(folder: str) -> None:
    """Answer the request in a folder."""
    try:
        answer = run(Path(folder))
    except Exception as error:  # noqa: BLE001  (whatever Keras says of a model is told to the user)
        answer = {"error": "".join(traceback.format_exception_only(error)).strip()}
    Path(folder, "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def run(folder: Path) -> dict[str, Any]:
    """Load the model, run it on each batch, and leave what it computes."""
    request = Request(**json.loads((folder / "request.json").read_text(encoding="utf-8")))
    keras = importlib.import_module(request.module)
    model = load(keras, request)
    if request.keras2_hard_sigmoid:
        restore_hard_sigmoid(keras, model)
    if request.unrounded:
        compute_in_float32(keras, model)
    feeds = arrays.load(folder / "inputs.npz")
    results = [call(keras, model, feed) for feed in feeds[:-1]]
    calls: list[tuple[str, Arrays]] = []

    def note(layer: str, outputs: Any) -> None:
        calls.append((layer, arrays_of(keras, outputs)))

    for layer in model.layers:
        if layer.name in request.layers:
            record(layer, functools.partial(note, layer.name))
    results.append(call(keras, model, feeds[-1]))
    arrays.save(folder / "outputs.npz", results)
    arrays.save(folder / "layers.npz", [outputs for _, outputs in calls])
    return {"calls": [name for name, _ in calls]}


def load(keras: Any, request: Request) -> Any:
    """The model; safe mode, which runs no code from files, stays on."""
    if request.weights is None:
        return keras.models.load_model(request.model, compile=False)
    text = Path(request.model).read_text(encoding="utf-8")
    config = json.loads(text)
    if "class_name" in config:
        model = keras.models.model_from_json(text)
    else:  # what `get_config()` gives
        model = (keras.Model if "input_layers" in config else keras.Sequential).from_config(config)
    model.load_weights(request.weights)
    return model


def call(keras: Any, model: Any, feed: Arrays) -> Arrays:
    """The outputs for a batch, flat."""
    single = isinstance(model, keras.Sequential)  # whose `input` Keras 3 does not tell
    inputs = feed[0] if single else pack(model.input, iter(feed))
    return arrays_of(keras, model(inputs, training=False))


def pack(structure: Any, leaves: Iterator[Array]) -> Any:
    """The arrays in the structure of the model's inputs."""
    if isinstance(structure, Mapping):
        return {key: pack(structure[key], leaves) for key in sorted(structure)}
    if isinstance(structure, list | tuple):
        return [pack(item, leaves) for item in structure]
    return next(leaves)


def arrays_of(keras: Any, outputs: Any) -> Arrays:
    """The tensors of a structure as arrays."""
    to_numpy = keras.ops.convert_to_numpy if hasattr(keras, "ops") else np.asarray
    return tuple(np.asarray(to_numpy(output)) for output in flatten(outputs))


def record(layer: Any, tell: Callable[[Any], None]) -> None:
    """Have a layer tell what each of its calls computes."""
    for method in ("call", "quantized_call"):
        if hasattr(layer, method):
            setattr(layer, method, _telling(getattr(layer, method), tell))


def _telling(method: Callable[..., Any], tell: Callable[[Any], None]) -> Callable[..., Any]:
    @functools.wraps(method)
    def telling(*args: Any, **kwargs: Any) -> Any:
        outputs = method(*args, **kwargs)
        tell(outputs)
        return outputs

    return telling


def every_layer(model: Any) -> Sequence[Any]:
    """The layers of a model, with those inside of them, and cells."""
    return list(model._flatten_layers())  # noqa: SLF001  (Keras 2 and 3 have it; nothing public goes inside wrappers)


def restore_hard_sigmoid(keras: Any, model: Any) -> None:
    """Give back its old formula to what Keras 3 reads as its own hard_sigmoid, clip(x/6 + 0.5, 0, 1)."""

    def hard_sigmoid(x: Any) -> Any:
        return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    for layer in every_layer(model):
        for option in ("activation", "recurrent_activation"):
            if vars(layer).get(option) is keras.activations.hard_sigmoid:
                setattr(layer, option, hard_sigmoid)


def compute_in_float32(keras: Any, model: Any) -> None:
    """Take away the rounding of 16 bits, of float8, and of the inputs of int8 and int4 layers."""
    for layer in every_layer(model):
        mode = getattr(layer, "quantization_mode", None)
        if mode == "float8" or (mode is None and layer.compute_dtype in HALVES):
            set_policy(layer, "float32")
        elif layer.compute_dtype in HALVES:
            set_policy(layer, f"{mode}_from_float32")
        if getattr(layer, "inputs_quantizer", None):
            layer.inputs_quantizer = lambda inputs, axis: (inputs, _ones(keras, inputs, axis))


def set_policy(layer: Any, policy: str) -> None:
    """Change the dtype that a layer computes in."""
    if hasattr(layer, "_set_dtype_policy"):  # Keras 2
        layer._set_dtype_policy(policy)  # noqa: SLF001
    else:
        layer.dtype_policy = policy


def _ones(keras: Any, inputs: Any, axis: Any) -> Any:
    """Scales that change nothing, in the shape of those that a quantizer gives."""
    return keras.ops.ones_like(keras.ops.max(inputs, axis=axis, keepdims=True))
