"""Records how the Keras versions of the table below store, and compute, quantized layers.

Each version gets a virtual environment of its own, in which this very file quantizes small
layers, saves them in a model, and takes their variables back out of that model file.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

RECORDED = Path(__file__).parent.parent / "tests" / "quantized"
BATCH = 2


@dataclass(frozen=True)
class Version:
    """A version of Keras, and the ways of quantizing that are recorded of it."""

    packages: tuple[str, ...]
    ways: str


JAX_2024 = ("jax[cpu]==0.4.30", "numpy==1.26.4", "ml-dtypes==0.4.1", "packaging")

VERSIONS: Mapping[str, Version] = {
    "3.3.3": Version(JAX_2024, "int8 float8"),
    "3.12.4": Version(("jax[cpu]==0.4.35",), "int8 int4 gptq_3 gptq_4"),
    "3.13.2": Version(("jax[cpu]==0.4.35",), "int8_weights int4 int4_weights"),
    "3.15.1": Version(
        ("jax[cpu]==0.10.2",),
        """
        int8 int4 int4_channels int4_inputs int4_2 float8
        gptq_2 gptq_4_3 gptq_8_ordered awq awq_3
        """,
    ),
}


# ---------------------------------------------------------------- layers


@dataclass(frozen=True)
class Layer:
    """A layer to quantize, and the shape of its input without the batch."""

    class_name: str
    options: Mapping[str, Any]
    shape: tuple[int, ...] = ()  # empty for an embedding

    @property
    def attention(self) -> bool:
        return "Attention" in self.class_name


def dense(inputs: int, units: int, **options: Any) -> Layer:
    biased = {"units": units, "bias_initializer": "normal", **options}
    return Layer("Dense", biased, (inputs,))


def einsum(equation: str, shape: tuple[int, ...], *output: int | None, bias: str = "") -> Layer:
    options = {"output_shape": output, "bias_axes": bias or None, "bias_initializer": "normal"}
    return Layer("EinsumDense", {"equation": equation, **options}, shape)


def embedding(class_name: str, tokens: int, features: int, **options: Any) -> Layer:
    return Layer(class_name, {"input_dim": tokens, "output_dim": features, **options})


LAYERS: Mapping[str, Layer] = {
    "dense": dense(5, 3),
    "dense_no_bias": dense(4, 5, use_bias=False),
    "dense_even": dense(6, 4),
    "dense_one_input": dense(1, 3),
    "dense_one_unit": dense(5, 1),
    "dense_one": dense(1, 1),
    "dense_bfloat16": dense(5, 3, dtype="bfloat16"),
    "einsum": einsum("ab,bc->ac", (5,), 3),
    "einsum_heads": einsum("abc,cde->abde", (3, 7), None, 2, 3, bias="de"),
    "einsum_joined": einsum("abcd,cde->abe", (2, 3, 5), None, 7, bias="e"),
    "einsum_elided": einsum("...x,xy->...y", (2, 5), 3, bias="y"),
    "einsum_elided_right": einsum("ab...,bc->ac...", (5, 2), 3, bias="c"),
    "einsum_transposed": einsum("abc,dc->abd", (2, 3), None, 5, bias="d"),
    "einsum_square": einsum("abc,dc->abd", (2, 4), None, 4),
    "einsum_swapped": einsum("abc,cde->aebd", (2, 3), 5, None, 3),
    "einsum_summed": einsum("abc,bcd->ad", (3, 2), 5, bias="d"),
    "einsum_shared": einsum("abc,bcd->abd", (3, 4), 3, 5, bias="bd"),
    "embedding": embedding("Embedding", 6, 5),
    "embedding_even": embedding("Embedding", 5, 4),
    "embedding_one": embedding("Embedding", 4, 1),
    "tied": embedding("ReversibleEmbedding", 6, 5),
    "untied": embedding("ReversibleEmbedding", 6, 5, tie_weights=False),
    "attention": Layer(
        "MultiHeadAttention", {"num_heads": 3, "key_dim": 3, "value_dim": 2}, (2, 7)
    ),
    "grouped_attention": Layer(
        "GroupQueryAttention",
        {"head_dim": 5, "num_query_heads": 4, "num_key_value_heads": 2},
        (2, 7),
    ),
}


# ---------------------------------------------------------------- ways of quantizing


def quantize(keras: Any, net: Any, config: str, **options: Any) -> None:
    net.quantize(config=getattr(keras.quantizers, config)(**options))


def calibrate(keras: Any, net: Any, mode: str, **options: Any) -> None:
    """What Keras does with each layer of a language model, with noise for its inputs."""
    config = getattr(keras.quantizers, f"{mode}Config")(dataset=[], tokenizer=str, **options)
    module = importlib.import_module(f"keras.src.quantizers.{mode.lower()}")
    for layer in net._flatten_layers(include_self=False):  # noqa: SLF001
        if type(layer) in (keras.layers.Dense, keras.layers.EinsumDense):
            layer.quantize(mode.lower(), config=config)
            work = getattr(module, mode)(layer, config)
            inputs = keras.ops.convert_to_tensor(noise(16, int(work.rows)))
            if mode == "GPTQ":
                work.update_hessian_with_batch(inputs)
                work.quantize_and_correct_layer()
            else:
                work.update_activation_magnitudes(inputs)
                work.quantize_layer()


def gptq(**options: Any) -> Callable[[Any, Any], None]:
    return lambda keras, net: calibrate(keras, net, "GPTQ", **options)


def awq(**options: Any) -> Callable[[Any, Any], None]:
    return lambda keras, net: calibrate(keras, net, "AWQ", **options)


def int4(**options: Any) -> Callable[[Any, Any], None]:
    return lambda keras, net: quantize(keras, net, "Int4QuantizationConfig", **options)


WAYS: Mapping[str, Callable[[Any, Any], None]] = {
    "int8": lambda _, net: net.quantize("int8"),
    "int8_weights": lambda keras, net: quantize(
        keras, net, "Int8QuantizationConfig", activation_quantizer=None
    ),
    "int4": lambda _, net: net.quantize("int4"),
    "int4_weights": int4(activation_quantizer=None),  # of Keras 3.13, which knows no blocks
    "int4_channels": int4(block_size=None),
    "int4_inputs": lambda keras, net: int4(
        block_size=None, activation_quantizer=keras.quantizers.AbsMaxQuantizer()
    )(keras, net),
    "int4_2": int4(block_size=2),
    "float8": lambda _, net: net.quantize("float8"),
    "gptq_2": gptq(weight_bits=2),
    "gptq_3": gptq(weight_bits=3, group_size=-1),
    "gptq_4": gptq(group_size=-1),
    "gptq_4_3": gptq(group_size=3),
    "gptq_8_ordered": gptq(weight_bits=8, group_size=2, activation_order=True, symmetric=True),
    "awq": awq(group_size=-1),
    "awq_3": awq(group_size=3),
}


def possible(keras: Any, name: str, way: str) -> bool:
    """Whether this version of Keras quantizes the layer that way at all."""
    mode, layer = way.partition("_")[0], LAYERS[name]
    if not hasattr(keras.layers, layer.class_name):
        return False
    if "Embedding" in layer.class_name:
        first = (3, 12) if mode == "int4" else (3, 3)
        return mode in ("int8", "int4") and version(keras) >= first
    if layer.attention and ("_weights" in way or "_inputs" in way):
        return False  # the file would not tell which inputs Keras rounds
    if "elided" in name:
        return mode == "float8"  # the other modes fail on an ellipsis
    return "bfloat16" not in name or mode in ("int8", "int4")  # gptq fails on it


def version(keras: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in keras.__version__.split(".")[:2])


# ---------------------------------------------------------------- seeing


@dataclass(frozen=True)
class Seen:
    """A layer, as the file has it and as Keras computes it."""

    class_name: str
    config: Mapping[str, Any]
    x: Array
    y: Array
    original: tuple[Array, ...]  # weights before quantization
    stored: tuple[Array, ...]
    reverse: tuple[Array, ...] = ()  # input and output of a call with `reverse=True`


def noise(*shape: int) -> Array:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def see(keras: Any, name: str, way: str) -> Iterator[tuple[str, Seen]]:
    """The layer, quantized that way, or each of the layers inside of it that has weights."""
    layer = LAYERS[name]
    keras.utils.set_random_seed(7)
    inputs = keras.Input(layer.shape, dtype="float32" if layer.shape else "int32")
    whole = getattr(keras.layers, layer.class_name)(**layer.options)
    net = keras.Model(inputs, whole(*[inputs] * (2 if layer.attention else 1)))
    parts = {"": whole}
    if layer.attention:
        dense = keras.layers.EinsumDense
        parts = {key.strip("_"): v for key, v in vars(whole).items() if isinstance(v, dense)}
    original = {key: tuple(map(as_array, part.weights)) for key, part in parts.items()}
    WAYS[way](keras, net)
    saved, groups = save(net)
    for key, part in parts.items():
        config = saved["config"]
        if part is not whole:
            # The file has no config of it; this is what that of the whole layer leads to.
            own = part.get_config()
            config = {key: own[key] for key in ("equation", "output_shape", "bias_axes")}
            config["dtype"] = saved["config"]["dtype"]
        stored = next(v for path, v in groups.items() if path.strip("_").endswith(key))
        if way.startswith(("gptq", "awq")) and (3, 14) <= version(keras) < (3, 16):
            # These leave the zero points out of the file; here is what it should have.
            names = part.variable_serialization_spec[way.partition("_")[0]]
            variables = [getattr(part, variable) for variable in names]
            stored = tuple(as_array(v) for v in variables if v is not None)
        x = as_input(layer, part, original[key])
        reverse: tuple[Array, ...] = ()
        if layer.class_name == "ReversibleEmbedding":
            vectors = noise(BATCH, part.output_dim)
            reverse = vectors, as_array(part(vectors, reverse=True))
        y = as_array(part(x))
        seen = Seen(type(part).__name__, config, x, y, original[key], stored, reverse)
        yield f"{way}:{name}" + (f"/{key}" if key else ""), seen


def save(net: Any) -> tuple[Any, dict[str, tuple[Array, ...]]]:
    """What the file of a model has for its one layer: the object, and the groups of variables."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        net.save(str(path))
        archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    layers = json.loads(archive.read("config.json"))["config"]["layers"]
    groups: dict[str, tuple[Array, ...]] = {}
    with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        paths: list[str] = []
        file["layers"].visit(paths.append)
        for name in (p for p in paths if p.endswith("/vars") and len(file["layers"][p])):
            group = file["layers"][name]
            numbers = sorted(group, key=int)
            groups[name[: -len("/vars")]] = tuple(as_variable(group[n]) for n in numbers)
    return layers[1], groups


