"""The documentation is correct: commands, outputs, links, tables, and the index of errors."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers

import kerasport
from kerasport.errors import VerifyError
from kerasport.targets.tfjs.layers.spelling.activations import COMPANION, GELU_TANH
from kerasport.verification.runtimes import node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kerasport.verification.runtimes.tfjs import Tfjs

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("*/README.md"),
        ROOT / "tests/recorded/README.md",
    ]
)
README, ERRORS, SUPPORT = (
    ROOT / "README.md",
    ROOT / "docs" / "errors.md",
    ROOT / "docs" / "support.md",
)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "80"}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language; "" for those that name none."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)


# ----------------------------------------------------------------------------------------- commands


def test_ci_runs_the_setup_and_the_tests_of_the_readme() -> None:
    shown = [line for block in blocks(README, "sh") for line in block.splitlines()]
    ran = [
        each
        for line in re.findall(r'^run "(.+)"$', read(ROOT / ".ci" / "run"), re.MULTILINE)
        for each in line.split(" && ")
    ]
    commands = [
        "pip install .",
        "kerasport convert examples/digits.keras web_model",
        "pip install -e '.[test]'",
        "python -m pytest",
    ]
    assert [line for line in shown if line in commands] == commands
    # the second run does not repeat the rows of the first
    assert ran == [*commands, "python -m pytest --exhaustive --skip-quick"]


def test_the_setup_can_be_copied_into_every_shell() -> None:
    (windows,) = blocks(README, "powershell")
    assert windows.splitlines()[-1] == "pip install ."
    assert not [block for page in PAGES for block in blocks(page, "powershell") if "&&" in block]
    assert not [block for block in blocks(README, "sh") if "&&" in block]


def test_ci_stops_at_the_first_failure() -> None:
    script = read(ROOT / ".ci" / "run")
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize(
    "command",
    [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()],
)
def test_commands_refer_to_existing_files(command: str) -> None:
    for word in shlex.split(command, comments=True):
        if re.match(r"(examples|tools|bench|tests)/", word) and not word.endswith("_web"):
            assert (ROOT / word).exists(), word


def examples() -> Iterator[tuple[str, str]]:
    """Commands in the README, and the output that it shows."""
    for block in blocks(README, ""):
        if block.startswith("$ "):
            command, _, output = block.removeprefix("$ ").partition("\n")
            yield command, output


@pytest.mark.parametrize(
    ("command", "output"), [*examples()], ids=lambda text: text.partition("\n")[0][:40]
)
def test_commands_print_what_the_readme_shows(command: str, output: str, tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copyfile(ROOT / "examples" / "digits.keras", tmp_path / "examples" / "digits.keras")
    save_memory_model(tmp_path / "model.keras")
    name, verb, *arguments = shlex.split(command)
    assert name == "kerasport"
    if verb == "verify":
        kerasport.convert(tmp_path / arguments[0], tmp_path / arguments[1])
    done = subprocess.run(
        [sys.executable, "-m", name, verb, *arguments],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    if verb == "verify":  # its last digits are those of a machine
        printed, output = without_numbers(printed), without_numbers(output)
    assert printed == output


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.e+-]*", "#", re.sub(r" +", " ", text))


def save_memory_model(path: Path) -> None:
    """The model that the README checks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about numpy
        words = layers.Input((8, 4), name="words")
        memory = layers.GRU(3, name="memory")(words)
        halved = layers.Lambda(lambda x: x / 2, output_shape=(3,), name="halved")(memory)
        keras.Model(words, layers.Dense(2, name="answer")(halved)).save(path)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copyfile(ROOT / "examples" / "digits.keras", tmp_path / "examples" / "digits.keras")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(README, "python")
    printed: list[str] = []
    exec(compile(block, str(README), "exec"), {"print": lambda value: printed.append(str(value))})
    assert printed == re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)


def test_the_page_of_the_readme_gets_what_it_expects(tfjs: Tfjs, tmp_path: Path) -> None:
    kerasport.convert(ROOT / "examples" / "digits.keras", tmp_path / "web_model")
    assert "tf.zeros([1, 8, 8, 1])" in read(README)
    run = tfjs.run(tmp_path / "web_model", [[np.zeros((1, 8, 8, 1), "float32")]], backend="cpu")
    ((output,),) = run.results
    assert output.shape == (1, 10)
    assert abs(float(output.sum()) - 1) < 1e-5


