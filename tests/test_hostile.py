"""Hostile configs and models: code in files, cycles, absurd options, damaged files.

Whatever a file holds, the conversion works or ends in one message; `forged.outcome` checks
what else must be true.
"""

from __future__ import annotations

import base64
import json
import marshal
import os
import pickle
import random
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests import forged
from tests.forged import (
    DENSE,
    RECORDED,
    TARGETS,
    Json,
    dense,
    functional,
    given,
    hdf5,
    keras,
    layer,
    legacy,
    no_weights,
    outcome,
    put,
    refused,
    sequential,
    tensor,
    text_of,
    unzipped,
)  # fmt: skip
from tests.hostile import DEFLATED, between, deep_list, each, options, relu

import kerasport
from kerasport.errors import (
    KerasportError,
    UnsupportedModel,
    legible,
)

PWN = "open('pwned', 'w').close() or __import__('os').system('touch pwned')"

# --------------------------------------------------------------------------------------------- code


BYTECODE = base64.b64encode(marshal.dumps(compile(PWN, "x", "eval"))).decode()


LAMBDA = {
    "class_name": "__lambda__",
    "config": {"code": BYTECODE, "defaults": None, "closure": None},
}


class _Pickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


PICKLE = base64.b64encode(pickle.dumps(_Pickled())).decode()


def function(name: str, module: str = "builtins") -> Json:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


CODE: dict[str, Json] = {
    "lambda layer": between(layer("Lambda", "l", function=LAMBDA, arguments={})),
    "lambda layer of Keras 2": between(
        layer("Lambda", "l", function=[BYTECODE, None, None], function_type="lambda")
    ),
    "lambda of a module": between(
        layer("Lambda", "l", function="system", function_type="function", module="os")
    ),
    "lambda as activation": between(dense(activation=LAMBDA)),
    "lambda as initializer": between(dense(kernel_initializer=LAMBDA)),
    "lambda as regularizer": between(dense(kernel_regularizer=LAMBDA)),
    "lambda as constraint": between(dense(bias_constraint=LAMBDA)),
    "lambda as dtype": between(dense(dtype=LAMBDA)),
    "lambda as units": between(dense(units=LAMBDA)),
    "lambda as name": between(dense(name=LAMBDA)),  # type: ignore[arg-type]
    "lambda as class": between({**dense(), "class_name": LAMBDA}),
    "lambda as model": LAMBDA,
    "lambda in build_config": between({**dense(), "build_config": {"input_shape": LAMBDA}}),
    "lambda as argument": functional(given(), dense("dense", tensor("x"), LAMBDA)),
    "lambda as keyword": functional(
        given(),
        {
            **dense("dense", "x"),
            "inbound_nodes": [{"args": [tensor("x")], "kwargs": {"mask": LAMBDA}}],
        },
    ),
    "lambda as loss": {
        **DENSE,
        "compile_config": {"optimizer": "adam", "loss": LAMBDA, "metrics": [LAMBDA]},
    },
    "lambda as optimizer": {
        **DENSE,
        "compile_config": {"optimizer": LAMBDA, "loss": {"a": LAMBDA}},
    },
    "function of os as activation": between(dense(activation=function("system", "os"))),
    "dotted function as activation": between(dense(activation="os.system")),
    "get_file as activation": between(dense(activation=function("get_file", "keras.utils"))),
    "unsafe mode as layer": between(
        layer("function", "f", module="keras.config") | {"config": "enable_unsafe_deserialization"},
        layer("Lambda", "l", function=LAMBDA),
    ),
    "os.system as layer": between(
        {"module": "os", "class_name": "system", "config": {"command": "touch pwned"}}
    ),
    "subprocess as layer": between(
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "pwned"]}}
    ),
    "get_file as layer": between(
        {
            "module": "keras.utils",
            "class_name": "get_file",
            "config": {"fname": "pwned", "origin": "http://127.0.0.1:9/x"},
        }
    ),
    "load_model as layer": between(
        {
            "module": "keras.models",
            "class_name": "load_model",
            "config": {"filepath": "x.keras", "safe_mode": False},
        }
    ),
    "custom package as layer": between(
        {**dense(), "module": "evil", "registered_name": "evil>Dense"}
    ),
    "torch pickle": between(
        layer("TorchModuleWrapper", "t", module="keras.layers", module_=PICKLE)
    ),
    "torch pickle under its key": between(
        {
            "module": "keras.layers",
            "class_name": "TorchModuleWrapper",
            "config": {"name": "t", "module": PICKLE},
        }
    ),
    "SavedModel of a layer": between(
        layer("TFSMLayer", "t", filepath="/etc", call_endpoint="serve")
    ),
    "vocabulary of a file": between(
        layer("StringLookup", "s", vocabulary="/etc/passwd", max_tokens=None)
    ),
    "vocabulary of a URL": between(
        layer("TextVectorization", "s", vocabulary="http://127.0.0.1:9/v.txt")
    ),
    "vocabulary of integers": between(layer("IntegerLookup", "s", vocabulary="/etc/passwd")),
    "wrapped code": between(
        layer("TimeDistributed", "t", layer=layer("Lambda", "l", function=LAMBDA))
    ),
    "vectorized map": functional(
        given(), layer("VectorizedMap", "dense", "x", module="keras.src.ops.core", function=LAMBDA)
    ),
}


