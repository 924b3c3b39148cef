"""The networks of keras.applications, with random weights, in TF.js."""

from __future__ import annotations

import inspect
import json
import math
import zlib
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import applications, layers
from tests.cases.case import GRAPH_MODEL, LAYERS_MODEL
from tests.cases.trial import inner_layers, quiet, random_weight, undrawn_weights
from tests.onnx_runtime import close, operators, run

import kerasport
from kerasport.frontends.keras.read.calls import Builder
from kerasport.frontends.keras.read.describe import Described, Describer
from kerasport.frontends.keras.read.stored import Stored
from kerasport.targets import planned
from kerasport.targets.tfjs.document import TfjsPlan
from kerasport.weights import ComputedWeight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.cases.case import Array

    from kerasport.frontends.keras.model import KerasModel
    from kerasport.verification.runtimes.tfjs import Backend, Tfjs

HEADLESS = {"include_top": False, "pooling": "avg"}
TEN = {
    "classes": 10,
    "classifier_activation": None,
}  # a softmax would hide large numbers behind the largest
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
"""The smallest images that a network takes, where those are not of 32 pixels."""


@dataclass(frozen=True)
class Network:
    """A network, at the smallest size that it takes."""

    name: str
    backends: tuple[Backend, ...] = ("wasm",)
    options: Mapping[str, Any] = field(default_factory=lambda: TEN)
    pixels: bool = False  # whether it rescales its images itself
    onnx_atol: float = (
        1e-5  # of the largest number; more where ONNX Runtime orders its sums otherwise
    )
    gain: float = (
        1.0  # by which kernels are larger, where activations and gates make the numbers smaller
    )

    def make(self) -> keras.Model:
        """The network, as Keras builds it."""
        size = SIZES.get(self.name, 32)
        return getattr(applications, self.name)(
            weights=None, input_shape=(size, size, 3), **self.options
        )


NETWORKS = (
    Network("ResNet50"),
    Network("ResNet50V2"),
    Network("MobileNet", backends=("cpu", "wasm"), options={**TEN, "alpha": 0.25}),
    Network("MobileNetV2", backends=("cpu", "wasm"), options={**TEN, "alpha": 0.35}),
    Network("MobileNetV3Small", pixels=True, gain=1.4, backends=("cpu", "wasm"), onnx_atol=3e-5),
    Network("MobileNetV3Large", pixels=True, gain=1.4),
    # its two dense layers hold nine tenths of the weights
    Network("VGG16", options=HEADLESS),
    Network("VGG19", options=HEADLESS),
    Network("InceptionV3"),
    Network("InceptionResNetV2"),
    Network("Xception"),
    Network("DenseNet121"),
    Network("EfficientNetB0", pixels=True, gain=1.2),
    Network("EfficientNetV2B0", pixels=True),
    Network("ConvNeXtTiny", pixels=True),
    Network("NASNetMobile"),
)


def randomize(model: keras.Model, rng: np.random.Generator, gain: float) -> None:
    """Random weights under which the numbers neither grow nor fade from layer to layer."""
    for layer in inner_layers(model):
        if isinstance(layer, keras.Model):
            continue
        for variable in layer.weights:
            shape = tuple(variable.shape)
            each_channel = (
                isinstance(layer, layers.DepthwiseConv2D) or variable.name == "depthwise_kernel"
            )
            values = random_weight(variable.name, shape, rng)
            if "kernel" in variable.name:
                taken = math.prod(shape[:2] if each_channel else shape[:-1])
                values = rng.normal(0, gain * math.sqrt(2 / taken), shape)
            elif "variance" not in variable.name:
                values = 0.2 * values + (0.8 if "gamma" in variable.name else 0)
            variable.assign(values)
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # as it does when it is loaded


