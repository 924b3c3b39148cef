"""Pages in a real browser: the examples, the README, and one with the companion."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
from kerasport.verification.runtimes import node

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SKETCHES = {
    "a": ["bell", "cloud", "crown", "flag", "heart", "house", "moon", "star", "sun"],
    "an": ["envelope", "eye", "umbrella"],
}
"""What sketches.keras knows, by the article."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--headless --no-sandbox --disable-dev-shm-usage --no-first-run --disable-background-networking"
)
# Nothing but this machine can be reached, so a page that needs more fails.
OFFLINE = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
BUNDLES = ("core", "backend-cpu", "layers")

# What someone does on a page of the examples; `drawn` are strokes of points in a square of side 1.
USER = """
<script type="module">
  const canvas = document.getElementById("paper"), answer = document.getElementById("answer")
  const latency = document.getElementById("latency")
  const captured = new Set() // a pointer that no hand moves cannot be captured
  Object.assign(canvas, {
    setPointerCapture: (id) => captured.add(id), hasPointerCapture: (id) => captured.has(id),
  })
  const until = async (ready) => { while (!ready()) await new Promise((resolve) => setTimeout(resolve, 20)) }
  const point = (type, [x, y]) => {
    const { left, top, width, height } = canvas.getBoundingClientRect()
    const where = { clientX: left + x * width, clientY: top + y * height }
    canvas.dispatchEvent(new PointerEvent(type, { pointerId: 1, ...where }))
  }
  const press = (key, more) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, ...more }))
  const answered = async (act) => {
    latency.textContent = ""
    act()
    await until(() => latency.textContent)
    return answer.value
  }
  await until(() => latency.textContent.startsWith("Ready"))
  const answers = { start: answer.value }
  for (const button of document.querySelectorAll("#samples button")) {
    answers[button.textContent] = await answered(() => button.click())
  }
  answers.latency = latency.textContent
  answers.clear = await answered(() => document.getElementById("clear").click())
  for (const stroke of DRAWN) {
    answers.drawn = await answered(() => {
      point("pointerdown", stroke[0])
      for (const place of stroke) point("pointermove", place)
      point("lostpointercapture", stroke.at(-1))
    })
  }
  for (const _ of DRAWN) answers.undone = await answered(() => press("z", { ctrlKey: true }))
  press(" ")
  for (const key of KEYS) answers.keys = await answered(() => press(key))
  answers.deleted = await answered(() => press("Delete"))
  await fetch("answers", { method: "POST", body: JSON.stringify(answers) })
</script>
"""
IDLE = "Draw, or choose a drawing"


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


def bundle(name: str) -> Path:
    return node.packages() / f"node_modules/@tensorflow/tfjs-{name}/dist/tf-{name}.min.js"


def scripts(folder: Path) -> str:
    """The tags of TF.js, which they find beside the page."""
    for name in BUNDLES:
        shutil.copy(bundle(name), folder)
    return "".join(f'<script src="tf-{name}.min.js"></script>\n' for name in BUNDLES)


def copied_examples(site: Path, *, tfjs: bool = True) -> None:
    """The pages of the examples, with TF.js where npm installs it."""
    for path in [*EXAMPLES.glob("*.html"), *EXAMPLES.glob("page.*")]:
        shutil.copy(path, site)
    if tfjs:
        folder = site / "node_modules/@tensorflow/tfjs/dist"
        folder.mkdir(parents=True)
        (folder / "tf.min.js").write_text(
            "\n".join(bundle(name).read_text("utf-8") for name in BUNDLES), "utf-8"
        )


@contextmanager
def serving(site: Path, posted: Queue[bytes] | None = None) -> Iterator[str]:
    """The URL of a server of a folder."""
    handler = partial(Handler, posted=posted or Queue(), directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def visit(
    site: Path, profile: Path, graphics: str = "--disable-gpu", page: str = "index.html"
) -> Any:
    """What a page of a folder posts."""
    posted: Queue[bytes] = Queue()
    assert BROWSER
    with serving(site, posted) as server:
        options = [*FLAGS.split(), *OFFLINE, *graphics.split(), f"--user-data-dir={profile}"]
        browser = subprocess.Popen(
            [BROWSER, *options, "--remote-debugging-port=0", f"{server}/{page}"],
            stderr=subprocess.DEVNULL,
        )
        try:
            return json.loads(posted.get(timeout=120))
        finally:
            browser.terminate()
            browser.wait()


pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is on PATH"
)


SEVEN = [[[0.3, 0.2], [0.7, 0.2], [0.45, 0.8]]]
# a wall and a roof, none of them straight
HOUSE = [
    [[0.31, 0.45], [0.3, 0.62], [0.32, 0.8], [0.5, 0.81], [0.7, 0.79], [0.69, 0.6], [0.71, 0.44]],
    [[0.2, 0.52], [0.36, 0.36], [0.49, 0.22], [0.62, 0.34], [0.79, 0.53]],
]
DOWN, SQUARE = ["ArrowDown"] * 12, ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]


