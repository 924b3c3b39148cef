"""The code in reports is run as it is printed: in Node with the real TF.js, and in Python."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests import forged
from tests.test_snapshots import GRU, RECORDED, ROOT, gru_weights

import kerasport
from kerasport.releases import TFJS
from kerasport.targets import TARGETS
from kerasport.targets.loading import page_of
from kerasport.targets.onnx import ONNX
from kerasport.targets.onnx.loading import ONNXRUNTIME_WEB
from kerasport.targets.plan import Plan
from kerasport.verification.runtimes import node

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIM = """
import { createRequire } from "node:module"
const require = createRequire(PACKAGES)
const parts = ["tfjs-core", "tfjs-layers", "tfjs-converter"].map((name) => require("@tensorflow/" + name))
require("@tensorflow/tfjs-backend-cpu")
const tf = Object.assign({}, ...parts)
const served = globalThis.fetch
globalThis.fetch = (path, options) => served(new URL(path, SERVER), options) // as a page resolves it
"""
PRINT = """
const outputs = Array.isArray(output) ? output : output.shape ? [output] : Object.values(output)
console.log(JSON.stringify(outputs.map((each) => each.shape)))
"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def run(code: str, page: Path) -> Any:
    """What the module script of a page prints in Node."""
    lines = code.split("\n")
    assert lines[1] == '<script type="module">'
    assert lines[-1] == "</script>"
    root = node.packages() / "package.json"
    (page / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    with served(page) as server:
        shim = SHIM.replace("PACKAGES", json.dumps(str(root))).replace("SERVER", json.dumps(server))
        (page / "page.js").write_text("\n".join((shim, *lines[2:-1], PRINT)), encoding="utf-8")
        done = subprocess.run(
            [str(node.find()), "page.js"],
            cwd=page,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LONG = forged.sequential(
    forged.given("steps", (None, None, 3)),
    forged.layer(
        "GRU",
        "memory",
        units=4,
        activation="tanh",
        recurrent_activation="sigmoid",
        reset_after=True,
        use_bias=True,
        dtype="float32",
    ),
)


def put_models(folder: Path) -> None:
    for name, model in (("gru", GRU), ("long", LONG)):
        forged.put(folder / f"{name}.keras", forged.keras(model, forged.hdf5(gru_weights)))
    for name in ("functional", "masks"):
        (folder / f"{name}.keras").write_bytes((RECORDED / f"{name}.keras").read_bytes())


@pytest.mark.needs("node")
@pytest.mark.parametrize(
    ("model", "out", "to", "said", "shapes"),
    [
        ("gru", "web_model", "tfjs-layers", "register(tf)", [[1, 4]]),
        ("gru", "a #1/b?%41/web <b>", "tfjs-layers", "%231", [[1, 4]]),
        ("functional", "site/web_model", "tfjs-layers", "predict([", [[1, 3], [1, 4]]),
        ("masks", "web_model", "tfjs-graph", "predict({", 6),
        ("long", "web_model", "tfjs-graph", "await model.executeAsync(", [[1, 4]]),
    ],
)
def test_the_code_for_a_page_runs(
    model: str,
    out: str,
    to: str,
    said: str,
    shapes: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    put_models(tmp_path)
    made = kerasport.convert(f"{model}.keras", out, to=to)
    (snippet,) = made.code
    assert snippet.title == "Load it in a page"
    assert said in snippet.code
    found = run(snippet.code, tmp_path)
    assert found == shapes or len(found) == shapes


def test_an_output_elsewhere_is_loaded_from_a_page_next_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    put_models(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for out in ("../site/web_model", tmp_path / "site" / "web_model"):
        made = kerasport.convert("gru.keras", out, force=True)
        assert made.code[0].title == f"Load it in a page in {tmp_path / 'site'}"
        assert '"./web_model/kerasport-layers.js"' in made.code[0].code
        assert made.steps[1].command.endswith(f"--directory {tmp_path / 'site'}")
    assert page_of(Path("a/b")) == ("a/b", tmp_path / "here")
    assert page_of(Path()) == ("here", tmp_path)


def test_the_code_of_an_onnx_model_runs_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    put_models(tmp_path)
    page, python = kerasport.convert("gru.keras", 'it"s.onnx').code
    assert 'new ort.Tensor("float32", new Float32Array(15), [1, 5, 3])' in page.code
    assert 'ort.InferenceSession.create("it\\"s.onnx")' in page.code
    names: dict[str, Any] = {}
    exec(python.code, names)
    (found,) = names["session"].run(None, {"steps": np.zeros((1, 5, 3), "float32")})
    assert found.shape == (1, 4)


def test_the_loading_code_names_external_weights() -> None:
    plan = Plan(target=ONNX, inputs={"text": (None, 2)}, outputs=("y",))
    page, _ = ONNX.load(plan, Path("models/m.onnx"), {"text": "string"}, ("m.onnx", "m.onnx.data"))
    assert '{ externalData: [{ path: "m.onnx.data", data: "models/m.onnx.data" }] }' in page.code
    assert 'new ort.Tensor("string", Array(2).fill("text"), [1, 2])' in page.code


def test_versions_and_pages_exist() -> None:
    package = json.loads(
        (ROOT / "src" / "kerasport" / "web" / "package.json").read_text(encoding="utf-8")
    )
    assert package["dependencies"]["@tensorflow/tfjs-core"] == TFJS
    assert package["optionalDependencies"]["onnxruntime-web"] == ONNXRUNTIME_WEB
    guides = [target.guide for target in TARGETS.values()]
    for page in (*guides, "docs/companion.md", "docs/support.md", "docs/repair.md"):
        assert (ROOT / page).is_file()
