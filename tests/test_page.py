"""The page of the example, in a real browser: its sample digits and a drawn one are recognized."""

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
from typing import TYPE_CHECKING

import pytest

import kerasport
from kerasport.verification import node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).parents[1] / "examples"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking"
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


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The example's page as a folder that needs no network, with its model."""
    kerasport.convert(EXAMPLES / "digits.keras", tmp_path / "web_model")
    for name in BUNDLES:
        bundle = f"tfjs-{name}/dist/tf-{name}.min.js"
        shutil.copy(node.packages() / "node_modules/@tensorflow" / bundle, tmp_path)
    local = "".join(f'<script src="tf-{name}.min.js"></script>\n' for name in BUNDLES)
    page, found = re.subn(
        r'<script src="https://[^>]*></script>\n', local, (EXAMPLES / "index.html").read_text("utf-8")
    )
    assert found == 1
    assert "https://" not in page
    (tmp_path / "index.html").write_text(page + USER, "utf-8")
    return tmp_path


@pytest.fixture
def answers(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """What the page said."""
    posted: Queue[bytes] = Queue()
    handler = partial(Handler, posted=posted, directory=str(site))
    assert BROWSER
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/index.html"
        profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
        browser = subprocess.Popen(
            [BROWSER, *FLAGS.split(), profile, "--remote-debugging-port=0", url], stderr=subprocess.DEVNULL
        )
        try:
            yield json.loads(posted.get(timeout=120))
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()


@pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is on PATH")
def test_the_page_of_the_example_recognizes_digits(answers: Mapping[str, str]) -> None:
    assert answers == {
        **{f"sample {digit}": f"It looks like a {digit}" for digit in range(10)},
        "clear": "Draw, or choose a digit",
        "drawn": "It looks like a 7",
    }