@pytest.mark.parametrize(
    ("page", "answers"),
    [
        (
            ("index.html", "digits", SEVEN, DOWN),
            {
                **{
                    f"{digit}": f"It looks like {'an' if digit == 8 else 'a'} {digit}"
                    for digit in range(10)
                },
                "drawn": "It looks like a 7",
                "keys": "It looks like a 1",
            },
        ),
        (
            ("sketches.html", "sketches", HOUSE, [key for key in SQUARE for _ in range(12)]),
            {
                **{
                    name: f"It looks like {article} {name}"
                    for article, names in SKETCHES.items()
                    for name in names
                },
                "drawn": "It looks like a house",
            },
        ),
    ],
    ids=["digits", "sketches"],
)
def test_the_pages_of_the_examples_recognize_drawings(
    page: tuple[str, str, Any, Any],
    answers: dict[str, str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    name, model, drawn, keys = page
    kerasport.convert(EXAMPLES / f"{model}.keras", tmp_path / f"{model}_web")
    copied_examples(tmp_path)
    user = USER.replace("DRAWN", json.dumps(drawn)).replace("KEYS", json.dumps(keys))
    text = (tmp_path / name).read_text("utf-8")
    assert "https://" not in text
    (tmp_path / name).write_text(text + user, "utf-8")
    said = visit(tmp_path, tmp_path_factory.mktemp("profile"), page=name)
    assert re.fullmatch(r"Computed in \d+\.\d ms on the CPU", said.pop("latency"))
    assert [said.pop(when) for when in ("start", "clear", "undone", "deleted")] == [IDLE] * 4
    assert answers.items() <= said.items()


def shown(url: str, profile: Path) -> str:
    """The text of a page once it has loaded."""
    assert BROWSER
    options = [
        *FLAGS.split(),
        *OFFLINE,
        "--disable-gpu",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=20000",
    ]
    command = [BROWSER, *options, "--dump-dom", url]
    dump = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=120, check=True
    ).stdout
    return re.sub(r"<[^>]+>", " ", dump[dump.index("<body") : dump.index("<noscript")])


@pytest.mark.parametrize(
    ("tfjs", "served", "says"),
    [
        (False, True, ["TensorFlow.js was not found", "npm ci --omit=dev --prefix examples"]),
        (True, True, ["is not converted yet", "kerasport convert examples/sketches.keras"]),
        (
            True,
            False,
            ["Start a web server", "python -m http.server --directory examples", "Choose files"],
        ),
    ],
    ids=["no TF.js", "no model", "opened as a file"],
)
def test_a_page_says_what_is_missing_and_what_to_type(
    tfjs: bool,
    served: bool,
    says: list[str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    copied_examples(tmp_path, tfjs=tfjs)
    profile = tmp_path_factory.mktemp("profile")
    if served:
        with serving(tmp_path) as server:
            text = shown(f"{server}/sketches.html", profile)
    else:
        text = shown((tmp_path / "sketches.html").as_uri(), profile)
    assert [words for words in says if words not in text] == []
    assert "Not ready yet" in text


README = (ROOT / "README.md").read_text("utf-8")
DATA = """
  const image = Object.assign(document.createElement("canvas"), { width: 9, height: 7 })
  const numbers = Array(60).fill(1), indices = Array(16).fill(1)
  await fetch("answers", { method: "POST", body: JSON.stringify([TENSORS].map(({ shape, dtype }) => [shape, dtype])) })
"""


def test_tensors_of_the_readme_have_the_documented_shapes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tensors = re.findall(r"^\| .* \| `(tf\..+)` \|$", README, re.MULTILINE)
    script = DATA.replace("TENSORS", ", ".join(tensors))
    page = f'{scripts(tmp_path)}<script type="module">{script}</script>'
    (tmp_path / "index.html").write_text(page, "utf-8")
    assert visit(tmp_path, tmp_path_factory.mktemp("profile")) == [
        [[1, 224, 224, 3], "float32"],
        [[1, 20, 3], "float32"],
        [[1, 16], "int32"],
        [[1, 2], "string"],
    ]


def test_the_page_of_the_readme_works_unchanged(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (page,) = re.findall(r"^```html\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    kerasport.convert(EXAMPLES / "digits.keras", tmp_path / "web_model")
    page, found = re.subn(r'<script src="https://[^>]*></script>\n', scripts(tmp_path), page)
    assert found == 1
    last = "document.body.textContent = await output.data()"
    post = 'await fetch("answers", { method: "POST", body: `[${document.body.textContent}]` })'
    assert last in page
    (tmp_path / "index.html").write_text(page.replace(last, f"{last}; {post}"), "utf-8")
    answer = visit(tmp_path, tmp_path_factory.mktemp("profile"))
    assert len(answer) == 10
    assert sum(answer) == pytest.approx(1)


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
    both = layers.Bidirectional(
        layers.GRU(3, return_sequences=True, recurrent_activation="hard_sigmoid")
    )(words)
    return layers.GRU(2, name="memory")(both)


@pytest.mark.parametrize("loaded", [True, False])
def test_a_page_runs_a_gru_once_it_has_loaded_the_companion(
    loaded: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trial = Trial(one("memory", (5, 4), lambda: memory), tmp_path)
    conversion = kerasport.convert(trial.path, tmp_path / "web_model", to="tfjs-layers")
    (code,) = (snippet.code for snippet in conversion.code if "<script" in snippet.code)
    lines = code.partition('<script type="module">')[2].partition("const model")[0]
    assert "register(tf)" in lines
    page = RUNS.replace("LINES", lines if loaded else "").replace(
        "INPUT", json.dumps(trial.feeds[0][0].tolist())
    )
    (tmp_path / "index.html").write_text(scripts(tmp_path) + page, "utf-8")
    answer = visit(tmp_path, tmp_path_factory.mktemp("profile"))
    if loaded:
        np.testing.assert_allclose(answer, trial.expected[0][0], 1e-4, 1e-5)
    else:
        assert answer.startswith("Unknown layer: KerasportGRU.")