@pytest.mark.parametrize(("name", "to"), each(CODE))
def test_code_is_never_run(name: str, to: str, folder: Path) -> None:
    outcome(put(folder / "m.keras", keras(CODE[name])), to=to)
    outcome(put(folder / "m.h5", hdf5(legacy(CODE[name]))), to=to)


IN_TRAINING = {
    name: CODE[name]
    for name in (
        "lambda as initializer",
        "lambda as regularizer",
        "lambda as constraint",
        "lambda as loss",
        "lambda as optimizer",
    )
} | {
    "lambda as regularizer of what it computes": between(dense(activity_regularizer=LAMBDA)),
    "lambda of Keras 2 as regularizer": between(dense(kernel_regularizer=[BYTECODE, None, None])),
    "function of os as initializer": between(dense(bias_initializer=function("system", "os"))),
    "function of os as constraint": between(dense(kernel_constraint=function("system", "os"))),
    "lambda within a regularizer": between(
        dense(
            kernel_regularizer={
                "module": "keras.regularizers",
                "class_name": "L2",
                "config": {"l2": LAMBDA},
            }
        )
    ),
    "class of os as loss": {
        **DENSE,
        "compile_config": {"optimizer": "adam", "loss": function("system", "os")},
    },
    "code as loss": {
        **DENSE,
        "compile_config": {"optimizer": "adam", "loss": BYTECODE, "metrics": ["mse"]},
    },
    "lambda as metric": {
        **DENSE,
        "compile_config": {"optimizer": "adam", "loss": "mse", "metrics": [LAMBDA]},
    },
    "lambda as learning rate": {
        **DENSE,
        "compile_config": {
            "loss": "mse",
            "optimizer": {
                "module": "keras.optimizers",
                "class_name": "Adam",
                "config": {"learning_rate": LAMBDA},
            },
        },
    },
}


"""Code where a model keeps what shapes its training, and never what it computes."""


@pytest.mark.parametrize("to", [*TARGETS, "onnx"])
@pytest.mark.parametrize("name", IN_TRAINING)
def test_code_for_training_is_omitted(name: str, to: str, folder: Path, tmp_path: Path) -> None:
    """The model computes the same without the code, and a note reports the omission."""
    out = tmp_path / ("m.onnx" if to == "onnx" else "out")
    source = put(folder / "m.keras", keras(IN_TRAINING[name]))
    with (
        nullcontext() if to == "onnx" else forged.watched(tmp_path)
    ):  # which imports packages of its own
        done = kerasport.convert(source, out, to=to)
    written = b"".join(path.read_bytes() for path in ([out] if out.is_file() else out.iterdir()))
    assert BYTECODE.encode() not in written
    assert b"lambda" not in written
    assert b"system" not in written
    if to == "tfjs-layers" and "initializer" not in name:
        assert any(re.search("training", note) for note in done.notes)