@pytest.mark.exhaustive
def test_the_benchmark_runs() -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "bench" / "convert.py"),
            "--sizes",
            "tiny",
            "1",
            "--repeats",
            "1",
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| `kerasport convert` |" in done.stdout


# -------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_existing_targets(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")], ids=lambda page: page.name
)
def test_lines_are_short_enough_to_read(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|^\|.*$|^#.*$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 120] == []


def test_the_worked_example_matches_the_sources() -> None:
    snippets = blocks(ROOT / "CONTRIBUTING.md", "python")
    assert len(snippets) == 15
    for snippet in snippets:
        first, _, code = snippet.partition("\n")
        assert code.rstrip() in read(ROOT / first.removeprefix("# ")), first


def test_the_diagram_is_drawn_from_its_source() -> None:
    """The SVG names the hash of the text that it was drawn from."""
    source = read(ROOT / "docs" / "architecture.dot")
    digest = hashlib.sha256(source.encode()).hexdigest()
    drawn = read(ROOT / "docs" / "architecture.svg")
    assert digest in drawn, "run: npm --prefix tools/diagrams run draw"
    assert {"KerasModel", "Program", "targets/onnx"} <= set(re.findall(r">([^<]+)</text>", drawn))


def test_the_changelog_has_this_version() -> None:
    log = read(ROOT / "CHANGELOG.md")
    assert "## [Unreleased]" in log
    assert kerasport.__version__ in log


# ----------------------------------------------------------------------------------- support matrix


@cache
def matrix() -> SimpleNamespace:
    """The functions of tools/support_matrix.py."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "support_matrix.py")))


def test_the_support_matrix_is_up_to_date() -> None:
    page = read(SUPPORT)
    known = matrix().completed(matrix().of_page(page))
    assert matrix().page(known) == page, "run: python tools/support_matrix.py"


def test_the_support_matrix_lists_every_layer_of_keras() -> None:
    listed, installed = matrix().of_page(read(SUPPORT)), matrix().of_keras()
    if listed.version != installed.version:
        pytest.skip(f"the page is of Keras {listed.version}")
    assert installed.aliases.items() <= listed.aliases.items()


def test_the_support_matrix_says_what_check_says(tmp_path: Path) -> None:
    # one of each kind of row
    rows = {
        "Embedding": "native",
        "Identity": "removed",
        "GroupNormalization": "rewritten",
        "UnitNormalization": "refused",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = [
            layers.Embedding(9, 6),
            layers.Identity(),
            layers.GroupNormalization(3),
            layers.UnitNormalization(),
        ]
        keras.Sequential([layers.Input((4,)), *made]).save(tmp_path / "model.keras")
    told = {
        layer.class_name: layer.outcome
        for layer in kerasport.check(tmp_path / "model.keras", to="tfjs-layers").layers
    }
    for name, outcome in rows.items():
        assert told[name] == outcome
        assert f"| `{name}` | {outcome} |" in read(SUPPORT)


def test_the_page_on_the_companion_lists_its_activations() -> None:
    (row,) = re.findall(
        r"^\| .* \| activations: (.*) \|$", read(ROOT / "docs" / "companion.md"), re.MULTILINE
    )
    listed = set(re.findall(r"`(\w+)`", row))
    assert listed == {"gelu", *COMPANION} - {GELU_TANH}


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, about numpy
def test_the_advice_on_custom_layers_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (block for block in blocks(ERRORS, "python") if "class Scale" in block)
    monkeypatch.chdir(tmp_path)
    # other weights than those that layers begin with, so that copying them matters
    trained = "old_model.set_weights([w + 0.5 for w in old_model.get_weights()])\nnew_model ="
    names: dict[str, Any] = {"__name__": "my_layers"}
    exec(block.replace("new_model =", trained, 1), names)
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    old, new = (np.asarray(names[name](x)) for name in ("old_model", "new_model"))
    assert np.abs(old).max() > 0.1
    np.testing.assert_allclose(new, old, rtol=1e-6)
    names["old_model"].save("old.keras")
    with pytest.raises(kerasport.UnsupportedModel, match=r"custom layer .*new_model\.set_weights"):
        kerasport.convert("old.keras", "old")
    for target in ("tfjs-graph", "onnx"):
        assert kerasport.check("model.keras", to=target).convertible


def messages(section: str) -> list[str]:
    """The messages in the headings of a section."""
    part = re.search(
        rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", read(ERRORS), re.MULTILINE | re.DOTALL
    )
    assert part
    headings = re.findall(r"^### (.+)$", part[1], re.MULTILINE)
    return [
        message.strip()
        for heading in headings
        for message in re.findall(r"``(.+?)``(?!`)", heading)
    ]


FROM_TFJS = messages("In the browser, from TF.js")
FROM_KERAS = messages("From Keras, when it loads a model")
FROM_US = messages("From kerasport")
# What JavaScript itself says, or Keras 2, or several functions of Keras together.
NOT_LITERAL = (
    "Cannot read properties of undefined (reading 'producer')",
    "Unrecognized keyword arguments: ['batch_shape']",
)


def fragments(message: str) -> list[str]:
    """The parts of a message that do not differ from case to case."""
    return [part.strip() for part in message.split("…") if len(part.strip()) > 2]


@cache
def tfjs_sources() -> str:
    """The code of TF.js with strings that are joined by + as one."""
    folder = node.packages(lambda _: None) / "node_modules" / "@tensorflow"
    bundles = (f"tfjs-{name}/dist/tf-{name}.node.js" for name in ("core", "layers", "converter"))
    code = "".join(read(folder / bundle) for bundle in bundles).replace("\\'", "'")
    return re.sub(r"""['"`]\)?\s*\+\s*['"`]""", "", code)


@pytest.mark.every_row
@pytest.mark.parametrize("message", FROM_TFJS)
def test_messages_of_tfjs_in_the_docs_are_real(message: str) -> None:
    if message in NOT_LITERAL:
        return
    said = re.sub(r"^Unknown \w+: ([Kk]erasport\w*)?", "Unknown …", message)
    for fragment in fragments(said):
        assert fragment in tfjs_sources(), fragment


@cache
def strings_of(package: Path) -> list[str]:
    """Every string in the sources of a package; … where something is put in."""
    found = []
    for path in package.rglob("*.py"):
        for element in ast.walk(ast.parse(read(path))):
            if isinstance(element, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else "…" for part in element.values
                )
                found.append("".join(map(str, parts)))
            if isinstance(element, ast.Constant) and isinstance(element.value, str):
                found.append(element.value)
    return found


@pytest.mark.every_row
@pytest.mark.parametrize("message", FROM_US)
def test_messages_of_kerasport_in_the_docs_are_real(message: str) -> None:
    wanted = fragments(message)
    strings = strings_of(ROOT / "src" / "kerasport")
    assert any(all(fragment in text for fragment in wanted) for text in strings), message


@pytest.mark.skipif(
    not keras.__version__.startswith("3.15."), reason="the messages are those of Keras 3.15"
)
@pytest.mark.every_row
@pytest.mark.parametrize("message", FROM_KERAS)
def test_messages_of_keras_in_the_docs_are_real(message: str) -> None:
    if message in NOT_LITERAL:
        return
    # up to the first name or value that is put in
    beginning = re.split(r"[…'{]| passed to | class ", message)[0].strip()
    strings = strings_of(Path(keras.__file__).parent / "src")
    assert any(beginning in text for text in strings), message


def model_json(folder: Path, topology: dict[str, Any]) -> Path:
    """A model as the official converter writes it: the config of Keras, word for word."""
    document = {
        "format": "layers-model",
        "modelTopology": {"model_config": topology},
        "weightsManifest": [],
    }
    (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_tfjs_still_raises_the_documented_errors(tfjs: Tfjs, tmp_path: Path) -> None:
    searched = blocks(README, "")[0].splitlines()
    model = keras.Sequential([layers.Input((4,), name="a"), layers.Dense(2)])
    first = json.loads(model.to_json())
    functional = keras.Model(model.inputs, model.outputs)
    second = json.loads(functional.to_json())
    for layer in second["config"]["layers"]:
        if layer["class_name"] == "InputLayer":
            layer["config"] = {"name": "a", "batch_input_shape": [None, 4], "dtype": "float32"}
    for topology, message in zip((first, second), searched, strict=True):
        with pytest.raises(VerifyError) as error:
            tfjs.describe(model_json(tmp_path, topology))
        assert message.removesuffix("…") in str(error.value)
        assert message in FROM_TFJS
