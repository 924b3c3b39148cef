"""The networks of keras.applications, with random weights, in TF.js."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import applications, layers
from tests.cases.case import LAYERS_MODEL
from tests.cases.trial import quiet, random_weight, undrawn_weights

import kerasport
from kerasport.verification.tfjs import Backend, Tfjs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


HEADLESS = {"include_top": False, "pooling": "avg"}
TEN = {"classes": 10, "classifier_activation": None}  # a softmax would hide large numbers behind the largest


@dataclass(frozen=True)
class Network:
    """A network, at the smallest size that it takes."""

    make: Callable[..., keras.Model]
    size: int = 32
    backends: tuple[Backend, ...] = ("wasm",)
    options: Mapping[str, Any] = field(default_factory=lambda: TEN)

    @property
    def name(self) -> str:
        """The name of the network."""
        return self.make.__name__


NETWORKS = (
    Network(applications.ResNet50),
    # its head pools with keepdims, which a layers-model lacks
    Network(applications.MobileNet, backends=("cpu", "wasm"), options={**HEADLESS, "alpha": 0.25}),
    Network(applications.MobileNetV2, backends=("cpu", "wasm"), options={**TEN, "alpha": 0.35}),
    # its two dense layers hold nine tenths of the weights
    Network(applications.VGG16, options=HEADLESS),
    Network(applications.InceptionV3, 75),
    Network(applications.Xception, 71),
    Network(applications.DenseNet121),
)


def randomise(model: keras.Model, rng: np.random.Generator) -> None:
    """Random weights under which the numbers neither grow nor fade from layer to layer."""
    for layer in model.layers:
        for variable in layer.weights:
            shape = tuple(variable.shape)
            each_channel = isinstance(layer, layers.DepthwiseConv2D) or variable.name == "depthwise_kernel"
            values = random_weight(variable.name, shape, rng)
            if "kernel" in variable.name:
                values = rng.normal(0, math.sqrt(2 / math.prod(shape[:2] if each_channel else shape[:-1])), shape)
            elif "variance" not in variable.name:
                values = 0.2 * values + (0.8 if "gamma" in variable.name else 0)
            variable.assign(values)


@pytest.mark.parametrize("network", NETWORKS, ids=attrgetter("name"))
def test_layers_model_of_a_network_computes_what_keras_computes(network: Network, tfjs: Tfjs, tmp_path: Path) -> None:
    rng = np.random.default_rng(zlib.crc32(network.name.encode()))
    size, path = (network.size, network.size, 3), tmp_path / "model.keras"
    images = rng.normal(0, 1, (2, *size)).astype("float32")
    with quiet(), undrawn_weights():
        model = network.make(weights=None, input_shape=size, **network.options)
        randomise(model, rng)
        model.save(path)
        wanted = keras.ops.convert_to_numpy(model(images, training=False))
    scale = np.abs(wanted).max()
    assert np.isfinite(scale)
    assert wanted.std(axis=0).max() > 1e-3 * scale, "the two images are told apart"
    kerasport.convert(path, tmp_path / "web_model", to=LAYERS_MODEL)
    for backend in network.backends:
        (got,), *_ = tfjs.run(tmp_path / "web_model", [[images]], backend=backend).results
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got / scale, wanted / scale, rtol=1e-4, atol=1e-5, err_msg=backend)