@pytest.mark.parametrize(
    "name", ["lambda layer", "os.system as layer", "torch pickle under its key"]
)
def test_code_is_named_in_the_refusal(name: str, folder: Path) -> None:
    class_name = CODE[name]["config"]["layers"][1]["class_name"]
    refused(
        put(folder / "m.keras", keras(CODE[name], hdf5(no_weights))),
        f"cannot be converted exactly.*\n.*{class_name}",
    )


# ------------------------------------------------------------------------------------------ configs


def shaped(shape: Any) -> Json:
    return sequential(
        {**given(), "config": {"name": "x", "dtype": "float32", "batch_shape": shape}}, dense()
    )


def inline(value: Any, dtype: Any) -> Json:
    """An array in the config."""
    return between(
        layer(
            "ReLU",
            "r",
            max_value={"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}},
        )
    )


WEIGHTLESS: dict[str, tuple[Json, str]] = {
    "a cycle": (
        functional(given(), relu("a", "b"), relu("b", "a"), outputs="b"),
        "depends on its own output",
    ),
    "a layer of itself": (
        functional(given(), relu("a", "a"), outputs="a"),
        "depends on its own output",
    ),
    "a layer that is not there": (
        functional(given(), relu("a", "b"), outputs="a"),
        "'b', which the model does not have",
    ),
    "a call that is not there": (
        functional(given(), relu("a", tensor("x", 7)), outputs="a"),
        "call 7 of layer 'x'",
    ),
    "a call before the first": (
        functional(given(), relu("a", tensor("x", -1)), outputs="a"),
        "call -1 of layer 'x'",
    ),
    "an output that is not there": (
        functional(given(), relu("a", tensor("x", 0, 5)), outputs="a"),
        "output 5",
    ),
    "an output of a layer that is not there": (
        functional(given(), relu("a", "x"), relu("b", tensor("a", 0, 1)), outputs="b"),
        "layer 'a'.*output 1|output 1 of layer 'a'",
    ),
    "an output of the model that is not there": (
        functional(given(), relu("a", "x"), outputs=[["a", 0, 2]]),
        "layer 'a'.*output 2|output 2 of layer 'a'",
    ),
    "an output before the first": (
        functional(given(), relu("a", tensor("x", 0, -1)), outputs="a"),
        "output -1 of layer 'x'",
    ),
    "an output of a text": (
        functional(given(), relu("a", tensor("x", 0, "0")), outputs="a"),
        "expected .layer, node",
    ),
    "an output of a text in Keras 2": (
        functional(given(), {**relu("a"), "inbound_nodes": [[["x", 0, [0], {}]]]}, outputs="a"),
        "expected .layer, node",
    ),
    "an input that is called": (
        functional(
            given(),
            {**given("y"), "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]},
            outputs="y",
        ),
        "InputLayer 'y' is called",
    ),
    "an input in the middle": (sequential(given(), relu(), given("y")), "InputLayer 'y' is called"),
    "an input that the model does not have": (
        functional(given(), given("y"), relu("a", "y"), outputs="a"),
        "the InputLayer 'y' is needed",
    ),
    "called on None": (functional(given(), relu("a", "x", None), outputs="a"), ""),
    "called by a name alone": (
        functional(
            given(shape=(None, 4, 3)),
            {
                **layer("GlobalMaxPooling1D", "a"),
                "inbound_nodes": [{"args": [], "kwargs": {"mask": tensor("x")}}],
            },
            outputs="a",
        ),
        "",
    ),
    "an array for a truth value": (
        functional(
            given(
                optional={"class_name": "__numpy__", "config": {"value": [1, 2], "dtype": "int32"}}
            ),
            relu("a", "x"),
            outputs="a",
        ),
        "",
    ),
    "an initial state of a text": (
        functional(
            given(shape=(None, 4, 3)),
            {
                **layer("GRU", "a", units=2),
                "inbound_nodes": [{"args": [tensor("x")], "kwargs": {"initial_state": "a"}}],
            },
            outputs="a",
        ),
        "",
    ),
    "a difference of three": (
        functional(given(), layer("Subtract", "a", "x", "x", "x"), outputs="a"),
        "",
    ),
    "a only one of mean and variance": (
        between(layer("Normalization", "n", mean=1.0)),
        "only one of mean and variance",
    ),
    "a pooling in a Bidirectional": (
        sequential(
            given(shape=(None, 8, 3)), layer("Bidirectional", "b", layer=layer("MaxPooling1D", "p"))
        ),
        "is a MaxPooling1D, which cannot be wrapped",
    ),
    "an operation on a dict": (
        functional(
            given(),
            layer("Negative", "a", {"a": tensor("x")}, module="keras.src.ops.numpy"),
            outputs="a",
        ),
        "",
    ),
    "an operation on a list": (
        functional(
            given(),
            layer("Pad", "a", [tensor("x")], module="keras.src.ops.numpy", pad_width=1),
            outputs="a",
        ),
        "",
    ),
    "a slice to a list": (
        functional(
            given(),
            layer("GetItem", "a", module="keras.src.ops.numpy")
            | {
                "inbound_nodes": [
                    {
                        "args": [
                            tensor("x"),
                            [
                                {
                                    "class_name": "__slice__",
                                    "config": {"start": None, "stop": [1], "step": None},
                                }
                            ],
                        ],
                        "kwargs": {},
                    }
                ]
            },
            outputs="a",
        ),
        "",
    ),
    "an input twice": (
        functional(given(), relu("a", "x"), inputs=[["x", 0, 0], ["x", 0, 0]], outputs="a"),
        "the input 'x' is listed twice",
    ),
    "windows of which there are none": (
        functional(
            given(shape=(None, 7, 6, 1)),
            layer(
                "Unfold",
                "u",
                module="keras.src.ops.nn",
                kernel_size=2,
                dilation=1,
                padding=0,
                stride=1,
            )
            | {"inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]},
            outputs="u",
        ),
        "",
    ),
    "no layers": (functional(outputs="x"), "'x', which the model does not have"),
    "no layers in a row": (sequential(), "has no layers, so it computes nothing"),
    "no outputs": (functional(given(), outputs=[]), ""),
    "no inputs": (functional(given(), relu("a", "x"), inputs=[], outputs="a"), ""),
    "an input that is no input": (functional(given(), relu("a", "x"), inputs="a", outputs="a"), ""),
    "two layers of a name": (functional(given(), relu("a", "x"), relu("a", "x"), outputs="a"), ""),
    "called without an input": (
        functional(
            given(), {**relu("a"), "inbound_nodes": [{"args": [], "kwargs": {}}]}, outputs="a"
        ),
        "",
    ),
    "called on a number": (functional(given(), relu("a", 3), outputs="a"), ""),
    "an id of two layers": (
        sequential(
            given(), {**relu("a"), "shared_object_id": 1}, {**relu("b"), "shared_object_id": 1}
        ),
        "",
    ),
    "an id of all": (
        sequential(*({**each, "shared_object_id": 1} for each in (given(), relu("a"), relu("b")))),
        "",
    ),
    "an id of a model and what is in it": (
        sequential(
            given(),
            sequential(given("i"), relu(), name="n", shared_object_id=1),
            shared_object_id=1,
        ),
        "",
    ),
    "a model that is a layer": (relu(), "not a Sequential or functional model"),
    "a list": ([], "in place of a layer"),  # type: ignore[dict-item]
    "a wrapper of nothing": (
        sequential(given(shape=(None, 3, 4)), layer("TimeDistributed", "t", layer=None)),
        "None",
    ),
    "a wrapper of a wrapper of an operation": (
        sequential(
            given(shape=(None, 3, 4)),
            layer(
                "TimeDistributed",
                "t",
                layer={
                    "module": "keras.src.ops.numpy",
                    "class_name": "Add",
                    "config": {"name": "a"},
                },
            ),
        ),
        "operation",
    ),
    "cells of nothing": (
        sequential(
            given(shape=(None, 3, 4)),
            layer(
                "RNN",
                "r",
                cell={"class_name": "StackedRNNCells", "config": {"name": "s", "cells": 7}},
            ),
        ),
        "",
    ),
    "a regular expression that takes for ever": (
        sequential(
            given(),
            relu()
            | {
                "config": {
                    "name": "r" * 40,
                    "dtype": {
                        "module": "keras",
                        "class_name": "DTypePolicyMap",
                        "config": {
                            "default_policy": "float32",
                            "policy_map": {"(r+)+$": "float16"},
                        },
                    },
                }
            },
        ),
        "",
    ),
    "an array of texts": (inline("x", "float32"), "rectangular array of float32 numbers"),
    "an array of another shape": (inline([[1], [2, 3]], "float32"), "not a rectangular array"),
    "an array of objects": (inline([1], "object"), "not a numeric dtype"),
    "an array of a made type": (inline([1], "O,O"), "not a numeric dtype"),
    "an array of a list as type": (inline([1], ["f4"]), ""),
    "an array of numbers too large": (inline([2**70], "int32"), "int32 numbers"),
    "an array as an option": (inline([1, 2], "float32"), ""),
    "an infinite option": (between(layer("ReLU", "r", max_value=float("inf"))), ""),
    "an option that is no number": (between(layer("ReLU", "r", negative_slope=float("nan"))), ""),
    "a padding of 10**12": (
        sequential(
            given(shape=(None, 4, 4, 3)), layer("ZeroPadding2D", "z", padding=[[10**12] * 2] * 2)
        ),
        "",
    ),
    "10**12 repetitions": (between(layer("RepeatVector", "r", n=10**12)), ""),
    "a size of 4000 digits": (
        sequential(
            given(shape=(None, 4, 4, 3)),
            *[layer("UpSampling2D", i, size=[10**4000] * 2) for i in "ab"],
        ),
        "",
    ),
    "a shape of 300 axes": (
        sequential(given(shape=(None, *[10**18] * 300)), layer("Flatten", "f")),
        "",
    ),
    "a scale of texts": (
        between(layer("Rescaling", "r", scale="a")),
        "scale='a': expected a rectangular array of numbers",
    ),
    "scales of several lengths": (
        between(layer("Rescaling", "r", scale=[[1], [1, 2]])),
        "expected a rectangular array of numbers",
    ),
    "a slope that float32 does not hold": (
        between(layer("LeakyReLU", "r", negative_slope=1e300)),
        "a finite number",
    ),
    "an activation of numbers": (
        between(
            layer(
                "Activation",
                "a",
                activation={
                    "class_name": "__numpy__",
                    "config": {"value": [1, 2], "dtype": "int32"},
                },
            )
        ),
        "expected str",
    ),
    "no stride": (
        sequential(
            given(shape=(None, 8, 3)), layer("MaxPooling1D", "p", pool_size=[2], strides=[0])
        ),
        r"strides=\(0,\): expected tuple\[int >= 1, ...\] of length 1",
    ),
    "strides of too few axes": (
        sequential(
            given(shape=(None, 8, 8, 3)), layer("MaxPooling2D", "p", pool_size=[2, 2], strides=[1])
        ),
        "of length 2",
    ),
    "negative strides": (
        sequential(
            given(shape=(None, 8, 3)), layer("MaxPooling1D", "p", pool_size=[2], strides=[-1])
        ),
        "int >= 1",
    ),
    "a window of nothing": (
        sequential(given(shape=(None, 8, 3)), layer("MaxPooling1D", "p", pool_size=[0])),
        "int >= 1",
    ),
    "reshaped to nothing": (
        sequential(given(shape=(None, 0)), layer("Reshape", "r", target_shape=[0, -1])),
        "",
    ),
    "nothing reshaped to nothing": (
        sequential(given(shape=(None, 0)), layer("Reshape", "r", target_shape=[0])),
        "",
    ),
    "an axis that is not there": (between(layer("Softmax", "s", axis=9)), ""),
    "axes that are not there": (
        between(layer("Permute", "p", dims=[2, 3])),
        "dims|axis 2 does not exist",
    ),
    "a negative axis to concatenate": (
        functional(given(), layer("Concatenate", "c", "x", "x", axis=-7), outputs="c"),
        "axis -7",
    ),
    "nothing to concatenate": (
        functional(
            given(), layer("Concatenate", "c") | {"inbound_nodes": [{"args": [[]]}]}, outputs="c"
        ),
        "",
    ),
    "one input for two": (functional(given(), layer("Dot", "d", "x", axes=1), outputs="d"), ""),
    "lists for axes": (
        functional(given(), layer("Dot", "d", "x", "x", axes=[[1], [1]]), outputs="d"),
        "",
    ),
    "a cropping of everything": (
        sequential(given(shape=(None, 4, 3)), layer("Cropping1D", "c", cropping=[9, 9])),
        "",
    ),
    "a cropping of texts": (
        sequential(given(shape=(None, 4, 3)), layer("Cropping1D", "c", cropping=["a", {}])),
        "",
    ),
    "a padding of texts": (
        sequential(given(shape=(None, 4, 4, 3)), layer("ZeroPadding2D", "z", padding=["a", None])),
        "",
    ),
    "a size of texts": (
        sequential(given(shape=(None, 4, 3)), layer("UpSampling1D", "u", size="x")),
        "",
    ),
    "a class name of a megabyte": (between({**relu(), "class_name": "A" * 2**20}), ""),
    "an option of a megabyte": (between(layer("ReLU", "r", secret=["x" * 40] * 20_000)), ""),
    "a layer name of a megabyte": (
        between({**relu(), "class_name": "Foo", "config": {"name": "x" * 2**20}}),
        "",
    ),
}


NO_SHAPES: tuple[Any, ...] = (
    [-1, 4],
    [None, -4],
    [None, "4"],
    [None, 1e308],
    "abc",
    {},
    None,
    [],
    7,
    [[None, 4]],
    [None, {}],
)


ODD_SHAPES: tuple[Any, ...] = ([None, 10**30], [True, 4], [None] * 60, [4])


DENSES: dict[str, tuple[Json, str]] = {
    **{
        f"units of {value!r}": (options(value), "")
        for value in (10**12, -3, 0, "3", 3.5, None, [3], {"a": 3}, True)
    },
    **{f"a shape of {str(shape)[:30]}": (shaped(shape), "input shape is") for shape in NO_SHAPES},
    **{f"a shape of {str(shape)[:30]}": (shaped(shape), "") for shape in ODD_SHAPES},
    "no options": (between(layer("Dense", "dense")), ""),
    "no bias, and one": (between(dense(use_bias="no")), ""),
    "a bias of an object": (between(dense(use_bias={"class_name": "x"})), ""),
    "a LoRA of a text": (between(dense(lora_rank="2")), ""),
    "a LoRA of no rank": (between(dense(lora_rank=0.5, lora_alpha=[])), ""),
    "a policy of int8": (
        between(dense(dtype={"class_name": "Quantized", "config": {"mode": "int8"}})),
        "",
    ),
    "a policy of a number": (between(dense(dtype=7)), ""),
    "a policy of policies": (
        between(dense(dtype={"config": {"default_policy": {"config": {"name": 3}}}})),
        "",
    ),
    "an activation of a list": (between(dense(activation=["relu"])), ""),
    "an activation of objects": (
        between(dense(activation={"class_name": "function", "config": {"a": [1]}})),
        "",
    ),
    "a regularizer of a text": (
        between(dense(kernel_regularizer={"class_name": "L2", "config": {"l2": "x"}})),
        "",
    ),
    "a regularizer without a config": (
        between(dense(kernel_regularizer={"class_name": "L2", "config": None})),
        "",
    ),
    "a regularizer of 400 digits": (
        between(dense(kernel_regularizer={"class_name": "L2", "config": {"l2": 10**400}})),
        "",
    ),
    "a build config of texts": (between({**dense(), "build_config": "x"}), ""),
    "a build config of objects": (
        between({**dense(dtype="int8_from_float32"), "build_config": {"input_shape": {}}}),
        "",
    ),
}


def _config_cases() -> list[Any]:
    made = []
    for table, weights in ((WEIGHTLESS, no_weights), (DENSES, forged.dense_weights)):
        for name, (config, match) in table.items():
            for to in TARGETS:
                made.append(pytest.param(config, weights, match, to, id=f"{name}-{to}"))
    return made


@pytest.mark.parametrize(("config", "weights", "match", "to"), _config_cases())
def test_malformed_configs_are_refused(
    config: Any, weights: Any, match: str, to: str, folder: Path
) -> None:
    """Most are refused; some work, where what is odd does not matter."""
    source = put(folder / "m.keras", keras(config, hdf5(weights)))
    if match:
        refused(source, match, to=to)
    else:
        outcome(source, to=to)


LAYER_NAMES: dict[str, Any] = {
    "climbing": "../../x",
    "rooted": "/etc/passwd",
    "with a slash": "a/b",
    "with a byte 0": "a\0b",
    "dots": "..",
    "markup": "<script>alert(1)</script>",
    "half a letter": "\ud800",
    "a megabyte": "x" * 2**20,
    "empty": "",
    "blank": " ",
    "a line": "a\nb",
    "an escape": "\x1b[31m",
    "a number": 7,
    "an object": {"a": 1},
    "null": None,
    "a prototype": "__proto__",
}


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("where", ["layer", "input", "model"])
@pytest.mark.parametrize("name", LAYER_NAMES)
def test_invalid_names_are_refused(name: str, where: str, to: str, folder: Path) -> None:
    odd = LAYER_NAMES[name]
    names = {"layer": "dense", "input": "x", "model": "model", where: odd}
    config = sequential(given(names["input"]), dense(names["layer"]), name=names["model"])
    source = put(folder / "m.keras", keras(config))
    if outcome(source, to=to) is None:
        written = folder.parent / f"{folder.name}-out"
        assert all(
            re.fullmatch(r"model\.json|group1-shard\d+of\d+\.bin", path.name)
            for path in written.iterdir()
        )
        assert "<script" not in json.dumps(
            json.loads((written / "model.json").read_text())["modelTopology"]
        )


@pytest.mark.parametrize(
    "name", [name for name, odd in LAYER_NAMES.items() if isinstance(odd, str)]
)
def test_reports_can_be_printed(name: str, folder: Path) -> None:
    """Without commands to the terminal."""
    lines = str(
        kerasport.check(
            put(folder / "m.keras", keras(sequential(given(), dense(LAYER_NAMES[name]))))
        )
    ).split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) < 20
    assert max(map(len, lines)) < 1000


def test_a_message_lists_the_first_of_many_problems(folder: Path) -> None:
    config = between(*(layer("Unknown", f"u{number}") for number in range(60)))
    error = refused(
        put(folder / "m.keras", keras(config, hdf5(no_weights))),
        "and 10 more; run kerasport check for the full list",
    )
    assert isinstance(error, UnsupportedModel)
    assert len(error.problems) == 60


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dense_1", "dense_1"),
        ("a\nb\x1b[31m\u202e\ud800", r"a\nb\x1b[31m\u202e\ud800"),
        ("ß層", "ß層"),
        ("<" + "x" * 300 + ">", "<" + "x" * 49 + "…" + "x" * 49 + ">"),
    ],
)
def test_texts_are_made_printable(text: str, shown: str) -> None:
    assert legible(text, 100) == shown


