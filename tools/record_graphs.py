"""Records small SavedModels and frozen graphs, with inputs and the outputs of TensorFlow.

Run this with a Python that has TensorFlow 2, Keras 3 and tf_keras:

    python tools/record_graphs.py              # all models
    python tools/record_graphs.py loops gru    # some of them

Each function marked with `@graph` writes a SavedModel to the directory that it receives, or a file
next to it, and returns inputs and outputs by their names.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RECORDED = Path(__file__).parent.parent / "tests" / "recorded" / "graphs"
SAVED = RECORDED.parent / "saved_models"
WORDS = ("tea", "käse", "wine", "water", "bread")
v1 = tf.compat.v1

GRAPHS: dict[str, Callable[[Path], Any]] = {}
rng = np.random.default_rng(0)


def graph(build: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Enter a model in the table."""
    GRAPHS[build.__name__] = build
    return build


def floats(*shape: int) -> Any:
    """Random numbers around zero."""
    return rng.normal(size=shape).astype(np.float32)


def randomize(model: Any) -> None:
    """Give every weight a value that is not a default."""
    for weight in model.weights:
        weight.assign(rng.uniform(0.2, 0.9, weight.shape).astype(np.float32))


def texts(path: Path, lines: Any) -> str:
    """Write a text file. Returns its path."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


# ---------------------------------------------------------------------------------------- Keras


def image_model(k: Any) -> Any:
    """A small convolutional model."""
    inputs = k.Input((7, 6, 3), name="image")
    x = k.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(inputs)
    x = k.layers.BatchNormalization()(x)
    x = k.layers.DepthwiseConv2D(2)(x)
    x = k.layers.GlobalAveragePooling2D()(x)
    model = k.Model(inputs, k.layers.Dense(5, activation="softmax")(x), name="images")
    randomize(model)
    return model


@graph
def keras_export(path: Path) -> Any:
    """Keras 3: `export`."""
    model, x = image_model(keras), floats(2, 7, 6, 3)
    model.export(path, verbose=False)
    return {"image": x}, {"output_0": model(x, training=False)}


@graph
def tf_keras_save(path: Path) -> Any:
    """Keras 2: `model.save(directory)`."""
    model, x = image_model(tf_keras), floats(2, 7, 6, 3)
    model.save(path, save_format="tf")
    return {"image": x}, {"dense": model(x, training=False)}


@graph
def subclassed(path: Path) -> Any:
    """A model and a layer that are Python code."""

    class Scale(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],))

        def call(self, x: Any) -> Any:
            return keras.ops.tanh(x) * self.scale

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.custom = keras.layers.Dense(4), Scale()

        def call(self, x: Any) -> Any:
            h = self.custom(self.dense(x))
            return keras.ops.concatenate([h, keras.ops.cumsum(h, axis=-1)], -1)

    model, x = Model(), floats(3, 5)
    model(x)
    randomize(model)
    model.export(path, verbose=False)
    return {"args_0": x}, {"output_0": model(x)}


@graph
def gru(path: Path) -> Any:
    """A loop of Keras 3, with tensor lists."""
    inputs = keras.Input((None, 3), name="steps")
    model = keras.Model(inputs, keras.layers.GRU(2)(inputs))
    randomize(model)
    x = floats(2, 4, 3)
    model.export(path, verbose=False)
    return {"steps": x}, {"output_0": model(x)}


@graph
def lookup(path: Path) -> Any:
    """A StringLookup of Keras 2, with the table in the checkpoint or the graph."""
    model = tf_keras.Sequential(
        [tf_keras.Input((2,), dtype="string"), tf_keras.layers.StringLookup(vocabulary=list(WORDS))]
    )
    x = np.array([["käse", "rice"], ["tea", "bread"]])
    model.save(path, save_format="tf")
    return {"input_1": x}, {"string_lookup": model(tf.constant(x))}


# ------------------------------------------------------------------------------------- tf.Module


@graph
def signatures(path: Path) -> Any:
    """Two signatures, functions that call functions, and outputs with names."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(floats(4, 3), name="weights")
            self.b = tf.Variable(floats(3), name="weights")

        @tf.function
        def inner(self, x: Any) -> Any:
            return tf.matmul(x, self.w) + self.b

        @tf.function(input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([], tf.int32)])
        def both(self, x: Any, times: Any) -> Any:
            y = self.inner(self.inner(x) @ tf.transpose(self.w))
            return {"z_last": y * tf.cast(times, tf.float32), "a_first": tf.argmax(y, -1)}

        @tf.function(input_signature=[tf.TensorSpec([None, 4], name="rows")])
        def scaled(self, rows: Any) -> Any:
            return tf.split(self.inner(rows), 3, axis=1)

    module, x, times = Module(), floats(3, 4), np.int32(3)
    tf.saved_model.save(
        module, path, signatures={"serving_default": module.both, "scaled": module.scaled}
    )
    return {"x": x, "times": times}, module.both(x, times)


