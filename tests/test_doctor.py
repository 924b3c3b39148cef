"""The doctor in forged environments: a bare Python, and tiny packages that fail as real ones do."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import kerasport
from kerasport.cli import app
from kerasport.diagnosis import Ability, Diagnosis
from kerasport.diagnosis.advice import KNOWN
from kerasport.diagnosis.probe import TRIED
from kerasport.errors import KerasportError, ReadError
from kerasport.targets.tfjs import LAYERS

RECORDED = Path(__file__).parent / "recorded"
UNREPAIRED = Path(__file__).parent / "unrepaired"
DONE, REFUSED, UNUSABLE = 0, 1, 3

KERAS_3 = """
__version__ = "3.15.1"
class backend:
    backend = staticmethod(lambda: "tensorflow")
"""
TENSORFLOW = """
import os, types
__version__ = "2.19.1"
legacy = os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")
Model = type("Model", (), {"__module__": "tf_keras.src.engine" if legacy else "keras.src.models"})
keras = types.SimpleNamespace(Model=Model)
"""
SOUND = {
    "keras": ("3.15.1", KERAS_3),
    "tf_keras": ("2.19.0", '__version__ = "2.19.0"'),
    "tensorflow": ("2.19.1", TENSORFLOW),
    "tensorflowjs": ("4.22.0", '__version__ = "4.22.0"'),
}


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python beside which nothing is installed."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


class Site:
    """A directory of packages for that Python."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.python = folder, python

    def add(self, name: str, version: str, source: str = "") -> None:
        (self.folder / name).mkdir(parents=True)
        (self.folder / name / "__init__.py").write_text(source, encoding="utf-8")
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
        )

    def sound(self, **others: tuple[str, str]) -> None:
        for name, (version, source) in {**SOUND, **others}.items():
            self.add(name, version, source)

    def doctor(self, source: Path | None = None, timeout: float = 20) -> Diagnosis:
        return kerasport.doctor(source, python=self.python, timeout=timeout)


