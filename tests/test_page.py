"""Pages in a real browser: that of the example recognizes digits, and one loads a model with the companion."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import pytest
from keras import layers
from tests.cases.case import one
from tests.cases.trial import Trial

import kerasport
from kerasport.verification import node

EXAMPLES = Path(__file__).parents[1] / "examples"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = "--headless --no-sandbox --disable-dev-shm-usage --no-first-run --disable-background-networking"
BUNDLES = ("core", "backend-cpu", "layers")

# What someone does on the page.
USER = """
<script type="module">
  const canvas = document.getElementById("paper"), answer = document.getElementById("answer")
  const captured = new Set() // a pointer that no hand moves cannot be captured
  Object.assign(canvas, {
    setPointerCapture: (id) => captured.add(id), hasPointerCapture: (id) => captured.has(id),
  })
  const point = (type, x, y) => {
    const { left, top, width, height } = canvas.getBoundingClientRect()
    const where = { clientX: left + x * width, clientY: top + y * height }
    canvas.dispatchEvent(new PointerEvent(type, { pointerId: 1, ...where }))
  }
  while (answer.value.startsWith("Loading")) await new Promise((resolve) => setTimeout(resolve, 20))
  const answers = {}
  for (const [digit, button] of document.querySelectorAll("#samples button").entries()) {
    button.click()
    answers[`sample ${digit}`] = answer.value
  }
  document.getElementById("clear").click()
  answers.clear = answer.value
  point("pointerdown", 0.3, 0.2)
  point("pointermove", 0.7, 0.2)
  point("pointermove", 0.45, 0.8)
  point("lostpointercapture", 0.45, 0.8)
  answers.drawn = answer.value
  await fetch("answers", { method: "POST", body: JSON.stringify(answers) })
</script>
"""


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, and hands on what is posted."""

    def __init__(self, *args: object, posted: Queue[bytes], directory: str) -> None:
        self.posted = posted
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        self.posted.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def scripts(folder: Path) -> str:
    """The tags of TF.js, which they find beside the page."""
    for name in BUNDLES:
        shutil.copy(node.packages() / f"node_modules/@tensorflow/tfjs-{name}/dist/tf-{name}.min.js", folder)
    return "".join(f'<script src="tf-{name}.min.js"></script>\n' for name in BUNDLES)


def visit(site: Path, profile: Path, graphics: str = "--disable-gpu") -> Any:
    """What the page of a folder posts."""
    posted: Queue[bytes] = Queue()
    handler = partial(Handler, posted=posted, directory=str(site))
    assert BROWSER
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/index.html"
        browser = subprocess.Popen(
            [
                BROWSER,
                *FLAGS.split(),
                *graphics.split(),
                f"--user-data-dir={profile}",
                "--remote-debugging-port=0",
                url,
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            return json.loads(posted.get(timeout=120))
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()


pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is on PATH")


def test_the_page_of_the_example_recognizes_digits(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    kerasport.convert(EXAMPLES / "digits.keras", tmp_path / "web_model")
    page, found = re.subn(
        r'<script src="https://[^>]*></script>\n', scripts(tmp_path), (EXAMPLES / "index.html").read_text("utf-8")
    )
    assert found == 1
    assert "https://" not in page
    (tmp_path / "index.html").write_text(page + USER, "utf-8")
    assert visit(tmp_path, tmp_path_factory.mktemp("profile")) == {
        **{f"sample {digit}": f"It looks like a {digit}" for digit in range(10)},
        "clear": "Draw, or choose a digit",
        "drawn": "It looks like a 7",
    }


# A page that loads a model and runs it.
RUNS = """
<script type="module">
  LINES
  let answer
  try {
    const model = await tf.loadLayersModel("web_model/model.json")
    answer = await model.predict(tf.tensor(INPUT)).array()
  } catch (error) {
    answer = error.message
  }
  await fetch("answers", { method: "POST", body: JSON.stringify(answer) })
</script>
"""


def memory(words: Any) -> Any:
    """A GRU of Keras's defaults, in both directions and then in one."""
    both = layers.Bidirectional(layers.GRU(3, return_sequences=True, recurrent_activation="hard_sigmoid"))(words)
    return layers.GRU(2, name="memory")(both)


@pytest.mark.parametrize("loaded", [True, False])
def test_a_page_runs_a_gru_once_it_has_loaded_the_companion(
    loaded: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trial = Trial(one("memory", (5, 4), lambda: memory), tmp_path)
    conversion = kerasport.convert(trial.path, tmp_path / "web_model", to="tfjs-layers")
    how = 'the page runs, in a <script type="module">: '
    (lines,) = [note.partition(how)[2] for note in conversion.notes if how in note]
    page = RUNS.replace("LINES", lines if loaded else "").replace("INPUT", json.dumps(trial.feeds[0][0].tolist()))
    (tmp_path / "index.html").write_text(scripts(tmp_path) + page, "utf-8")
    answer = visit(tmp_path, tmp_path_factory.mktemp("profile"))
    if loaded:
        np.testing.assert_allclose(answer, trial.expected[0][0], 1e-4, 1e-5)
    else:
        assert answer.startswith("Unknown layer: KerasportGRU.")