@graph
def loops(path: Path) -> Any:
    """A loop that reads variables, with a branch in it, and a choice of several functions."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b = tf.Variable(floats(3, 3)), tf.Variable(floats(3))
            self.rows = tf.Variable(floats(5, 3))

        @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([], tf.int32)])
        def __call__(self, x: Any, n: Any) -> Any:
            def body(i: Any, y: Any) -> Any:
                row = tf.gather(self.rows, i)
                y = tf.cond(tf.reduce_sum(y) > 0, lambda: y @ self.w, lambda: y - self.b)
                return i + 1, tf.tanh(y) + row

            i, y = tf.while_loop(lambda i, _: i < n, body, [tf.constant(0), x])
            z = tf.switch_case(n % 3, [lambda: y, lambda: y * self.b, lambda: -y])
            return {"i": i, "y": y, "z": z}

    module, x, n = Module(), floats(2, 3), np.int32(4)
    tf.saved_model.save(module, path, signatures=module.__call__)
    return {"x": x, "n": n}, module(x, n)


@graph
def tables(path: Path) -> Any:
    """Hash tables of TensorFlow 2: one from constants, one from a file; strings as input."""
    file = texts(path.parent / "words.txt", WORDS)

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            lines = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
            self.file = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(file, tf.string, lines[0], tf.int64, lines[1]), -1
            )
            self.constant = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.range(5, dtype=tf.int64), [word.upper() for word in WORDS]
                ),
                "none",
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, words: Any) -> Any:
            index = self.file.lookup(words)
            return {"index": index, "upper": self.constant.lookup(index)}

    module, x = Module(), np.array(["wine", "rice", "käse"])
    tf.saved_model.save(module, path, signatures=module.__call__)
    (path.parent / "words.txt").unlink()
    return {"words": x}, module(tf.constant(x))


@graph
def tables_in_loops(path: Path) -> Any:
    """Two tables that the same functions read, in loops and branches."""

    def table(factor: int) -> Any:
        keys = tf.range(5, dtype=tf.int64)
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(keys, keys * factor), -1
        )

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = table(2), table(3)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
        def __call__(self, x: Any) -> Any:
            for used in (self.a, self.b):
                start = [tf.constant(0, tf.int64), x]
                _, x = tf.while_loop(
                    lambda i, _: i < 3,
                    lambda i, y, used=used: (i + 1, y + used.lookup(i)),
                    start,
                )
            return tf.cond(
                x[0] > 3, lambda: self.a.lookup(x % 5) + x, lambda: self.b.lookup((x + 1) % 5) - x
            )

    module, x = Module(), np.array([-30, 1, 2])
    tf.saved_model.save(module, path, signatures=module.__call__)
    return {"x": x}, {"output_0": module(x)}


@graph
def image_bytes(path: Path) -> Any:
    """An image of bytes and of any size, a resize and boxes."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(floats(3, 3, 3, 5) * 0.3)

        @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)])
        def __call__(self, image: Any) -> Any:
            x = tf.image.resize(tf.cast(image, tf.float32) / 255.0, (8, 6))
            y = tf.nn.sigmoid(tf.nn.conv2d(x, self.kernel, 2, "SAME"))
            y = tf.reshape(y, [-1, 5])
            chosen = tf.image.non_max_suppression(y[:, :4], y[:, 4], 5, 0.5, 0.3)
            return {"boxes": tf.gather(y[:, :4], chosen), "scores": tf.gather(y[:, 4], chosen)}

    module, x = Module(), rng.integers(0, 255, (1, 11, 9, 3)).astype(np.uint8)
    tf.saved_model.save(module, path, signatures=module.__call__)
    return {"image": x}, module(x)