def as_variable(dataset: Any) -> Array:
    array = np.asarray(dataset[()])
    return array.view(ml_dtypes.bfloat16) if "dtype" in dataset.attrs else array


def as_array(tensor: Any) -> Array:
    return np.asarray(importlib.import_module("keras").ops.convert_to_numpy(tensor))


def as_input(layer: Layer, part: Any, weights: Sequence[Array]) -> Array:
    if not layer.shape:
        return np.arange(layer.options["input_dim"], dtype=np.int32)
    if not layer.attention:
        return noise(BATCH, *layer.shape)
    labels, _, kernel = part.equation.partition("->")[0].partition(",")
    sizes = dict(zip(kernel, weights[0].shape, strict=True))
    return noise(*(sizes.get(label, BATCH) for label in labels))


# ---------------------------------------------------------------- recording


def encode(array: Array) -> list[Any]:
    return [array.dtype.name, array.shape, base64.b64encode(array.tobytes()).decode()]


def decode(dtype: str, shape: Sequence[int], data: str) -> Array:
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape)


def write(keras: Any, path: Path) -> None:
    """Record all that the version at hand does, in the ways of the table."""
    entries: dict[str, Any] = {}
    for way in VERSIONS[keras.__version__].ways.split():
        for name in LAYERS:
            if possible(keras, name, way):
                entries.update((key, as_json(seen)) for key, seen in see(keras, name, way))
        print(f"keras {keras.__version__}: {way}", flush=True)
    data = json.dumps(entries).encode()
    path.write_bytes(gzip.compress(data, mtime=0))