@pytest.fixture
def site(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    return Site(folder, bare)


def states(diagnosis: Diagnosis) -> dict[str, str]:
    return {package.name: package.state for package in diagnosis.packages}


# ------------------------------------------------------------------------------------- environments


def test_doctor_reports_missing_packages(site: Site) -> None:
    found = site.doctor()
    assert set(states(found).values()) == {"absent"}
    assert found.ok
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert "TF_USE_LEGACY_KERAS" not in str(found)


def test_doctor_reports_working_packages(site: Site) -> None:
    site.sound()
    found = site.doctor()
    assert {name: states(found)[name] for name in TRIED} == dict.fromkeys(TRIED, "works")
    assert found.ok
    assert re.search(r"\n  keras +3\.15\.1 +works +tensorflow\n", str(found))
    assert re.search(r"\n  tensorflow +2\.19\.1 +works +keras 3\.15\.1\n", str(found))


def test_doctor_examines_its_own_python_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kerasport.diagnosis.probe.TRIED", ())
    found = kerasport.doctor()
    versions = {package.name: package.version for package in found.packages}
    assert versions["numpy"]
    assert Path(found.executable) == Path(sys.executable)


FAILURES = {
    "tensorflow_decision_forests": (
        "tensorflowjs",
        "import tensorflow_decision_forests",
        "kerasport does not need it",
    ),
    "inference.so": (
        "tensorflowjs",
        "raise OSError('/x/inference.so not found')",
        "built for another version",
    ),
    "backend": ("keras", "import tensorflow", "it has no backend: pip install jax"),
    "estimator": (
        "tensorflowjs",
        "raise AttributeError(\"module 'tensorflow.compat.v1' has no attribute 'estimator'\")",
        "tensorflow-hub>=0.16.1",
    ),
    "numpy": (
        "tensorflow",
        "raise ImportError('numpy.core.multiarray failed to import')",
        'pip install "numpy<2"',
    ),
    "setuptools": ("tensorflowjs", "import pkg_resources", "setuptools"),
    "of its own": (
        "keras",
        "raise RuntimeError('the reactor is cold')",
        "RuntimeError: the reactor is cold",
    ),
    "of several lines": (
        "keras",
        "raise RuntimeError('first\\nsecond line')",
        "RuntimeError: first",
    ),
    "exit": ("keras", "raise SystemExit(5)", "exit code 5"),
    "syntax": ("keras", "def", "SyntaxError"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_an_import_that_fails_is_explained(name: str, site: Site) -> None:
    package, source, said = FAILURES[name]
    site.add(package, "1.2.3", source)
    found = site.doctor()
    assert states(found)[package] == "fails"
    assert not found.ok
    (advice,) = [
        line for line in found.advice if line.startswith(f"{package} 1.2.3 cannot be imported: ")
    ]
    assert said in advice
    assert re.search(rf"\n  {package} +1\.2\.3 +FAILS +", str(found))


ANY_BACKEND = """
import importlib, os
class backend:
    backend = staticmethod(lambda: os.environ.get("KERAS_BACKEND", "tensorflow"))
importlib.import_module(backend.backend())
"""
"""A Keras that imports its backend."""


@pytest.mark.needs("node")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_works_with_the_only_backend(
    backend: str, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    site.add("keras", "3.15.1", ANY_BACKEND)
    site.add(backend, "2.0.0")
    found = site.doctor()
    assert found.ok
    assert re.search(rf"\n  keras +3\.15\.1 +works +{backend}\n", str(found))
    assert any(
        f"export KERAS_BACKEND={backend} for your own programs" in line for line in found.advice
    )
    assert (
        f"with Keras 3.15.1 ({backend}), --python" in ability(found, "verify TF.js models").reason
    )
    (tmp_path / "keras.json").write_text(json.dumps({"backend": backend}))
    assert not site.doctor().advice


def test_a_selected_keras_backend_that_is_missing_is_a_failure(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("keras", "3.15.1", ANY_BACKEND)
    site.add("jax", "0.10.2")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    found = site.doctor()
    assert not found.ok
    assert "jax is: export KERAS_BACKEND=jax" in str(found)


def ability(found: Diagnosis, name: str) -> Ability:
    return next(each for each in found.abilities if each.name == name)


def test_doctor_lists_packages_for_onnx_and_verify(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {package.name: package for package in site.doctor().own}
    assert list(own) == ["onnx-ir", "onnxruntime", "Node", "TF.js"]
    hidden = ("onnx_ir", "onnxruntime")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *of: None if name in hidden else find(name, *of)
    )
    monkeypatch.setenv("KERASPORT_CACHE", str(site.folder / "cache"))
    found = site.doctor()
    assert {package.name: package.state for package in found.own if package.name != "Node"} == {
        "onnx-ir": "absent", "onnxruntime": "absent", "TF.js": "absent",
    }  # fmt: skip
    assert "the first verify installs it with npm" in str(found)
    assert ability(found, "convert to TF.js").possible
    for name in ("convert to ONNX", "verify ONNX models"):
        assert not ability(found, name).possible
        assert 'pip install "kerasport[onnx]"' in ability(found, name).reason
    assert "Keras is not installed" in ability(found, "verify TF.js models").reason


@pytest.mark.needs("node")
def test_requirements_of_verify_depend_on_the_file(site: Site) -> None:
    site.sound()
    assert ability(site.doctor(KERAS2 / "functional.h5"), "verify TF.js models").reason.startswith(
        "with tf_keras 2.19"
    )
    assert ability(
        site.doctor(KERAS3 / "functional.keras"), "verify TF.js models"
    ).reason.startswith("with Keras 3.15")
    for name, needs in (
        ("keras-1.2.2/keras_1.h5", "Keras 1.2.2"),
        ("keras-2.12.0/recurrent.keras", "TensorFlow 2.12"),
    ):
        found = site.doctor(RECORDED / name)
        assert f"only {needs} can" in ability(found, "verify TF.js models").reason
        legacy = {route.by: route for route in found.routes}["legacy"]
        assert (legacy.open, legacy.command) == (False, "")
        assert legacy.reason == f"neither tf_keras nor Keras 3 can read this file, only {needs} can"


def test_a_hung_import_is_stopped(site: Site) -> None:
    site.add("keras", "3.15.1", "import time; time.sleep(600)")
    site.add("tf_keras", "2.19.0")
    began = time.monotonic()
    found = site.doctor(timeout=3)
    assert time.monotonic() - began < 30
    assert states(found)["keras"] == "fails"
    assert states(found)["tf_keras"] == "works"
    assert "its import hangs" in str(found)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_crashing_import_is_reported(site: Site) -> None:
    site.add("tensorflow", "2.19.1", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    told = " ".join(str(site.doctor()).split())
    assert "crashed with signal 4" in told
    assert "AVX" in told


def test_packages_are_imported_in_other_processes_whose_noise_is_ignored(site: Site) -> None:
    site.add(
        "keras",
        "3.15.1",
        f"import os\nprint('{{}}', flush=True)\nopen({str(site.folder / 'pid')!r}, "
        f"'w').write(str(os.getpid()))",
    )
    before = set(sys.modules)
    assert states(site.doctor())["keras"] == "works"
    assert (site.folder / "pid").read_text(encoding="utf-8") != str(os.getpid())
    assert not {
        name for name in set(sys.modules) - before if name.startswith(("keras.", "tensorflow"))
    }


def test_files_in_the_working_directory_do_not_shadow_packages(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("keras", "3.15.1", KERAS_3)
    (tmp_path / "keras.py").write_text("raise RuntimeError('a file of the user')", encoding="utf-8")
    (tmp_path / "json.py").write_text("raise RuntimeError('a file of the user')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert states(site.doctor())["keras"] == "works"


MISMATCHES = {
    "tf_keras of another TensorFlow": (
        {"tf_keras": ("2.18.0", "")},
        'pip install "tf_keras~=2.19.0"',
    ),
    "Keras 2 beside a new TensorFlow": (
        {"keras": ("2.15.0", '__version__ = "2.15.0"')},
        'pip install -U "keras>=3"',
    ),
    "Keras 3 beside an old TensorFlow": (
        {"tensorflow": ("2.15.1", TENSORFLOW), "tf_keras": ("2.15.0", "")},
        'pip install "keras<3"',
    ),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_incompatible_versions_are_reported(name: str, site: Site) -> None:
    others, said = MISMATCHES[name]
    site.sound(**others)
    found = site.doctor()
    assert not found.ok
    assert any(said in line for line in found.advice)


@pytest.mark.parametrize(
    ("value", "told", "healthy"),
    [("1", "'1': tf.keras is tf_keras", True), ("True", "'True': tf.keras is tf_keras", True),
     ("0", "'0', which TensorFlow ignores: tf.keras is Keras 3", True),
     ("yes", "'yes', which TensorFlow ignores: tf.keras is Keras 3", False)],
)  # fmt: skip
def test_tf_use_legacy_keras_is_respected(
    value: str, told: str, healthy: bool, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.sound()
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", value)
    found = site.doctor()
    assert f"TF_USE_LEGACY_KERAS is {told}" in found.legacy_keras
    assert found.ok is healthy
    (tensorflow,) = [package for package in found.packages if package.name == "tensorflow"]
    # what is told is what TensorFlow does
    assert tensorflow.detail == ("tf_keras 2.19.0" if value in ("1", "True") else "keras 3.15.1")


def test_missing_legacy_keras_is_reported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("keras", "tensorflow"):
        site.add(name, *SOUND[name])
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    found = site.doctor()
    assert not found.ok
    assert any(
        'which is not installed: pip install "tf_keras~=2.19.0"' in line for line in found.advice
    )


def test_without_node_only_verify_is_unavailable(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASPORT_NODE", "no-such-node")
    found = site.doctor()
    assert (found.node, found.ok) == ("", True)
    assert "KERASPORT_NODE=no-such-node is not Node" in ability(found, "verify TF.js models").reason
    assert ability(found, "convert to TF.js").possible


@pytest.mark.parametrize("python", ["no-such-python", "echo"])
def test_an_invalid_python_is_reported(python: str) -> None:
    with pytest.raises(KerasportError, match="is not a Python that runs"):
        kerasport.doctor(python=python)


def test_all_known_failures_have_one_line_of_advice() -> None:
    assert all(why and "\n" not in why for why in KNOWN.values())


# ------------------------------------------------------------------------------------------- routes


def opened(diagnosis: Diagnosis) -> dict[str, bool]:
    return {route.name: route.open for route in diagnosis.routes}


KERAS3, KERAS2 = RECORDED / "keras-3.15.1", RECORDED / "keras-2.15.0"


def test_the_routes_of_keras_3(site: Site) -> None:
    site.sound()
    found = site.doctor(KERAS3 / "functional.keras")
    assert (found.writer, found.ok) == ("3.15.1", True)
    routes = {route.name: route for route in found.routes}
    assert routes["kerasport, tfjs-layers"].open
    legacy = routes["tf_keras, tensorflowjs"]
    assert not legacy.open
    assert "Keras 2 cannot read files of Keras 3" in legacy.reason
    assert (
        legacy.command == 'pip install "tf_keras~=2.19.0" && TF_USE_LEGACY_KERAS=1 python train.py'
    )
    assert found.advice[0].startswith("use kerasport, tfjs-layers: kerasport convert ")


def test_the_route_of_keras_2_through_the_official_converter(site: Site, tmp_path: Path) -> None:
    without = {route.by: route for route in site.doctor(KERAS2 / "functional.h5").routes}["legacy"]
    assert (without.open, without.command) == (False, "pip install tensorflowjs")
    assert without.reason == "tensorflowjs is not installed"
    site.sound()
    path = tmp_path / "my model.h5"
    path.write_bytes((KERAS2 / "functional.h5").read_bytes())
    legacy = {route.by: route for route in site.doctor(path).routes}["legacy"]
    assert legacy.open
    assert legacy.command == f"tensorflowjs_converter --input_format keras '{path}' web_model"
    archive = {route.by: route for route in site.doctor(KERAS2 / "functional.keras").routes}[
        "legacy"
    ]
    assert archive.open
    assert archive.command.startswith("python -c 'import tf_keras; tf_keras.models.load_model(\"")
    assert archive.command.endswith(
        "&& tensorflowjs_converter --input_format keras model.h5 web_model"
    )


def test_a_broken_converter_is_not_a_route(site: Site) -> None:
    site.sound(tensorflowjs=("4.22.0", "import tensorflow_decision_forests"))
    found = site.doctor(KERAS2 / "functional.h5")
    legacy = {route.by: route for route in found.routes}["legacy"]
    assert (legacy.open, legacy.reason) == (False, "tensorflowjs does not work")
    assert found.ok  # kerasport's own are open
    assert not found.healthy


def test_there_is_no_official_route_for_keras_1(site: Site) -> None:
    site.sound()
    found = site.doctor(RECORDED / "keras-1.2.2" / "keras_1.h5")
    assert found.writer == "1.2.2"
    assert opened(found)["kerasport, tfjs-layers"]
    assert not opened(found)["tf_keras, tensorflowjs"]


@pytest.mark.parametrize("folder", ["residual.h5", "gru.keras"])
def test_the_route_of_a_model_that_does_not_load(folder: str, site: Site) -> None:
    for path in (UNREPAIRED / folder, UNREPAIRED / folder / "model.json"):
        found = site.doctor(path)
        assert found.ok
        (route,) = found.routes
        assert (route.open, route.command) == (
            True,
            f"kerasport repair {UNREPAIRED / folder / 'model.json'}",
        )


def test_the_route_of_a_model_that_loads(site: Site, tmp_path: Path) -> None:
    kerasport.repair(UNREPAIRED / "residual.h5", tmp_path / "right")
    (route,) = site.doctor(tmp_path / "right").routes
    assert (route.open, route.command) == (True, "tf.loadLayersModel('model.json')")


def test_weights_are_part_of_the_commands(site: Site) -> None:
    weights = KERAS3 / "dicts.weights.h5"
    found = kerasport.doctor(KERAS3 / "dicts.json", weights=weights, python=site.python)
    assert (
        found.routes[0].command
        == f"kerasport convert {KERAS3 / 'dicts.json'} web_model --weights {weights}"
    )


def test_a_file_without_a_route(site: Site) -> None:
    found = site.doctor(KERAS2 / "masks.h5")
    assert not opened(found)["kerasport, tfjs-layers"]
    closed = {route.name: route for route in found.routes}["kerasport, tfjs-layers"]
    assert closed.command == f"kerasport check {KERAS2 / 'masks.h5'} --to tfjs-layers"
    assert re.search(r"parts? (is|are) not supported: layer ", closed.reason)


def test_doctor_rejects_files_without_a_model(site: Site, tmp_path: Path) -> None:
    (tmp_path / "page.keras").write_text("<!doctype html>", encoding="utf-8")
    with pytest.raises(ReadError, match="a web page"):
        site.doctor(tmp_path / "page.keras")


# -------------------------------------------------------------------------------------- the command


def invoke(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", *map(str, arguments)], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_doctor_command_prints_its_findings(site: Site) -> None:
    site.sound()
    code, printed = invoke("--python", site.python)
    assert code == DONE
    assert printed == f"{site.doctor()}\n"
    code, printed = invoke(KERAS3 / "functional.keras", "--python", site.python, "--json")
    told = json.loads(printed)
    assert (code, told["ok"], told["writer"]) == (DONE, True, "3.15.1")
    assert {route["name"] for route in told["routes"]} >= {
        "kerasport, tfjs-layers",
        "kerasport, tfjs-graph",
    }


def test_exit_codes_of_doctor(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("tensorflowjs", "4.22.0", "import tensorflow_decision_forests")
    python = ("--python", site.python)
    assert invoke(*python)[0] == REFUSED  # something that is installed does not work
    assert invoke(KERAS3 / "functional.keras", *python)[0] == DONE  # which kerasport does not need
    monkeypatch.setattr("kerasport.diagnosis.routes.TARGETS", {LAYERS.name: LAYERS})
    assert invoke(KERAS2 / "masks.h5", *python)[0] == REFUSED
    assert invoke(tmp_path / "gone.keras", *python)[0] == UNUSABLE
    assert invoke("--python", "no-such-python")[0] == UNUSABLE


def test_reports_in_notebooks_contain_no_html_from_a_file(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "<script>.h5"
    path.write_bytes((KERAS2 / "functional.h5").read_bytes())
    assert "<script>" not in site.doctor(path)._repr_html_()