@graph
def element_types(path: Path) -> Any:
    """Variables of other types, some of them in several shards, and a table of strings."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            kinds = (tf.float16, tf.bfloat16, tf.float64, tf.int64, tf.int8, tf.uint8, tf.bool)
            self.all = [
                tf.Variable(tf.cast(floats(6) * 9 + 20, kind), name=kind.name) for kind in kinds
            ]
            self.words = tf.Variable(tf.constant(WORDS), name="words")

        @tf.function(input_signature=[tf.TensorSpec([6])])
        def __call__(self, x: Any) -> Any:
            named = {v.dtype.name: v * tf.cast(x, v.dtype) for v in self.all if v.dtype != tf.bool}
            return {
                **named,
                "bool": tf.math.logical_not(self.all[-1]),
                "words": tf.identity(self.words),
            }

    module, x = Module(), np.array([1, 2, 3, 0, 5, 1], np.float32)
    options = tf.saved_model.SaveOptions(
        experimental_sharding_callback=tf.train.experimental.MaxShardSizePolicy(64)
    )
    tf.saved_model.save(module, path, signatures=module.__call__, options=options)
    return {"x": x}, {
        name: tf.cast(y, tf.float32) if name == "bfloat16" else y for name, y in module(x).items()
    }


@graph
def checks(path: Path) -> Any:
    """Operations that only check or print values."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def call(x: Any) -> Any:
        tf.debugging.assert_greater(tf.reduce_sum(x * x), 0.0)
        tf.print("sum", tf.reduce_sum(x))
        return tf.debugging.check_numerics(tf.sqrt(tf.abs(x)), "bad")

    module = tf.Module()
    module.call = call
    x = floats(2, 3)
    tf.saved_model.save(module, path, signatures=call)
    return {"x": x}, {"output_0": call(x)}


@graph
def counter(path: Path) -> Any:
    """A variable that changes with every call."""
    module = tf.Module()
    module.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([])])
    def call(x: Any) -> Any:
        return x + module.count.assign_add(1.0)

    module.call = call
    tf.saved_model.save(module, path, signatures=call)
    return {"x": np.float32(2)}, {"output_0": call(tf.constant(2.0))}


# ----------------------------------------------------------------------------------- TensorFlow 1