# -------------------------------------------------------------------------------------- every value


VALUES = {
    "null": None,
    "list": [],
    "object": {},
    "text": "x",
    "minus one": -1,
    "huge": 1e308,
    "true": True,
    "deep": deep_list(150),
    "gone": ...,
}


WRITERS = {"3.15.1": ("functional", "int8"), "2.15.0": ("functional",)}


def places(
    value: Any, path: tuple[Any, ...] = (), kind: str = ""
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Path and kind of each value inside a value; places of one kind are read alike."""
    yield path, kind
    if isinstance(value, dict):
        kind = str(value.get("class_name", kind))
        for key, inner in value.items():
            yield from places(inner, (*path, key), f"{kind}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index), f"{kind}[{min(index, 1)}]")


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return None if new is ... else new
    changed = value.copy()
    if len(path) == 1 and new is ...:
        del changed[path[0]]
    else:
        changed[path[0]] = with_value(value[path[0]], path[1:], new)
    return changed


def _recorded(name: str) -> tuple[Any, bytes]:
    with zipfile.ZipFile(RECORDED / name) as archive:
        return json.loads(archive.read("config.json")), archive.read("model.weights.h5")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("writer", "name", "value"),
    [
        (writer, name, value)
        for writer, names in WRITERS.items()
        for name in names
        for value in VALUES
    ],
)
def test_changed_config_values_are_refused_or_read(
    writer: str, name: str, value: str, tmp_path: Path
) -> None:
    config, weights = _recorded(f"keras-{writer}/{name}.keras")
    source = unzipped(tmp_path / "m", config, weights)
    (source / "metadata.json").write_text(json.dumps({"keras_version": writer}))
    kinds = {kind: path for path, kind in places(config)}
    failed: dict[str, Any] = {}
    for path in kinds.values():
        (source / "config.json").write_bytes(text_of(with_value(config, path, VALUES[value])))
        try:
            kerasport.check(source)
        except KerasportError as error:
            forged.check_message(error, source)
        except Exception as error:  # noqa: BLE001  (that there is none is what is asserted)
            failed.setdefault(repr(error)[:100], path)
    assert not failed


# ------------------------------------------------------------------------------------------- damage


WHOLE = ("keras-3.15.1/lora.keras", "keras-3.15.1/lora.h5", "keras-2.15.0/functional.h5")


@pytest.mark.parametrize("name", [*WHOLE, "deflated"])
def test_truncated_files_are_refused(name: str, folder: Path) -> None:
    data = keras(compression=DEFLATED) if name == "deflated" else (RECORDED / name).read_bytes()
    failed = []
    for length in range(0, len(data) - 1, max(1, len(data) // 150)):
        if outcome(put(folder / "m.keras", data[:length])) is None:
            failed.append(length)
    assert not failed


def damaged(data: bytes, seed: int) -> bytes:
    """The file with a few bytes that are others."""
    chance, made = random.Random(seed), bytearray(data)
    at, kind = chance.randrange(len(data)), chance.randrange(6)
    if kind == 0:
        for _ in range(chance.randint(1, 4)):
            made[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        for _ in range(chance.randint(1, 8)):
            made[chance.randrange(len(data))] = chance.choice((0, 127, 128, 255))
    elif kind == 2:
        width = chance.choice((2, 4, 8))
        number = chance.choice((0, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), at))
        made[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
    elif kind == 3:
        source, width = chance.randrange(len(data)), chance.choice((8, 16, 64, 256))
        made[at : at + width] = data[source : source + width]
    elif kind == 4:
        del made[at : at + chance.choice((1, 8, 100))]
    else:  # an address in the HDF5 data becomes another
        marks = [found.start() for found in re.finditer(rb"TREE|SNOD|HEAP|GCOL|OHDR", data)]
        at = chance.choice(marks) + 8 * chance.randrange(1, 15)
        made[at : at + 8] = chance.choice(marks).to_bytes(8, "little")
    return bytes(made)


EACH = """
import faulthandler, os, pathlib, resource, sys, traceback
import kerasport, ml_dtypes, kerasport.frontends.keras.read.dequantize
from kerasport.errors import KerasportError

def convert(path):
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    try:
        kerasport.convert(path, f"{path}-out")
    except KerasportError:
        pass
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    child = os.fork()
    if not child:
        code = 1
        try:
            code = convert(path)
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    if status or used.ru_maxrss > 300 << 10:
        print(path.name, "status", status, "memory", used.ru_maxrss >> 10, "MB", flush=True)
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each file is read in a process of its own")
@pytest.mark.parametrize("name", WHOLE)
def test_damaged_files_do_not_crash_the_process(name: str, folder: Path) -> None:
    """libhdf5 reads contradictory structures, in processes with little memory and time."""
    data = (RECORDED / name).read_bytes()
    for seed in range(150):
        put(folder / f"{seed:03}", damaged(data, seed))
    done = subprocess.run(
        [sys.executable, "-c", EACH, folder], capture_output=True, encoding="utf-8", check=False,
        env={**os.environ, "PYTHONPATH": str(forged.ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0
    assert not done.stdout + done.stderr