def as_json(seen: Seen) -> dict[str, Any]:
    return {
        "class_name": seen.class_name,
        "config": seen.config,
        "arrays": [encode(seen.x), encode(seen.y)],
        **{k: [encode(a) for a in getattr(seen, k)] for k in ("original", "stored", "reverse")},
    }


def read(path: Path) -> dict[str, Seen]:
    """The layers in a recorded file."""
    entries = json.loads(gzip.decompress(path.read_bytes()))
    return {key: of_json(entry) for key, entry in entries.items()}


def of_json(entry: Mapping[str, Any]) -> Seen:
    x, y = (decode(*array) for array in entry["arrays"])
    original, stored, reverse = (
        tuple(decode(*array) for array in entry[key]) for key in ("original", "stored", "reverse")
    )
    return Seen(entry["class_name"], entry["config"], x, y, original, stored, reverse)


def main() -> None:
    parser = argparse.ArgumentParser(description="Record quantized layers.")
    parser.add_argument("versions", nargs="*", help="of Keras (default: all of the table)")
    parser.add_argument("--to", type=Path, default=RECORDED, help="where the files go")
    parser.add_argument("--here", action="store_true", help="by the Keras of this environment")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    if options.here:
        keras = importlib.import_module("keras")
        write(keras, options.to / f"keras-{keras.__version__}.json.gz")
        return
    for name in options.versions or VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            python = Path(folder, "bin", "python")
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            packages = (f"keras=={name}", *VERSIONS[name].packages)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
            environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
            command = [python, __file__, "--here", "--to", options.to]
            subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