class Trial:
    """A network with random weights, saved, and what Keras makes of two images."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.path = network, folder / "model.keras"
        rng = np.random.default_rng(zlib.crc32(network.name.encode()))
        with quiet(), undrawn_weights():
            model = network.make()
            randomize(model, rng, network.gain)
            model.save(self.path)
            shape = (2, *model.input_shape[1:])
            images = rng.uniform(0, 255, shape) if network.pixels else rng.normal(0, 1, shape)
            images[1] *= 0.4  # or what is pooled over a whole image of noise is much the same
            self.images: Array = images.astype("float32")
            self.wanted: Array = keras.ops.convert_to_numpy(model(self.images, training=False))

    def compare(self, target: str, tfjs: Tfjs, folder: Path) -> None:
        """Assert that TF.js computes the same."""
        scale = np.abs(self.wanted).max()
        assert np.isfinite(scale)
        assert self.wanted.std(axis=0).max() > 1e-3 * scale, "the two images are told apart"
        kerasport.convert(self.path, folder / "web_model", to=target)
        for backend in self.network.backends:
            (got,), *_ = tfjs.run(folder / "web_model", [[self.images]], backend=backend).results
            assert got.shape == self.wanted.shape
            # a hundred layers in float32, each of which sums in an order of its own
            np.testing.assert_allclose(
                got / scale, self.wanted / scale, rtol=1e-4, atol=3e-5, err_msg=backend
            )


QUICK = "MobileNetV2"  # the network that the quick suite tries
ALL = [
    pytest.param(each, marks=[pytest.mark.exhaustive] * (each.name != QUICK)) for each in NETWORKS
]


@pytest.fixture(scope="module", params=ALL, ids=attrgetter("name"))
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A network, built and run by Keras once for all tests."""
    return Trial(request.param, tmp_path_factory.mktemp("network"))


def test_layers_model_of_a_network_computes_what_keras_computes(
    network: Trial, tfjs: Tfjs, tmp_path: Path
) -> None:
    network.compare(LAYERS_MODEL, tfjs, tmp_path)


def test_graph_model_of_a_network_computes_what_keras_computes(
    network: Trial, tfjs: Tfjs, tmp_path: Path
) -> None:
    network.compare(GRAPH_MODEL, tfjs, tmp_path)


TRANSPOSES = {"ConvNeXtTiny": 37}  # its normalizations and dense layers work along the last axis
"""Network → number of transposes in its ONNX model, if it is not just the one at the input."""


def test_onnx_model_of_a_network_computes_what_keras_computes(
    network: Trial, tmp_path: Path
) -> None:
    out = tmp_path / "model.onnx"
    kerasport.convert(network.path, out)
    ((got,),) = run(out, [[network.images]])
    scale = np.abs(network.wanted).max()
    close([network.wanted / scale], [got / scale], rtol=1e-4, atol=network.network.onnx_atol)
    assert operators(out)["Transpose"] == TRANSPOSES.get(network.network.name, 1)


# ---------------------------------------------------------------------------------- all the others

EVERY = sorted(name for name, made in vars(applications).items() if inspect.isfunction(made))


def described(model: keras.Model) -> KerasModel:
    """A model without created weights, as the reader would describe it with zeros."""
    root = Describer(keras.__version__).describe(json.loads(model.to_json()))
    shapes = {
        layer.name: [tuple(weight.shape) for weight in layer.weights]
        for layer in inner_layers(model)
    }
    stored = {layer: Stored(tuple(map(zeros, shapes[layer.name]))) for layer in layers_of(root)}
    return Builder(stored, keras.__version__).model(root)


def layers_of(model: Described) -> Iterator[Described]:
    """The layers of a model and of those inside it."""
    for member, _ in model.members:
        yield from (
            layers_of(member) if member.members else (member,) if member.kind == "layer" else ()
        )


def zeros(shape: tuple[int, ...]) -> ComputedWeight:
    return ComputedWeight(np.dtype(np.float32), shape, lambda: np.zeros(shape, np.float32))


def test_every_network_of_keras_applications_has_a_row() -> None:
    assert {network.name for network in NETWORKS} <= set(EVERY)
    assert len(EVERY) >= 38


@pytest.mark.representative(of=lambda name: "one of them")
@pytest.mark.parametrize("name", sorted(set(EVERY) - {network.name for network in NETWORKS}))
def test_larger_networks_become_graph_models(name: str) -> None:
    with (
        quiet(),
        keras.StatelessScope(initialize_variables=False),
    ):  # variables of which only the shapes are there
        model = Network(name).make()
    plan = planned(described(model), GRAPH_MODEL, max_size=2**32)
    assert isinstance(plan, TfjsPlan)
    assert plan.problems == ()
    (output,) = plan.document["signature"]["outputs"].values()
    assert [size["size"] for size in output["tensorShape"]["dim"]] == ["-1", "10"]
    assert not {node["op"] for node in plan.document["modelTopology"]["node"]} & {
        "FusedBatchNormV3",
        "Einsum",
    }