def save_v1(
    path: Path,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    feeds: Mapping[str, Any],
    tags: tuple[str, ...] = ("serve",),
    key: str = "serving_default",
) -> Any:
    """Save the default graph and run it."""
    with v1.Session() as session:
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(path))
        signature = v1.saved_model.predict_signature_def(dict(inputs), dict(outputs))
        builder.add_meta_graph_and_variables(
            session,
            list(tags),
            signature_def_map={key: signature},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()
        found = session.run(dict(outputs), {inputs[name]: feeds[name] for name in inputs})
    return feeds, found


@graph
def variables_v1(path: Path) -> Any:
    """Reference variables, a resource variable, and a variable in several parts."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (None, 6), "x")
        parts = v1.get_variable(
            "parts",
            shape=(6, 4),
            initializer=v1.random_normal_initializer(seed=1),
            partitioner=v1.fixed_size_partitioner(3),
            use_resource=False,
        )
        reference = v1.get_variable("reference", initializer=floats(4), use_resource=False)
        resource = v1.get_variable("resource", initializer=floats(4), use_resource=True)
        flag = v1.placeholder_with_default(False, ())
        y = tf.matmul(x, tf.convert_to_tensor(parts)) * reference + resource
        y = tf.where(flag, -y, v1.Print(y, [y]))
        return save_v1(path, {"x": x}, {"y": y}, {"x": floats(2, 6)})


@graph
def table_v1(path: Path) -> Any:
    """A hash table of TensorFlow 1 with its words in a file."""
    file = texts(path.parent / "words_v1.txt", (f"{word},{7 * i}" for i, word in enumerate(WORDS)))
    with tf.Graph().as_default():
        words = v1.placeholder(tf.string, (None,), "words")
        initializer = v1.lookup.TextFileInitializer(file, tf.string, 0, tf.int64, 1, delimiter=",")
        table = v1.lookup.StaticHashTable(initializer, -5)
        unused = v1.get_variable("unused", initializer=1.0)
        y = table.lookup(words) + tf.cast(unused, tf.int64)
        result = save_v1(path, {"words": words}, {"y": y}, {"words": ["wine", "rice", "tea"]})
    (path.parent / "words_v1.txt").unlink()
    return result


@graph
def hub_v1(path: Path) -> Any:
    """The form of a TF-Hub module of TensorFlow 1: no tags, and the signature "default"."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (None, 4), "images")
        w = v1.get_variable("w", initializer=floats(4, 3), use_resource=False)
        found = save_v1(
            path,
            {"images": x},
            {"default": tf.nn.relu(x @ w)},
            {"images": floats(2, 4)},
            (),
            "default",
        )
    (path / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return found


@graph
def meta_graphs(path: Path) -> Any:
    """Two meta graphs in one file."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (None, 2), "x")
        w = v1.get_variable("w", initializer=floats(2, 2))
        y, feeds = x @ w, {"x": floats(3, 2)}
        builder = v1.saved_model.Builder(str(path))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            sign = v1.saved_model.predict_signature_def
            train = {"train_only": sign({"x": x}, {"y": -y})}
            builder.add_meta_graph_and_variables(session, ["train"], train)
            builder.add_meta_graph(["serve", "cpu"], {"score": sign({"x": x}, {"y": y})})
            builder.save()
            return feeds, {"y": session.run(y, {x: feeds["x"]})}


@graph
def control_flow_v1(path: Path) -> Any:
    """Loops and branches of TensorFlow 1, in a frozen graph."""
    v1.disable_control_flow_v2()
    with tf.Graph().as_default() as built:
        x = v1.placeholder(tf.float32, (None, 3), "x")
        n = v1.placeholder(tf.int32, (), "n")
        w = tf.constant(floats(3, 3))

        def body(i: Any, y: Any) -> Any:
            _, inner = v1.while_loop(
                lambda j, _: j < i, lambda j, z: (j + 1, z * 0.5 + w[0]), [0, y]
            )
            y = v1.cond(tf.reduce_sum(inner) > 0, lambda: tf.tanh(inner @ w), lambda: inner - 1.0)
            return i + 1, y

        _, y = v1.while_loop(lambda i, _: i < n, body, [0, x])
        z = v1.cond(n > 2, lambda: y * 2.0, lambda: tf.zeros_like(x))
        tf.identity(y, "loop")
        tf.identity(z, "branch")
        feeds = {"x": floats(2, 3), "n": np.int32(3)}
        with v1.Session() as session:
            found = session.run(
                {"loop": "loop:0", "branch": "branch:0"}, {x: feeds["x"], n: feeds["n"]}
            )
    path.with_suffix(".pb").write_bytes(built.as_graph_def().SerializeToString())
    v1.enable_control_flow_v2()
    return feeds, found


@graph
def branches_v1(path: Path) -> Any:
    """Branches of TensorFlow 1 with several results, constants, and branches in them."""
    v1.disable_control_flow_v2()
    with tf.Graph().as_default() as built:
        x = v1.placeholder(tf.float32, (None, 3), "x")
        total = tf.reduce_sum(x)

        def inner() -> Any:
            return v1.cond(total > 5.0, lambda: x * 10.0, lambda: x + total)

        a, b = v1.cond(total > 1.0, lambda: (inner(), tf.constant(7)), lambda: (x, tf.shape(x)[0]))
        c = v1.case([(total < -1.0, lambda: a * 2.0), (total < 3.0, lambda: a - 1.0)], lambda: a)
        tensors = {"a": a, "b": b, "c": c}
        for name, tensor in tensors.items():
            tf.identity(tensor, name)
        feeds = {"x": np.array([[1, 2, -1], [0.5, 0, 0]], np.float32)}
        with v1.Session() as session:
            found = session.run({name: f"{name}:0" for name in tensors}, {x: feeds["x"]})
    path.with_suffix(".pb").write_bytes(built.as_graph_def().SerializeToString())
    v1.enable_control_flow_v2()
    return feeds, found


@graph
def map_v1(path: Path) -> Any:
    """A loop of TensorFlow 1 over rows, with tensor arrays, in a SavedModel with variables."""
    v1.disable_control_flow_v2()
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (None, 3), "x")
        w = v1.get_variable("w", initializer=floats(3, 3), use_resource=True)
        b = v1.get_variable("b", initializer=floats(3), use_resource=False)
        y = tf.map_fn(lambda row: tf.linalg.matvec(w, row) + b, x)
        found = save_v1(path, {"x": x}, {"y": y}, {"x": floats(4, 3)})
    v1.enable_control_flow_v2()
    return found


@graph
def frozen(path: Path) -> Any:
    """A frozen graph with two inputs, and outputs that are nodes with several results."""
    with tf.Graph().as_default() as built:
        x = v1.placeholder(tf.float32, (None, 6), "second")
        rows = v1.placeholder(tf.int64, (None,), "first")
        table = tf.constant(floats(300, 6), name="table")
        y = tf.gather(table, rows) * x + tf.constant([0.5] * 6)
        tf.math.top_k(y, 2, name="best")
        tf.split(y, 3, axis=1, name="thirds")
        feeds = {"second": floats(2, 6), "first": np.array([299, 7])}
        names = ("best", "best:1", "thirds", "thirds:1", "thirds:2")
        tensors = {name: name if ":" in name else f"{name}:0" for name in names}
        with v1.Session() as session:
            found = session.run(tensors, {x: feeds["second"], rows: feeds["first"]})
    path.with_suffix(".pb").write_bytes(built.as_graph_def().SerializeToString())
    return feeds, found


@graph
def detection(path: Path) -> Any:
    """Boxes, crops, and other ops whose sizes depend on values; a slice at a computed position."""

    class Module(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 4]), tf.TensorSpec([None]), tf.TensorSpec([None, None, None, 3]),
                tf.TensorSpec([], tf.int32),
            ]
        )  # fmt: skip
        def __call__(self, boxes: Any, scores: Any, images: Any, most: Any) -> Any:
            padded, valid = tf.raw_ops.NonMaxSuppressionV4(
                boxes=boxes, scores=scores, max_output_size=most, iou_threshold=0.3,
                score_threshold=0.2, pad_to_max_output_size=True,
            )  # fmt: skip
            chosen, left = tf.image.non_max_suppression_with_scores(boxes, scores, most, 0.5, 0.1)
            which = tf.range(tf.shape(boxes)[0]) % 2
            brightest = tf.math.top_k(images[..., 0], 2).indices
            nearest = tf.compat.v1.image.resize_nearest_neighbor
            return {
                "padded": padded, "valid": valid, "chosen": chosen, "left": left,
                "kept": tf.boolean_mask(boxes, scores > 0.5),
                "crops": tf.image.crop_and_resize(
                    images, boxes, which, (3, 4), extrapolation_value=2.0
                ),
                "single": tf.image.crop_and_resize(images, boxes, which, (4, 1), "nearest"),
                "brightest": tf.gather(images, brightest, batch_dims=2),
                "part": tf.slice(images, [0, most - 7, 0, 0], [-1, 2, -1, 2]),
                "wide": nearest(images, tf.shape(images)[1:3] * 2 + 1, align_corners=True),
            }  # fmt: skip

    own = np.random.default_rng(11)
    feeds = {
        "boxes": (own.integers(0, 9, (12, 4)) / 8).astype(np.float32),
        "scores": own.random(12).astype(np.float32),
        "images": own.normal(size=(2, 5, 7, 3)).astype(np.float32),
        "most": np.int32(9),
    }
    module = Module()
    tf.saved_model.save(module, path, signatures=module.__call__)
    return feeds, module(**feeds)


# ---------------------------------------------------------------------------------------- writing


# --------------------------------------------------------- Keras 2, whose SavedModels have a config


def keras_2(build: Callable[[], Any]) -> Callable[[], Any]:
    """Enter a function that returns a model of tf_keras and its inputs."""
    MODELS[build.__name__] = build
    return build


MODELS: dict[str, Callable[[], Any]] = {}


@keras_2
def convolutions() -> Any:
    """Layers with many kinds of weights, and a nested model; compiled."""
    k = tf_keras.layers
    inner = tf_keras.Sequential(
        [tf_keras.Input((4,)), k.Dense(5, "relu"), k.BatchNormalization()], name="inner"
    )
    inputs = tf_keras.Input((7, 6, 3), name="image")
    x = k.Conv2D(4, 3, activation="relu")(inputs)
    x = k.DepthwiseConv2D(2)(k.SeparableConv2D(4, 2)(x))
    x = k.LayerNormalization()(k.PReLU(shared_axes=[1, 2])(x))
    x = inner(k.GlobalAveragePooling2D()(x))
    model = tf_keras.Model(inputs, k.Dense(3, activation="softmax")(x))
    model.compile("adam", "categorical_crossentropy")
    return model, [floats(2, 7, 6, 3)]


@keras_2
def recurrent() -> Any:
    """Cells, wrappers and stacked cells behind a mask."""
    k = tf_keras.layers
    inputs = tf_keras.Input((None,), dtype="int32")
    x = k.Embedding(11, 6, mask_zero=True)(inputs)
    x = k.Bidirectional(k.LSTM(4, return_sequences=True))(x)
    x = k.TimeDistributed(k.Dense(4))(k.GRU(5, return_sequences=True)(x))
    y = k.RNN(k.StackedRNNCells([k.LSTMCell(3), k.GRUCell(4)]))(x)
    return tf_keras.Model(inputs, y), [rng.integers(0, 11, (3, 5)).astype(np.int32)]


@keras_2
def attention() -> Any:
    """Layers whose weights are in layers of their own, or have other names."""
    k = tf_keras.layers
    x = tf_keras.Input((5, 8))
    y = k.Normalization()(k.Add()([x, k.MultiHeadAttention(2, 4)(x, x)]))
    return tf_keras.Model(x, y), [floats(2, 5, 8)]


@keras_2
def sequential() -> Any:
    """A Sequential model, which does not list its input among its layers."""
    k = tf_keras.layers
    stack = [k.Conv1D(4, 3, input_shape=(9, 2)), k.Flatten(), k.Dense(2)]
    return tf_keras.Sequential(stack), [floats(2, 9, 2)]


@keras_2
def custom() -> Any:
    """A layer that is Python code, so that only the graph is complete."""

    class Scale(tf_keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(name="scale", shape=(shape[-1],))

        def call(self, x: Any) -> Any:
            return tf.tanh(x) * self.scale

    x = tf_keras.Input((4,))
    return tf_keras.Model(x, Scale()(tf_keras.layers.Dense(3)(x))), [floats(2, 4)]


def record_model(name: str) -> None:
    """Save a model of tf_keras. Only the graph of `custom` is kept, since graphs are large."""
    model, feeds = MODELS[name]()
    randomize(model)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # Normalization computes with a copy of its weights
    directory = SAVED / name
    shutil.rmtree(directory, ignore_errors=True)
    model.save(directory, save_format="tf")
    for unneeded in ("fingerprint.pb", *(() if name == "custom" else ("saved_model.pb",))):
        (directory / unneeded).unlink(missing_ok=True)
    expected = model(feeds[0], training=False)
    np.savez_compressed(SAVED / f"{name}.npz", x=feeds[0], y=expected)


def main() -> None:
    """Record the models that the command line names, by default all."""
    RECORDED.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or (*GRAPHS, *MODELS):
        if name in MODELS:
            record_model(name)
            continue
        directory = RECORDED / name
        shutil.rmtree(directory, ignore_errors=True)
        keras.utils.clear_session()
        tf_keras.backend.clear_session()
        inputs, outputs = GRAPHS[name](directory)
        for unneeded in ("fingerprint.pb", "keras_metadata.pb"):
            (directory / unneeded).unlink(missing_ok=True)
        arrays = {f"input_{key}": plain(value) for key, value in inputs.items()}
        arrays |= {f"output_{key}": plain(value) for key, value in outputs.items()}
        np.savez_compressed(RECORDED / f"{name}.npz", **arrays)
        print(name)


def plain(value: Any) -> Any:
    """An array without objects."""
    array = np.asarray(value)
    if array.dtype == object:
        return array.astype(np.bytes_)
    return np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array


if __name__ == "__main__":
    main()
