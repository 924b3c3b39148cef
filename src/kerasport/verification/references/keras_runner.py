"""Run the original model in Keras, in a separate process: the only code here that imports Keras.

The process runs this file as a script. The argument is a folder with a request and the
inputs; the script writes the answer and the outputs to the same folder. The Python may belong to
another environment (`kerasport verify --python`), so this file imports only the standard
library and numpy, and runs on Python 3.8 and later.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import threading
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kerasport.verification.arrays import Arrays
    from kerasport.weights import Array

HALVES = ("float16", "bfloat16")
MODULES = ("keras", "tf_keras")
BACKENDS = ("tensorflow", "jax", "torch")
MARK = "kerasport-installed:"  # begins the line with the answer; site packages may print as well


@dataclass(frozen=True)
class Request:
    """What to run, and how."""

    module: str  # "keras" or "tf_keras"
    model: str  # a path with the extension that Keras expects
    weights: str | None = None  # path of the weights of an architecture JSON
    layers: tuple[str, ...] = ()  # layers whose outputs for the last batch are returned as well
    keras2_hard_sigmoid: bool = False
    unrounded: bool = False  # compute in float32, whatever the dtype policies of the layers are

    def write(self, folder: Path) -> None:
        """Write the request to the folder."""
        (folder / "request.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


# ---------------------------------------------------------------------------------- arrays in files


def save_arrays(path: Path, groups: Iterable[Sequence[Array]]) -> None:
    """Save groups of arrays as an `.npz`."""
    named: dict[str, Any] = {
        f"{group}.{index}": _storable(array)
        for group, arrays in enumerate(groups)
        for index, array in enumerate(arrays)
    }
    np.savez(path, **named)


def load_arrays(path: Path) -> tuple[Arrays, ...]:
    """Load the groups of arrays that `save_arrays` saved."""
    groups: dict[int, list[Array]] = {}
    with np.load(path) as stored:
        for name in stored.files:
            array = stored[name]
            groups.setdefault(int(name.split(".")[0]), []).append(
                array.astype(object) if array.dtype.kind == "U" else array
            )
    return tuple(tuple(arrays) for _, arrays in sorted(groups.items()))


def _storable(array: Array) -> Array:
    """The array in a dtype that an `.npz` keeps without pickling.

    numpy loses the dtypes bfloat16 and float8, which become float32. Strings are arrays of objects,
    `str` or (from TensorFlow) UTF-8 `bytes`; they become unicode arrays.
    """
    if array.dtype.kind in "biufU":
        return array
    if array.dtype.kind in "OS":
        texts = [
            text.decode() if isinstance(text, bytes) else text for text in array.ravel().tolist()
        ]
        return np.array(texts, "U").reshape(array.shape)
    return array.astype("float32")


# ------------------------------------------------------------------------------- what is installed


def installed() -> dict[str, Any]:
    """Versions of the installed Keras modules, and the installed backends; nothing is imported."""
    versions = {module: version_of(module) for module in MODULES}
    versions = {module: version for module, version in versions.items() if version}
    found = [name for name in BACKENDS if importlib.util.find_spec(name)]
    return {"versions": versions, "backends": found}


def version_of(module: str) -> str:
    """The version of an installed module, without importing it; empty if it is not installed."""
    if importlib.util.find_spec(module) is None:
        return ""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "3"  # a source tree


# ------------------------------------------------------------------------------------- the process


def end_with_parent() -> None:
    """Exit when the parent process ends and closes the other end of stdin."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(folder: str) -> None:
    """Answer the request in a folder."""
    try:
        answer = run(Path(folder))
    except Exception as error:  # noqa: BLE001  (Keras may raise anything; the user sees the message)
        # Python 3.8 and 3.9 need both arguments
        answer = {"error": "".join(traceback.format_exception_only(type(error), error)).strip()}
    Path(folder, "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def run(folder: Path) -> dict[str, Any]:
    """Load the model, run it on each batch, and save its outputs."""
    request = Request(**json.loads((folder / "request.json").read_text(encoding="utf-8")))
    keras = importlib.import_module(request.module)
    model = load(keras, request)
    if request.keras2_hard_sigmoid:
        restore_hard_sigmoid(keras, model)
    if request.unrounded:
        compute_in_float32(keras, model)
    feeds = load_arrays(folder / "inputs.npz")
    results = [call(keras, model, feed) for feed in feeds[:-1]]
    calls: list[tuple[str, Arrays]] = []

    def note(layer: str, outputs: Any) -> None:
        calls.append((layer, arrays_of(keras, outputs)))

    for layer in model.layers:
        if layer.name in request.layers:
            record(layer, functools.partial(note, layer.name))
    results.append(call(keras, model, feeds[-1]))
    save_arrays(folder / "outputs.npz", results)
    save_arrays(folder / "layers.npz", [outputs for _, outputs in calls])
    return {"calls": [name for name, _ in calls]}


def load(keras: Any, request: Request) -> Any:
    """Load the model. Keras's safe mode stays on, so that no code in the file runs."""
    if request.weights is None:
        return keras.models.load_model(request.model, compile=False)
    text = Path(request.model).read_text(encoding="utf-8")
    config = json.loads(text)
    if "class_name" in config:
        model = keras.models.model_from_json(text)
    else:  # the result of `get_config()`
        model = (keras.Model if "input_layers" in config else keras.Sequential).from_config(config)
    model.load_weights(request.weights)
    return model


def call(keras: Any, model: Any, feed: Arrays) -> Arrays:
    """The outputs for a batch, as a flat tuple."""
    tensors = [as_tensor(array) for array in feed]
    single = isinstance(model, keras.Sequential)  # Keras 3 has no `Sequential.input`
    inputs = tensors[0] if single else pack(model.input, iter(tensors))
    return arrays_of(keras, model(inputs, training=False))


def as_tensor(array: Array) -> Any:
    """Strings as a tensor of TensorFlow, the only backend with strings; other arrays unchanged."""
    if array.dtype.kind != "O":
        return array
    return importlib.import_module("tensorflow").constant(array, "string")


def pack(structure: Any, leaves: Iterator[Any]) -> Any:
    """The arrays in the structure of the model's inputs."""
    if isinstance(structure, dict):
        return {key: pack(structure[key], leaves) for key in sorted(structure)}
    if isinstance(structure, (list, tuple)):
        return [pack(item, leaves) for item in structure]
    return next(leaves)


def arrays_of(keras: Any, outputs: Any) -> Arrays:
    """The tensors of a structure as arrays."""
    to_numpy = keras.ops.convert_to_numpy if hasattr(keras, "ops") else np.asarray
    return tuple(np.asarray(to_numpy(output)) for output in flatten(outputs))


def flatten(structure: Any) -> list[Any]:
    """Leaves of nested tuples, lists and dicts; dicts by sorted key, as Keras flattens them."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in flatten(item)]
    return [structure]


def record(layer: Any, note: Callable[[Any], None]) -> None:
    """Pass the outputs of every call of a layer to `note`."""
    for method in ("call", "quantized_call"):
        if hasattr(layer, method):
            setattr(layer, method, _recording(getattr(layer, method), note))


def _recording(method: Callable[..., Any], note: Callable[[Any], None]) -> Callable[..., Any]:
    @functools.wraps(method)
    def recording(*args: Any, **kwargs: Any) -> Any:
        outputs = method(*args, **kwargs)
        note(outputs)
        return outputs

    return recording


def every_layer(model: Any) -> Sequence[Any]:
    """All layers of a model, including those inside wrappers, and cells."""
    # in Keras 2 and 3; no public function returns the layers inside wrappers
    return list(model._flatten_layers())  # noqa: SLF001


def restore_hard_sigmoid(keras: Any, model: Any) -> None:
    """Use the hard_sigmoid of Keras 2 where Keras 3 loaded its own, clip(x/6 + 0.5, 0, 1)."""

    def hard_sigmoid(x: Any) -> Any:
        return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    for layer in every_layer(model):
        for option in ("activation", "recurrent_activation"):
            if vars(layer).get(option) is keras.activations.hard_sigmoid:
                setattr(layer, option, hard_sigmoid)


def compute_in_float32(keras: Any, model: Any) -> None:
    """Disable rounding in 16-bit and float8 layers, and of inputs of int8 and int4 layers."""
    for layer in every_layer(model):
        mode = getattr(layer, "quantization_mode", None)
        if mode == "float8" or (mode is None and layer.compute_dtype in HALVES):
            set_policy(layer, "float32")
        elif layer.compute_dtype in HALVES:
            set_policy(layer, f"{mode}_from_float32")
        if getattr(layer, "inputs_quantizer", None):
            layer.inputs_quantizer = lambda inputs, axis: (inputs, _ones(keras, inputs, axis))


def set_policy(layer: Any, policy: str) -> None:
    """Set the dtype policy of a layer."""
    if hasattr(layer, "_set_dtype_policy"):  # Keras 2
        # Keras 2 has no public setter
        layer._set_dtype_policy(policy)  # noqa: SLF001
    else:
        layer.dtype_policy = policy


def _ones(keras: Any, inputs: Any, axis: Any) -> Any:
    """Scales of 1, in the shape of the scales that a quantizer returns."""
    return keras.ops.ones_like(keras.ops.max(inputs, axis=axis, keepdims=True))


if __name__ == "__main__":
    if sys.argv[1:]:
        end_with_parent()
        main(sys.argv[1])
    else:
        sys.stdout.write(MARK + json.dumps(installed()) + "\n")
