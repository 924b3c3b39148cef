"""Models on TF.js's webgl backend, which most pages use, in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from tests.cases import CASES
from tests.cases.case import GRAPH_MODEL, LAYERS_MODEL, Array, Case
from tests.cases.functions import called
from tests.cases.trial import Trial
from tests.test_page import BROWSER, BROWSERS, scripts, visit

import kerasport
from kerasport.verification.runtimes import node

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is on PATH"
)

SOFTWARE = "--use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist"

# Small tensors TF.js would compute on the CPU, whatever the backend: not here.
PAGE = """
<script type="module">
  import { register } from "./kerasport-layers.js"
  register(tf)
  async function execute(model, feed) {
    if (model instanceof tf.LayersModel) return model.predict(feed)
    try {
      return model.execute(feed)
    } catch (error) {
      if (!error.message.includes("model.executeAsync()")) throw error
      return model.executeAsync(feed)
    }
  }
  async function run({ path, graph, feeds }) {
    try {
      const model = await (graph ? tf.loadGraphModel : tf.loadLayersModel)(path)
      const results = []
      for (const feed of feeds) {
        const given = feed.map(({ values, shape, dtype }) => tf.tensor(values, shape, dtype))
        const made = [await execute(model, given)].flat()
        results.push(await Promise.all(made.map(async (each) => ({ shape: each.shape, values: [...await each.data()] }))))
      }
      model.dispose()
      return { results }
    } catch (error) {
      return { error: error.message }
    }
  }
  const answers = {}
  try {
    await tf.setBackend("webgl")
    tf.env().set("WEBGL_CPU_FORWARD", false)
    answers.backend = tf.getBackend()
    answers.exact = tf.env().get("WEBGL_RENDER_FLOAT32_ENABLED")
    answers.models = []
    for (const job of await (await fetch("jobs.json")).json()) answers.models.push(await run(job))
  } catch (error) {
    answers.error = error.message
  }
  await fetch("answers", { method: "POST", body: JSON.stringify(answers) })
</script>
"""


def attention(x: Any, seen: Any) -> Any:
    """Of keys, some of which nobody may see, and for some samples none of them."""
    heads = ops.expand_dims(x, 2)
    allowed = ops.greater(ops.reshape(seen, (-1, 1, 1, 5)), 0)
    return ops.squeeze(ops.dot_product_attention(heads, heads, heads, mask=allowed), 2)


def hidden(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers, and samples of which all are below zero."""
    x = rng.normal(0, 1.5, shape)
    return -np.abs(x) if len(shape) == 2 else x


def wide(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers of all sizes, on both sides of zero."""
    return rng.choice([-1.0, 1.0], shape) * 10 ** rng.uniform(-3, 5, shape)


def row(case: Case, feed: Any) -> Case:
    return Case(case.name, case.build, refused=case.refused, feed=feed)


OF_THE_TABLE = (
    "conv2d_groups",
    "conv2d_transpose_output_padding",
    "conv3d_transpose",
    "depthwise_conv2d_multiplier_same",
    "depthwise_conv2d_dilated",
    "max_pooling3d",
    "batch_normalization_rank_6",
    "layer_normalization_mixed_axes",
    "zero_padding3d_sides",
    "cropping3d_unknown_size",
    "up_sampling2d_bicubic_unequal",
    "resizing",
    "softmax_axes",
    "dot_rank_4",
    "encoder_decoder",
    "encoder_decoder_gru_reset_after",
    "masking_of_a_half",
    "embedding_mask_zero",
    "category_encoding_one_hot_scalars",
    "ops_compared",
    "ops_slice_backwards",
)

ROWS = (
    *(case for case in CASES if case.name in OF_THE_TABLE),
    row(called("attention_of_nothing", attention, (5, 4), (5,), refused="--to tfjs-graph"), hidden),
    row(called("arcsinh_of_all_sizes", ops.arcsinh, (50,), refused="--to tfjs-graph"), wide),
    called(
        "sort_and_sum",
        lambda x: ops.cumsum(ops.sort(x, axis=1), axis=1),
        (5, 4),
        refused="--to tfjs-graph",
    ),
    called("gru", lambda x: layers.GRU(3, return_sequences=True)(x), (None, 4)),
)


def webgl(folder: Path) -> str:
    """The tags of TF.js with its webgl backend, which npm brings into the cache once."""
    version = json.loads((node.WEB / "package.json").read_bytes())["dependencies"][
        "@tensorflow/tfjs-core"
    ]

    def install(new: Path) -> None:
        executable = node.find()
        path = os.pathsep.join([str(executable.parent), os.environ.get("PATH", "")])
        package = f"@tensorflow/tfjs-backend-webgl@{version}"
        subprocess.run(
            [*node.npm_command(executable), "pack", package],
            cwd=new,
            env={**os.environ, "PATH": path},
            check=True,
        )
        (packed,) = new.glob("*.tgz")
        with tarfile.open(packed) as archive:
            script = archive.extractfile("package/dist/tf-backend-webgl.min.js")
            assert script
            (new / "tf-backend-webgl.min.js").write_bytes(script.read())
        packed.unlink()

    shutil.copy(
        node.once(node.cache() / f"webgl-{version}", install) / "tf-backend-webgl.min.js", folder
    )
    shutil.copy(
        node.packages() / "node_modules/@tensorflow/tfjs-converter/dist/tf-converter.min.js", folder
    )
    more = "".join(
        f'<script src="tf-{name}.min.js"></script>\n' for name in ("backend-webgl", "converter")
    )
    return scripts(folder) + more


def tensor(array: Array) -> dict[str, Any]:
    dtype = (
        "bool" if array.dtype.kind == "b" else "int32" if array.dtype.kind in "iu" else "float32"
    )
    return {"values": array.ravel().tolist(), "shape": array.shape, "dtype": dtype}


@pytest.mark.exhaustive
def test_webgl_computes_what_keras_computes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert {case.name for case in ROWS} >= set(OF_THE_TABLE)
    jobs, trials = [], []
    for case in ROWS:
        trial = Trial(case, tmp_path_factory.mktemp("trial"))
        for target in (LAYERS_MODEL, GRAPH_MODEL):
            if target in case.refused:
                continue
            out = f"{case.name}_{target}"
            kerasport.convert(trial.path, tmp_path / out, to=target)
            feeds = [[tensor(array) for array in feed] for feed in trial.feeds]
            jobs.append(
                {"path": f"{out}/model.json", "graph": target == GRAPH_MODEL, "feeds": feeds}
            )
            trials.append(trial)
        keras.backend.clear_session()
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), "utf-8")
    shutil.copy(node.WEB / node.COMPANION, tmp_path)
    (tmp_path / "index.html").write_text(webgl(tmp_path) + PAGE, "utf-8")
    answers = visit(tmp_path, tmp_path_factory.mktemp("profile"), SOFTWARE)
    assert "error" not in answers, answers["error"]
    assert (answers["backend"], answers["exact"]) == ("webgl", True)
    for job, trial, answer in zip(jobs, trials, answers["models"], strict=True):
        assert "error" not in answer, f"{job['path']}: {answer['error']}"
        for expected, made in zip(trial.expected, answer["results"], strict=True):
            for wanted, got in zip(expected, made, strict=True):
                values = np.asarray(got["values"], "float64").reshape(got["shape"])
                scale = max(1.0, float(np.max(np.abs(wanted), initial=0)))
                np.testing.assert_allclose(
                    values, wanted.astype("float64"), 1e-3, 1e-4 * scale, err_msg=str(job["path"])
                )
